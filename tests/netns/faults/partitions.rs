//! Parts of a pair's networks lose every frame without anybody's carrier going down, one way or both ways, and heal.

use std::thread::sleep;
use std::time::{Duration, Instant};

use xlvs_tests::topology::Director::{self, First, Second};
use xlvs_tests::topology::Network::{self, Clients, Mesh, Servers};
use xlvs_tests::topology::{Cut, Delivery, Topology};

use self::Way::{Deaf, Mute};
use super::live::{Live, Tally, count_misrouted};
use super::scene::{Scene, Setting, Variant};
use crate::length::short_or_long;

const CONNECTIONS: usize = 500;
/// How long a partition lasts: over the three seconds after which a silent director is lost to the other.
const LASTS: Duration = Duration::from_secs(6);

/// A director does not hear the others, or they do not hear it.
#[derive(Clone, Copy, Debug)]
enum Way {
    Deaf,
    Mute,
}

/// What is cut, and what is to come of it. The first director has the VIP.
struct Partition {
    what: &'static str,
    cuts: &'static [(Director, Network, Way)],
    /// Whether the two stay connected.
    is_connected: bool,
    /// Who has the VIP on its host while it lasts. Who is cut off from everybody cannot know of the other.
    owners: &'static [Director],
    path: Path,
}

/// Whether clients reach the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Stays,
    /// It is back at the other one in less than a second.
    Moves,
    /// Not before the partition heals.
    Lost,
}

/// The second director hears the owner on one of the two networks, and that is enough for it to wait: what carriers do not show,
/// keepalived has to be told of by a script that asks for the router.
const FRONT: Partition = Partition {
    what: "front of the owner",
    cuts: &[(First, Clients, Deaf), (First, Clients, Mute)],
    is_connected: true,
    owners: &[First],
    path: Path::Lost,
};

const SYNC_LINK: Partition = Partition {
    what: "sync link",
    cuts: &[(First, Mesh, Deaf), (Second, Mesh, Deaf)],
    is_connected: false,
    owners: &[First],
    path: Path::Stays,
};

const ALL_OF_THE_OWNER: Partition = Partition {
    what: "sync link, front and back of the owner",
    cuts: &[
        (First, Mesh, Deaf),
        (First, Mesh, Mute),
        (First, Clients, Deaf),
        (First, Clients, Mute),
        (First, Servers, Deaf),
        (First, Servers, Mute),
    ],
    is_connected: false,
    owners: &[First, Second],
    path: Path::Moves,
};

const OTHERS: [Partition; 7] = [
    FRONT,
    Partition { what: "sync link, to the owner", cuts: &[(First, Mesh, Deaf)], ..SYNC_LINK },
    Partition { what: "sync link, from the owner", cuts: &[(Second, Mesh, Deaf)], ..SYNC_LINK },
    Partition {
        what: "front and back of the owner",
        cuts: &[
            (First, Clients, Deaf),
            (First, Clients, Mute),
            (First, Servers, Deaf),
            (First, Servers, Mute),
        ],
        is_connected: true,
        ..ALL_OF_THE_OWNER
    },
    Partition {
        what: "sync link and front of the owner",
        cuts: &[(First, Mesh, Deaf), (First, Mesh, Mute), (First, Clients, Deaf), (First, Clients, Mute)],
        is_connected: false,
        ..FRONT
    },
    Partition {
        what: "front, to the other",
        cuts: &[(Second, Clients, Deaf)],
        is_connected: true,
        ..SYNC_LINK
    },
    Partition {
        what: "front, from the other",
        cuts: &[(Second, Clients, Mute)],
        is_connected: true,
        ..SYNC_LINK
    },
];

impl Partition {
    fn begin(&self, topology: &Topology) -> Vec<Cut> {
        let cut = |(director, network, way): &(Director, Network, Way)| match way {
            Deaf => topology.deafen(*director, *network).unwrap(),
            Mute => topology.silence(*director, *network).unwrap(),
        };
        self.cuts.iter().map(cut).collect()
    }
}

/// A row of the table.
struct Figures {
    owners: Vec<Director>,
    connected: [bool; 2],
    gone: Duration,
    stall: Duration,
    live: Tally,
    misrouted: u64,
}

const HEAD: &str = "partition                               connected  owners           gone  stall ms  alive reset stalled wrong  misrouted";

fn play(partition: &Partition, replicate: &'static str) -> Figures {
    let setting = Setting { delivery: Delivery::Nat, variant: Variant::Least, replicate };
    let is_told = replicate == "all";
    let pair = setting.build();
    let topology = &pair.site.topology;
    let scene = Scene::set(&pair, &setting);
    let live = scene.open(&setting, CONNECTIONS);
    sleep(Duration::from_secs(1));
    count_misrouted(topology);
    live.forget_gaps();

    let begun = Instant::now();
    let cuts = partition.begin(topology);
    sleep(LASTS / 2);
    // They are told of when it has healed, those that the other one would give other servers, too.
    let newer = (partition.path == Path::Stays).then(|| Live::open_idle(&pair.site, CONNECTIONS / 10));
    sleep((begun + LASTS).saturating_duration_since(Instant::now()));
    let connected = Director::BOTH.map(|which| pair.peers(which)["cluster"]["peers_connected"] == 1);
    let owners = scene.owners();
    drop(cuts);

    // TCP waits twice as long each time.
    sleep(if partition.path == Path::Lost { 2 * LASTS } else { Duration::from_secs(4) });
    assert_eq!(
        scene.owners(),
        [First],
        "it has healed: who has the higher priority has the VIP, and nobody else"
    );
    let figures = Figures {
        owners,
        connected,
        gone: scene.probe.worst(begun).map_or(Duration::ZERO, |outage| outage.length(Instant::now())),
        stall: live.longest_stall(),
        live: live.verify(),
        misrouted: topology.resets_counted().unwrap(),
    };
    let Figures { owners, connected, gone, stall, live: all, misrouted } = &figures;
    println!(
        "{:<38} {:>10}  {:<15} {:>5} {:>9}  {all} {misrouted:>10}",
        partition.what,
        format!("{}, {}", connected[0], connected[1]),
        format!("{owners:?}"),
        gone.as_millis(),
        stall.as_millis()
    );
    if is_told {
        Director::BOTH.into_iter().for_each(|which| scene.wait_in_step(which));
        let expected = CONNECTIONS + newer.as_ref().map_or(0, |_| CONNECTIONS / 10);
        pair.wait(Second, "it knows of all", |peers| {
            let of = |key| peers["cluster"][key].as_u64().unwrap();
            of("records_told") + of("records_held") >= expected as u64
        });
    }
    figures
}

fn rows(partitions: &[Partition]) {
    println!("{HEAD}");
    for partition in partitions {
        let Figures { owners, connected, gone, stall, live, misrouted } = play(partition, "all");
        assert_eq!((live.broken(), misrouted), (0, 0), "{}: {live}", partition.what);
        assert_eq!(
            (&owners[..], connected),
            (partition.owners, [partition.is_connected; 2]),
            "{}",
            partition.what
        );
        let is_as_expected = match partition.path {
            Path::Stays => gone < Duration::from_millis(50),
            Path::Moves => gone < Duration::from_secs(1),
            Path::Lost => (LASTS..LASTS + Duration::from_secs(2)).contains(&gone),
        };
        assert!(is_as_expected, "{}: {:?}, gone for {gone:?}", partition.what, partition.path);
        // Healing takes the path once more where the VIP goes back: two stalls that may follow each other.
        assert!(stall <= gone * 4 + Duration::from_millis(500), "{}: stalled for {stall:?}", partition.what);
    }
}

#[test]
fn the_sync_link_is_cut_and_heals() {
    rows(&[SYNC_LINK]);
}

#[test]
fn the_owner_is_cut_off_and_comes_back() {
    rows(&[ALL_OF_THE_OWNER]);
}

/// With `XLVS_LONG=1` all that is left.
#[test]
#[ignore = "the rows that are played in every run are tests of their own"]
fn the_networks_are_cut_in_every_way_and_heal() {
    rows(short_or_long(&[FRONT], &OTHERS));
}

/// The control: what is lost by a path that moves, where nothing is told.
#[test]
fn without_replication_a_partition_breaks_connections() {
    println!("{HEAD}");
    let Figures { live, misrouted, .. } = play(&ALL_OF_THE_OWNER, "none");
    assert!(live.broken() > 10 && misrouted > 10, "{live}, {misrouted}");
}

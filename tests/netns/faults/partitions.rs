//! Parts of a pair's networks lose every frame without anybody's carrier going down, one way or both, and heal.

use std::thread::sleep;
use std::time::{Duration, Instant};

use xlvs_tests::topology::{Cut, Delivery, Director, Network, Topology};

use super::live::{Live, Tally, count_misrouted};
use super::scene::{Scene, Setting, Variant};
use crate::length::short_or_long;

const CONNECTIONS: usize = 500;
/// How long a partition lasts: over the three seconds after which a silent director is lost to the other.
const LASTS: Duration = Duration::from_secs(6);

/// What is cut, and what is to come of it.
struct Partition {
    what: &'static str,
    cuts: &'static [(Director, Network, Way)],
    /// Whether the directors stay connected.
    connected: bool,
    /// Who has the VIP in the end, of the partition and after it has healed.
    owner: Director,
}

/// What a director is cut off from: what others say, or their ears.
#[derive(Clone, Copy)]
enum Way {
    Deaf,
    Mute,
}

use Director::{First, Second};
use Network::{Clients, Mesh, Servers};
use Way::{Deaf, Mute};

const PARTITIONS: [Partition; 7] = [
    Partition {
        what: "sync link",
        cuts: &[(First, Mesh, Deaf), (Second, Mesh, Deaf)],
        connected: false,
        owner: First,
    },
    Partition {
        what: "sync link, to the owner",
        cuts: &[(First, Mesh, Deaf)],
        connected: false,
        owner: First,
    },
    Partition {
        what: "sync link, from the owner",
        cuts: &[(Second, Mesh, Deaf)],
        connected: false,
        owner: First,
    },
    Partition {
        what: "front and back of the owner",
        cuts: &[
            (First, Clients, Deaf),
            (First, Clients, Mute),
            (First, Servers, Deaf),
            (First, Servers, Mute),
        ],
        connected: true,
        owner: Second,
    },
    Partition {
        what: "all of the owner",
        cuts: &[
            (First, Clients, Deaf),
            (First, Clients, Mute),
            (First, Servers, Deaf),
            (First, Servers, Mute),
            (First, Mesh, Deaf),
            (First, Mesh, Mute),
        ],
        connected: false,
        owner: Second,
    },
    Partition {
        what: "front of the owner",
        cuts: &[(First, Clients, Deaf), (First, Clients, Mute)],
        connected: true,
        owner: Second,
    },
    Partition {
        what: "front, to the other",
        cuts: &[(Second, Clients, Deaf)],
        connected: true,
        owner: First,
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

/// How the VIP fared, looked at every ten milliseconds.
#[derive(Debug, Default)]
struct Ownership {
    nobody: usize,
    one: usize,
    both: usize,
    changes: usize,
}

fn watch(scene: &Scene<'_>, time: Duration) -> Ownership {
    let until = Instant::now() + time;
    let mut seen = Ownership::default();
    let mut last = scene.owners();
    while Instant::now() < until {
        let owners = scene.owners();
        *[&mut seen.nobody, &mut seen.one, &mut seen.both][owners.len()] += 1;
        seen.changes += usize::from(owners != last);
        last = owners;
        sleep(Duration::from_millis(10));
    }
    seen
}

#[test]
fn explore() {
    let setting = Setting { delivery: Delivery::Nat, variant: Variant::Least, replicate: "all" };
    let wanted = std::env::var("ROW").ok();
    for partition in &PARTITIONS {
        if wanted.as_ref().is_some_and(|wanted| wanted != partition.what) {
            continue;
        }
        let pair = setting.build();
        let scene = Scene::set(&pair, &setting);
        let live = scene.open(&setting, CONNECTIONS);
        sleep(Duration::from_secs(1));
        count_misrouted(&pair.site.topology);
        live.forget_gaps();
        let begun = Instant::now();
        let cuts = partition.begin(&pair.site.topology);
        let during = watch(&scene, LASTS);
        let owners = scene.owners();
        let connected: Vec<_> =
            [First, Second].map(|which| pair.peers(which)["cluster"]["peers_connected"].as_u64()).into();
        let outage = scene.probe.worst(begun);
        drop(cuts);
        let after = watch(&scene, Duration::from_secs(4));
        let stall = live.longest_stall();
        let all = live.verify();
        println!(
            "{:<28} during {during:?} end {owners:?} connected {connected:?} gone {:?} lost {:?} stall {} ms; after {after:?} {:?}; {all} misrouted {}",
            partition.what,
            outage.map(|outage| outage.length(Instant::now()).as_millis()),
            outage.map(|outage| outage.lost),
            stall.as_millis(),
            scene.owners(),
            pair.site.topology.resets_counted().unwrap(),
        );
        scene.wait_in_step(First);
        scene.wait_in_step(Second);
        println!("{}", pair.peers(Second));
    }
    let _ = (
        short_or_long(1, 2),
        Tally::default(),
        Live::younger as fn(_, _) -> _,
        partition_fields(&PARTITIONS[0]),
    );
}

fn partition_fields(partition: &Partition) -> (bool, Director) {
    (partition.connected, partition.owner)
}

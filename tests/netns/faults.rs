//! A director of a pair fails with live connections: each kind of fault, by each way of delivery, under each way to choose a server.
//!
//! A connection is *live* if it was established a second before the fault. *Misrouted* is counted at the servers: by the resets they
//! answer with to what they know nothing of. How long the path was gone is what a probe through the VIP found, a datagram each
//! millisecond; when the fault was noticed is what keepalived's log says.

mod idle;
mod live;
mod partitions;
mod scene;
mod watchdog;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::sleep;
use std::time::{Duration, Instant};

use xlvs_tests::topology::{Delivery, Director, Network};
use xlvs_tests::traffic::at_most;

use self::live::{Live, Tally, count_misrouted};
use self::scene::{Scene, Setting, Variant};
use crate::length::short_or_long;
use crate::survival::MISS_TABLE_FOLLOWS;

/// What becomes of the first director, which has the VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// `kill -9` of agent and keepalived.
    Killed,
    /// All its cables are pulled.
    Unplugged,
    /// Its agent does nothing any more; its data path goes on.
    Frozen,
    /// The machine and its cables are no more.
    Gone,
    /// The cable to the servers is pulled.
    InnerCut,
}

impl Fault {
    const ALL: [Self; 5] = [Self::Killed, Self::Unplugged, Self::Frozen, Self::Gone, Self::InnerCut];

    fn moves_the_vip(self) -> bool {
        self != Self::Frozen
    }

    fn strike(self, scene: &mut Scene<'_>) {
        let first = Director::First;
        match self {
            Self::Killed => scene.kill(first),
            Self::Unplugged => scene.pull(first, &[Network::Clients, Network::Servers, Network::Mesh], false),
            Self::Frozen => scene.freeze(first, true),
            Self::Gone => scene.remove(first),
            Self::InnerCut => scene.pull(first, &[Network::Servers], false),
        }
    }

    /// Whether it can be, and is, undone.
    fn undo(self, scene: &mut Scene<'_>) -> bool {
        let first = Director::First;
        match self {
            Self::Killed => scene.boot(first),
            Self::Unplugged => scene.pull(first, &[Network::Mesh, Network::Servers, Network::Clients], true),
            Self::Frozen => scene.freeze(first, false),
            Self::Gone => return false,
            Self::InnerCut => scene.pull(first, &[Network::Servers], true),
        }
        true
    }
}

/// A row of the table.
#[derive(Debug)]
struct Figures {
    live: Tally,
    /// Those that had just begun.
    younger: Tally,
    misrouted: u64,
    /// From the fault until keepalived says that the other one has the VIP.
    detection: Option<Duration>,
    /// The probe's outage, and from the fault to its end.
    gone: Duration,
    back: Option<Duration>,
    /// The longest that a live connection waited.
    stall: Duration,
}

const HEAD: &str = "\
delivery       variant   fault       alive reset stalled wrong  misrouted  detection  gone  back  stall ms  \
younger: alive reset stalled wrong";

impl Figures {
    fn print(&self, setting: &Setting, fault: Fault) {
        let Setting { delivery, variant, .. } = setting;
        let ms = |time: Option<Duration>| time.map_or("-".to_owned(), |time| time.as_millis().to_string());
        let [delivery, variant, fault] =
            [format!("{delivery:?}"), format!("{variant:?}"), format!("{fault:?}")];
        println!(
            "{delivery:<14} {variant:<9} {fault:<10} {} {:>10} {:>10} {:>5} {:>5} {:>9}  {:>14}",
            self.live,
            self.misrouted,
            ms(self.detection),
            ms(Some(self.gone)),
            ms(self.back),
            ms(Some(self.stall)),
            self.younger
        );
    }

    fn hold(&self, fault: Fault) {
        assert_eq!((self.live.broken(), self.misrouted), (0, 0), "live connections broke: {self:?}");
        if fault.moves_the_vip() {
            let (detection, back) = (self.detection.unwrap(), self.back.expect("the path is back"));
            assert!(back <= detection + Duration::from_millis(200), "the path came back late: {self:?}");
        }
        let bound = self.gone * 2 + Duration::from_millis(300);
        assert!(self.stall <= bound, "a connection stalled for long: {self:?}");
    }
}

/// Everything from two directors that are ready to one that has returned.
fn play(setting: Setting, fault: Fault, connections: usize) -> Figures {
    let pair = setting.build();
    let topology = &pair.site.topology;
    let mut scene = Scene::set(&pair, &setting);
    let live = scene.open(&setting, connections);
    if matches!(setting.variant, Variant::Reloaded | Variant::Followed) {
        pair.reload(&setting.lines(), &setting.services(&pair, &[0, 1, 4, 5]));
    }
    sleep(if setting.variant == Variant::Followed { MISS_TABLE_FOLLOWS } else { Duration::from_secs(1) });
    let younger = Live::younger(&pair.site, 50);

    count_misrouted(topology);
    live.forget_gaps();
    let before = scene.engine(Director::Second).promotions();
    let struck = Instant::now();
    fault.strike(&mut scene);
    let promoted = fault.moves_the_vip().then(|| scene.engine(Director::Second).wait_for_promotion(before));
    // The longest stall is over by then, or is no longer of interest.
    sleep(Duration::from_secs(4));
    let stall = live.longest_stall();
    let outage = scene.probe.worst(struck);
    let figures = Figures {
        live: live.verify(),
        younger: Tally::of(&younger.report()),
        misrouted: topology.resets_counted().unwrap(),
        detection: promoted.map(|promoted| promoted.duration_since(struck)),
        gone: outage.map_or(Duration::ZERO, |outage| outage.length(Instant::now())),
        back: match outage {
            Some(outage) => outage.until.map(|until| until.saturating_duration_since(struck)),
            None => Some(Duration::ZERO),
        },
        stall,
    };
    figures.print(&setting, fault);
    if setting.replicate == "all" {
        let owner = if fault.moves_the_vip() { Director::Second } else { Director::First };
        assert_eq!(scene.owners(), [owner]);
        if fault.undo(&mut scene) {
            scene.watch_return(Director::First, connections);
            sleep(Duration::from_secs(1));
            assert_eq!(scene.owners(), [owner], "who came back takes nothing");
            let all = live.verify();
            assert_eq!((all.broken(), topology.resets_counted().unwrap()), (0, 0), "after the return: {all}");
        }
    }
    figures
}

fn rows(rows: &[(Delivery, Variant, Fault)], connections: usize) {
    println!("{HEAD}");
    // A table with all its rows says more than one that ends where the first does not hold.
    let failed = rows.iter().filter(|(delivery, variant, fault)| {
        let setting = Setting { delivery: *delivery, variant: *variant, replicate: "all" };
        let row = AssertUnwindSafe(|| play(setting, *fault, connections).hold(*fault));
        catch_unwind(row).is_err()
    });
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "these do not hold: {failed:?}");
}

const SHORT: usize = 1000;

#[test]
fn a_director_that_is_killed_costs_no_live_connection() {
    rows(&[(Delivery::Nat, Variant::Followed, Fault::Killed)], SHORT);
}

#[test]
#[ignore = "one of two that cost a minute each; the whole suite has to stay below 25"]
fn a_director_that_is_unplugged_costs_no_live_connection() {
    rows(&[(Delivery::DirectRouting, Variant::Least, Fault::Unplugged)], SHORT);
}

/// With `XLVS_LONG=1` every row, with ten thousand connections; `XLVS_ROWS` chooses among them, as in `Nat Least,Frozen`.
#[test]
#[ignore = "the rows that are played in every run are tests of their own"]
fn no_fault_costs_a_live_connection() {
    let variants = [Variant::Plain, Variant::Affinity, Variant::Least, Variant::Reloaded, Variant::Followed];
    let chosen = std::env::var("XLVS_ROWS").unwrap_or_default();
    let is_chosen = |(delivery, variant, fault): &(Delivery, Variant, Fault)| {
        let name = format!("{delivery:?} {variant:?} {fault:?}");
        chosen.split(',').any(|part| name.contains(part.trim()))
    };
    let all: Vec<_> = [Delivery::Nat, Delivery::DirectRouting]
        .into_iter()
        .flat_map(|delivery| variants.map(|variant| (delivery, variant)))
        .flat_map(|(delivery, variant)| Fault::ALL.map(|fault| (delivery, variant, fault)))
        .filter(is_chosen)
        .collect();
    let frozen = vec![(Delivery::Nat, Variant::Affinity, Fault::Frozen)];
    rows(&short_or_long(frozen, all), at_most(short_or_long(SHORT, 10 * SHORT)));
}

/// The control: nothing is told, and the same questions find what is broken.
#[test]
fn without_replication_a_fault_breaks_live_connections() {
    println!("{HEAD}");
    let setting = Setting { delivery: Delivery::Nat, variant: Variant::Least, replicate: "none" };
    let figures = play(setting, Fault::Killed, SHORT);
    assert!(figures.live.broken() > SHORT / 10, "{figures:?}");
    assert!(figures.misrouted > SHORT as u64 / 10, "{figures:?}");
}

//! `replicate = "diverged"`: what the other director derives from the same tables is not told, and survives like what is told.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use xlvs_tests::flood::{Barrage, Flood, FloodPlan};
use xlvs_tests::random::fresh_seed;
use xlvs_tests::topology::{Delivery, Director, Layout};

use crate::crowd::Crowd;
use crate::length::short_or_long;
use crate::pair::{CONNECTIONS, Pair};

const LINES: &str = "replicate = \"diverged\"";
/// Tables change at most once a minute.
const CHANGES_WITHIN: Duration = Duration::from_secs(90);
/// From when what a change would lose is told until all have gone over.
const GOES_OVER_WITHIN: Duration = Duration::from_secs(5);

fn count(peers: &Value, key: &str) -> usize {
    peers["cluster"][key].as_u64().unwrap() as usize
}

/// Two directors in step, and connections at the first.
fn in_step(pair: &Pair) -> Crowd {
    for which in Director::BOTH {
        pair.wait(which, "tables are in step", |peers| peers["peers"][0]["in_step"] == true);
    }
    let crowd = Crowd::open(&pair.site, pair.site.target(), CONNECTIONS);
    // By direct routing a connection is established by a packet at a later tick.
    sleep(Duration::from_secs(2));
    crowd.survived("settled");
    crowd
}

/// Waits until so many connections are told or derived, and says how many are told.
fn settled(pair: &Pair, all: usize) -> usize {
    pair.wait(Director::First, &format!("{all} are told or derived"), |peers| {
        count(peers, "records_told") + count(peers, "records_spared") == all
    });
    let told = count(&pair.peers(Director::First), "records_told");
    println!("of {all} connections {told} are told");
    told
}

fn goes_on(layout: Layout, delivery: Delivery, change: bool) {
    let pair = Pair::build(layout, delivery, 4);
    let servers = pair.site.serve_all();
    pair.configure(LINES, &pair.site.web_of(&[0, 1, 2, 3]));
    let (first, _second) = (pair.up(Director::First), pair.up(Director::Second));
    pair.site.topology.give_vips(Director::First).unwrap();
    let mut crowd = in_step(&pair);
    let told = settled(&pair, CONNECTIONS);
    let mut more = None;
    if change {
        pair.reload(LINES, &pair.site.web(&[(0, 1), (1, 7), (2, 1), (3, 7)]));
        pair.wait_for(CHANGES_WITHIN, Director::First, "what the next tables would lose is told", |peers| {
            count(peers, "records_told") > told + CONNECTIONS / 10
        });
        sleep(GOES_OVER_WITHIN);
        crowd.survived("other tables");
        let told = settled(&pair, CONNECTIONS);
        more = Some(Crowd::open(&pair.site, pair.site.target(), CONNECTIONS));
        let of_new = settled(&pair, 2 * CONNECTIONS) - told;
        assert!(of_new < CONNECTIONS / 20, "{of_new} new connections are not derived: the tables are others");
    } else {
        assert!(told < CONNECTIONS / 20, "{told} connections are not derived");
    }
    pair.die(Director::First, first);
    pair.site.topology.give_vips(Director::Second).unwrap();
    crowd.hear_the_servers(&servers);
    crowd.unbroken("the other director");
    if let Some(more) = more {
        more.unbroken("begun after the change");
    }
    println!("{} adopted", pair.adopted(Director::Second));
}

#[test]
fn what_is_derived_is_not_told_and_goes_on_by_nat() {
    goes_on(Layout::TwoArm, Delivery::Nat, false);
}

#[test]
fn what_is_derived_is_not_told_and_goes_on_by_direct_routing() {
    goes_on(Layout::OneArm, Delivery::DirectRouting, false);
}

#[test]
fn before_tables_change_what_they_would_lose_is_told() {
    goes_on(Layout::TwoArm, Delivery::Nat, true);
}

/// A round of digests.
const MEASURED: Duration = Duration::from_secs(10);
/// Until connections are looked at, and the first digests have gone.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// Bytes a second that the first director sends the second while so many connections a second begin, and how many it has told of.
fn told_at(pair: &Pair, rate: f64) -> (f64, usize) {
    let seed = fresh_seed();
    let seconds = (STEADY_AFTER + MEASURED).as_secs_f64() + 2.0;
    let flood = |barrage| {
        let plan = FloodPlan {
            barrage,
            clients: (rate * seconds) as usize,
            target: pair.site.target(),
            destination: pair.site.topology.director_mac("eth0").unwrap(),
            rate: Some(rate),
            seed,
        };
        Flood::start(pair.site.topology.switch(), "dir0", plan).unwrap()
    };
    let sent = || {
        let sent = &pair.peers(Director::First)["peers"][0]["sent"];
        ["bytes_total", "records_total"].map(|key| sent[key].as_u64().unwrap())
    };
    let syns = flood(Barrage::Syns);
    // By direct routing a connection is established by a packet at a later tick.
    sleep(Duration::from_secs(1));
    let acks = flood(Barrage::Acks);
    sleep(STEADY_AFTER);
    let (begun, before) = (Instant::now(), sent());
    sleep(MEASURED);
    let (took, after) = (begun.elapsed().as_secs_f64(), sent());
    let [bytes, records] = [0, 1].map(|at| (after[at] - before[at]) as f64 / took);
    let peers = pair.peers(Director::First);
    let [told, spared] = ["records_told", "records_spared"].map(|key| count(&peers, key));
    let (syns, acks) = (syns.finish().unwrap(), acks.finish().unwrap());
    println!(
        "{rate} new a second ({:.0} reached): {bytes:.0} bytes and {records:.0} records a second; {told} told, {spared} derived",
        acks.rate()
    );
    println!("  {syns}\n  {acks}");
    assert!(told + spared > rate as usize, "connections are established");
    assert!(peers["peers"][0]["in_step"] == true, "{peers}");
    (bytes, told)
}

fn flooded(lines: &str, rates: &[f64]) -> Vec<(f64, usize)> {
    let pair = Pair::build(Layout::OneArm, Delivery::DirectRouting, 4);
    let _shields = pair.site.topology.shield_servers().unwrap();
    pair.configure(lines, &pair.site.web_of(&[0, 1, 2, 3]));
    let (_first, _second) = (pair.up(Director::First), pair.up(Director::Second));
    pair.site.topology.give_vips(Director::First).unwrap();
    pair.wait(Director::First, "tables are in step", |peers| peers["peers"][0]["in_step"] == true);
    rates.iter().map(|rate| told_at(&pair, *rate)).collect()
}

/// What directors in step tell each other does not depend on how many connections begin. The control: where all is told, it does.
#[test]
fn what_is_told_does_not_grow_with_the_connections_that_begin() {
    let derived = flooded(LINES, &short_or_long(vec![1e3, 1e4], vec![1e3, 1e4, 1e5]));
    assert!(derived.iter().all(|(_, told)| *told == 0), "{derived:?}");
    let most = derived.iter().map(|(bytes, _)| *bytes).fold(0.0, f64::max);
    // Pulses are all there is; the number of a message takes a second byte after the first 127.
    assert!(most < 2.0 * derived[0].0, "{derived:?} bytes a second");
    let all = flooded("replicate = \"all\"", &short_or_long(vec![1e3], vec![1e3, 1e4, 1e5]));
    assert!(
        all.iter().all(|(bytes, _)| *bytes > 100.0 * most),
        "{all:?} where all is told, {derived:?} in step"
    );
}

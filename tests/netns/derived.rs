//! `replicate = "diverged"`: what the other director derives from the same tables is not told, and survives like what is told.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use xlvs_tests::topology::{Delivery, Director, Layout};

use crate::crowd::Crowd;
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

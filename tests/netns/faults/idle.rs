//! Connections that send no byte, through a failover, another table at the new owner, and the failover back.

use std::thread::sleep;
use std::time::Duration;

use xlvs_tests::topology::{Delivery, Director};
use xlvs_tests::traffic::at_most;

use super::live::{Live, Tally, count_misrouted};
use super::scene::{Scene, Setting, Variant};
use crate::length::short_or_long;
use crate::survival::MISS_TABLE_FOLLOWS;

/// What became of them, and how many servers said that they know nothing of them.
fn there_and_back(replicate: &'static str, connections: usize) -> (Tally, u64) {
    let [a, b] = Director::BOTH;
    let setting = Setting { delivery: Delivery::Nat, variant: Variant::Plain, replicate };
    let is_told = replicate == "all";
    let pair = setting.build();
    let mut scene = Scene::set(&pair, &setting);
    let idle = Live::open_idle(&pair.site, connections);
    if is_told {
        scene.wait_held(b, connections);
    }
    count_misrouted(&pair.site.topology);

    scene.kill(a);
    scene.engine(b).wait_for_promotion(0);
    if is_told {
        pair.wait(b, "it answers for them", |peers| {
            peers["cluster"]["records_told"].as_u64() >= Some(connections as u64)
        });
    }
    let other_weights = pair.site.web(&[(0, 1), (1, 7), (2, 1), (3, 7)]);
    pair.configure(&setting.lines(), &format!("{}{other_weights}", setting.probe(&pair)));
    pair.installation(b).reload().unwrap();
    sleep(MISS_TABLE_FOLLOWS);

    scene.boot(a);
    scene.watch_return(a, if is_told { connections } else { 0 });
    sleep(Duration::from_secs(1));
    assert_eq!(scene.owners(), [b]);
    scene.kill(b);
    scene.engine(a).wait_for_promotion(0);
    let all = Tally::of(&idle.verify_all(Duration::from_secs(10)));
    (all, pair.site.topology.resets_counted().unwrap())
}

#[test]
fn idle_connections_survive_two_failovers_and_another_table() {
    let connections = at_most(short_or_long(1000, 10_000));
    let (all, misrouted) = there_and_back("all", connections);
    println!("alive reset stalled wrong  misrouted\n{all} {misrouted:>10}");
    assert_eq!((all.alive, misrouted), (connections, 0));
}

/// The control.
#[test]
fn without_replication_idle_connections_break() {
    let (all, misrouted) = there_and_back("none", 300);
    println!("alive reset stalled wrong  misrouted\n{all} {misrouted:>10}");
    assert!(all.broken() > 30 && misrouted > 30, "{all}, {misrouted} misrouted");
}

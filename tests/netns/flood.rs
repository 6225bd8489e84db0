//! Floods from random sources against a small table: established connections stay, and new ones open meanwhile.

use std::thread::sleep;
use std::time::Duration;

use xlvs_tests::flood::{Barrage, Flood, FloodPlan, FloodReport};
use xlvs_tests::random::fresh_seed;
use xlvs_tests::traffic::{HandshakePlan, HandshakeReport, handshakes};

use crate::crowd::Crowd;
use crate::length::short_or_long;
use crate::run::Run;
use crate::site::{Site, WEB};
use crate::survival::{CONNECTIONS, MISS_TABLE_FOLLOWS};

pub(crate) const TABLE: &str = "[datapath]\nflow_table_size = 65536\n";
/// Frames a second that a flood must reach to count as one.
const RATE: f64 = 100_000.0;

/// What the servers' kernels can answer beside all the rest: with more, the wire loses frames before any program sees them.
const ANSWERED_RATE: f64 = 20_000.0;

/// So many invented clients of one kind, and handshakes in their midst.
pub(crate) fn flood(site: &Site, barrage: Barrage, clients: usize, rate: Option<f64>) -> FloodReport {
    let plan = FloodPlan {
        barrage,
        clients,
        target: WEB.into(),
        destination: site.topology.director_mac("eth0").unwrap(),
        rate,
        seed: fresh_seed(),
    };
    let flood = Flood::start(site.topology.switch(), "dir0", plan).unwrap();
    let mut all = HandshakeReport::default();
    while !flood.finished() {
        let plan = HandshakePlan { rate: Some(100.0), ..HandshakePlan::new(WEB, 20) };
        let some = handshakes(site.client(), &plan).unwrap();
        all.tried += some.tried;
        all.slowest = all.slowest.max(some.slowest);
        some.by_server
            .into_iter()
            .for_each(|(server, count)| *all.by_server.entry(server).or_default() += count);
        some.failures.into_iter().for_each(|(why, count)| *all.failures.entry(why).or_default() += count);
    }
    let report = flood.finish().unwrap();
    println!("{barrage:?}: {report}; meanwhile {all}");
    assert!(all.share() >= 0.99, "{all}");
    report
}

/// A thousand connections whose servers the tables no longer name for all of them: what loses its entry breaks.
pub(crate) fn besieged(site: &Site, table: &str) -> Crowd {
    let crowd = Crowd::open(site, WEB, CONNECTIONS);
    // By direct routing, one burst is a handshake to the director; only a packet of a later tick makes a connection.
    sleep(Duration::from_secs(2));
    crowd.survived("established");
    site.reload(format!("{table}{}", site.web_of(&[0, 2, 3])));
    sleep(MISS_TABLE_FOLLOWS);
    crowd
}

fn withstands(site: &Site, barrages: &[Barrage]) {
    let _servers = site.serve_all();
    site.configure(format!("{TABLE}{}", site.web_of(&[0, 1, 2])));
    let run = Run::start(site);
    let crowd = besieged(site, TABLE);
    let shields = site.topology.shield_servers().unwrap();
    for barrage in barrages {
        let report = flood(site, *barrage, short_or_long(200_000, 1_000_000), None);
        // Of processor time: two cores also run the clients, the servers and the program.
        assert!(report.rate_per_core() >= RATE, "too slow to be a flood: {report}");
    }
    drop(shields);
    crowd.unbroken("flooded");
    println!("events {}", run.status()["events"]);
}

#[test]
fn by_nat_against_syns_acks_and_pairs() {
    withstands(&Site::nat(4), &[Barrage::Syns, Barrage::Acks, Barrage::Pairs]);
}

#[test]
fn by_direct_routing_against_syns_acks_and_pairs() {
    withstands(&Site::direct(4), &[Barrage::Syns, Barrage::Acks, Barrage::Pairs]);
}

/// Here the servers' kernels answer every frame, so the director sees what a flood looks like from both sides.
#[test]
fn by_nat_with_servers_that_answer() {
    let site = Site::nat(4);
    let _servers = site.serve_all();
    site.configure(format!("{TABLE}{}", site.web_of(&[0, 1, 2])));
    let run = Run::start(&site);
    let crowd = besieged(&site, TABLE);
    flood(&site, Barrage::Pairs, short_or_long(100_000, 500_000), Some(ANSWERED_RATE));
    crowd.unbroken("flooded with pairs, answered");
    println!("events {}", run.status()["events"]);
}

#[test]
fn without_a_flow_table_the_besieged_break() {
    const OFF: &str = "[datapath]\nflow_table_size = 0\n";
    let site = Site::nat(4);
    let _servers = site.serve_all();
    site.configure(format!("{OFF}{}", site.web_of(&[0, 1, 2])));
    let _run = Run::start(&site);
    let crowd = besieged(&site, OFF);
    let broken: usize = crowd.broken("no flow table").iter().sum();
    assert!(broken > CONNECTIONS / 5, "{broken} of {CONNECTIONS} broke");
}

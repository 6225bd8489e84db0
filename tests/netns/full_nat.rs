//! Full NAT: servers that know no way but to their own network, and nothing of the VIP.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use xlvs_tests::family::Family;
use xlvs_tests::topology::{Delivery, Layout, POOL, POOL6};
use xlvs_tests::traffic::{Activity, HandshakePlan, Swarm, SwarmPlan, handshakes};

use crate::crowd::Crowd;
use crate::run::Run;
use crate::site::{Site, pool};
use crate::smoke;

const BOTH_WAYS: [&str; 2] = ["forwarded_fullnat", "forwarded_fullnat_reply"];

#[test]
fn tcp_through_two_interfaces() {
    for family in Family::BOTH {
        smoke::tcp(&Site::full_nat(2, family), &BOTH_WAYS);
    }
}

#[test]
fn tcp_through_one_interface() {
    for family in Family::BOTH {
        smoke::tcp(&Site { family, ..Site::build(Layout::OneArm, Delivery::FullNat, 2) }, &BOTH_WAYS);
    }
}

#[test]
fn udp_through_two_interfaces() {
    for family in Family::BOTH {
        smoke::udp(&Site::full_nat(2, family), BOTH_WAYS);
    }
}

/// The control: the same servers by NAT, whose answers they cannot send.
#[test]
fn by_nat_such_servers_answer_nobody() {
    for family in Family::BOTH {
        let site = Site { pool: String::new(), ..Site::full_nat(1, family) };
        let _servers = site.serve_all();
        let mut web = site.web_of(&[0]);
        web.mode = "nat".to_owned();
        site.configure(web);
        let _run = Run::start(&site);
        let report = handshakes(site.client(), &HandshakePlan::new(site.target(), 10)).unwrap();
        assert_eq!(report.opened(), 0, "{report}");
    }
}

fn connections(site: &Site) -> Vec<Value> {
    let said = site.installation.json(&["connections", "--limit", "100000"]).unwrap();
    said["connections"].as_array().unwrap().clone()
}

#[test]
fn a_dead_agent_a_new_one_reloads_and_a_drained_server() {
    for family in Family::BOTH {
        let site = Site::full_nat(4, family);
        let servers = site.serve_all();
        site.configure(site.web_of(&[0, 1, 2]));
        let mut run = Run::start(&site);
        let mut crowd = Crowd::open(&site, site.target(), 300);

        let listed = connections(&site);
        assert_eq!(listed.len(), 300);
        for connection in &listed {
            let sent_from: SocketAddr = connection["sent_from"].as_str().unwrap().parse().unwrap();
            assert_eq!(sent_from.ip(), family.choose(POOL, POOL6), "{connection}");
            assert!(connection["client"].is_string(), "{connection}");
        }
        assert_eq!(run.status()["fullnat"]["ports_lent"], 300);

        run.kill();
        let fresh = handshakes(site.client(), &HandshakePlan::new(site.target(), 100)).unwrap();
        assert_eq!(fresh.opened(), 100, "without an agent: {fresh}");
        crowd.survived("no agent");
        run.up();
        crowd.hear_the_servers(&servers);
        crowd.survived("a new agent");

        site.reload(site.web_of(&[0, 1, 2, 3]));
        crowd.survived("a server added");
        site.installation.ok(&["drain", "web", "rs2"]).unwrap();
        let fresh = handshakes(site.client(), &HandshakePlan::new(site.target(), 100)).unwrap();
        assert_eq!((fresh.opened(), fresh.by_server.get("rs2")), (100, None), "{fresh}");
        assert!(crowd.at("rs2") > 50, "there is something to lose");
        crowd.survived("a server drained");
        site.reload(site.web_of(&[0, 2, 3]));
        // The walk over the ports comes by more than once.
        sleep(Duration::from_secs(5));
        crowd.hear_the_servers(&servers);
        crowd.survived("a server removed, with connections on it");
    }
}

/// The control: another pool has no place for the connections of the old one, and the same measuring tells.
#[test]
fn connections_end_with_their_pool() {
    let site = Site::full_nat(2, Family::V4);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1]));
    let mut run = Run::start(&site);
    let crowd = Crowd::open(&site, site.target(), 60);
    // A reload keeps the pool that is in force, and says so.
    let text = format!("{}{}", pool(20_000, 40_000), site.web_of(&[0, 1]));
    site.installation.configure(text).unwrap();
    let told = site.installation.ok(&["reload"]).unwrap();
    assert!(told.contains("when the agent is started anew"), "{told}");
    crowd.survived("a reload with another pool");
    run.kill();
    run.up();
    let [busy, idle] = crowd.broken("another pool");
    assert_eq!((busy, idle), (30, 30));
    let fresh = handshakes(site.client(), &HandshakePlan::new(site.target(), 50)).unwrap();
    assert_eq!(fresh.opened(), 50, "{fresh}");
}

/// Ports rest after their connections, so that a small pool runs out; who has a port goes on.
#[test]
fn a_pool_that_is_used_up_refuses_newcomers_by_name() {
    let mut site = Site::full_nat(1, Family::V4);
    site.pool = pool(50_000, 50_063);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0]));
    let run = Run::start(&site);
    let plan = SwarmPlan::new(site.target(), 20, Activity::Echo { every: Duration::from_millis(100) });
    let held = Swarm::open(site.client(), &plan).unwrap();
    let opened = handshakes(site.client(), &HandshakePlan::new(site.target(), 80)).unwrap();
    println!("{opened}");
    assert!((20..=44).contains(&opened.opened()), "64 ports, 20 of them held: {opened}");
    let refused = run.verdict("dropped_no_port");
    assert!(refused > 0);
    let drops = site.installation.json(&["drops"]).unwrap();
    assert!(drops["drops"].to_string().contains("dropped_no_port"), "{drops}");
    let status = run.status();
    let lent = status["fullnat"]["ports_lent"].as_u64().unwrap();
    assert!((40..=64).contains(&lent), "{}", status["fullnat"]);
    // They have been closed, and rest.
    sleep(Duration::from_secs(3));
    let again = handshakes(site.client(), &HandshakePlan::new(site.target(), 10)).unwrap();
    println!("while ports rest: {again}");
    let report = held.verify_all(Duration::from_secs(3));
    assert!(report.all_alive(), "{report}");
}

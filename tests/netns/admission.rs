//! Who may come: an attacker and a neighbour at one service, and what a reload makes of them.

use std::net::SocketAddr;
use std::time::Duration;

use xlvs_tests::family::Family;
use xlvs_tests::namespace::Namespace;
use xlvs_tests::topology::{Delivery, Layout, Plan, client_address, client_address6};
use xlvs_tests::traffic::{Activity, HandshakePlan, Swarm, SwarmPlan, handshakes};

use crate::run::Run;
use crate::site::{Site, service};

const ATTACKER: usize = 0;
const NEIGHBOUR: usize = 1;
const CONNECTIONS: usize = 20;

/// Two clients and two servers.
fn build(layout: Layout, delivery: Delivery, family: Family) -> Site {
    let plan = Plan { clients: 2, ..Plan::new(layout, delivery, 2) };
    Site { family, ..Site::of_plan(&plan, "") }
}

fn address(site: &Site, client: usize) -> String {
    match site.family {
        Family::V4 => client_address(client).to_string(),
        Family::V6 => client_address6(client).to_string(),
    }
}

/// How many of ten attempts open.
fn opened(from: &Namespace, target: SocketAddr) -> usize {
    let plan = HandshakePlan { limit: Duration::from_millis(900), ..HandshakePlan::new(target, 10) };
    let report = handshakes(from, &plan).unwrap();
    println!("from {}: {report}", from.name());
    report.opened()
}

fn crowd(from: &Namespace, target: SocketAddr) -> Swarm {
    let swarm = Swarm::open(from, &SwarmPlan::new(target, CONNECTIONS, Activity::Idle)).unwrap();
    assert!(swarm.verify_all(Duration::from_secs(5)).all_alive());
    swarm
}

fn alive(swarm: &Swarm) -> usize {
    let report = swarm.verify_all(Duration::from_secs(2));
    println!("{report}");
    report.alive()
}

fn a_denied_source_is_cut_and_its_neighbour_is_not(site: &Site) {
    let _servers = site.serve_all();
    let clients = site.topology.clients();
    let (attacker, neighbour) = (&clients[ATTACKER], &clients[NEIGHBOUR]);
    let target = site.target();
    site.configure(site.web_of(&[0, 1]));
    let run = Run::start(site);
    let (of_attacker, of_neighbour) = (crowd(attacker, target), crowd(neighbour, target));
    assert_eq!((opened(attacker, target), opened(neighbour, target)), (10, 10));

    // The control: a reload that denies somebody else.
    site.reload(site.web_of(&[0, 1]).lines("deny = [\"192.0.2.0/24\", \"2001:db8::/32\"]"));
    assert_eq!((alive(&of_attacker), alive(&of_neighbour)), (CONNECTIONS, CONNECTIONS));
    assert_eq!((opened(attacker, target), run.verdict("dropped_denied")), (10, 0));

    site.reload(site.web_of(&[0, 1]).lines(&format!("deny = [\"{}\"]", address(site, ATTACKER))));
    assert_eq!((alive(&of_attacker), alive(&of_neighbour)), (0, CONNECTIONS));
    assert_eq!((opened(attacker, target), opened(neighbour, target)), (0, 10));
    let denied = run.verdict("dropped_denied");
    assert!(denied >= 10, "{denied}");
    assert!(service(&run.status(), "web")["refused"]["denied"].as_u64().unwrap() >= denied);
    let source = SocketAddr::new(address(site, ATTACKER).parse().unwrap(), 40_000).to_string();
    let told = site.installation.json(&["explain", "tcp", &source, &target.to_string()]).unwrap();
    assert_eq!(told["verdict"], "dropped_denied", "{told}");

    // Only the neighbour may come; who was cut stays out.
    site.reload(site.web_of(&[0, 1]).lines(&format!("allow = \"{}\"", address(site, NEIGHBOUR))));
    assert_eq!(alive(&of_neighbour), CONNECTIONS);
    assert_eq!((opened(attacker, target), opened(neighbour, target)), (0, 10));

    site.reload(site.web_of(&[0, 1]));
    assert_eq!((opened(attacker, target), opened(neighbour, target)), (10, 10));
}

#[test]
fn by_nat() {
    a_denied_source_is_cut_and_its_neighbour_is_not(&build(Layout::TwoArm, Delivery::Nat, Family::V4));
}

#[test]
fn by_nat_over_ipv6() {
    a_denied_source_is_cut_and_its_neighbour_is_not(&build(Layout::TwoArm, Delivery::Nat, Family::V6));
}

#[test]
fn by_direct_routing() {
    let site = build(Layout::OneArm, Delivery::DirectRouting, Family::V4);
    a_denied_source_is_cut_and_its_neighbour_is_not(&site);
}

/// Without an agent the lists stay in force; a new one puts those of the file in their place.
#[test]
fn a_new_agent_goes_by_the_same_lists() {
    let site = build(Layout::TwoArm, Delivery::Nat, Family::V4);
    let _servers = site.serve_all();
    let denying = |client| site.web_of(&[0, 1]).lines(&format!("deny = \"{}\"", address(&site, client)));
    let opened = |client: usize| opened(&site.topology.clients()[client], site.target());
    site.configure(denying(ATTACKER));
    let mut run = Run::start(&site);
    assert_eq!((opened(ATTACKER), opened(NEIGHBOUR)), (0, 10));
    run.kill();
    assert_eq!((opened(ATTACKER), opened(NEIGHBOUR)), (0, 10), "without an agent");
    site.configure(denying(NEIGHBOUR));
    run.up();
    assert_eq!((opened(ATTACKER), opened(NEIGHBOUR)), (10, 0), "what the file says now");
}

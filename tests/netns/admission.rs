//! Who may come: an attacker and a neighbour at one service, and what a reload makes of them.

use std::net::SocketAddr;
use std::time::Duration;

use xlvs_tests::family::Family;
use xlvs_tests::namespace::Namespace;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout, Plan, client_address, client_address6};
use xlvs_tests::traffic::{Activity, HandshakePlan, Swarm, SwarmPlan, UdpEchoServer, handshakes, udp_flows};

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

/// How many of so many attempts open at once; no time for a SYN to be sent again.
fn opened_at_once(from: &Namespace, target: SocketAddr, attempts: usize) -> usize {
    let limit = Duration::from_millis(150);
    let report = handshakes(from, &HandshakePlan { limit, ..HandshakePlan::new(target, attempts) }).unwrap();
    println!("from {}: {report}", from.name());
    report.opened()
}

/// What an attacker and then a neighbour open under these limits.
fn attacker_and_neighbour(limits: &str) -> (usize, usize) {
    let site = build(Layout::TwoArm, Delivery::Nat, Family::V4);
    let _servers = site.serve_all();
    let clients = site.topology.clients();
    site.configure(site.web_of(&[0, 1]).lines(&format!("limits = {{ {limits} }}")));
    let run = Run::start(&site);
    let attacker = opened_at_once(&clients[ATTACKER], site.target(), 100);
    let neighbour = opened_at_once(&clients[NEIGHBOUR], site.target(), 8);
    let status = run.status();
    println!("{}", service(&status, "web")["refused"]);
    let refused = |kind| service(&status, "web")["refused"][kind].as_u64().unwrap();
    assert_eq!(refused("rate_source"), run.verdict("dropped_rate_source"));
    assert_eq!(refused("rate_service"), run.verdict("dropped_rate_service"));
    (attacker, neighbour)
}

#[test]
fn an_attacker_is_limited_and_his_neighbour_is_not() {
    let (attacker, neighbour) = attacker_and_neighbour("source_connections_per_second = 10");
    assert!((10..20).contains(&attacker), "{attacker}");
    assert_eq!(neighbour, 8);
}

/// The control: where only the service is limited, the attacker has it all.
#[test]
fn without_a_limit_of_each_source_the_neighbour_is_hit() {
    let (attacker, neighbour) = attacker_and_neighbour("connections_per_second = 10");
    assert!((10..20).contains(&attacker), "{attacker}");
    assert!(neighbour < 8, "{neighbour}");
}

/// The packets of stored connections: what is within the rate is answered.
#[test]
fn a_source_of_many_packets_is_limited_and_its_neighbour_is_not() {
    let site = build(Layout::TwoArm, Delivery::Nat, Family::V4);
    let start = |index: usize| {
        let server = &site.servers()[index];
        UdpEchoServer::start(&server.namespace, &server.name, site.listen(index)).unwrap()
    };
    let _servers = [start(0), start(1)];
    let service =
        |limits: &str| ServiceText { protocol: "udp".to_owned(), ..site.web_of(&[0, 1]).lines(limits) };
    let answered = |client: usize, datagrams| {
        let from = &site.topology.clients()[client];
        let report = udp_flows(from, site.target(), 4, datagrams, 100, Duration::from_millis(20)).unwrap();
        println!("from {}: {report}", from.name());
        report.answered
    };
    site.configure(service(""));
    let run = Run::start(&site);
    assert_eq!((answered(ATTACKER, 50), answered(NEIGHBOUR, 10)), (200, 40), "the control: without a limit");
    site.reload(service("limits = { source_packets_per_second = 50 }\n"));
    let attacker = answered(ATTACKER, 50);
    // 150 too many cost 20 ms each, which gives him 150 more at the most: he waits, so he is served at the rate.
    assert!(attacker < 200, "{attacker}");
    assert!(run.verdict("dropped_rate_source") > 20);
    assert_eq!(answered(NEIGHBOUR, 10), 40);
}

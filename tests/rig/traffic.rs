//! Connections and their judges, with a forwarding kernel in between.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use xlvs_tests::topology::{Delivery, Layout, Plan, Topology, server_address};
use xlvs_tests::traffic::{
    Activity, Download, EchoServer, Greeting, HandshakePlan, Swarm, SwarmPlan, UdpEchoServer, handshakes,
    udp_flows,
};

const EVERY: Activity = Activity::Echo { every: Duration::from_millis(100) };

fn routed() -> Topology {
    let plan =
        Plan { kernel_forwards: true, ready_for_xdp: false, ..Plan::new(Layout::TwoArm, Delivery::Nat, 1) };
    Topology::build(&plan).unwrap()
}

fn served() -> SocketAddrV4 {
    SocketAddrV4::new(server_address(0), 80)
}

fn serve(topology: &Topology, greeting: Greeting) -> EchoServer {
    EchoServer::start(&topology.servers()[0].namespace, "rs1", served(), greeting).unwrap()
}

fn processor_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
    Duration::from_micros(micros as u64)
}

#[test]
fn a_thousand_connections_echo_and_a_thousand_idle_ones_prove_themselves() {
    let topology = routed();
    let _server = serve(&topology, Greeting::AtOnce);
    let busy = Swarm::open(topology.client(), &SwarmPlan::new(served(), 1000, EVERY)).unwrap();
    let idle = Swarm::open(topology.client(), &SwarmPlan::new(served(), 1000, Activity::Idle)).unwrap();
    let (before, began) = (processor_time(), Instant::now());
    std::thread::sleep(Duration::from_secs(3));
    let used = (processor_time() - before).as_secs_f64() / began.elapsed().as_secs_f64();
    let report = busy.verify_all(Duration::from_secs(5));
    println!("busy: {report}; {:.0} % of a core at both ends", used * 100.0);
    assert!(report.all_alive(), "{report}");
    assert!(report.echoes() > 1000 * 5, "too few echoes: {report}");
    let report = idle.verify_all(Duration::from_secs(5));
    assert!(report.all_alive(), "{report}");
    assert_eq!(report.echoes(), 1000);
    assert_eq!(report.by_server().into_iter().collect::<Vec<_>>(), [("rs1", 1000)]);
}

#[test]
fn a_server_that_ends_breaks_its_connections_visibly() {
    let topology = routed();
    let server = serve(&topology, Greeting::OnRequest);
    let busy = Swarm::open(topology.client(), &SwarmPlan::new(served(), 50, EVERY)).unwrap();
    let idle = Swarm::open(topology.client(), &SwarmPlan::new(served(), 50, Activity::Idle)).unwrap();
    drop(server);
    for (swarm, what) in [(busy, "busy"), (idle, "idle")] {
        let report = swarm.verify_all(Duration::from_secs(2));
        println!("{what}: {report}");
        assert_eq!(report.alive(), 0, "{what}: {report}");
        assert_eq!(report.count("reset") + report.count("closed"), 50, "{what}: {report}");
    }
}

#[test]
fn a_silent_server_stalls_its_connections_visibly() {
    let topology = routed();
    let _server = serve(&topology, Greeting::OnRequest);
    let busy = Swarm::open(topology.client(), &SwarmPlan::new(served(), 50, EVERY)).unwrap();
    let idle = Swarm::open(topology.client(), &SwarmPlan::new(served(), 50, Activity::Idle)).unwrap();
    let unplugged = topology.unplug(0).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let report = busy.report();
    assert_eq!(report.count("stalled"), 50, "{report}");
    // An idle connection does not know; asking tells.
    assert_eq!(idle.report().alive(), 50);
    let report = idle.verify_all(Duration::from_millis(500));
    assert_eq!(report.count("stalled"), 50, "{report}");
    drop(unplugged);
    let report = busy.verify_all(Duration::from_secs(15));
    println!("back: {report}");
    assert_eq!(report.alive(), 50, "TCP retransmits: {report}");
    assert!(report.longest_gap() >= Duration::from_millis(1400), "{report}");
}

#[test]
fn another_server_behind_the_same_address_is_noticed() {
    let topology = routed();
    let first = serve(&topology, Greeting::OnRequest);
    let idle = Swarm::open(topology.client(), &SwarmPlan::new(served(), 5, Activity::Idle)).unwrap();
    // The sockets of the first server go without a word, another takes the address: its kernel knows no connection.
    topology.servers()[0].namespace.ip(&format!("address del {}/24 dev eth0", server_address(0))).unwrap();
    drop(first);
    topology.servers()[0]
        .namespace
        .ip(&format!("address add {}/24 dev eth0\nroute add default via 10.77.2.1", server_address(0)))
        .unwrap();
    let second =
        EchoServer::start(&topology.servers()[0].namespace, "rs2", served(), Greeting::OnRequest).unwrap();
    let report = idle.verify_all(Duration::from_secs(3));
    assert_eq!(report.alive(), 0, "{report}");
    assert_eq!(second.accepted(), 0);
}

#[test]
fn servers_speak_first_on_accept_and_later() {
    let topology = routed();
    let server = serve(&topology, Greeting::AtOnce);
    let idle = Swarm::open(topology.client(), &SwarmPlan::new(served(), 20, Activity::Idle)).unwrap();
    assert_eq!(server.push_all(), 20);
    assert_eq!(idle.await_pushes(1, Duration::from_secs(2)), 0);
    let _unplugged = topology.unplug(0).unwrap();
    server.push_all();
    assert_eq!(idle.await_pushes(2, Duration::from_millis(300)), 20);
}

#[test]
fn downloads_are_paced_checked_and_seen_to_break() {
    let topology = routed();
    let server = serve(&topology, Greeting::OnRequest);
    let whole = Download::start(topology.client(), served(), 20_000_003, 0).unwrap();
    println!("{}", whole.finish(Duration::from_secs(20)).unwrap());
    let began = Instant::now();
    let paced = Download::start(topology.client(), served(), 2_000_000, 2_000_000).unwrap();
    paced.finish(Duration::from_secs(20)).unwrap();
    assert!(began.elapsed() > Duration::from_millis(800));
    let broken = Download::start(topology.client(), served(), 50_000_000, 1_000_000).unwrap();
    while broken.received() == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(server);
    assert!(broken.finish(Duration::from_secs(20)).is_err());
}

#[test]
fn handshakes_are_counted_by_server_and_by_reason() {
    let topology = routed();
    let server = serve(&topology, Greeting::OnRequest);
    let plan = HandshakePlan { port_seed: Some(7), ..HandshakePlan::new(served(), 2000) };
    let began = Instant::now();
    let report = handshakes(topology.client(), &plan).unwrap();
    println!("{report} in {} ms", began.elapsed().as_millis());
    assert_eq!(report.opened(), 2000, "{report}");
    drop(server);
    let report = handshakes(topology.client(), &HandshakePlan::new(served(), 10)).unwrap();
    assert_eq!((report.opened(), report.tried), (0, 10), "{report}");
    assert!(report.failures.keys().any(|reason| reason.contains("refused")), "{report}");
}

#[test]
fn udp_flows_are_answered_and_silence_is_counted() {
    let topology = routed();
    let server = UdpEchoServer::start(&topology.servers()[0].namespace, "rs1", served()).unwrap();
    let limit = Duration::from_millis(300);
    let report = udp_flows(topology.client(), served(), 50, 10, 700, limit).unwrap();
    assert_eq!((report.answered, report.misrouted, report.garbled), (500, 0, 0), "{report}");
    assert_eq!(report.by_server["rs1"], 50);
    drop(server);
    let report = udp_flows(topology.client(), served(), 2, 2, 700, limit).unwrap();
    assert_eq!(report.answered, 0, "{report}");
}

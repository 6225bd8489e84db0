//! IPv6 over the topology, with a forwarding kernel in between.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use xlvs_tests::curl;
use xlvs_tests::family::Family;
use xlvs_tests::namespace::Namespace;
use xlvs_tests::nginx::{Nginx, NginxPlan};
use xlvs_tests::topology::{Delivery, Layout, Plan, Topology, server_address6};
use xlvs_tests::traffic::{
    Activity, Download, EchoServer, Greeting, Swarm, SwarmPlan, UdpEchoServer, udp_flows,
};

fn routed(layout: Layout) -> Topology {
    Topology::build(&Plan { kernel_forwards: true, ..Plan::new(layout, Delivery::Nat, 1) }).unwrap()
}

fn served() -> SocketAddr {
    SocketAddr::from((server_address6(0), 80))
}

/// No checksum was wrong, and none was wrong that nobody looked at: what came in was also handed on.
fn sound(machine: &Namespace) {
    for (protocol, name) in [("Tcp", "InCsumErrors"), ("Udp6", "InCsumErrors"), ("Icmp6", "InCsumErrors")] {
        assert_eq!(machine.counter(protocol, name).unwrap(), 0, "{protocol} of {}", machine.name());
    }
    for name in ["InHdrErrors", "InTruncatedPkts", "InDiscards"] {
        assert_eq!(machine.counter("Ip6", name).unwrap(), 0, "{name} of {}", machine.name());
    }
}

#[test]
fn tcp_and_udp_cross_over_ipv6_without_a_wrong_checksum() {
    for layout in [Layout::TwoArm, Layout::OneArm] {
        let topology = routed(layout);
        let server = &topology.servers()[0].namespace;
        let _tcp = EchoServer::start(server, "rs1", served(), Greeting::OnRequest).unwrap();
        let _udp = UdpEchoServer::start(server, "rs1", served()).unwrap();
        let every = Activity::Echo { every: Duration::from_millis(50) };
        let plan = SwarmPlan { payload: 4000, ..SwarmPlan::new(served(), 40, every) };
        let swarm = Swarm::open(topology.client(), &plan).unwrap();
        let download = Download::start(topology.client(), served(), 5_000_000, 0).unwrap();
        println!("{layout:?}: {}", download.finish(Duration::from_secs(20)).unwrap());
        let report = swarm.verify_all(Duration::from_secs(5));
        assert!(report.all_alive(), "{layout:?}: {report}");
        let limit = Duration::from_millis(900);
        let report = udp_flows(topology.client(), served(), 50, 4, 700, limit).unwrap();
        assert_eq!((report.answered, report.misrouted, report.garbled), (200, 0, 0), "{layout:?}: {report}");
        sound(topology.client());
        sound(server);
        assert!(server.counter("Udp6", "InDatagrams").unwrap() >= 200, "it was IPv6");
        assert!(topology.director().counter("Ip6", "OutForwDatagrams").unwrap() > 400, "by the director");
    }
}

#[test]
fn nginx_is_fetched_from_over_ipv6() {
    let topology = routed(Layout::TwoArm);
    let listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80));
    let plan = NginxPlan { listen, big_file: 1 << 20, ..NginxPlan::new("rs1") };
    let _nginx = Nginx::start(&topology.servers()[0].namespace, &plan).unwrap();
    let url = curl::url(topology.servers()[0].address_in(Family::V6), 80, "/");
    let answer = curl::get(topology.client(), &url, Duration::from_secs(2)).unwrap();
    assert_eq!((answer.status, answer.server.as_str(), answer.body.as_str()), (200, "rs1", "rs1\n"));
}

#[test]
fn a_topology_at_rest_is_silent() {
    for layout in [Layout::OneArm, Layout::TwoArm] {
        let topology = Topology::build(&Plan::new(layout, Delivery::Nat, 2)).unwrap();
        // Links are known to be up within a second, and multicast groups announced then.
        std::thread::sleep(Duration::from_millis(1500));
        let received = || topology.director().counter("Ip6", "InReceives").unwrap();
        let before = received();
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(received(), before, "{layout:?}: somebody speaks without being asked");
    }
}

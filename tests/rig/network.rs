//! Namespaces and topologies.

use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use xlvs_tests::topology::{Delivery, Layout, Plan, Topology, VIP, server_address};
use xlvs_tests::traffic::{EchoServer, Greeting, HandshakePlan, handshakes};

use crate::crossing;

const PORT: u16 = 80;

#[test]
fn a_forwarding_kernel_carries_tcp_and_one_that_does_not_carries_none() {
    for layout in [Layout::TwoArm, Layout::OneArm] {
        for forwards in [true, false] {
            let plan = Plan { kernel_forwards: forwards, ..Plan::new(layout, Delivery::Nat, 2) };
            let topology = Topology::build(&plan).unwrap();
            let address = SocketAddrV4::new(server_address(1), PORT);
            let server =
                EchoServer::start(&topology.servers()[1].namespace, "rs2", address, Greeting::OnRequest)
                    .unwrap();
            let limit = Duration::from_millis(if forwards { 3000 } else { 300 });
            let attempt = HandshakePlan { limit, ..HandshakePlan::new(address, 20) };
            let report = handshakes(topology.client(), &attempt).unwrap();
            let expected = if forwards { 20 } else { 0 };
            assert_eq!(report.opened(), expected, "{layout:?}, kernel forwards: {forwards}: {report}");
            assert_eq!(server.accepted(), expected as u64);
        }
    }
}

#[test]
fn the_director_answers_for_the_vip_with_a_reset() {
    let topology = Topology::build(&Plan::new(Layout::TwoArm, Delivery::DirectRouting, 3)).unwrap();
    let refused = topology
        .client()
        .enter(|| TcpStream::connect_timeout(&SocketAddrV4::new(VIP, PORT).into(), Duration::from_secs(2)))
        .unwrap();
    // Not a time-out, so the VIP resolves; not a connection, so no server answered ARP for it.
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let neighbours = topology.client().ip_json(&["neigh", "show", VIP.to_string().as_str()]).unwrap();
    let director = topology.director().ip_json(&["link", "show", "dev", "eth0"]).unwrap();
    assert_eq!(neighbours[0]["lladdr"], director[0]["address"]);
}

#[test]
fn direct_routing_servers_own_the_vip_silently_in_one_arm() {
    let topology = Topology::build(&Plan {
        vip_on_director: false,
        ..Plan::new(Layout::OneArm, Delivery::DirectRouting, 2)
    })
    .unwrap();
    let listener = |index: usize| {
        let address = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PORT);
        EchoServer::start(&topology.servers()[index].namespace, "rs", address, Greeting::OnRequest).unwrap()
    };
    let _servers = [listener(0), listener(1)];
    let attempt = HandshakePlan {
        limit: Duration::from_millis(500),
        ..HandshakePlan::new(SocketAddrV4::new(VIP, PORT), 2)
    };
    let report = handshakes(topology.client(), &attempt).unwrap();
    assert_eq!(report.opened(), 0, "a server answered ARP for the VIP: {report}");
}

#[test]
fn an_unplugged_server_is_silent_until_it_is_plugged_in() {
    let plan = Plan { kernel_forwards: true, ..Plan::new(Layout::TwoArm, Delivery::Nat, 1) };
    let topology = Topology::build(&plan).unwrap();
    let address = SocketAddrV4::new(server_address(0), PORT);
    let _server =
        EchoServer::start(&topology.servers()[0].namespace, "rs1", address, Greeting::OnRequest).unwrap();
    let attempt = HandshakePlan { limit: Duration::from_millis(500), ..HandshakePlan::new(address, 1) };
    let unplugged = topology.unplug(0).unwrap();
    assert_eq!(handshakes(topology.client(), &attempt).unwrap().opened(), 0);
    drop(unplugged);
    let patient = HandshakePlan { limit: Duration::from_secs(5), ..attempt };
    assert_eq!(handshakes(topology.client(), &patient).unwrap().opened(), 1);
}

#[test]
fn direct_routing_servers_answer_from_the_vip_on_their_own_way() {
    for layout in [Layout::OneArm, Layout::TwoArm] {
        let topology = Topology::build(&Plan::new(layout, Delivery::DirectRouting, 1)).unwrap();
        let _director = crossing::attach_direct_routing(&topology, layout).unwrap();
        let address = SocketAddrV4::new(VIP, PORT);
        let server =
            EchoServer::start(&topology.servers()[0].namespace, "rs1", address, Greeting::OnRequest).unwrap();
        let report = handshakes(topology.client(), &HandshakePlan::new(address, 50)).unwrap();
        assert_eq!((report.opened(), server.accepted()), (50, 50), "{layout:?}: {report}");
    }
}

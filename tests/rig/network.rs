//! Namespaces and topologies.

use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use xlvs_tests::family::Family;
use xlvs_tests::namespace::Namespace;
use xlvs_tests::topology::{Delivery, Director, Layout, Plan, Topology, server_address, vip};
use xlvs_tests::traffic::{EchoServer, Greeting, HandshakePlan, handshakes};

use crate::crossing;

const PORT: u16 = 80;

#[test]
fn a_forwarding_kernel_carries_tcp_and_one_that_does_not_carries_none() {
    for layout in [Layout::TwoArm, Layout::OneArm] {
        for forwards in [true, false] {
            let plan = Plan { kernel_forwards: forwards, ..Plan::new(layout, Delivery::Nat, 2) };
            let topology = Topology::build(&plan).unwrap();
            for family in Family::BOTH {
                let rs2 = &topology.servers()[1];
                let address = SocketAddr::new(rs2.address_in(family), PORT);
                let server = EchoServer::start(&rs2.namespace, "rs2", address, Greeting::OnRequest).unwrap();
                let limit = Duration::from_millis(if forwards { 3000 } else { 300 });
                let attempt = HandshakePlan { limit, ..HandshakePlan::new(address, 20) };
                let report = handshakes(topology.client(), &attempt).unwrap();
                let expected = if forwards { 20 } else { 0 };
                assert_eq!(
                    report.opened(),
                    expected,
                    "{family:?}, {layout:?}, kernel forwards: {forwards}: {report}"
                );
                assert_eq!(server.accepted(), expected as u64);
                // Nobody waited for a neighbour or an address: a second is what the first repetition takes.
                assert!(report.slowest < Duration::from_millis(900), "{family:?}, {layout:?}: {report}");
            }
        }
    }
}

#[test]
fn the_director_answers_for_the_vip_with_a_reset() {
    let topology = Topology::build(&Plan::new(Layout::TwoArm, Delivery::DirectRouting, 3)).unwrap();
    let director = topology.director().ip_json(&["link", "show", "dev", "eth0"]).unwrap();
    for address in Family::BOTH.map(vip) {
        let refused = topology
            .client()
            .enter(|| TcpStream::connect_timeout(&SocketAddr::new(address, PORT), Duration::from_secs(2)))
            .unwrap();
        // Not a time-out, so the VIP resolves; not a connection, so no server said that it were there.
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused, "{address}");
        let neighbours = topology.client().ip_json(&["neigh", "show", address.to_string().as_str()]).unwrap();
        assert_eq!(neighbours[0]["lladdr"], director[0]["address"], "{address}");
    }
}

#[test]
fn shared_addresses_move_from_a_director_that_is_cut_off_to_the_other() {
    for layout in [Layout::TwoArm, Layout::OneArm] {
        let plan = Plan { standby: true, ..Plan::new(layout, Delivery::Nat, 1) };
        let topology = Topology::build(&plan).unwrap();
        let knock = |address| {
            let address = SocketAddr::new(address, PORT);
            let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
            topology.client().enter(knock).unwrap().unwrap_err().kind()
        };
        let refuses = |which| {
            let mac = topology.director_of(which).ip_json(&["link", "show", "dev", "eth0"]).unwrap();
            for address in Family::BOTH.map(vip) {
                assert_eq!(knock(address), std::io::ErrorKind::ConnectionRefused, "{layout:?}, {address}");
                let shown = topology.client().ip_json(&["neigh", "show", &address.to_string()]).unwrap();
                assert_eq!(shown[0]["lladdr"], mac[0]["address"], "{layout:?}, {address}, {which:?}");
            }
        };
        let hears_the_other = |from: Director| {
            let address = SocketAddr::new(from.other().on_mesh().into(), PORT);
            let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
            let answer = topology.director_of(from).enter(knock).unwrap().unwrap_err();
            answer.kind() == std::io::ErrorKind::ConnectionRefused
        };
        topology.give_vips(Director::First).unwrap();
        refuses(Director::First);
        assert!(hears_the_other(Director::Second), "{layout:?}");

        topology.cut_off(Director::First).unwrap();
        assert!(Family::BOTH.map(vip).into_iter().all(|vip| knock(vip) == std::io::ErrorKind::TimedOut));
        assert!(!hears_the_other(Director::Second), "{layout:?}");
        topology.give_vips(Director::Second).unwrap();
        refuses(Director::Second);

        topology.take_vips(Director::First).unwrap();
        topology.plug_in_again(Director::First).unwrap();
        // A link that comes up is used once the kernel has looked at it.
        assert!((0..10).any(|_| hears_the_other(Director::Second)), "{layout:?}");
        topology.take_vips(Director::Second).unwrap();
        topology.give_vips(Director::First).unwrap();
        refuses(Director::First);
    }
}

#[test]
fn direct_routing_servers_own_the_vip_silently_in_one_arm() {
    let topology = Topology::build(&Plan {
        vip_on_director: false,
        ..Plan::new(Layout::OneArm, Delivery::DirectRouting, 2)
    })
    .unwrap();
    // Of both families: the kernel hears IPv4 on it, too.
    let anywhere = SocketAddr::new(Family::V6.unspecified(), PORT);
    let listener = |index: usize| {
        EchoServer::start(&topology.servers()[index].namespace, "rs", anywhere, Greeting::OnRequest).unwrap()
    };
    let servers = [listener(0), listener(1)];
    for family in Family::BOTH {
        let silent = HandshakePlan::new(SocketAddr::new(vip(family), PORT), 2);
        let attempt = HandshakePlan { limit: Duration::from_millis(500), ..silent };
        let report = handshakes(topology.client(), &attempt).unwrap();
        assert_eq!(report.opened(), 0, "a server said that it has the VIP: {report}");
        // The counter-example: they do have it, for whoever knows.
        let server = mac(&topology.servers()[0].namespace);
        let known = format!("neigh replace {} lladdr {server} dev eth0", vip(family));
        topology.client().ip(&known).unwrap();
        let report = handshakes(topology.client(), &attempt).unwrap();
        assert_eq!(report.opened(), 2, "{report}");
    }
    assert_eq!((servers[0].accepted(), servers[1].accepted()), (4, 0));
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
        for address in Family::BOTH.map(|family| SocketAddr::new(vip(family), PORT)) {
            let rs1 = &topology.servers()[0].namespace;
            let server = EchoServer::start(rs1, "rs1", address, Greeting::OnRequest).unwrap();
            let report = handshakes(topology.client(), &HandshakePlan::new(address, 50)).unwrap();
            assert_eq!((report.opened(), server.accepted()), (50, 50), "{address}, {layout:?}: {report}");
        }
    }
}

fn mac(machine: &Namespace) -> String {
    let links = machine.ip_json(&["link", "show", "dev", "eth0"]).unwrap();
    links[0]["address"].as_str().unwrap().to_owned()
}

//! The entries of flows whose packets name another server.

use lb_common::slot::ServerId;
use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::world::{Server, Service, Side, World};
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::quic::{connection_id, long, short};
use xlvs_tests::packet::{Ipv4, Udp};

use crate::seen::run;

const TICKS: u32 = 20;

/// How long the entry of a flow has been idle that began at the first server, while packets name this one, which answers.
fn idle_while_naming(server: u8) -> u8 {
    let web = Service::tcp("web", VIP, 443).quic(0, 1);
    let first = Server::at("rs1", RS1, 443).called(&[1]);
    let world = World::of(web, [first, Server::at("rs2", RS2, 443).weight(0).called(&[2])]);
    let mut native = Native::with(&world).unwrap();
    let sent = |payload| from_client(VIP, Udp::new(PORT, 443, payload));
    assert_eq!(run(&mut native, Side::Front, &sent(long(b"chosen at random"))).0, "forwarded_nat");
    let (named, address) = (sent(short(&connection_id(0, &[server]))), if server == 1 { RS1 } else { RS2 });
    let answer = from_server(Ipv4::new(address, CLIENT, Udp::new(443, PORT, *b"an answer")));
    for _ in 0..TICKS {
        native.pass(1).unwrap();
        assert_eq!(run(&mut native, Side::Front, &named).0, "forwarded_nat");
        assert_eq!(run(&mut native, Side::Back, &answer).0, "forwarded_nat_reply");
    }
    let stored: Vec<_> = native.stored().collect();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].server().map(ServerId::get), Some(1), "it stays where it is");
    stored[0].idle(native.arrays.clock.all()[0].now())
}

/// Else a server that nobody names any more would never be free of connections.
#[test]
fn an_entry_that_only_another_servers_packets_use_grows_old() {
    assert_eq!(u32::from(idle_while_naming(2)), TICKS);
    assert_eq!(idle_while_naming(1), 0, "the control: its own keep it");
}

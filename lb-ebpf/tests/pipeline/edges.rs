//! What stands on an edge: a tick or a byte less, and it is something else.

use lb_common::slot::{Class, Slot};
use lb_common::verdict::Verdict;
use xlvs_tests::datapath::cases::people::{CLIENT, PORT, RS1, VIP, client_frame, from_client, one_server};
use xlvs_tests::datapath::world::{Server, Service, Side, World};
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::{Ipv4, Tcp, Transport};

fn classes(native: &Native) -> Vec<Class> {
    native.stored().map(Slot::class).collect()
}

/// By direct routing only the client is seen, and what a flood sends at once must not look like a live connection.
#[test]
fn seen_from_one_side_a_connection_is_established_by_a_packet_in_a_later_tick_alone() {
    let service = Service::tcp("web", VIP, 80).direct();
    let mut native = Native::with(&World::of(service, [Server::at("rs1", RS1, 80).in_front()])).unwrap();
    let push = |native: &mut Native, segment| {
        assert_eq!(native.push(Side::Front, &from_client(VIP, segment)).0, Verdict::ForwardedDr);
        classes(native)
    };
    assert_eq!(push(&mut native, Tcp::syn(PORT, 80, 1)), [Class::New]);
    assert_eq!(push(&mut native, Tcp::ack(PORT, 80, 2, 7)), [Class::New], "the same tick");
    native.pass(1).unwrap();
    assert_eq!(push(&mut native, Tcp::ack(PORT, 80, 2, 7)), [Class::Established]);
}

/// What the frame is filled up with belongs to no packet.
#[test]
fn a_ping_that_ends_within_its_header_is_no_ping() {
    let mut native = Native::with(&one_server()).unwrap();
    let verdict_of = |native: &mut Native, length: usize| {
        let mut bytes = vec![8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        bytes.truncate(length);
        let mut frame = client_frame(Ipv4::new(CLIENT, VIP, Transport::Raw { protocol: 1, bytes }));
        frame.resize(60, 0);
        native.push(Side::Front, &frame).0
    };
    assert_eq!(verdict_of(&mut native, 8), Verdict::RepliedEcho);
    for length in 0..8 {
        let verdict = verdict_of(&mut native, length);
        assert_eq!(verdict, Verdict::PassedNotBalanced, "{length} bytes of ICMP");
    }
}

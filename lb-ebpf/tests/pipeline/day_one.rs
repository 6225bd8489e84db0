//! Defects that shipped in comparable data paths, each by name. Two more, checksums that veth left to the card and a veth
//! whose peer has no program, belong to devices and are tested in namespaces.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::native::Question;
use xlvs_tests::datapath::world::{Number, Server, Service, Side, World, mac_of};
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::{Checksum, Extension, Frame, Icmp, Ipv4, Ipv6, Tcp, TcpFlags, faults};

use super::seen::{field, run, server};

fn four_servers() -> World {
    let rs = |i: u8| Server::at(["rs1", "rs2", "rs3", "rs4"][usize::from(i)], [10, 77, 2, 21 + i], 8080);
    World::of(Service::tcp("web", VIP, 80), (0..4).map(rs))
}

/// All servers have failed.
fn dead() -> World {
    one_server().with(|world| {
        let rs1 = world.named("rs1");
        (rs1.down, rs1.weight) = (true, 0);
    })
}

/// "Flow key without VIP port aliases two services."
#[test]
fn flow_key_contains_the_vip_port() {
    let world = one_server().and(Service::tcp("tls", VIP, 443), [Server::at("rs2", RS2, 8080)]);
    let mut native = Native::with(&world).unwrap();
    for _ in 0..2 {
        assert_eq!(server(&mut native, &from_client(VIP, syn(80))), RS1);
        assert_eq!(server(&mut native, &from_client(VIP, syn(443))), RS2);
        assert_eq!(server(&mut native, &from_client(VIP, data(80))), RS1);
        assert_eq!(server(&mut native, &from_client(VIP, data(443))), RS2);
    }
    assert_eq!(native.stored().count(), 2);
}

/// Likewise the VIP itself.
#[test]
fn flow_key_contains_the_vip() {
    let world = one_server().and(Service::tcp("other", OTHER_VIP, 80), [Server::at("rs2", RS2, 8080)]);
    let mut native = Native::with(&world).unwrap();
    for _ in 0..2 {
        assert_eq!(server(&mut native, &from_client(VIP, syn(80))), RS1);
        assert_eq!(server(&mut native, &from_client(OTHER_VIP, syn(80))), RS2);
    }
    assert_eq!(native.stored().count(), 2);
}

/// "Lossy ip*31+port key": neighbours in it are neighbours of nobody here.
#[test]
fn flow_key_is_not_a_lossy_sum() {
    let mut native = Native::with(&four_servers()).unwrap();
    let mut connections = 0;
    for step in 0..200_u16 {
        // All with the same ip * 31 + port.
        let client = Ipv4Addr::from(0x0a4d_0300 + u32::from(step));
        let tcp = Tcp::syn(50_000 - step * 31, 80, 1);
        server(&mut native, &client_frame(Ipv4::new(client, VIP, tcp)));
        connections += 1;
    }
    assert_eq!(native.stored().count(), connections);
}

/// "SYN retransmit re-selects backend and leaks reverse entry."
#[test]
fn a_retransmitted_syn_keeps_its_server() {
    let mut native = Native::with(&four_servers()).unwrap();
    let first = server(&mut native, &from_client(VIP, syn(80)));
    // Every other server now has all the weight, in both tables.
    native
        .install(&four_servers().with(|world| {
            for (_, server) in world.servers.iter_mut().filter(|(_, server)| server.address == first) {
                (server.weight, server.miss_weight) = (0, Some(0));
            }
        }))
        .unwrap();
    for _ in 0..5 {
        assert_eq!(server(&mut native, &from_client(VIP, syn(80))), first);
        native.pass(1).unwrap();
    }
    assert_eq!(native.stored().count(), 1, "one connection is one entry, in both directions");
}

/// "is_syn matching SYN|ACK."
#[test]
fn a_syn_ack_is_not_a_syn() {
    let syn_ack = TcpFlags::SYN | TcpFlags::ACK;
    let mut native = Native::with(&dead()).unwrap();
    let (verdict, _) = run(&mut native, Side::Front, &from_client(VIP, flagged(PORT, 80, syn_ack)));
    assert_eq!(verdict, "dropped_no_server", "it is not answered with RST, as a SYN is");

    let mut native = Native::with(&one_server()).unwrap();
    let seen = native.run(Side::Front, &from_client(VIP, flagged(PORT, 80, syn_ack))).unwrap();
    assert_eq!(seen.counters["rs1.connections"], 0);
    assert_eq!(seen.counters["miss_not_syn"], 1);
}

/// "RST answered with RST", whatever other flags it has.
#[test]
fn rst_is_never_answered_with_rst() {
    let mut native = Native::with(&dead()).unwrap();
    for flags in (0..=255).map(TcpFlags) {
        let (verdict, _) = run(&mut native, Side::Front, &from_client(VIP, flagged(PORT, 80, flags)));
        let bare_syn = flags.0 & 0x16 == 0x02;
        assert_eq!(verdict, if bare_syn { "replied_reset" } else { "dropped_no_server" }, "{flags}");
    }
}

/// "Half-deleted NAT pairs": there is one entry, and without it neither direction has one.
#[test]
fn a_connection_is_one_entry_for_both_directions() {
    let mut native = Native::with(&four_servers()).unwrap();
    let chosen = server(&mut native, &from_client(VIP, syn(80)));
    let reply = from_server(Ipv4::new(chosen, CLIENT, syn_ack(8080)));
    assert_eq!(run(&mut native, Side::Back, &reply).0, "forwarded_nat_reply");
    assert_eq!(native.stored().count(), 1);
    native.arrays.flows.clear();
    // The tables explain both directions alike.
    let seen = native.run(Side::Back, &reply).unwrap();
    assert_eq!((seen.counters["derived_reply"], seen.counters["stored"]), (1, 0));
    assert_eq!(server(&mut native, &from_client(VIP, data(80))), chosen);
}

/// "Generated RST returned as PASS instead of TX."
#[test]
fn a_generated_rst_leaves_by_the_way_it_came() {
    let mut native = Native::with(&dead()).unwrap();
    let seen = native.run(Side::Front, &from_client(VIP, syn(80))).unwrap();
    assert_eq!(seen.action, 3, "XDP_TX");
    assert_eq!(
        field(&seen.output, "ethernet.destination"),
        field(&from_client(VIP, syn(80)), "ethernet.source")
    );
    assert_eq!(field(&seen.output, "tcp.flags"), "RST+ACK");
    assert_eq!(faults(&seen.output), Vec::<String>::new());
}

/// "IHL>5 misparsed": all lengths, both directions.
#[test]
fn ihl_above_five() {
    for words in 0..=10 {
        let mut native = Native::with(&one_server()).unwrap();
        let options = vec![1_u8; words * 4];
        let request = client_frame(Ipv4::new(CLIENT, VIP, syn(80)).options(options.clone()));
        let (verdict, output) = run(&mut native, Side::Front, &request);
        assert_eq!(verdict, "forwarded_nat", "{words} words of options");
        let expected = Ipv4::new(CLIENT, RS1, syn(8080)).options(options.clone()).ttl(63);
        assert_eq!(output, at_server(RS1, expected));
        let reply = from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080)).options(options.clone()));
        let (verdict, output) = run(&mut native, Side::Back, &reply);
        assert_eq!(verdict, "forwarded_nat_reply");
        assert_eq!(output, at_client(Ipv4::new(VIP, CLIENT, syn_ack(80)).options(options).ttl(63)));
    }
}

/// "5-probe port allocator": none is needed, because the client's address and port stay.
#[test]
fn no_port_is_ever_allocated() {
    let mut native = Native::with(&one_server()).unwrap();
    let mut at_server = BTreeSet::new();
    for port in 1..=u16::MAX {
        let (verdict, output) = run(&mut native, Side::Front, &from_client(VIP, Tcp::syn(port, 80, 1)));
        assert_eq!(verdict, "forwarded_nat");
        assert_eq!(field(&output, "ipv4.source"), CLIENT.to_string());
        at_server.insert(field(&output, "tcp.source_port"));
    }
    assert_eq!(at_server.len(), usize::from(u16::MAX));
}

/// "Full-map scan": a packet looks at its own two buckets, however many times.
#[test]
fn no_packet_scans_the_table() {
    let mut native = Native::with(&one_server()).unwrap();
    let mut cost = |frame: &[u8], side| {
        native.asked.take();
        native.push(side, frame);
        let asked = native.asked.take();
        asked.iter().find(|(question, _)| *question == Question::Bucket).map_or(0, |(_, times)| *times)
    };
    let cases = [
        ("a SYN", from_client(VIP, syn(80)), Side::Front, 12),
        ("a hit", from_client(VIP, data(80)), Side::Front, 3),
        ("a reply", from_server(Ipv4::new(RS1, CLIENT, answer(8080))), Side::Back, 3),
        ("a stranger", from_client(DIRECTOR, syn(80)), Side::Front, 0),
    ];
    for (name, frame, side, most) in cases {
        let buckets = cost(&frame, side);
        assert!(buckets <= most, "{name} looked at {buckets} buckets, at most {most} are needed");
    }
}

/// "IPv6 returned ABORTED on dual-stack NICs."
#[test]
fn ipv6_that_is_not_ours_is_passed() {
    let mut native = Native::with(&one_server()).unwrap();
    let (from, to) = ([0xfd00, 0, 0, 0, 0, 0, 0, 1], [0xfd00, 0, 0, 0, 0, 0, 0, 2]);
    for packet in [
        Ipv6::new(from, to, Tcp::syn(PORT, 80, 1)),
        Ipv6::new(from, to, Icmp::new(135, 0, [0; 4], [0; 16]).version_6()),
        Ipv6::new(from, to, Tcp::syn(PORT, 80, 1)).extension(Extension::HopByHop(vec![])),
    ] {
        let frame = Frame::new(mac_of(CLIENT), Side::Front.mac(), packet).bytes();
        for (length, expected) in [
            (frame.len(), "passed_not_ours"),
            (frame.len() - 1, "passed_malformed"),
            (53, "passed_malformed"),
            (14, "passed_malformed"),
        ] {
            let (verdict, output) = run(&mut native, Side::Front, &frame[..length]);
            assert_eq!(verdict, expected);
            assert_eq!(output, frame[..length]);
        }
    }
}

/// "Full-payload checksum loops": a checksum that was wrong by some amount is wrong by it afterwards, so nothing was
/// summed anew.
#[test]
fn checksums_are_changed_not_recomputed() {
    let mut native = Native::with(&one_server()).unwrap();
    let payload = vec![0x5a; 1400];
    let segment = |port, checksum| Tcp::ack(PORT, port, 1, 1).payload(payload.clone()).checksum(checksum);
    let (_, right) = run(&mut native, Side::Front, &from_client(VIP, segment(80, Checksum::Right)));
    assert_eq!(faults(&right), Vec::<String>::new());
    let (_, wrong) = run(&mut native, Side::Front, &from_client(VIP, segment(80, Checksum::Wrong)));
    assert_eq!(faults(&wrong).len(), 1);
}

/// "`bpf_csum_diff` byte-order mix": right for addresses and ports that are no palindromes, and for odd lengths.
#[test]
fn checksums_do_not_depend_on_byte_order() {
    let vip = Ipv4Addr::new(1, 2, 3, 4);
    let world = World::of(Service::tcp("web", vip, 0x1234), [Server::at("rs", [250, 6, 251, 8], 0xfe01)]);
    let mut native = Native::with(&world).unwrap();
    for length in 0..5 {
        let tcp = Tcp::ack(PORT, 0x1234, 0x0102_0304, 5).payload(vec![0xa1; length]);
        let (verdict, output) = run(&mut native, Side::Front, &from_client(vip, tcp));
        assert_eq!(verdict, "forwarded_nat");
        assert_eq!(faults(&output), Vec::<String>::new());
    }
}

/// A freed server number that is given to another service must not catch the first one's connections.
#[test]
fn a_number_used_again_is_not_believed() {
    let mut native = Native::with(&one_server()).unwrap();
    assert_eq!(server(&mut native, &from_client(VIP, syn(80))), RS1);
    // The same number, now of a service on another port; the old service has a server with another number.
    let mut world = World::of(Service::tcp("other", VIP, 81), [Server::at("alien", [10, 77, 2, 99], 8080)]);
    world = world.and(Service::tcp("web", VIP, 80), [Server::at("rs2", RS2, 8080)]);
    assert_eq!(world.servers[0].0, Number(0));
    native.install(&world).unwrap();
    let seen = native.run(Side::Front, &from_client(VIP, data(80))).unwrap();
    assert_eq!(field(&seen.output, "ipv4.destination"), RS2.to_string());
    assert_eq!(seen.counters["mismatch"], 1);
}

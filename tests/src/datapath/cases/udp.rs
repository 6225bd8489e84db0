//! NAT over UDP, with its optional checksum.

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, World};
use crate::fixture::Output::{Passed, Through};
use crate::packet::{Checksum, Ipv4, Udp};

fn world() -> World {
    World::of(Service::tcp("dns", VIP, 53).udp(), [Server::at("rs1", RS1, 5353)])
}

fn query(port: u16) -> Udp {
    Udp::new(PORT, port, *b"who is it?")
}

fn reply(from: u16) -> Udp {
    Udp::new(from, PORT, *b"it is me")
}

fn forwarded(udp: Udp) -> Vec<u8> {
    at_server(RS1, Ipv4::new(CLIENT, RS1, udp).ttl(63))
}

/// A payload that makes the checksum of a datagram to the server come out as zero, which is sent as all ones.
fn zero_at_server() -> [u8; 2] {
    let frame = forwarded(Udp::new(PORT, 5353, [0, 0]));
    let sum = u16::from_be_bytes([frame[40], frame[41]]);
    sum.to_be_bytes()
}

pub(super) fn cases() -> Vec<Case> {
    let payload = zero_at_server();
    let all_ones = forwarded(Udp::new(PORT, 5353, payload));
    assert_eq!(all_ones[40..42], [0xff, 0xff], "the payload was made for this");
    vec![
        Case::new("a datagram is translated with its checksum", world())
            .front(&from_client(VIP, query(53)), "forwarded_nat", Through(forwarded(query(5353))))
            .counting(&[("stored", 1), ("rs1.connections", 1), ("rs1.bytes_in", 38)])
            .front(&from_client(VIP, query(53)), "forwarded_nat", Through(forwarded(query(5353))))
            .counting(&[("stored", 0), ("rs1.connections", 0), ("rs1.packets_in", 1)]),
        Case::new("a datagram without checksum gets none", world())
            .front(
                &from_client(VIP, query(53).without_checksum()),
                "forwarded_nat",
                Through(forwarded(query(5353).without_checksum())),
            )
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, reply(5353).without_checksum())),
                "forwarded_nat_reply",
                Through(at_client(Ipv4::new(VIP, CLIENT, reply(53).without_checksum()).ttl(63))),
            ),
        Case::new("a checksum that comes out as zero is sent as all ones", world()).front(
            &from_client(VIP, Udp::new(PORT, 53, payload)),
            "forwarded_nat",
            Through(all_ones),
        ),
        Case::new("a checksum of all ones is one, and stays wrong", world()).front(
            &from_client(VIP, Udp::new(PORT, 53, *b"x").checksum(Checksum::Value(0xffff))),
            "forwarded_nat",
            Through({
                // All ones is minus zero: what is added to it is what is added to nothing.
                let input = from_client(VIP, Udp::new(PORT, 53, *b"x"));
                let right = forwarded(Udp::new(PORT, 5353, *b"x"));
                let number = |bytes: &[u8]| u32::from(u16::from_be_bytes([bytes[40], bytes[41]]));
                let moved = number(&right) + (0xffff - number(&input));
                let folded = ((moved & 0xffff) + (moved >> 16)) as u16;
                forwarded(Udp::new(PORT, 5353, *b"x").checksum(Checksum::Value(folded)))
            }),
        ),
        Case::new("a reply of the server comes from the VIP", world())
            .front(&from_client(VIP, query(53)), "forwarded_nat", Through(forwarded(query(5353))))
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, reply(5353))),
                "forwarded_nat_reply",
                Through(at_client(Ipv4::new(VIP, CLIENT, reply(53)).ttl(63))),
            )
            .counting(&[("derived_reply", 0), ("rs1.packets_out", 1), ("rs1.bytes_out", 36)]),
        Case::new("a datagram of a server that no entry explains is its own, unless the configuration says otherwise", {
            world()
        })
        .back(&from_server(Ipv4::new(RS1, CLIENT, reply(5353))), "passed_unexplained", Passed),
        Case::new("a datagram without entry may be derived where the configuration says so", {
            world().with(|world| {
                world.derive_udp = true;
                let side = crate::datapath::world::Side::Front;
                let mac = crate::datapath::world::mac_of(CLIENT);
                world.route(CLIENT, crate::datapath::world::Hop { side, mac });
            })
        })
        .back(
            &from_server(Ipv4::new(RS1, CLIENT, reply(5353))),
            "forwarded_nat_reply",
            Through(at_client(Ipv4::new(VIP, CLIENT, reply(53)).ttl(63))),
        )
        .counting(&[("derived_reply", 1), ("stored", 0), ("next_hop_by_fib", 1)]),
        Case::new("UDP leaves a server that fails, at once", {
            world().with(|world| {
                world.servers.push((crate::datapath::world::Number(0), Server::at("rs2", RS2, 5353).weight(0)));
            })
        })
        .front(&from_client(VIP, query(53)), "forwarded_nat", Through(forwarded(query(5353))))
        .change(|world| {
            let rs1 = world.named("rs1");
            (rs1.down, rs1.weight, rs1.miss_weight) = (true, 0, Some(1));
            let rs2 = world.named("rs2");
            (rs2.weight, rs2.miss_weight) = (1, Some(0));
        })
        .front(
            &from_client(VIP, query(53)),
            "forwarded_nat",
            Through(at_server(RS2, Ipv4::new(CLIENT, RS2, query(5353)).ttl(63))),
        )
        .counting(&[("reselected", 1), ("miss_table_dead", 1), ("rs2.connections", 1)]),
        Case::new("TCP and UDP on one port are two services", {
            world().and(Service::tcp("dns-tcp", VIP, 53), [Server::at("rs2", RS2, 53)])
        })
        .front(&from_client(VIP, query(53)), "forwarded_nat", Through(forwarded(query(5353))))
        .front(
            &from_client(VIP, syn(53)),
            "forwarded_nat",
            Through(at_server(RS2, Ipv4::new(CLIENT, RS2, syn(53)).ttl(63))),
        ),
    ]
}

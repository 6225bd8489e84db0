//! Errors about what a server sent to a client in the VIP's name.

use std::net::Ipv6Addr;

use super::super::Case;
use super::super::people::*;
use super::{People, V4, V6, about, cut_off, from_router, quoted};
use crate::datapath::world::{Number, Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Back, Dropped, Passed, Through};
use crate::packet::{Extension, Frame, Icmp, Ipv4, Ipv6, Tcp, Transport, Udp};

const NOTHING_STORED: &[(&str, i64)] = &[("stored", 0), ("reselected", 0), ("path_learned", 0)];

pub(super) fn cases(people: &People) -> Vec<Case> {
    let &People { client, vip, other_vip, rs1, rs2, router, .. } = people;
    let (syn_in, syn_out) = people.opening();
    let sent = quoted(vip, client, answer(80));
    let held = quoted(rs1, client, answer(8080));
    let error = |packet: &[u8]| people.unreachable(packet);
    let to_vip = |icmp: Icmp| client_frame(ip(client, vip, 64, icmp));
    let at_rs1 = |icmp: Icmp| at_server(rs1, ip(client, rs1, 63, icmp));
    let opened =
        |name| people.case(name, people.web()).front(&syn_in, "forwarded_nat", Through(syn_out.clone()));
    let unmatched = |case: Case, packet: &[u8]| {
        case.front(&to_vip(error(packet)), "passed_icmp_unmatched", Passed).counting(NOTHING_STORED)
    };

    let mut each = opened("each error reaches the server, translated also in the quote");
    let mut routers = opened("an error of a router keeps the router's address");
    for kind in people.errors() {
        let (bad, good) = (about(&kind, &sent), about(&kind, &held));
        each = each
            .front(&to_vip(bad.clone()), "forwarded_icmp", Through(at_rs1(good.clone())))
            .counting(NOTHING_STORED)
            .counting(&[("rs1.packets_in", 1), ("rs1.connections", 0), ("rs1.packets_out", 0)]);
        let through = Through(at_server(rs1, ip(router, rs1, 63, good)));
        routers = routers.front(&from_router(ip(router, vip, 64, bad)), "forwarded_icmp", through);
    }

    let mut cut = opened("a quote may end after any byte once it has the ports, and is not read before");
    for length in 0..sent.len() {
        cut = if length < people.header() + 8 {
            unmatched(cut, &sent[..length])
        } else {
            let expected = Through(at_rs1(error(&cut_off(people, &held, &sent, length))));
            cut.front(&to_vip(error(&sent[..length])), "forwarded_icmp", expected)
        };
    }

    let two = people.web().with(|world| {
        world.servers.push((Number(0), Server { weight: 0, ..Server::at("rs2", rs2, 8080) }));
    });
    let direct = World::of(Service::tcp("web", vip, 80).direct(), [Server::at("rs1", rs1, 80).in_front()]);
    let at_direct = |hops| {
        let packet = ip(router, vip, hops, error(&sent));
        Frame::new(Side::Front.mac(), mac_of(rs1), packet).bytes()
    };
    let datagram = |port| Udp::new(port, PORT, *b"it is me");
    let open_port = World::of(Service::tcp("all", vip, 0), [Server::at("rs1", rs1, 0)]);

    let mut forged = opened("what no packet of this VIP can have caused is not believed");
    for packet in [
        // Of another VIP, of a stranger, and turned round.
        quoted(other_vip, client, answer(80)),
        quoted(router, client, answer(80)),
        quoted(client, vip, data(80)),
        // Of no service, and of none over this protocol.
        quoted(vip, client, answer(81)),
        quoted(vip, client, datagram(80)),
        // Of ICMP itself, and of what has no ports.
        quoted(vip, client, people.ping(b"abcdefgh")),
        quoted(vip, client, Transport::Raw { protocol: 132, bytes: vec![0; 40] }),
        // Not even IP.
        vec![0; 60],
    ] {
        forged = unmatched(forged, &packet);
    }

    vec![
        each,
        routers,
        cut,
        forged,
        people
            .case("without an entry, the miss table says whose it is, and nothing is stored", people.web())
            .front(&to_vip(error(&sent)), "forwarded_icmp", Through(at_rs1(error(&held))))
            .counting(NOTHING_STORED)
            .counting(&[("miss_not_syn", 0), ("rs1.connections", 0)]),
        people
            .case("with the flow table off, the miss table says whose it is", {
                people.web().with(|world| world.flows = false)
            })
            .front(&to_vip(error(&sent)), "forwarded_icmp", Through(at_rs1(error(&held)))),
        opened("the entry outranks the tables")
            .change(|world| {
                let rs2 = Server { weight: 1, ..Server::at("rs2", rs2, 8080) };
                world.servers.push((Number(0), rs2));
                world.named("rs1").weight = 0;
            })
            .front(&to_vip(error(&sent)), "forwarded_icmp", Through(at_rs1(error(&held)))),
        people
            .case("without an entry, a server that is down gets none", {
                people.web().with(|world| world.named("rs1").down = true)
            })
            .front(&to_vip(error(&sent)), "passed_icmp_unmatched", Passed),
        people
            .case("an error keeps no connection alive", two)
            .front(&syn_in, "forwarded_nat", Through(syn_out.clone()))
            .change(|world| {
                world.named("rs1").weight = 0;
                world.named("rs2").weight = 1;
            })
            .pass(20)
            .front(&to_vip(error(&sent)), "forwarded_icmp", Through(at_rs1(error(&held))))
            .pass(9)
            .front(&syn_in, "forwarded_nat", Through(at_server(rs2, ip(client, rs2, 63, syn(8080)))))
            .counting(&[("rs2.connections", 1)]),
        people.case("a quoted datagram is translated with its checksum", people.dns()).front(
            &to_vip(error(&quoted(vip, client, datagram(53)))),
            "forwarded_icmp",
            Through(at_rs1(error(&quoted(rs1, client, datagram(5353))))),
        ),
        people.case("a server without a port of its own sees the one that was hit", open_port).front(
            &to_vip(error(&quoted(vip, client, answer(443)))),
            "forwarded_icmp",
            Through(at_rs1(error(&quoted(rs1, client, answer(443))))),
        ),
        people
            .case("direct routing changes MACs and hops, and nothing else", direct)
            .front(&from_router(ip(router, vip, 64, error(&sent))), "forwarded_icmp", Back(at_direct(63)))
            .counting(NOTHING_STORED)
            .front(&from_router(ip(router, vip, 1, error(&sent))), "dropped_ttl", Dropped),
        people.case("its last hop is spent", people.web()).front(
            &client_frame(ip(client, vip, 1, error(&sent))),
            "dropped_ttl",
            Dropped,
        ),
        people
            .case("without a way to the server the error is dropped by name", {
                people.web().with(|world| world.named("rs1").next_hop = None)
            })
            .front(&to_vip(error(&sent)), "dropped_no_next_hop", Dropped),
        behind_extensions(people),
    ]
}

/// A quoted packet may have headers before its transport: IP options, or extension headers.
fn behind_extensions(people: &People) -> Case {
    let sent = |source| match ip(source, people.client, 61, Tcp::ack(0, PORT, 1, 1)) {
        crate::packet::Network::Ipv4(packet) => packet.options(vec![1; 8]).bytes(),
        crate::packet::Network::Ipv6(packet) => packet.extension(Extension::HopByHop(vec![])).bytes(),
        _ => Vec::new(),
    };
    // The port of both is 0 in the bytes above: it is written here, with the checksum's part of it.
    let at = people.header() + 8;
    let with_port = |mut packet: Vec<u8>, port: u16| {
        packet[at..at + 2].copy_from_slice(&port.to_be_bytes());
        let old = u16::from_be_bytes([packet[at + 16], packet[at + 17]]);
        let (sum, carry) = old.overflowing_sub(port);
        packet[at + 16..at + 18].copy_from_slice(&(sum - u16::from(carry)).to_be_bytes());
        packet
    };
    let (bad, good) = (with_port(sent(people.vip), 80), with_port(sent(people.rs1), 8080));
    people.case("the quoted packet may have headers before its transport", people.web()).front(
        &client_frame(ip(people.client, people.vip, 64, people.unreachable(&bad))),
        "forwarded_icmp",
        Through(at_server(people.rs1, ip(people.client, people.rs1, 63, people.unreachable(&good)))),
    )
}

/// What IPv6 does not have: datagrams without a checksum, fragments in the IP header, errors that have been given up.
pub(super) fn cases_of_ipv4() -> Vec<Case> {
    let people = &V4;
    let to_vip = |icmp: Icmp| from_client(VIP, icmp);
    let error = |packet: Ipv4| people.unreachable(&packet.bytes());
    let bare = |port| Udp::new(port, PORT, *b"it is me").without_checksum();
    let fragment = |offset| {
        let transport = Transport::Raw {
            protocol: 17,
            bytes: quoted(people.vip, people.client, bare(53))[20..].to_vec(),
        };
        Ipv4::new(VIP, CLIENT, transport).fragment(offset, true)
    };
    let first =
        Transport::Raw { protocol: 17, bytes: quoted(people.rs1, people.client, bare(5353))[20..].to_vec() };
    vec![
        people.case("a quoted datagram without a checksum gets none", people.dns()).front(
            &to_vip(error(Ipv4::new(VIP, CLIENT, bare(53)))),
            "forwarded_icmp",
            Through(at_server(
                RS1,
                Ipv4::new(CLIENT, RS1, error(Ipv4::new(RS1, CLIENT, bare(5353)))).ttl(63),
            )),
        ),
        people
            .case("the first of several fragments has the ports, a later one has not", people.dns())
            .front(
                &to_vip(error(fragment(0))),
                "forwarded_icmp",
                Through(at_server(
                    RS1,
                    Ipv4::new(CLIENT, RS1, error(Ipv4::new(RS1, CLIENT, first).fragment(0, true))).ttl(63),
                )),
            )
            .front(&to_vip(error(fragment(3))), "passed_icmp_unmatched", Passed),
        people.case("a source quench is the kernel's (RFC 6633)", people.web()).front(
            &to_vip(Icmp::new(4, 0, [0; 4], quoted(people.vip, people.client, answer(80)))),
            "passed_not_balanced",
            Passed,
        ),
        people.case("the ICMP of the other family is the kernel's", people.web()).front(
            &to_vip(Icmp::new(1, 4, [0; 4], quoted(people.vip, people.client, answer(80))).version_6()),
            "passed_not_balanced",
            Passed,
        ),
        people.case("the quote must be of the same family", people.web()).front(
            &to_vip(people.unreachable(&Ipv6::new(VIP6, CLIENT6, answer(80)).bytes())),
            "passed_icmp_unmatched",
            Passed,
        ),
    ]
}

/// What IPv4 does not have: addresses of the other family.
pub(super) fn cases_of_ipv6() -> Vec<Case> {
    let people = &V6;
    let quote = quoted(people.vip, CLIENT.to_ipv6_mapped().into(), answer(80));
    // A server's large answer in parts, as a router on the way to the client saw it.
    let part = |from: Ipv6Addr, port, offset| {
        let bytes = quoted(from.into(), people.client, Udp::new(port, PORT, *b"it is me"))[40..].to_vec();
        let header = Extension::Fragment { offset, more: true, identification: 7 };
        Ipv6::new(from, CLIENT6, Transport::Raw { protocol: 17, bytes }).extension(header).bytes()
    };
    let too_big = |packet: Vec<u8>| Icmp::new(2, 0, [0, 0, 5, 120], packet).version_6();
    let to_vip = |icmp: Icmp| client_frame(ip(people.client, people.vip, 64, icmp));
    vec![
        people.case("a quoted mapped IPv4 address is no client", people.web()).front(
            &to_vip(people.unreachable(&quote)),
            "passed_icmp_unmatched",
            Passed,
        ),
        people
            .case("the first of several fragments has the ports, a later one has not", people.dns())
            .front(
                &to_vip(too_big(part(VIP6, 53, 0))),
                "forwarded_icmp",
                Through(at_server(RS1_6, ip(people.client, people.rs1, 63, too_big(part(RS1_6, 5353, 0))))),
            )
            .front(&to_vip(too_big(part(VIP6, 53, 3))), "passed_icmp_unmatched", Passed),
    ]
}

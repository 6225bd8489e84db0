//! Extension headers between IPv6 and what it carries.

use super::super::Case;
use super::super::people::*;
use crate::datapath::world::{Server, Service, World};
use crate::fixture::Output::{Dropped, Passed, Through};
use crate::packet::{Extension, Ipv6, Tcp, Transport, Udp};

/// A header that says nothing, and one that says something nobody need know.
fn hop_by_hop() -> Extension {
    Extension::HopByHop(vec![])
}

fn options() -> Extension {
    Extension::DestinationOptions(vec![30, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
}

fn routing(segments_left: u8) -> Extension {
    Extension::Routing { segments_left, addresses: vec![OTHER_VIP6] }
}

/// The packet behind these headers, outermost first.
fn behind(packet: Ipv6, headers: &[Extension]) -> Ipv6 {
    headers.iter().cloned().fold(packet, Ipv6::extension)
}

/// The same headers come out that went in, and what they carry is translated.
fn looked_through(name: &'static str, headers: &[Extension]) -> Case {
    let segment = |server, port, tcp: fn(u16) -> Tcp| behind(Ipv6::new(CLIENT6, server, tcp(port)), headers);
    let forwarded = |tcp| Through(at_server(RS1_6, segment(RS1_6, 8080, tcp).hop_limit(63)));
    Case::new(name, one_server6())
        .front(&client_frame(segment(VIP6, 80, syn)), "forwarded_nat", forwarded(syn))
        .counting(&[("stored", 1), ("rs1.connections", 1)])
        .counting(&[("rs1.bytes_in", segment(VIP6, 80, syn).bytes().len() as i64)])
        .front(&client_frame(segment(VIP6, 80, data)), "forwarded_nat", forwarded(data))
        .counting(&[("stored", 0), ("rs1.connections", 0)])
}

fn to_vip(transport: impl Into<Transport>, headers: &[Extension]) -> Vec<u8> {
    client_frame(behind(Ipv6::new(CLIENT6, VIP6, transport), headers))
}

pub(super) fn cases() -> Vec<Case> {
    let passed = |name, frame: Vec<u8>, verdict: &str| {
        Case::new(name, one_server6()).front(&frame, verdict, Passed).counting(&[("stored", 0)])
    };
    let fragment = |name, headers: &[Extension]| {
        Case::new(name, one_server6())
            .front(&to_vip(data(80), headers), "dropped_fragment", Dropped)
            .counting(&[("stored", 0)])
    };
    vec![
        looked_through("a hop-by-hop header is looked through, and kept", &[hop_by_hop()]),
        looked_through("destination options are looked through, and kept", &[options()]),
        looked_through(
            "options of the largest size that a frame has room for are looked through",
            &[Extension::DestinationOptions(vec![0; 1022])],
        ),
        looked_through("a routing header at its end is looked through", &[routing(0)]),
        looked_through("an atomic fragment is whole", &[Extension::atomic_fragment()]),
        looked_through(
            "four headers are looked through",
            &[hop_by_hop(), options(), Extension::atomic_fragment(), options()],
        ),
        Case::new("headers before a datagram are looked through, both ways", {
            World::of(Service::tcp("dns", VIP6, 53).udp(), [Server::at("rs1", RS1_6, 5353)])
        })
        .front(
            &to_vip(Udp::new(PORT, 53, *b"q"), &[hop_by_hop(), options()]),
            "forwarded_nat",
            Through({
                let packet = Ipv6::new(CLIENT6, RS1_6, Udp::new(PORT, 5353, *b"q")).hop_limit(63);
                at_server(RS1_6, behind(packet, &[hop_by_hop(), options()]))
            }),
        )
        .back(
            &from_server(behind(Ipv6::new(RS1_6, CLIENT6, Udp::new(5353, PORT, *b"a")), &[hop_by_hop()])),
            "forwarded_nat_reply",
            Through(at_client(behind(
                Ipv6::new(VIP6, CLIENT6, Udp::new(53, PORT, *b"a")).hop_limit(63),
                &[hop_by_hop()],
            ))),
        ),
        Case::new("a connection is the same with headers and without", one_server6())
            .front(&to_vip(syn(80), &[options()]), "forwarded_nat", {
                let packet = Ipv6::new(CLIENT6, RS1_6, syn(8080)).hop_limit(63);
                Through(at_server(RS1_6, behind(packet, &[options()])))
            })
            .front(&from_client6(VIP6, data(80)), "forwarded_nat", Through(super::at_rs1(data(8080))))
            .counting(&[("stored", 0), ("miss_not_syn", 0)]),
        passed(
            "five headers are more than anybody needs",
            to_vip(syn(80), &[hop_by_hop(), options(), options(), options(), options()]),
            "passed_not_balanced",
        ),
        passed(
            "a routing header that leads on from the VIP is the kernel's",
            to_vip(syn(80), &[routing(1)]),
            "passed_not_balanced",
        ),
        passed(
            "an authenticated packet must not be changed",
            to_vip(syn(80), &[Extension::Authentication { spi: 1, sequence: 2 }]),
            "passed_not_balanced",
        ),
        passed(
            "an encrypted packet has no ports",
            to_vip(Transport::Raw { protocol: 50, bytes: vec![0xa5; 48] }, &[]),
            "passed_not_balanced",
        ),
        passed(
            "no next header, with bytes that are to be ignored",
            to_vip(Transport::Raw { protocol: 59, bytes: vec![0x9c; 40] }, &[]),
            "passed_not_balanced",
        ),
        passed(
            "no next header behind options",
            to_vip(Transport::nothing(), &[options()]),
            "passed_not_balanced",
        ),
        passed(
            "a header that is longer than the packet is the kernel's to judge",
            to_vip(syn(80), &[Extension::Raw { protocol: 60, bytes: vec![9, 1, 4, 0, 0, 0, 0] }]),
            "passed_malformed",
        ),
        passed(
            "a header of which only the end is missing is the kernel's to judge",
            to_vip(
                Transport::Raw { protocol: 6, bytes: vec![] },
                &[hop_by_hop(), Extension::Raw { protocol: 60, bytes: vec![0, 1, 3, 0, 0, 0] }],
            ),
            "passed_malformed",
        ),
        passed(
            "TCP that does not fit what the headers left is the kernel's to judge",
            to_vip(Transport::Raw { protocol: 6, bytes: vec![0x9c; 19] }, &[options()]),
            "passed_malformed",
        ),
        fragment(
            "IPv6: a first fragment that ends before its headers do is dropped by name",
            &[
                Extension::fragment(0, true),
                Extension::Raw { protocol: 60, bytes: vec![99, 1, 4, 0, 0, 0, 0] },
            ],
        ),
        fragment("IPv6: a later fragment to a VIP is dropped by name", &[Extension::fragment(3, false)]),
        fragment(
            "a fragment behind other headers is dropped by name",
            &[hop_by_hop(), routing(0), Extension::fragment(185, true)],
        ),
        Case::new("IPv6: a fragment to somebody else is none of ours", one_server6()).front(
            &client_frame(behind(Ipv6::new(CLIENT6, DIRECTOR6, data(80)), &[Extension::fragment(3, true)])),
            "passed_not_ours",
            Passed,
        ),
    ]
}

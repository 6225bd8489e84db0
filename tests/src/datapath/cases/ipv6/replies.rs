//! What comes from a NAT server.

use super::super::Case;
use super::super::people::*;
use super::{at_rs1, from_rs1, replied};
use crate::datapath::world::{Hop, Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Dropped, Passed, Through};
use crate::packet::{Extension, Frame, Icmp, Ipv6, Tcp, Udp};

/// A world in which the kernel knows the way to the client.
fn routed() -> World {
    one_server6().with(|world| world.route(CLIENT6, Hop { side: Side::Front, mac: mac_of(CLIENT6) }))
}

pub(super) fn cases() -> Vec<Case> {
    let router = [2, 9, 9, 9, 9, 9];
    vec![
        Case::new("IPv6: a handshake and an answer, both ways", one_server6())
            .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
            .back(&from_rs1(syn_ack(8080)), "forwarded_nat_reply", Through(replied(syn_ack(80))))
            .counting(&[("derived_reply", 0), ("next_hop_by_fib", 0)])
            .counting(&[("rs1.packets_out", 1), ("rs1.bytes_out", 60), ("rs1.packets_in", 0)])
            .back(&from_rs1(answer(8080)), "forwarded_nat_reply", Through(replied(answer(80)))),
        Case::new("IPv6: a reply goes back the way the client's packets came, through whichever router", {
            // The kernel would send it elsewhere.
            let elsewhere = Hop { side: Side::Back, mac: [0xee; 6] };
            one_server6().with(|world| world.route(CLIENT6, elsewhere))
        })
        .front(
            &Frame::new(router, Side::Front.mac(), Ipv6::new(CLIENT6, VIP6, syn(80))).bytes(),
            "forwarded_nat",
            Through(at_rs1(syn(8080))),
        )
        .back(
            &from_rs1(syn_ack(8080)),
            "forwarded_nat_reply",
            Through({
                let packet = Ipv6::new(VIP6, CLIENT6, syn_ack(80)).hop_limit(63);
                Frame::new(Side::Front.mac(), router, packet).bytes()
            }),
        )
        .counting(&[("next_hop_by_fib", 0)]),
        Case::new(
            "IPv6: a server that speaks first after everything was forgotten is explained by the tables",
            routed(),
        )
        .back(&from_rs1(answer(8080)), "forwarded_nat_reply", Through(replied(answer(80))))
        .counting(&[("derived_reply", 1), ("next_hop_by_fib", 1), ("stored", 0)]),
        Case::new("IPv6: a bare SYN of a server is its own connection", routed()).back(
            &from_rs1(Tcp::syn(8080, PORT, 77)),
            "passed_unexplained",
            Passed,
        ),
        Case::new("IPv6: of two services that share a server, the entry says whose reply it is", {
            one_server6().and(Service::tcp("twin", OTHER_VIP6, 443), [Server::at("twin1", RS1_6, 8080)])
        })
        .front(&from_client6(OTHER_VIP6, syn(443)), "forwarded_nat", Through(at_rs1(syn(8080))))
        .back(
            &from_rs1(syn_ack(8080)),
            "forwarded_nat_reply",
            Through(at_client(Ipv6::new(OTHER_VIP6, CLIENT6, syn_ack(443)).hop_limit(63))),
        )
        .counting(&[("twin1.packets_out", 1), ("rs1.packets_out", 0)]),
        Case::new("IPv6: a health check's answer reaches the director", {
            routed().with(|world| world.local(DIRECTOR6))
        })
        .back(&from_server(Ipv6::new(RS1_6, DIRECTOR6, syn_ack(8080))), "passed_local", Passed)
        .counting(&[("derived_reply", 0), ("rs1.packets_out", 0)]),
        Case::new("IPv6: a server's traffic from a port that no service uses is none of ours", one_server6())
            .back(&from_rs1(answer(22)), "passed_not_ours", Passed),
        Case::new("IPv6: a server's ping and its neighbour discovery are its own", one_server6())
            .back(&from_rs1(Icmp::ping_v6(1, 2, *b"abc")), "passed_unexplained", Passed)
            .back(
                &from_server(
                    Ipv6::new(RS1_6, DIRECTOR6, Icmp::solicitation(DIRECTOR6, mac_of(RS1_6))).hop_limit(255),
                ),
                "passed_unexplained",
                Passed,
            ),
        Case::new("IPv6: a server's fragment is its own", one_server6()).back(
            &from_server(
                Ipv6::new(RS1_6, CLIENT6, Udp::new(8080, PORT, *b"x"))
                    .extension(Extension::fragment(1, true)),
            ),
            "passed_unexplained",
            Passed,
        ),
        Case::new("IPv6: a reply behind destination options is translated all the same", one_server6())
            .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
            .back(
                &from_server(
                    Ipv6::new(RS1_6, CLIENT6, syn_ack(8080))
                        .extension(Extension::DestinationOptions(vec![30, 1, 7])),
                ),
                "forwarded_nat_reply",
                Through(at_client(
                    Ipv6::new(VIP6, CLIENT6, syn_ack(80))
                        .extension(Extension::DestinationOptions(vec![30, 1, 7]))
                        .hop_limit(63),
                )),
            ),
        Case::new("IPv6: a reply whose client is not known to anybody is dropped by name", one_server6())
            .back(&from_rs1(answer(8080)), "dropped_no_next_hop", Dropped)
            .counting(&[("rs1.packets_out", 0)]),
        Case::new("IPv6: a reply with its last hop is dropped by name", one_server6())
            .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
            .back(&from_server(Ipv6::new(RS1_6, CLIENT6, syn_ack(8080)).hop_limit(1)), "dropped_ttl", Dropped)
            .counting(&[("rs1.packets_out", 0)]),
        Case::new("IPv6: while not serving, what is unexplained is dropped", {
            one_server6().with(|world| {
                world.serving = false;
                world.local(DIRECTOR6);
            })
        })
        .back(&from_rs1(Tcp::syn(8080, PORT, 7)), "dropped_not_serving", Dropped)
        .back(&from_server(Ipv6::new(RS1_6, DIRECTOR6, syn_ack(8080))), "passed_local", Passed),
    ]
}

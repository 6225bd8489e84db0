//! What comes from a NAT server: replies, translated back; its own traffic, passed.

use super::Case;
use super::people::*;
use crate::datapath::world::{Hop, Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Back, Dropped, Passed, Through};
use crate::packet::{Frame, Icmp, Ipv4, Tcp, TcpFlags, Udp};

fn forwarded_syn() -> Vec<u8> {
    at_server(RS1, Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63))
}

fn client_hop() -> Hop {
    Hop { side: Side::Front, mac: mac_of(CLIENT) }
}

/// A world in which the kernel knows the way to the client.
fn routed() -> World {
    one_server().with(|world| world.route(CLIENT, client_hop()))
}

fn replied(transport: Tcp) -> Vec<u8> {
    at_client(Ipv4::new(VIP, CLIENT, transport).ttl(63))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("a handshake and an answer, both ways", one_server())
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(forwarded_syn()))
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080))),
                "forwarded_nat_reply",
                Through(replied(syn_ack(80))),
            )
            .counting(&[("derived_reply", 0), ("next_hop_by_fib", 0)])
            .counting(&[("rs1.packets_out", 1), ("rs1.bytes_out", 40), ("rs1.packets_in", 0)])
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, answer(8080))),
                "forwarded_nat_reply",
                Through(replied(answer(80))),
            ),
        Case::new("one-arm: the reply leaves by the interface it came in through", {
            World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 8080).in_front()])
        })
        .front(
            &from_client(VIP, syn(80)),
            "forwarded_nat",
            Back(
                Frame::new(Side::Front.mac(), mac_of(RS1), Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63)).bytes(),
            ),
        )
        .front(
            &Frame::new(mac_of(RS1), Side::Front.mac(), Ipv4::new(RS1, CLIENT, syn_ack(8080))).bytes(),
            "forwarded_nat_reply",
            Back(replied(syn_ack(80))),
        ),
        Case::new("a reply goes back the way the client's packets came, through whichever router", {
            // The kernel would send it elsewhere.
            let elsewhere = Hop { side: Side::Back, mac: [0xee; 6] };
            one_server().with(|world| world.route(CLIENT, elsewhere))
        })
        .front(
            &Frame::new([2, 9, 9, 9, 9, 9], Side::Front.mac(), Ipv4::new(CLIENT, VIP, syn(80))).bytes(),
            "forwarded_nat",
            Through(forwarded_syn()),
        )
        .back(
            &from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080))),
            "forwarded_nat_reply",
            Through(
                Frame::new(
                    Side::Front.mac(),
                    [2, 9, 9, 9, 9, 9],
                    Ipv4::new(VIP, CLIENT, syn_ack(80)).ttl(63),
                )
                .bytes(),
            ),
        ),
        Case::new("a reply from any port comes from the port that was hit", {
            World::of(Service::tcp("all", VIP, 0), [Server::at("rs1", RS1, 0)])
        })
        .front(
            &from_client(VIP, syn(2222)),
            "forwarded_nat",
            Through(at_server(RS1, Ipv4::new(CLIENT, RS1, syn(2222)).ttl(63))),
        )
        .back(
            &from_server(Ipv4::new(RS1, CLIENT, syn_ack(2222))),
            "forwarded_nat_reply",
            Through(replied(syn_ack(2222))),
        ),
        Case::new(
            "a server that speaks first after everything was forgotten is explained by the tables",
            routed(),
        )
        .back(
            &from_server(Ipv4::new(RS1, CLIENT, answer(8080))),
            "forwarded_nat_reply",
            Through(replied(answer(80))),
        )
        .counting(&[("derived_reply", 1), ("next_hop_by_fib", 1), ("stored", 0)])
        .counting(&[("rs1.packets_out", 1), ("rs1.connections", 0)]),
        Case::new("a bare SYN of a server is its own connection, never derived", routed()).back(
            &from_server(Ipv4::new(RS1, CLIENT, Tcp::syn(8080, PORT, 77))),
            "passed_unexplained",
            Passed,
        ),
        Case::new("a reply that two services could explain is not guessed at", {
            routed().and(Service::tcp("twin", OTHER_VIP, 80), [Server::at("twin1", RS1, 8080)])
        })
        .back(&from_server(Ipv4::new(RS1, CLIENT, answer(8080))), "passed_unexplained", Passed)
        .counting(&[("derived_reply", 0)]),
        Case::new("of two services that share a server, the entry says whose reply it is", {
            one_server().and(Service::tcp("twin", OTHER_VIP, 443), [Server::at("twin1", RS1, 8080)])
        })
        .front(&from_client(OTHER_VIP, syn(443)), "forwarded_nat", Through(forwarded_syn()))
        .counting(&[("twin1.connections", 1), ("rs1.connections", 0)])
        .back(
            &from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080))),
            "forwarded_nat_reply",
            Through(at_client(Ipv4::new(OTHER_VIP, CLIENT, syn_ack(443)).ttl(63))),
        )
        .counting(&[("twin1.packets_out", 1), ("rs1.packets_out", 0)]),
        Case::new("a reply from any port is not derived: which port was hit is anybody's guess", {
            World::of(Service::tcp("all", VIP, 0), [Server::at("rs1", RS1, 0)])
                .with(|world| world.route(CLIENT, client_hop()))
        })
        .back(&from_server(Ipv4::new(RS1, CLIENT, answer(8080))), "passed_unexplained", Passed),
        Case::new("a reply that the miss table gives to another server is not derived", {
            routed().with(|world| world.servers.push((crate::datapath::world::Number(0), rs2_alone())))
        })
        .back(&from_server(Ipv4::new(RS1, CLIENT, answer(8080))), "passed_unexplained", Passed),
        Case::new("a health check's answer reaches the director", {
            routed().with(|world| world.local(DIRECTOR))
        })
        .back(&from_server(Ipv4::new(RS1, DIRECTOR, syn_ack(8080))), "passed_local", Passed)
        .counting(&[("derived_reply", 0), ("rs1.packets_out", 0)]),
        Case::new("a server's traffic from a port that no service uses is none of ours", one_server()).back(
            &from_server(Ipv4::new(RS1, CLIENT, answer(22))),
            "passed_not_ours",
            Passed,
        ),
        Case::new("a server's datagram from the port of a TCP service is none of ours", one_server()).back(
            &from_server(Ipv4::new(RS1, CLIENT, Udp::new(8080, PORT, *b"x"))),
            "passed_not_ours",
            Passed,
        ),
        Case::new("a server's ping is its own", one_server()).back(
            &from_server(Ipv4::new(RS1, CLIENT, Icmp::ping(1, 2, *b"abc"))),
            "passed_unexplained",
            Passed,
        ),
        Case::new("a server's fragment is its own", one_server()).back(
            &from_server(Ipv4::new(RS1, CLIENT, Udp::new(8080, PORT, *b"x")).fragment(1, true)),
            "passed_unexplained",
            Passed,
        ),
        Case::new("while not serving, what is unexplained is dropped: the kernel must not forward it", {
            one_server().with(|world| {
                world.serving = false;
                world.local(DIRECTOR);
            })
        })
        .back(&from_server(Ipv4::new(RS1, CLIENT, Tcp::syn(8080, PORT, 7))), "dropped_not_serving", Dropped)
        .back(&from_server(Ipv4::new(RS1, DIRECTOR, syn_ack(8080))), "passed_local", Passed),
        Case::new("a reply whose client is not known to anybody is dropped by name", one_server())
            .back(&from_server(Ipv4::new(RS1, CLIENT, answer(8080))), "dropped_no_next_hop", Dropped)
            .counting(&[("rs1.packets_out", 0)]),
        Case::new("a reply with its last TTL is dropped by name", one_server())
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(forwarded_syn()))
            .back(&from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080)).ttl(1)), "dropped_ttl", Dropped)
            .counting(&[("rs1.packets_out", 0)]),
        Case::new("with the flow table off, replies are derived", routed().with(|world| world.flows = false))
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(forwarded_syn()))
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080))),
                "forwarded_nat_reply",
                Through(replied(syn_ack(80))),
            )
            .counting(&[("derived_reply", 1)]),
        Case::new("a RST of the server reaches the client", one_server())
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(forwarded_syn()))
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, flagged(8080, PORT, TcpFlags::RST | TcpFlags::ACK))),
                "forwarded_nat_reply",
                Through(replied(flagged(80, PORT, TcpFlags::RST | TcpFlags::ACK))),
            ),
        Case::new("replies of a removed server go on", one_server())
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(forwarded_syn()))
            .change(|world| {
                let rs1 = world.named("rs1");
                (rs1.removed, rs1.weight) = (true, 0);
            })
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, answer(8080))),
                "forwarded_nat_reply",
                Through(replied(answer(80))),
            ),
        Case::new("a fixed and an any-port service may share a server, and both get their replies", {
            one_server().and(Service::tcp("all", OTHER_VIP, 0), [Server::at("any1", RS1, 0)])
        })
        .front(&from_client(OTHER_VIP, syn(8080)), "forwarded_nat", Through(forwarded_syn()))
        .counting(&[("any1.connections", 1)])
        .back(
            &from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080))),
            "forwarded_nat_reply",
            Through(at_client(Ipv4::new(OTHER_VIP, CLIENT, syn_ack(8080)).ttl(63))),
        )
        .counting(&[("any1.packets_out", 1), ("rs1.packets_out", 0)]),
    ]
}

/// The miss table gives every flow to this one.
fn rs2_alone() -> Server {
    Server { miss_weight: Some(1000), ..Server::at("rs2", RS2, 8080) }
}

//! From the client to the server, by NAT and by direct routing.

use super::super::Case;
use super::super::people::*;
use super::{at_rs1, from_rs1, replied};
use crate::datapath::world::{Hop, Number, Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Back, Dropped, Through};
use crate::packet::{Checksum, Frame, Ipv4, Ipv6, Tcp, TcpFlags, Udp};

fn dns() -> World {
    World::of(Service::tcp("dns", VIP6, 53).udp(), [Server::at("rs1", RS1_6, 5353)])
}

fn direct() -> World {
    World::of(Service::tcp("web", VIP6, 80).direct(), [Server::at("rs1", RS1_6, 80).in_front()])
}

fn directed(transport: Tcp, hop_limit: u8) -> Vec<u8> {
    let packet = Ipv6::new(CLIENT6, VIP6, transport).hop_limit(hop_limit);
    Frame::new(Side::Front.mac(), mac_of(RS1_6), packet).bytes()
}

fn query(port: u16) -> Udp {
    Udp::new(PORT, port, *b"who is it?")
}

/// Where a TCP and where a UDP checksum is in a frame without extension headers.
const TCP_CHECKSUM: usize = 14 + 40 + 16;
const UDP_CHECKSUM: usize = 14 + 40 + 6;

fn number(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// A payload that makes the checksum of a datagram to the server come out as zero, which is sent as all ones.
fn zero_at_server() -> [u8; 2] {
    number(&at_rs1(Udp::new(PORT, 5353, [0, 0])), UDP_CHECKSUM).to_be_bytes()
}

/// The same error as before: what an incremental update must give.
fn still_wrong() -> Vec<u8> {
    let wrong = |port| syn(port).checksum(Checksum::Wrong);
    let error = u32::from(number(&from_client6(VIP6, wrong(80)), TCP_CHECKSUM))
        + u32::from(!number(&from_client6(VIP6, syn(80)), TCP_CHECKSUM));
    let sum = u32::from(number(&at_rs1(syn(8080)), TCP_CHECKSUM)) + error;
    let folded = (sum & 0xffff) + (sum >> 16);
    at_rs1(syn(8080).checksum(Checksum::Value(((folded & 0xffff) + (folded >> 16)) as u16)))
}

pub(super) fn cases() -> Vec<Case> {
    let all_ones = at_rs1(Udp::new(PORT, 5353, zero_at_server()));
    assert_eq!(number(&all_ones, UDP_CHECKSUM), 0xffff, "the payload was made for this");
    let rs2 = || Server { weight: 0, ..Server::at("rs2", RS2_6, 8080) };
    let at_rs2 = |tcp: Tcp| at_server(RS2_6, Ipv6::new(CLIENT6, RS2_6, tcp).hop_limit(63));
    vec![
        Case::new(
            "IPv6: a SYN is sent to the server with address, port, MACs and hop limit changed",
            one_server6(),
        )
        .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
        .counting(&[("stored", 1), ("path_learned", 1), ("miss_not_syn", 0)])
        .counting(&[("rs1.connections", 1), ("rs1.packets_in", 1), ("rs1.bytes_in", 64)]),
        Case::new("IPv6: a retransmitted SYN is no second connection", one_server6())
            .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
            .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
            .counting(&[("stored", 0), ("path_learned", 0), ("rs1.connections", 0), ("rs1.packets_in", 1)]),
        Case::new(
            "IPv6: data of a stored connection follows it, counted by the length of the packet",
            one_server6(),
        )
        .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
        .front(&from_client6(VIP6, data(80)), "forwarded_nat", Through(at_rs1(data(8080))))
        .counting(&[
            ("stored", 0),
            ("miss_not_syn", 0),
            ("rs1.connections", 0),
            ("rs1.bytes_in", 78),
        ]),
        Case::new("IPv6: data without an entry goes by the miss table and is stored", one_server6())
            .front(&from_client6(VIP6, data(80)), "forwarded_nat", Through(at_rs1(data(8080))))
            .counting(&[("stored", 1), ("miss_not_syn", 1), ("rs1.connections", 0), ("rs1.packets_in", 1)]),
        Case::new("IPv6: one-arm, what leaves by the interface it came in through is sent back", {
            World::of(Service::tcp("web", VIP6, 80), [Server::at("rs1", RS1_6, 80).in_front()])
        })
        .front(
            &from_client6(VIP6, syn(80)),
            "forwarded_nat",
            Back({
                let packet = Ipv6::new(CLIENT6, RS1_6, syn(80)).hop_limit(63);
                Frame::new(Side::Front.mac(), mac_of(RS1_6), packet).bytes()
            }),
        ),
        Case::new("IPv6: a service on any port takes each, and keeps the port", {
            World::of(Service::tcp("all", VIP6, 0), [Server::at("rs1", RS1_6, 0)])
        })
        .front(&from_client6(VIP6, syn(12_345)), "forwarded_nat", Through(at_rs1(syn(12_345))))
        .back(&from_rs1(syn_ack(12_345)), "forwarded_nat_reply", Through(replied(syn_ack(12_345)))),
        Case::new(
            "IPv6: a connection stays with a server that was drained, and with one that fails",
            one_server6(),
        )
        .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
        .change(|world| {
            let rs1 = world.named("rs1");
            (rs1.drained, rs1.weight) = (true, 0);
        })
        .front(&from_client6(VIP6, data(80)), "forwarded_nat", Through(at_rs1(data(8080))))
        .change(|world| world.named("rs1").down = true)
        .front(&from_client6(VIP6, data(80)), "forwarded_nat", Through(at_rs1(data(8080))))
        .counting(&[("reselected", 0), ("stored", 0)]),
        Case::new("IPv6: a connection whose server has gone gets another", {
            one_server6().with(|world| world.servers.push((Number(0), rs2())))
        })
        .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
        .change(|world| {
            let rs1 = world.named("rs1");
            (rs1.freed, rs1.weight) = (true, 0);
            world.named("rs2").weight = 1;
        })
        .front(&from_client6(VIP6, data(80)), "forwarded_nat", Through(at_rs2(data(8080))))
        .counting(&[("reselected", 1), ("stored", 0)]),
        Case::new("IPv6: a SYN on a connection that was silent for too long begins a new one", {
            one_server6().with(|world| world.servers.push((Number(0), rs2())))
        })
        .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
        .change(|world| {
            world.named("rs1").weight = 0;
            world.named("rs2").weight = 1;
        })
        .pass(29)
        .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs2(syn(8080))))
        .counting(&[("rs2.connections", 1)]),
        Case::new("IPv6: a RST of the client is forwarded like any segment", one_server6())
            .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
            .front(
                &from_client6(VIP6, flagged(PORT, 80, TcpFlags::RST)),
                "forwarded_nat",
                Through(at_rs1(flagged(PORT, 8080, TcpFlags::RST))),
            ),
        Case::new("IPv6: a checksum that was wrong stays wrong", one_server6()).front(
            &from_client6(VIP6, syn(80).checksum(Checksum::Wrong)),
            "forwarded_nat",
            Through(still_wrong()),
        ),
        Case::new("IPv6: the largest frame is rewritten without a look at its payload", one_server6()).front(
            &from_client6(VIP6, Tcp::ack(PORT, 80, 1, 1).payload(vec![0xa5; 1440])),
            "forwarded_nat",
            Through(at_rs1(Tcp::ack(PORT, 8080, 1, 1).payload(vec![0xa5; 1440]))),
        ),
        Case::new("IPv6: without a next hop from the agent, the kernel's routing decides", {
            let rs1 = Server::at("rs1", RS1_6, 8080).by(None);
            World::of(Service::tcp("web", VIP6, 80), [rs1])
                .with(|world| world.route(RS1_6, Hop { side: Side::Back, mac: mac_of(RS1_6) }))
        })
        .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
        .counting(&[("next_hop_by_fib", 1)]),
        Case::new("IPv6: without a next hop, and without a route, the packet is dropped by name", {
            World::of(Service::tcp("web", VIP6, 80), [Server::at("rs1", RS1_6, 80).by(None)])
        })
        .front(&from_client6(VIP6, syn(80)), "dropped_no_next_hop", Dropped)
        .counting(&[("rs1.packets_in", 0), ("next_hop_by_fib", 0)]),
        Case::new("IPv6: a datagram is translated both ways with its checksum", dns())
            .front(&from_client6(VIP6, query(53)), "forwarded_nat", Through(at_rs1(query(5353))))
            .counting(&[("stored", 1), ("rs1.connections", 1), ("rs1.bytes_in", 58)])
            .back(
                &from_rs1(Udp::new(5353, PORT, *b"it is me")),
                "forwarded_nat_reply",
                Through(replied(Udp::new(53, PORT, *b"it is me"))),
            ),
        Case::new("IPv6: a checksum that comes out as zero is sent as all ones", dns()).front(
            &from_client6(VIP6, Udp::new(PORT, 53, zero_at_server())),
            "forwarded_nat",
            Through(all_ones),
        ),
        Case::new("IPv6: TCP and UDP on one port are two services", {
            dns().and(Service::tcp("dns-tcp", VIP6, 53), [Server::at("rs2", RS2_6, 53)])
        })
        .front(&from_client6(VIP6, query(53)), "forwarded_nat", Through(at_rs1(query(5353))))
        .front(&from_client6(VIP6, syn(53)), "forwarded_nat", Through(at_rs2(syn(53)))),
        Case::new("IPv6: DR changes MACs and hop limit, and nothing else", direct())
            .front(&from_client6(VIP6, syn(80)), "forwarded_dr", Back(directed(syn(80), 63)))
            .counting(&[("stored", 1), ("path_learned", 0), ("rs1.connections", 1), ("rs1.bytes_in", 64)])
            .front(&from_client6(VIP6, data(80)), "forwarded_dr", Back(directed(data(80), 63)))
            .counting(&[("stored", 0), ("rs1.connections", 0), ("rs1.packets_in", 1)]),
        Case::new("IPv6: DR spends the hop limit", direct())
            .front(
                &client_frame(Ipv6::new(CLIENT6, VIP6, syn(80)).hop_limit(1)),
                "replied_time_exceeded",
                Notice::TIME_EXCEEDED.about(Ipv6::new(CLIENT6, VIP6, syn(80)).hop_limit(1)),
            )
            .front(
                &client_frame(Ipv6::new(CLIENT6, VIP6, syn(80)).hop_limit(2)),
                "forwarded_dr",
                Back(directed(syn(80), 1)),
            ),
        Case::new("services of both families stand side by side, each with its own servers", {
            one_server().and(Service::tcp("web6", VIP6, 80), [Server::at("rs1-6", RS1_6, 8080)])
        })
        .front(&from_client6(VIP6, syn(80)), "forwarded_nat", Through(at_rs1(syn(8080))))
        .counting(&[("stored", 1), ("rs1-6.connections", 1), ("rs1.connections", 0)])
        .front(
            &from_client(VIP, syn(80)),
            "forwarded_nat",
            Through(at_server(RS1, Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63))),
        )
        .counting(&[("stored", 1), ("rs1-6.connections", 0), ("rs1.connections", 1)])
        .back(&from_rs1(syn_ack(8080)), "forwarded_nat_reply", Through(replied(syn_ack(80))))
        .back(
            &from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080))),
            "forwarded_nat_reply",
            Through(at_client(Ipv4::new(VIP, CLIENT, syn_ack(80)).ttl(63))),
        ),
    ]
}

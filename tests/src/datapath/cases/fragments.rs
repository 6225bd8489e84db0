//! Datagrams and segments in pieces: the first piece decides, the others follow it.

use std::net::IpAddr;

use super::Case;
use super::people::*;
use crate::datapath::world::{Number, Server, Service, Side, World, mac_of};
use crate::fixture::Output::{self, Back, Dropped, Passed, Through};
use crate::packet::{Extension, Frame, Icmp, Ipv4, Ipv6, Mac, Network, Tcp, Transport, Udp};

/// Fragments of one datagram: what they carry is cut out of this.
const PIECE: usize = 32;

fn dns() -> World {
    World::of(Service::tcp("dns", VIP, 53).udp(), [Server::at("rs1", RS1, 5353)])
}

fn dns6() -> World {
    World::of(Service::tcp("dns", VIP6, 53).udp(), [Server::at("rs1", RS1_6, 5353)])
}

fn query(from: u16, to: u16) -> Udp {
    Udp::new(from, to, (0..80).collect::<Vec<u8>>())
}

fn segment(from: u16, to: u16) -> Tcp {
    Tcp::ack(from, to, 1001, 5001).payload((0..80).collect::<Vec<u8>>())
}

/// The pieces of a packet with this id, as a host or a router cuts it.
fn pieces(packet: Ipv4, id: u16) -> Vec<Network> {
    Ipv4 { identification: id, ..packet }.split(PIECE).into_iter().map(Network::from).collect()
}

/// The same over IPv6, behind these headers: cut out of the IPv6 packet's own bytes, whose checksum is of the whole.
fn pieces6(packet: &Ipv6, id: u32, before: &[Extension]) -> Vec<Network> {
    let whole = packet.bytes().split_off(40);
    let protocol = packet.transport.protocol();
    let last = whole.chunks(PIECE).count() - 1;
    let piece = |(index, bytes): (usize, &[u8])| {
        let transport = Transport::Raw { protocol, bytes: bytes.to_vec() };
        let piece = before.iter().cloned().fold(Ipv6 { transport, ..packet.clone() }, Ipv6::extension);
        let offset = (index * PIECE / 8) as u16;
        piece.extension(Extension::Fragment { offset, more: index < last, identification: id }).into()
    };
    whole.chunks(PIECE).enumerate().map(piece).collect()
}

fn in_v4(from: IpAddr, to: IpAddr, transport: impl Into<Transport>, ttl: u8) -> Ipv4 {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ipv4::new(from, to, transport).ttl(ttl),
        _ => unreachable!("both are IPv4"),
    }
}

fn in_v6(from: IpAddr, to: IpAddr, transport: impl Into<Transport>, hops: u8) -> Ipv6 {
    match (from, to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => Ipv6::new(from, to, transport).hop_limit(hops),
        _ => unreachable!("both are IPv6"),
    }
}

/// The pieces of a packet between these two, of either family.
fn cut(
    from: impl Into<IpAddr>,
    to: impl Into<IpAddr>,
    transport: impl Into<Transport>,
    ttl: u8,
    id: u32,
) -> Vec<Network> {
    let (from, to) = (from.into(), to.into());
    if from.is_ipv4() {
        pieces(in_v4(from, to, transport, ttl), id as u16)
    } else {
        pieces6(&in_v6(from, to, transport, ttl), id, &[])
    }
}

fn frame(from: Mac, to: Mac, packet: Network) -> Vec<u8> {
    Frame::new(from, to, packet).bytes()
}

/// A datagram and its answer in pieces, through NAT.
fn both_ways<A: Into<IpAddr> + Copy>(
    name: &'static str,
    world: World,
    [client, vip, rs1]: [A; 3],
    [request, at_server]: [Transport; 2],
    [reply, at_client]: [Transport; 2],
) -> Case {
    let mut case = Case::new(name, world);
    let (front, back) = (Side::Front.mac(), Side::Back.mac());
    let (client_mac, server_mac) = (mac_of(client), mac_of(rs1));
    let outputs = cut(client, rs1, at_server, 63, 7);
    for (i, (input, output)) in cut(client, vip, request, 64, 7).into_iter().zip(outputs).enumerate() {
        case = case
            .front(
                &frame(client_mac, front, input),
                "forwarded_nat",
                Through(frame(back, server_mac, output)),
            )
            .counting(&[("rs1.packets_in", 1), ("fragment_unknown", 0)])
            .counting(&[("fragment_noted", i64::from(i == 0)), ("fragment_followed", i64::from(i > 0))]);
    }
    let outputs = cut(vip, client, at_client, 63, 9);
    for (i, (input, output)) in cut(rs1, client, reply, 64, 9).into_iter().zip(outputs).enumerate() {
        case = case
            .back(
                &frame(server_mac, back, input),
                "forwarded_nat_reply",
                Through(frame(front, client_mac, output)),
            )
            .counting(&[("rs1.packets_out", 1), ("fragment_unknown", 0), ("derived_reply", 0)])
            .counting(&[("fragment_noted", i64::from(i == 0)), ("fragment_followed", i64::from(i > 0))]);
    }
    case
}

/// By direct routing, all pieces to the server's MAC.
fn direct<A: Into<IpAddr> + Copy>(name: &'static str, [client, vip, rs1]: [A; 3]) -> Case {
    let service = Service::tcp("dns", vip, 53).udp().direct();
    let mut case = Case::new(name, World::of(service, [Server::at("rs1", rs1, 53).in_front()]));
    let front = Side::Front.mac();
    let outputs = cut(client, vip, query(PORT, 53), 63, 7);
    for (input, output) in cut(client, vip, query(PORT, 53), 64, 7).into_iter().zip(outputs) {
        case = case
            .front(
                &frame(mac_of(client), front, input),
                "forwarded_dr",
                Back(frame(front, mac_of(rs1), output)),
            )
            .counting(&[("rs1.packets_in", 1)]);
    }
    case
}

fn v4() -> [std::net::Ipv4Addr; 3] {
    [CLIENT, VIP, RS1]
}

fn v6() -> [std::net::Ipv6Addr; 3] {
    [CLIENT6, VIP6, RS1_6]
}

/// What comes in and what goes out of one piece of the query with this id.
fn piece(id: u16, index: usize) -> (Vec<u8>, Output) {
    piece_from(CLIENT, PORT, id, index)
}

fn piece_from(client: std::net::Ipv4Addr, port: u16, id: u16, index: usize) -> (Vec<u8>, Output) {
    let input = pieces(Ipv4::new(client, VIP, query(port, 53)), id).swap_remove(index);
    let output = pieces(Ipv4::new(client, RS1, query(port, 5353)).ttl(63), id).swap_remove(index);
    (client_frame(input), Through(at_server(RS1, output)))
}

fn sends(case: Case, (input, output): (Vec<u8>, Output)) -> Case {
    case.front(&input, "forwarded_nat", output)
}

fn drops(case: Case, (input, _): (Vec<u8>, Output)) -> Case {
    case.front(&input, "dropped_fragment", Dropped).counting(&[("fragment_unknown", 1), ("stored", 0)])
}

/// To the VIP, the first bytes of something as a first fragment.
fn start(transport: impl Into<Transport>, bytes: usize) -> Vec<u8> {
    let packet = Ipv4::new(CLIENT, VIP, transport);
    let protocol = packet.transport.protocol();
    let bytes = packet.bytes()[20..20 + bytes].to_vec();
    client_frame(Ipv4::new(CLIENT, VIP, Transport::Raw { protocol, bytes }).fragment(0, true))
}

pub(super) fn cases() -> Vec<Case> {
    let udp = |from, to| Transport::from(query(from, to));
    let tcp = |from, to| Transport::from(segment(from, to));
    let two = || dns().with(|world| world.servers.push((Number(0), Server::at("rs2", RS2, 5353).weight(0))));
    let other_client = std::net::Ipv4Addr::new(10, 77, 1, 11);
    let mut flood = Case::new("more datagrams than there are notes push out notes, and no connection", dns());
    flood = sends(flood, piece(1, 0)).counting(&[("stored", 1)]);
    for id in 0..2000_u16 {
        flood = sends(flood, piece(1000 + id, 0)).counting(&[("stored", 0), ("fragment_noted", 1)]);
    }
    flood = sends(flood, piece(2999, 1)).counting(&[("fragment_followed", 1)]);
    let mut options = Case::new("IPv6: fragments behind other headers follow, too", dns6());
    let before = [Extension::HopByHop(vec![])];
    let outputs = pieces6(&Ipv6::new(CLIENT6, RS1_6, query(PORT, 5353)).hop_limit(63), 0xdead_beef, &before);
    let inputs = pieces6(&Ipv6::new(CLIENT6, VIP6, query(PORT, 53)), 0xdead_beef, &before);
    for (input, output) in inputs.into_iter().zip(outputs) {
        options = options.front(&client_frame(input), "forwarded_nat", Through(at_server(RS1_6, output)));
    }
    let mut cases = vec![
        both_ways(
            "a datagram in pieces, both ways",
            dns(),
            v4(),
            [udp(PORT, 53), udp(PORT, 5353)],
            [udp(5353, PORT), udp(53, PORT)],
        ),
        both_ways(
            "IPv6: a datagram in pieces, both ways",
            dns6(),
            v6(),
            [udp(PORT, 53), udp(PORT, 5353)],
            [udp(5353, PORT), udp(53, PORT)],
        ),
        both_ways(
            "a segment in pieces, both ways",
            one_server(),
            v4(),
            [tcp(PORT, 80), tcp(PORT, 8080)],
            [tcp(8080, PORT), tcp(80, PORT)],
        ),
        both_ways(
            "IPv6: a segment in pieces, both ways",
            one_server6(),
            v6(),
            [tcp(PORT, 80), tcp(PORT, 8080)],
            [tcp(8080, PORT), tcp(80, PORT)],
        ),
        direct("by direct routing, pieces go the same way", v4()),
        direct("IPv6: by direct routing, pieces go the same way", v6()),
        options,
        {
            let case =
                Case::new("a piece before the first is dropped, those after it are not, in any order", dns());
            let case = drops(case, piece(5, 1));
            let case = sends(sends(case, piece(5, 0)), piece(5, 2));
            sends(case, piece(5, 1)).counting(&[("fragment_followed", 1)])
        },
        {
            let case = sends(Case::new("a note is good for half a minute", dns()), piece(5, 0)).pass(28);
            drops(sends(case, piece(5, 1)).pass(1), piece(5, 2))
        },
        {
            let case = Case::new("one id of two clients is two datagrams", dns());
            let case = sends(case, piece(5, 0));
            let case = drops(case, piece_from(other_client, PORT, 5, 1));
            let case = sends(case, piece_from(other_client, PORT, 5, 0));
            sends(sends(case, piece_from(other_client, PORT, 5, 1)), piece(5, 1))
        },
        {
            let case = Case::new("an id that comes again goes where its newest first piece went", two());
            let case = sends(sends(case, piece(5, 0)), piece(5, 1)).change(|world| {
                let rs1 = world.named("rs1");
                (rs1.down, rs1.weight, rs1.miss_weight) = (true, 0, Some(0));
                world.named("rs2").weight = 1;
            });
            let again = |index| {
                let input = pieces(Ipv4::new(CLIENT, VIP, query(PORT + 1, 53)), 5).swap_remove(index);
                let output =
                    pieces(Ipv4::new(CLIENT, RS2, query(PORT + 1, 5353)).ttl(63), 5).swap_remove(index);
                (client_frame(input), Through(at_server(RS2, output)))
            };
            sends(sends(case, again(0)), again(1))
        },
        {
            let case = sends(Case::new("a first piece follows the entry of its connection", two()), {
                let at_server = at_server(RS1, Ipv4::new(CLIENT, RS1, query(PORT, 5353)).ttl(63));
                (from_client(VIP, query(PORT, 53)), Through(at_server))
            })
            .change(|world| {
                (world.named("rs1").weight, world.named("rs1").drained) = (0, true);
                world.named("rs2").weight = 1;
            });
            let case = sends(case, piece(5, 0)).counting(&[("stored", 0), ("reselected", 0)]);
            sends(case, piece(5, 1)).counting(&[("rs1.packets_in", 1)])
        },
        {
            let case = sends(Case::new("pieces whose server is gone are dropped", dns()), piece(5, 0));
            drops(case.change(|world| world.named("rs1").freed = true), piece(5, 1))
        },
        flood,
        Case::new("a first piece without a whole TCP header is dropped", one_server())
            .front(&start(segment(PORT, 80), 16), "dropped_fragment", Dropped)
            .counting(&[("stored", 0), ("fragment_noted", 0)]),
        Case::new("a first piece without a whole UDP header is dropped", dns())
            .front(&start(query(PORT, 53), 4), "dropped_fragment", Dropped)
            .counting(&[("stored", 0), ("fragment_noted", 0)]),
        Case::new("a SYN in pieces without a server is dropped, not refused", {
            one_server().with(|world| (world.named("rs1").down, world.named("rs1").weight) = (true, 0))
        })
        .front(&start(syn(80), 20), "dropped_no_server", Dropped),
    ];
    cases.extend(of_either_family(v4(), &dns(), 20));
    cases.extend(of_either_family(v6(), &dns6(), 40));
    cases
}

/// What the family makes no difference to.
fn of_either_family<A: Into<IpAddr> + Copy>(
    [client, vip, rs1]: [A; 3],
    dns: &World,
    header: usize,
) -> Vec<Case> {
    let family = if header == 20 { "IPv4" } else { "IPv6" };
    let case = |name: &str, world: World| Case::new(format!("{family}, in pieces: {name}").leak(), world);
    let asks = |port, hops| cut(client, vip, query(PORT, port), hops, 5);
    let at_rs1 = cut(client, rs1, query(PORT, 5353), 63, 5);
    let input = |index: usize| client_frame(asks(53, 64).swap_remove(index));
    let output = |index: usize| Through(at_server(rs1, at_rs1[index].clone()));
    let opened = |name| case(name, dns.clone()).front(&input(0), "forwarded_nat", output(0));
    let ping = if header == 20 { Icmp::ping(7, 1, [1; 80]) } else { Icmp::ping_v6(7, 1, [1; 80]) };
    let own = |index: usize| from_server(cut(rs1, client, query(5353, PORT), 64, 5).swap_remove(index));
    let dead = dns.clone().with(|world| (world.named("rs1").down, world.named("rs1").weight) = (true, 0));
    let mut pinged = case("a large ping of a VIP is the kernel's, every part of it", dns.clone());
    for part in cut(client, vip, ping.clone(), 64, 5) {
        pinged = pinged
            .front(&client_frame(part), "passed_not_balanced", Passed)
            .counting(&[("fragment_noted", 0), ("fragment_unknown", 0)]);
    }
    let mut servers_ping = case("a server's own large ping passes, every part of it", dns.clone());
    for part in cut(rs1, client, ping, 64, 5) {
        servers_ping = servers_ping.back(&from_server(part), "passed_unexplained", Passed);
    }
    vec![
        pinged,
        servers_ping,
        case("a later part alone is dropped", dns.clone())
            .front(&input(1), "dropped_fragment", Dropped)
            .counting(&[("fragment_unknown", 1), ("stored", 0)]),
        opened("a later part that comes again follows again")
            .front(&input(2), "forwarded_nat", output(2))
            .front(&input(1), "forwarded_nat", output(1))
            .front(&input(1), "forwarded_nat", output(1))
            .counting(&[("fragment_followed", 1), ("rs1.packets_in", 1), ("rs1.connections", 0)]),
        opened("a later part has hops to spare, too")
            .front(&client_frame(asks(53, 1).swap_remove(1)), "dropped_ttl", Dropped)
            .counting(&[("rs1.packets_in", 0)]),
        opened("a later part whose server cannot be reached is dropped")
            .change(|world| world.named("rs1").next_hop = None)
            .front(&input(1), "dropped_no_next_hop", Dropped),
        case("a first part that no service takes is the kernel's", dns.clone())
            .front(&client_frame(asks(54, 64).swap_remove(0)), "passed_no_service", Passed)
            .counting(&[("fragment_noted", 0)]),
        case("a service without a server drops", dead)
            .front(&input(0), "dropped_no_server", Dropped)
            .counting(&[("fragment_noted", 0)])
            .front(&input(1), "dropped_fragment", Dropped),
        case("from the VIP itself it is a martian's", dns.clone()).front(
            &client_frame(cut(vip, vip, query(PORT, 53), 64, 5).swap_remove(0)),
            "dropped_martian",
            Dropped,
        ),
        case("a server's own datagram stays its own", dns.clone())
            .back(&own(0), "passed_unexplained", Passed)
            .back(&own(1), "passed_unexplained", Passed)
            .counting(&[("fragment_unknown", 1)]),
        case(
            "who does not serve yet lets no server's datagram out",
            dns.clone().with(|world| world.serving = false),
        )
        .back(&own(0), "dropped_not_serving", Dropped),
    ]
}

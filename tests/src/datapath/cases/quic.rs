//! Packets of QUIC that name their server: the plaintext form of QUIC-LB, in headers as RFC 8999 has them.
//!
//! The flow of everybody leads to the first server, so that whatever reaches the second one was named.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::slot::Class;

use super::Case;
use super::people::*;
use crate::datapath::world::{Limits, Number, Protocol, Replica, Server, Service, World};
use crate::fixture::Output::{self, Dropped, Through};
use crate::packet::quic::{connection_id as id, long, short};
use crate::packet::{Ipv4, Udp};

const CONFIG: u8 = 2;
const FIRST: &[u8] = &[0x00, 0x0a];
const SECOND: &[u8] = &[0xff, 0x0b];
const NOBODY: &[u8] = &[0x0b, 0xff];

/// A family and a mode.
#[derive(Clone, Copy)]
struct Way {
    v6: bool,
    direct: bool,
}

impl Way {
    const V4: Self = Self { v6: false, direct: false };

    /// A name that tells the ways apart.
    fn name(self, what: &str) -> &'static str {
        let family = if self.v6 { "IPv6: " } else { "" };
        let mode = if self.direct { "by direct routing, " } else { "" };
        format!("{family}{mode}{what}").leak()
    }

    fn pick(self, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
        if self.v6 { v6.into() } else { v4.into() }
    }

    fn vip(self) -> IpAddr {
        self.pick(VIP, VIP6)
    }

    fn client(self) -> IpAddr {
        self.pick(CLIENT, CLIENT6)
    }

    fn server(self, number: u8) -> IpAddr {
        if number == 1 { self.pick(RS1, RS1_6) } else { self.pick(RS2, RS2_6) }
    }

    fn port(self) -> u16 {
        if self.direct { 443 } else { 8443 }
    }

    fn service(self) -> Service {
        let web = Service::tcp("web", self.vip(), 443);
        (if self.direct { web.direct() } else { web }).quic(CONFIG, 2)
    }

    fn world(self) -> World {
        self.world_of(self.service())
    }

    fn world_of(self, service: Service) -> World {
        let (first, second) = (self.server(1), self.server(2));
        let second = Server::at("rs2", second, self.port()).weight(0).called(SECOND);
        World::of(service, [Server::at("rs1", first, self.port()).called(FIRST), second])
    }

    /// From the client to the VIP.
    fn sent(self, port: u16, payload: &[u8]) -> Vec<u8> {
        client_frame(ip(self.client(), self.vip(), 64, Udp::new(port, 443, payload)))
    }

    /// The same at this server.
    fn arrived(self, number: u8, port: u16, payload: &[u8]) -> Output {
        let to = if self.direct { self.vip() } else { self.server(number) };
        let packet = ip(self.client(), to, 63, Udp::new(port, self.port(), payload));
        Through(at_server(self.server(number), packet))
    }

    /// What the client sends reaches this server.
    fn goes(self, case: Case, port: u16, payload: &[u8], number: u8) -> Case {
        let verdict = if self.direct { "forwarded_dr" } else { "forwarded_nat" };
        case.front(&self.sent(port, payload), verdict, self.arrived(number, port, payload))
    }

    /// The same, because the packet names it.
    fn named(self, case: Case, port: u16, payload: &[u8], number: u8) -> Case {
        self.goes(case, port, payload, number).counting(&[("quic_by_id", 1), ("quic_by_flow", 0)])
    }

    /// The same, because its flow does.
    fn by_flow(self, case: Case, port: u16, payload: &[u8], number: u8) -> Case {
        self.goes(case, port, payload, number).counting(&[("quic_by_id", 0), ("quic_by_flow", 1)])
    }

    /// By NAT: this server's answer comes from the VIP.
    fn answers(self, case: Case, number: u8, port: u16) -> Case {
        if self.direct {
            return case;
        }
        let answer = |from| Udp::new(from, port, *b"\x40 whatever it may say");
        let back = from_server(ip(self.server(number), self.client(), 64, answer(8443)));
        let there = at_client(ip(self.vip(), self.client(), 63, answer(443)));
        case.back(&back, "forwarded_nat_reply", Through(there))
    }
}

fn denied(way: Way) -> Case {
    let service = way.service().deny(way.client(), if way.v6 { 128 } else { 32 });
    Case::new(way.name("whom the lists deny is not let in by an id"), way.world_of(service))
        .front(&way.sent(PORT, &short(&id(CONFIG, SECOND))), "dropped_denied", Dropped)
        .counting(&[("quic_by_id", 1), ("stored", 0), ("web.denied", 1), ("rs2.packets_in", 0)])
}

fn of_each_way(way: Way) -> Vec<Case> {
    let case = |what, world| Case::new(way.name(what), world);
    let (first, second, nobody) = (id(CONFIG, FIRST), id(CONFIG, SECOND), id(CONFIG, NOBODY));
    let mut cases = vec![denied(way)];

    let begun = case("a connection begins with an id of the client's, and goes by its flow", way.world());
    let begun = way.by_flow(begun, PORT, &long(b"chosen at random"), 1).counting(&[("stored", 1)]);
    let begun = way.answers(begun, 1, PORT);
    let begun = way.named(begun, PORT, &long(&first), 1).counting(&[("stored", 0), ("rs1.connections", 0)]);
    let begun = way.named(begun, PORT, &short(&first), 1);
    cases.push(way.answers(begun, 1, PORT));

    let moved = case("who comes from another address is known by the id", way.world());
    let moved = way.named(moved, PORT, &short(&second), 2).counting(&[("stored", 1), ("rs2.connections", 1)]);
    let moved = way.answers(moved, 2, PORT);
    let moved = way.named(moved, PORT, &short(&second), 2).counting(&[("stored", 0), ("rs2.connections", 0)]);
    // What names nobody follows whoever was named on its flow.
    cases.push(way.by_flow(moved, PORT, &short(&nobody), 2));

    let stays = case("an id outranks the flow's entry, which stays where it is", way.world());
    let stays = way.by_flow(stays, PORT, &long(b"chosen at random"), 1);
    let stays = way.named(stays, PORT, &short(&second), 2).counting(&[("stored", 0), ("reselected", 0)]);
    let stays = way.answers(way.answers(stays, 2, PORT), 1, PORT);
    let stays = way.named(stays, PORT, &long(&second), 2);
    cases.push(way.by_flow(stays, PORT, &short(&nobody), 1));

    let others = case("ids that name nobody go by the flow", way.world());
    let others = way.by_flow(others, PORT, &short(&nobody), 1);
    let others = way.by_flow(others, PORT, &short(&id(CONFIG + 1, SECOND)), 1);
    let others = way.by_flow(others, PORT, &long(&id(0, SECOND)), 1);
    cases.push(way.by_flow(way.by_flow(others, PORT, &short(&id(7, SECOND)), 1), PORT, &long(&[]), 1));

    let dead = case("the id of a server that is down goes by the flow", way.world());
    let dead = way.named(dead, PORT, &short(&second), 2).change(|world| world.named("rs2").down = true);
    let dead = way.by_flow(dead, PORT, &short(&second), 1).counting(&[("reselected", 1)]);
    let dead = dead.change(|world| world.named("rs2").down = false);
    cases.push(way.named(way.answers(dead, 1, PORT), PORT, &short(&second), 2));

    let fled = case("an entry whose server is down goes to the one that is named", way.world());
    let fled = way.by_flow(fled, PORT, &short(&nobody), 1).change(|world| world.named("rs1").down = true);
    let fled = way.named(fled, PORT, &short(&second), 2).counting(&[("reselected", 1), ("stored", 0)]);
    cases.push(way.by_flow(way.answers(fled, 2, PORT), PORT, &short(&nobody), 2));

    let leaving = case("drained and removed servers keep what names them, freed ones do not", way.world());
    let leaving = leaving.change(|world| world.named("rs2").drained = true);
    let leaving = way.named(leaving, PORT, &short(&second), 2);
    let leaving = leaving.change(|world| world.named("rs2").removed = true);
    let leaving = way.named(leaving, PORT + 1, &short(&second), 2);
    let leaving = leaving.change(|world| world.named("rs2").freed = true);
    cases.push(way.by_flow(leaving, PORT + 2, &short(&second), 1));

    let told = case(
        "an id outranks what another director says of the flow, which is followed without one",
        way.world(),
    );
    let told = told.change(|world| {
        let (client, vip) = ((way.client(), PORT), (way.vip(), 443));
        let (protocol, class) = (Protocol::Udp, Class::Established);
        world.replicas.push(Replica { client, vip, protocol, server: Number(1), class });
    });
    let told = way.named(told, PORT, &short(&first), 1).counting(&[("by_replica", 0), ("stored", 0)]);
    let told =
        way.by_flow(told, PORT, &short(&nobody), 2).counting(&[("adopted", 1), ("rs2.connections", 0)]);
    cases.push(way.by_flow(told, PORT, &short(&nobody), 2).counting(&[("by_replica", 0)]));

    let one_a_second = Limits { source_connections: 1, ..Limits::default() };
    let limited = way.world_of(way.service().limit(one_a_second));
    let limited = case("who comes from another port is one more connection", limited);
    let limited = way.named(limited, PORT, &short(&second), 2);
    let limited = limited
        .front(&way.sent(PORT + 1, &short(&second)), "dropped_rate_source", Dropped)
        .counting(&[("web.rate_source", 1), ("stored", 0), ("rs2.packets_in", 0)]);
    cases.push(way.named(limited, PORT, &short(&second), 2));

    let metered = Limits { source_packets: 2, ..Limits::default() };
    let metered = case(
        "packets that name their server are counted as others are",
        way.world_of(way.service().limit(metered)),
    );
    let metered = way.named(metered, PORT, &short(&second), 2);
    let metered = way.by_flow(metered, PORT, &short(&nobody), 2);
    cases.push(
        metered
            .front(&way.sent(PORT, &short(&second)), "dropped_rate_source", Dropped)
            .counting(&[("web.rate_source", 1), ("rs2.packets_in", 0)]),
    );

    cases.push(cut_anywhere(way));
    cases
}

/// A packet counts as far as its IP header says, and names a server as soon as that server's id is whole.
fn cut_anywhere(way: Way) -> Case {
    let case = Case::new(way.name("an id counts if it is whole, wherever the packet ends"), way.world());
    let mut case = way.by_flow(case, PORT, &long(b"chosen at random"), 1);
    let second = id(CONFIG, SECOND);
    for (whole, enough) in [(short(&second), 1 + 3), (long(&second), 6 + 3)] {
        for length in 0..whole.len() {
            let part = &whole[..length];
            case = if length < enough {
                way.by_flow(case, PORT, part, 1)
            } else {
                way.named(case, PORT, part, 2)
            };
        }
    }
    // In a long header the id ends where that says.
    for length in 0..second.len() as u8 {
        let mut packet = long(&second);
        packet[5] = length;
        case =
            if length < 3 { way.by_flow(case, PORT, &packet, 1) } else { way.named(case, PORT, &packet, 2) };
    }
    case
}

pub(super) fn cases() -> Vec<Case> {
    let ways = [false, true].map(|v6| [false, true].map(|direct| Way { v6, direct }));
    let mut cases: Vec<Case> = ways.into_iter().flatten().flat_map(of_each_way).collect();
    let way = Way::V4;
    let second = id(CONFIG, SECOND);

    let mut bits = Case::new("of the first octets only form and configuration matter", way.world());
    for bit in 0..7 {
        let mut packet = short(&second);
        packet[0] ^= 1 << bit;
        bits = way.named(bits, PORT, &packet, 2);
        let mut packet = long(&second);
        packet[0] ^= 1 << bit;
        bits = way.named(bits, PORT, &packet, 2);
        let mut packet = short(&second);
        packet[1] ^= 1 << bit;
        bits = if bit < 5 { way.named(bits, PORT, &packet, 2) } else { way.by_flow(bits, PORT, &packet, 2) };
    }
    cases.push(bits);

    let mut versions = Case::new("an id is read in any version", way.world());
    for version in [0x6b33_43cf_u32, 0, u32::MAX] {
        let mut packet = long(&second);
        packet[1..5].copy_from_slice(&version.to_be_bytes());
        versions = way.named(versions, PORT, &packet, 2);
    }
    cases.push(versions);

    let padded = Case::new("what the link adds behind a packet is no part of its id", way.world());
    let padded = way.by_flow(padded, PORT, &long(b"chosen at random"), 1);
    let cut = short(&second)[..3].to_vec();
    let pad = |frame: Vec<u8>| [&frame[..], SECOND, &[0; 12]].concat();
    let Through(there) = way.arrived(1, PORT, &cut) else { unreachable!() };
    cases.push(
        padded
            .front(&pad(way.sent(PORT, &cut)), "forwarded_nat", Through(pad(there)))
            .counting(&[("quic_by_id", 0), ("quic_by_flow", 1)]),
    );

    const LONGEST: &[u8] = b"fifteen octets!";
    let longest = way.world().with(|world| {
        world.services[0] = way.service().quic(0, 15);
        world.named("rs1").quic = None;
        world.named("rs2").quic = Some(LONGEST);
    });
    let longest = way.named(Case::new("an id of fifteen octets", longest), PORT, &short(&id(0, LONGEST)), 2);
    cases.push(way.by_flow(longest, PORT + 1, &short(&id(0, b"fifteen octets?")), 1));
    let shortest = way.world().with(|world| {
        world.services[0] = way.service().quic(6, 1);
        world.named("rs1").quic = Some(&[0]);
        world.named("rs2").quic = Some(&[0xff]);
    });
    let shortest = way.named(Case::new("an id of one octet", shortest), PORT, &short(&id(6, &[0xff])), 2);
    cases.push(way.named(shortest, PORT, &short(&id(6, &[0])), 1));

    let neighbour = Service::tcp("api", OTHER_VIP, 443).quic(CONFIG, 2);
    let apart = way.world().and(neighbour, [Server::at("api1", RS2, 9443).called(NOBODY)]);
    let apart = Case::new("an id names a server of the service that was hit, and of no other", apart);
    cases.push(way.by_flow(apart, PORT, &short(&id(CONFIG, NOBODY)), 1));

    let options = Case::new("an id is found behind IP options", way.world());
    let ip = |to, ttl, port| Ipv4 {
        options: vec![1; 8],
        ..Ipv4::new(CLIENT, to, Udp::new(PORT, port, short(&second))).ttl(ttl)
    };
    cases.push(
        options
            .front(
                &client_frame(ip(VIP, 64, 443)),
                "forwarded_nat",
                Through(at_server(RS2, ip(RS2, 63, 8443))),
            )
            .counting(&[("quic_by_id", 1)]),
    );
    cases
}

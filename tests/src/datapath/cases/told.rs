//! Connections that other directors hold: the tables of this one lead to the first server, so that whatever reaches the second
//! one without an entry was told of.

use std::net::{IpAddr, Ipv4Addr};

use lb_common::slot::Class;

use super::Case;
use super::people::*;
use crate::datapath::world::{
    Hop, Limits, Lost, Number, Protocol, Replica, Server, Service, Side, World, mac_of,
};
use crate::fixture::Output::{self, Dropped, Passed, Through};
use crate::packet::{Ipv4, Tcp, Transport, Udp};

/// A family and a mode.
#[derive(Clone, Copy)]
struct Way {
    v6: bool,
    direct: bool,
}

/// The number of the second server.
const SECOND: Number = Number(1);

impl Way {
    const ALL: [Self; 4] = [
        Self { v6: false, direct: false },
        Self { v6: true, direct: false },
        Self { v6: false, direct: true },
        Self { v6: true, direct: true },
    ];

    /// A name that tells the ways apart.
    fn name(self, what: &str) -> &'static str {
        let family = if self.v6 { "IPv6" } else { "IPv4" };
        let mode = if self.direct { "DR" } else { "NAT" };
        format!("{family} {mode}: told by another director, {what}").leak()
    }

    fn client(self) -> IpAddr {
        if self.v6 { CLIENT6.into() } else { CLIENT.into() }
    }

    fn vip(self) -> IpAddr {
        if self.v6 { VIP6.into() } else { VIP.into() }
    }

    fn server(self, number: u8) -> IpAddr {
        match (self.v6, number) {
            (false, 1) => RS1.into(),
            (false, _) => RS2.into(),
            (true, 1) => RS1_6.into(),
            (true, _) => RS2_6.into(),
        }
    }

    const fn port(self) -> u16 {
        if self.direct { 80 } else { 8080 }
    }

    fn verdict(self) -> &'static str {
        if self.direct { "forwarded_dr" } else { "forwarded_nat" }
    }

    fn service(self) -> Service {
        let web = Service::tcp("web", self.vip(), 80);
        if self.direct { web.direct() } else { web }
    }

    fn world(self, service: Service) -> World {
        let at = |number: u8, name| Server::at(name, self.server(number), self.port());
        World::of(service, [at(1, "rs1"), at(2, "rs2").weight(0)])
    }

    fn replica(self, class: Class) -> Replica {
        let (client, vip) = ((self.client(), PORT), (self.vip(), 80));
        Replica { client, vip, protocol: Protocol::Tcp, server: SECOND, class }
    }

    /// The client's connection is at the second server, in this class.
    fn told(self, what: &str, service: Service, class: Class) -> Case {
        let replicas = vec![self.replica(class)];
        Case::new(self.name(what), self.world(service).with(|world| world.replicas = replicas))
    }

    fn sent(self, transport: impl Into<Transport>) -> Vec<u8> {
        client_frame(ip(self.client(), self.vip(), 64, transport))
    }

    /// What the client sends reaches this server.
    fn goes(self, case: Case, number: u8, tcp: &Tcp) -> Case {
        let server = self.server(number);
        let to = if self.direct { self.vip() } else { server };
        let moved = Tcp { destination_port: self.port(), ..tcp.clone() };
        let output = Through(at_server(server, ip(self.client(), to, 63, moved)));
        case.front(&self.sent(tcp.clone()), self.verdict(), output)
    }

    /// The same, because another director held it there; it is this one's from now on.
    fn inherits(self, case: Case, tcp: &Tcp) -> Case {
        self.goes(case, 2, tcp).counting(INHERITED)
    }

    /// The same, as if nobody had been told.
    fn picks(self, case: Case, number: u8, tcp: &Tcp) -> Case {
        self.goes(case, number, tcp).counting(UNTOLD)
    }

    /// The second server's answer comes from the VIP.
    fn answers(self, case: Case, tcp: &Tcp) -> Case {
        let back = from_server(ip(self.server(2), self.client(), 64, tcp.clone()));
        let there = Tcp { source_port: 80, ..tcp.clone() };
        let there = at_client(ip(self.vip(), self.client(), 63, there));
        case.back(&back, "forwarded_nat_reply", Through(there))
    }
}

/// No connection has begun: one has moved here.
const INHERITED: &[(&str, i64)] = &[
    ("by_replica", 1),
    ("adopted", 1),
    ("web.adopted", 1),
    ("stored", 1),
    ("miss_not_syn", 0),
    ("web.missed", 0),
    ("rs1.connections", 0),
    ("rs2.connections", 0),
];

const UNTOLD: &[(&str, i64)] = &[("by_replica", 0), ("adopted", 0), ("web.adopted", 0)];

/// The word is withdrawn.
fn withdrawn(world: &mut World) {
    world.replicas.clear();
}

fn drained(world: &mut World) {
    world.named("rs2").drained = true;
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Way::ALL.into_iter().flat_map(of_each_way).collect();
    cases.extend(Way::ALL.into_iter().filter(|way| !way.direct).flat_map(answered));
    cases.push(of_another_service());
    cases.extend(datagrams());
    cases
}

fn of_each_way(way: Way) -> Vec<Case> {
    let told = |what: &str, class| way.told(what, way.service(), class);
    let mut cases = vec![
        way.picks(Case::new(way.name("nothing: the tables decide"), way.world(way.service())), 1, &data(80))
            .counting(&[("miss_not_syn", 1), ("web.missed", 1), ("stored", 1)]),
    ];

    let case = way.inherits(
        told("a segment goes there and is this director's from then on", Class::Established),
        &data(80),
    );
    let case = case.change(withdrawn);
    cases.push(way.picks(case, 2, &data(80)).counting(&[("stored", 0)]));

    // Established, or the drained server would lose it.
    let case = way.inherits(told("a SYN on a live one goes there, too", Class::Established), &syn(80));
    let case = case.change(|world| {
        withdrawn(world);
        drained(world);
    });
    cases.push(way.picks(case, 2, &syn(80)).counting(&[("stored", 0), ("reselected", 0)]));

    let case = told("a SYN on one that was closing begins anew there", Class::Closing);
    let case =
        way.goes(case, 2, &syn(80)).counting(&[("by_replica", 1), ("adopted", 1), ("rs2.connections", 1)]);
    cases.push(way.picks(case, 2, &data(80)));

    for (what, class) in [("closing", Class::Closing), ("new", Class::New)] {
        let what: &'static str = format!("a SYN on one that was {what} leaves a server that is down").leak();
        let case = told(what, class).change(|world| world.named("rs2").down = true);
        let case =
            way.picks(case, 1, &syn(80)).counting(&[("stored", 1), ("rs1.connections", 1), ("mismatch", 0)]);
        cases.push(way.picks(case, 1, &data(80)).counting(&[("stored", 0)]));
    }

    let case = told("a SYN on one that was closing leaves a drained server", Class::Closing).change(drained);
    cases.push(way.picks(case, 1, &syn(80)).counting(&[("stored", 1), ("rs1.connections", 1)]));

    let case = told("a drained server keeps what it has", Class::Established).change(drained);
    cases.push(way.inherits(case, &data(80)));

    let case = told("of a server that is gone, the tables decide", Class::Established);
    let case = case.change(|world| world.named("rs2").freed = true);
    cases.push(way.picks(case, 1, &data(80)).counting(&[("miss_not_syn", 1)]));

    cases.extend(lost(way));

    let case = Case::new(way.name("what is stored here stays where it is"), way.world(way.service()));
    let case =
        way.goes(case, 1, &syn(80)).change(|world| world.replicas.push(way.replica(Class::Established)));
    cases.push(way.picks(case, 1, &data(80)).counting(&[("stored", 0)]));

    let case = told("without a place in the table, each packet finds its server again", Class::Established);
    let mut case = case.change(|world| world.is_crowded = true);
    for _ in 0..2 {
        case = way.goes(case, 2, &data(80)).counting(&[
            ("by_replica", 1),
            ("adopted", 0),
            ("web.adopted", 0),
            ("homeless", 1),
        ]);
    }
    cases.push(case);

    let case = told("a director without a flow table goes by its own tables alone", Class::Established);
    cases.push(way.picks(case.change(|world| world.flows = false), 1, &data(80)));

    let denying = way.service().deny(way.client(), if way.v6 { 128 } else { 32 });
    let case = way.told("lists are asked nevertheless", denying, Class::Established);
    cases.push(
        case.front(&way.sent(data(80)), "dropped_denied", Dropped)
            .counting(UNTOLD)
            .counting(&[("web.denied", 1), ("rs2.packets_in", 0)]),
    );
    cases.extend(limited(way));
    cases
}

/// A server that has failed.
fn lost(way: Way) -> Vec<Case> {
    let told = |what: &str, policy| {
        let case = way.told(what, way.service().losing(policy), Class::Established);
        case.change(|world| world.named("rs2").down = true)
    };
    let kept = way.inherits(told("a server that is down keeps its connections", Lost::Kept), &data(80));
    let rehashed = told("a server that is down lets its connections go", Lost::Rehashed);
    let rehashed = way.picks(rehashed, 1, &data(80)).counting(&[("stored", 1)]);
    let mut reset =
        told("a server that is down has its connections reset, each time they speak", Lost::Reset);
    let segment = data(80);
    let answer = Tcp {
        sequence: segment.acknowledgement,
        window: 0,
        ..Tcp::new(80, PORT, crate::packet::TcpFlags::RST)
    };
    let answer = at_client(ip(way.vip(), way.client(), 64, answer));
    for _ in 0..2 {
        reset = reset
            .front(&way.sent(segment.clone()), "replied_reset", Output::Back(answer.clone()))
            .counting(UNTOLD)
            .counting(&[("stored", 0), ("rs2.packets_in", 0)]);
    }
    // The client begins anew.
    vec![kept, rehashed, way.picks(reset, 1, &syn(80)).counting(&[("stored", 1)])]
}

/// A connection that moved here is no new one; its packets are packets.
fn limited(way: Way) -> Vec<Case> {
    let neighbour = if way.v6 { "fd77:1::11" } else { "10.77.1.11" }.parse().unwrap_or(way.client());
    let limits = Limits { connections: 1, source_connections: 0, source_packets: 0, prefixes: [0, 64] };
    let case = way.told(
        "it is not one of the new connections that are limited",
        way.service().limit(limits),
        Class::Established,
    );
    let from_neighbour = |segment: Tcp, port| {
        (
            client_frame(ip(neighbour, way.vip(), 64, Tcp { source_port: port, ..segment.clone() })),
            Tcp { source_port: port, destination_port: way.port(), ..segment },
        )
    };
    let (first, at_first) = from_neighbour(syn(80), 1);
    let to = if way.direct { way.vip() } else { way.server(1) };
    let output = Through(at_server(way.server(1), ip(neighbour, to, 63, at_first)));
    let case = case.front(&first, way.verdict(), output);
    let case = case.front(&from_neighbour(syn(80), 2).0, "dropped_rate_service", Dropped);
    let connections = way.inherits(case, &syn(80));

    let limits = Limits { connections: 0, source_packets: 2, ..limits };
    let case =
        way.told("its packets are counted as others are", way.service().limit(limits), Class::Established);
    let case = way.goes(way.inherits(case, &data(80)), 2, &data(80));
    let packets = case
        .front(&way.sent(data(80)), "dropped_rate_source", Dropped)
        .counting(&[("web.rate_source", 1), ("rs2.packets_in", 0)]);

    // From the first packet on, which nobody has stored.
    let case = way.told("its first packet is counted, too", way.service().limit(limits), Class::Established);
    let case = case.change(|world| world.is_crowded = true);
    let case = way.goes(way.goes(case, 2, &data(80)), 2, &data(80));
    let first = case.front(&way.sent(data(80)), "dropped_rate_source", Dropped).counting(&[
        ("web.rate_source", 1),
        ("by_replica", 0),
        ("rs2.packets_in", 0),
    ]);
    vec![connections, packets, first]
}

/// A server speaks first.
fn answered(way: Way) -> Vec<Case> {
    let hop = Hop { side: Side::Front, mac: mac_of(way.client()) };
    let told = |what: &str| {
        way.told(what, way.service(), Class::Established).change(|world| world.route(way.client(), hop))
    };
    let case = way
        .answers(told("a server's answer is the VIP's, and the connection this director's"), &answer(8080));
    let case = case.counting(INHERITED).counting(&[("derived_reply", 0)]).change(withdrawn);
    let case = way.picks(case, 2, &data(80)).counting(&[("stored", 0)]);
    let adopted = way.answers(case, &answer(8080)).counting(UNTOLD);

    let case = told("without a place in the table, answers are the VIP's");
    let mut homeless = case.change(|world| world.is_crowded = true);
    for _ in 0..2 {
        homeless = way.answers(homeless, &answer(8080)).counting(&[
            ("by_replica", 1),
            ("adopted", 0),
            ("homeless", 1),
            ("derived_reply", 0),
        ]);
    }
    vec![adopted, homeless, of_two(way), of_two_and_one_more(way)]
}

/// Before it came here, the client had one port at two VIPs' ports that lead to one server and port.
fn of_two(way: Way) -> Case {
    let twin = Service::tcp("twin", way.vip(), 81);
    let world = way.world(way.service()).and(twin, [Server::at("twin1", way.server(2), 8080)]);
    let other = Replica { vip: (way.vip(), 81), server: Number(2), ..way.replica(Class::Established) };
    let case = Case::new(way.name("an answer of two connections is neither's"), world);
    let case = case.change(|world| world.replicas = vec![way.replica(Class::Established), other]);
    let case =
        case.change(|world| world.route(way.client(), Hop { side: Side::Front, mac: mac_of(way.client()) }));
    let back = from_server(ip(way.server(2), way.client(), 64, answer(8080)));
    let case = case.back(&back, "passed_unexplained", Passed).counting(UNTOLD);
    // Once one of the two has ended.
    let case = case.change(|world| world.replicas.truncate(1));
    way.answers(case, &answer(8080)).counting(INHERITED)
}

/// Likewise, and the tables would give it to a third.
fn of_two_and_one_more(way: Way) -> Case {
    let at = |name| [Server::at(name, way.server(2), 8080)];
    let world = way.world(way.service()).and(Service::tcp("twin", way.vip(), 81), at("twin1"));
    let world = world.and(Service::tcp("third", way.vip(), 82), at("third1"));
    let other = Replica { vip: (way.vip(), 81), server: Number(2), ..way.replica(Class::Established) };
    let case = Case::new(way.name("an answer of two connections is not a third one's either"), world);
    let case = case.change(|world| {
        world.replicas = vec![way.replica(Class::Established), other];
        world.route(way.client(), Hop { side: Side::Front, mac: mac_of(way.client()) });
    });
    let back = from_server(ip(way.server(2), way.client(), 64, answer(8080)));
    let case = case.back(&back, "passed_unexplained", Passed).counting(UNTOLD);
    // Once both have ended, it is the only one that the tables make.
    let case = case.change(withdrawn).change(|world| world.named("twin1").miss_weight = Some(0));
    let there = Tcp { source_port: 82, ..answer(8080) };
    let there = at_client(ip(way.vip(), way.client(), 63, there));
    case.back(&back, "forwarded_nat_reply", Through(there)).counting(&[("derived_reply", 1)])
}

/// Two services, and the word that the connection of one is at a server of the other.
fn of_another_service() -> Case {
    let way = Way::ALL[0];
    let twin = Service::tcp("twin", VIP, 81);
    let world = way.world(way.service()).and(twin, [Server::at("twin1", Ipv4Addr::new(10, 77, 2, 23), 8081)]);
    let replica = Replica { server: Number(2), ..way.replica(Class::Established) };
    let case = Case::new(way.name("a server of another service is not believed"), world);
    way.picks(case.change(|world| world.replicas.push(replica)), 1, &data(80)).counting(&[
        ("mismatch", 1),
        ("miss_not_syn", 1),
        ("twin1.packets_in", 0),
    ])
}

/// UDP, which leaves a server that is down.
fn datagrams() -> Vec<Case> {
    let way = Way::ALL[0];
    let query = |from, to| Udp::new(from, to, *b"query");
    let arrived =
        |server: Ipv4Addr| Through(at_server(server, Ipv4::new(CLIENT, server, query(PORT, 8080)).ttl(63)));
    let replica = Replica { protocol: Protocol::Udp, ..way.replica(Class::Established) };
    let told = |what| {
        let case = Case::new(way.name(what), way.world(way.service().udp()));
        case.change(|world| world.replicas.push(replica))
    };
    vec![
        told("a datagram goes there")
            .front(&from_client(VIP, query(PORT, 80)), "forwarded_nat", arrived(RS2))
            .counting(INHERITED),
        told("a datagram leaves a server that is down")
            .change(|world| world.named("rs2").down = true)
            .front(&from_client(VIP, query(PORT, 80)), "forwarded_nat", arrived(RS1))
            .counting(UNTOLD),
        past_an_entry(way, replica),
    ]
}

/// What is stored here was at a server that is gone, and no other takes anything: nobody else's word counts there, so the
/// client is told as if there were none.
fn past_an_entry(way: Way, replica: Replica) -> Case {
    let query = || ip(way.client(), way.vip(), 64, Udp::new(PORT, 80, *b"query"));
    let at_rs1 = Ipv4::new(CLIENT, RS1, Udp::new(PORT, 8080, *b"query")).ttl(63);
    Case::new(way.name("a client hears of no server, also if another director knows one"), {
        way.world(way.service().udp())
    })
    .front(&client_frame(query()), "forwarded_nat", Through(at_server(RS1, at_rs1)))
    .change(|world| {
        (world.named("rs1").freed, world.named("rs1").weight) = (true, 0);
        world.replicas = vec![replica];
    })
    .front(&client_frame(query()), "replied_unreachable", Notice::PORT_UNREACHABLE.about(query()))
    .counting(UNTOLD)
}

//! Whom a service's scheduler, its servers' limits and its clients' affinity give a new connection. Servers' weights leave no
//! choice where one is expected.

use std::net::IpAddr;

use lb_common::entry::{Scheduler, Then};

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, World};
use crate::fixture::Output::{self, Back, Through};
use crate::packet::{Ipv4, Ipv6, Network, Tcp, TcpFlags, Transport, Udp};

/// A family and a mode: who talks to whom, and what comes out.
#[derive(Clone, Copy)]
struct Way {
    v6: bool,
    direct: bool,
}

impl Way {
    const ALL: [Self; 4] = [
        Self { v6: false, direct: false },
        Self { v6: true, direct: false },
        Self { v6: false, direct: true },
        Self { v6: true, direct: true },
    ];

    fn service(self, name: &'static str, port: u16) -> Service {
        let vip: IpAddr = if self.v6 { VIP6.into() } else { VIP.into() };
        let web = Service::tcp(name, vip, port);
        if self.direct { web.direct() } else { web }
    }

    fn rs(self, number: usize) -> IpAddr {
        if self.v6 { [RS1_6, RS2_6][number - 1].into() } else { [RS1, RS2][number - 1].into() }
    }

    fn server(self, name: &'static str, number: usize, port: u16) -> Server {
        Server::at(name, self.rs(number), if self.direct { port } else { port + 8000 })
    }

    /// The first server has all of it, the second one nothing.
    fn world(self, service: Service) -> World {
        World::of(service, [self.server("rs1", 1, 80), self.server("rs2", 2, 80).weight(0)])
    }

    fn packet(self, transport: impl Into<Transport>) -> Vec<u8> {
        if self.v6 { from_client6(VIP6, transport) } else { from_client(VIP, transport) }
    }

    /// A SYN from this port to that of the service reaches this server.
    fn reaches(self, case: Case, from: u16, to: u16, number: usize) -> Case {
        let verdict = if self.direct { "forwarded_dr" } else { "forwarded_nat" };
        let at = |port| Tcp::syn(from, port, 1000);
        let server = self.rs(number);
        let there = at(if self.direct { to } else { to + 8000 });
        let packet: Network = match (self.v6, self.direct, server) {
            (true, true, _) => Ipv6::new(CLIENT6, VIP6, there).hop_limit(63).into(),
            (false, true, _) => Ipv4::new(CLIENT, VIP, there).ttl(63).into(),
            (_, _, IpAddr::V6(server)) => Ipv6::new(CLIENT6, server, there).hop_limit(63).into(),
            (_, _, IpAddr::V4(server)) => Ipv4::new(CLIENT, server, there).ttl(63).into(),
        };
        case.front(&self.packet(at(to)), verdict, Through(at_server(server, packet)))
    }

    fn refused(self, case: Case, from: u16, to: u16) -> Case {
        let reset =
            Tcp { acknowledgement: 1001, window: 0, ..Tcp::new(to, from, TcpFlags::RST | TcpFlags::ACK) };
        let packet: Network = if self.v6 {
            Ipv6::new(VIP6, CLIENT6, reset).into()
        } else {
            Ipv4::new(VIP, CLIENT, reset).into()
        };
        case.front(&self.packet(Tcp::syn(from, to, 1000)), "replied_reset", Back(at_client(packet)))
    }

    fn dropped(self, case: Case, frame: &[u8], verdict: &str) -> Case {
        case.front(frame, verdict, Output::Dropped)
    }
}

const ONE: u16 = PORT;
const TWO: u16 = PORT + 1;
const THREE: u16 = PORT + 2;

pub(super) fn cases() -> Vec<Case> {
    let each = |cases: fn(Way) -> Vec<Case>| Way::ALL.into_iter().flat_map(cases).collect::<Vec<_>>();
    [each(full), each(affine), each(scheduled)].concat()
}

fn named(way: Way, names: [&'static str; 4]) -> &'static str {
    names[usize::from(way.v6) + 2 * usize::from(way.direct)]
}

fn full(way: Way) -> Vec<Case> {
    let one = |service: Service| World::of(service, [way.server("rs1", 1, 80).at_most(1)]);
    let reject = Case::new(
        named(
            way,
            [
                "a connection too many is refused by NAT",
                "a connection too many is refused by NAT over IPv6",
                "a connection too many is refused in DR",
                "a connection too many is refused in DR over IPv6",
            ],
        ),
        one(way.service("web", 80)),
    );
    let reject = way.reaches(reject, ONE, 80, 1).counting(&[("full", 0)]);
    let reject = way.refused(reject, TWO, 80).counting(&[("full", 1)]);
    // Once more the same: it is one of those that are there.
    let reject = way.reaches(reject, ONE, 80, 1);
    let silent = Case::new(
        named(
            way,
            [
                "a connection too many for a silent service is dropped by NAT",
                "a connection too many for a silent service is dropped by NAT over IPv6",
                "a connection too many for a silent service is dropped in DR",
                "a connection too many for a silent service is dropped in DR over IPv6",
            ],
        ),
        one(way.service("web", 80).silent()),
    );
    let silent = way.reaches(silent, ONE, 80, 1);
    let silent =
        way.dropped(silent, &way.packet(Tcp::syn(TWO, 80, 1000)), "dropped_full").counting(&[("full", 1)]);
    let udp = Case::new(
        named(
            way,
            [
                "a datagram of a flow too many for a silent service is dropped by NAT",
                "a datagram of a flow too many for a silent service is dropped by NAT over IPv6",
                "a datagram of a flow too many for a silent service is dropped in DR",
                "a datagram of a flow too many for a silent service is dropped in DR over IPv6",
            ],
        ),
        World::of(way.service("web", 80).udp().silent(), [way.server("rs1", 1, 80).at_most(1).by(None)]),
    );
    let datagram = |from| way.packet(Udp::new(from, 80, *b"?"));
    // There is no way to the server, but it was given the flow.
    let udp = way.dropped(udp, &datagram(ONE), "dropped_no_next_hop");
    let udp = way.dropped(udp, &datagram(TWO), "dropped_full");
    vec![reject, silent, udp]
}

fn affine(way: Way) -> Vec<Case> {
    let world = |on_down| way.world(way.service("web", 80).affine("web", on_down));
    let turned = |world: &mut World| {
        world.named("rs1").weight = 0;
        world.named("rs2").weight = 1;
    };
    let stays = Case::new(
        named(
            way,
            [
                "a client comes back to its server by NAT",
                "a client comes back to its server by NAT over IPv6",
                "a client comes back to its server in DR",
                "a client comes back to its server in DR over IPv6",
            ],
        ),
        world(Then::Rehash),
    );
    let stays = way
        .reaches(stays, ONE, 80, 1)
        .counting(&[("affinity_noted", 1), ("affinity_followed", 0)])
        .change(turned);
    let stays = way.reaches(stays, TWO, 80, 1).counting(&[("affinity_noted", 0), ("affinity_followed", 1)]);
    // In time it keeps its seat; a minute later it has none.
    let stays = way.reaches(stays.pass(50), THREE, 80, 1);
    let stays = way.reaches(stays.pass(57), THREE + 1, 80, 2).counting(&[("affinity_noted", 1)]);
    let control = Case::new(
        named(
            way,
            [
                "a client without affinity goes by the tables, by NAT",
                "a client without affinity goes by the tables, by NAT over IPv6",
                "a client without affinity goes by the tables, in DR",
                "a client without affinity goes by the tables, in DR over IPv6",
            ],
        ),
        way.world(way.service("web", 80)),
    );
    let control = way.reaches(control, ONE, 80, 1).change(turned);
    let control = way.reaches(control, TWO, 80, 2).counting(&[("affinity_noted", 0)]);

    let drained = Case::new(
        named(
            way,
            [
                "a client leaves a drained server for good, by NAT",
                "a client leaves a drained server for good, by NAT over IPv6",
                "a client leaves a drained server for good, in DR",
                "a client leaves a drained server for good, in DR over IPv6",
            ],
        ),
        world(Then::Keep),
    );
    let drained = way.reaches(drained, ONE, 80, 1).change(|world| {
        turned(world);
        world.named("rs1").drained = true;
    });
    let drained = way.reaches(drained, TWO, 80, 2).counting(&[("affinity_lost", 1), ("affinity_noted", 1)]);
    let drained = way.reaches(drained.change(|world| world.named("rs1").drained = false), THREE, 80, 2);

    let down = |world: &mut World| {
        turned(world);
        world.named("rs1").down = true;
    };
    let up = |world: &mut World| world.named("rs1").down = false;
    let dies = |name: [&'static str; 4], on_down| {
        way.reaches(Case::new(named(way, name), world(on_down)), ONE, 80, 1).change(down)
    };
    let rehash = dies(
        [
            "a client leaves a dead server for good, by NAT",
            "a client leaves a dead server for good, by NAT over IPv6",
            "a client leaves a dead server for good, in DR",
            "a client leaves a dead server for good, in DR over IPv6",
        ],
        Then::Rehash,
    );
    let rehash = way.reaches(rehash, TWO, 80, 2).counting(&[("affinity_lost", 1)]);
    let rehash = way.reaches(rehash.change(up), THREE, 80, 2);
    let reset = dies(
        [
            "a client is refused until its server is back, by NAT",
            "a client is refused until its server is back, by NAT over IPv6",
            "a client is refused until its server is back, in DR",
            "a client is refused until its server is back, in DR over IPv6",
        ],
        Then::Reset,
    );
    let reset = way.refused(reset, TWO, 80).counting(&[("affinity_lost", 0), ("affinity_noted", 0)]);
    let reset = way.reaches(reset.change(up), THREE, 80, 1);
    let keep = dies(
        [
            "a client is sent to its dead server all the same, by NAT",
            "a client is sent to its dead server all the same, by NAT over IPv6",
            "a client is sent to its dead server all the same, in DR",
            "a client is sent to its dead server all the same, in DR over IPv6",
        ],
        Then::Keep,
    );
    let keep = way.reaches(keep, TWO, 80, 1).counting(&[("affinity_followed", 1)]);

    let groups = |name: [&'static str; 4], other| {
        let world = way.world(way.service("web", 80).affine("shop", Then::Rehash)).and(
            way.service("tls", 443).affine(other, Then::Rehash),
            [way.server("tls1", 1, 443).weight(0), way.server("tls2", 2, 443)],
        );
        way.reaches(Case::new(named(way, name), world), ONE, 80, 1)
    };
    let shared = groups(
        [
            "services of a group share the client's server, by NAT",
            "services of a group share the client's server, by NAT over IPv6",
            "services of a group share the client's server, in DR",
            "services of a group share the client's server, in DR over IPv6",
        ],
        "shop",
    );
    let shared = way.reaches(shared, TWO, 443, 1).counting(&[("affinity_followed", 1)]);
    let apart = groups(
        [
            "services of two groups do not share the client's server, by NAT",
            "services of two groups do not share the client's server, by NAT over IPv6",
            "services of two groups do not share the client's server, in DR",
            "services of two groups do not share the client's server, in DR over IPv6",
        ],
        "another",
    );
    let apart = way.reaches(apart, TWO, 443, 2).counting(&[("affinity_followed", 0), ("affinity_noted", 1)]);
    vec![stays, control, drained, rehash, reset, keep, shared, apart]
}

fn scheduled(way: Way) -> Vec<Case> {
    let case = |name: [&'static str; 4], scheduler| {
        let case = Case::new(named(way, name), way.world(way.service("web", 80).scheduled(scheduler)));
        let case = way.reaches(case, ONE, 80, 1).change(|world| {
            world.named("rs1").weight = 0;
            world.named("rs2").weight = 1;
        });
        // Who is there stays, who comes goes by the new weights.
        way.reaches(way.reaches(case, ONE, 80, 1), TWO, 80, 2)
    };
    vec![
        case(
            [
                "least gives connections by the weights in force, and moves none, by NAT",
                "least gives connections by the weights in force, and moves none, by NAT over IPv6",
                "least gives connections by the weights in force, and moves none, in DR",
                "least gives connections by the weights in force, and moves none, in DR over IPv6",
            ],
            Scheduler::Least,
        ),
        case(
            [
                "a rotation gives connections by the weights in force, and moves none, by NAT",
                "a rotation gives connections by the weights in force, and moves none, by NAT over IPv6",
                "a rotation gives connections by the weights in force, and moves none, in DR",
                "a rotation gives connections by the weights in force, and moves none, in DR over IPv6",
            ],
            Scheduler::Rotation,
        ),
        case(
            [
                "source gives connections by the weights in force, and moves none, by NAT",
                "source gives connections by the weights in force, and moves none, by NAT over IPv6",
                "source gives connections by the weights in force, and moves none, in DR",
                "source gives connections by the weights in force, and moves none, in DR over IPv6",
            ],
            Scheduler::Source,
        ),
        case(
            [
                "random gives connections by the weights in force, and moves none, by NAT",
                "random gives connections by the weights in force, and moves none, by NAT over IPv6",
                "random gives connections by the weights in force, and moves none, in DR",
                "random gives connections by the weights in force, and moves none, in DR over IPv6",
            ],
            Scheduler::Random,
        ),
    ]
}

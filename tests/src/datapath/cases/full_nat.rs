//! Full NAT: both ends of each packet change, both ways; ports are lent, rest, and run out.

mod errors;
mod refusals;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::people::*;
use super::{Case, fragments};
use crate::datapath::world::{Lost, Server, Service, World};
use crate::fixture::Output::{Back, Dropped, Passed, Through};
use crate::packet::{Frame, Mac, Tcp, TcpFlags, Transport, Udp};

pub const POOL: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 200);
pub const POOL6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 0x200);
/// The ports are one bucket, so that they are lent in their order.
pub const FIRST: u16 = 50_000;
const PORTS: u16 = 8;
/// What is closing has rested for long enough, and what is established has not expired.
const REST: u32 = 57;
const SYN_ACK: TcpFlags = TcpFlags(0x12);
const FIN_ACK: TcpFlags = TcpFlags(0x11);

pub(super) fn cases() -> Vec<Case> {
    [&V4, &V6].into_iter().flat_map(of).collect()
}

/// Eight established connections from the client's ports [`PORT`] and up, one from each port of the pool.
#[must_use]
pub fn all_ports_lent() -> Case {
    V4.full("all ports are lent")
}

/// Who takes part, in one family.
struct People {
    family: &'static str,
    client: IpAddr,
    vip: IpAddr,
    other_vip: IpAddr,
    rs1: IpAddr,
    rs2: IpAddr,
    pool: IpAddr,
    router: IpAddr,
}

const V4: People = People {
    family: "IPv4",
    client: IpAddr::V4(CLIENT),
    vip: IpAddr::V4(VIP),
    other_vip: IpAddr::V4(OTHER_VIP),
    rs1: IpAddr::V4(RS1),
    rs2: IpAddr::V4(RS2),
    pool: IpAddr::V4(POOL),
    router: IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9)),
};

const V6: People = People {
    family: "IPv6",
    client: IpAddr::V6(CLIENT6),
    vip: IpAddr::V6(VIP6),
    other_vip: IpAddr::V6(OTHER_VIP6),
    rs1: IpAddr::V6(RS1_6),
    rs2: IpAddr::V6(RS2_6),
    pool: IpAddr::V6(POOL6),
    router: IpAddr::V6(Ipv6Addr::new(0xfd09, 9, 0, 0, 0, 0, 0, 9)),
};

/// The same segment between other ports.
fn between(tcp: &Tcp, from: u16, to: u16) -> Tcp {
    Tcp { source_port: from, destination_port: to, ..tcp.clone() }
}

fn flags(flags: TcpFlags) -> Tcp {
    flagged(PORT, 80, flags)
}

impl People {
    fn case(&self, name: &str, world: World) -> Case {
        // Names of cases live for ever.
        Case::new(format!("{} full NAT: {name}", self.family).leak(), world)
    }

    fn world_of(&self, service: Service, servers: impl IntoIterator<Item = Server>) -> World {
        World::of(service.full_nat(), servers).sending_from(&[self.pool], (FIRST, u32::from(PORTS)))
    }

    /// A service of two servers, of which the second takes nothing yet.
    fn web(&self) -> World {
        let servers = [Server::at("rs1", self.rs1, 8080), Server::at("rs2", self.rs2, 8080).weight(0)];
        self.world_of(Service::tcp("web", self.vip, 80), servers)
    }

    fn dns(&self) -> World {
        self.world_of(Service::tcp("dns", self.vip, 53).udp(), [Server::at("rs1", self.rs1, 5353)])
    }

    fn at_vip(&self, transport: impl Into<Transport>) -> Vec<u8> {
        client_frame(ip(self.client, self.vip, 64, transport))
    }

    fn at_pool(&self, transport: impl Into<Transport>) -> Vec<u8> {
        from_server(ip(self.rs1, self.pool, 64, transport))
    }

    /// The client sends this from a port of its own; the server gets it from a port of the pool.
    fn goes(&self, case: Case, from: u16, lent: u16, tcp: &Tcp) -> Case {
        self.goes_to(case, self.rs1, from, lent, tcp)
    }

    fn goes_to(&self, case: Case, server: IpAddr, from: u16, lent: u16, tcp: &Tcp) -> Case {
        let arrives = at_server(server, ip(self.pool, server, 63, between(tcp, lent, 8080)));
        case.front(&self.at_vip(between(tcp, from, 80)), "forwarded_fullnat", Through(arrives))
    }

    /// The server answers this to a port of the pool; the client gets it from the VIP.
    fn comes(&self, case: Case, to: u16, lent: u16, tcp: &Tcp) -> Case {
        let arrives = at_client(ip(self.vip, self.client, 63, between(tcp, 80, to)));
        case.back(&self.at_pool(between(tcp, 8080, lent)), "forwarded_fullnat_reply", Through(arrives))
    }

    /// A handshake, from this port of the client's and by this one of the pool.
    fn opens(&self, case: Case, from: u16, lent: u16) -> Case {
        let case = self.goes(case, from, lent, &syn(80));
        let case = self.comes(case, from, lent, &syn_ack(8080));
        self.goes(case, from, lent, &data(80))
    }

    /// Both sides have ended it.
    fn closes(&self, case: Case, from: u16, lent: u16) -> Case {
        let case = self.goes(case, from, lent, &flags(FIN_ACK));
        self.comes(case, from, lent, &flags(FIN_ACK))
    }

    /// Every port is lent, for good but for the last.
    fn full(&self, name: &str) -> Case {
        (0..PORTS).fold(self.case(name, self.web()), |case, i| self.opens(case, PORT + i, FIRST + i))
    }

    fn refused(&self, case: Case, from: u16) -> Case {
        case.front(&self.at_vip(between(&syn(80), from, 80)), "dropped_no_port", Dropped).counting(&[
            ("rs1.connections", 0),
            ("stored", 0),
            ("evicted_new", 0),
            ("homeless", 1),
        ])
    }

    /// The last hop of a packet of the client's was the one to the director.
    fn told_expired(&self, case: Case, transport: impl Into<Transport>) -> Case {
        let packet = ip(self.client, self.vip, 1, transport);
        let answer = Notice::TIME_EXCEEDED.about(packet.clone());
        case.front(&client_frame(packet), "replied_time_exceeded", answer).counting(&[("rs1.packets_in", 0)])
    }

    /// The RST that answers a segment.
    fn told(&self, case: Case, tcp: &Tcp, sequence: u32) -> Case {
        let reset = Tcp { sequence, window: 0, ..Tcp::new(80, PORT, TcpFlags::RST) };
        let input = self.at_vip(between(tcp, PORT, 80));
        let macs: [Mac; 2] = [0, 6].map(|at| std::array::from_fn(|i| input[at + i]));
        let output = Frame::new(macs[0], macs[1], ip(self.vip, self.client, 64, reset)).bytes();
        case.front(&input, "replied_reset", Back(output)).counting(&[("stored", 0), ("rs1.packets_in", 0)])
    }
}

fn of(people: &People) -> Vec<Case> {
    [
        connections(people),
        ports(people),
        refusals::cases(people),
        servers(people),
        errors::cases(people),
        neighbours(people),
    ]
    .concat()
}

fn connections(people: &People) -> Vec<Case> {
    let &People { client, vip, rs1, pool, .. } = people;
    let both = people.case("both addresses and both ports change, both ways", people.web());
    let both = people.goes(both, PORT, FIRST, &syn(80)).counting(&[
        ("stored", 1),
        ("rs1.connections", 1),
        ("rs1.packets_in", 1),
        ("path_learned", 1),
    ]);
    let both = people.comes(both, PORT, FIRST, &syn_ack(8080)).counting(&[
        ("rs1.packets_out", 1),
        ("rs1.packets_in", 0),
        ("derived_reply", 0),
    ]);
    let both = people.goes(both, PORT, FIRST, &data(80)).counting(&[("stored", 0), ("rs1.connections", 0)]);
    let both = people.comes(both, PORT, FIRST, &answer(8080));

    let two = people.case("a second connection has a port of its own", people.web());
    let two = people.opens(people.opens(two, PORT, FIRST), PORT + 1, FIRST + 1);
    let two = people.comes(two, PORT + 1, FIRST + 1, &answer(8080));
    let two = people.comes(two, PORT, FIRST, &answer(8080));

    let retransmitted = people.case("a retransmitted SYN is no second connection", people.web());
    let retransmitted = people.goes(retransmitted, PORT, FIRST, &syn(80));
    let retransmitted = people.goes(retransmitted, PORT, FIRST, &syn(80)).counting(&[
        ("stored", 0),
        ("rs1.connections", 0),
        ("rs1.packets_in", 1),
    ]);

    let query = |from, to| Udp::new(from, to, *b"who are you?");
    let told = |from, to| Udp::new(from, to, *b"rs1");
    let udp = people
        .case("UDP has ports of the pool, too", people.dns())
        .front(
            &people.at_vip(query(PORT, 53)),
            "forwarded_fullnat",
            Through(at_server(rs1, ip(pool, rs1, 63, query(FIRST, 5353)))),
        )
        .back(
            &people.at_pool(told(5353, FIRST)),
            "forwarded_fullnat_reply",
            Through(at_client(ip(vip, client, 63, told(53, PORT)))),
        );
    let any = people.world_of(Service::tcp("all", vip, 0), [Server::at("rs1", rs1, 0)]);
    let any = people
        .case("a service on any port keeps the port that was hit", any)
        .front(
            &people.at_vip(Tcp::syn(PORT, 12_345, 1000)),
            "forwarded_fullnat",
            Through(at_server(rs1, ip(pool, rs1, 63, Tcp::syn(FIRST, 12_345, 1000)))),
        )
        .back(
            &people.at_pool(Tcp { source_port: 12_345, destination_port: FIRST, ..syn_ack(80) }),
            "forwarded_fullnat_reply",
            Through(at_client(ip(vip, client, 63, Tcp { source_port: 12_345, ..syn_ack(80) }))),
        )
        .back(
            &people.at_pool(Tcp { source_port: 12_346, destination_port: FIRST, ..syn_ack(80) }),
            "passed_local",
            Passed,
        );
    vec![both, two, retransmitted, udp, any]
}

fn ports(people: &People) -> Vec<Case> {
    let last = (PORT + PORTS - 1, FIRST + PORTS - 1);
    let all = people.refused(people.full("when all ports are lent, a newcomer is refused"), PORT + 100);
    let all = people.goes(all, PORT, FIRST, &data(80));

    let rests = people
        .full("a port rests after its connection, until the server has forgotten it, and is lent again");
    let rests = people.closes(rests, last.0, last.1);
    let rests = people.refused(rests, PORT + 100);
    let rests = people.refused(rests.pass(REST - 1), PORT + 100);
    let rests = people.goes(rests.pass(1), PORT + 100, last.1, &syn(80)).counting(&[("stored", 1)]);
    // What the server still says of the old connection is not the new client's, unless it is to the same port there.
    let rests = people.goes(rests, PORT, FIRST, &data(80));

    let again = people.full("the same client may use its port again at once, as at the server itself");
    let again = people.closes(again, last.0, last.1);
    let again = people.goes(again, last.0, last.1, &syn(80)).counting(&[("stored", 0)]);
    let again = people.comes(again, last.0, last.1, &syn_ack(8080));

    vec![all, rests, again]
}

fn servers(people: &People) -> Vec<Case> {
    let drain = |world: &mut World| {
        (world.named("rs1").drained, world.named("rs1").weight) = (true, 0);
        world.named("rs2").weight = 1;
    };
    let fail = |world: &mut World| {
        (world.named("rs1").down, world.named("rs1").weight) = (true, 0);
        world.named("rs2").weight = 1;
    };
    let opened = |name: &str| people.opens(people.case(name, people.web()), PORT, FIRST);
    let drained =
        opened("a connection stays with a server that is drained, and with one that fails").change(drain);
    let drained = people.goes(drained, PORT, FIRST, &data(80));
    let drained = people.comes(drained, PORT, FIRST, &answer(8080)).change(fail);
    let drained = people.goes(drained, PORT, FIRST, &data(80));
    let drained = people.goes_to(drained, people.rs2, PORT + 1, FIRST + 1, &syn(80));

    let anew =
        people.closes(opened("after its end, the same port begins anew at another server"), PORT, FIRST);
    let anew = people.goes_to(anew.change(drain), people.rs2, PORT, FIRST, &syn(80));
    // What the old server still says is not the new connection's.
    let anew = anew.back(&people.at_pool(between(&answer(8080), 8080, FIRST)), "passed_local", Passed);

    let web = people.web().with(|world| world.services[0].lost = Lost::Reset);
    let lost = people.opens(
        people.case("a lost server's connections are ended, where that is wanted", web),
        PORT,
        FIRST,
    );
    let lost = people.told(lost.change(fail), &data(80), 5001);
    let lost = people.goes_to(lost, people.rs2, PORT, FIRST, &syn(80));

    let web = people.web().with(|world| world.services[0].lost = Lost::Rehashed);
    let let_go = people.opens(
        people.case("one that would be let go is ended as well: no other server has its port", web),
        PORT,
        FIRST,
    );
    let let_go = people.told(let_go.change(fail), &data(80), 5001);
    let let_go = people.goes_to(let_go, people.rs2, PORT, FIRST, &syn(80));

    let query = Udp::new(PORT, 53, *b"who are you?");
    let at = |server| {
        Through(at_server(server, ip(people.pool, server, 63, Udp::new(FIRST, 5353, *b"who are you?"))))
    };
    let dns = people.world_of(
        Service::tcp("dns", people.vip, 53).udp(),
        [Server::at("rs1", people.rs1, 5353), Server::at("rs2", people.rs2, 5353).weight(0)],
    );
    let udp = people
        .case("UDP leaves a server that fails, by the port it had", dns)
        .front(&people.at_vip(query.clone()), "forwarded_fullnat", at(people.rs1))
        .change(|world| {
            (world.named("rs1").down, world.named("rs1").weight) = (true, 0);
            world.named("rs2").weight = 1;
        })
        .front(&people.at_vip(query), "forwarded_fullnat", at(people.rs2));
    vec![drained, anew, lost, let_go, udp]
}

/// Other modes at the same VIP and the same servers.
fn neighbours(people: &People) -> Vec<Case> {
    let &People { client, vip, rs1, .. } = people;
    let nat = Service::tcp("nat", vip, 443);
    let world = people.web().and(nat, [Server::at("nat1", rs1, 8080)]);
    let mixed = people.case("NAT at the same VIP, server and port goes its own way", world);
    let mixed = people.opens(mixed, PORT, FIRST).front(
        &people.at_vip(syn(443)),
        "forwarded_nat",
        Through(at_server(rs1, ip(client, rs1, 63, syn(8080)))),
    );
    let mixed = mixed.back(
        &from_server(ip(rs1, client, 64, answer(8080))),
        "forwarded_nat_reply",
        Through(at_client(ip(vip, client, 63, answer(443)))),
    );
    let mixed = people.comes(mixed, PORT, FIRST, &answer(8080)).counting(&[("derived_reply", 0)]);
    let mixed = people.goes(mixed, PORT, FIRST, &data(80));

    let query = Udp::new(PORT, 53, vec![7; 64]);
    let parts: Vec<Vec<u8>> =
        fragments::cut(client, vip, query, 64, 7).into_iter().map(client_frame).collect();
    let cut =
        people.case("a client's fragments are dropped: their ids are not the director's own", people.dns());
    let cut = parts.iter().fold(cut, |case, part| case.front(part, "dropped_fragment", Dropped));
    vec![mixed, cut]
}

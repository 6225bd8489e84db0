//! Tunnels: the client's packet whole within one of the director's own.

mod parts;
mod policies;
mod vlan;

use std::net::IpAddr;

use lb_common::entry;
use lb_common::net::{self, Port, Tuple};
use lb_common::slot::Class;

use super::Case;
use super::people::*;
use crate::datapath::maps::test_key;
use crate::datapath::world::{
    Hop, Mode, Number, Protocol, Replica, Server, Service, Side, Tunnel, World, mac_of,
};
use crate::fixture::Output::{Back, Dropped, Passed, Through};
use crate::packet::{Icmp, Ipv4, Ipv6, Network, Tcp, Transport, Udp};

const GUE: u16 = 6080;

/// One kind of tunnel: a VIP of one family, a server of the same or the other.
#[derive(Clone, Copy)]
struct Kind {
    client: IpAddr,
    vip: IpAddr,
    server: IpAddr,
    source: IpAddr,
    gue: Option<u16>,
}

impl Kind {
    /// The four pairs of families, by IP in IP and by GUE.
    fn all() -> Vec<Self> {
        let inner: [(IpAddr, IpAddr); 2] = [(CLIENT.into(), VIP.into()), (CLIENT6.into(), VIP6.into())];
        let outer: [(IpAddr, IpAddr); 2] = [(RS1.into(), DIRECTOR.into()), (RS1_6.into(), DIRECTOR6.into())];
        let kinds = inner.into_iter().flat_map(|(client, vip)| {
            outer.into_iter().flat_map(move |(server, source)| {
                [None, Some(GUE)].map(|gue| Self { client, vip, server, source, gue })
            })
        });
        kinds.collect()
    }

    fn name(self, what: &str) -> &'static str {
        let family = |ip: IpAddr| if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        let by = if self.gue.is_some() { "GUE over " } else { "" };
        // Made once, for names of cases live for ever.
        format!("{} in {by}{}: {what}", family(self.vip), family(self.server)).leak()
    }

    fn mode(self, mtu: u16) -> Tunnel {
        Tunnel { source: self.source, gue: self.gue, mtu }
    }

    fn service(self) -> Service {
        Service::tcp("web", self.vip, 80).through(self.mode(1500))
    }

    fn world(self) -> World {
        World::of(self.service(), [Server::at("rs1", self.server, 80)])
    }

    fn overhead(self) -> usize {
        let ip = if self.server.is_ipv4() { 20 } else { 40 };
        ip + if self.gue.is_some() { 8 } else { 0 }
    }

    /// The client's packet with so many hops left.
    fn packet(self, hops: u8, transport: impl Into<Transport>) -> Inside {
        Inside { kind: self, hops, class: 0, dont_fragment: true, transport: transport.into() }
    }

    /// The packet of the tunnel around this one.
    fn around(self, inner: &Network, class: u8, entropy: u32) -> Network {
        let (bytes, protocol) = match inner {
            Network::Ipv4(packet) => (packet.bytes(), 4),
            Network::Ipv6(packet) => (packet.bytes(), 41),
            _ => unreachable!("only IP goes into tunnels"),
        };
        let transport = match self.gue {
            Some(port) => Udp::new(0xc000 | entropy as u16, port, bytes).without_checksum().into(),
            None => Transport::Raw { protocol, bytes },
        };
        match (self.source, self.server) {
            (IpAddr::V4(source), IpAddr::V4(server)) => {
                let packet = Ipv4::new(source, server, transport);
                Ipv4 { traffic_class: class, identification: 0, ..packet }.into()
            }
            (IpAddr::V6(source), IpAddr::V6(server)) => {
                let label = entropy & 0xf_ffff;
                Ipv6::new(source, server, transport).traffic_class(class).flow_label(label).into()
            }
            _ => unreachable!("source and server are of one family"),
        }
    }

    /// What a whole connection has in common.
    fn entropy(self, protocol: net::Protocol, port: u16) -> u32 {
        let flow = test_key().flow_id(&Tuple {
            client: self.client.into(),
            vip: self.vip.into(),
            client_port: Port::from_host(PORT),
            vip_port: Port::from_host(port),
            protocol,
        });
        flow.bits() as u32
    }
}

/// A client's packet, and what becomes of it.
#[derive(Clone)]
struct Inside {
    kind: Kind,
    hops: u8,
    class: u8,
    dont_fragment: bool,
    transport: Transport,
}

impl Inside {
    fn network(&self) -> Network {
        let transport = self.transport.clone();
        match (self.kind.client, self.kind.vip) {
            (IpAddr::V4(client), IpAddr::V4(vip)) => {
                let packet = Ipv4::new(client, vip, transport).ttl(self.hops);
                let (traffic_class, dont_fragment) = (self.class, self.dont_fragment);
                Ipv4 { traffic_class, dont_fragment, ..packet }.into()
            }
            (IpAddr::V6(client), IpAddr::V6(vip)) => Ipv6::new(client, vip, transport)
                .hop_limit(self.hops)
                .traffic_class(self.class)
                .flow_label(0x1_2345)
                .into(),
            _ => unreachable!("client and VIP are of one family"),
        }
    }

    /// As the client sends it.
    fn sent(&self) -> Vec<u8> {
        client_frame(self.network())
    }

    /// The packet that goes to the server, whose client's had one hop more.
    fn outside(&self, entropy: u32) -> Network {
        let spent = Self { hops: self.hops - 1, ..self.clone() };
        let (bytes, around_ipv4) = match spent.network() {
            Network::Ipv4(packet) => (packet.bytes(), true),
            Network::Ipv6(packet) => (packet.bytes(), false),
            _ => unreachable!("only IP goes into tunnels"),
        };
        let transport = match self.kind.gue {
            Some(port) => Udp::new(0xc000 | entropy as u16, port, bytes).without_checksum().into(),
            None => Transport::Raw { protocol: if around_ipv4 { 4 } else { 41 }, bytes },
        };
        match (self.kind.source, self.kind.server) {
            (IpAddr::V4(source), IpAddr::V4(server)) => {
                Ipv4 { traffic_class: self.class, identification: 0, ..Ipv4::new(source, server, transport) }
                    .into()
            }
            (IpAddr::V6(source), IpAddr::V6(server)) => {
                let label = entropy & 0xf_ffff;
                Ipv6::new(source, server, transport).traffic_class(self.class).flow_label(label).into()
            }
            _ => unreachable!("source and server are of one family"),
        }
    }

    /// What the client is told if no more than `room` bytes fit.
    fn answer(&self, room: usize) -> Vec<u8> {
        Notice::too_big(room).frame(&self.sent()[14..])
    }

    /// The frame that goes to the server.
    fn arrived(&self) -> Vec<u8> {
        let (protocol, port) = match &self.transport {
            Transport::Tcp(tcp) => (net::Protocol::Tcp, tcp.destination_port),
            Transport::Udp(udp) => (net::Protocol::Udp, udp.destination_port),
            _ => unreachable!("without a port, entropy is 0"),
        };
        at_server(self.kind.server, self.outside(self.kind.entropy(protocol, port)))
    }
}

/// A segment amid the connection, in a packet of so many bytes.
fn filling(kind: Kind, length: usize) -> Inside {
    let headers = if kind.vip.is_ipv4() { 40 } else { 60 };
    kind.packet(64, Tcp::ack(PORT, 80, 1001, 5001).payload(vec![0x5a; length - headers]))
}

pub(super) fn cases() -> Vec<Case> {
    let of_all =
        |kind| [of_kind(kind), vlan::cases(kind), parts::cases(kind), policies::cases(kind)].concat();
    let mut cases: Vec<Case> = Kind::all().into_iter().flat_map(of_all).collect();
    let ipv4 = Kind::all()[0];
    cases.extend(of_ipv4(ipv4));
    cases.extend([ipv4, Kind { gue: Some(GUE), ..ipv4 }].map(without_a_way));
    cases
}

fn of_kind(kind: Kind) -> Vec<Case> {
    let world = kind.world();
    let (opening, segment) = (kind.packet(64, syn(80)), kind.packet(64, data(80)));
    let ip_length = |packet: &Inside| (packet.sent().len() - 14) as i64;
    let last = kind.packet(1, syn(80));
    let marked = Inside { class: 0xb9, ..kind.packet(64, data(80)) };
    let congested = Inside { class: 0x03, ..kind.packet(64, data(80)) };
    let datagram = kind.packet(64, Udp::new(PORT, 80, *b"query"));
    let headers = if kind.vip.is_ipv4() { 28 } else { 48 };
    let large = kind.packet(64, Udp::new(PORT, 80, vec![0x5a; 1500 - headers]));
    let room = 1500 - kind.overhead();
    let replica = Replica {
        client: (kind.client, PORT),
        vip: (kind.vip, 80),
        protocol: Protocol::Tcp,
        server: Number(0),
        class: Class::Established,
    };
    let (fits, too_big) = (filling(kind, room), filling(kind, room + 1));
    vec![
        Case::new(kind.name("a connection that another director holds reaches its server"), world.clone())
            .change(|world| {
                // Nobody would be picked.
                world.named("rs1").weight = 0;
                world.replicas.push(replica);
            })
            .front(&segment.sent(), "forwarded_tunnel", Through(segment.arrived()))
            .counting(&[("by_replica", 1), ("adopted", 1), ("rs1.connections", 0)]),
        Case::new(kind.name("a connection reaches its server, whole"), world.clone())
            .front(&opening.sent(), "forwarded_tunnel", Through(opening.arrived()))
            .counting(&[("stored", 1), ("rs1.connections", 1), ("rs1.bytes_in", ip_length(&opening))])
            .front(&segment.sent(), "forwarded_tunnel", Through(segment.arrived()))
            .counting(&[("stored", 0), ("rs1.connections", 0), ("path_learned", 0)])
            .counting(&[("rs1.packets_in", 1), ("rs1.bytes_in", ip_length(&segment))]),
        Case::new(kind.name("DSCP and ECN stand on both headers"), world.clone())
            .front(&marked.sent(), "forwarded_tunnel", Through(marked.arrived()))
            .front(&congested.sent(), "forwarded_tunnel", Through(congested.arrived())),
        Case::new(kind.name("UDP"), {
            World::of(kind.service().udp(), [Server::at("rs1", kind.server, 80)])
        })
        .front(&datagram.sent(), "forwarded_tunnel", Through(datagram.arrived())),
        Case::new(kind.name("the last hop is spent inside, not outside"), world.clone())
            .front(&kind.packet(2, syn(80)).sent(), "forwarded_tunnel", {
                Through(kind.packet(2, syn(80)).arrived())
            })
            .front(&last.sent(), "replied_time_exceeded", Notice::TIME_EXCEEDED.about(last.network())),
        Case::new(kind.name("what fits to the byte goes through, and one byte more does not"), world.clone())
            .front(&fits.sent(), "forwarded_tunnel", Through(fits.arrived()))
            .front(&too_big.sent(), "replied_too_big", Back(too_big.answer(room)))
            .counting(&[("rs1.packets_in", 0)]),
        Case::new(kind.name("by the kernel's routing"), {
            World::of(kind.service(), [Server::at("rs1", kind.server, 80).by(None)])
                .with(|world| world.route(kind.server, Hop { side: Side::Back, mac: mac_of(kind.server) }))
        })
        .front(&opening.sent(), "forwarded_tunnel", Through(opening.arrived()))
        .counting(&[("next_hop_by_fib", 1)]),
        Case::new(kind.name("no way to the server"), {
            World::of(kind.service(), [Server::at("rs1", kind.server, 80).by(None)])
        })
        .front(&opening.sent(), "dropped_no_next_hop", Dropped),
        Case::new(kind.name("no server, nobody to tunnel to"), World::of(kind.service().silent(), [])).front(
            &opening.sent(),
            "dropped_no_server",
            Dropped,
        ),
        Case::new(kind.name("a big datagram is answered, too"), {
            World::of(kind.service().udp(), [Server::at("rs1", kind.server, 80)])
        })
        .front(&large.sent(), "replied_too_big", Back(large.answer(room))),
        Case::new(kind.name("an error that is too big itself causes no other"), world.clone())
            .front(&opening.sent(), "forwarded_tunnel", Through(opening.arrived()))
            .front(&error(kind, 1500 - headers).sent(), "dropped_too_big", Dropped),
        error_to_vip(kind),
        path_mtu(kind),
        forged_path_mtu(kind),
    ]
}

/// A router behind the director, which quotes the beginning of a packet of the tunnel.
fn from_router(kind: Kind, to: IpAddr, mtu: u16, outside: &Network) -> Vec<u8> {
    let mut about = match outside {
        Network::Ipv4(packet) => packet.bytes(),
        Network::Ipv6(packet) => packet.bytes(),
        _ => unreachable!("only IP comes out of tunnels"),
    };
    about.truncate(160);
    match (kind.source, to) {
        (IpAddr::V4(_), IpAddr::V4(to)) => {
            from_server(Ipv4::new([10, 77, 2, 254], to, Icmp::fragmentation_needed(mtu, &about)))
        }
        (IpAddr::V6(_), IpAddr::V6(to)) => {
            let icmp = Icmp::new(2, 0, u32::from(mtu).to_be_bytes(), about).version_6();
            from_server(Ipv6::new([0xfd77, 2, 0, 0, 0, 0, 0, 0x254], to, icmp))
        }
        _ => unreachable!("source and server are of one family"),
    }
}

fn path_mtu(kind: Kind) -> Case {
    let (opening, large) = (kind.packet(64, syn(80)), filling(kind, 1500 - kind.overhead()));
    let outside = large.outside(kind.entropy(net::Protocol::Tcp, 80));
    let error = |mtu| from_router(kind, kind.source, mtu, &outside);
    let told = Back(large.answer(1400 - kind.overhead()));
    Case::new(kind.name("a narrow link behind the director is learned of, and forgotten"), kind.world())
        .front(&opening.sent(), "forwarded_tunnel", Through(opening.arrived()))
        .front(&large.sent(), "forwarded_tunnel", Through(large.arrived()))
        .back(&error(1400), "passed_path_mtu", Passed)
        .counting(&[("stored", 0), ("rs1.packets_out", 0)])
        .front(&large.sent(), "replied_too_big", told.clone())
        .back(&error(1450), "passed_not_ours", Passed)
        .pass(entry::Tunnel::LEARNED_TICKS)
        .front(&large.sent(), "replied_too_big", told)
        .pass(1)
        .front(&large.sent(), "forwarded_tunnel", Through(large.arrived()))
}

fn forged_path_mtu(kind: Kind) -> Case {
    let (opening, large) = (kind.packet(64, syn(80)), filling(kind, 1500 - kind.overhead()));
    let entropy = kind.entropy(net::Protocol::Tcp, 80);
    let of_another = kind.packet(64, Tcp::ack(PORT + 1, 80, 1001, 5001).payload(vec![0; 500]));
    let (other, stranger): (IpAddr, IpAddr) = match kind.server {
        IpAddr::V4(_) => (RS2.into(), [10, 77, 2, 99].into()),
        IpAddr::V6(_) => (RS2_6.into(), [0xfd77, 2, 0, 0, 0, 0, 0, 0x99].into()),
    };
    let elsewhere = Inside { kind: Kind { server: other, ..kind }, ..large.clone() };
    let another_source = Inside { kind: Kind { source: stranger, ..kind }, ..large.clone() };
    let forged = [
        // Of no connection, to another server, not sent by who is told, and too little to be true.
        from_router(kind, kind.source, 1400, &of_another.outside(entropy)),
        from_router(kind, kind.source, 1400, &elsewhere.outside(entropy)),
        from_router(kind, kind.source, 1400, &another_source.outside(entropy)),
        from_router(kind, kind.source, 300, &large.outside(entropy)),
    ];
    let opened = Case::new(
        kind.name("no link is believed narrow but by who knows a connection"),
        kind.world(),
    )
    .front(&opening.sent(), "forwarded_tunnel", Through(opening.arrived()));
    let heard = forged.iter().fold(opened, |case, error| case.back(error, "passed_not_ours", Passed));
    heard.front(&large.sent(), "forwarded_tunnel", Through(large.arrived()))
}

/// An error about what the server sent straight to the client, so many bytes of which are quoted.
fn error(kind: Kind, quoted: usize) -> Inside {
    let segment = Tcp::ack(80, PORT, 5001, 1019).payload(vec![0x5a; quoted]);
    let mut about = match (kind.vip, kind.client) {
        (IpAddr::V4(vip), IpAddr::V4(client)) => Ipv4::new(vip, client, segment).bytes(),
        (IpAddr::V6(vip), IpAddr::V6(client)) => Ipv6::new(vip, client, segment).bytes(),
        _ => unreachable!("client and VIP are of one family"),
    };
    about.truncate(quoted);
    let icmp = match kind.vip {
        IpAddr::V4(_) => Icmp::fragmentation_needed(1400, &about),
        IpAddr::V6(_) => Icmp::new(2, 0, 1400_u32.to_be_bytes(), about).version_6(),
    };
    kind.packet(64, icmp)
}

fn error_to_vip(kind: Kind) -> Case {
    let (opening, error) = (kind.packet(64, syn(80)), error(kind, 100));
    Case::new(kind.name("an error reaches the server in the tunnel"), kind.world())
        .front(&opening.sent(), "forwarded_tunnel", Through(opening.arrived()))
        .front(&error.sent(), "forwarded_icmp", Through(at_server(kind.server, error.outside(0))))
        .counting(&[("stored", 0), ("rs1.packets_in", 1), ("rs1.connections", 0)])
}

fn of_ipv4(kind: Kind) -> Vec<Case> {
    let loose = Inside { dont_fragment: false, ..kind.packet(64, data(80)) };
    vec![
        Case::new(kind.name("what may be fragmented is not, once it is in the tunnel"), kind.world()).front(
            &loose.sent(),
            "forwarded_tunnel",
            Through(loose.arrived()),
        ),
        Case::new(kind.name("a server's own traffic is none of ours"), kind.world()).back(
            &from_server(Ipv4::new(RS1, CLIENT, answer(80))),
            "passed_not_ours",
            Passed,
        ),
        Case::new(kind.name("NAT and a tunnel beside each other"), {
            kind.world().and(Service::tcp("nat", OTHER_VIP, 80), [Server::at("rs2", RS2, 8080)])
        })
        .front(&kind.packet(64, syn(80)).sent(), "forwarded_tunnel", {
            Through(kind.packet(64, syn(80)).arrived())
        })
        .front(&from_client(OTHER_VIP, syn(80)), "forwarded_nat", {
            Through(at_server(RS2, Ipv4::new(CLIENT, RS2, syn(8080)).ttl(63)))
        }),
    ]
}

/// The agent has found no source, or no way.
fn without_a_way(kind: Kind) -> Case {
    let unknown = World::of(Service { mode: Mode::Tunnel(kind.mode(0)), ..kind.service() }, {
        [Server::at("rs1", kind.server, 80)]
    });
    Case::new(kind.name("a tunnel that is not set up leads nowhere"), unknown).front(
        &kind.packet(64, syn(80)).sent(),
        "dropped_no_next_hop",
        Dropped,
    )
}

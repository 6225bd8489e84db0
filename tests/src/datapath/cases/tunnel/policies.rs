//! What a service says of its clients holds in tunnel mode as in any other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::Case;
use super::super::people::*;
use super::{Inside, Kind};
use crate::datapath::world::{Limits, Lost, Server, Service, World};
use crate::fixture::Output::{Back, Dropped, Through};
use crate::packet::{Icmp, Network, Tcp, TcpFlags};

pub(super) fn cases(kind: Kind) -> Vec<Case> {
    let by = |service: Service| World::of(service, [Server::at("rs1", kind.server, 80)]);
    let (opening, segment) = (kind.packet(64, syn(80)), kind.packet(64, data(80)));
    let reached = |case: Case, packet: &Inside| {
        case.front(&packet.sent(), "forwarded_tunnel", Through(packet.arrived()))
    };
    let denied = kind.service().deny(kind.client, if kind.client.is_ipv4() { 32 } else { 128 });
    let each = Limits { source_packets: 2, ..Limits::default() };
    let all = Limits { connections: 1, ..Limits::default() };
    vec![
        Case::new(kind.name("whom the list denies does not get into the tunnel"), by(denied))
            .front(&opening.sent(), "dropped_denied", Dropped)
            .counting(&[("stored", 0), ("rs1.connections", 0), ("web.denied", 1)]),
        reached(
            reached(
                Case::new(kind.name("packets of a source are limited"), by(kind.service().limit(each))),
                &opening,
            ),
            &segment,
        )
        .front(&segment.sent(), "dropped_rate_source", Dropped)
        .counting(&[("rs1.packets_in", 0), ("web.rate_source", 1)]),
        reached(Case::new(kind.name("new connections are limited"), by(kind.service().limit(all))), &opening)
            .front(&another(kind), "dropped_rate_service", Dropped)
            .counting(&[("web.rate_service", 1)]),
        Case::new(kind.name("nobody comes from the VIP or from the machine itself"), by(kind.service()))
            .front(&from(kind, kind.vip), "dropped_martian", Dropped)
            .front(&from(kind, itself(kind)), "dropped_martian", Dropped)
            .counting(&[("stored", 0)]),
        Case::new(kind.name("a ping of the VIP is answered by the director"), by(kind.service())).front(
            &client_frame(ip(kind.client, kind.vip, 64, ping(kind, true))),
            "replied_echo",
            Back(at_client(ip(kind.vip, kind.client, 64, ping(kind, false)))),
        ),
        reached(
            Case::new(
                kind.name("a lost server's connection is ended"),
                by(kind.service().losing(Lost::Reset)),
            ),
            &opening,
        )
        .change(|world| {
            let rs1 = world.named("rs1");
            (rs1.down, rs1.weight) = (true, 0);
        })
        .front(&segment.sent(), "replied_reset", {
            Back(at_client(reset(kind, Tcp { sequence: 5001, ..Tcp::new(80, PORT, TcpFlags::RST) })))
        }),
        Case::new(kind.name("without a server, a SYN is refused"), World::of(kind.service(), [])).front(
            &opening.sent(),
            "replied_reset",
            Back(at_client(reset(kind, {
                Tcp { acknowledgement: 1001, ..Tcp::new(80, PORT, TcpFlags::RST | TcpFlags::ACK) }
            }))),
        ),
    ]
}

/// The RST, made of the client's packet.
fn reset(kind: Kind, tcp: Tcp) -> Network {
    match ip(kind.vip, kind.client, 64, Tcp { window: 0, ..tcp }) {
        Network::Ipv6(packet) => packet.flow_label(0x1_2345).into(),
        packet => packet,
    }
}

/// A SYN from another port.
fn another(kind: Kind) -> Vec<u8> {
    client_frame(ip(kind.client, kind.vip, 64, Tcp::syn(PORT + 1, 80, 1000)))
}

/// A SYN that says it is from here.
fn from(kind: Kind, source: IpAddr) -> Vec<u8> {
    client_frame(ip(source, kind.vip, 64, syn(80)))
}

fn itself(kind: Kind) -> IpAddr {
    if kind.vip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

fn ping(kind: Kind, asks: bool) -> Icmp {
    let version_6 = kind.vip.is_ipv6();
    let types = if version_6 { [128, 129] } else { [8, 0] };
    let kind = types[usize::from(!asks)];
    Icmp { version_6, ..Icmp::new(kind, 0, [0, 7, 0, 1], *b"abcdefgh") }
}

//! The frames that come in: mostly of connections, now and then of anything else, and some of them spoiled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Act;
use super::people::{
    Addresses, DIRECTOR, FULL, LEAST, LENT, MIXED, POOL, QUIC, QUIC_CONFIG, SOURCE, THIRD, TUNNEL, VIPS,
};
use crate::datapath::world::{Side, mac_of};
use crate::packet::quic::{connection_id, long, short};
use crate::packet::{Extension, Frame, Icmp, Ipv4, Ipv6, Network, Tcp, TcpFlags, Transport, Udp};
use crate::random::Random;

pub(super) fn frame(random: &mut Random, address: Addresses) -> Act {
    let client = match random.below(60) {
        0 => impossible(random, address),
        _ => address(1, 1 + random.below(4) as u8),
    };
    let client_port = 40_000 + random.below(6) as u16;
    let from_client = random.below(5) < 3;
    let (source, destination, transport, side, ports) = if from_client {
        // Mostly where a service listens.
        let (vip, port) = match random.below(14) {
            9 => (VIPS[0], [LEAST, SOURCE][random.below(2) as usize]),
            10 | 12 => (VIPS[1], FULL),
            11 | 13 => (VIPS[3], [53, 80, 22, THIRD][random.below(4) as usize]),
            0 => (VIPS[random.below(4) as usize], 22 + random.below(80) as u16),
            1 | 2 => (VIPS[2], [80, 8080, 22][random.below(3) as usize]),
            3 => (VIPS[0], 53),
            4 => (VIPS[0], 443),
            5 => (VIPS[1], [80, 80, TUNNEL, MIXED][random.below(4) as usize]),
            6 => (VIPS[0], QUIC),
            _ => (VIPS[0], 80),
        };
        let transport = match port {
            53 => datagram(random, client_port, port),
            QUIC => quic(random, client_port, port),
            TUNNEL | MIXED if random.below(3) == 0 => large(random, client_port, port),
            _ => transport(random, client_port, port),
        };
        (client, address(1, vip), transport, Side::Front, (client_port, port))
    } else {
        let server = address(2, 21 + random.below(9) as u8);
        let port = [8080, 8080, 53, 5353, 80, 443, 22, 4433, 8081][random.below(9) as usize];
        let (to, to_port) = match random.below(12) {
            0 => (address(2, DIRECTOR), client_port),
            1 => (address(2, POOL[random.below(2) as usize]), LENT.0 + random.below(9) as u16),
            _ => (client, client_port),
        };
        let transport = if port % 100 == 53 || port == 4433 {
            datagram(random, port, to_port)
        } else {
            transport(random, port, to_port)
        };
        (server, to, transport, Side::Back, (port, to_port))
    };
    // Now and then an error about a packet the other way, which may have been sent.
    let transport = if random.below(12) == 0 {
        let about = quote(random, destination, source, ports.1, ports.0);
        error(random, source.is_ipv6(), about)
    } else {
        transport
    };
    let packet: Network = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            unusual(random, Ipv4::new(source, destination, transport)).into()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            unusual6(random, Ipv6::new(source, destination, transport)).into()
        }
        _ => unreachable!("both addresses are of one family"),
    };
    let mut frame = Frame::new(mac_of(source), side.mac(), packet);
    if random.below(10) == 0 {
        // A priority alone, or a VLAN that the director has not.
        frame = frame.vlan([random.below(8) << 13, random.below(4096)][random.below(2) as usize] as u16);
    }
    let mut bytes = frame.bytes();
    if random.below(10) == 0 {
        spoil(random, &mut bytes);
    }
    // Now and then from the other side: a server may be a client's neighbour.
    let side = match (random.below(10), side) {
        (0, Side::Back) => Side::Front,
        _ => side,
    };
    Act::Frame(side, bytes)
}

/// Who cannot be a client: a VIP, or nobody at all.
fn impossible(random: &mut Random, address: Addresses) -> IpAddr {
    let vip = address(1, VIPS[random.below(3) as usize]);
    match (vip, random.below(3)) {
        (_, 0) => vip,
        (IpAddr::V4(_), 1) => Ipv4Addr::LOCALHOST.into(),
        (IpAddr::V4(_), _) => Ipv4Addr::BROADCAST.into(),
        (IpAddr::V6(_), 1) => Ipv6Addr::LOCALHOST.into(),
        (IpAddr::V6(_), _) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// Now and then what a packet may be as well.
fn unusual(random: &mut Random, packet: Ipv4) -> Ipv4 {
    match random.below(12) {
        0 => packet.ttl(random.below(3) as u8),
        1 => packet.options(vec![1; 4 * (1 + random.below(10) as usize)]),
        2 => packet.fragment(random.below(3) as u16, random.below(2) == 0),
        _ => packet,
    }
}

fn unusual6(random: &mut Random, packet: Ipv6) -> Ipv6 {
    match random.below(12) {
        0 => packet.hop_limit(random.below(3) as u8),
        1 => (0..=random.below(5)).fold(packet, |packet, _| packet.extension(extension(random))),
        2 => packet.traffic_class(random.below(256) as u8).flow_label(random.below(1 << 20) as u32),
        _ => packet,
    }
}

fn extension(random: &mut Random) -> Extension {
    let options = vec![0; random.below(20) as usize];
    match random.below(8) {
        0..=2 => Extension::HopByHop(options),
        3 | 4 => Extension::DestinationOptions(options),
        5 => Extension::fragment(random.below(3) as u16 / 2, random.below(3) == 0),
        6 => {
            let somewhere = Ipv6Addr::from(u128::from(random.next()));
            Extension::Routing { segments_left: random.below(2) as u8, addresses: vec![somewhere] }
        }
        _ => Extension::Authentication { spi: 1, sequence: 2 },
    }
}

/// A packet that somebody may quote, mostly whole.
fn quote(random: &mut Random, from: IpAddr, to: IpAddr, port: u16, to_port: u16) -> Vec<u8> {
    let inner =
        if random.below(3) == 0 { datagram(random, port, to_port) } else { transport(random, port, to_port) };
    let mut bytes = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => unusual(random, Ipv4::new(from, to, inner)).bytes(),
        (IpAddr::V6(from), IpAddr::V6(to)) => unusual6(random, Ipv6::new(from, to, inner)).bytes(),
        _ => Vec::new(),
    };
    if random.below(3) == 0 {
        bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
    }
    bytes
}

fn error(random: &mut Random, version_6: bool, about: Vec<u8>) -> Transport {
    let kind = if version_6 { [1, 2, 3, 4, 5] } else { [3, 4, 5, 11, 12] }[random.below(5) as usize];
    let icmp = Icmp::new(kind, random.below(6) as u8, [0, 0, 5, 120], about);
    Icmp { version_6, ..icmp }.into()
}

fn datagram(random: &mut Random, source: u16, destination: u16) -> Transport {
    let udp = Udp::new(source, destination, vec![random.below(256) as u8; random.below(40) as usize]);
    if random.below(3) == 0 { udp.without_checksum().into() } else { udp.into() }
}

/// Mostly with an id that names one of two servers.
fn quic(random: &mut Random, source: u16, destination: u16) -> Transport {
    let config = if random.below(6) == 0 { random.below(8) as u8 } else { QUIC_CONFIG };
    let server = if random.below(6) == 0 { random.below(256) as u8 } else { 8 + random.below(2) as u8 };
    let id = connection_id(config, &[server]);
    let mut payload = if random.below(2) == 0 { short(&id) } else { long(&id) };
    match random.below(6) {
        0 => payload.truncate(random.below(12) as usize),
        1 => payload[5] = random.below(9) as u8,
        _ => {}
    }
    Udp::new(source, destination, payload).into()
}

fn transport(random: &mut Random, source: u16, destination: u16) -> Transport {
    let payload = vec![random.below(256) as u8; random.below(40) as usize];
    match random.below(20) {
        0 => Icmp::ping(source, destination, payload).into(),
        1 => datagram(random, source, destination),
        _ => {
            let flags = match random.below(10) {
                0..=2 => TcpFlags::SYN,
                3 => TcpFlags::SYN | TcpFlags::ACK,
                4 => TcpFlags::FIN | TcpFlags::ACK,
                5 => TcpFlags::RST,
                6 => TcpFlags(random.below(256) as u8),
                _ => TcpFlags::ACK | TcpFlags::PSH,
            };
            let (sequence, acknowledgement) = (random.next() as u32, random.next() as u32);
            Tcp { sequence, acknowledgement, payload, ..Tcp::new(source, destination, flags) }.into()
        }
    }
}

/// A segment that may be too big for a tunnel.
fn large(random: &mut Random, source: u16, destination: u16) -> Transport {
    let payload = vec![random.below(256) as u8; 1250 + random.below(190) as usize];
    Tcp { payload, ..Tcp::ack(source, destination, 1, 1) }.into()
}

/// Any bit may be wrong, and any end may be missing; an Ethernet header always remains, as in the kernel.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    if random.below(2) == 0 {
        for _ in 0..=random.below(3) {
            let bit = random.below(bytes.len() as u64 * 8);
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
        }
    } else {
        bytes.truncate(14.max(random.below(bytes.len() as u64) as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::script::random_of_both_families;

    fn frames(acts: Vec<Act>) -> Vec<Vec<u8>> {
        let frame = |act| match act {
            Act::Frame(_, frame) => Some(frame),
            _ => None,
        };
        acts.into_iter().filter_map(frame).collect()
    }

    #[test]
    fn about_half_of_the_traffic_of_both_families_is_ipv6() {
        let of_both = frames(random_of_both_families(7, 2000));
        let v6 = of_both.iter().filter(|frame| frame[12..14] == [0x86, 0xdd]).count();
        assert!((of_both.len() * 2 / 5..of_both.len() * 3 / 5).contains(&v6), "{v6} of {}", of_both.len());
        assert_eq!(of_both, frames(random_of_both_families(7, 2000)), "the seed decides everything");
    }
}

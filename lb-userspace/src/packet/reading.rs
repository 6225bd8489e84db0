//! A frame as people read it: what can be told of any bytes, whether or not the data path would take them.

use lb_common::net::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const MACS: usize = 12;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const IPV6_LENGTH: usize = 40;
/// IEEE 802.1Q and 802.1ad.
const TAGS: [u16; 2] = [0x8100, 0x88a8];
/// Hop-by-hop options, routing, fragment, destination options (RFC 8200).
const EXTENSIONS: [u8; 4] = [0, 43, FRAGMENT, 60];
const FRAGMENT: u8 = 44;

/// Between whom a packet goes, if it has ports that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    pub protocol: Protocol,
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// An IP packet as far as it can be read.
struct Packet<'a> {
    source: IpAddr,
    destination: IpAddr,
    /// What it carries behind all extension headers.
    number: u8,
    /// The offset, bytes, of a part of a datagram.
    part: Option<u16>,
    payload: &'a [u8],
}

/// The ends of a packet that begins with its ports.
#[must_use]
pub fn ends(frame: &[u8]) -> Option<Ends> {
    let (_, ethertype, rest) = link(frame)?;
    packet(ethertype, rest)?.ends()
}

/// A TCP segment, and what it says about its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub flags: u8,
    /// The next sequence number that its sender expects.
    pub acknowledges: u32,
}

/// The segment in an IP packet, if it is whole.
#[must_use]
pub fn segment_in(bytes: &[u8]) -> Option<Segment> {
    let packet = ip(bytes)?;
    let Ends { protocol: Protocol::Tcp, source, destination } = packet.ends()? else { return None };
    let acknowledges = u32::from_be_bytes(array(packet.payload, 8)?);
    Some(Segment { source, destination, flags: *packet.payload.get(13)?, acknowledges })
}

/// A UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub payload: &'a [u8],
}

/// The datagram in an IP packet, as far as it is there.
#[must_use]
pub fn datagram_in(bytes: &[u8]) -> Option<Datagram<'_>> {
    const HEADER: usize = 8;
    let packet = ip(bytes)?;
    let Ends { protocol: Protocol::Udp, source, destination } = packet.ends()? else { return None };
    let end = usize::from(half(packet.payload, 4)?).min(packet.payload.len());
    Some(Datagram { source, destination, payload: packet.payload.get(HEADER..end)? })
}

/// A frame in a line: link, addresses, what it carries, length.
#[must_use]
pub fn told(frame: &[u8]) -> String {
    let length = frame.len();
    let Some((tags, ethertype, rest)) = link(frame) else { return format!("cut short, {length} bytes") };
    let (from, to) = (mac(&frame[6..MACS]), mac(&frame[..6]));
    let tags: String = tags.iter().map(|id| format!("vlan {id}, ")).collect();
    let what =
        packet(ethertype, rest).map_or_else(|| format!("ethertype {ethertype:04x}"), |packet| packet.told());
    format!("{from} > {to}, {tags}{what}, {length} bytes")
}

/// The VLANs from outside to inside, what they announce, and what follows.
fn link(frame: &[u8]) -> Option<(Vec<u16>, u16, &[u8])> {
    let mut tags = Vec::new();
    let mut at = MACS;
    let mut ethertype = half(frame, at)?;
    while TAGS.contains(&ethertype) {
        tags.push(half(frame, at + 2)? & 0x0fff);
        at += 4;
        ethertype = half(frame, at)?;
    }
    Some((tags, ethertype, &frame[at + 2..]))
}

fn ip(bytes: &[u8]) -> Option<Packet<'_>> {
    packet(if bytes.first()? >> 4 == 4 { IPV4 } else { IPV6 }, bytes)
}

fn packet(ethertype: u16, bytes: &[u8]) -> Option<Packet<'_>> {
    match ethertype {
        IPV4 => ipv4(bytes),
        IPV6 => ipv6(bytes),
        _ => None,
    }
}

fn ipv4(bytes: &[u8]) -> Option<Packet<'_>> {
    const MORE: u16 = 0x2000;
    let header = usize::from(bytes.first()? & 0x0f) * 4;
    let fragment = half(bytes, 6)?;
    let offset = (fragment & 0x1fff) * 8;
    Some(Packet {
        source: Ipv4Addr::from(array(bytes, 12)?).into(),
        destination: Ipv4Addr::from(array(bytes, 16)?).into(),
        number: bytes[9],
        part: (offset != 0 || fragment & MORE != 0).then_some(offset),
        payload: bytes.get(header..)?,
    })
}

fn ipv6(bytes: &[u8]) -> Option<Packet<'_>> {
    let (mut number, mut part) = (*bytes.get(6)?, None);
    let mut payload = bytes.get(IPV6_LENGTH..)?;
    while EXTENSIONS.contains(&number) && part.is_none_or(|offset| offset == 0) {
        let (Some(next), Some(units)) = (payload.first(), payload.get(1)) else { break };
        let length = if number == FRAGMENT { 8 } else { (usize::from(*units) + 1) * 8 };
        if number == FRAGMENT {
            let place = half(payload, 2)?;
            // With neither an offset nor more to come it is whole (RFC 6946).
            part = (place & 0xfff9 != 0).then_some(place & 0xfff8);
        }
        number = *next;
        payload = payload.get(length..).unwrap_or_default();
    }
    Some(Packet {
        source: Ipv6Addr::from(array::<16>(bytes, 8)?).into(),
        destination: Ipv6Addr::from(array::<16>(bytes, 24)?).into(),
        number,
        part,
        payload,
    })
}

impl Packet<'_> {
    fn ends(&self) -> Option<Ends> {
        if self.part.is_some_and(|offset| offset != 0) {
            return None;
        }
        Some(Ends {
            protocol: Protocol::from_number(self.number)?,
            source: SocketAddr::new(self.source, half(self.payload, 0)?),
            destination: SocketAddr::new(self.destination, half(self.payload, 2)?),
        })
    }

    fn told(&self) -> String {
        let part = self.part.map_or_else(String::new, |offset| format!(", fragment at {offset}"));
        if let Some(Ends { protocol, source, destination }) = self.ends() {
            let (word, flags) = match protocol {
                Protocol::Tcp => ("tcp", segment_told(self.payload)),
                Protocol::Udp => ("udp", String::new()),
            };
            return format!("{word} {source} > {destination}{flags}{part}");
        }
        let carried = match self.number {
            1 => "icmp".to_owned(),
            6 => "tcp".to_owned(),
            17 => "udp".to_owned(),
            58 => "icmpv6".to_owned(),
            number => format!("protocol {number}"),
        };
        format!("{carried} {} > {}{part}", self.source, self.destination)
    }
}

fn segment_told(segment: &[u8]) -> String {
    const NAMES: [&str; 6] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
    let flags = segment.get(13).copied().unwrap_or(0);
    let set = NAMES.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1);
    set.map(|(_, name)| format!(" {name}")).collect()
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 192.0.2.7 and 10.77.1.100; the first half of the word of fragmentation as given.
    fn ipv4_frame(tags: &[u8], fragment: [u8; 2], number: u8, payload: &[u8]) -> Vec<u8> {
        let header = [0x45, 0, 0, 20, 0, 0, fragment[0], fragment[1], 64, number, 0, 0];
        let ends = [192, 0, 2, 7, 10, 77, 1, 100];
        [&[1; 6], &[2; 6], tags, &[8, 0], &header[..], &ends, payload].concat()
    }

    #[test]
    fn whatever_it_is_it_can_be_told() {
        let frame = ipv4_frame(&[], [0; 2], 17, &[0, 53, 0, 99, 0, 8, 0, 0]);
        for length in 0..frame.len() {
            let _ = (told(&frame[..length]), ends(&frame[..length]));
        }
        assert_eq!(told(&[]), "cut short, 0 bytes");
        let mut arp = vec![0xff; 42];
        arp[12..14].copy_from_slice(&[8, 6]);
        assert_eq!(told(&arp), "ff:ff:ff:ff:ff:ff > ff:ff:ff:ff:ff:ff, ethertype 0806, 42 bytes");
    }

    #[test]
    fn tags_are_told_from_outside_to_inside() {
        let tags = [0x88, 0xa8, 0x20, 7, 0x81, 0, 0, 100];
        let frame = ipv4_frame(&tags, [0; 2], 17, &[0, 53, 0, 99, 0, 8, 0, 0]);
        let said = told(&frame);
        assert!(said.contains(", vlan 7, vlan 100, udp 192.0.2.7:53 > 10.77.1.100:99, "), "{said}");
    }

    #[test]
    fn only_the_first_fragment_has_ends() {
        let payload = [0, 53, 0, 99, 0, 8, 0, 0];
        let first = ipv4_frame(&[], [0x20, 0], 17, &payload);
        assert_eq!(ends(&first).map(|ends| ends.source.port()), Some(53));
        assert!(told(&first).contains(":99, fragment at 0, "));
        let later = ipv4_frame(&[], [0, 3], 17, &payload);
        assert_eq!(ends(&later), None);
        assert!(told(&later).contains("udp 192.0.2.7 > 10.77.1.100, fragment at 24, "));
    }

    #[test]
    fn ports_are_found_behind_extension_headers() {
        let header = [0x60, 0, 0, 0, 0, 24, 60, 64];
        let options = [44, 0, 1, 4, 0, 0, 0, 0];
        let atomic = [17, 0, 0, 0, 0, 0, 0, 9];
        let udp = [0, 53, 0, 99, 0, 8, 0, 0];
        let frame = [&[0; 12][..], &[0x86, 0xdd], &header, &[0x20; 32], &options, &atomic, &udp].concat();
        let found = ends(&frame).expect("ports");
        assert_eq!((found.protocol, found.destination.port()), (Protocol::Udp, 99));
    }
}

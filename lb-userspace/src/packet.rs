//! Frames for `xlvs explain` and for health checks: made from a question, and told in a line.

use crate::api::Protocol as Word;
use crate::control::PacketQuery;
use lb_common::net::Protocol;
use lb_common::wire::Tags;
use std::net::{IpAddr, SocketAddr};

mod reading;

pub use reading::{Datagram, Ends, Segment, datagram_in, ends, segment_in, told};

/// What a TCP segment says about its connection (RFC 9293 section 3.1).
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const SYN_ACK: u8 = 0x12;

const HOPS: u8 = 64;
/// IP in IP, either family within (RFC 2003, RFC 2473).
const IPIP: u8 = 4;
const IPV6: u8 = 41;
/// Where datagrams of a tunnel come from; nobody listens there.
const EPHEMERAL: u16 = 49_152;
/// Locally administered, and nobody's.
const NOBODYS_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

/// The frame with which such a connection begins: no payload, checksums right. `flags`: a TCP segment's.
///
/// # Errors
/// If source and destination are of two families.
pub fn of_query(query: &PacketQuery, flags: u8) -> Result<Vec<u8>, String> {
    let (source, destination) = (query.source, query.destination);
    let packet = if query.protocol == Word::Udp {
        datagram(source, destination, &[])?
    } else {
        segment(source, destination, flags, 1)?
    };
    Ok(framed(&packet, [0; 6], NOBODYS_MAC))
}

/// An IP packet with a TCP segment without payload.
///
/// # Errors
/// If source and destination are of two families.
pub fn segment(
    source: SocketAddr,
    destination: SocketAddr,
    flags: u8,
    sequence: u32,
) -> Result<Vec<u8>, String> {
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    let rest = [0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0];
    let segment = [&ports[..], &sequence.to_be_bytes(), &rest].concat();
    in_ip(Protocol::Tcp as u8, segment, Some(16), source.ip(), destination.ip())
}

/// An IP packet with a UDP datagram.
///
/// # Errors
/// If source and destination are of two families.
pub fn datagram(source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> Result<Vec<u8>, String> {
    let length = payload.len() as u16 + 8;
    let words = [source.port(), destination.port(), length, 0].map(u16::to_be_bytes).concat();
    in_ip(Protocol::Udp as u8, [&words, payload].concat(), Some(6), source.ip(), destination.ip())
}

/// A packet within one of the director's own to a server: in a datagram to `gue`, if that is given.
///
/// # Errors
/// If source and server are of two families.
pub fn wrapped(packet: &[u8], source: IpAddr, server: IpAddr, gue: Option<u16>) -> Result<Vec<u8>, String> {
    match gue {
        Some(port) => datagram(SocketAddr::new(source, EPHEMERAL), SocketAddr::new(server, port), packet),
        None => {
            let number = if is_v4(packet) { IPIP } else { IPV6 };
            in_ip(number, packet.to_vec(), None, source, server)
        }
    }
}

/// An IP packet in an Ethernet frame.
#[must_use]
pub fn framed(packet: &[u8], to: [u8; 6], from: [u8; 6]) -> Vec<u8> {
    let ethertype = if is_v4(packet) { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&to, &from[..], &ethertype, packet].concat()
}

fn is_v4(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == 4)
}

fn in_ip(
    number: u8,
    mut payload: Vec<u8>,
    checksum_at: Option<usize>,
    source: IpAddr,
    destination: IpAddr,
) -> Result<Vec<u8>, String> {
    let length = payload.len() as u16;
    let (mut header, ends) = match (source, destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let ends = [from.octets(), to.octets()].concat();
            let total = (length + 20).to_be_bytes();
            let header =
                [&[0x45, 0, total[0], total[1], 0, 0, 0x40, 0, HOPS, number, 0, 0], &ends[..]].concat();
            (header, ends)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let ends = [from.octets(), to.octets()].concat();
            let length = length.to_be_bytes();
            let header = [&[0x60, 0, 0, 0, length[0], length[1], number, HOPS], &ends[..]].concat();
            (header, ends)
        }
        (from, to) => {
            return Err(format!("no packet goes from {from} to {to}: name addresses of one family"));
        }
    };
    if let Some(at) = checksum_at {
        let pseudo = [&ends[..], &length.to_be_bytes(), &[0, number]].concat();
        let sum = checksum(&[&pseudo, &payload]);
        payload[at..at + 2].copy_from_slice(&sum);
    }
    if header.len() == 20 {
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum);
    }
    Ok([header, payload].concat())
}

/// The frame with these VLAN tags.
#[must_use]
pub fn dressed(frame: &[u8], tags: Tags) -> Vec<u8> {
    const MACS: usize = 12;
    let (macs, rest) = frame.split_at(MACS);
    let worn = [tags.outer(), tags.inner()].into_iter().filter(|tag| !tag.is_none());
    let worn = worn.flat_map(|tag| [tag.ethertype().to_ne_bytes(), tag.id().to_be_bytes()].concat());
    [macs, &worn.collect::<Vec<u8>>(), rest].concat()
}

/// RFC 1071; each part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let pairs = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u32 =
        pairs.map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // A sum of zero would say "none" in UDP (RFC 768); for the others it is the same number.
    match !(sum as u16) {
        0 => [0xff; 2],
        sum => sum.to_be_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(protocol: Word, source: &str, destination: &str) -> PacketQuery {
        let end = |text: &str| text.parse().expect("an endpoint");
        PacketQuery { protocol, source: end(source), destination: end(destination), interface: None }
    }

    #[test]
    fn a_question_becomes_a_frame_that_the_data_path_reads_as_asked() {
        for (protocol, source, destination, words) in [
            (Word::Tcp, "192.0.2.7:40000", "10.77.1.100:80", "SYN, 54 bytes"),
            (Word::Udp, "192.0.2.7:40000", "10.77.1.100:53", "53, 42 bytes"),
            (Word::Tcp, "[2001:db8::7]:40000", "[2001:db8::100]:80", "SYN, 74 bytes"),
            (Word::Udp, "[2001:db8::7]:1", "[2001:db8::100]:53", "53, 62 bytes"),
        ] {
            let asked = query(protocol, source, destination);
            let frame = of_query(&asked, SYN).expect("one family");
            let found = ends(&frame).expect("ports");
            assert_eq!((found.source, found.destination), (asked.source, asked.destination));
            assert!(told(&frame).ends_with(words), "{}", told(&frame));
        }
        assert!(of_query(&query(Word::Tcp, "192.0.2.7:1", "[2001:db8::1]:2"), SYN).is_err());
    }

    #[test]
    fn tags_stand_between_the_addresses_and_what_they_announce() {
        use lb_common::wire::Tag;
        let frame = of_query(&query(Word::Udp, "192.0.2.7:1", "10.77.1.100:53"), SYN).expect("a frame");
        assert_eq!(dressed(&frame, Tags::NONE), frame);
        let tags = Tags::of(Tag::new(7, true).expect("a VLAN"), Tag::new(100, false).expect("a VLAN"));
        let said = told(&dressed(&frame, tags));
        assert!(said.contains("vlan 7, vlan 100, udp 192.0.2.7:1 > 10.77.1.100:53, 50 bytes"), "{said}");
    }

    #[test]
    fn a_wrapped_packet_lies_whole_behind_the_outer_header() {
        let end = |text: &str| text.parse().expect("an endpoint");
        let ip = |text: &str| text.parse().expect("an address");
        let inner = segment(end("[2001:db8::7]:61000"), end("[2001:db8::100]:80"), SYN, 9).expect("a packet");
        let read = segment_in(&inner).expect("a segment");
        let expected = (end("[2001:db8::7]:61000"), end("[2001:db8::100]:80"), SYN, 0);
        assert_eq!((read.source, read.destination, read.flags, read.acknowledges), expected);
        assert_eq!(segment_in(&inner[..50]), None, "cut off");
        let outer = wrapped(&inner, ip("10.0.0.1"), ip("10.0.0.2"), None).expect("one family");
        assert_eq!((outer[9], &outer[20..]), (IPV6, &inner[..]));
        let outer = wrapped(&inner, ip("10.0.0.1"), ip("10.0.0.2"), Some(6080)).expect("one family");
        assert_eq!((outer[9], &outer[22..24], &outer[28..]), (17, &6080_u16.to_be_bytes()[..], &inner[..]));
        assert!(wrapped(&inner, ip("10.0.0.1"), ip("2001:db8::1"), None).is_err());
    }

    #[test]
    fn a_datagram_is_read_as_it_was_made() {
        let end = |text: &str| text.parse().expect("an endpoint");
        for (source, destination) in
            [("192.0.2.7:61000", "10.77.1.100:53"), ("[2001:db8::7]:61000", "[2001:db8::100]:53")]
        {
            let made = datagram(end(source), end(destination), b"question").expect("one family");
            let expected =
                Datagram { source: end(source), destination: end(destination), payload: b"question" };
            assert_eq!(datagram_in(&made), Some(expected));
            assert_eq!(datagram_in(&[&made[..], b"padding"].concat()), Some(expected), "of a short frame");
            assert_eq!(segment_in(&made), None);
            for length in 0..made.len() {
                assert!(datagram_in(&made[..length]).is_none_or(|cut| b"question".starts_with(cut.payload)));
            }
        }
        let segment = segment(end("192.0.2.7:1"), end("10.77.1.100:80"), SYN, 9).expect("a packet");
        assert_eq!(datagram_in(&segment), None);
    }

    /// Summed once more with the checksum in it, every part gives all ones.
    #[test]
    fn its_checksums_are_right() {
        let frame =
            of_query(&query(Word::Tcp, "192.0.2.7:40000", "10.77.1.100:80"), SYN_ACK).expect("a frame");
        let (header, segment) = frame[14..].split_at(20);
        assert_eq!(checksum(&[header]), [0xff; 2]);
        let pseudo = [&header[12..20], &[0, 6, 0, segment.len() as u8]].concat();
        assert_eq!(checksum(&[&pseudo, segment]), [0xff; 2]);
        assert_eq!(&header[12..16], [192, 0, 2, 7]);
    }
}

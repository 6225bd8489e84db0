//! A frame as the oracle reads it, straight from the bytes and the RFCs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::parts::Datagram;
use crate::datapath::world::Protocol;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
const SCTP: u8 = 132;
/// More extension headers than so many are left to the kernel.
const EXTENSIONS: usize = 4;

/// A well-formed IP packet in a frame.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// Where the IP header begins.
    pub ip: usize,
    /// Where the IP packet ends.
    pub end: usize,
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hops: u8,
    /// The IPv4 header with options, or the IPv6 header without extensions.
    pub header: usize,
    /// The protocol that the IP header itself names.
    pub next: u8,
    pub body: Body,
    /// Whose part it is, if it is only one.
    pub datagram: Option<Datagram>,
}

/// What the packet carries.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Also of a first part, which has all the headers.
    Segment(Segment),
    /// A part without ports, of a datagram that may have some.
    Later,
    /// A first part that ends before its headers do.
    Unreadable,
    Sctp,
    /// A protocol without ports, or one that we do not read.
    Other,
    /// It ends before its ports and checksum do.
    Cut,
}

/// A TCP segment or a UDP datagram.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub at: usize,
    pub protocol: Protocol,
    pub source: u16,
    pub destination: u16,
    pub word: Word,
}

/// What a packet says to its connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Word {
    Syn,
    SynAck,
    Fin,
    Rst,
    Speech,
}

/// The packet that an ICMP error quotes.
#[derive(Clone, Debug)]
pub(super) struct Quote {
    pub ip: usize,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: Protocol,
    /// Where its ports are.
    pub at: usize,
    pub source_port: u16,
    pub destination_port: u16,
    /// Whether the quote reaches beyond the transport's checksum.
    pub summed: bool,
}

/// A packet that is quoted within one of a tunnel.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    /// Source and destination of the tunnel's.
    pub outer: (IpAddr, IpAddr),
    pub quote: Quote,
}

/// What an ICMP message asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Message {
    Error,
    Echo,
    Other,
}

/// The packet in this frame, or the verdict on one that has none.
pub(super) fn read(frame: &[u8]) -> Result<Reading, &'static str> {
    const MALFORMED: &str = "passed_malformed";
    let mut ip = 14;
    let mut in_vlan = false;
    while ip < 22 && matches!(number(frame, ip - 2).ok_or(MALFORMED)?, 0x8100 | 0x88a8) {
        in_vlan |= number(frame, ip).ok_or(MALFORMED)? & 0x0fff != 0;
        ip += 4;
        number(frame, ip - 2).ok_or(MALFORMED)?;
    }
    // No world of the oracle's has VLANs.
    if in_vlan {
        return Err("passed_vlan");
    }
    match number(frame, ip - 2).ok_or(MALFORMED)? {
        0x0800 => read_v4(frame, ip).ok_or(MALFORMED),
        0x86dd => {
            let reading = read_v6(frame, ip).ok_or(MALFORMED)?;
            let mapped = |address: IpAddr| address != address.to_canonical();
            if mapped(reading.source) || mapped(reading.destination) {
                return Err("passed_not_ours");
            }
            Ok(reading)
        }
        _ => Err("passed_not_ip"),
    }
}

fn read_v4(frame: &[u8], ip: usize) -> Option<Reading> {
    let packet = frame.get(ip..)?;
    let fixed = packet.get(..20)?;
    let (header, length) = (usize::from(fixed[0] & 15) * 4, usize::from(number(packet, 2)?));
    if fixed[0] >> 4 != 4 || header < 20 || length < header || length > packet.len() {
        return None;
    }
    let part = number(packet, 6)? & 0x3fff;
    let end = ip + length;
    let body = match (part & 0x1fff, part & 0x2000) {
        (0, 0) => body(frame, ip + header, end, fixed[9]),
        (0, _) => body(frame, ip + header, end, fixed[9]).of_first(),
        _ => later(fixed[9], matches!(fixed[9], TCP | UDP)),
    };
    let (source, destination) = ends(frame, ip, false)?;
    let id = number(packet, 4)?.into();
    let datagram = (part != 0).then_some(Datagram { source, destination, protocol: Some(fixed[9]), id });
    Some(Reading { ip, end, source, destination, hops: fixed[8], header, next: fixed[9], body, datagram })
}

fn read_v6(frame: &[u8], ip: usize) -> Option<Reading> {
    let packet = frame.get(ip..)?;
    let fixed = packet.get(..40)?;
    let payload = usize::from(number(packet, 4)?);
    // The whole packet must have a length that an IPv4 header could tell.
    if fixed[0] >> 4 != 6 || payload == 0 || payload + 40 > 0xffff || payload + 40 > packet.len() {
        return None;
    }
    let end = ip + 40 + payload;
    let mut id = None;
    let body = match upper(frame, ip + 40, fixed[6], &mut id) {
        Ok((at, protocol)) => body(frame, at, end, protocol),
        Err(why) => why,
    };
    let body = if id.is_some() { body.of_first() } else { body };
    let (source, destination) = ends(frame, ip, true)?;
    let datagram = id.map(|id| Datagram { source, destination, protocol: None, id });
    Some(Reading { ip, end, source, destination, hops: fixed[7], header: 40, next: fixed[6], body, datagram })
}

/// The header behind the extension headers that begin here (RFC 8200 section 4), and the id if this is a part of something.
fn upper(frame: &[u8], mut at: usize, mut protocol: u8, id: &mut Option<u32>) -> Result<(usize, u8), Body> {
    for _ in 0..EXTENSIONS {
        if !matches!(protocol, 0 | 43 | 44 | 60) {
            return Ok((at, protocol));
        }
        let header = frame.get(at..at + 8).ok_or(Body::Cut)?;
        match protocol {
            // RFC 6946: neither an offset nor more to come is no fragment.
            44 if header[2] != 0 || header[3] & 0xf9 != 0 => {
                *id = Some(u32::from_be_bytes([header[4], header[5], header[6], header[7]]));
                if header[2] != 0 || header[3] & 0xf8 != 0 {
                    let may_have_ports = matches!(header[0], 0 | TCP | UDP | 43 | 44 | 60);
                    return Err(later(header[0], may_have_ports));
                }
            }
            43 if header[3] != 0 => return Err(Body::Other),
            _ => {}
        }
        at += if protocol == 44 { 8 } else { 8 * (usize::from(header[1]) + 1) };
        protocol = header[0];
    }
    if matches!(protocol, 0 | 43 | 44 | 60) { Err(Body::Other) } else { Ok((at, protocol)) }
}

fn body(frame: &[u8], at: usize, end: usize, protocol: u8) -> Body {
    let (protocol, least) = match protocol {
        TCP => (Protocol::Tcp, 20),
        UDP => (Protocol::Udp, 8),
        SCTP => return Body::Sctp,
        _ => return Body::Other,
    };
    match frame.get(at..end).filter(|bytes| bytes.len() >= least) {
        Some(bytes) => Body::Segment(Segment {
            at,
            protocol,
            source: u16::from_be_bytes([bytes[0], bytes[1]]),
            destination: u16::from_be_bytes([bytes[2], bytes[3]]),
            word: if protocol == Protocol::Udp { Word::Speech } else { word(bytes[13]) },
        }),
        None => Body::Cut,
    }
}

/// RFC 9293 section 3.1: RST counts before all else, and SYN before FIN.
fn word(flags: u8) -> Word {
    let (fin, syn, rst, ack) = (flags & 1 != 0, flags & 2 != 0, flags & 4 != 0, flags & 16 != 0);
    match (rst, syn, ack, fin) {
        (true, ..) => Word::Rst,
        (_, true, true, _) => Word::SynAck,
        (_, true, false, _) => Word::Syn,
        (_, _, _, true) => Word::Fin,
        _ => Word::Speech,
    }
}

/// A later part.
const fn later(protocol: u8, may_have_ports: bool) -> Body {
    match protocol {
        SCTP => Body::Sctp,
        _ if may_have_ports => Body::Later,
        _ => Body::Other,
    }
}

impl Body {
    /// That of a first part: what it lacks, the others have, where nobody looks.
    fn of_first(self) -> Self {
        if matches!(self, Self::Cut) { Self::Unreadable } else { self }
    }
}

impl Reading {
    /// Where both addresses lie.
    pub fn addresses(&self) -> Range<usize> {
        addresses(self.ip, self.source.is_ipv6())
    }

    /// Where the message is, if this may be ICMP of the packet's own family, directly behind the IP header.
    pub fn icmp(&self) -> Option<Range<usize>> {
        let at = self.ip + self.header;
        (self.carries_icmp() && self.end >= at + 8).then_some(at..self.end)
    }

    /// The same, also if there is too little of it.
    pub fn carries_icmp(&self) -> bool {
        let own = if self.source.is_ipv6() { ICMPV6 } else { ICMP };
        self.next == own && self.datagram.is_none()
    }

    pub fn message(&self, frame: &[u8]) -> Message {
        let Some(at) = self.icmp() else { return Message::Other };
        match (self.source.is_ipv6(), frame[at.start]) {
            (false, 3 | 11 | 12) | (true, 1..=4) => Message::Error,
            (false, 8) | (true, 128) => Message::Echo,
            _ => Message::Other,
        }
    }

    /// The packet that this error quotes, if its ports can be read.
    pub fn quote(&self, frame: &[u8]) -> Option<Quote> {
        self.quote_at(frame, self.icmp()?.start + 8, self.source.is_ipv6())
    }

    /// The packet that is quoted within one of a tunnel, and the MTU that was too small for that.
    pub fn narrow_tunnel(&self, frame: &[u8]) -> Option<(usize, Inside)> {
        let (at, v6) = (self.icmp()?.start, self.source.is_ipv6());
        let low = usize::from(number(frame, at + 6)?);
        let mtu = match (v6, frame[at], frame[at + 1]) {
            (false, 3, 4) => low,
            (true, 2, _) => usize::from(number(frame, at + 4)?) << 16 | low,
            _ => return None,
        };
        let ip = at + 8;
        let (header, protocol) = if v6 {
            (40, *frame.get(ip + 6)?)
        } else {
            // Those of tunnels have no options.
            (20, *frame.get(ip + 9).filter(|_| frame[ip] == 0x45)?)
        };
        let inner = match protocol {
            4 | 41 => ip + header,
            UDP => ip + header + 8,
            _ => return None,
        };
        let inner_v6 = match frame.get(inner)? >> 4 {
            4 => false,
            6 => true,
            _ => return None,
        };
        let (outer, quote) = (ends(frame, ip, v6)?, self.quote_at(frame, inner, inner_v6)?);
        Some((mtu, Inside { outer, quote }))
    }

    fn quote_at(&self, frame: &[u8], ip: usize, v6: bool) -> Option<Quote> {
        let (at, protocol) = if v6 {
            let fixed = frame.get(ip..ip + 40).filter(|fixed| fixed[0] >> 4 == 6)?;
            upper(frame, ip + 40, fixed[6], &mut None).ok()?
        } else {
            let fixed = frame.get(ip..ip + 20)?;
            let header = usize::from(fixed[0] & 15) * 4;
            let is_later_fragment = number(fixed, 6)? & 0x1fff != 0;
            if fixed[0] >> 4 != 4 || header < 20 || is_later_fragment {
                return None;
            }
            (ip + header, fixed[9])
        };
        let (protocol, checksum) = match protocol {
            TCP => (Protocol::Tcp, 16),
            UDP => (Protocol::Udp, 6),
            _ => return None,
        };
        if at + 8 > self.end {
            return None;
        }
        let (source, destination) = ends(frame, ip, v6)?;
        Some(Quote {
            ip,
            source,
            destination,
            protocol,
            at,
            source_port: number(frame, at)?,
            destination_port: number(frame, at + 2)?,
            summed: at + checksum + 2 <= self.end,
        })
    }
}

/// Where both addresses of the header that begins here lie.
pub(super) const fn addresses(ip: usize, v6: bool) -> Range<usize> {
    if v6 { ip + 8..ip + 40 } else { ip + 12..ip + 20 }
}

fn ends(frame: &[u8], ip: usize, v6: bool) -> Option<(IpAddr, IpAddr)> {
    let both = frame.get(addresses(ip, v6))?;
    let (source, destination) = both.split_at(both.len() / 2);
    Some((address(source)?, address(destination)?))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into());
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()))
}

/// The number at this offset.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]))
}

//! From bytes to one small description of the packet; later stages never look at ethertypes, extension headers or lengths
//! again.
//!
//! Two steps, because most of what a NIC sees may not be ours: [`network`] gives the addresses the gate asks about,
//! [`transport`] the rest. Every error is the verdict it ends in.

use core::mem::offset_of;

use lb_common::{
    lifecycle::Segment,
    net::{Addr, Port, Protocol},
    verdict::Verdict,
    word::veiled,
};
use network_types::eth::EtherType;

use crate::{
    Outcome, extensions,
    frame::Frame,
    headers::{Checksum, Ethernet, Ipv4, Ipv6, Ports, Tcp, Udp, Vlan},
    ip::IpHeader as _,
    tables::Tables,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    V4,
    V6,
}

/// The outer half: links and addresses.
#[derive(Debug)]
pub struct Packet<'a> {
    pub link: &'a Ethernet,
    pub source: Addr,
    pub destination: Addr,
    pub shape: Shape,
}

/// What the IP header says about the packet, in one word, because the BPF stack wants whole ones.
///
/// ```text
///  47      40 39      32 31           16 15         8 7          0
/// +----------+----------+---------------+------------+------------+
/// |  flags   |   next   |    length     | IP header  |    link    |
/// +----------+----------+---------------+------------+------------+
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shape(u64);

impl Shape {
    const IPV6: u64 = 1 << 40;
    const FRAGMENT: u64 = 1 << 41;

    #[inline(always)]
    const fn new(link_length: u64, header_length: u64, length: u16, next_header: u8, flags: u64) -> Self {
        Self(link_length | header_length << 8 | (length as u64) << 16 | (next_header as u64) << 32 | flags)
    }

    /// This shape as a word, for a subprogram.
    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// What [`word`](Self::word) gave.
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[inline(always)]
    pub const fn family(self) -> Family {
        if self.0 & Self::IPV6 == 0 { Family::V4 } else { Family::V6 }
    }

    /// From the start of the frame to the IP header: 14, or 18 with a VLAN tag.
    #[inline(always)]
    pub const fn link_length(self) -> u64 {
        self.0 & 0xff
    }

    /// IPv4 header with options, or IPv6 header without extensions, bytes.
    #[inline(always)]
    pub const fn header_length(self) -> u64 {
        self.0 >> 8 & 0xff
    }

    /// IP packet, bytes, as its own header says: what is counted.
    #[inline(always)]
    pub const fn length(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// IPv4: what the payload is. IPv6: that, or the first extension header.
    #[inline(always)]
    pub const fn next_header(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// IPv4: a part of a datagram (RFC 791: more fragments, or an offset).
    #[inline(always)]
    pub const fn is_fragment(self) -> bool {
        self.0 & Self::FRAGMENT != 0
    }
}

/// The inner half: ports, checksum and what the packet says about its connection. The same for TCP and UDP, because the
/// verifier cannot be told that a pointer and a protocol belong together, and need not go on twice.
#[derive(Debug)]
pub struct Transport<'a> {
    pub ports: &'a Ports,
    pub checksum: &'a Checksum,
    pub protocol: Protocol,
    pub source: Port,
    pub destination: Port,
    pub signal: Signal,
}

/// What a packet says about its connection, as it lies on the wire: decoded where it matters, because the verifier would
/// follow each kind of segment apart through everything in between.
#[derive(Clone, Copy, Debug)]
pub struct Signal(u64);

impl Signal {
    /// Above the eight flags of TCP.
    const DATAGRAM: u64 = 1 << 8;
    const ACK: u64 = 0x10;

    /// That of a packet amid a connection of this protocol.
    #[inline(always)]
    pub const fn amid(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self(Self::ACK),
            Protocol::Udp => Self(Self::DATAGRAM),
        }
    }

    #[inline(always)]
    pub const fn is_datagram(self) -> bool {
        self.0 & Self::DATAGRAM != 0
    }

    #[inline(always)]
    pub const fn segment(self) -> Segment {
        if self.is_datagram() { Segment::Datagram } else { Segment::of_tcp_flags(self.0 as u8) }
    }
}

/// Why there is no [`Transport`]; what follows from it depends on whose packet it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoTransport {
    /// Part of a datagram: ports are missing or of no use.
    Fragment,
    /// Neither TCP nor UDP, or not for us to read.
    Other,
    /// Cut short.
    Malformed,
}

/// RFC 791: the flag "more fragments" and the offset.
const FRAGMENT_MASK: u16 = 0x3fff;

/// # Errors
/// The outcome for what is not well-formed IP: it is the kernel's.
#[inline(always)]
pub fn network<'a>(frame: &Frame<'a>) -> Result<Packet<'a>, Outcome> {
    let link: &Ethernet = frame.view(0).ok_or(Verdict::PassedMalformed)?;
    let mut ethertype = link.ethertype.raw();
    let mut link_length = size_of::<Ethernet>() as u64;
    if ethertype == EtherType::Ieee8021q as u16 {
        let tag: &Vlan = frame.view_at(link_length).ok_or(Verdict::PassedMalformed)?;
        ethertype = tag.ethertype.raw();
        link_length += size_of::<Vlan>() as u64;
    }
    let mut packet = if ethertype == EtherType::Ipv4 as u16 {
        ipv4(frame, link, link_length)?
    } else if ethertype == EtherType::Ipv6 as u16 {
        ipv6(frame, link, link_length)?
    } else {
        return Err(Verdict::PassedNotIp.into());
    };
    // From here on the verifier follows all shapes as one.
    packet.shape = Shape(veiled(packet.shape.0, frame.len() as u64));
    Ok(packet)
}

#[inline(always)]
fn ipv4<'a>(frame: &Frame<'a>, link: &'a Ethernet, link_length: u64) -> Result<Packet<'a>, Outcome> {
    let ip: &Ipv4 = frame.view_at(link_length).ok_or(Verdict::PassedMalformed)?;
    let version_ihl = ip.version_ihl.byte();
    let header_length = u16::from(version_ihl & 0x0f) * 4;
    let length = ip.total_length.number();
    let fits = length >= header_length && link_length + u64::from(length) <= frame.len() as u64;
    if version_ihl >> 4 != 4 || usize::from(header_length) < size_of::<Ipv4>() || !fits {
        return Err(Verdict::PassedMalformed.into());
    }
    let fragment = if ip.fragment.number() & FRAGMENT_MASK != 0 { Shape::FRAGMENT } else { 0 };
    Ok(Packet {
        link,
        source: Addr::v4(ip.source.get()),
        destination: Addr::v4(ip.destination.get()),
        shape: Shape::new(link_length, u64::from(header_length), length, ip.protocol.byte(), fragment),
    })
}

#[inline(always)]
fn ipv6<'a>(frame: &Frame<'a>, link: &'a Ethernet, link_length: u64) -> Result<Packet<'a>, Outcome> {
    const HEADER: u16 = size_of::<Ipv6>() as u16;
    let ip: &Ipv6 = frame.view_at(link_length).ok_or(Verdict::PassedMalformed)?;
    let payload = ip.payload_length.number();
    let fits = link_length + u64::from(HEADER) + u64::from(payload) <= frame.len() as u64;
    // A length of zero announces a jumbogram (RFC 2675), which no frame of ours can hold, or nothing at all.
    if ip.version_class_flow.get()[0] >> 4 != 6 || payload == 0 || payload > u16::MAX - HEADER || !fits {
        return Err(Verdict::PassedMalformed.into());
    }
    let (source, destination) = ip.ends().ok_or(Verdict::PassedNotOurs)?;
    Ok(Packet {
        link,
        source,
        destination,
        shape: Shape::new(
            link_length,
            u64::from(HEADER),
            HEADER + payload,
            ip.next_header.byte(),
            Shape::IPV6,
        ),
    })
}

/// # Errors
/// Why the packet has no ports.
#[inline(always)]
pub fn transport<'a, T: Tables>(
    frame: &Frame<'a>,
    packet: &Packet<'a>,
    tables: &T,
) -> Result<Transport<'a>, NoTransport> {
    let shape = packet.shape;
    if shape.is_fragment() {
        return Err(NoTransport::Fragment);
    }
    let end = shape.link_length() + u64::from(shape.length());
    let mut at = shape.link_length() + shape.header_length();
    let mut number = shape.next_header();
    if shape.family() == Family::V6 && extensions::is_one(number) {
        let upper = tables.behind_extensions(frame, at, number);
        (at, number) = (upper.at()?, upper.number());
    }
    let protocol = Protocol::from_number(number).ok_or(NoTransport::Other)?;
    let (signal, checksum_at, size) = match protocol {
        Protocol::Tcp => {
            let tcp: &Tcp = frame.view_at(at).ok_or(NoTransport::Malformed)?;
            (u64::from(tcp.flags.byte()), offset_of!(Tcp, checksum), size_of::<Tcp>())
        }
        Protocol::Udp => (Signal::DATAGRAM, offset_of!(Udp, checksum), size_of::<Udp>()),
    };
    if at + size as u64 > end {
        return Err(NoTransport::Malformed);
    }
    let signal = Signal(veiled(signal, frame.len() as u64));
    let ports: &Ports = frame.view_at(at).ok_or(NoTransport::Malformed)?;
    let checksum: &Checksum = frame.view_at(at + checksum_at as u64).ok_or(NoTransport::Malformed)?;
    let source = Port::from_wire(ports.source.get());
    let destination = Port::from_wire(ports.destination.get());
    Ok(Transport { ports, checksum, protocol, source, destination, signal })
}

//! From bytes to one small description of the packet; later stages never look at ethertypes, extension headers or lengths
//! again.
//!
//! Two steps, because most of what a NIC sees may not be ours: [`network`] gives the addresses the gate asks about,
//! [`transport`] the rest. Every error is the verdict it ends in.

use core::mem::offset_of;

use lb_common::{
    lifecycle::Segment,
    net::{Addr, Port, PortNumber, Protocol},
    verdict::Verdict,
    word::veiled,
};
use network_types::{eth::EtherType, ip::IpProto};

use crate::{
    Outcome, extensions,
    frame::{Frame, Offset},
    headers::{Checksum, Ethernet, Ipv4, Ipv6, Ports, Tcp, Udp},
    ip::IpHeader as _,
    tables::Tables,
    tags::{self, Head},
    travelling::travels_as_word,
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

/// Where an IP header is, and of which family. As the packet's shape says; but of a [plain](crate::plain) packet, the compiler
/// knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    pub begins: Offset,
    pub family: Family,
}

/// What the IP header says about the packet, in one word, because the BPF stack wants whole ones.
///
/// ```text
///  63    48 47   40 39    32 31           16 15         8 7          0
/// +--------+-------+--------+---------------+------------+------------+
/// |  port  | flags |  next  |    length     | IP header  |    link    |
/// +--------+-------+--------+---------------+------------+------------+
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shape(u64);

travels_as_word!(Shape);

impl Shape {
    pub(crate) const IPV6: u64 = 1 << 40;
    const FRAGMENT: u64 = 1 << 41;
    const TAGGED: u64 = 1 << 42;
    /// The IP header's length stands there in units of four bytes.
    const HEADER_SHIFT: u32 = 8;
    const NEXT_SHIFT: u32 = 32;

    #[inline(always)]
    pub(crate) const fn new(
        link_length: u64,
        header_length: u64,
        length: u16,
        next_header: u8,
        flags: u64,
    ) -> Self {
        let header = (header_length / 4) << Self::HEADER_SHIFT | (next_header as u64) << Self::NEXT_SHIFT;
        Self(link_length | header | (length as u64) << 16 | flags)
    }

    /// That of a first fragment, to be read as if it were whole: its headers end so many units of four bytes after the IP
    /// header began, and this follows them.
    #[inline(always)]
    pub const fn as_whole(self, header_words: u8, next_header: u8) -> Self {
        const KEPT: u64 = !(0xff << Shape::HEADER_SHIFT | 0xff << Shape::NEXT_SHIFT | Shape::FRAGMENT);
        let header = (header_words as u64) << Self::HEADER_SHIFT | (next_header as u64) << Self::NEXT_SHIFT;
        Self(self.0 & KEPT | header)
    }

    /// With what the tags say.
    #[inline(always)]
    const fn behind(self, head: Head) -> Self {
        Self(self.0 | (head.tagged() * Self::TAGGED) | (head.port() as u64) << 48)
    }

    #[inline(always)]
    pub const fn is_tagged(self) -> bool {
        self.0 & Self::TAGGED != 0
    }

    /// Of a tagged packet: by which interface it came.
    #[inline(always)]
    pub const fn port(self) -> PortNumber {
        PortNumber::of_interface((self.0 >> 48) as u32)
    }

    #[inline(always)]
    pub const fn family(self) -> Family {
        if self.0 & Self::IPV6 == 0 { Family::V4 } else { Family::V6 }
    }

    #[inline(always)]
    pub const fn network(self) -> Network {
        Network { begins: Offset::Computed(self.link_length()), family: self.family() }
    }

    /// From the start of the frame to the IP header: 14, and 4 for each VLAN tag.
    #[inline(always)]
    pub const fn link_length(self) -> u64 {
        self.0 & 0xff
    }

    /// IPv4 header with options, or IPv6 header without extensions, bytes.
    #[inline(always)]
    pub const fn header_length(self) -> u64 {
        self.0 >> (Self::HEADER_SHIFT - 2) & 0x3fc
    }

    /// IP packet, bytes, as its own header says: what is counted.
    #[inline(always)]
    pub const fn length(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// IPv4: what the payload is. IPv6: that, or the first extension header.
    #[inline(always)]
    pub const fn next_header(self) -> u8 {
        (self.0 >> Self::NEXT_SHIFT) as u8
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
    /// From the start of the frame, bytes.
    pub at: u64,
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
    const DATAGRAM_BIT: u64 = 1 << 8;
    pub(crate) const DATAGRAM: Self = Self(Self::DATAGRAM_BIT);
    const ACK: u64 = 0x10;

    #[inline(always)]
    pub(crate) const fn of_tcp_flags(flags: u8) -> Self {
        Self(flags as u64)
    }

    /// That of a packet amid a connection of this protocol.
    #[inline(always)]
    pub const fn amid(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self(Self::ACK),
            Protocol::Udp => Self::DATAGRAM,
        }
    }

    #[inline(always)]
    pub const fn is_datagram(self) -> bool {
        self.0 & Self::DATAGRAM_BIT != 0
    }

    /// Whether it asks for nothing: neither SYN nor FIN nor RST (RFC 9293 section 3.1: 0x02, 0x01, 0x04).
    #[inline(always)]
    pub const fn is_amid_connection(self) -> bool {
        self.0 & 0x07 == 0
    }

    #[inline(always)]
    pub const fn segment(self) -> Segment {
        if self.is_datagram() { Segment::Datagram } else { Segment::of_tcp_flags(self.0 as u8) }
    }
}

/// Why there is no [`Transport`]; what follows from it depends on whose packet it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoTransport {
    /// Part of a datagram, which may have no ports; see [`fragments`](crate::fragments).
    Fragment,
    Sctp,
    /// None of these, or not for us to read.
    Other,
    /// Cut short.
    Malformed,
}

/// RFC 9260.
pub const SCTP: u8 = IpProto::Sctp as u8;

/// RFC 791: the flag "more fragments" and the offset.
pub(crate) const FRAGMENT_MASK: u16 = 0x3fff;

/// # Errors
/// The outcome for what is not well-formed IP, or not from an interface of ours: it is the kernel's.
#[inline(always)]
pub fn network<'a, T: Tables>(frame: &Frame<'a>, tables: &T) -> Result<Packet<'a>, Outcome> {
    let link: &Ethernet = frame.view(0).ok_or(Verdict::PassedMalformed)?;
    let ethertype = link.ethertype.raw();
    let head = if tags::is_one(ethertype) { tables.head(frame).proceed()? } else { Head::bare(ethertype) };
    // From here on the verifier follows frames with tags and without as one.
    let head = Head::from_word(veiled(head.word(), frame.len() as u64));
    let (ethertype, link_length) = (head.ethertype(), head.length());
    let mut packet = if ethertype == EtherType::Ipv4 as u16 {
        ipv4(frame, link, link_length, tables)?
    } else if ethertype == EtherType::Ipv6 as u16 {
        ipv6(frame, link, link_length, tables)?
    } else {
        return Err(Verdict::PassedNotIp.into());
    };
    packet.shape = packet.shape.behind(head);
    // And all shapes.
    packet.shape = Shape(veiled(packet.shape.0, frame.len() as u64));
    Ok(packet)
}

/// The same as a subprogram, for a stage that goes deep and may not leave much on the stack.
///
/// # Errors
/// Likewise.
#[inline(never)]
pub fn network_apart<'a, T: Tables>(frame: &Frame<'a>, tables: &T) -> Result<Packet<'a>, Outcome> {
    network(frame, tables)
}

/// Whether the frame goes on until there. Payload may lie where it cannot be looked at, which nobody does.
#[inline(always)]
fn is_there<T: Tables>(frame: &Frame<'_>, end: u64, tables: &T) -> bool {
    end <= frame.len() as u64 || end <= tables.frame_length()
}

#[inline(always)]
fn ipv4<'a, T: Tables>(
    frame: &Frame<'a>,
    link: &'a Ethernet,
    link_length: u64,
    tables: &T,
) -> Result<Packet<'a>, Outcome> {
    let ip: &Ipv4 = frame.view_at(link_length).ok_or(Verdict::PassedMalformed)?;
    let version_ihl = ip.version_ihl.byte();
    let header_length = u16::from(version_ihl & 0x0f) * 4;
    let length = ip.total_length.number();
    let fits = length >= header_length && is_there(frame, link_length + u64::from(length), tables);
    if version_ihl >> 4 != 4 || usize::from(header_length) < size_of::<Ipv4>() || !fits {
        return Err(Verdict::PassedMalformed.into());
    }
    let fragment = if ip.fragment.number() & FRAGMENT_MASK != 0 { Shape::FRAGMENT } else { 0 };
    let shape = Shape::new(link_length, u64::from(header_length), length, ip.protocol.byte(), fragment);
    let (source, destination) = (Addr::v4(ip.source.get()), Addr::v4(ip.destination.get()));
    Ok(Packet { link, source, destination, shape })
}

#[inline(always)]
fn ipv6<'a, T: Tables>(
    frame: &Frame<'a>,
    link: &'a Ethernet,
    link_length: u64,
    tables: &T,
) -> Result<Packet<'a>, Outcome> {
    const HEADER: u16 = size_of::<Ipv6>() as u16;
    let ip: &Ipv6 = frame.view_at(link_length).ok_or(Verdict::PassedMalformed)?;
    let payload = ip.payload_length.number();
    let fits = is_there(frame, link_length + u64::from(HEADER) + u64::from(payload), tables);
    // A length of zero announces a jumbogram (RFC 2675), which no frame of ours can hold, or nothing at all.
    if ip.version_class_flow.get()[0] >> 4 != 6 || payload == 0 || payload > u16::MAX - HEADER || !fits {
        return Err(Verdict::PassedMalformed.into());
    }
    let (source, destination) = ip.ends().ok_or(Verdict::PassedNotOurs)?;
    let shape =
        Shape::new(link_length, u64::from(HEADER), HEADER + payload, ip.next_header.byte(), Shape::IPV6);
    Ok(Packet { link, source, destination, shape })
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
    if number == SCTP {
        return Err(NoTransport::Sctp);
    }
    let protocol = Protocol::from_number(number).ok_or(NoTransport::Other)?;
    let (signal, checksum_at, size) = match protocol {
        Protocol::Tcp => {
            let tcp: &Tcp = frame.view_at(at).ok_or(NoTransport::Malformed)?;
            (u64::from(tcp.flags.byte()), offset_of!(Tcp, checksum), size_of::<Tcp>())
        }
        Protocol::Udp => (Signal::DATAGRAM_BIT, offset_of!(Udp, checksum), size_of::<Udp>()),
    };
    if at + size as u64 > end {
        return Err(NoTransport::Malformed);
    }
    let signal = Signal(veiled(signal, frame.len() as u64));
    let ports: &Ports = frame.view_at(at).ok_or(NoTransport::Malformed)?;
    let checksum: &Checksum = frame.view_at(at + checksum_at as u64).ok_or(NoTransport::Malformed)?;
    let source = Port::from_wire(ports.source.get());
    let destination = Port::from_wire(ports.destination.get());
    Ok(Transport { at, ports, checksum, protocol, source, destination, signal })
}

//! The packet that an ICMP error quotes: whose it was, and how it is rewritten within the quote.
//!
//! A quote may end after eight bytes of the transport header (RFC 792), so only the ports are sure to be there. Nothing in
//! it is believed: it may have been forged, cut, or changed by whoever quotes it.

use lb_common::{
    checksum::Delta,
    net::{Addr, Port, Protocol, Tuple},
    slot::ServerId,
    word::veiled,
};

use crate::{
    extensions,
    frame::Frame,
    headers::{Checksum, Icmp, Ipv4, Ipv6, Ports, Udp},
    ip::{End, IpHeader},
    parse::{Family, Packet, Shape},
    rewrite,
    tables::Tables,
};

/// Where the quoted headers lie and, once that is known, whose connection it is: in one word, as a subprogram may return it.
///
/// ```text
///  63    48 47     40 39      32 31          16 15           0
/// +--------+---------+----------+--------------+--------------+
/// | server |  flags  | protocol |  transport   |  IP header   |
/// +--------+---------+----------+--------------+--------------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quote(u64);

impl Quote {
    /// Nothing that could be read.
    pub const NONE: Self = Self(0);
    const IPV6: u64 = 1 << 40;
    /// The quote reaches beyond the checksum of the transport header.
    const SUMMED: u64 = 1 << 41;

    /// This quote, about a connection of this server.
    #[inline(always)]
    pub const fn of(self, server: ServerId) -> Self {
        Self(self.0 & 0xffff_ffff_ffff | (server.index() as u64) << 48)
    }

    #[inline(always)]
    pub fn server(self) -> Option<ServerId> {
        ServerId::new((self.0 >> 48) as u16)
    }

    #[inline(always)]
    const fn header_at(self) -> u64 {
        self.0 & 0xffff
    }

    #[inline(always)]
    const fn transport_at(self) -> u64 {
        self.0 >> 16 & 0xffff
    }

    #[inline(always)]
    const fn family(self) -> Family {
        if self.0 & Self::IPV6 == 0 { Family::V4 } else { Family::V6 }
    }

    #[inline(always)]
    pub const fn protocol(self) -> Protocol {
        if self.0 >> 32 & 0xff == Protocol::Udp as u64 { Protocol::Udp } else { Protocol::Tcp }
    }

    #[inline(always)]
    const fn checksum_at(self) -> u64 {
        self.transport_at() + checksum_offset(self.protocol())
    }
}

/// RFC 791: the offset alone. The first of several fragments has the ports.
const OFFSET_MASK: u16 = 0x1fff;

/// As much of a transport header as any quote has.
const LEAST: u64 = size_of::<Udp>() as u64;

#[inline(always)]
const fn checksum_offset(protocol: Protocol) -> u64 {
    match protocol {
        Protocol::Tcp => core::mem::offset_of!(crate::headers::Tcp, checksum) as u64,
        Protocol::Udp => core::mem::offset_of!(Udp, checksum) as u64,
    }
}

/// Finds the quote in an ICMP error: TCP or UDP with its ports, or [`Quote::NONE`].
#[inline(never)]
pub fn find<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Quote {
    let header_at = place(packet.shape);
    within(frame, packet.shape, header_at, packet.shape.family(), tables)
}

/// Where an ICMP message begins to quote.
#[inline(always)]
pub const fn place(shape: Shape) -> u64 {
    shape.link_length() + shape.header_length() + size_of::<Icmp>() as u64
}

/// The same for a packet of this family that is quoted at this place, maybe within another one.
#[inline(always)]
pub fn within<T: Tables>(
    frame: &Frame<'_>,
    shape: Shape,
    header_at: u64,
    family: Family,
    tables: &T,
) -> Quote {
    let end = shape.link_length() + u64::from(shape.length());
    let found = match family {
        Family::V4 => transport_in_ipv4(frame, header_at),
        Family::V6 => transport_in_ipv6(frame, header_at, tables),
    };
    let Some((transport_at, number)) = found else { return Quote::NONE };
    let Some(protocol) = Protocol::from_number(number) else { return Quote::NONE };
    if transport_at + LEAST > end {
        return Quote::NONE;
    }
    let summed = transport_at + checksum_offset(protocol) + size_of::<Checksum>() as u64 <= end;
    let flags = if family == Family::V6 { Quote::IPV6 } else { 0 } | if summed { Quote::SUMMED } else { 0 };
    let places = header_at & 0xffff | (transport_at & 0xffff) << 16;
    Quote(veiled(places | (protocol as u64) << 32 | flags, frame.len() as u64))
}

#[inline(always)]
fn transport_in_ipv4(frame: &Frame<'_>, at: u64) -> Option<(u64, u8)> {
    let ip: &Ipv4 = frame.view_at(at)?;
    let version_ihl = ip.version_ihl.byte();
    let length = u64::from(version_ihl & 0x0f) * 4;
    let is_later_fragment = ip.fragment.number() & OFFSET_MASK != 0;
    if version_ihl >> 4 != 4 || length < size_of::<Ipv4>() as u64 || is_later_fragment {
        return None;
    }
    Some((at + length, ip.protocol.byte()))
}

#[inline(always)]
fn transport_in_ipv6<T: Tables>(frame: &Frame<'_>, at: u64, tables: &T) -> Option<(u64, u8)> {
    let ip: &Ipv6 = frame.view_at(at)?;
    if ip.version_class_flow.get()[0] >> 4 != 6 {
        return None;
    }
    let (at, number) = (at + size_of::<Ipv6>() as u64, ip.next_header.byte());
    if !extensions::is_one(number) {
        return Some((at, number));
    }
    let upper = tables.behind_extensions(frame, at, number);
    upper.of_first().map(|at| (at, upper.number()))
}

/// The quoted packet's connection, if the client is at this end of it: between the client and whoever is at the other. None
/// if it cannot have been a packet of ours.
#[inline(always)]
pub fn tuple(frame: &Frame<'_>, quote: Quote, client: End) -> Option<Tuple> {
    let (source, destination) = match quote.family() {
        Family::V4 => frame.view_at::<Ipv4>(quote.header_at()).and_then(IpHeader::ends),
        Family::V6 => frame.view_at::<Ipv6>(quote.header_at()).and_then(IpHeader::ends),
    }?;
    let ports: &Ports = frame.view_at(quote.transport_at())?;
    let (from, to) = (Port::from_wire(ports.source.get()), Port::from_wire(ports.destination.get()));
    let protocol = quote.protocol();
    Some(match client {
        End::Source => Tuple { client: source, vip: destination, client_port: from, vip_port: to, protocol },
        End::Destination => {
            Tuple { client: destination, vip: source, client_port: to, vip_port: from, protocol }
        }
    })
}

/// The port at this end of the quoted packet.
#[inline(always)]
pub fn port(frame: &Frame<'_>, quote: Quote, end: End) -> Option<Port> {
    let ports: &Ports = frame.view_at(quote.transport_at())?;
    Some(Port::from_wire(end.of(&ports.source, &ports.destination).get()))
}

/// Gives one end of the quoted packet another address and port, and its checksums what follows from that, as if it had
/// been sent so (RFC 5508 section 4.2). The answer is what the ICMP checksum must take in: every word that changed.
#[inline(always)]
pub fn rename(frame: &Frame<'_>, quote: Quote, end: End, to: Addr, port: Port) -> Option<Delta> {
    let ports: &Ports = frame.view_at(quote.transport_at())?;
    let field = end.of(&ports.source, &ports.destination);
    let (address, header) = match quote.family() {
        Family::V4 => frame.view_at::<Ipv4>(quote.header_at())?.readdress(end, to),
        Family::V6 => frame.view_at::<Ipv6>(quote.header_at())?.readdress(end, to),
    };
    let changed = address.half(field.raw(), port.raw());
    field.set_raw(port.raw());
    let covered = changed.and(header);
    if quote.0 & Quote::SUMMED == 0 {
        return Some(covered);
    }
    let checksum: &Checksum = frame.view_at(quote.checksum_at())?;
    let udp = matches!(quote.protocol(), Protocol::Udp);
    Some(covered.and(rewrite::change_checksum(&checksum.value, udp, changed)))
}

//! What nearly all packets are: IP without options, extensions or tags, of no fragment, with all of TCP's or UDP's header.
//!
//! Nothing but a shortcut: the same as [`parse`](crate::parse) makes of such a frame. But here it is a constant where each part
//! lies, so that in what follows the compiler computes no offset, and compares one bound where it would compare three.

use lb_common::net::{Addr, Port, Protocol};
use network_types::{eth::EtherType, ip::IpProto};

use crate::{
    frame::{Frame, Offset},
    headers::{Checksum, Ethernet, Ipv4, Ipv6, Ports, Tcp, Udp},
    ip::IpHeader as _,
    parse::{FRAGMENT_MASK, Family, Network, Packet, Shape, Signal, Transport},
};

const LINK: usize = size_of::<Ethernet>();

/// Where a plain IPv4 packet's header is, and an IPv6 one's.
pub const IPV4: Network = Network { begins: Offset::Constant(LINK), family: Family::V4 };
pub const IPV6: Network = Network { begins: Offset::Constant(LINK), family: Family::V6 };

/// RFC 791: version 4, and a header of five words.
const VERSION_4_OF_5_WORDS: u8 = 0x45;

/// An IPv4 packet, if the frame is a plain one.
#[inline(always)]
pub fn ipv4<'a>(frame: &Frame<'a>) -> Option<(Packet<'a>, Transport<'a>)> {
    const HEADER: usize = size_of::<Ipv4>();
    let (link, ip) = (frame.view::<Ethernet>(0)?, frame.view::<Ipv4>(LINK)?);
    let is_plain = link.ethertype.raw() == EtherType::Ipv4 as u16
        && ip.version_ihl.byte() == VERSION_4_OF_5_WORDS
        && ip.fragment.number() & FRAGMENT_MASK == 0;
    if !is_plain {
        return None;
    }
    let (length, number) = (ip.total_length.number(), ip.protocol.byte());
    let transport = transport(frame, LINK + HEADER, number, LINK + usize::from(length))?;
    let (source, destination) = (Addr::v4(ip.source.get()), Addr::v4(ip.destination.get()));
    let shape = Shape::new(LINK as u64, HEADER as u64, length, number, 0);
    Some((Packet { link, source, destination, shape }, transport))
}

/// An IPv6 packet, if the frame is a plain one.
#[inline(always)]
pub fn ipv6<'a>(frame: &Frame<'a>) -> Option<(Packet<'a>, Transport<'a>)> {
    const HEADER: usize = size_of::<Ipv6>();
    let (link, ip) = (frame.view::<Ethernet>(0)?, frame.view::<Ipv6>(LINK)?);
    if link.ethertype.raw() != EtherType::Ipv6 as u16 || ip.version_class_flow.get()[0] >> 4 != 6 {
        return None;
    }
    let (payload, number) = (ip.payload_length.number(), ip.next_header.byte());
    let length = (HEADER as u16).checked_add(payload)?;
    let transport = transport(frame, LINK + HEADER, number, LINK + usize::from(length))?;
    let (source, destination) = ip.ends()?;
    let shape = Shape::new(LINK as u64, HEADER as u64, length, number, Shape::IPV6);
    Some((Packet { link, source, destination, shape }, transport))
}

/// The transport header of this number, which begins `at` this byte of the frame, if it and the packet's `end` are there.
#[inline(always)]
fn transport<'a>(frame: &Frame<'a>, at: usize, number: u8, end: usize) -> Option<Transport<'a>> {
    let (size, protocol, signal, ports, checksum): (_, _, _, &Ports, &Checksum) = match number {
        TCP => {
            let tcp: &Tcp = frame.view(at)?;
            let signal = Signal::of_tcp_flags(tcp.flags.byte());
            (size_of::<Tcp>(), Protocol::Tcp, signal, &tcp.ports, &tcp.checksum)
        }
        UDP => {
            let udp: &Udp = frame.view(at)?;
            (size_of::<Udp>(), Protocol::Udp, Signal::DATAGRAM, &udp.ports, &udp.checksum)
        }
        _ => return None,
    };
    if at + size > end || end > frame.len() {
        return None;
    }
    let (source, destination) =
        (Port::from_wire(ports.source.get()), Port::from_wire(ports.destination.get()));
    Some(Transport { at: at as u64, ports, checksum, protocol, source, destination, signal })
}

const TCP: u8 = IpProto::Tcp as u8;
const UDP: u8 = IpProto::Udp as u8;

//! The answer to a SYN for a service without a usable server, and to a segment of a connection whose server is lost: RST
//! from the VIP, made of the segment itself.
//!
//! RFC 9293 section 3.10.7.1: to a segment with ACK, the sequence number that it acknowledges; to one without, 0, and what it
//! said is acknowledged. Never to a RST: none comes here.

use lb_common::{
    checksum::{fold, four, sum},
    net::Protocol,
    verdict::Verdict,
};

use crate::{
    Exit, Outcome,
    frame::Frame,
    headers::{Ipv4, Ipv6, Tcp},
    link,
    parse::{Family, Packet},
    tables::Tables,
};

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const HEADER_WORDS: u8 = 5;
const TCP_LENGTH: u16 = size_of::<Tcp>() as u16;
const HOPS: u8 = 64;

/// [`Verdict::DroppedNoServer`] for a segment with IP options or extension headers, which would have to be cut out.
#[inline(never)]
pub fn answer<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    match turn_round(frame, packet) {
        Some(length) => {
            link::turn(packet.link);
            let kept = packet.shape.link_length() + length;
            tables.trim((tables.frame_length() - kept) as usize);
            Outcome::sent(Verdict::RepliedReset, Exit::Back)
        }
        None => Verdict::DroppedNoServer.into(),
    }
}

/// Makes a RST of the segment, apart from MACs and tail. The length of the IP packet; `None`, with nothing changed, if that
/// cannot be done in place.
#[inline(always)]
fn turn_round(frame: &Frame<'_>, packet: &Packet<'_>) -> Option<u64> {
    let shape = packet.shape;
    let tcp: &Tcp = frame.view_at(shape.link_length() + shape.header_length())?;
    let headers = shape.header_length() as u32 + u32::from(tcp.offset.byte() >> 4) * 4;
    let payload = u32::from(shape.length()).checked_sub(headers)?;
    match shape.family() {
        Family::V4 => turn_ipv4(frame, packet)?,
        Family::V6 => turn_ipv6(frame, packet)?,
    }
    let flags = tcp.flags.byte();
    let (sequence, acknowledged, flags) = if flags & ACK != 0 {
        (u32::from_be_bytes(tcp.acknowledgment.get()), 0, RST)
    } else {
        // SYN and FIN are a sequence number each.
        let controls = u32::from(flags & SYN != 0) + u32::from(flags & FIN);
        let said = u32::from_be_bytes(tcp.sequence.get()).wrapping_add(controls).wrapping_add(payload);
        (0, said, RST | ACK)
    };
    let (client_port, vip_port) = (tcp.ports.source.get(), tcp.ports.destination.get());
    tcp.ports.source.set(vip_port);
    tcp.ports.destination.set(client_port);
    tcp.sequence.set(sequence.to_be_bytes());
    tcp.acknowledgment.set(acknowledged.to_be_bytes());
    tcp.offset.set([HEADER_WORDS << 4]);
    tcp.flags.set([flags]);
    tcp.window.set([0; 2]);
    tcp.urgent.set([0; 2]);
    // Both headers are of fixed size, so the sums are a handful of additions, not a loop over the packet.
    let length = TCP_LENGTH.to_be_bytes();
    let pseudo =
        sum(packet.source) + sum(packet.destination) + four([0, Protocol::Tcp as u8, length[0], length[1]]);
    let ports = four([vip_port[0], vip_port[1], client_port[0], client_port[1]]);
    let numbers = four(sequence.to_be_bytes()) + four(acknowledged.to_be_bytes());
    let rest = numbers + four([HEADER_WORDS << 4, flags, 0, 0]);
    tcp.checksum.value.set_raw(!fold(pseudo + ports + rest));
    Some(shape.header_length() + u64::from(TCP_LENGTH))
}

#[inline(always)]
fn turn_ipv4(frame: &Frame<'_>, packet: &Packet<'_>) -> Option<()> {
    let ip: &Ipv4 = frame.view_at(packet.shape.link_length())?;
    if packet.shape.header_length() != size_of::<Ipv4>() as u64 {
        return None;
    }
    let (client, vip) = (ip.source.get(), ip.destination.get());
    let length = (size_of::<Ipv4>() as u16 + TCP_LENGTH).to_be_bytes();
    ip.total_length.set(length);
    ip.fragment.set([0x40, 0]);
    ip.ttl.set([HOPS]);
    ip.source.set(vip);
    ip.destination.set(client);
    let first = four([ip.version_ihl.byte(), ip.tos.byte(), length[0], length[1]]);
    let second = four([ip.id.get()[0], ip.id.get()[1], 0x40, 0]);
    let third = four([HOPS, Protocol::Tcp as u8, 0, 0]);
    ip.checksum.set_raw(!fold(first + second + third + four(client) + four(vip)));
    Some(())
}

#[inline(always)]
fn turn_ipv6(frame: &Frame<'_>, packet: &Packet<'_>) -> Option<()> {
    let ip: &Ipv6 = frame.view_at(packet.shape.link_length())?;
    if packet.shape.next_header() != Protocol::Tcp as u8 {
        return None;
    }
    ip.payload_length.set(TCP_LENGTH.to_be_bytes());
    ip.hop_limit.set([HOPS]);
    ip.source.set_addr(packet.destination);
    ip.destination.set_addr(packet.source);
    Some(())
}

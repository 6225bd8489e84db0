//! The answer to a client's packet that does not fit into the tunnel to its server: from the VIP, how much would.
//!
//! "Fragmentation needed" (RFC 1191 section 4) or "packet too big" (RFC 4443 section 3.2), so that the client's path-MTU
//! discovery takes the tunnel in. Also where an IPv4 sender allows fragments, which nobody here makes: those who listen
//! send less, the others had been lost anyway.

use lb_common::{
    checksum::{fold, four, sum},
    entry::TunnelWay,
    net::Addr,
    verdict::Verdict,
};
use network_types::eth::EtherType;

use crate::{
    Exit, Outcome, arrival,
    director::Director,
    fragments,
    frame::Frame,
    headers::{Icmp, Ipv4, Ipv6, Start},
    icmp::{HOPS, ICMP, ICMPV6},
    inbound, link,
    parse::{self, Family, NoTransport, Packet, Shape},
    tables::Tables,
};

/// Type and code: destination unreachable, fragmentation needed.
const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];
const PACKET_TOO_BIG: [u8; 2] = [2, 0];
/// RFC 8200 section 5: what every link carries, and no sender goes below.
const LEAST_IPV6_MTU: u32 = 1280;

/// [`Verdict::DroppedTooBig`] if the client cannot be told, or has been told often enough.
#[inline(always)]
pub fn answer<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    let mtu = room(frame, packet, tables);
    if mtu == 0 || !Director::again(tables).is_some_and(|director| tables.may_answer(director.now)) {
        return Verdict::DroppedTooBig.into();
    }
    let message = Message { vip: packet.destination, client: packet.source, shape: packet.shape, mtu };
    link::turn(packet.link);
    match message.write(tables) {
        Some(excess) => {
            tables.trim(excess as usize);
            Outcome::sent(Verdict::RepliedTooBig, Exit::Back)
        }
        None => Verdict::DroppedTooBig.into(),
    }
}

/// The largest packet that would have fitted; 0 if it cannot be told, or this one is an error itself or a later part of a
/// datagram, about which none is sent (RFC 1122 section 3.2.2).
#[inline(never)]
fn room<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> u32 {
    let Some(director) = Director::again(tables) else { return 0 };
    let server = match parse::transport(frame, packet, tables) {
        Ok(transport) => arrival::owner(&director, &inbound::tuple(packet, &transport)),
        Err(NoTransport::Fragment) => fragments::destination(frame, packet, tables),
        Err(_) => None,
    };
    let Some(tunnel) = server.and_then(|id| tables.tunnel(id)) else { return 0 };
    TunnelWay::from_word(tunnel.way.load()).map_or(0, |way| u32::from(tunnel.room(way, director.now)))
}

struct Message {
    vip: Addr,
    client: Addr,
    shape: Shape,
    mtu: u32,
}

impl Message {
    /// Puts the headers in front of the packet, of which the beginning is quoted. How many bytes are too many then.
    #[inline(always)]
    fn write<T: Tables>(&self, tables: &T) -> Option<u64> {
        let at = self.shape.link_length();
        let (ip, ethertype) = match self.shape.family() {
            Family::V4 => (size_of::<Ipv4>(), EtherType::Ipv4),
            Family::V6 => (size_of::<Ipv6>(), EtherType::Ipv6),
        };
        let added = ip + size_of::<Icmp>();
        let frame = tables.moved(added as i32)?;
        link::advance(&frame, self.shape, added as u64, ethertype as u16)?;
        let quoted: &Start = frame.view_at(at + added as u64)?;
        let quote = quoted.words.iter().fold(0, |sum, word| sum + u64::from(word.raw()));
        let icmp: &Icmp = frame.view_at(at + ip as u64)?;
        match self.shape.family() {
            Family::V4 => {
                self.put_icmp(icmp, FRAGMENTATION_NEEDED, self.mtu, quote);
                self.put_ipv4(frame.view_at(at)?);
            }
            Family::V6 => {
                let length = ((size_of::<Icmp>() + size_of::<Start>()) as u32).to_be_bytes();
                let pseudo = sum(self.vip) + sum(self.client) + four(length) + four([0, 0, 0, ICMPV6]);
                self.put_icmp(icmp, PACKET_TOO_BIG, self.mtu.max(LEAST_IPV6_MTU), quote + pseudo);
                self.put_ipv6(frame.view_at(at)?);
            }
        }
        tables.frame_length().checked_sub(at + (added + size_of::<Start>()) as u64)
    }

    #[inline(always)]
    fn put_icmp(&self, icmp: &Icmp, [kind, code]: [u8; 2], mtu: u32, covered: u64) {
        let rest = mtu.to_be_bytes();
        icmp.kind.set([kind]);
        icmp.code.set([code]);
        icmp.rest.set(rest);
        icmp.checksum.set_raw(!fold(covered + four([kind, code, 0, 0]) + four(rest)));
    }

    #[inline(always)]
    fn put_ipv4(&self, ip: &Ipv4) {
        let length = (size_of::<Ipv4>() + size_of::<Icmp>() + size_of::<Start>()) as u16;
        let [high, low] = length.to_be_bytes();
        // Of so few bytes, none of which is sent twice: an atomic datagram (RFC 6864 section 4.1).
        let (first, second, third) = ([0x45, 0, high, low], [0, 0, 0x40, 0], [HOPS, ICMP, 0, 0]);
        ip.version_ihl.set([first[0]]);
        ip.tos.set([first[1]]);
        ip.total_length.set([high, low]);
        ip.id.set([second[0], second[1]]);
        ip.fragment.set([second[2], second[3]]);
        ip.ttl.set([HOPS]);
        ip.protocol.set([ICMP]);
        let (from, to) = (self.vip.low_word(), self.client.low_word());
        let ends = u64::from(from) + u64::from(to);
        ip.checksum.set_raw(!fold(four(first) + four(second) + four(third) + ends));
        ip.source.set_raw(from);
        ip.destination.set_raw(to);
    }

    #[inline(always)]
    fn put_ipv6(&self, ip: &Ipv6) {
        ip.version_class_flow.set([0x60, 0, 0, 0]);
        ip.payload_length.set(((size_of::<Icmp>() + size_of::<Start>()) as u16).to_be_bytes());
        ip.next_header.set([ICMPV6]);
        ip.hop_limit.set([HOPS]);
        ip.source.set_addr(self.vip);
        ip.destination.set_addr(self.client);
    }
}

//! What a client is told of a packet that goes no further: an ICMP error from the VIP (`docs/icmp.md`).
//!
//! | why | IPv4 (RFC 792) | IPv6 (RFC 4443) |
//! |---|---|---|
//! | no hop left | time exceeded in transit, 11/0 | 3/0 |
//! | does not fit into the tunnel | fragmentation needed, 3/4 (RFC 1191 section 4) | packet too big, 2/0 |
//! | UDP, and no server to refuse it | port unreachable, 3/3 | 1/4 |
//!
//! Never about an ICMP error or a later part of a datagram (RFC 1122 section 3.2.2), and limited in number.

use lb_common::{
    checksum::{fold, four, sum},
    entry::TunnelWay,
    net::{Addr, Protocol},
    slot::ServerId,
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
    rewrite,
    tables::Tables,
};

/// RFC 8200 section 5: what every link carries, and no sender goes below.
const LEAST_IPV6_MTU: u32 = 1280;

/// Words of a long packet that are quoted: more than any headers, and little enough for any MTU.
const MUCH: usize = 128;
/// Words of a short one: the bare header and the 64 bits behind it that RFC 792 asks for.
const LITTLE_V4: usize = (size_of::<Ipv4>() + 8) / 4;
const LITTLE_V6: usize = (size_of::<Ipv6>() + 8) / 4;

/// The answer; or, if the client cannot be told, or has been told often enough, the drop that says why.
#[inline(always)]
pub fn answer<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    let why = why(frame, packet, tables);
    let message = Message { vip: packet.destination, client: packet.source, shape: packet.shape, why };
    if !why.is_told() || !has_enough(packet.shape) || !is_allowed(tables) {
        return why.dropped().into();
    }
    match message.write(tables) {
        Some(excess) => {
            tables.trim(excess as usize);
            Outcome::sent(why.replied(), Exit::Back)
        }
        None => why.dropped().into(),
    }
}

/// So many in a tick.
#[inline(always)]
fn is_allowed<T: Tables>(tables: &T) -> bool {
    Director::again(tables).is_some_and(|director| tables.may_answer(director.now))
}

/// Why a packet goes no further: in one word, as a subprogram may return it. In the lower half, the MTU that is too small.
#[derive(Clone, Copy)]
struct Why(u64);

impl Why {
    const TOLD: u64 = 1 << 63;
    const REASON: u64 = 0xff << 32;
    const HOPS: u64 = 1 << 32;
    const SIZE: u64 = 2 << 32;
    const SERVER: u64 = 3 << 32;

    #[inline(always)]
    const fn told(reason: u64) -> Self {
        Self(reason | Self::TOLD)
    }

    #[inline(always)]
    const fn is_told(self) -> bool {
        self.0 & Self::TOLD != 0
    }

    #[inline(always)]
    const fn dropped(self) -> Verdict {
        match self.0 & Self::REASON {
            Self::HOPS => Verdict::DroppedTtl,
            Self::SIZE => Verdict::DroppedTooBig,
            _ => Verdict::DroppedNoServer,
        }
    }

    #[inline(always)]
    const fn replied(self) -> Verdict {
        match self.0 & Self::REASON {
            Self::HOPS => Verdict::RepliedTimeExceeded,
            Self::SIZE => Verdict::RepliedTooBig,
            _ => Verdict::RepliedUnreachable,
        }
    }

    /// Type, code, and what follows the checksum.
    #[inline(always)]
    const fn message(self, family: Family) -> ([u8; 2], [u8; 4]) {
        let mtu = self.0 as u32;
        match (self.0 & Self::REASON, family) {
            (Self::HOPS, Family::V4) => ([11, 0], [0; 4]),
            (Self::HOPS, Family::V6) => ([3, 0], [0; 4]),
            (Self::SIZE, Family::V4) => ([3, 4], mtu.to_be_bytes()),
            (Self::SIZE, Family::V6) => {
                let mtu = if mtu < LEAST_IPV6_MTU { LEAST_IPV6_MTU } else { mtu };
                ([2, 0], mtu.to_be_bytes())
            }
            (_, Family::V4) => ([3, 3], [0; 4]),
            (_, Family::V6) => ([1, 4], [0; 4]),
        }
    }
}

/// Found out once more, from the packet as it came: it costs the way of all others nothing.
#[inline(never)]
fn why<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Why {
    let Some(director) = Director::again(tables) else { return Why(Why::SERVER) };
    let expired = rewrite::has_hops_left(frame, packet.shape.network()).is_err();
    let server = match parse::transport(frame, packet, tables) {
        Ok(_) if expired => return Why::told(Why::HOPS),
        Err(_) if expired => return Why(Why::HOPS),
        Ok(transport) => {
            let is_datagram = transport.signal.is_datagram();
            let owner = arrival::owner(&director, &inbound::tuple(packet, &transport));
            let owner = owner.filter(|id| !is_datagram || may_keep(&director, *id, packet.shape));
            if owner.is_none() {
                return if is_datagram { Why::told(Why::SERVER) } else { Why(Why::SERVER) };
            }
            owner
        }
        Err(NoTransport::Fragment) => fragments::destination(frame, packet, tables),
        Err(_) => None,
    };
    match server.and_then(|id| room(&director, id)) {
        Some(mtu) => Why::told(Why::SIZE | u64::from(mtu)),
        None => Why(Why::SIZE),
    }
}

/// Whether a datagram that came here was on its way to this server. It leaves a dead one; and a drained one, unless its
/// connection is stored there, in which case only its size can have stopped it.
#[inline(always)]
fn may_keep<T: Tables>(director: &Director<'_, T>, id: ServerId, shape: Shape) -> bool {
    let Some(server) = director.server(id) else { return false };
    let is_too_big = || room(director, id).is_some_and(|room| shape.length() > room);
    server.state.takes_new() || server.state.alive() && is_too_big()
}

/// The largest packet that fits into the tunnel to this server.
#[inline(always)]
fn room<T: Tables>(director: &Director<'_, T>, id: ServerId) -> Option<u16> {
    let tunnel = director.tables.tunnel(id)?;
    Some(tunnel.room(TunnelWay::from_word(tunnel.way.load())?, director.now))
}

struct Message {
    vip: Addr,
    client: Addr,
    shape: Shape,
    why: Why,
}

impl Message {
    /// Puts the headers in front of the packet, of which the beginning is quoted. How many bytes are too many then.
    #[inline(always)]
    fn write<T: Tables>(&self, tables: &T) -> Option<u64> {
        let at = self.shape.link_length();
        let family = self.shape.family();
        let (ip, ethertype) = match family {
            Family::V4 => (size_of::<Ipv4>(), EtherType::Ipv4),
            Family::V6 => (size_of::<Ipv6>(), EtherType::Ipv6),
        };
        let added = ip + size_of::<Icmp>();
        let frame = tables.moved(added as i32)?;
        link::advance(&frame, self.shape, added as u64, ethertype as u16)?;
        link::turn(frame.view(0)?);
        let quote = Quoted::from(&frame, at + added as u64, self.shape)?;
        let icmp: &Icmp = frame.view_at(at + ip as u64)?;
        let length = size_of::<Icmp>() as u16 + quote.length;
        match family {
            Family::V4 => {
                self.put_icmp(icmp, quote.sum);
                self.put_ipv4(frame.view_at(at)?, length);
            }
            Family::V6 => {
                let number = four([0, 0, 0, ICMPV6]);
                let pseudo =
                    sum(self.vip) + sum(self.client) + four(u32::from(length).to_be_bytes()) + number;
                self.put_icmp(icmp, quote.sum + pseudo);
                self.put_ipv6(frame.view_at(at)?, length);
            }
        }
        tables.frame_length().checked_sub(at + ip as u64 + u64::from(length))
    }

    #[inline(always)]
    fn put_icmp(&self, icmp: &Icmp, covered: u64) {
        let ([kind, code], rest) = self.why.message(self.shape.family());
        icmp.kind.set([kind]);
        icmp.code.set([code]);
        icmp.rest.set(rest);
        icmp.checksum.set_raw(!fold(covered + four([kind, code, 0, 0]) + four(rest)));
    }

    #[inline(always)]
    fn put_ipv4(&self, ip: &Ipv4, payload: u16) {
        let [high, low] = (size_of::<Ipv4>() as u16 + payload).to_be_bytes();
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
    fn put_ipv6(&self, ip: &Ipv6, payload: u16) {
        ip.version_class_flow.set([0x60, 0, 0, 0]);
        ip.payload_length.set(payload.to_be_bytes());
        ip.next_header.set([ICMPV6]);
        ip.hop_limit.set([HOPS]);
        ip.source.set_addr(self.vip);
        ip.destination.set_addr(self.client);
    }
}

#[inline(always)]
fn is_long(shape: Shape) -> bool {
    usize::from(shape.length()) >= size_of::<Start<MUCH>>()
}

/// Whether the ports would be in the quote. They would not in that of a short packet with options or extension headers.
#[inline(always)]
fn has_enough(shape: Shape) -> bool {
    let bare = match shape.family() {
        Family::V4 => size_of::<Ipv4>(),
        Family::V6 => size_of::<Ipv6>(),
    };
    is_long(shape)
        || shape.header_length() == bare as u64 && Protocol::from_number(shape.next_header()).is_some()
}

/// The beginning of the packet that an error is about.
struct Quoted {
    /// Of its words, for the checksum.
    sum: u64,
    length: u16,
}

impl Quoted {
    /// In one of two lengths, so that the checksum needs no loop of unknown length.
    #[inline(always)]
    fn from(frame: &Frame<'_>, at: u64, shape: Shape) -> Option<Self> {
        if is_long(shape) {
            return Self::of::<MUCH>(frame, at);
        }
        match shape.family() {
            Family::V4 => Self::of::<LITTLE_V4>(frame, at),
            Family::V6 => Self::of::<LITTLE_V6>(frame, at),
        }
    }

    #[inline(always)]
    fn of<const WORDS: usize>(frame: &Frame<'_>, at: u64) -> Option<Self> {
        let quoted: &Start<WORDS> = frame.view_at(at)?;
        let sum = quoted.words.iter().fold(0, |sum, word| sum + u64::from(word.raw()));
        Some(Self { sum, length: size_of::<Start<WORDS>>() as u16 })
    }
}

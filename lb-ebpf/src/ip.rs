//! The IP header of either family, changed in place. Apart from parsing, the only file in which the families differ.

use lb_common::{checksum::Delta, net::Addr};

use crate::{
    frame::{Frame, Header},
    headers::{Ipv4, Ipv6},
    parse::{Family, Network, Shape},
};

/// One end of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Source,
    Destination,
}

impl End {
    /// That of a header's two fields which is this end's.
    #[inline(always)]
    pub const fn of<T: Copy>(self, source: T, destination: T) -> T {
        match self {
            Self::Source => source,
            Self::Destination => destination,
        }
    }
}

/// A hop less, in the half of an IPv4 header that also says the protocol.
const HOP: Delta = Delta::none().half(u16::from_ne_bytes([1, 0]), 0);

/// The end that gets another address, and that address.
pub type Change = Option<(End, Addr)>;

/// What forwarding does to a header.
pub trait IpHeader: Header {
    /// TTL or hop limit.
    fn hop_limit(&self) -> u8;
    /// Spends one hop of at least one and changes an address; the header's own checksum follows. What the transport's checksum must take
    /// in is the answer (its pseudo-header: RFC 9293 section 3.1, RFC 8200 section 8.1).
    fn forward(&self, change: Change) -> Delta;
    /// Source and destination; none if an IPv6 packet names a mapped IPv4 address. In our keys that would be the IPv4 one; on
    /// the wire it is nobody's (RFC 4291 section 2.5.5.2).
    fn ends(&self) -> Option<(Addr, Addr)>;
    /// Changes an address where the packet is only quoted: no hop is spent. How the addresses changed, and how the header's
    /// own checksum did, which a sum over the quote covers as well.
    fn readdress(&self, end: End, to: Addr) -> (Delta, Delta);
    /// Makes the packet an answer to its sender.
    fn turn(&self, hops: u8);
}

impl Ipv4 {
    #[inline(always)]
    fn put(&self, end: End, to: Addr) -> Delta {
        let field = end.of(&self.source, &self.destination);
        let delta = Delta::none().word(field.raw(), to.low_word());
        field.set_raw(to.low_word());
        delta
    }
}

impl IpHeader for Ipv4 {
    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.ttl.byte()
    }

    #[inline(always)]
    fn forward(&self, change: Change) -> Delta {
        let ttl = self.ttl.byte();
        self.ttl.set([ttl.wrapping_sub(1)]);
        let Some((end, to)) = change else {
            self.checksum.set_raw(HOP.apply_alone(self.checksum.raw()));
            return Delta::none();
        };
        let delta = self.put(end, to);
        self.checksum.set_raw(HOP.and(delta).apply(self.checksum.raw()));
        delta
    }

    #[inline(always)]
    fn ends(&self) -> Option<(Addr, Addr)> {
        Some((Addr::v4(self.source.get()), Addr::v4(self.destination.get())))
    }

    #[inline(always)]
    fn readdress(&self, end: End, to: Addr) -> (Delta, Delta) {
        let delta = self.put(end, to);
        let (old, new) = (self.checksum.raw(), delta.apply(self.checksum.raw()));
        self.checksum.set_raw(new);
        (delta, Delta::none().half(old, new))
    }

    #[inline(always)]
    fn turn(&self, hops: u8) {
        let (source, destination) = (self.source.get(), self.destination.get());
        self.source.set(destination);
        self.destination.set(source);
        let (ttl, protocol) = (self.ttl.byte(), self.protocol.byte());
        let delta =
            Delta::none().half(u16::from_ne_bytes([ttl, protocol]), u16::from_ne_bytes([hops, protocol]));
        self.ttl.set([hops]);
        self.checksum.set_raw(delta.apply(self.checksum.raw()));
    }
}

impl Ipv6 {
    #[inline(always)]
    fn put(&self, end: End, to: Addr) -> Delta {
        let field = end.of(&self.source, &self.destination);
        let delta = Delta::none().address(field.addr(), to);
        field.set_addr(to);
        delta
    }
}

impl IpHeader for Ipv6 {
    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.hop_limit.byte()
    }

    #[inline(always)]
    fn forward(&self, change: Change) -> Delta {
        self.hop_limit.set([self.hop_limit.byte().wrapping_sub(1)]);
        change.map_or(Delta::none(), |(end, to)| self.put(end, to))
    }

    #[inline(always)]
    fn ends(&self) -> Option<(Addr, Addr)> {
        let (source, destination) = (self.source.addr(), self.destination.addr());
        (source.as_v4().is_none() && destination.as_v4().is_none()).then_some((source, destination))
    }

    #[inline(always)]
    fn readdress(&self, end: End, to: Addr) -> (Delta, Delta) {
        (self.put(end, to), Delta::none())
    }

    #[inline(always)]
    fn turn(&self, hops: u8) {
        let (source, destination) = (self.source.addr(), self.destination.addr());
        self.source.set_addr(destination);
        self.destination.set_addr(source);
        self.hop_limit.set([hops]);
    }
}

/// The packet's TTL or hop limit.
#[inline(always)]
pub fn hop_limit(frame: &Frame<'_>, network: Network) -> Option<u8> {
    match network.family {
        Family::V4 => frame.view_from::<Ipv4>(network.begins).map(IpHeader::hop_limit),
        Family::V6 => frame.view_from::<Ipv6>(network.begins).map(IpHeader::hop_limit),
    }
}

/// [`IpHeader::forward`] of the packet's header.
#[inline(always)]
pub fn forward(frame: &Frame<'_>, network: Network, change: Change) -> Option<Delta> {
    match network.family {
        Family::V4 => frame.view_from::<Ipv4>(network.begins).map(|ip| ip.forward(change)),
        Family::V6 => frame.view_from::<Ipv6>(network.begins).map(|ip| ip.forward(change)),
    }
}

/// Spends one hop and changes both addresses, like [`forward`].
#[inline(always)]
pub fn forward_between(frame: &Frame<'_>, shape: Shape, source: Addr, destination: Addr) -> Option<Delta> {
    let at = shape.link_length();
    let change = Some((End::Destination, destination));
    match shape.family() {
        Family::V4 => {
            let ip = frame.view_at::<Ipv4>(at)?;
            Some(ip.forward(change).and(ip.readdress(End::Source, source).0))
        }
        Family::V6 => {
            let ip = frame.view_at::<Ipv6>(at)?;
            Some(ip.forward(change).and(ip.readdress(End::Source, source).0))
        }
    }
}

/// [`IpHeader::turn`] of the packet's header.
#[inline(always)]
pub fn turn(frame: &Frame<'_>, shape: Shape, hops: u8) -> Option<()> {
    let at = shape.link_length();
    match shape.family() {
        Family::V4 => frame.view_at::<Ipv4>(at).map(|ip| ip.turn(hops)),
        Family::V6 => frame.view_at::<Ipv6>(at).map(|ip| ip.turn(hops)),
    }
}

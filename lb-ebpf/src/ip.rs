//! The IP header of either family, changed in place. Apart from parsing, the only file in which the families differ.

use lb_common::{checksum::Delta, net::Addr};

use crate::{
    frame::{Frame, Header},
    headers::{Ipv4, Ipv6},
    parse::{Family, Packet},
};

/// What becomes of a packet's addresses on its way.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    Nothing,
    Source(Addr),
    Destination(Addr),
}

/// What forwarding does to a header.
pub trait IpHeader: Header {
    /// TTL or hop limit.
    fn hop_limit(&self) -> u8;
    /// Spends one hop and changes an address; the header's own checksum follows. What the transport's checksum must take
    /// in is the answer (its pseudo-header: RFC 9293 section 3.1, RFC 8200 section 8.1).
    fn forward(&self, change: Change) -> Delta;
}

impl IpHeader for Ipv4 {
    #[inline(always)]
    fn hop_limit(&self) -> u8 {
        self.ttl.byte()
    }

    #[inline(always)]
    fn forward(&self, change: Change) -> Delta {
        let (ttl, protocol) = (self.ttl.byte(), self.protocol.byte());
        let hop = Delta::none()
            .half(u16::from_ne_bytes([ttl, protocol]), u16::from_ne_bytes([ttl.wrapping_sub(1), protocol]));
        self.ttl.set([ttl.wrapping_sub(1)]);
        let (field, to) = match change {
            Change::Nothing => {
                self.checksum.set_raw(hop.apply(self.checksum.raw()));
                return Delta::none();
            }
            Change::Source(to) => (&self.source, to.low_word()),
            Change::Destination(to) => (&self.destination, to.low_word()),
        };
        let old = field.raw();
        field.set_raw(to);
        self.checksum.set_raw(hop.word(old, to).apply(self.checksum.raw()));
        Delta::none().word(old, to)
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
        let (field, to) = match change {
            Change::Nothing => return Delta::none(),
            Change::Source(to) => (&self.source, to),
            Change::Destination(to) => (&self.destination, to),
        };
        let old = field.addr();
        field.set_addr(to);
        Delta::none().address(old, to)
    }
}

/// The packet's TTL or hop limit.
#[inline(always)]
pub fn hop_limit(frame: &Frame<'_>, packet: &Packet<'_>) -> Option<u8> {
    let at = packet.shape.link_length();
    match packet.shape.family() {
        Family::V4 => frame.view_at::<Ipv4>(at).map(IpHeader::hop_limit),
        Family::V6 => frame.view_at::<Ipv6>(at).map(IpHeader::hop_limit),
    }
}

/// [`IpHeader::forward`] of the packet's header.
#[inline(always)]
pub fn forward(frame: &Frame<'_>, packet: &Packet<'_>, change: Change) -> Option<Delta> {
    let at = packet.shape.link_length();
    match packet.shape.family() {
        Family::V4 => frame.view_at::<Ipv4>(at).map(|ip| ip.forward(change)),
        Family::V6 => frame.view_at::<Ipv6>(at).map(|ip| ip.forward(change)),
    }
}

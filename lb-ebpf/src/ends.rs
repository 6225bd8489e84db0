//! Whether a frame has the ends that a capture asks for.

use lb_common::capture::{Filter, PORTLESS};

use crate::{frame::Frame, parse, tables::Tables};

/// Those that it has, bits of [`Filter`]. What is no IP packet has none; what has no ports that can be read (a part of a
/// datagram, ICMP) has addresses alone.
#[inline(always)]
pub fn found<T: Tables>(frame: &Frame<'_>, tables: &T, filter: &Filter) -> u64 {
    if filter.ends() == 0 {
        return 0;
    }
    let Ok(packet) = parse::network(frame, tables) else { return 0 };
    let (source, destination) = match parse::transport(frame, &packet, tables) {
        Ok(transport) => (u64::from(transport.source.raw()), u64::from(transport.destination.raw())),
        Err(_) => (PORTLESS, PORTLESS),
    };
    filter.ends_at(&packet.source, source) | filter.ends_at(&packet.destination, destination)
}

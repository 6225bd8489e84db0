//! What may be done with a part of a datagram: the first goes as the whole would, the others go where it went.

use std::net::IpAddr;

use super::reading::Reading;
use super::rewriting::{End, Expected};
use super::{Alternative, Fate, Oracle};
use crate::datapath::world::{Hop, Mode, Side};

/// Ticks after which the others are waited for no longer.
const WAIT: u64 = 28;
/// Ticks beyond which a note's stamp cannot count.
const COUNTABLE: u64 = 500;

/// What tells one datagram's parts from another's. The protocol counts in IPv4 alone (RFC 8200 section 4.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Datagram {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: Option<u8>,
    pub id: u32,
}

/// Where its first part went, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Trail {
    pub server: usize,
    pub heading: Heading,
    pub since: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Heading {
    ToServer,
    ToClient,
}

impl Alternative {
    /// If this is a first part, it is known from then on where it went.
    pub(super) fn leaving(self, packet: &Reading, server: usize, heading: Heading, since: u64) -> Self {
        let trail = Trail { server, heading, since };
        Self { trail: packet.datagram.map(|datagram| (datagram, trail)), ..self }
    }
}

impl Oracle {
    /// A later part to a VIP.
    pub(super) fn later_to_vip(&self, from: Side, frame: &[u8], packet: &Reading) -> Vec<Alternative> {
        self.trails(packet, Heading::ToServer)
            .into_iter()
            .map(|trail| {
                let Some(server) = trail.filter(|server| self.service_of(*server).vip == packet.destination)
                else {
                    return Alternative::dropped("dropped_fragment");
                };
                if let Mode::Tunnel(tunnel) = &self.service_of(server).mode {
                    return self.through_tunnel(from, frame, packet, server, tunnel);
                }
                let hop = match Self::way_out(packet, self.way_to_server(server)) {
                    Ok(hop) => hop,
                    Err(verdict) => return Alternative::dropped(verdict),
                };
                let expected = Expected::forwarded(frame, packet, hop.mac, hop.side.mac());
                if self.service_of(server).mode == Mode::Dr {
                    return Alternative::of("forwarded_dr", Fate::Sent(hop.side, expected));
                }
                let expected = expected.address(packet, End::Destination, self.server(server).address);
                let neighbour = Hop { side: from, mac: std::array::from_fn(|i| frame[6 + i]) };
                Alternative {
                    heard: Some((packet.source, neighbour)),
                    ..Alternative::of("forwarded_nat", Fate::Sent(hop.side, expected))
                }
            })
            .collect()
    }

    /// A later part from a NAT server.
    pub(super) fn later_from_server(&self, frame: &[u8], packet: &Reading) -> Vec<Alternative> {
        self.trails(packet, Heading::ToClient)
            .into_iter()
            .map(|trail| {
                let Some(server) = trail.filter(|server| self.server(*server).address == packet.source)
                else {
                    return Alternative::passed("passed_unexplained");
                };
                let hop = match Self::way_out(packet, self.way_to_client(packet.destination)) {
                    Ok(hop) => hop,
                    Err(verdict) => return Alternative::dropped(verdict),
                };
                let expected = Expected::forwarded(frame, packet, hop.mac, hop.side.mac()).address(
                    packet,
                    End::Source,
                    self.service_of(server).vip,
                );
                Alternative::of("forwarded_nat_reply", Fate::Sent(hop.side, expected))
            })
            .collect()
    }

    /// The servers to or from which the datagram's first part may have gone.
    fn trails(&self, packet: &Reading, heading: Heading) -> Vec<Option<usize>> {
        let known = packet.datagram.and_then(|datagram| self.trails.get(&datagram));
        let Some(trails) = known else { return vec![None] };
        let mut all = Vec::new();
        for trail in trails {
            let good = trail.filter(|trail| trail.heading == heading && !self.server(trail.server).freed);
            let server = good.map(|trail| trail.server);
            match good.map_or(0, |trail| self.now - trail.since) {
                0..=WAIT => all.push(server),
                // Nobody wipes notes out: after a wrap of its stamp one may be believed once more.
                COUNTABLE.. => all.extend([None, server]),
                _ => all.push(None),
            }
        }
        all
    }
}

//! Whom a packet of QUIC names: the server that its destination connection id calls by its id.

use super::Oracle;
use super::reading::{Reading, Segment};
use super::tables::is_alive;
use crate::datapath::world::Protocol;

impl Oracle {
    /// The server that this packet to a VIP is for, whatever its flow. A first part goes the way of its flow.
    pub(super) fn named_by(&self, frame: &[u8], packet: &Reading, segment: &Segment) -> Option<usize> {
        if segment.protocol != Protocol::Udp || packet.datagram.is_some() {
            return None;
        }
        let service = self.listener(packet.destination, segment.destination, Protocol::Udp)?;
        let format = self.world.services[service].quic?;
        let payload = frame.get(segment.at + 8..packet.end)?;
        let id = if payload.first()? < &0x80 {
            &payload[1..]
        } else {
            let (length, rest) = payload.get(5..)?.split_first()?;
            &rest[..rest.len().min((*length).into())]
        };
        let (first, rest) = id.split_first()?;
        let called = rest.get(..format.length() as usize)?;
        let mut servers = self.world.servers.iter();
        let number = servers
            .position(|(of, server)| of.0 == service && server.quic == Some(called) && is_alive(server));
        number.filter(|_| first >> 5 == format.config())
    }

    /// Whether packets to this server's service may name their server themselves, and the other is of that service, too.
    pub(super) fn are_named_alike(&self, server: usize, other: usize) -> bool {
        let same = self.world.servers[server].0 == self.world.servers[other].0;
        same && !self.server(other).freed && self.service_of(server).quic.is_some()
    }
}

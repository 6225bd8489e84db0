//! What goes through a tunnel: what is put around it, and who is told that it does not fit.

use std::net::IpAddr;

use super::notices::Notice;
use super::reading::{Inside, Reading};
use super::rewriting::Expected;
use super::{Alternative, Belief, Fate, Flow, Oracle};
use crate::datapath::world::{Mode, Side, Tunnel};
use crate::packet::{Ipv4, Ipv6, Transport, Udp};

/// For so many ticks a router's word about a tunnel counts.
const BELIEVED: u64 = 560;
/// What every link must carry.
const LEAST: usize = 576;

/// What a router has said of the way to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Told {
    pub server: usize,
    room: usize,
    since: u64,
}

fn overhead(tunnel: &Tunnel) -> usize {
    let ip = if tunnel.source.is_ipv4() { 20 } else { 40 };
    ip + if tunnel.gue.is_some() { 8 } else { 0 }
}

impl Oracle {
    /// A packet, or a part of one, on its way to a server behind a tunnel.
    pub(super) fn through_tunnel(
        &self,
        from: Side,
        frame: &[u8],
        packet: &Reading,
        server: usize,
        tunnel: &Tunnel,
    ) -> Alternative {
        if packet.hops <= 1 {
            return match packet.datagram {
                None => Notice::EXPIRED.about(from, frame, packet),
                Some(_) => Alternative::dropped("dropped_ttl"),
            };
        }
        let room = self.room(server, tunnel);
        if packet.end - packet.ip > room {
            return Notice::too_big(room, packet).about(from, frame, packet);
        }
        let Some(hop) = self.way_to_server(server) else {
            return Alternative::dropped("dropped_no_next_hop");
        };
        let inside = Expected::forwarded(frame, packet, hop.mac, hop.side.mac());
        let expected = inside.within(packet, &self.outer(frame, packet, server, tunnel));
        let verdict = if packet.icmp().is_some() { "forwarded_icmp" } else { "forwarded_tunnel" };
        Alternative::of(verdict, Fate::Sent(hop.side, expected))
    }

    /// The largest packet that fits in, bytes.
    fn room(&self, server: usize, tunnel: &Tunnel) -> usize {
        let own = usize::from(tunnel.mtu) - overhead(tunnel);
        let told = self.told.get(&server).filter(|told| self.now - told.since <= BELIEVED);
        told.map_or(own, |told| own.min(told.room))
    }

    /// The headers around the packet, without what is the flow's: a flow label or a UDP source port.
    fn outer(&self, frame: &[u8], packet: &Reading, server: usize, tunnel: &Tunnel) -> Vec<u8> {
        let class = if packet.source.is_ipv4() {
            frame[packet.ip + 1]
        } else {
            frame[packet.ip] << 4 | frame[packet.ip + 1] >> 4
        };
        let inner = frame[packet.ip..packet.end].to_vec();
        let transport = match tunnel.gue {
            Some(port) => Udp::new(0, port, inner).without_checksum().into(),
            None => Transport::Raw { protocol: if packet.source.is_ipv4() { 4 } else { 41 }, bytes: inner },
        };
        let mut whole = match (tunnel.source, self.server(server).address) {
            (IpAddr::V4(source), IpAddr::V4(server)) => {
                let outer = Ipv4::new(source, server, transport);
                Ipv4 { traffic_class: class, identification: 0, ..outer }.bytes()
            }
            (IpAddr::V6(source), IpAddr::V6(server)) => {
                Ipv6::new(source, server, transport).traffic_class(class).bytes()
            }
            _ => unreachable!("source and server are of one family"),
        };
        whole.truncate(overhead(tunnel));
        whole
    }

    /// An error that is about a packet of a tunnel, if it comes to one who sends such packets, and what it may have taught.
    pub(super) fn error_about_tunnel(
        &self,
        frame: &[u8],
        packet: &Reading,
        otherwise: Vec<Alternative>,
    ) -> Vec<Alternative> {
        let Some((mtu, inside)) = packet.narrow_tunnel(frame) else { return otherwise };
        let Inside { outer, quote } = inside;
        if outer.0 != packet.destination || !self.world.flows {
            return otherwise;
        }
        let flow = Flow {
            client: quote.source,
            client_port: quote.source_port,
            vip: quote.destination,
            vip_port: quote.destination_port,
            protocol: quote.protocol,
        };
        let learned = |belief: Belief| {
            let server = belief.map(|connection| connection.server)?;
            let Mode::Tunnel(tunnel) = &self.service_of(server).mode else { return None };
            let room = mtu.saturating_sub(overhead(tunnel));
            let known = !self.server(server).freed && self.server(server).address == outer.1;
            let news = (LEAST..self.room(server, tunnel)).contains(&room);
            (known && news).then_some(Told { server, room, since: self.now })
        };
        let mut all = Vec::new();
        for belief in self.beliefs(&flow) {
            match learned(belief) {
                Some(told) => {
                    let passed = Alternative::passed("passed_path_mtu").storing(flow, belief);
                    all.push(Alternative { told: Some(told), ..passed });
                }
                None => all.extend(otherwise.iter().map(|other| other.clone().storing(flow, belief))),
            }
        }
        all
    }
}

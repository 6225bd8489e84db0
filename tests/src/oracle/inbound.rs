//! What may be done with a packet to a VIP.

use std::net::IpAddr;

use super::leases::Port;
use super::life::{Connection, Sight, Stage};
use super::notices::{self, Notice};
use super::parts::Heading;
use super::reading::{Body, Message, Quote, Reading, Segment, Word, number};
use super::rewriting::{End, Expected};
use super::tables::{is_alive, takes_new};
use super::{Alternative, Belief, Fate, Flow, Oracle};
use crate::datapath::world::{Hop, Lost, Mode, Protocol, Side};
use crate::packet::{Ipv4, Ipv6, Network, Tcp, TcpFlags};

impl Oracle {
    pub(super) fn to_vip(&self, from: Side, frame: &[u8], packet: &Reading) -> Vec<Alternative> {
        match &packet.body {
            Body::Unreadable => vec![Alternative::dropped("dropped_fragment")],
            Body::Later => self.later_to_vip(from, frame, packet),
            Body::Cut => vec![Alternative::passed("passed_malformed")],
            Body::Sctp => vec![Alternative::passed("passed_sctp")],
            Body::Other => self.message_to_vip(from, frame, packet),
            Body::Segment(segment) => {
                let arrival = Arrival { from, frame, packet, segment };
                let flow = arrival.flow();
                if let Some(service) = self.by_full_nat(&flow) {
                    return self.to_full_nat(&arrival, service);
                }
                let named = self.named_by(frame, packet, segment);
                if !self.world.flows {
                    return self.admit(&arrival, None, named);
                }
                let beliefs = self.beliefs(&flow).into_iter();
                beliefs.flat_map(|belief| self.met(&arrival, belief, named)).collect()
            }
        }
    }

    /// If this is what is stored for the packet's flow, and it names this server itself. What is stored nowhere may be held by
    /// another director: then it goes there as if it were stored, and is from then on.
    fn met(&self, arrival: &Arrival<'_>, belief: Belief, named: Option<usize>) -> Vec<Alternative> {
        let Some(connection) = belief.or_else(|| self.held_elsewhere(&arrival.flow())) else {
            return self.admit(arrival, None, named);
        };
        let mut all = Vec::new();
        for stays in self.stays(&connection, arrival.segment) {
            if !stays && self.ends(&connection, arrival.segment) {
                let ended =
                    belief.map(|stored| Connection { stage: Stage::Closed, seen: self.now, ..stored });
                all.push(arrival.refused().storing(arrival.flow(), ended));
                continue;
            }
            if !stays {
                all.extend(self.admit(arrival, belief, named));
                continue;
            }
            if let Some(other) = named.filter(|named| *named != connection.server) {
                all.push(self.deliver(arrival, other).storing(arrival.flow(), belief));
                continue;
            }
            let sight = match self.service_of(connection.server).mode {
                Mode::Nat | Mode::FullNat => Sight::Both,
                Mode::Dr | Mode::Tunnel(_) => Sight::ClientOnly,
            };
            let Segment { word, protocol, .. } = *arrival.segment;
            for after in connection.client_spoke(word, protocol, sight, self.now) {
                all.push(self.deliver(arrival, connection.server).storing(arrival.flow(), Some(after)));
            }
        }
        all
    }

    /// Whether a stored connection stays at its server. A live one does, whatever is sent.
    pub(super) fn stays(&self, connection: &Connection, segment: &Segment) -> Vec<bool> {
        let server = self.server(connection.server);
        let let_go = server.down && self.service_of(connection.server).lost != Lost::Kept;
        match (segment.protocol, segment.word) {
            _ if server.freed => vec![false],
            (Protocol::Udp, _) => vec![is_alive(server)],
            (Protocol::Tcp, Word::Syn) => {
                let welcome = match connection.stage {
                    // Where answers are not seen, one that was over in a moment looks like a handshake.
                    Stage::Asked | Stage::Answered => match self.service_of(connection.server).mode {
                        Mode::Nat | Mode::FullNat => is_alive(server),
                        Mode::Dr | Mode::Tunnel(_) => takes_new(server),
                    },
                    Stage::Open | Stage::HalfClosed => !let_go,
                    Stage::Closed => takes_new(server),
                };
                connection.is_over(self.now).into_iter().map(|over| !over && welcome).collect()
            }
            (Protocol::Tcp, Word::Rst) => vec![true],
            (Protocol::Tcp, _) => vec![!let_go],
        }
    }

    /// Whether whoever speaks on a connection that does not stay is told that it has ended.
    pub(super) fn ends(&self, connection: &Connection, segment: &Segment) -> bool {
        let server = self.server(connection.server);
        let is_lost = server.down && !server.freed && self.service_of(connection.server).lost == Lost::Reset;
        is_lost && segment.protocol == Protocol::Tcp && segment.word != Word::Syn
    }

    /// A packet without a server (any more): `old` still stands in the flow table.
    fn admit(&self, arrival: &Arrival<'_>, old: Belief, named: Option<usize>) -> Vec<Alternative> {
        let (packet, flow, word) = (arrival.packet, arrival.flow(), arrival.segment.word);
        let unstored = |alternative: Alternative| alternative.storing(flow, old);
        let Some(service) = self.listener(flow.vip, flow.vip_port, flow.protocol) else {
            return vec![unstored(Alternative::passed("passed_no_service"))];
        };
        if is_impossible(packet.source) || self.is_vip(packet.source) {
            return vec![unstored(Alternative::dropped("dropped_martian"))];
        }
        let mut all = Vec::new();
        let picks = match named {
            Some(_) => vec![(named, Vec::new())],
            None => self.picks(service, &flow, word),
        };
        for (server, facts) in picks {
            let alternative = match server {
                Some(server) if self.world.flows => {
                    self.deliver(arrival, server).storing(flow, Some(Connection::new(server, self.now)))
                }
                Some(server) => self.deliver(arrival, server),
                None => unstored(self.without_server(arrival, service)),
            };
            all.push(alternative.given(facts));
        }
        all
    }

    /// Nobody takes a packet to this service: whoever opens a connection is told, if that is wanted.
    pub(super) fn without_server(&self, arrival: &Arrival<'_>, service: usize) -> Alternative {
        let packet = arrival.packet;
        let is_told = packet.datagram.is_none() && self.world.services[service].reject;
        match (is_told, arrival.segment.protocol, arrival.segment.word) {
            (true, Protocol::Udp, _) if packet.hops <= 1 => arrival.told(&Notice::EXPIRED),
            (true, Protocol::Udp, _) => arrival.told(&Notice::UNREACHABLE),
            (true, Protocol::Tcp, Word::Syn) => arrival.refused(),
            _ => Alternative::dropped("dropped_no_server"),
        }
    }

    fn deliver(&self, arrival: &Arrival<'_>, server: usize) -> Alternative {
        self.send(arrival, server, None).leaving(arrival.packet, server, Heading::ToServer, self.now)
    }

    /// To this server, by full NAT from the port that was `lent`.
    pub(super) fn send(&self, arrival: &Arrival<'_>, server: usize, lent: Option<Port>) -> Alternative {
        let Arrival { from, frame, packet, segment } = *arrival;
        if let Mode::Tunnel(tunnel) = &self.service_of(server).mode {
            return self.through_tunnel(from, frame, packet, server, tunnel);
        }
        let hop = match Self::way_out(packet, self.way_to_server(server)) {
            Ok(hop) => hop,
            Err("dropped_ttl") if packet.datagram.is_none() => return arrival.told(&Notice::EXPIRED),
            Err(verdict) => return Alternative::dropped(verdict),
        };
        let expected = Expected::forwarded(frame, packet, hop.mac, hop.side.mac());
        if self.service_of(server).mode == Mode::Dr {
            return Alternative::of("forwarded_dr", Fate::Sent(hop.side, expected));
        }
        let port = match self.port_of(server) {
            0 => segment.destination,
            port => port,
        };
        let mut expected = expected
            .address(packet, End::Destination, self.server(server).address)
            .port(segment.at, End::Destination, port)
            .segment_sum(packet, segment.at, segment.protocol);
        if let Some((address, port)) = lent {
            expected = expected.address(packet, End::Source, address).port(segment.at, End::Source, port);
        }
        let verdict = if lent.is_some() { "forwarded_fullnat" } else { "forwarded_nat" };
        let neighbour = Hop { side: from, mac: std::array::from_fn(|i| frame[6 + i]) };
        Alternative {
            heard: Some((packet.source, neighbour)),
            ..Alternative::of(verdict, Fate::Sent(hop.side, expected))
        }
    }

    fn message_to_vip(&self, from: Side, frame: &[u8], packet: &Reading) -> Vec<Alternative> {
        match packet.message(frame) {
            Message::Other => vec![Alternative::passed("passed_not_balanced")],
            Message::Echo => vec![self.echo(from, frame, packet)],
            Message::Error => self.error_to_vip(from, frame, packet),
        }
    }

    fn echo(&self, from: Side, frame: &[u8], packet: &Reading) -> Alternative {
        let vip = packet.destination;
        let mut servers = self.world.servers.iter();
        let answers =
            servers.any(|(number, server)| self.world.services[number.0].vip == vip && server.weight > 0);
        let has_options = packet.source.is_ipv4() && packet.header > 20;
        let message = packet.icmp().filter(|_| {
            answers && !has_options && !is_impossible(packet.source) && !self.is_vip(packet.source)
        });
        let Some(message) = message else { return Alternative::passed("passed_not_balanced") };
        let reply = if vip.is_ipv6() { 129 } else { 0 };
        let expected =
            Expected::turned(frame, packet).with(message.start, &[reply]).message_sum(packet, message);
        Alternative::of("replied_echo", Fate::Sent(from, expected))
    }

    /// An error about a packet that was sent in the VIP's name goes to whoever sent it.
    fn error_to_vip(&self, from: Side, frame: &[u8], packet: &Reading) -> Vec<Alternative> {
        const UNMATCHED: Alternative = Alternative::passed("passed_icmp_unmatched");
        let quote = packet.quote(frame).filter(|quote| quote.source == packet.destination);
        let Some(quote) = quote else { return vec![UNMATCHED] };
        let flow = Flow {
            client: quote.destination,
            client_port: quote.destination_port,
            vip: quote.source,
            vip_port: quote.source_port,
            protocol: quote.protocol,
        };
        if self.by_full_nat(&flow).is_some() {
            return self.error_to_full_nat_server(frame, packet, &quote, flow, &UNMATCHED);
        }
        let mut all = Vec::new();
        let beliefs = if self.world.flows { self.beliefs(&flow) } else { vec![None] };
        for belief in beliefs {
            let stored = belief.map(|connection| connection.server);
            let stored = stored.filter(|server| !self.server(*server).freed);
            let held = || self.held_elsewhere(&flow).map(|connection| connection.server);
            if let Some(server) = if belief.is_some() { stored } else { held() } {
                all.push(self.forward_error(from, frame, packet, &quote, server).storing(flow, belief));
                continue;
            }
            let Some(service) = self.listener(flow.vip, flow.vip_port, flow.protocol) else {
                all.push(UNMATCHED.storing(flow, belief));
                continue;
            };
            for (server, facts) in self.derived(service, &flow) {
                let alternative = match server {
                    Some(server) => self.forward_error(from, frame, packet, &quote, server),
                    None => UNMATCHED,
                };
                all.push(alternative.storing(flow, belief).given(facts));
            }
        }
        all
    }

    fn forward_error(
        &self,
        from: Side,
        frame: &[u8],
        packet: &Reading,
        quote: &Quote,
        server: usize,
    ) -> Alternative {
        if let Mode::Tunnel(tunnel) = &self.service_of(server).mode {
            return self.through_tunnel(from, frame, packet, server, tunnel);
        }
        let hop = match Self::way_out(packet, self.way_to_server(server)) {
            Ok(hop) => hop,
            Err(verdict) => return Alternative::dropped(verdict),
        };
        let mut expected = Expected::forwarded(frame, packet, hop.mac, hop.side.mac());
        if self.service_of(server).mode == Mode::Nat {
            let address = self.server(server).address;
            let port = match self.port_of(server) {
                0 => quote.source_port,
                port => port,
            };
            expected = expected
                .address(packet, End::Destination, address)
                .quoted(quote, End::Source, address, port)
                .message_sum(packet, packet.ip + packet.header..packet.end);
        }
        Alternative::of("forwarded_icmp", Fate::Sent(hop.side, expected))
    }
}

/// A packet with ports that came to a VIP.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub from: Side,
    pub frame: &'a [u8],
    pub packet: &'a Reading,
    pub segment: &'a Segment,
}

impl Arrival<'_> {
    pub const fn flow(&self) -> Flow {
        Flow {
            client: self.packet.source,
            client_port: self.segment.source,
            vip: self.packet.destination,
            vip_port: self.segment.destination,
            protocol: self.segment.protocol,
        }
    }

    fn told(&self, notice: &Notice) -> Alternative {
        notice.about(self.from, self.frame, self.packet)
    }

    /// By a RST. Nothing but a whole datagram is answered.
    pub fn refused(&self) -> Alternative {
        match self.reset().filter(|_| self.packet.datagram.is_none()) {
            Some(reset) => Alternative::of("replied_reset", Fate::Sent(self.from, reset)),
            None => Alternative::dropped("dropped_no_server"),
        }
    }

    /// The RST that answers this segment, written from nothing (RFC 9293 section 3.10.7.1); `None` if it has more headers
    /// than the two, which would have to be cut out, or contradicts itself.
    fn reset(&self) -> Option<Expected> {
        let Self { frame, packet, segment, .. } = *self;
        let (tcp, bare) = (&frame[segment.at..], if packet.source.is_ipv6() { 40 } else { 20 });
        if segment.at != packet.ip + bare {
            return None;
        }
        let data = (packet.end - segment.at).checked_sub(usize::from(tcp[12] >> 4) * 4)?;
        let word = |at: usize| u32::from_be_bytes([tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let controls = u32::from(tcp[13] >> 1 & 1) + u32::from(tcp[13] & 1);
        let (sequence, acknowledgement, flags) = if tcp[13] & 0x10 != 0 {
            (word(8), 0, TcpFlags::RST)
        } else {
            let all = word(4).wrapping_add(controls).wrapping_add(data as u32);
            (0, all, TcpFlags::RST | TcpFlags::ACK)
        };
        let reset = Tcp {
            sequence,
            acknowledgement,
            window: 0,
            ..Tcp::new(segment.destination, segment.source, flags)
        };
        let network: Network = match (packet.destination, packet.source) {
            (IpAddr::V4(vip), IpAddr::V4(client)) => Ipv4 {
                traffic_class: frame[packet.ip + 1],
                identification: number(frame, packet.ip + 4)?,
                ..Ipv4::new(vip, client, reset)
            }
            .into(),
            (IpAddr::V6(vip), IpAddr::V6(client)) => {
                let first =
                    u32::from(number(frame, packet.ip)?) << 16 | u32::from(number(frame, packet.ip + 2)?);
                Ipv6::new(vip, client, reset)
                    .traffic_class((first >> 20) as u8)
                    .flow_label(first & 0x000f_ffff)
                    .into()
            }
            _ => return None,
        };
        Some(notices::back(frame, packet, network))
    }
}

/// Whether no client can have this address (RFC 6890, RFC 4291).
pub(super) fn is_impossible(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let first = address.octets()[0];
            first == 0 || address.is_loopback() || first >= 224
        }
        // The whole of ::/96, of which all but two addresses are history.
        IpAddr::V6(address) => address.is_multicast() || address.segments()[..6] == [0; 6],
    }
}

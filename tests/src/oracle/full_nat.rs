//! What may be done with a packet of full NAT: from a client to a VIP, or from a server to an address that it was sent from.

use std::net::IpAddr;

use super::inbound::{Arrival, is_impossible};
use super::leases::{Lease, Lent, Port};
use super::life::{Connection, Sight, Stage};
use super::reading::{Body, Message, Quote, Reading, Segment, Word};
use super::rewriting::{End, Expected};
use super::{Alternative, Fate, Flow, Oracle};
use crate::datapath::world::{Mode, Protocol};

impl Oracle {
    /// The service of this flow, if it is one by full NAT.
    pub(super) fn by_full_nat(&self, flow: &Flow) -> Option<usize> {
        let service = self.listener(flow.vip, flow.vip_port, flow.protocol)?;
        (self.world.services[service].mode == Mode::FullNat).then_some(service)
    }

    /// With or without a flow table: its ports are apart.
    pub(super) fn to_full_nat(&self, arrival: &Arrival<'_>, service: usize) -> Vec<Alternative> {
        if arrival.packet.datagram.is_some() {
            let is_martian = self.is_martian(arrival.packet);
            return vec![Alternative::dropped(if is_martian {
                "dropped_martian"
            } else {
                "dropped_fragment"
            })];
        }
        let leases = self.leases.of(&arrival.flow()).into_iter();
        leases.flat_map(|lent| self.held(arrival, service, lent)).collect()
    }

    /// If the packet's connection has this.
    fn held(&self, arrival: &Arrival<'_>, service: usize, lent: Lent) -> Vec<Alternative> {
        let Some(lease) = lent else { return self.open(arrival, service, None) };
        let Segment { word, protocol, .. } = *arrival.segment;
        let mut all = Vec::new();
        for stays in self.stays(&lease.connection, arrival.segment) {
            if !stays {
                all.extend(self.open(arrival, service, lent));
                continue;
            }
            for connection in lease.connection.client_spoke(word, protocol, Sight::Both, self.now) {
                all.push(self.send_from(arrival, Lease { connection, ..lease }));
            }
        }
        all
    }

    /// A packet that nobody takes (any more): if it opens a connection, that is given a server, and a port unless it had one.
    fn open(&self, arrival: &Arrival<'_>, service: usize, old: Lent) -> Vec<Alternative> {
        let flow = arrival.flow();
        let Segment { word, protocol, .. } = *arrival.segment;
        if self.is_martian(arrival.packet) {
            return vec![Alternative::dropped("dropped_martian").lending(flow, old)];
        }
        if protocol == Protocol::Tcp && word != Word::Syn {
            return vec![self.stray(arrival, old)];
        }
        let mut all = Vec::new();
        for (server, facts) in self.picks(service, &flow, word) {
            let Some(server) = server else {
                all.push(self.without_server(arrival, service).lending(flow, old).given(facts));
                continue;
            };
            let (ports, may_be_refused) = match old {
                Some(lease) => (vec![lease.port], false),
                None => self.lendable(flow.vip.is_ipv6()),
            };
            let connection = Connection::new(server, self.now);
            let sent = |port| self.send_from(arrival, Lease { connection, port }).given(facts.clone());
            all.extend(ports.into_iter().map(sent));
            if may_be_refused {
                all.push(Alternative::dropped("dropped_no_port").lending(flow, old).given(facts));
            }
        }
        all
    }

    /// Amid a connection that is not known, or whose server is lost, which ends it.
    fn stray(&self, arrival: &Arrival<'_>, old: Lent) -> Alternative {
        if !self.world.serving {
            return Alternative::dropped("dropped_not_serving").lending(arrival.flow(), old);
        }
        let end = |lease: Lease| {
            let server = self.server(lease.connection.server);
            let connection = Connection { stage: Stage::Closed, seen: self.now, ..lease.connection };
            if server.freed { lease } else { Lease { connection, ..lease } }
        };
        let answer = match arrival.segment.word {
            Word::Rst => Alternative::dropped("dropped_no_port"),
            _ => arrival.refused(),
        };
        answer.lending(arrival.flow(), old.map(end))
    }

    fn send_from(&self, arrival: &Arrival<'_>, lease: Lease) -> Alternative {
        self.send(arrival, lease.connection.server, Some(lease.port)).lending(arrival.flow(), Some(lease))
    }

    fn is_martian(&self, packet: &Reading) -> bool {
        is_impossible(packet.source) || self.is_vip(packet.source)
    }

    /// To an address that full NAT sends from, which is the director's own.
    pub(super) fn to_pool(&self, frame: &[u8], packet: &Reading) -> Vec<Alternative> {
        if packet.carries_icmp() {
            return self.message_to_pool(frame, packet);
        }
        // Parts of datagrams, and what has no ports, are the kernel's.
        let Body::Segment(segment) = &packet.body else {
            return vec![Alternative::passed("passed_not_ours")];
        };
        if packet.datagram.is_some() {
            return vec![Alternative::passed("passed_not_ours")];
        }
        let here = (packet.source, segment.source, segment.protocol);
        let (holders, is_certain) = self.holders((packet.destination, segment.destination), here);
        let mut all = Vec::new();
        for (flow, lease) in holders {
            let answer = self.answer_from_pool(frame, packet, segment, &flow, lease.connection.server);
            for connection in lease.connection.server_spoke(segment.word, self.now) {
                all.push(answer.clone().lending(flow, Some(Lease { connection, ..lease })));
            }
        }
        if !is_certain {
            all.push(self.unexplained(packet));
        }
        all
    }

    /// Whose connections with the server at this address and port may be sent from this port, and whether that is certain.
    fn holders(&self, port: Port, there: (IpAddr, u16, Protocol)) -> (Vec<(Flow, Lease)>, bool) {
        let mut holders = self.leases.at(port);
        holders.retain(|(flow, lease, _)| {
            let server = self.server(lease.connection.server);
            let reached = match self.port_of(lease.connection.server) {
                0 => flow.vip_port,
                port => port,
            };
            !server.freed && (server.address, reached, flow.protocol) == there
        });
        // Of one flow, for nobody has what is certainly another's.
        let certain = holders.iter().filter(|(.., certain)| *certain).count();
        let all = self.leases.at(port).len();
        (holders.iter().map(|(flow, lease, _)| (*flow, *lease)).collect(), certain > 0 && certain == all)
    }

    fn answer_from_pool(
        &self,
        frame: &[u8],
        packet: &Reading,
        segment: &Segment,
        flow: &Flow,
        server: usize,
    ) -> Alternative {
        let hop = match Self::way_out(packet, self.way_to_client(flow.client)) {
            Ok(hop) => hop,
            Err(verdict) => return Alternative::dropped(verdict),
        };
        let expected = Expected::forwarded(frame, packet, hop.mac, hop.side.mac())
            .address(packet, End::Source, flow.vip)
            .port(segment.at, End::Source, self.vip_port(server, segment.source))
            .address(packet, End::Destination, flow.client)
            .port(segment.at, End::Destination, flow.client_port)
            .segment_sum(packet, segment.at, segment.protocol);
        Alternative::of("forwarded_fullnat_reply", Fate::Sent(hop.side, expected))
    }

    /// A server, or a router on the way to it, has something to say about what was sent from there.
    fn message_to_pool(&self, frame: &[u8], packet: &Reading) -> Vec<Alternative> {
        let otherwise =
            if self.is_nat_server(packet.source) { "passed_unexplained" } else { "passed_not_ours" };
        let mut others = self.error_from_behind(frame, packet, otherwise);
        // The gate may take a stranger for a server.
        if otherwise == "passed_not_ours" {
            others.push(Alternative::passed("passed_unexplained"));
        }
        let quote = if packet.message(frame) == Message::Error { packet.quote(frame) } else { None };
        let Some(quote) = quote.filter(|quote| quote.source == packet.destination) else { return others };
        let there = (quote.destination, quote.destination_port, quote.protocol);
        let (holders, is_certain) = self.holders((quote.source, quote.source_port), there);
        let mut all = if is_certain { Vec::new() } else { others };
        for (flow, lease) in holders {
            let told = self.error_to_full_nat_client(frame, packet, &quote, &flow, lease.connection.server);
            all.push(told.lending(flow, Some(lease)));
        }
        all
    }

    fn error_to_full_nat_client(
        &self,
        frame: &[u8],
        packet: &Reading,
        quote: &Quote,
        flow: &Flow,
        server: usize,
    ) -> Alternative {
        let hop = match Self::way_out(packet, self.way_to_client(flow.client)) {
            Ok(hop) => hop,
            Err(verdict) => return Alternative::dropped(verdict),
        };
        let mut expected = Expected::forwarded(frame, packet, hop.mac, hop.side.mac());
        // A router on the way keeps its name.
        if packet.source == self.server(server).address {
            expected = expected.address(packet, End::Source, flow.vip);
        }
        let vip_port = self.vip_port(server, quote.destination_port);
        let expected = expected
            .address(packet, End::Destination, flow.client)
            .quoted(quote, End::Source, flow.client, flow.client_port)
            .quoted(quote, End::Destination, flow.vip, vip_port)
            .message_sum(packet, packet.ip + packet.header..packet.end);
        Alternative::of("forwarded_icmp_reply", Fate::Sent(hop.side, expected))
    }

    /// An error about what a client got by full NAT goes to the server, from whom it is sent to.
    pub(super) fn error_to_full_nat_server(
        &self,
        frame: &[u8],
        packet: &Reading,
        quote: &Quote,
        flow: Flow,
        otherwise: &Alternative,
    ) -> Vec<Alternative> {
        let told = |lent: Lent| {
            let known = lent.filter(|lease| !self.server(lease.connection.server).freed);
            let told = known.map(|lease| self.error_from_pool(frame, packet, quote, &lease));
            told.unwrap_or_else(|| otherwise.clone()).lending(flow, lent)
        };
        self.leases.of(&flow).into_iter().map(told).collect()
    }

    fn error_from_pool(&self, frame: &[u8], packet: &Reading, quote: &Quote, lease: &Lease) -> Alternative {
        let Lease { connection: Connection { server, .. }, port: (address, port) } = *lease;
        let hop = match Self::way_out(packet, self.way_to_server(server)) {
            Ok(hop) => hop,
            Err(verdict) => return Alternative::dropped(verdict),
        };
        let reached = match self.port_of(server) {
            0 => quote.source_port,
            port => port,
        };
        let there = self.server(server).address;
        let expected = Expected::forwarded(frame, packet, hop.mac, hop.side.mac())
            .address(packet, End::Source, address)
            .address(packet, End::Destination, there)
            .quoted(quote, End::Source, there, reached)
            .quoted(quote, End::Destination, address, port)
            .message_sum(packet, packet.ip + packet.header..packet.end);
        Alternative::of("forwarded_icmp", Fate::Sent(hop.side, expected))
    }
}

//! What may be done with a packet that is not to a VIP: a server's answer, an error about a client's packet, or a
//! stranger's.

use std::net::IpAddr;

use super::life::Connection;
use super::parts::Heading;
use super::reading::{Body, Message, Quote, Reading, Word};
use super::rewriting::{End, Expected};
use super::tables::Fact;
use super::{Alternative, Fate, Flow, Oracle};
use crate::datapath::world::{Mode, Protocol};

/// A packet as it was between a client and a real server.
struct Question {
    client: (IpAddr, u16),
    hit: u16,
    /// The pairs that are reached there.
    pairs: Vec<usize>,
    protocol: Protocol,
    word: Word,
}

/// Whose connection it may be, what must be true for that, and where it is stored if it is.
struct Explanation {
    server: Option<usize>,
    facts: Vec<Fact>,
    stored: Option<(Flow, Connection)>,
    /// Another director holds it, so that it may be stored from now on.
    told: Option<(Flow, Connection)>,
}

/// Which of the pairs have a connection that is stored nowhere.
#[derive(Clone, Default)]
struct Claims {
    /// By another director's word.
    told: Vec<(usize, Flow, Connection)>,
    /// By the tables, if that is true.
    derived: Vec<usize>,
    facts: Vec<Fact>,
}

impl Oracle {
    pub(super) fn not_to_vip(&self, frame: &[u8], packet: &Reading) -> Vec<Alternative> {
        // Nobody who may have this address is a client.
        if self.world.pool.addresses.contains(&packet.destination) {
            return self.to_pool(frame, packet);
        }
        if !self.is_nat_server(packet.source) {
            let mut all = self.error_from_behind(frame, packet, "passed_not_ours");
            // The gate may take a stranger for a server; where there are no ports to ask about, it stays so.
            if !matches!(packet.body, Body::Segment(_)) {
                all.push(Alternative::passed("passed_unexplained"));
            }
            return all;
        }
        if matches!(packet.body, Body::Later) {
            return self.later_from_server(frame, packet);
        }
        let Body::Segment(segment) = &packet.body else {
            return self.error_from_behind(frame, packet, "passed_unexplained");
        };
        let pairs = self.reached_at(packet.source, segment.source, segment.protocol);
        if pairs.is_empty() {
            return vec![Alternative::passed("passed_not_ours")];
        }
        let question = Question {
            client: (packet.destination, segment.destination),
            hit: segment.source,
            pairs,
            protocol: segment.protocol,
            word: segment.word,
        };
        let mut all = Vec::new();
        for Explanation { server, facts, stored, told } in self.explanations(&question) {
            // Parts of datagrams adopt nothing.
            let stored = stored.or_else(|| told.filter(|_| packet.datagram.is_none()));
            let Some(server) = server else {
                all.push(self.unexplained(packet).given(facts));
                continue;
            };
            let answer = self
                .answer(frame, packet, server, segment.at, segment.source, segment.protocol)
                .leaving(packet, server, Heading::ToClient, self.now);
            let Some((flow, connection)) = stored else {
                all.push(answer.given(facts));
                continue;
            };
            for after in connection.server_spoke(segment.word, self.now) {
                all.push(answer.clone().storing(flow, Some(after)));
            }
        }
        all
    }

    pub(super) fn is_nat_server(&self, address: IpAddr) -> bool {
        let mut servers = self.world.servers.iter();
        servers.any(|(number, server)| {
            server.address == address && !server.freed && self.world.services[number.0].mode == Mode::Nat
        })
    }

    /// A stored connection explains a packet; if none does, the only one that another director holds; or the only one that the
    /// tables would make.
    fn explanations(&self, question: &Question) -> Vec<Explanation> {
        let Question { client, hit, pairs, protocol, word } = question;
        let mut all = Vec::new();
        let mut open = vec![Claims::default()];
        for pair in pairs {
            let Some(flow) = self.flow_at(*pair, *client, *hit) else { continue };
            let beliefs = if self.world.flows { self.beliefs(&flow) } else { vec![None] };
            let here = |belief: &Option<Connection>| belief.filter(|one| one.server == *pair);
            for connection in beliefs.iter().filter_map(here) {
                let stored = Some((flow, connection));
                all.push(Explanation { server: Some(*pair), facts: Vec::new(), stored, told: None });
            }
            // Or another server's, of a service whose clients name their server in each packet.
            let besides = |belief: &Option<Connection>| {
                belief.is_some_and(|one| self.are_named_alike(*pair, one.server))
            };
            if beliefs.iter().any(|belief| here(belief).is_none() && besides(belief)) {
                all.push(Explanation { server: Some(*pair), facts: Vec::new(), stored: None, told: None });
            }
            // Where it certainly is stored, nobody asks further.
            if beliefs.iter().all(|belief| here(belief).is_some() || besides(belief)) {
                return all;
            }
            let told = self.held_elsewhere(&flow).filter(|one| one.server == *pair);
            let mut next = Vec::new();
            if let Some(connection) = told.filter(|_| beliefs.contains(&None)) {
                next.extend(open.iter().cloned().map(|mut claims| {
                    claims.told.push((*pair, flow, connection));
                    claims
                }));
            }
            // What is stored elsewhere is not asked about there.
            if told.is_none() || beliefs.iter().any(Option::is_some) {
                next.extend(open.iter().flat_map(|claims| self.claimed(*pair, &flow, claims)));
            }
            open = next;
        }
        let may_derive = match protocol {
            Protocol::Udp => self.world.derive_udp,
            // A bare SYN is the server's own connection.
            Protocol::Tcp => *word != Word::Syn,
        };
        let may_derive = may_derive && !self.world.locals.contains(&client.0);
        for Claims { told, derived, facts } in open {
            let (server, told) = match (&told[..], &derived[..]) {
                ([(server, flow, connection)], _) => (Some(*server), Some((*flow, *connection))),
                ([], [one]) if may_derive => (Some(*one), None),
                _ => (None, None),
            };
            all.push(Explanation { server, facts, stored: None, told });
        }
        all
    }

    /// These claims and, if the tables give it the connection, this pair's.
    fn claimed(&self, pair: usize, flow: &Flow, claims: &Claims) -> Vec<Claims> {
        if self.service_of(pair).port == 0 {
            return vec![claims.clone()];
        }
        let more = |(derives, facts): (bool, Vec<Fact>)| Claims {
            told: claims.told.clone(),
            derived: claims.derived.iter().copied().chain(derives.then_some(pair)).collect(),
            facts: [&claims.facts[..], &facts].concat(),
        };
        self.derives(pair, flow).into_iter().map(more).collect()
    }

    pub(super) fn unexplained(&self, packet: &Reading) -> Alternative {
        if self.world.locals.contains(&packet.destination) {
            Alternative::passed("passed_local")
        } else if self.world.serving {
            Alternative::passed("passed_unexplained")
        } else {
            Alternative::dropped("dropped_not_serving")
        }
    }

    /// The server's packet in the VIP's name.
    fn answer(
        &self,
        frame: &[u8],
        packet: &Reading,
        server: usize,
        at: usize,
        hit: u16,
        protocol: Protocol,
    ) -> Alternative {
        let hop = match Self::way_out(packet, self.way_to_client(packet.destination)) {
            Ok(hop) => hop,
            Err(verdict) => return Alternative::dropped(verdict),
        };
        let expected = Expected::forwarded(frame, packet, hop.mac, hop.side.mac())
            .address(packet, End::Source, self.service_of(server).vip)
            .port(at, End::Source, self.vip_port(server, hit))
            .segment_sum(packet, at, protocol);
        Alternative::of("forwarded_nat_reply", Fate::Sent(hop.side, expected))
    }

    /// An error about a packet that a client sent and that was translated goes to the client.
    pub(super) fn error_from_behind(
        &self,
        frame: &[u8],
        packet: &Reading,
        otherwise: &'static str,
    ) -> Vec<Alternative> {
        let quote = if packet.message(frame) == Message::Error { packet.quote(frame) } else { None };
        let Some(quote) = quote.filter(|quote| quote.source == packet.destination) else {
            return vec![Alternative::passed(otherwise)];
        };
        let question = Question {
            client: (quote.source, quote.source_port),
            hit: quote.destination_port,
            pairs: self.reached_at(quote.destination, quote.destination_port, quote.protocol),
            protocol: quote.protocol,
            word: Word::Speech,
        };
        if question.pairs.is_empty() {
            return vec![Alternative::passed(otherwise)];
        }
        let explanations = self.explanations(&question).into_iter();
        explanations
            .map(|explanation| match explanation.server {
                Some(server) => self.error_to_client(frame, packet, &quote, server).given(explanation.facts),
                None => Alternative::passed(otherwise).given(explanation.facts),
            })
            .collect()
    }

    fn error_to_client(&self, frame: &[u8], packet: &Reading, quote: &Quote, server: usize) -> Alternative {
        let hop = match Self::way_out(packet, self.way_to_client(packet.destination)) {
            Ok(hop) => hop,
            Err(verdict) => return Alternative::dropped(verdict),
        };
        let (vip, own) = (self.service_of(server).vip, self.server(server).address);
        let mut expected = Expected::forwarded(frame, packet, hop.mac, hop.side.mac());
        // A router on the way keeps its name.
        if packet.source == own {
            expected = expected.address(packet, End::Source, vip);
        }
        let expected = expected
            .quoted(quote, End::Destination, vip, self.vip_port(server, quote.destination_port))
            .message_sum(packet, packet.ip + packet.header..packet.end);
        Alternative::of("forwarded_icmp_reply", Fate::Sent(hop.side, expected))
    }

    /// The VIP's port of a connection that reached its server on this one.
    pub(super) fn vip_port(&self, server: usize, hit: u16) -> u16 {
        match self.service_of(server).port {
            0 => hit,
            port => port,
        }
    }
}

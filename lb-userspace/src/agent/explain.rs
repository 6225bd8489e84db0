//! What the data path would do with a packet, answered from the same maps by the same algorithms, changing nothing.

use std::net::IpAddr;

use lb_common::entry::{EndpointKey, Rule, Server, ServerState, Service, Settings};
use lb_common::identity::FlowId;
use lb_common::net::{Addr, Port, Protocol, Tuple};
use lb_common::pick::{Extent, id_in_word};
use lb_common::slot::ServerId;
use lb_common::verdict::Verdict;

use super::actor::Agent;
use crate::api::{self, Decision, ExplainReport, Failure, FailureKind, Schema};
use crate::control::PacketQuery;

/// A story with an ending.
struct Story {
    why: Vec<String>,
    decision: Decision,
    verdict: Verdict,
    id: Option<ServerId>,
}

impl Agent {
    /// # Errors
    /// For a packet that cannot be.
    pub(super) fn explain(&self, query: &PacketQuery) -> Result<ExplainReport, Failure> {
        let protocol = match query.protocol {
            api::Protocol::Udp => Protocol::Udp,
            _ => Protocol::Tcp,
        };
        if query.source.is_ipv6() != query.destination.is_ipv6() {
            let message = format!(
                "no packet goes from {} to {}: name addresses of one family",
                query.source, query.destination
            );
            return Err(Failure::new(FailureKind::Usage, message));
        }
        let story = self.story(query, protocol);
        let server = story.id.and_then(|id| self.installation.maps.servers.get(id.index()));
        let names = story.id.and_then(|id| self.names().into_iter().find(|(held, ..)| *held == id));
        Ok(ExplainReport {
            schema: Schema,
            protocol: query.protocol.clone(),
            source: query.source,
            destination: query.destination,
            service: names.as_ref().map(|(_, service, _)| service.clone()),
            decision: story.decision,
            server: names.map(|(.., server)| server),
            server_address: server.map(|server| IpAddr::from(server.address.load())),
            server_port: server
                .map(|server| state_of(server).port.to_host())
                .map(|port| if port == 0 { query.destination.port() } else { port }),
            verdict: story.verdict.name().to_owned(),
            why: story.why,
        })
    }

    fn story(&self, query: &PacketQuery, protocol: Protocol) -> Story {
        let maps = &self.installation.maps;
        let vip: Addr = query.destination.ip().into();
        let mut why = Vec::new();
        let none = |why, verdict| Story { why, decision: Decision::None, verdict, id: None };
        let is_vip = maps.listeners.get(&EndpointKey::vip_marker(vip), 0).is_ok();
        if !is_vip {
            why.push(format!("{} is no VIP", query.destination.ip()));
            return self.reply_story(query, protocol, why);
        }
        let tuple = Tuple {
            client: query.source.ip().into(),
            vip,
            client_port: Port::from_host(query.source.port()),
            vip_port: Port::from_host(query.destination.port()),
            protocol,
        };
        let settings = maps.settings.only();
        let flow = settings.flow_id(&tuple);
        why.push(format!("flow id {:013x}", flow.bits()));
        if settings.flags.load() & Settings::FLOWS == 0 {
            why.push("the connection table is off".to_owned());
        } else if let Some(entry) = maps.flow_table().find(flow) {
            let id = entry.slot().server();
            let server = id.and_then(|id| maps.servers.get(id.index()));
            if let (Some(id), Some(server)) = (id, server.filter(|server| server.vip.load() == vip)) {
                why.push(format!(
                    "the connection table has an entry, {:?}, for server id {}",
                    entry.slot().class(),
                    id.get()
                ));
                return Story { why, decision: Decision::Entry, verdict: forwarded(server), id: Some(id) };
            }
            why.push(
                "the connection table has an entry that belongs to another service; it is not believed"
                    .to_owned(),
            );
        } else {
            why.push("the connection table has no entry".to_owned());
        }
        let exact = maps.listeners.get(&EndpointKey::new(vip, tuple.vip_port, protocol), 0);
        let number = exact.or_else(|_| maps.listeners.get(&EndpointKey::new(vip, Port::ANY, protocol), 0));
        let Some(service) = number.as_ref().ok().and_then(|number| maps.services.get(*number)) else {
            why.push(format!("no service listens on port {} of the VIP", query.destination.port()));
            return none(why, Verdict::PassedNoService);
        };
        let access = number.ok().and_then(|number| self.installation.access_of(number));
        if let Some((prefix, rule)) = access.and_then(|access| access.rule(query.source.ip())) {
            if rule == Rule::Deny {
                why.push(format!("the service's lists deny {prefix}"));
                return none(why, Verdict::DroppedDenied);
            }
            why.push(format!("the service's lists allow {prefix}"));
        }
        if service.limits.load() != 0 {
            why.push(
                "the service has limits; whether a packet is within them depends on those before it"
                    .to_owned(),
            );
        }
        let (select, miss) = (service.select.load(), service.miss.load());
        if select != miss {
            why.push("select and miss table differ at the moment; a SYN goes by the select table".to_owned());
        }
        match self.picked(select, flow) {
            Some((id, server)) => {
                why.push(format!("the service's table picks server id {} for a new connection", id.get()));
                Story { why, decision: Decision::Pick, verdict: forwarded(server), id: Some(id) }
            }
            None => {
                let reject = service.flags.load() & Service::REJECT != 0 && protocol == Protocol::Tcp;
                why.push("the service has no usable server".to_owned());
                none(why, if reject { Verdict::RepliedReset } else { Verdict::DroppedNoServer })
            }
        }
    }

    /// A packet that is not to a VIP may be a NAT server's reply.
    fn reply_story(&self, query: &PacketQuery, protocol: Protocol, mut why: Vec<String>) -> Story {
        let maps = &self.installation.maps;
        let source: Addr = query.source.ip().into();
        let port = Port::from_host(query.source.port());
        let none = |why, verdict| Story { why, decision: Decision::None, verdict, id: None };
        let sharers = maps
            .backends
            .get(&EndpointKey::new(source, port, protocol), 0)
            .or_else(|_| maps.backends.get(&EndpointKey::new(source, Port::ANY, protocol), 0));
        let Ok(sharers) = sharers else {
            why.push(format!("{} is no real server's address and port either", query.source));
            return none(why, Verdict::PassedNotOurs);
        };
        why.push(format!("{} is a real server's address and port", query.source));
        for id in sharers.ids.into_iter().map_while(ServerId::new) {
            let Some(server) = maps.servers.get(id.index()) else { continue };
            let vip_port = state_of(server).vip_port;
            let tuple = Tuple {
                client: query.destination.ip().into(),
                vip: server.vip.load(),
                client_port: Port::from_host(query.destination.port()),
                vip_port: if vip_port.is_any() { port } else { vip_port },
                protocol,
            };
            let entry = maps.flow_table().find(maps.settings.only().flow_id(&tuple));
            if entry.is_some_and(|entry| entry.slot().server() == Some(id)) {
                why.push(format!(
                    "the connection table has the client's connection, for server id {}",
                    id.get()
                ));
                return Story {
                    why,
                    decision: Decision::Reply,
                    verdict: Verdict::ForwardedNatReply,
                    id: Some(id),
                };
            }
        }
        if maps.locals.get(&query.destination.ip().into(), 0).is_ok() {
            why.push(format!("{} is the director's own address", query.destination.ip()));
            return none(why, Verdict::PassedLocal);
        }
        why.push("no entry explains it; a packet amid a connection is translated if the miss table would pick this server".to_owned());
        none(why, Verdict::PassedUnexplained)
    }

    fn picked(&self, extent: u64, flow: FlowId) -> Option<(ServerId, &Server)> {
        let maps = &self.installation.maps;
        let (word, position) = Extent::from_word(extent)?.place(flow, 0);
        let id = id_in_word(maps.tables.get(word)?.load(), position)?;
        let server = maps.servers.get(id.index())?;
        state_of(server).has(ServerState::IN_USE).then_some((id, server))
    }
}

fn state_of(server: &Server) -> ServerState {
    ServerState::from_word(server.state.load())
}

fn forwarded(server: &Server) -> Verdict {
    let state = state_of(server);
    if state.has(ServerState::NAT) {
        Verdict::ForwardedNat
    } else if state.has(ServerState::TUNNEL) {
        Verdict::ForwardedTunnel
    } else {
        Verdict::ForwardedDr
    }
}

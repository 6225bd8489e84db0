//! The services and their servers in the report: people see one service, whatever the number of its lanes.

use std::collections::HashMap;
use std::time::{Duration, UNIX_EPOCH};

use lb_common::entry::{self, Counters, HealthMemo, Incidents};
use lb_common::net::{Addr, NextHop, Port};
use lb_common::slot::ServerId;

use super::actor::Agent;
use super::desired::{DesiredServer, DesiredService};
use super::eligible;
use super::heard::Heard;
use super::ledger::Directory;
use super::standing::{AddressName, PairName};
use super::sweep::Census;
use crate::api::{self, Admin, Health, ServerState, ServerStatus, ServiceStatus, time_of};
use crate::config::{self, Family};

/// What an address of a server comes to in all lanes that lead to it.
struct Row<'a> {
    server: &'a DesiredServer,
    /// [`Port::ANY`] unless all lanes lead to one.
    port: Port,
    id: Option<ServerId>,
    counters: Counters,
    /// Connections in the lanes of now.
    active: u64,
    /// Its share of its lane's new connections.
    share: f64,
    /// Connections that wait for an answer, if it is silent in any lane.
    unanswered: u64,
    /// Connections left in lanes that are gone. Their counters are the service's, as they will be once these have ended.
    left: u64,
}

/// What a service had besides its servers and lanes of now.
#[derive(Debug, Clone, Copy, Default)]
struct Others {
    counters: Counters,
    incidents: Incidents,
    active: u64,
}

impl Agent {
    pub(super) fn services_status(&self, census: &Census) -> Vec<ServiceStatus> {
        let (wanted, directory, others) =
            (self.wanted(), self.installation.ledger.directory(), self.others(census));
        // Both are in the order of the file.
        let services = wanted.chunk_by(|one, next| one.name == next.name).zip(&self.model.services);
        services
            .filter_map(|(lanes, configured)| {
                let rows = self.rows(lanes, &directory, census);
                let name_hash = lanes.first()?.identity.name_hash;
                let others = others.get(&name_hash).copied().unwrap_or_default();
                Some(self.service_status(configured, &rows, others))
            })
            .collect()
    }

    /// A row for each address of the servers, in no order.
    fn rows<'a>(
        &self,
        lanes: &'a [DesiredService],
        directory: &Directory,
        census: &Census,
    ) -> HashMap<(&'a str, Addr), Row<'a>> {
        let mut rows: HashMap<(&str, Addr), Row<'_>> = HashMap::new();
        for lane in lanes {
            let all: u32 = lane.servers.iter().map(|server| server.share).sum();
            for server in &lane.servers {
                let id = directory.pair(lane, server);
                let row = rows.entry((&*server.name, server.address)).or_insert_with(|| Row {
                    server,
                    port: server.port,
                    id,
                    counters: Counters::default(),
                    active: 0,
                    share: f64::from(server.share) / f64::from(all.max(1)),
                    unanswered: 0,
                    left: directory.earlier(server).iter().map(|id| census.active(*id)).sum(),
                });
                if row.port != server.port {
                    row.port = Port::ANY;
                }
                row.counters = row.counters + id.map(|id| self.counters(id)).unwrap_or_default();
                row.active += id.map_or(0, |id| census.active(id));
                row.unanswered += id.and_then(|id| self.silences.of(id)).unwrap_or(0);
            }
        }
        rows
    }

    /// By a service's name hash: pairs that left, and those still leaving, have counted for it, too.
    fn others(&self, census: &Census) -> HashMap<u64, Others> {
        let ledger = &self.installation.ledger;
        let mut others: HashMap<u64, Others> = HashMap::new();
        let mut by_number = HashMap::new();
        for (number, identity) in ledger.services() {
            by_number.insert(number, identity.name_hash);
            let its = others.entry(identity.name_hash).or_default();
            its.counters = its.counters + self.installation.retired(number);
            its.incidents = its.incidents + self.installation.incidents(number).unwrap_or_default();
        }
        for (id, pair) in ledger.pairs().filter(|(_, pair)| pair.leaving) {
            let Some(name_hash) = by_number.get(&pair.identity.service) else { continue };
            let its = others.entry(*name_hash).or_default();
            its.counters = its.counters + self.counters(id);
            its.active += census.active(id);
        }
        others
    }

    fn service_status(
        &self,
        service: &config::Service,
        rows: &HashMap<(&str, Addr), Row<'_>>,
        others: Others,
    ) -> ServiceStatus {
        let total = rows.values().fold(others.counters, |sum, row| sum + row.counters);
        let nat = service.mode.sees_answers();
        let servers = service.servers.iter().flat_map(|server| {
            let its = move |address: &config::ServerAddress| {
                rows.get(&(server.name.as_str(), Addr::from(address.ip())))
            };
            let told = move |row| self.server_status(service, server, row);
            server.addresses.iter().filter_map(its).map(told)
        });
        ServiceStatus {
            name: service.name.as_str().to_owned(),
            mode: service.mode.into(),
            encapsulation: service.tunnel.as_ref().map(|tunnel| tunnel.encapsulation.to_string()),
            scheduler: service.scheduler.to_string(),
            quorum: self.quorum_status(service),
            quic_lb: service.quic_lb.map(Into::into),
            affinity: service.affinity.as_ref().map(Into::into),
            listeners: service.listening.listeners().map(Into::into).collect(),
            connections_active: others.active + rows.values().map(|row| row.active).sum::<u64>(),
            connections_total: total.connections,
            packets: total.packets_in,
            bytes: total.bytes_in,
            reply_packets: nat.then_some(total.packets_out),
            reply_bytes: nat.then_some(total.bytes_out),
            refused: others.incidents.into(),
            missed: others.incidents.missed,
            adopted: others.incidents.adopted,
            rates: None,
            servers: servers.collect(),
        }
    }

    fn quorum_status(&self, service: &config::Service) -> Option<api::Quorum> {
        let quorum = service.quorum?;
        let name = service.name.as_str();
        let (weight_up, weight_configured) = eligible::weights(service, &self.standings);
        let held = !self.without_quorum.contains(name);
        Some(api::Quorum { weight_up, weight_configured, percent: quorum.percent, held })
    }

    fn server_status(
        &self,
        service: &config::Service,
        server: &config::Server,
        row: &Row<'_>,
    ) -> ServerStatus {
        let Row { server: desired, port, id, counters, active, left, share, unanswered } = row;
        let active = active + left;
        let family = Family::of(desired.address.into());
        let name = AddressName { pair: PairName::of(service, server), family };
        let nat = service.mode.sees_answers();
        let standing = &desired.standing;
        let heard = self.heard.get(&name);
        ServerStatus {
            name: desired.name.to_string(),
            address: desired.address.into(),
            port: Some(port.to_host()).filter(|port| *port != 0),
            weight: u32::from(desired.weight),
            weight_configured: u32::from(server.weight.get()),
            weight_override: standing.weight.map(u32::from),
            server_id: desired.quic_id.as_ref().map(ToString::to_string),
            max_connections: (desired.max_connections > 0).then_some(desired.max_connections),
            backup: desired.tier != config::Tier::Primary,
            share: *share,
            connections_end_at: desired.deadline().map(|at| time_of(UNIX_EPOCH + Duration::from_secs(at))),
            state: state(desired, active),
            admin: admin(standing.admin),
            health: match (standing.unchecked, standing.admin, standing.health) {
                (true, ..) | (_, entry::Admin::Disabled, _) => Health::Off,
                (.., HealthMemo::Up) => Health::Up,
                (.., HealthMemo::Down) => Health::Down,
                (.., HealthMemo::Unknown) => Health::Unknown,
            },
            reason: heard.and_then(|heard| heard.reason.clone()),
            since: (standing.since != 0)
                .then(|| time_of(UNIX_EPOCH + Duration::from_secs(u64::from(standing.since)))),
            history: heard.map(Heard::history).unwrap_or_default(),
            agent: heard.and_then(Heard::agent).filter(|_| service.agent_check.is_some()),
            next_hop: id.and_then(|id| self.next_hop(id)),
            connections_active: active,
            connections_total: counters.connections,
            unanswered: nat.then_some(*unanswered),
            packets: counters.packets_in,
            bytes: counters.bytes_in,
            reply_packets: nat.then_some(counters.packets_out),
            reply_bytes: nat.then_some(counters.bytes_out),
            rates: None,
        }
    }

    fn next_hop(&self, id: ServerId) -> Option<api::NextHop> {
        let word = self.installation.maps.servers.get(id.index())?.next_hop.load();
        let hop = NextHop::from_word(word)?;
        let index = self.installation.maps.interfaces.get(hop.port.index())?.index.load() as u32;
        let view = self.view.borrow();
        let interface =
            view.links.get(&index).map_or_else(|| format!("interface {index}"), |link| link.name.clone());
        let mac = hop.mac.map(|byte| format!("{byte:02x}")).join(":");
        Some(api::NextHop { interface, mac })
    }

    fn counters(&self, id: ServerId) -> Counters {
        self.installation.maps.counts.server(id).unwrap_or_default()
    }
}

/// What a server is to the tables, all in all.
pub(super) fn state(server: &DesiredServer, active: u64) -> ServerState {
    let standing = &server.standing;
    match standing.ordered() {
        entry::Admin::Disabled => return ServerState::Disabled,
        entry::Admin::Draining if active == 0 => return ServerState::Drained,
        entry::Admin::Draining => return ServerState::Draining,
        entry::Admin::Enabled => {}
    }
    match standing {
        _ if standing.is_down() => ServerState::Down,
        _ if standing.is_unknown() => ServerState::Unknown,
        _ if standing.share(server.weight) > 0 && !server.takes_new() => ServerState::Standby,
        _ if server.takes_new() && server.is_growing() => ServerState::Starting,
        _ if server.takes_new() => ServerState::Up,
        _ if active == 0 => ServerState::Drained,
        _ => ServerState::Draining,
    }
}

pub(super) fn admin(admin: entry::Admin) -> Admin {
    match admin {
        entry::Admin::Enabled => Admin::Enabled,
        entry::Admin::Draining => Admin::Draining,
        entry::Admin::Disabled => Admin::Disabled,
    }
}

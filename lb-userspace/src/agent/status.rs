//! The report behind `status`, `services`, `servers` and `stats`, and the one behind `drops`.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lb_common::ABI_VERSION;
use lb_common::entry::{self, Counters, HealthMemo};
use lb_common::net::NextHop;
use lb_common::slot::ServerId;
use lb_common::verdict::{Action, Event, Verdict};

use super::actor::Agent;
use super::desired::{DesiredServer, DesiredService, PairName};
use super::ledger::PairIdentity;
use super::sweep::Census;
use crate::api::{
    self, Admin, ConfigStatus, Counted, DataPathStatus, DropsReport, FlowTableStatus, Health,
    InterfaceStatus, Schema, ServerState, ServerStatus, ServiceStatus, StatusReport, time_of,
};
use crate::dataplane::driver_losses;

impl Agent {
    pub(super) fn status(&mut self) -> StatusReport {
        let census = self.census_now();
        let services = self.wanted().iter().map(|service| self.service_status(service, &census)).collect();
        let maps = &self.installation.maps;
        let about = maps.about.only();
        let unix = |seconds: u64| (seconds != 0).then(|| time_of(UNIX_EPOCH + Duration::from_secs(seconds)));
        let not_ready = self.not_ready();
        StatusReport {
            schema: Schema,
            at: time_of(SystemTime::now()),
            ready: not_ready.is_empty(),
            not_ready,
            warnings: self.warnings.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            since: time_of(self.started),
            config: ConfigStatus {
                path: self.config_path.clone(),
                generation: about.generation.load(),
                last_reload: self.last_reload.clone(),
            },
            data_path: DataPathStatus {
                abi: ABI_VERSION as u32,
                program_tag: Some(self.program_tag.clone()),
                pin_dir: self.pins.dir().to_owned(),
                since: unix(about.since.load()),
                adopted: self.adopted,
            },
            interfaces: self.interfaces.clone(),
            flow_table: Some(FlowTableStatus {
                size: u64::from(self.model.datapath.flow_table_size),
                connections_active: census.total(),
                homeless_total: maps.event(Event::Homeless).unwrap_or(0),
            }),
            services,
            verdicts: self
                .verdicts()
                .map(|(verdict, packets)| (verdict.name().to_owned(), packets))
                .collect(),
            events: Event::ALL
                .iter()
                .map(|event| (event.name().to_owned(), maps.event(*event).unwrap_or(0)))
                .collect(),
            losses: self.losses(),
        }
    }

    pub(super) fn drops(&self) -> DropsReport {
        let verdicts: Vec<(Verdict, u64)> = self.verdicts().collect();
        let about = self.installation.maps.about.only();
        DropsReport {
            schema: Schema,
            at: time_of(SystemTime::now()),
            since: Some(time_of(UNIX_EPOCH + Duration::from_secs(about.since.load()))),
            received: verdicts.iter().map(|(_, packets)| packets).sum(),
            drops: verdicts
                .iter()
                .filter(|(verdict, packets)| *packets > 0 && verdict.action() != Action::Send)
                .map(|(verdict, packets)| Counted {
                    reason: verdict.name().to_owned(),
                    packets: *packets,
                    meaning: verdict.meaning().to_owned(),
                })
                .collect(),
            losses: self
                .losses()
                .into_iter()
                .filter(|(_, packets)| *packets > 0)
                .map(|(name, packets)| Counted {
                    meaning: "Lost after the verdict, by the driver's own count.".to_owned(),
                    reason: name,
                    packets,
                })
                .collect(),
        }
    }

    /// Why the agent is not ready; nothing if it is.
    pub(super) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for interface in self.interfaces.iter().filter(|interface| interface.mode.is_none()) {
            reasons.push(format!("not attached to {}", interface.name));
        }
        for service in self.wanted() {
            for server in &service.servers {
                let standing = &server.standing;
                let waits = !standing.unchecked
                    && standing.health == HealthMemo::Unknown
                    && standing.admin != entry::Admin::Disabled;
                if waits {
                    reasons.push(format!("no health result yet for {}/{}", service.name, server.name));
                }
            }
        }
        reasons.extend(self.trouble.clone());
        reasons
    }

    fn service_status(&self, service: &DesiredService, census: &Census) -> ServiceStatus {
        let configured = self.model.service(&service.name);
        let number = self.number_of(service);
        let servers: Vec<(ServerStatus, Counters)> = service
            .servers
            .iter()
            .map(|server| {
                let weight = configured.and_then(|c| c.server(&server.name)).map_or(0, |c| c.weight.get());
                self.server_status(service, server, weight, census)
            })
            .collect();
        let of_numbers = |number: u16| {
            // Those that left, and those still leaving, have counted for the service too.
            let leaving = self
                .installation
                .ledger
                .pairs()
                .filter(|(_, pair)| pair.leaving && pair.identity.service == number);
            let ids: Vec<ServerId> = leaving.map(|(id, _)| id).collect();
            let active: u64 = ids.iter().map(|id| census.active(*id)).sum();
            let counted =
                ids.iter().fold(self.installation.retired(number), |sum, id| sum + self.counters(*id));
            (counted, active)
        };
        let (others, active) = number.map(of_numbers).unwrap_or_default();
        let total = servers.iter().fold(others, |sum, (_, counters)| sum + *counters);
        let nat = service.identity.nat;
        ServiceStatus {
            name: service.name.clone(),
            mode: if nat { api::ForwardMode::Nat } else { api::ForwardMode::Dr },
            scheduler: "maglev".to_owned(),
            listeners: configured.map(|c| vec![c.listener.into()]).unwrap_or_default(),
            connections_active: active
                + servers.iter().map(|(server, _)| server.connections_active).sum::<u64>(),
            connections_total: total.connections,
            packets: total.packets_in,
            bytes: total.bytes_in,
            reply_packets: nat.then_some(total.packets_out),
            reply_bytes: nat.then_some(total.bytes_out),
            rates: None,
            servers: servers.into_iter().map(|(status, _)| status).collect(),
        }
    }

    fn server_status(
        &self,
        service: &DesiredService,
        server: &DesiredServer,
        weight_configured: u16,
        census: &Census,
    ) -> (ServerStatus, Counters) {
        let id = self.id_of(service, server);
        let counters = id.map(|id| self.counters(id)).unwrap_or_default();
        let active = id.map_or(0, |id| census.active(id));
        let name = PairName { service: service.name.clone(), server: server.name.clone() };
        let nat = service.identity.nat;
        let standing = &server.standing;
        let status = ServerStatus {
            name: server.name.clone(),
            address: server.address.into(),
            port: Some(server.port.to_host()).filter(|port| *port != 0),
            weight: u32::from(server.weight),
            weight_configured: u32::from(weight_configured),
            weight_override: standing.weight.map(u32::from),
            backup: false,
            state: state(server, active),
            admin: admin(standing.admin),
            health: match (standing.unchecked, standing.admin, standing.health) {
                (true, ..) | (_, entry::Admin::Disabled, _) => Health::Off,
                (.., HealthMemo::Up) => Health::Up,
                (.., HealthMemo::Down) => Health::Down,
                (.., HealthMemo::Unknown) => Health::Unknown,
            },
            reason: self.reasons.get(&name).cloned(),
            since: (standing.since != 0)
                .then(|| time_of(UNIX_EPOCH + Duration::from_secs(u64::from(standing.since)))),
            next_hop: id.and_then(|id| self.next_hop(id)),
            connections_active: active,
            connections_total: counters.connections,
            packets: counters.packets_in,
            bytes: counters.bytes_in,
            reply_packets: nat.then_some(counters.packets_out),
            reply_bytes: nat.then_some(counters.bytes_out),
            rates: None,
        };
        (status, counters)
    }

    fn next_hop(&self, id: ServerId) -> Option<api::NextHop> {
        let word = self.installation.maps.servers.get(id.index())?.next_hop.load();
        let hop = NextHop::from_word(word)?;
        let index = self.installation.maps.interfaces.get(hop.port.index())?.ifindex.load() as u32;
        let view = self.view.borrow();
        let interface =
            view.links.get(&index).map_or_else(|| format!("interface {index}"), |link| link.name.clone());
        let mac = hop.mac.map(|byte| format!("{byte:02x}")).join(":");
        Some(api::NextHop { interface, mac })
    }

    pub(super) fn id_of(&self, service: &DesiredService, server: &DesiredServer) -> Option<ServerId> {
        let identity = PairIdentity::of(self.number_of(service)?, service, server);
        self.installation.ledger.pairs().find(|(_, pair)| pair.identity == identity).map(|(id, _)| id)
    }

    fn number_of(&self, service: &DesiredService) -> Option<u16> {
        self.installation
            .ledger
            .services()
            .find(|(_, held)| **held == service.identity)
            .map(|(number, _)| number)
    }

    fn counters(&self, id: ServerId) -> Counters {
        self.installation.maps.counters(id).unwrap_or_default()
    }

    fn verdicts(&self) -> impl Iterator<Item = (Verdict, u64)> {
        let maps = &self.installation.maps;
        Verdict::ALL.iter().map(|verdict| (*verdict, maps.verdict(*verdict).map_or(0, |tally| tally.packets)))
    }

    /// What the drivers lost since the data path was made, by interface and the driver's own name for it.
    fn losses(&self) -> BTreeMap<String, u64> {
        let of_interface = |interface: &InterfaceStatus| {
            let losses = driver_losses(&interface.name).unwrap_or_default();
            let name = interface.name.clone();
            losses.into_iter().map(move |(counter, packets)| (format!("{name}.{counter}"), packets))
        };
        self.interfaces.iter().flat_map(of_interface).collect()
    }
}

/// What a server is to the tables, all in all.
pub(super) fn state(server: &DesiredServer, active: u64) -> ServerState {
    let standing = &server.standing;
    match standing.admin {
        entry::Admin::Disabled => return ServerState::Disabled,
        entry::Admin::Draining if active == 0 => return ServerState::Drained,
        entry::Admin::Draining => return ServerState::Draining,
        entry::Admin::Enabled => {}
    }
    match standing.health {
        HealthMemo::Down if !standing.unchecked => ServerState::Down,
        HealthMemo::Unknown if !standing.unchecked => ServerState::Unknown,
        _ if server.weight > 0 => ServerState::Up,
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

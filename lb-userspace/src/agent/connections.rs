//! The entries of the connection table, as people want to see them.

use std::time::SystemTime;

use lb_common::clock::{COARSE_TICKS, TICK_NS};
use lb_common::entry::ServerState;
use lb_common::net::Protocol;
use lb_common::slot::{Class, ServerId, Slot};

use super::actor::Agent;
use crate::api::{self, Connection, ConnectionClass, ConnectionsReport, Schema, time_of};
use crate::control::ConnectionFilter;

impl Agent {
    pub(super) fn connections(&self, filter: &ConnectionFilter) -> ConnectionsReport {
        let maps = &self.installation.maps;
        let now = maps.clock.only().now();
        let limits = self.sweep_limits();
        let names = self.names();
        let mut matching = 0;
        let mut connections = Vec::new();
        for cell in maps.flows.all().iter().flatten() {
            let Some(slot) = Slot::from_word(cell.load()) else { continue };
            if slot.expired(now, limits.of(maps, slot)) {
                continue;
            }
            let Some(id) = slot.server() else { continue };
            let named = names.iter().find(|(held, ..)| *held == id);
            let wanted =
                |filter: &Option<String>, name: Option<&String>| filter.is_none() || filter.as_ref() == name;
            if !wanted(&filter.service, named.map(|(_, service, _)| service))
                || !wanted(&filter.server, named.map(|(.., server)| server))
            {
                continue;
            }
            matching += 1;
            if (connections.len() as u64) < filter.limit {
                connections.push(self.connection(
                    slot,
                    id,
                    named.map(|(_, service, server)| (service, server)),
                    now,
                ));
            }
        }
        ConnectionsReport {
            schema: Schema,
            at: time_of(SystemTime::now()),
            matching,
            addresses: false,
            connections,
        }
    }

    fn connection(
        &self,
        slot: Slot,
        id: ServerId,
        names: Option<(&String, &String)>,
        now: lb_common::clock::Now,
    ) -> Connection {
        let server = self.installation.maps.servers.get(id.index());
        let state = server.map(|server| ServerState::from_word(server.state.load()));
        let tick = match slot.class() {
            Class::Established | Class::HalfClosed => TICK_NS * u64::from(COARSE_TICKS),
            Class::New | Class::Answered | Class::Closing => TICK_NS,
        };
        Connection {
            client: None,
            client_port: None,
            vip: server.map(|server| server.vip.load().into()),
            port: state.map(|state| state.vip_port.to_host()).filter(|port| *port != 0),
            protocol: match state.map(ServerState::protocol) {
                Some(Protocol::Udp) => api::Protocol::Udp,
                _ => api::Protocol::Tcp,
            },
            service: names.map(|(service, _)| service.clone()),
            server: names.map(|(_, server)| server.clone()),
            class: match slot.class() {
                Class::New => ConnectionClass::New,
                Class::Answered => ConnectionClass::Answered,
                Class::Established => ConnectionClass::Established,
                Class::HalfClosed => ConnectionClass::HalfClosed,
                Class::Closing => ConnectionClass::Closing,
            },
            idle_seconds: u64::from(slot.idle(now)) * tick / 1_000_000_000,
            diverged: slot.diverged(),
        }
    }

    /// Names of the pairs that have ids now.
    pub(super) fn names(&self) -> Vec<(ServerId, String, String)> {
        let wanted = self.wanted();
        let mut names = Vec::new();
        for service in &wanted {
            for server in &service.servers {
                if let Some(id) = self.id_of(service, server) {
                    names.push((id, service.name.clone(), server.name.clone()));
                }
            }
        }
        names
    }
}

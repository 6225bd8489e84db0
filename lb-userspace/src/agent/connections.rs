//! The entries of the connection table, as people want to see them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use lb_common::clock::{COARSE_TICKS, Now, TICK_NS};
use lb_common::entry::{ServerState, Settings};
use lb_common::net::{Protocol, Tuple};
use lb_common::slot::{Class, ServerId, Slot};

use super::actor::Agent;
use crate::api::{self, Connection, ConnectionClass, ConnectionsReport, Schema, time_of};
use crate::control::ConnectionFilter;
use crate::dataplane::Site;

/// For how long nothing has come, as exactly as an entry knows.
pub fn silence(slot: Slot, now: Now) -> Duration {
    let tick = match slot.class() {
        Class::Established | Class::HalfClosed => TICK_NS * u64::from(COARSE_TICKS),
        Class::New | Class::Answered | Class::Closing => TICK_NS,
    };
    Duration::from_nanos(u64::from(slot.idle(now)) * tick)
}

impl Agent {
    pub(super) fn connections(&self, filter: &ConnectionFilter) -> ConnectionsReport {
        let maps = &self.installation.maps;
        let now = maps.clock.only().now();
        let limits = self.sweep_limits();
        let names: HashMap<ServerId, (String, String)> = self
            .installation
            .names(&self.wanted())
            .into_iter()
            .map(|(id, service, server)| (id, (service, server)))
            .collect();
        let mut matching = 0;
        let mut connections = Vec::new();
        for (site, cell) in maps.places(0..maps.buckets()) {
            let Some(slot) = Slot::from_word(cell.load()) else { continue };
            if slot.expired(now, limits.of(maps, slot)) {
                continue;
            }
            let Some(id) = slot.server() else { continue };
            let named = names.get(&id);
            let wanted =
                |filter: &Option<String>, name: Option<&String>| filter.is_none() || filter.as_ref() == name;
            if !wanted(&filter.service, named.map(|(service, _)| service))
                || !wanted(&filter.server, named.map(|(_, server)| server))
            {
                continue;
            }
            let caller = maps.caller(site, slot);
            let client = caller.map(|tuple| IpAddr::from(tuple.client));
            if filter.client.is_some() && filter.client != client {
                continue;
            }
            matching += 1;
            if (connections.len() as u64) < filter.limit {
                connections.push(self.connection(site, slot, id, caller, named, now));
            }
        }
        ConnectionsReport {
            schema: Schema,
            at: time_of(SystemTime::now()),
            matching,
            addresses: maps.settings.only().flags.load() & Settings::ADDRESSES != 0,
            connections,
        }
    }

    fn connection(
        &self,
        site: Site,
        slot: Slot,
        id: ServerId,
        caller: Option<Tuple>,
        names: Option<&(String, String)>,
        now: Now,
    ) -> Connection {
        let server = self.installation.maps.servers.get(id.index());
        let state = server.map(|server| ServerState::from_word(server.state.load()));
        Connection {
            client: caller.map(|tuple| tuple.client.into()),
            client_port: caller.map(|tuple| tuple.client_port.to_host()),
            vip: server.map(|server| server.vip.load().into()),
            port: caller
                .map(|tuple| tuple.vip_port)
                .or(state.map(|state| state.vip_port))
                .map(lb_common::net::Port::to_host)
                .filter(|port| *port != 0),
            protocol: match state.map(ServerState::protocol) {
                Some(Protocol::Udp) => api::Protocol::Udp,
                _ => api::Protocol::Tcp,
            },
            sent_from: match site {
                Site::Flow(_) => None,
                Site::Lease(place) => self.installation.maps.pool.only().source(place),
            }
            .map(|(addr, port)| SocketAddr::new(addr.into(), port.to_host())),
            service: names.map(|(service, _)| service.clone()),
            server: names.map(|(_, server)| server.clone()),
            class: match slot.class() {
                Class::New => ConnectionClass::New,
                Class::Answered => ConnectionClass::Answered,
                Class::Established => ConnectionClass::Established,
                Class::HalfClosed => ConnectionClass::HalfClosed,
                Class::Closing => ConnectionClass::Closing,
            },
            idle_seconds: silence(slot, now).as_secs(),
            diverged: slot.diverged(),
        }
    }
}

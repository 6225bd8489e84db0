//! `xlvs stats`: rates over an interval, from two status reports.

use super::rates::rate_of;
use super::{Rates, Schema, StatusReport, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What `xlvs stats` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatsReport {
    /// Always 1.
    pub schema: Schema,
    /// When the interval ended.
    pub at: Time,
    /// How long it was.
    pub interval_seconds: f64,
    /// All services together.
    pub total: Rates,
    /// Each service.
    pub services: Vec<ServiceRates>,
    /// Packets per second by verdict; verdicts that did not occur are left in, at 0.
    pub verdicts_per_second: BTreeMap<String, f64>,
    /// Losses after the verdict, per second by reason.
    pub losses_per_second: BTreeMap<String, f64>,
}

/// A service's rates and its servers'.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceRates {
    /// The service's name.
    pub name: String,
    /// Connections stored for it at the end of the interval.
    pub connections_active: u64,
    /// Null: it was not there at the beginning.
    pub rates: Option<Rates>,
    /// Its servers.
    pub servers: Vec<ServerRates>,
}

/// A server's rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRates {
    /// The server's name.
    pub name: String,
    /// Its address: a server that has two has an entry for each.
    pub address: IpAddr,
    /// Connections stored for it at the end of the interval.
    pub connections_active: u64,
    /// Null: it was not there at the beginning.
    pub rates: Option<Rates>,
}

impl StatsReport {
    /// The rates between two reports of the same agent; the time between them is the agent's own
    /// (`at`), so a slow answer does not skew them.
    #[must_use]
    pub fn between(earlier: &StatusReport, later: &StatusReport) -> Self {
        let seconds = later.at.duration_since(earlier.at).as_secs_f64();
        let services: Vec<ServiceRates> = later
            .services
            .iter()
            .map(|service| {
                let before = earlier.services.iter().find(|before| before.name == service.name);
                let servers = service.servers.iter().map(|server| {
                    let before = before.and_then(|it| it.servers.iter().find(|it| it.is_same(server)));
                    ServerRates {
                        name: server.name.clone(),
                        address: server.address,
                        connections_active: server.connections_active,
                        rates: before.and_then(|before| Rates::of_server(before, server, seconds)),
                    }
                });
                ServiceRates {
                    name: service.name.clone(),
                    connections_active: service.connections_active,
                    rates: before.and_then(|before| Rates::of_service(before, service, seconds)),
                    servers: servers.collect(),
                }
            })
            .collect();
        Self {
            schema: Schema,
            at: later.at,
            interval_seconds: seconds,
            total: Rates::sum(services.iter().filter_map(|service| service.rates.as_ref())),
            services,
            verdicts_per_second: map_rates(&earlier.verdicts, &later.verdicts, seconds),
            losses_per_second: map_rates(&earlier.losses, &later.losses, seconds),
        }
    }
}

fn map_rates(
    earlier: &BTreeMap<String, u64>,
    later: &BTreeMap<String, u64>,
    seconds: f64,
) -> BTreeMap<String, f64> {
    if seconds <= 0.0 {
        return BTreeMap::new();
    }
    later
        .iter()
        .filter_map(|(name, &count)| {
            let before = earlier.get(name).copied().unwrap_or(0);
            Some((name.clone(), rate_of(before, count, seconds)?))
        })
        .collect()
}

//! `xlvs affinity`: who comes back to which server, as people want to see it; and what they want forgotten.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::SystemTime;

use lb_common::clock::{COARSE_TICKS, Now, TICK_NS};
use lb_common::flow_table::BUCKET_SLOTS;
use lb_common::slot::{Class, ServerId};

use super::actor::Agent;
use super::affinity::{Seat, seats};
use crate::api::{AffineSource, AffinityReport, Failure, FailureKind, Schema, time_of};
use crate::config::{self, Prefix};
use crate::control::AffinityQuery;

impl Agent {
    /// # Errors
    /// For a service that is not there.
    pub(super) fn affinity(&self, query: &AffinityQuery) -> Result<AffinityReport, Failure> {
        if let Some(name) = query.service.as_ref().filter(|name| self.model.service(name).is_none()) {
            return Err(Failure::new(FailureKind::NotFound, format!("there is no service {name}")));
        }
        let maps = &self.installation.maps;
        let now = maps.clock.only().now();
        let servers: HashMap<ServerId, String> =
            self.installation.names(&self.wanted()).into_iter().map(|(id, _, server)| (id, server)).collect();
        let (mut matching, mut cleared, mut sources) = (0, 0, Vec::new());
        for seat in seats(maps).filter(|seat| !seat.is_over(maps, now)) {
            let Some(source) = self.source_at(&seat, now, &servers) else { continue };
            let is_its = |client: &IpAddr| {
                Prefix::of(*client, source.prefix_length)
                    .is_some_and(|prefix| prefix.network() == source.source)
                    && client.is_ipv4() == source.source.is_ipv4()
            };
            if query.service.as_ref().is_some_and(|name| !source.services.contains(name))
                || query.server.is_some() && query.server != source.server
                || query.client.as_ref().is_some_and(|client| !is_its(client))
            {
                continue;
            }
            matching += 1;
            if query.clear {
                cleared += u64::from(seat.clear());
            } else if (sources.len() as u64) < query.limit {
                sources.push(source);
            }
        }
        let capacity = (maps.seats.all().len() * BUCKET_SLOTS) as u64;
        Ok(AffinityReport {
            schema: Schema,
            at: time_of(SystemTime::now()),
            matching,
            cleared,
            capacity,
            sources,
        })
    }

    /// What people are told of a seat; `None` if no service goes by it any more.
    fn source_at(
        &self,
        seat: &Seat<'_>,
        now: Now,
        servers: &HashMap<ServerId, String>,
    ) -> Option<AffineSource> {
        let number = seat.service?;
        let name = self.installation.service_name(&self.wanted(), number.into())?;
        let affinity = self.model.service(&name)?.affinity.as_ref()?;
        let shares = |service: &&config::Service| {
            let its = service.affinity.as_ref();
            service.name.as_str() == name
                || affinity.group.is_some() && its.is_some_and(|its| its.group == affinity.group)
        };
        let source = IpAddr::from(seat.source.client);
        let tick = if seat.slot.class() == Class::Established { COARSE_TICKS } else { 1 };
        Some(AffineSource {
            source,
            prefix_length: if source.is_ipv4() { affinity.prefix_v4 } else { affinity.prefix_v6 } as u8,
            group: affinity.group.as_ref().map(ToString::to_string),
            services: self
                .model
                .services
                .iter()
                .filter(shares)
                .map(|service| service.name.to_string())
                .collect(),
            server: seat.slot.server().and_then(|id| servers.get(&id)).cloned(),
            idle_seconds: u64::from(seat.slot.idle(now)) * u64::from(tick) * TICK_NS / 1_000_000_000,
            timeout_seconds: affinity.timeout.as_secs(),
        })
    }
}

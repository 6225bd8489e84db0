//! How many connections each server has, for services that go by it: what a walk over the table found, told to the data path,
//! which adds what has begun since that walk began.
//!
//! A server has a number in each lane of its service and is one server: all its numbers count at one of them, its home.

use std::collections::HashMap;

use lb_common::entry::{Load, Scheduler, Scheduling, ServerState};
use lb_common::slot::{ServerId, Slot};

use super::desired::DesiredService;
use super::install::Installation;
use super::ledger::Numbered;
use super::sweep::{Census, Ground, Sweep, SweepLimits};
use crate::dataplane::{Maps, Site};

/// How many connections had begun when a walk began: of each server id, and of each service.
#[derive(Debug, Clone, Default)]
pub struct Begun {
    servers: Vec<u64>,
    services: Vec<u64>,
}

/// Where loads are kept.
pub trait Scales {
    /// By server id.
    fn loads(&self) -> &[Load];
    /// By service number, all of its servers'.
    fn totals(&self) -> impl Iterator<Item = &Load>;
    /// The service of the server with this id, if it is still one.
    fn service_of(&self, id: ServerId) -> Option<u16>;
}

impl Scales for Maps {
    fn loads(&self) -> &[Load] {
        self.loads.all()
    }

    fn totals(&self) -> impl Iterator<Item = &Load> {
        self.services.all().iter().map(|service| &service.total)
    }

    fn service_of(&self, id: ServerId) -> Option<u16> {
        let state = ServerState::from_word(self.servers.get(id.index())?.state.load());
        state.has(ServerState::IN_USE).then_some(state.service)
    }
}

/// A step of the walk over the table; what a whole round has found is told to the data path. Says whether one was completed.
pub fn walk<G: Ground + Scales>(
    sweep: &mut Sweep,
    begun: &mut Begun,
    ground: &G,
    limits: &SweepLimits,
    in_haste: bool,
    is_denied: impl Fn(Site, Slot) -> bool,
) -> bool {
    if sweep.is_at_start() {
        *begun = Begun::read(ground);
    }
    let complete = sweep.step(ground, limits, in_haste, is_denied);
    if complete {
        begun.publish(ground, sweep.census());
    }
    complete
}

impl Begun {
    /// As it is now.
    #[must_use]
    pub fn read(scales: &impl Scales) -> Self {
        Self {
            servers: scales.loads().iter().map(|load| load.begun.load()).collect(),
            services: scales.totals().map(|total| total.begun.load()).collect(),
        }
    }

    /// Tells the data path what a walk found that began at this.
    pub fn publish(&self, scales: &impl Scales, census: &Census) {
        let mut servers = vec![0; self.servers.len()];
        let mut services = vec![0; self.services.len()];
        let homes: Vec<u64> = scales.totals().map(|total| total.home.load()).collect();
        for (id, load) in (0..).zip(scales.loads()).filter_map(|(id, load)| Some((ServerId::new(id)?, load)))
        {
            let found = census.active(id);
            if let Some(home) = servers.get_mut(load.home.load() as usize) {
                *home += found;
            }
            let home = scales.service_of(id).and_then(|number| homes.get(usize::from(number)));
            if let Some(home) = home.and_then(|home| services.get_mut(*home as usize)) {
                *home += found;
            }
        }
        for ((load, found), begun) in scales.loads().iter().zip(servers).zip(&self.servers) {
            load.publish(found, *begun);
        }
        for ((total, found), begun) in scales.totals().zip(services).zip(&self.services) {
            total.publish(found, *begun);
        }
    }
}

impl Installation {
    /// What each server takes and by what weight it is judged, and who counts for whom. Whether anybody counts elsewhere now.
    pub(super) fn write_loads(&self, wanted: &[DesiredService], numbered: &[Numbered]) -> bool {
        let (services, servers) = homes(wanted, numbered);
        let earlier = self.ledger.earlier();
        let mut moved = false;
        let mut count_at = |load: &Load, home: u64| {
            moved |= load.home.load() != home;
            load.home.store(home);
        };
        for (lane, numbers) in wanted.iter().zip(numbered) {
            let mut weights = 0;
            for (server, id) in lane.servers.iter().zip(&numbers.servers) {
                let home = servers.get(&server.name_hash).copied().unwrap_or(*id);
                // Those of its earlier lanes are still on it.
                for id in std::iter::once(id).chain(earlier.of(server)) {
                    let Some(load) = self.maps.loads.get(id.index()) else { continue };
                    count_at(load, home.index().into());
                    load.most.store(server.max_connections.into());
                    load.weight.store(server.share.into());
                }
                weights += u64::from(server.share);
            }
            let Some(service) = self.maps.services.get(u32::from(numbers.service)) else { continue };
            let home = services.get(&lane.identity.name_hash).copied().unwrap_or(numbers.service);
            count_at(&service.total, home.into());
            service.total.weight.store(weights);
        }
        moved
    }

    /// Whether any service goes by how many connections its servers have.
    #[must_use]
    pub fn counts(&self) -> bool {
        let counted = |number: u16| {
            let service = self.maps.services.get(u32::from(number));
            service.is_some_and(|service| service.scheduling().has(Scheduling::COUNTED))
        };
        self.ledger.services().any(|(number, _)| counted(number))
    }
}

impl DesiredService {
    /// How the data path is to pick for it.
    #[must_use]
    pub fn scheduling(&self) -> Scheduling {
        let limited = self.servers.iter().any(|server| server.max_connections > 0);
        let counted = if limited || self.scheduler == Scheduler::Least { Scheduling::COUNTED } else { 0 };
        let affinity = if self.affinity.is_some() { Scheduling::AFFINITY } else { 0 };
        Scheduling::new(self.scheduler, counted | affinity)
    }
}

/// The lowest number of each service and of each server, by name hash.
fn homes(wanted: &[DesiredService], numbered: &[Numbered]) -> (HashMap<u64, u16>, HashMap<u64, ServerId>) {
    let mut services = HashMap::with_capacity(wanted.len());
    let mut servers = HashMap::with_capacity(wanted.iter().map(|lane| lane.servers.len()).sum());
    for (lane, numbers) in wanted.iter().zip(numbered) {
        let home = services.entry(lane.identity.name_hash).or_insert(numbers.service);
        *home = numbers.service.min(*home);
        for (server, id) in lane.servers.iter().zip(&numbers.servers) {
            let home = servers.entry(server.name_hash).or_insert(*id);
            *home = (*id).min(*home);
        }
    }
    (services, servers)
}

#[cfg(test)]
mod schedulers;

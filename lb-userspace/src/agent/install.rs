//! Brings the maps to what is desired: the same few steps at start, reload, health change and repair.
//!
//! Order: server entries before whatever names them; tables aside, then one word that publishes them; listeners last.
//! Removal goes the other way round. Dying between any two steps leaves a data path that forwards.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use anyhow::{Result, anyhow, bail};
use lb_common::entry::{EndpointKey, QuicFormat, ServerState, Service, Settings, Sharers};
use lb_common::maglev::Share;
use lb_common::pick::Extent;
use lb_common::slot::{Limits, ServerId};

use super::actor::unix_seconds;
use super::arena::Arena;
use super::backends::Sharing;
use super::desired::{DesiredServer, DesiredService, ServiceIdentity};
use super::ledger::{Ledger, Numbered, listener_word};
use super::lists::Lists;
use super::miss::Made;
use super::tables::MISS_DELAY;
use super::tunnels::Tunnels;
use crate::config::{self, Parting, Replicate};
use crate::dataplane::Maps;
use crate::net::View;

/// The maps and what the agent knows of them.
pub struct Installation {
    pub maps: Maps,
    pub ledger: Ledger,
    pub(super) arena: Arena,
    /// What each lane's tables were last built from.
    pub(super) built: HashMap<u16, Vec<Share>>,
    /// And its turns, where it has some.
    pub(super) turned: HashMap<u16, Vec<u16>>,
    /// Lanes whose miss table has yet to follow, and when.
    pub(super) following: HashMap<u16, Instant>,
    /// What each lane's miss table is made of, where that is known.
    pub(super) missed: HashMap<u16, Made>,
    /// Lanes whose miss tables directors keep in step: they follow when that is agreed.
    pub(super) in_step: BTreeSet<u16>,
    /// Grows whenever a table is made of something else.
    pub(super) remade: u64,
    pub(super) locals: BTreeSet<IpAddr>,
    pub(super) lists: Lists,
    pub(super) tunnels: Tunnels,
    /// What becomes of the connections of each pair if it is removed.
    pub(super) removals: HashMap<ServerId, Parting>,
    /// Who may answer from where, as the map has it: asking the kernel for each costs more than all the rest of a reload.
    pub(super) sharers: HashMap<EndpointKey, Sharers>,
    /// The numbers of all lanes that are wanted; of none while something has yet to be done.
    pub(super) in_force: HashMap<ServiceIdentity, Numbered>,
}

/// A wanted configuration for which there is room, not yet in force.
pub struct Plan {
    ledger: Ledger,
    numbered: Vec<Numbered>,
    sharing: Sharing,
}

impl Installation {
    /// Reads what the maps say.
    #[must_use]
    pub fn of(maps: Maps, now: Instant) -> Self {
        let ledger = Ledger::read(&maps.services, &maps.servers);
        let extents: Vec<Extent> = maps
            .services
            .all()
            .iter()
            .filter(|service| service.flags.load() & Service::IN_USE != 0)
            .flat_map(|service| [service.select.load(), service.miss.load(), service.turns.load()])
            .filter_map(Extent::from_word)
            .collect();
        let arena = Arena::new(maps.tables.all().len() as u32, extents);
        let behind = |service: &Service| service.select.load() != service.miss.load();
        let following = ledger
            .services()
            .filter(|(number, _)| maps.services.get(u32::from(*number)).is_some_and(behind))
            .map(|(number, _)| (number, now + MISS_DELAY))
            .collect();
        let locals = maps.locals.keys().into_iter().map(IpAddr::from).collect();
        let sharers = maps.backends.entries().into_iter().collect();
        let (lists, tunnels) = (Lists::found(now), Tunnels::new());
        Self {
            maps,
            ledger,
            arena,
            built: HashMap::new(),
            turned: HashMap::new(),
            following,
            missed: HashMap::new(),
            in_step: BTreeSet::new(),
            remade: 0,
            locals,
            lists,
            tunnels,
            removals: HashMap::new(),
            sharers,
            in_force: HashMap::new(),
        }
    }

    /// Whether there is room for this; changes nothing.
    ///
    /// # Errors
    /// What there is no room for, with the remedy.
    pub fn plan(&self, wanted: &[DesiredService]) -> Result<Plan> {
        let mut ledger = self.ledger.clone();
        let numbered = ledger.assign(wanted).map_err(|full| anyhow!("{full}"))?;
        let needed: u64 = wanted.iter().map(|lane| u64::from(lane.table_words())).sum();
        // Each table may stand twice while the miss table follows.
        let room = self.maps.tables.all().len() as u64;
        if needed * 2 > room {
            bail!(
                "the tables need {} MiB, the maps have room for {} MiB; 'xlvs down' and 'xlvs up' make them anew, larger",
                (needed * 2 * 8) >> 20,
                (room * 8) >> 20
            );
        }
        self.plan_pool(wanted)?;
        self.plan_listeners(wanted)?;
        self.plan_lists(wanted)?;
        let sharing = Self::plan_backends(&ledger)?;
        self.plan_members(wanted, &numbered, &ledger)?;
        Ok(Plan { ledger, numbered, sharing })
    }

    /// Puts a plan in force. Whether anybody's connections are counted elsewhere from now on, so that they must be told.
    ///
    /// # Errors
    /// What the kernel says; what was done by then stays done and is repeated by the next call.
    pub fn apply(&mut self, plan: Plan, wanted: &[DesiredService], now: Instant) -> Result<bool> {
        let Plan { ledger, numbered, sharing } = plan;
        self.in_force.clear();
        self.write_lists(wanted)?;
        let before = std::mem::replace(&mut self.ledger, ledger);
        for (service, numbers) in wanted.iter().zip(&numbered) {
            self.write_service(service, numbers.service);
            for (server, id) in service.servers.iter().zip(&numbers.servers) {
                self.write_server(service, numbers.service, server, *id);
                self.removals.insert(*id, server.removal);
            }
        }
        self.want_tunnels(wanted, &numbered);
        self.write_limits(wanted, &numbered);
        self.write_quic(wanted, &numbered)?;
        self.write_affinities(wanted, &numbered)?;
        self.note_lists(wanted, &numbered, now);
        self.write_backends(&sharing)?;
        self.write_gate();
        let counted_elsewhere = self.write_loads(wanted, &numbered);
        for (service, numbers) in wanted.iter().zip(&numbered) {
            self.build_tables(service, numbers, now)?;
            self.build_turns(service, numbers, now)?;
        }
        self.write_scheduling(wanted, &numbered);
        self.write_listeners(wanted, &numbered)?;
        self.mark_leaving(unix_seconds(SystemTime::now()));
        let kept: HashSet<u16> = numbered.iter().map(|numbers| numbers.service).collect();
        let gone = before.services().map(|(number, _)| number).filter(|number| !kept.contains(number));
        self.close_services(&gone.collect::<Vec<_>>(), now)?;
        self.in_force = wanted.iter().map(|lane| lane.identity).zip(numbered).collect();
        Ok(counted_elsewhere)
    }

    /// Brings the maps to this, by these ways. Whether anybody's connections are counted elsewhere now.
    ///
    /// # Errors
    /// What there is no room for, or what the kernel says; the next call repeats what was not done.
    pub fn reconcile(&mut self, wanted: &[DesiredService], view: &View, now: Instant) -> Result<bool> {
        let outcome = self.plan(wanted).and_then(|plan| self.apply(plan, wanted, now));
        self.write_tunnels(view);
        // A pair may enter its table once its way is known.
        if self.write_next_hops(view) {
            let before = outcome?;
            return Ok(self.plan(wanted).and_then(|plan| self.apply(plan, wanted, now))? || before);
        }
        outcome
    }

    /// Sets what every packet is judged by.
    pub fn write_settings(&self, limits: Limits, wanted: &config::Datapath) {
        let settings = self.maps.settings.only();
        let room = self.maps.addresses.all().len() == settings.geometry().slots() as usize;
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        settings.set_limits(limits);
        settings.flags.store(
            Settings::SERVING
                | flag(wanted.flow_table_size > 0, Settings::FLOWS)
                | flag(wanted.client_addresses && room, Settings::ADDRESSES),
        );
    }

    fn write_service(&self, wanted: &DesiredService, number: u16) {
        let Some(entry) = self.maps.services.get(u32::from(number)) else { return };
        if entry.flags.load() & Service::IN_USE == 0 {
            let tables = [&entry.select, &entry.miss, &entry.turns, &entry.scheduling];
            for word in tables.into_iter().chain(&entry.retired).chain(&entry.incidents) {
                word.store(0);
            }
        }
        entry.listener.store(listener_word(&wanted.identity));
        entry.vip.store(wanted.identity.vip);
        entry.name_hash.store(wanted.identity.name_hash);
        entry.access.store(wanted.access.number());
        entry.quic.store(wanted.quic.map_or(0, QuicFormat::to_word));
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        entry.flags.store(
            Service::IN_USE
                | flag(wanted.reject, Service::REJECT)
                | flag(wanted.identity.mode == config::Mode::FullNat, Service::FULL_NAT),
        );
    }

    pub(super) fn write_server(
        &self,
        service: &DesiredService,
        number: u16,
        server: &DesiredServer,
        id: ServerId,
    ) {
        let Some(entry) = self.maps.servers.get(id.index()) else { return };
        let held = ServerState::from_word(entry.state.load());
        if !held.has(ServerState::IN_USE) {
            entry.address.store(server.address);
            entry.vip.store(service.identity.vip);
            entry.name_hash.store(server.name_hash);
            if let Some(tunnel) = self.maps.tunnels.get(id.index()) {
                tunnel.way.store(0);
                tunnel.forget();
            }
        }
        entry.memo.store(server.memo().to_word());
        let metered = if service.limits.source_packets.is_some() { ServerState::METERED } else { 0 };
        let told = match service.told {
            Replicate::All => ServerState::TOLD | ServerState::TOLD_WHOLE,
            Replicate::Diverged => ServerState::TOLD,
            Replicate::None => 0,
        };
        let by_id = if service.quic.is_some() { ServerState::BY_ID } else { 0 };
        let state = ServerState {
            flags: server.flags(&service.identity)
                | metered
                | by_id
                | told
                | held.flags & ServerState::SHARED,
            service: number,
            port: server.port,
            vip_port: service.identity.port,
        };
        if held != state {
            entry.state.store(state.to_word());
        }
    }
}

//! What is no longer wanted: pairs that keep their numbers until nothing holds them, lanes that pick nobody any more.

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::Result;
use lb_common::entry::{Counters, Incidents, Memo, ServerState, Then};
use lb_common::pick::Extent;
use lb_common::slot::ServerId;

use super::install::Installation;
use super::parting;

impl Installation {
    /// Gives back the numbers of pairs that are leaving and that nothing holds any more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn free(&mut self, held: impl Fn(ServerId) -> bool) -> Result<()> {
        let free: Vec<(ServerId, u16)> = self
            .ledger
            .pairs()
            .filter(|(id, pair)| pair.leaving && !held(*id) && !self.is_missed(*id))
            .map(|(id, pair)| (id, pair.identity.service))
            .collect();
        for (id, number) in &free {
            self.retire(*number, self.maps.counts.server(*id)?);
            self.ledger.free_pair(*id);
        }
        if free.is_empty() {
            return Ok(());
        }
        self.write_backends_anew()?;
        self.write_gate();
        self.forget_members(|id| free.iter().any(|(freed, _)| *freed == id))?;
        self.forget_quic(|id| free.iter().any(|(freed, _)| *freed == id))?;
        for (id, _) in &free {
            if let Some(server) = self.maps.servers.get(id.index()) {
                server.state.store(0);
                server.next_hop.store(0);
                server.memo.store(0);
            }
            if let Some(load) = self.maps.loads.get(id.index()) {
                // `begun` goes on, so that no walk under way reckons with more than there were.
                load.publish(0, load.begun.load());
                [&load.most, &load.weight, &load.home].into_iter().for_each(|word| word.store(0));
            }
            self.maps.counts.clear_server(*id)?;
        }
        self.free_services()
    }

    /// A lane's totals of servers that are no longer there.
    #[must_use]
    pub fn retired(&self, number: u16) -> Counters {
        match self.maps.services.get(u32::from(number)) {
            Some(service) => Counters::from_array(std::array::from_fn(|i| service.retired[i].load())),
            None => Counters::default(),
        }
    }

    /// What befell a lane, and lanes before it whose heir it is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn incidents(&self, number: u16) -> Result<Incidents> {
        let inherited =
            self.maps.services.get(u32::from(number)).map_or_else(Incidents::default, |service| {
                Incidents::from_array(std::array::from_fn(|i| service.incidents[i].load()))
            });
        Ok(inherited + self.maps.counts.incidents(number)?)
    }

    fn retire(&self, number: u16, counted: Counters) {
        let Some(service) = self.maps.services.get(u32::from(number)) else { return };
        for (word, add) in service.retired.iter().zip(counted.to_array()) {
            word.store(word.load().wrapping_add(add));
        }
    }

    /// Says in the maps who is leaving, and lets go of the connections of those whose time has come (`now` in Unix seconds).
    pub(super) fn mark_leaving(&self, now: u64) {
        for (id, pair) in self.ledger.pairs() {
            let Some(entry) = self.maps.servers.get(id.index()) else { continue };
            let state = ServerState::from_word(entry.state.load());
            let flags = if pair.leaving {
                if !state.has(ServerState::REMOVED) {
                    let policy = self.removals.get(&id).copied().unwrap_or_default();
                    let memo = Memo {
                        since: (now + policy.after.as_secs()) as u32,
                        farewell: policy.then.into(),
                        ..Memo::from_word(entry.memo.load())
                    };
                    entry.memo.store(memo.to_word());
                }
                let Memo { since, farewell, .. } = Memo::from_word(entry.memo.load());
                let kept = state.flags & !ServerState::LETS_GO | ServerState::REMOVED;
                kept | parting::flag_at(farewell, u64::from(since), now)
            } else {
                state.flags & !ServerState::REMOVED
            };
            if flags != state.flags {
                entry.state.store(ServerState { flags, ..state }.to_word());
            }
        }
    }

    /// When the next one that is leaving has its connections let go, in Unix seconds; `now` likewise.
    #[must_use]
    pub fn next_farewell(&self, now: u64) -> Option<u64> {
        let leaving = self.ledger.pairs().filter(|(_, pair)| pair.leaving);
        let memos = leaving
            .filter_map(|(id, _)| Some(Memo::from_word(self.maps.servers.get(id.index())?.memo.load())));
        let to_come = memos.filter(|memo| memo.farewell != Then::Keep).map(|memo| u64::from(memo.since));
        to_come.filter(|at| *at > now).min()
    }

    /// Lanes that are no longer wanted pick nobody; their connections go on until they end.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn close_services(&mut self, numbers: &[u16], now: Instant) -> Result<()> {
        for number in numbers {
            self.built.remove(number);
            self.turned.remove(number);
            self.following.remove(number);
            self.missed.remove(number);
            self.in_step.remove(number);
            let Some(entry) = self.maps.services.get(u32::from(*number)) else { continue };
            entry.scheduling.store(0);
            let tables = [&entry.select, &entry.miss, &entry.turns].map(|table| {
                let extent = table.load();
                table.store(0);
                extent
            });
            entry.limits.store(0);
            for extent in tables.into_iter().filter_map(Extent::from_word) {
                self.arena.release(extent, now);
            }
        }
        if numbers.is_empty() { Ok(()) } else { self.free_services() }
    }

    /// Frees the numbers of lanes that are closed and have no pair left. What they counted goes to another lane of their
    /// service, so that its totals only grow.
    fn free_services(&mut self) -> Result<()> {
        let with_pairs: BTreeSet<u16> = self.ledger.pairs().map(|(_, pair)| pair.identity.service).collect();
        let empty: Vec<u16> = self
            .ledger
            .services()
            .map(|(number, _)| number)
            .filter(|number| !with_pairs.contains(number) && !self.built.contains_key(number))
            .collect();
        for number in &empty {
            let name_hash =
                |number: u16| self.maps.services.get(u32::from(number)).map(|s| s.name_hash.load());
            let its = name_hash(*number);
            let mut lanes = self.ledger.services().map(|(other, _)| other);
            if let Some(heir) = lanes.find(|other| !empty.contains(other) && name_hash(*other) == its) {
                self.retire(heir, self.retired(*number));
                self.inherit_incidents(heir, self.incidents(*number)?);
            }
        }
        for number in empty {
            self.maps.counts.clear_incidents(number)?;
            if let Some(entry) = self.maps.services.get(u32::from(number)) {
                entry.flags.store(0);
            }
            self.ledger.free_service(number);
        }
        Ok(())
    }

    fn inherit_incidents(&self, heir: u16, befallen: Incidents) {
        let Some(service) = self.maps.services.get(u32::from(heir)) else { return };
        for (word, add) in service.incidents.iter().zip(befallen.to_array()) {
            word.store(word.load().wrapping_add(add));
        }
    }
}

//! The tables by which the data path picks servers: built aside, published by one word. Miss tables follow ([`super::miss`]).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lb_common::entry::{Scheduler, Scheduling, ServerState};
use lb_common::maglev::{self, Share};
use lb_common::pick::{Extent, IDS_PER_WORD, id_in_word, word_of_ids};
use lb_common::rotation;
use lb_common::slot::ServerId;

use super::desired::DesiredService;
use super::install::Installation;
use super::ledger::Numbered;

/// How long the miss table stays behind the select table on a single director: long enough that connections picked by
/// the old tables have either been stored or ended.
pub const MISS_DELAY: Duration = Duration::from_secs(10);

impl Installation {
    /// Builds a service's table aside and publishes it, if anything about it changed.
    pub(super) fn build_tables(
        &mut self,
        wanted: &DesiredService,
        numbers: &Numbered,
        now: Instant,
    ) -> Result<()> {
        let number = numbers.service;
        let shares: Vec<Share> = wanted
            .servers
            .iter()
            .zip(&numbers.servers)
            .filter(|(server, id)| server.takes_new() && self.reachable(**id))
            .map(|(server, id)| Share { name_hash: server.name_hash, weight: server.share, id: id.get() })
            .collect();
        let entry = self.maps.services.get(u32::from(number)).context("service numbers fit the map")?;
        let published = Extent::from_word(entry.select.load());
        let size_holds = published.is_some_and(|extent| extent.size() == wanted.table_size);
        if self.built.get(&number) == Some(&shares) && size_holds {
            return Ok(());
        }
        let table = maglev::table(&shares, wanted.table_size);
        if size_holds && published.is_some_and(|extent| self.holds(extent, &table)) {
            self.built.insert(number, shares);
            self.note_miss(number);
            return Ok(());
        }
        let extent = self.write_table(&table, now).with_context(|| {
            format!("no free stretch of table memory for service {}; try again in a second", wanted.name)
        })?;
        let entry = self.maps.services.get(u32::from(number)).context("service numbers fit the map")?;
        let miss = Extent::from_word(entry.miss.load());
        entry.select.store(extent.to_word());
        if miss.is_some_and(|miss| self.names_somebody(miss)) {
            self.following.insert(number, now + MISS_DELAY);
        } else {
            // A service that is new, or had no server, has no connections that its miss table should keep finding.
            entry.miss.store(extent.to_word());
            self.following.remove(&number);
            if let Some(empty) = miss
                && published != miss
            {
                self.arena.release(empty, now);
            }
        }
        let miss = Extent::from_word(entry.miss.load());
        if let Some(old) = published
            && miss != Some(old)
        {
            self.arena.release(old, now);
        }
        self.built.insert(number, shares);
        self.note_miss(number);
        Ok(())
    }

    /// Writes a table where nobody looks yet; `None` without room.
    pub(super) fn write_table(&mut self, table: &[u16], now: Instant) -> Option<Extent> {
        let extent = self.arena.take(table.len() as u32, now)?;
        for (i, word) in words(table).enumerate() {
            if let Some(place) = self.maps.tables.get(extent.offset() + i as u32) {
                place.store(word);
            }
        }
        Some(extent)
    }

    /// Of the connections of this server's lane, the share of each server that new ones are given to.
    pub(super) fn shares(&self, of_lane: ServerId) -> BTreeMap<ServerId, f64> {
        let lane =
            self.maps.servers.get(of_lane.index()).map(|server| ServerState::from_word(server.state.load()));
        let service = lane.and_then(|state| self.maps.services.get(u32::from(state.service)));
        let Some(extent) = service.and_then(|service| Extent::from_word(service.select.load())) else {
            return BTreeMap::new();
        };
        let places =
            (0..extent.size()).map(|place| (extent.offset() + place / IDS_PER_WORD, place % IDS_PER_WORD));
        let mut slots: BTreeMap<ServerId, u32> = BTreeMap::new();
        for id in
            places.filter_map(|(word, position)| id_in_word(self.maps.tables.get(word)?.load(), position))
        {
            *slots.entry(id).or_default() += 1;
        }
        slots.into_iter().map(|(id, slots)| (id, f64::from(slots) / f64::from(extent.size()))).collect()
    }

    /// Builds the turns of a service aside and publishes them, where it has some and they changed: all at once, for nobody is
    /// looked for in them again.
    pub(super) fn build_turns(
        &mut self,
        wanted: &DesiredService,
        numbers: &Numbered,
        now: Instant,
    ) -> Result<()> {
        let number = numbers.service;
        let turns = match self.built.get(&number) {
            Some(shares) if wanted.has_turns() => {
                let weight =
                    |share: &Share| if wanted.weighted_turns { share.weight } else { share.weight.min(1) };
                let shares: Vec<Share> =
                    shares.iter().map(|share| Share { weight: weight(share), ..*share }).collect();
                rotation::turns(&shares, wanted.table_size as usize)
            }
            _ => Vec::new(),
        };
        let entry = self.maps.services.get(u32::from(number)).context("service numbers fit the map")?;
        let published = Extent::from_word(entry.turns.load());
        let holds = published.map_or(turns.is_empty(), |extent| {
            extent.size() as usize == turns.len() && self.holds(extent, &turns)
        });
        if self.turned.get(&number) == Some(&turns) || holds {
            self.turned.insert(number, turns);
            return Ok(());
        }
        let extent = match turns.len() {
            0 => None,
            _ => Some(self.write_table(&turns, now).with_context(|| {
                format!(
                    "no free stretch of table memory for the turns of service {}; try again in a second",
                    wanted.name
                )
            })?),
        };
        let entry = self.maps.services.get(u32::from(number)).context("service numbers fit the map")?;
        entry.turns.store(extent.map_or(0, Extent::to_word));
        if let Some(old) = published {
            self.arena.release(old, now);
        }
        self.turned.insert(number, turns);
        Ok(())
    }

    /// How each service picks, last of all: from here on the data path asks for what has been written.
    pub(super) fn write_scheduling(&self, wanted: &[DesiredService], numbered: &[Numbered]) {
        for (lane, numbers) in wanted.iter().zip(numbered) {
            if let Some(entry) = self.maps.services.get(u32::from(numbers.service)) {
                entry.scheduling.store(lane.scheduling().to_word());
            }
        }
    }

    /// Whether the way to a server is known: without, its packets could only be dropped.
    fn reachable(&self, id: ServerId) -> bool {
        self.maps.servers.get(id.index()).is_some_and(|server| server.next_hop.load() != 0)
    }

    /// A table is full or empty: its first word tells.
    fn names_somebody(&self, extent: Extent) -> bool {
        self.maps.tables.get(extent.offset()).is_some_and(|word| word.load() != 0)
    }

    fn holds(&self, extent: Extent, table: &[u16]) -> bool {
        words(table).enumerate().all(|(i, word)| {
            self.maps.tables.get(extent.offset() + i as u32).is_some_and(|place| place.load() == word)
        })
    }
}

impl DesiredService {
    /// Whether its servers take turns: because its scheduler has them do so, or to find one that is not full.
    #[must_use]
    pub fn has_turns(&self) -> bool {
        self.scheduler == Scheduler::Rotation || self.scheduling().has(Scheduling::COUNTED)
    }

    /// Room that its tables need, in words of the arena.
    #[must_use]
    pub fn table_words(&self) -> u32 {
        let tables = Extent::words_for(self.table_size);
        match () {
            () if !self.has_turns() => tables,
            // Parts of weights take many turns.
            () if self.weighted_turns => tables * 2,
            () => tables + Extent::words_for(self.servers.len() as u32),
        }
    }
}

fn words(table: &[u16]) -> impl Iterator<Item = u64> {
    table.chunks(IDS_PER_WORD as usize).map(|ids| {
        let mut four = [0; 4];
        four[..ids.len()].copy_from_slice(ids);
        word_of_ids(four)
    })
}

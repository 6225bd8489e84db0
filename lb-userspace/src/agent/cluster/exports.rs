//! What of the connection table the others are told: who has come, how far its life is, who has gone.
//!
//! A walk of its own, all of the table each second, is the truth; what the data path announces as it settles is looked at before
//! the walk comes by, so that it is told within milliseconds. A word that has not changed since the last look costs a comparison.
//! Every change is told, an entry's age among them: where packets come, the record is ours, whoever had it before; where none come,
//! another director's stays.

use std::time::{Duration, Instant};

use lb_common::flow_table::{BUCKET_SLOTS, FlowTable, Place};
use lb_common::identity::FlowId;
use lb_common::slot::{Geometry, ServerId, Slot};

use super::naming::Naming;
use super::ripening::Ripening;
use super::stepping::Spared;
use crate::dataplane::Maps;
use crate::replication::record::{Class, Connection};
use crate::replication::replicator::Replicator;

/// Steps in which the whole table is walked.
pub const STEPS: usize = 10;

/// What has been told, by the place in the table that it stands in.
#[derive(Debug)]
pub struct Exports {
    /// The word as it was told; zero: nothing of this place is.
    told: Vec<u64>,
    next: usize,
    ripening: Ripening,
    /// Of a table that was there before this agent, others may know better whose its entries are, until they speak again.
    is_first_round: bool,
    /// Buckets that are looked at although they have not changed: the names or rules are others.
    anew: usize,
    /// What the others derive, and in which places that stands.
    spared: Spared,
    spared_at: Vec<bool>,
}

/// A table to look at.
struct View<'a> {
    table: FlowTable<'a, Maps>,
    naming: &'a Naming,
}

impl View<'_> {
    fn geometry(&self) -> Geometry {
        self.table.geometry
    }

    /// Whose entry it is, and what is told of it, if anything.
    fn record(&self, slot: Slot) -> Option<(Connection, Duration)> {
        self.naming.record(slot.server()?, Class::of(slot.class())?)
    }

    /// Where the table has an entry of this flow, and its word.
    fn find(&self, flow: FlowId) -> Option<(Place, u64)> {
        let place = self.table.locate(flow)?;
        Some((place, self.table.memory.flows.get(place.bucket)?[place.index as usize].load()))
    }

    /// Whether the table has an entry of this flow, anywhere, that is told.
    fn tells(&self, flow: FlowId) -> bool {
        let slot = self.find(flow).and_then(|(_, word)| Slot::from_word(word));
        slot.is_some_and(|slot| self.record(slot).is_some())
    }
}

impl Exports {
    /// Of a table with so many buckets, of which nothing has been told.
    pub fn new(buckets: usize) -> Self {
        Self {
            told: vec![0; buckets * BUCKET_SLOTS],
            next: 0,
            ripening: Ripening::default(),
            is_first_round: true,
            anew: 0,
            spared: Spared::default(),
            spared_at: vec![false; buckets * BUCKET_SLOTS],
        }
    }

    /// From now on this need not be told. Whether the table is looked at anew because of it.
    pub fn spare(&mut self, spared: Spared) -> bool {
        let is_other = !spared.is_like(&self.spared);
        self.spared = spared;
        if is_other {
            self.look_again();
        }
        is_other
    }

    /// Whether a whole round has been made since there was a reason to look again.
    pub fn has_looked(&self) -> bool {
        self.anew == 0
    }

    /// Connections that are not told because the others derive them.
    pub fn spared(&self) -> usize {
        self.spared_at.iter().filter(|spared| **spared).count()
    }

    /// The server of each of them.
    pub fn spared_servers(&self) -> impl Iterator<Item = ServerId> + '_ {
        let spared = self.told.iter().zip(&self.spared_at).filter(|(_, is_spared)| **is_spared);
        spared.filter_map(|(word, _)| Slot::from_word(*word)?.server())
    }

    /// Whether this word in this place has been told as it stands.
    pub fn has_told(&self, place: Place, word: u64) -> bool {
        self.told.get(place.number() as usize) == Some(&word)
    }

    /// Names or rules have changed.
    pub fn look_again(&mut self) {
        self.anew = self.told.len() / BUCKET_SLOTS;
    }

    /// Looks at the next part of the table and tells what is new.
    pub fn step(&mut self, maps: &Maps, naming: &Naming, replicator: &mut Replicator, now: Instant) {
        let view = View { table: maps.flow_table(), naming };
        let buckets = maps.flows.all();
        let end = buckets.len().min(self.next + buckets.len().div_ceil(STEPS));
        for (number, bucket) in (self.next..end).zip(&buckets[self.next..end]) {
            for (index, cell) in bucket.iter().enumerate() {
                let word = cell.load();
                let place = Place { bucket: number as u32, index: index as u32 };
                if word != self.told[place.number() as usize] || self.anew > 0 {
                    self.look(&view, place, word, replicator, now);
                }
            }
            self.anew = self.anew.saturating_sub(1);
        }
        self.next = end;
        if end == buckets.len() {
            self.next = 0;
            self.is_first_round = false;
            self.ripening.end_round();
        }
    }

    /// Looks at connections that settled so long ago.
    pub fn hear(
        &mut self,
        settled: &[(FlowId, Duration)],
        maps: &Maps,
        naming: &Naming,
        replicator: &mut Replicator,
        now: Instant,
    ) {
        let view = View { table: maps.flow_table(), naming };
        for (flow, age) in settled {
            let Some((place, word)) = view.find(*flow) else { continue };
            if word != self.told[place.number() as usize] {
                self.look(&view, place, word, replicator, now);
                replicator.settled(*flow, now.checked_sub(*age).unwrap_or(now));
            }
        }
    }

    /// All of the table, at once.
    pub fn finish(&mut self, maps: &Maps, naming: &Naming, replicator: &mut Replicator, now: Instant) {
        self.next = 0;
        for _ in 0..STEPS {
            self.step(maps, naming, replicator, now);
        }
    }

    fn look(&mut self, view: &View<'_>, place: Place, word: u64, replicator: &mut Replicator, now: Instant) {
        let flow_of = |slot| view.geometry().flow_of(slot, place.bucket);
        let told = &mut self.told[place.number() as usize];
        let here =
            Slot::from_word(word).and_then(|slot| Some((flow_of(slot), view.record(slot)?, slot.server()?)));
        let before = Slot::from_word(*told).map(flow_of);
        if let Some(before) = before
            && here.is_none_or(|(flow, _, _)| flow != before)
        {
            *told = 0;
            // It may stand in its other bucket by now.
            if !view.tells(before) {
                replicator.withdraw(before, now);
            }
        }
        let spared = &mut self.spared_at[place.number() as usize];
        *spared = here.is_some_and(|(flow, _, server)| {
            replicator.may_be_left_untold(flow) && self.spared.has(view.table.memory, flow, server)
        });
        if *spared {
            self.told[place.number() as usize] = word;
            return;
        }
        let Some((flow, (connection, after), _)) = here else { return };
        if *told == 0 && !self.ripening.is_ripe(place.number(), flow, after, now) {
            return;
        }
        let own = replicator.origin();
        let is_anothers = replicator.store().get(flow).is_some_and(|entry| entry.version.origin != own);
        // One for which there is no room is tried again.
        if (self.is_first_round && is_anothers) || replicator.publish(flow, connection, now).is_ok() {
            self.told[place.number() as usize] = word;
        }
    }
}

#[cfg(test)]
mod tests;

//! The agent's walk over the connection table: who is there, who has been silent for too long, who is denied.
//!
//! A stretch a tick, never the whole of a large table at once. Entries are only ever cleared, by compare-exchange on the
//! word that was judged.

use std::collections::HashMap;
use std::sync::Arc;

use lb_common::clock::Now;
use lb_common::entry::ServerState;
use lb_common::flow_table::{BUCKET_SLOTS, Place};
use lb_common::net::Protocol;
use lb_common::slot::{Class, Limits, ServerId, Slot};

use super::lists::is_denied;
use crate::config::Access;
use crate::dataplane::Maps;

/// Buckets looked at in one tick: 2 MiB of table, well under a millisecond.
const STRETCH: usize = 32_768;

/// How many connections each pair has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    live: Vec<u32>,
    closing: Vec<u32>,
}

/// The state of the walk.
#[derive(Debug)]
pub struct Sweep {
    next: usize,
    counting: Census,
    counted: Census,
    /// Rounds that began, so that one can ask for a round that began after some moment.
    rounds: u64,
}

/// Silence after which an entry is cleared; the table's own limits, told apart by protocol.
#[derive(Debug, Clone, Copy)]
pub struct SweepLimits {
    pub tcp: Limits,
    pub udp: Limits,
}

impl Census {
    #[must_use]
    pub fn of_pairs(pairs: usize) -> Self {
        Self { live: vec![0; pairs], closing: vec![0; pairs] }
    }

    /// Connections that are not closing.
    #[must_use]
    pub fn active(&self, id: ServerId) -> u64 {
        self.live.get(id.index() as usize).copied().unwrap_or(0).into()
    }

    /// Whether any entry names this pair.
    #[must_use]
    pub fn names(&self, id: ServerId) -> bool {
        self.active(id) > 0 || self.closing.get(id.index() as usize).is_some_and(|count| *count > 0)
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.live.iter().map(|count| u64::from(*count)).sum()
    }

    fn add(&mut self, slot: Slot) {
        let counts = if slot.class() == Class::Closing { &mut self.closing } else { &mut self.live };
        if let Some(count) = slot.server().and_then(|id| counts.get_mut(id.index() as usize)) {
            *count += 1;
        }
    }
}

impl Sweep {
    #[must_use]
    pub fn new(pairs: usize) -> Self {
        Self { next: 0, counting: Census::of_pairs(pairs), counted: Census::of_pairs(pairs), rounds: 0 }
    }

    /// Walks one stretch, clears what has expired and what services do not admit, and says whether a round was completed.
    pub fn step(&mut self, maps: &Maps, limits: &SweepLimits, in_force: &HashMap<u16, Arc<Access>>) -> bool {
        let now = maps.clock.only().now();
        let buckets = maps.flows.all();
        if self.next == 0 {
            self.rounds += 1;
            self.counting = Census::of_pairs(self.counted.live.len());
        }
        let end = buckets.len().min(self.next + STRETCH);
        let first = self.next * BUCKET_SLOTS;
        for (i, cell) in buckets[self.next..end].iter().flatten().enumerate() {
            let word = cell.load();
            let Some(slot) = Slot::from_word(word) else { continue };
            let is_over = slot.expired(now, limits.of(maps, slot))
                || is_denied(maps, in_force, Place::of_number((first + i) as u32), slot);
            if is_over && cell.replace(word, 0) {
                continue;
            }
            self.counting.add(slot);
        }
        self.next = end;
        let complete = end == buckets.len();
        if complete {
            self.next = 0;
            std::mem::swap(&mut self.counting, &mut self.counted);
        }
        complete
    }

    /// The last complete round.
    #[must_use]
    pub fn census(&self) -> &Census {
        &self.counted
    }

    /// How many rounds have begun.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.rounds
    }
}

impl SweepLimits {
    /// The limits of this entry's protocol.
    #[must_use]
    pub fn of(&self, maps: &Maps, slot: Slot) -> Limits {
        let server = slot.server().and_then(|id| maps.servers.get(id.index()));
        let protocol = server.map(|server| ServerState::from_word(server.state.load()).protocol());
        if protocol == Some(Protocol::Udp) { self.udp } else { self.tcp }
    }
}

/// A count of this very moment; for tables that are walked in a few milliseconds.
#[must_use]
pub fn count_now(maps: &Maps, pairs: usize, limits: &SweepLimits) -> Census {
    let now: Now = maps.clock.only().now();
    let mut census = Census::of_pairs(pairs);
    for cell in maps.flows.all().iter().flatten() {
        if let Some(slot) = Slot::from_word(cell.load())
            && !slot.expired(now, limits.of(maps, slot))
        {
            census.add(slot);
        }
    }
    census
}

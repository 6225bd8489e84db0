//! The agent's walk over the connection table and the ports of full NAT: who is there, who has been silent for too long, who is denied.
//!
//! A stretch a tick, never the whole of a large table at once. Entries are only ever cleared, by compare-exchange on the
//! word that was judged.

use std::ops::Range;

use lb_common::clock::Now;
use lb_common::entry::ServerState;
use lb_common::net::Protocol;
use lb_common::slot::{Class, Limits, ServerId, Slot};
use lb_common::word::Word;

use crate::dataplane::{Maps, Site};

/// Buckets looked at in one tick: 2 MiB of table, well under a millisecond.
const STRETCH: usize = 32_768;

/// Buckets, where a service goes by how many connections its servers have: the largest table within eight seconds.
const LONG_STRETCH: usize = 8 * STRETCH;

/// Fine ticks after which a connection that nobody answered counts as waiting: its client has asked twice by then.
const WAITED: u8 = 3;

/// What is walked.
pub trait Ground {
    fn now(&self) -> Now;
    /// Of all tables together.
    fn buckets(&self) -> usize;
    fn places(&self, buckets: Range<usize>) -> impl Iterator<Item = (Site, &Word)>;
    /// Of the service whose connection it is.
    fn protocol(&self, slot: Slot) -> Protocol;
}

impl Ground for Maps {
    fn now(&self) -> Now {
        self.clock.only().now()
    }

    fn buckets(&self) -> usize {
        Self::buckets(self)
    }

    fn places(&self, buckets: Range<usize>) -> impl Iterator<Item = (Site, &Word)> {
        Self::places(self, buckets)
    }

    fn protocol(&self, slot: Slot) -> Protocol {
        let server = slot.server().and_then(|id| self.servers.get(id.index()));
        server.map_or(Protocol::Tcp, |server| ServerState::from_word(server.state.load()).protocol())
    }
}

/// How many connections each pair has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    live: Vec<u32>,
    closing: Vec<u32>,
    /// Of those that are not closing: asked for a while ago, and not answered where answers are seen.
    unanswered: Vec<u32>,
    /// Ports of full NAT that are lent, those that rest included.
    lent: u64,
    /// Of these, connections that are not closing.
    lent_live: u64,
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
        let none = || vec![0; pairs];
        Self { live: none(), closing: none(), unanswered: none(), lent: 0, lent_live: 0 }
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

    /// Connections in the connection table that are not closing.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.live.iter().map(|count| u64::from(*count)).sum::<u64>() - self.lent_live
    }

    /// Ports that full NAT has lent, those that rest included.
    #[must_use]
    pub fn lent(&self) -> u64 {
        self.lent
    }

    /// The pairs whose clients wait for an answer, and how many do. Datagrams, and connections whose answers take another way, are
    /// among them.
    pub fn unanswered(&self) -> impl Iterator<Item = (ServerId, u64)> {
        let counts = (0..).zip(&self.unanswered).filter(|(_, count)| **count > 0);
        counts.filter_map(|(id, count)| Some((ServerId::new(id)?, u64::from(*count))))
    }

    pub(super) fn add(&mut self, site: Site, slot: Slot, now: Now) {
        let lent = u64::from(matches!(site, Site::Lease(_)));
        self.lent += lent;
        self.lent_live += if slot.class() == Class::Closing { 0 } else { lent };
        let counts = if slot.class() == Class::Closing { &mut self.closing } else { &mut self.live };
        if let Some(count) = slot.server().and_then(|id| counts.get_mut(id.index() as usize)) {
            *count += 1;
        }
        let is_waiting = slot.class() == Class::New && slot.idle(now) >= WAITED;
        let waits = slot.server().filter(|_| is_waiting);
        if let Some(count) = waits.and_then(|id| self.unanswered.get_mut(id.index() as usize)) {
            *count += 1;
        }
    }
}

impl Sweep {
    #[must_use]
    pub fn new(pairs: usize) -> Self {
        Self { next: 0, counting: Census::of_pairs(pairs), counted: Census::of_pairs(pairs), rounds: 0 }
    }

    /// Whether the next step begins a round.
    #[must_use]
    pub fn is_at_start(&self) -> bool {
        self.next == 0
    }

    /// Walks one stretch, a long one if counts are wanted soon; clears what has expired and what services do not admit, and says
    /// whether a round was completed.
    pub fn step(
        &mut self,
        ground: &impl Ground,
        limits: &SweepLimits,
        in_haste: bool,
        is_denied: impl Fn(Site, Slot) -> bool,
    ) -> bool {
        let now = ground.now();
        if self.is_at_start() {
            self.rounds += 1;
            self.counting = Census::of_pairs(self.counted.live.len());
        }
        let end = ground.buckets().min(self.next + if in_haste { LONG_STRETCH } else { STRETCH });
        ground.places(self.next..end).for_each(|(site, cell)| {
            let word = cell.load();
            let Some(slot) = Slot::from_word(word) else { return };
            let is_over = slot.expired(now, limits.of(ground, slot)) || is_denied(site, slot);
            if !(is_over && cell.replace(word, 0)) {
                self.counting.add(site, slot, now);
            }
        });
        self.next = end;
        let complete = end == ground.buckets();
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
    pub fn of(&self, ground: &impl Ground, slot: Slot) -> Limits {
        if ground.protocol(slot) == Protocol::Udp { self.udp } else { self.tcp }
    }
}

/// A count of this very moment; for tables that are walked in a few milliseconds.
#[must_use]
pub fn count_now(ground: &impl Ground, pairs: usize, limits: &SweepLimits) -> Census {
    let now = ground.now();
    let mut census = Census::of_pairs(pairs);
    ground.places(0..ground.buckets()).for_each(|(site, cell)| {
        if let Some(slot) = Slot::from_word(cell.load())
            && !slot.expired(now, limits.of(ground, slot))
        {
            census.add(site, slot, now);
        }
    });
    census
}

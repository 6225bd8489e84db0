//! Who wrote a record, and which of two is the later one.

use std::time::Duration;

use lb_common::identity::{mix, name_hash};
use serde::{Deserialize, Serialize};

/// A director, by the hash of its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The same on every director.
    pub fn of(name: &str) -> Self {
        Self(name_hash(0, name.as_bytes()))
    }
}

/// One life of a director's flow table. An agent that restarts on its pins goes on as the same origin; a machine that
/// boots is another one, and what it wrote before is the record of a dead origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Origin {
    pub node: NodeId,
    /// Given when the flow table was made, and kept beside it.
    pub life: u64,
}

/// The place of a record in the order of all records: by counter, the origin decides between equal ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    pub counter: u64,
    pub origin: Origin,
}

impl Version {
    /// What this version of this flow's record adds to a digest. A version names one content, so nothing else is needed.
    pub(super) fn fingerprint(&self, flow: u64) -> u64 {
        mix(flow ^ mix(self.counter ^ mix(self.origin.node.0 ^ mix(self.origin.life))))
    }
}

/// More than a director writes in a second, as a power of two.
const WRITTEN_A_SECOND: u32 = 24;

/// A Lamport clock (Lamport, "Time, Clocks, and the Ordering of Events", 1978) that does not go back over restarts: the
/// caller persists [`Counter::mark`] whenever it changes, and a restarted agent begins there.
#[derive(Clone, Debug)]
pub struct Counter(u64);

/// Counters between two marks: so many records may be written before the new mark must be on disk.
pub const RESERVE: u64 = 1 << 20;
/// Believed by whatever clock: more than a cluster writes in years.
const BELIEVED_ANYWAY: u64 = 1 << 48;

impl Counter {
    /// Begins above everything written before `mark` was persisted; 0 for a first start.
    pub fn from_mark(mark: u64) -> Self {
        Self(mark)
    }

    /// The furthest that anybody's counter may be at this time since the beginning of 1970. It rises faster than anybody counts,
    /// and is the same everywhere but for what clocks differ: so whoever was pushed up to it by a forged record is believed by all
    /// others a moment later, and nobody can be pushed further.
    pub fn ceiling(since_1970: Duration) -> u64 {
        (since_1970.as_secs().min(1 << 36) << WRITTEN_A_SECOND).max(BELIEVED_ANYWAY)
    }

    /// The counter of the next record.
    pub fn count(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }

    /// The last counter given or heard of.
    pub fn now(&self) -> u64 {
        self.0
    }

    /// Raises the clock above what was received; `false` if that is above [`Counter::ceiling`] and above what was given here.
    pub fn hear(&mut self, counter: u64, ceiling: u64) -> bool {
        let is_believable = counter <= ceiling.max(self.0);
        if is_believable {
            self.0 = self.0.max(counter);
        }
        is_believable
    }

    /// A bound above all counters of the present reserve and the next one, so that persisting it may lag behind.
    pub fn mark(&self) -> u64 {
        (self.0 / RESERVE + 2) * RESERVE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_from_the_last_mark_counts_on_above() {
        let mut counter = Counter::from_mark(0);
        let mut persisted = counter.mark();
        for step in 0..3 * RESERVE {
            // The mark reaches the disk half a reserve late.
            let number = counter.count();
            assert!(Counter::from_mark(persisted).count() > number, "{step}");
            if number % RESERVE == RESERVE / 2 {
                persisted = counter.mark();
            }
        }
    }

    #[test]
    fn a_counter_beyond_what_the_time_allows_is_not_believed() {
        let (then, later) = (Duration::from_secs(1_700_000_000), Duration::from_secs(1_700_000_001));
        let ceiling = Counter::ceiling(then);
        let mut counter = Counter::from_mark(7);
        assert!(!counter.hear(ceiling + 1, ceiling) && !counter.hear(u64::MAX, ceiling));
        assert_eq!(counter.now(), 7);
        assert!(counter.hear(ceiling, ceiling));
        // Who was pushed as far as can be counts on from there, and another one believes it a second later.
        let (next, mut other) = (counter.count(), Counter::from_mark(0));
        assert!(!other.hear(next, ceiling) && other.hear(next, Counter::ceiling(later)));
        // A clock that was set back does not make one's own past unbelievable.
        assert!(counter.hear(next, Counter::ceiling(Duration::ZERO)));
        assert!(Counter::ceiling(Duration::MAX) < u64::MAX / 4);
    }
}

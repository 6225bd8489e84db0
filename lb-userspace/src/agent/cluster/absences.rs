//! Origins that nobody is connected to, and since when: dead is who has been away for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::replication::version::Origin;

/// An agent that restarts is back sooner.
pub const DEAD_AFTER: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug, Default)]
pub struct Absences(BTreeMap<Origin, Instant>);

impl Absences {
    /// These are away now; names those that are dead.
    pub fn look(&mut self, away: &BTreeSet<Origin>, now: Instant) -> Vec<Origin> {
        self.0.retain(|origin, _| away.contains(origin));
        for origin in away {
            self.0.entry(*origin).or_insert(now);
        }
        let is_dead = |since: &Instant| now.saturating_duration_since(*since) >= DEAD_AFTER;
        self.0.iter().filter(|(_, since)| is_dead(since)).map(|(origin, _)| *origin).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::version::NodeId;

    #[test]
    fn who_comes_back_in_time_is_not_dead() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let origin = |name, life| Origin { node: NodeId::of(name), life };
        let both = BTreeSet::from([origin("lb1", 1), origin("lb2", 1)]);
        let one = BTreeSet::from([origin("lb1", 1)]);
        let mut absences = Absences::default();
        assert_eq!(absences.look(&both, at(0)), []);
        assert_eq!(absences.look(&one, at(2000)), []);
        assert_eq!(absences.look(&both, at(2900)), []);
        assert_eq!(absences.look(&both, at(3000)), [origin("lb1", 1)]);
        let both_dead = absences.look(&both, at(5900));
        assert_eq!(both_dead.len(), 2);
    }
}

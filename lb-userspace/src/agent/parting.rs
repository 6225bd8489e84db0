//! What becomes of a server's connections when it is no longer meant for any, and when: the service's policy for what has
//! happened. Pure.

use lb_common::entry::{self, Admin, ServerState};

use super::standing::Standing;
use crate::config::{Parting, Partings, Then};

/// The policy for what has happened to a server, if anything has. A failed check comes before an order: who answers
/// nobody has no connection to finish. `part`: [`Standing::share`].
#[must_use]
pub fn in_force(standing: &Standing, part: u32, partings: &Partings) -> Option<Parting> {
    match standing.ordered() {
        _ if standing.is_down() => Some(partings.down),
        Admin::Draining | Admin::Disabled => Some(partings.drained),
        Admin::Enabled => (part == 0).then_some(partings.drained),
    }
}

/// When its connections are ended or let go, in Unix seconds; `None`: never.
#[must_use]
pub fn deadline(parting: Parting, since: u32) -> Option<u64> {
    (parting.then != Then::Keep).then(|| u64::from(since) + parting.after.as_secs())
}

/// The flag of what becomes of them now.
#[must_use]
pub fn flag(parting: Parting, since: u32, now: u64) -> u16 {
    deadline(parting, since).map_or(0, |at| flag_at(parting.then.into(), at, now))
}

/// The flag of what becomes of them at that time, in Unix seconds.
#[must_use]
pub fn flag_at(then: entry::Then, at: u64, now: u64) -> u16 {
    match then {
        entry::Then::Reset if at <= now => ServerState::RESETS,
        entry::Then::Rehash if at <= now => ServerState::REHASHES,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lb_common::entry::HealthMemo;

    use super::*;

    const POLICIES: Partings = Partings {
        down: Parting { then: Then::Rehash, after: Duration::ZERO },
        drained: Parting { then: Then::Reset, after: Duration::from_secs(60) },
        removed: Parting { then: Then::Keep, after: Duration::ZERO },
    };

    fn flag_of(standing: Standing, part: u32, now: u64) -> u16 {
        in_force(&standing, part, &POLICIES).map_or(0, |parting| flag(parting, standing.since, now))
    }

    #[test]
    fn each_cause_has_its_policy_and_its_time() {
        let up = Standing { health: HealthMemo::Up, since: 1000, ..Standing::default() };
        let down = Standing { health: HealthMemo::Down, ..up };
        let drained = Standing { admin: Admin::Draining, ..up };
        assert_eq!(flag_of(up, 1, 5000), 0);
        assert_eq!(flag_of(down, 1, 1000), ServerState::REHASHES);
        assert_eq!(flag_of(Standing { unchecked: true, ..down }, 1, 1000), 0, "nobody asked it");
        assert_eq!(flag_of(drained, 1, 1059), 0);
        assert_eq!(flag_of(drained, 1, 1060), ServerState::RESETS);
        assert_eq!(flag_of(up, 0, 1060), ServerState::RESETS, "weight 0 is a drain");
        assert_eq!(flag_of(Standing { health: HealthMemo::Down, ..drained }, 1, 1000), ServerState::REHASHES);
        assert_eq!(deadline(POLICIES.drained, 1000), Some(1060));
        assert_eq!(deadline(POLICIES.removed, 1000), None);
    }

    #[test]
    fn who_has_left_says_farewell_when_its_time_has_come() {
        assert_eq!(flag_at(entry::Then::Reset, 70, 69), 0);
        assert_eq!(flag_at(entry::Then::Reset, 70, 70), ServerState::RESETS);
        assert_eq!(flag_at(entry::Then::Rehash, 70, 71), ServerState::REHASHES);
        assert_eq!(flag_at(entry::Then::Keep, 0, 71), 0);
    }
}

//! May this director own the VIP? Not before it knows what the others know, and not for ever later.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::message::Told;
use super::replicator::Replicator;
use super::session::Session;

/// The way of a director into the cluster and out of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Standing {
    /// Its maps are not in place yet.
    Init,
    /// Waiting for sessions with its peers.
    Connect,
    /// Getting what the peers hold.
    Snapshot,
    /// Getting what changed meanwhile.
    CatchUp,
    /// In sync: it may own the VIP.
    Ready,
    /// It owns the VIP.
    Serving,
    /// Leaving: it forwards and tells on, and takes no VIP.
    Draining,
}

/// What becomes of a director that is not in sync in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnTimeout {
    /// Waits on, but only while somebody serves.
    StayBackup,
    Serve,
}

/// Bounds of the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// For peers to be reached, after which those that are not count as absent.
    pub connect: Duration,
    /// For the whole way.
    pub whole: Duration,
    pub on_timeout: OnTimeout,
}

impl Default for Patience {
    fn default() -> Self {
        let (connect, whole) = (Duration::from_secs(5), Duration::from_secs(60));
        Self { connect, whole, on_timeout: OnTimeout::StayBackup }
    }
}

/// What is known of the peers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Each configured peer has a session.
    pub all_connected: bool,
    pub any_connected: bool,
    /// Each peer with a session has told all it held, and we have it.
    pub snapshot: bool,
    /// And what changed meanwhile.
    pub everything: bool,
    /// A peer owns the VIP, or is on its way out with it.
    pub somebody_serves: bool,
    /// A peer could serve, or does.
    pub somebody_ready: bool,
    /// Of all that have a session, this node is the first in order.
    pub lowest: bool,
}

/// The next state of a node that began its way at `began`.
pub(super) fn next(
    standing: Standing,
    facts: &Facts,
    patience: &Patience,
    began: Instant,
    now: Instant,
) -> Standing {
    if !matches!(standing, Standing::Connect | Standing::Snapshot | Standing::CatchUp) {
        return standing;
    }
    let waited = now.saturating_duration_since(began);
    if waited >= patience.whole && (patience.on_timeout == OnTimeout::Serve || !facts.somebody_serves) {
        return Standing::Ready;
    }
    if !facts.all_connected && waited < patience.connect {
        return Standing::Connect;
    }
    // Started together, or alone: nobody is further on, so there is nothing to wait for.
    if !facts.any_connected || (facts.lowest && !facts.somebody_ready) {
        return Standing::Ready;
    }
    match (facts.snapshot, facts.everything) {
        (true, true) => Standing::Ready,
        (true, false) => Standing::CatchUp,
        (false, _) => Standing::Snapshot,
    }
}

impl Replicator {
    /// The maps are in place: the way into the cluster begins.
    pub fn begin(&mut self, now: Instant) {
        if self.standing == Standing::Init {
            (self.standing, self.began) = (Standing::Connect, now);
        }
    }

    /// The engine gave the VIP to this director, or took it. Of no effect before it is ready, and when it leaves.
    pub fn serve(&mut self, serving: bool) {
        self.standing = match (self.standing, serving) {
            (Standing::Ready, true) => Standing::Serving,
            (Standing::Serving, false) => Standing::Ready,
            (other, _) => other,
        };
    }

    /// This director leaves, or thinks better of it.
    pub fn drain(&mut self, leaving: bool) {
        self.standing = match (self.standing, leaving) {
            (Standing::Ready | Standing::Serving, true) => Standing::Draining,
            (Standing::Draining, false) => Standing::Ready,
            (other, _) => other,
        };
    }

    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// How far all others are.
    pub(super) fn facts(&self) -> Facts {
        // Of one that has not said how far it is nobody can tell whether it is ahead.
        let sessions = || self.sessions.values().filter(|session| session.standing.is_some());
        let at_least = |least: Standing| sessions().any(move |session| session.standing >= Some(least));
        let snapshot =
            |session: &Session| session.inc.told >= Told::Snapshot && session.inc.awaited.is_empty();
        Facts {
            all_connected: sessions().count() == self.setup.peers.len(),
            any_connected: sessions().next().is_some(),
            snapshot: sessions().all(snapshot),
            everything: sessions().all(|session| session.inc.told == Told::Everything)
                && self.step.is_settled(self.leader()),
            somebody_serves: at_least(Standing::Serving),
            somebody_ready: at_least(Standing::Ready),
            lowest: sessions().all(|session| session.node > self.setup.origin.node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64, on_timeout: OnTimeout, facts: Facts) -> Standing {
        let began = Instant::now();
        let patience = Patience { on_timeout, ..Patience::default() };
        next(Standing::Connect, &facts, &patience, began, began + Duration::from_secs(seconds))
    }

    #[test]
    fn the_way_goes_through_snapshot_and_catch_up() {
        let mut facts =
            Facts { all_connected: true, any_connected: true, somebody_ready: true, ..Facts::default() };
        assert_eq!(after(1, OnTimeout::Serve, facts), Standing::Snapshot);
        facts.snapshot = true;
        assert_eq!(after(1, OnTimeout::Serve, facts), Standing::CatchUp);
        facts.everything = true;
        assert_eq!(after(1, OnTimeout::Serve, facts), Standing::Ready);
    }

    #[test]
    fn absent_peers_are_waited_for_but_not_long() {
        let facts = Facts::default();
        assert_eq!(after(4, OnTimeout::StayBackup, facts), Standing::Connect);
        assert_eq!(after(5, OnTimeout::StayBackup, facts), Standing::Ready);
    }

    #[test]
    fn of_those_that_start_together_the_lowest_goes_first() {
        let facts = Facts { all_connected: true, any_connected: true, ..Facts::default() };
        assert_eq!(after(0, OnTimeout::StayBackup, Facts { lowest: true, ..facts }), Standing::Ready);
        assert_eq!(after(0, OnTimeout::StayBackup, facts), Standing::Snapshot);
        let behind = Facts { lowest: true, somebody_ready: true, ..facts };
        assert_eq!(after(0, OnTimeout::StayBackup, behind), Standing::Snapshot);
    }

    #[test]
    fn a_stuck_join_ends_as_configured() {
        let stuck =
            Facts { any_connected: true, somebody_ready: true, somebody_serves: true, ..Facts::default() };
        assert_eq!(after(59, OnTimeout::Serve, stuck), Standing::Snapshot);
        assert_eq!(after(60, OnTimeout::Serve, stuck), Standing::Ready);
        assert_eq!(after(600, OnTimeout::StayBackup, stuck), Standing::Snapshot);
        let unserved = Facts { somebody_serves: false, ..stuck };
        assert_eq!(after(60, OnTimeout::StayBackup, unserved), Standing::Ready);
    }
}

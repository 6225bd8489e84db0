//! One server's check: what is wanted, what the answers came to, and what of it is news.

use std::time::{Duration, Instant, SystemTime};

use tokio::task::AbortHandle;

use super::probe::Outcome;
use super::spec::CheckSpec;
use super::state::{Health, Machine, Verdict};

/// What is wanted for one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The check; `None` (`kind = "none"`) makes the server [`Health::Off`].
    pub check: Option<CheckSpec>,
    /// No probes for now (a disabled server); what was known stands. Resuming probes at once.
    pub paused: bool,
    /// The verdict an earlier agent left behind. Read only when the key is new.
    pub restored: Option<Verdict>,
}

/// What is known of one server at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub health: Health,
    /// When this state began, or when the check was added.
    pub since: SystemTime,
    /// What the latest probe that agreed with the state found; empty before the first.
    pub reason: String,
    /// What the latest probe found, in agreement or not.
    pub latest: String,
    /// Answers in a row that contradict `health`.
    pub against: u32,
    pub paused: bool,
    /// How long the latest probe took.
    pub took: Option<Duration>,
}

/// Something to tell: the state before, and whether this was the first answer.
pub(super) struct News {
    pub(super) before: Health,
    pub(super) first: bool,
}

/// The check of one server and what came of it so far.
pub(super) struct Entry {
    pub(super) wanted: Wanted,
    machine: Option<Machine>, // None: off
    since: SystemTime,
    pub(super) reason: String,
    latest: String,
    /// The first answer has come.
    heard: bool,
    pub(super) took: Option<Duration>,
    /// The latest appointment or probe; whatever carries an older ticket is void.
    pub(super) ticket: u64,
    pub(super) probe: Option<AbortHandle>,
}

impl Entry {
    pub(super) fn new(wanted: Wanted) -> Self {
        let now = Instant::now();
        let machine = wanted.check.as_ref().map(|check| match wanted.restored {
            Some(verdict) => Machine::restored(verdict, check.thresholds, now),
            None => Machine::unknown(check.thresholds, now),
        });
        Self {
            reason: if machine.is_none() { "no health check".into() } else { String::new() },
            latest: String::new(),
            wanted,
            machine,
            since: SystemTime::now(),
            heard: false,
            took: None,
            ticket: 0,
            probe: None,
        }
    }

    /// Takes over another check or pause; returns the earlier state if this ends it.
    pub(super) fn replace(&mut self, wanted: Wanted) -> Option<Health> {
        let before = self.health();
        self.stop_probe();
        let target = |wanted: &Wanted| wanted.check.as_ref().map(|check| check.target.ip());
        if target(&self.wanted) == target(&wanted) {
            if let (Some(machine), Some(check)) = (&mut self.machine, &wanted.check) {
                machine.set_thresholds(check.thresholds); // and begins a new row
            }
            self.wanted = wanted;
        } else {
            *self = Self::new(Wanted { restored: None, ..wanted });
            if !self.is_off() {
                self.reason = "another check; no answer yet".into();
            }
        }
        (before != self.health()).then_some(before)
    }

    /// Counts an answer; returns what is new in it, if anything.
    pub(super) fn observe(&mut self, outcome: &Outcome, now: Instant) -> Option<News> {
        let machine = self.machine.as_mut()?;
        let before = machine.health();
        let changed = machine.observe(outcome, now).is_some();
        let verdict = outcome.verdict();
        let agrees = verdict.is_some_and(|verdict| machine.health() == verdict.into());
        let first = verdict.is_some() && !self.heard;
        self.heard |= first;
        let other_reason = agrees && self.reason != outcome.reason();
        outcome.reason().clone_into(&mut self.latest);
        if agrees {
            outcome.reason().clone_into(&mut self.reason);
        }
        if changed {
            self.since = SystemTime::now();
        }
        (changed || first || (other_reason && before == Health::Down)).then_some(News { before, first })
    }

    /// Whatever is scheduled or under way is void.
    pub(super) fn stop_probe(&mut self) {
        self.ticket = 0;
        if let Some(probe) = self.probe.take() {
            probe.abort();
        }
    }

    /// The rhythm of probes, if any are wanted.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.wanted.check.as_ref().filter(|_| !self.wanted.paused).map(|check| check.interval)
    }

    pub(super) fn is_off(&self) -> bool {
        self.machine.is_none()
    }

    pub(super) fn health(&self) -> Health {
        self.machine.as_ref().map_or(Health::Off, Machine::health)
    }

    pub(super) fn standing(&self) -> Standing {
        Standing {
            health: self.health(),
            since: self.since,
            reason: self.reason.clone(),
            latest: self.latest.clone(),
            against: self.machine.as_ref().map_or(0, Machine::against),
            paused: self.wanted.paused,
            took: self.took,
        }
    }
}

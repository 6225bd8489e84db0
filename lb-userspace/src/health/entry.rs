//! One server: what is wanted to be known of it, what the answers came to, and what of it is news.

use std::time::{Duration, Instant, SystemTime};

use super::advice::{Advice, Unknown};
use super::probe::Outcome;
use super::spec::{AgentSpec, CheckSpec, Question};
use super::state::{Health, Machine, Verdict};

/// What is wanted for one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The check; `None` (`kind = "none"`) makes the server [`Health::Off`].
    pub check: Option<CheckSpec>,
    /// Its own agent, if it is to be asked.
    pub agent: Option<AgentSpec>,
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

/// What a server's own agent is known to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    pub advice: Advice,
    /// Why it did not answer when it was last asked, or what it said that means nothing.
    pub trouble: Option<String>,
}

/// Something to tell: the state before, and whether this was the first answer.
pub(super) struct News {
    pub(super) before: Health,
    pub(super) first: bool,
}

/// The checks of one server and what came of them so far.
pub(super) struct Entry {
    pub(super) wanted: Wanted,
    machine: Option<Machine>, // None: off
    since: SystemTime,
    pub(super) reason: String,
    latest: String,
    /// The first answer has come.
    heard: bool,
    pub(super) took: Option<Duration>,
    /// `None` before the first answer of its agent.
    pub(super) said: Option<Said>,
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
            said: None,
        }
    }

    /// Takes over another check or pause; returns the earlier state if this ends it.
    pub(super) fn replace(&mut self, wanted: Wanted) -> Option<Health> {
        let before = self.health();
        let asked = |wanted: &Wanted| wanted.agent.as_ref().map(|agent| agent.question.target);
        if asked(&self.wanted) != asked(&wanted) {
            self.said = None;
        }
        let target = |wanted: &Wanted| wanted.check.as_ref().map(|check| check.question.target.ip());
        if target(&self.wanted) == target(&wanted) {
            if let (Some(machine), Some(check)) = (&mut self.machine, &wanted.check) {
                machine.set_thresholds(check.thresholds); // and begins a new row
            }
            self.wanted = wanted;
        } else {
            let said = self.said.take();
            *self = Self { said, ..Self::new(Wanted { restored: None, ..wanted }) };
            if !self.is_off() {
                self.reason = "another check; no answer yet".into();
            }
        }
        (before != self.health()).then_some(before)
    }

    /// Whether this is what was wanted before.
    pub(super) fn is_wanted_as(&self, wanted: &Wanted) -> bool {
        let Wanted { check, agent, paused, restored: _ } = &self.wanted;
        (check, agent, paused) == (&wanted.check, &wanted.agent, &wanted.paused)
    }

    /// What is to be asked about it now.
    pub(super) fn questions(&self) -> impl Iterator<Item = &Question> {
        let Wanted { check, agent, paused, .. } = &self.wanted;
        let check = check.as_ref().map(|check| &check.question);
        let agent = agent.as_ref().map(|agent| &agent.question);
        check.into_iter().chain(agent).filter(|_| !*paused)
    }

    /// Counts an answer; returns what is new in it, if anything.
    pub(super) fn observe(&mut self, question: &Question, outcome: &Outcome, now: Instant) -> Option<News> {
        if self.wanted.check.as_ref().is_some_and(|check| check.question == *question) {
            self.observe_health(outcome, now)
        } else {
            self.hear(outcome)
        }
    }

    fn observe_health(&mut self, outcome: &Outcome, now: Instant) -> Option<News> {
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

    /// Takes in what its agent said. One that does not answer has said nothing: what it said before stands.
    fn hear(&mut self, outcome: &Outcome) -> Option<News> {
        let mut said = self.said.clone().unwrap_or_default();
        said.trouble = match outcome {
            Outcome::Passed(line) => {
                let unknown = said.advice.hear(line.as_bytes());
                let words: Vec<_> = unknown.into_iter().map(|Unknown(word)| format!("{word:?}")).collect();
                (!words.is_empty())
                    .then(|| format!("said what is no word of the protocol: {}", words.join(", ")))
            }
            Outcome::Failed(why) | Outcome::Untested(why) => Some(why.clone()),
        };
        let is_news = self.said.as_ref() != Some(&said);
        self.said = Some(said);
        is_news.then(|| News { before: self.health(), first: false })
    }

    /// The rhythm in which this is to be asked, if it is.
    pub(super) fn interval(&self, question: &Question) -> Option<Duration> {
        let Wanted { check, agent, paused, .. } = &self.wanted;
        let of_check = check
            .as_ref()
            .filter(|check| check.question == *question)
            .map(|check| if self.health() == Health::Down { check.rhythm.down } else { check.rhythm.up });
        let of_agent = agent.as_ref().filter(|agent| agent.question == *question).map(|agent| agent.interval);
        of_check.or(of_agent).filter(|_| !*paused)
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

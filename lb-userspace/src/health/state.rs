//! Rise and fall: how single answers become a verdict. Pure; the time is an argument.
//!
//! A server nobody has heard of yet is `Unknown`, and its first answer decides at once, so that a fresh agent is
//! ready after one round of probes. From then on `fall` failures in a row take an up server down and `rise` passes in
//! a row bring it back. An answer that agrees with the verdict ends the row.

use std::num::NonZeroU32;
use std::time::Instant;

use super::probe::Outcome;

/// What is known of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// No answer yet.
    Unknown,
    Up,
    Down,
    /// No check is wanted: the server counts as fit.
    Off,
}

/// What a row of answers decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    Up,
    Down,
}

/// How many equal answers in a row change a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Passes that bring a down server up.
    pub rise: NonZeroU32,
    /// Failures that take an up server down.
    pub fall: NonZeroU32,
}

/// A change of [`Health`], and the answer that caused it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub from: Health,
    pub to: Health,
    pub reason: String,
    pub at: Instant,
}

/// The rise and fall counter of one server.
#[derive(Debug, Clone)]
pub struct Machine {
    health: Health,
    thresholds: Thresholds,
    /// Answers in a row that contradict `health`.
    against: u32,
    since: Instant,
}

impl From<Verdict> for Health {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Up => Self::Up,
            Verdict::Down => Self::Down,
        }
    }
}

impl Thresholds {
    /// `None` when either is zero.
    pub fn new(rise: u32, fall: u32) -> Option<Self> {
        Some(Self { rise: NonZeroU32::new(rise)?, fall: NonZeroU32::new(fall)? })
    }
}

impl Machine {
    /// A server nobody has heard of: the first answer decides.
    pub fn unknown(thresholds: Thresholds, now: Instant) -> Self {
        Self { health: Health::Unknown, thresholds, against: 0, since: now }
    }

    /// A server whose verdict an earlier agent left behind: it stands until a row of answers overturns it, so that a
    /// restart of the agent neither forgets a dead server nor lets one lost probe take out a good one.
    pub fn restored(verdict: Verdict, thresholds: Thresholds, now: Instant) -> Self {
        Self { health: verdict.into(), ..Self::unknown(thresholds, now) }
    }

    /// The current state.
    pub fn health(&self) -> Health {
        self.health
    }

    /// When the current state began, or when this machine was made.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Answers in a row that contradict the current state.
    pub fn against(&self) -> u32 {
        self.against
    }

    /// New thresholds begin a new row; the verdict stands.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
        self.against = 0;
    }

    /// Counts one answer; returns the change it caused, if any. [`Outcome::Untested`] says nothing about the server
    /// and counts for nothing.
    pub fn observe(&mut self, outcome: &Outcome, now: Instant) -> Option<Transition> {
        let verdict = outcome.verdict()?;
        let needed = match (self.health, verdict) {
            (Health::Unknown, _) => 1,
            (Health::Up, Verdict::Down) => self.thresholds.fall.get(),
            (Health::Down, Verdict::Up) => self.thresholds.rise.get(),
            (Health::Up, Verdict::Up) | (Health::Down, Verdict::Down) | (Health::Off, _) => {
                self.against = 0;
                return None;
            }
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        let from = std::mem::replace(&mut self.health, verdict.into());
        self.against = 0;
        self.since = now;
        Some(Transition { from, to: self.health, reason: outcome.reason().to_owned(), at: now })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn thresholds(rise: u32, fall: u32) -> Thresholds {
        Thresholds::new(rise, fall).expect("not zero")
    }

    fn pass() -> Outcome {
        Outcome::Passed("connected".into())
    }

    fn fail() -> Outcome {
        Outcome::Failed("connection refused".into())
    }

    #[test]
    fn the_first_answer_decides_at_once() {
        let now = Instant::now();
        for (answer, health) in [(pass(), Health::Up), (fail(), Health::Down)] {
            let mut machine = Machine::unknown(thresholds(5, 5), now);
            let later = now + Duration::from_secs(1);
            let change = machine.observe(&answer, later).expect("decides");
            assert_eq!((change.from, change.to, change.at), (Health::Unknown, health, later));
            assert_eq!(change.reason, answer.reason());
            assert_eq!((machine.health(), machine.since()), (health, later));
        }
    }

    #[test]
    fn a_restored_verdict_needs_a_full_row_to_fall() {
        let now = Instant::now();
        let mut machine = Machine::restored(Verdict::Up, thresholds(2, 3), now);
        assert_eq!(machine.observe(&fail(), now), None);
        assert_eq!(machine.observe(&fail(), now), None);
        assert_eq!(machine.observe(&pass(), now), None, "ends the row");
        assert_eq!(machine.observe(&fail(), now), None);
        assert_eq!(machine.observe(&fail(), now), None);
        assert_eq!(machine.observe(&fail(), now).expect("third in a row").to, Health::Down);
    }

    #[test]
    fn an_untested_server_keeps_its_verdict_and_its_row() {
        let now = Instant::now();
        let mut machine = Machine::restored(Verdict::Up, thresholds(1, 2), now);
        assert_eq!(machine.observe(&fail(), now), None);
        assert_eq!(machine.observe(&Outcome::Untested("no descriptor left".into()), now), None);
        assert_eq!(machine.against(), 1);
        assert!(machine.observe(&fail(), now).is_some());
    }

    /// The definition, written the slow way: the verdict after a history is found by looking back over it.
    fn by_definition(start: Option<Verdict>, rise: u32, fall: u32, answers: &[bool]) -> Option<Verdict> {
        let mut verdict = start;
        let mut row_began = 0;
        for end in 1..=answers.len() {
            let last = answers[end - 1];
            let row =
                answers[row_began..end].iter().rev().take_while(|&&answer| answer == last).count() as u32;
            let decided = match (verdict, last) {
                (None, _) => true,
                (Some(Verdict::Up), false) => row >= fall,
                (Some(Verdict::Down), true) => row >= rise,
                _ => false,
            };
            if decided {
                verdict = Some(if last { Verdict::Up } else { Verdict::Down });
                row_began = end;
            }
        }
        verdict
    }

    fn any_start() -> impl Strategy<Value = Option<Verdict>> {
        prop_oneof![Just(None), Just(Some(Verdict::Up)), Just(Some(Verdict::Down))]
    }

    proptest! {
        #[test]
        fn agrees_with_its_definition(
            start in any_start(), rise in 1u32..5, fall in 1u32..5, answers in prop::collection::vec(any::<bool>(), 0..60)
        ) {
            let now = Instant::now();
            let mut machine = match start {
                None => Machine::unknown(thresholds(rise, fall), now),
                Some(verdict) => Machine::restored(verdict, thresholds(rise, fall), now),
            };
            for seen in 0..=answers.len() {
                let expected = by_definition(start, rise, fall, &answers[..seen]).map_or(Health::Unknown, Health::from);
                prop_assert_eq!(machine.health(), expected, "after {} answers", seen);
                let Some(&answer) = answers.get(seen) else { break };
                let before = machine.health();
                let change = machine.observe(&if answer { pass() } else { fail() }, now);
                prop_assert_eq!(change.is_some(), machine.health() != before, "a change is told, and only a change");
                if let Some(change) = change {
                    prop_assert_eq!((change.from, change.to), (before, machine.health()));
                }
            }
        }

        #[test]
        fn a_state_lasts_at_least_as_many_answers_as_its_threshold(
            rise in 1u32..6, fall in 1u32..6, answers in prop::collection::vec(any::<bool>(), 0..200)
        ) {
            let now = Instant::now();
            let mut machine = Machine::unknown(thresholds(rise, fall), now);
            let mut lasted = 0;
            for answer in answers {
                lasted += 1;
                if let Some(change) = machine.observe(&if answer { pass() } else { fail() }, now) {
                    match change.from {
                        Health::Up => prop_assert!(lasted >= fall),
                        Health::Down => prop_assert!(lasted >= rise),
                        other => prop_assert_eq!(other, Health::Unknown),
                    }
                    lasted = 0;
                }
            }
        }
    }
}

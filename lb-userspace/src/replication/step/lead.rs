//! Leading a change: whom it waits for, when it is committed, and when it is given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::recipes::{Digest, Recipes, Tables};
use super::{Next, Phase, Round, Step, Word};
use crate::replication::version::NodeId;

/// Likewise of a director that nobody is connected to: connections that were picked by the tables before are stored, or over.
const EVERY_ALONE: Duration = Duration::from_secs(10);
/// A director that does not answer in this time is stale, and not waited for.
const ANSWER: Duration = Duration::from_secs(2);
/// For telling what a change would lose.
const TELLING: Duration = Duration::from_secs(30);
/// Between two attempts to bring a director in step that was not.
const AGAIN: Duration = Duration::from_secs(10);

/// How far a follower is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    None,
    Heard,
    Ready,
}

/// The change that this director leads.
#[derive(Debug)]
pub(super) struct Lead {
    round: Round,
    began: Instant,
    waits: BTreeMap<NodeId, Answer>,
    /// Since when, and for whom.
    committed: Option<(Instant, BTreeSet<NodeId>)>,
}

impl Lead {
    /// Nobody may have gone over because of it yet.
    pub(super) fn may_be_given_up(&self) -> bool {
        self.committed.is_none()
    }
}

impl Step {
    /// What the tables of all should become: what this director's are, if somebody's are not; else what is desired, if it is time.
    pub(super) fn target(&mut self, now: Instant) -> Option<Tables> {
        self.stale.retain(|_, until| *until > now);
        let own = self.digest();
        let astray = |(peer, stance): (&NodeId, &Option<Digest>)| {
            stance.is_some_and(|stance| stance != own) && !self.stale.contains_key(peer)
        };
        if let Some(current) = &self.current
            && current.recipes.fit()
            && (self.stances.iter().any(astray) || self.next.is_some() || !self.left.is_empty())
        {
            return Some(current.clone());
        }
        let desired = self.desired.as_ref().filter(|desired| desired.digest != own)?;
        let every = if self.stances.is_empty() { self.every.min(EVERY_ALONE) } else { self.every };
        let is_early = self.changed.is_some_and(|at| now < at + every);
        (!is_early && !self.is_still()).then(|| desired.clone())
    }

    /// All who answer are asked to prepare for these.
    pub(super) fn begin(&mut self, tables: Tables, counter: u64, now: Instant) {
        let round = Round { counter, leader: self.me };
        let peers: Vec<NodeId> =
            self.stances.keys().copied().filter(|peer| !self.stale.contains_key(peer)).collect();
        for peer in &peers {
            self.say(*peer, Word::Prepare(round, Recipes::clone(&tables.recipes)));
        }
        let waits = peers.into_iter().map(|peer| (peer, Answer::None)).collect();
        self.lead = Some(Lead { round, began: now, waits, committed: None });
        self.replace_next(Next { round, tables, phase: Phase::Proposed });
    }

    /// The next step of the change that is under way, if it is time.
    pub(super) fn go_on(&mut self, now: Instant) {
        let Some(lead) = &mut self.lead else { return };
        lead.waits.retain(|peer, _| self.stances.contains_key(peer));
        let passed = now.saturating_duration_since(lead.began);
        if let Some((since, with)) = &mut lead.committed {
            let digest = self.current.as_ref().map(|tables| tables.digest);
            let is_given_up = passed > 2 * TELLING;
            let is_over = self.next.as_ref().is_none_or(|next| next.round != lead.round);
            with.retain(|peer| self.stances.contains_key(peer));
            let behind: Vec<NodeId> = with
                .iter()
                .copied()
                .filter(|peer| self.stances.get(peer).copied().flatten() != digest)
                .collect();
            let too_late = now.saturating_duration_since(*since) > ANSWER;
            if is_over && (behind.is_empty() || too_late) {
                let round = lead.round;
                for peer in behind {
                    self.stale.insert(peer, now + AGAIN);
                }
                let peers: Vec<NodeId> = self.stances.keys().copied().collect();
                for peer in peers {
                    self.say(peer, Word::Done(round));
                }
                self.left.clear();
                self.lead = None;
            } else if is_given_up {
                self.lead = None;
            }
            return;
        }
        let is_stale = |answer: &Answer| match answer {
            Answer::None => passed > ANSWER,
            Answer::Heard => passed > TELLING,
            Answer::Ready => false,
        };
        let stale: Vec<NodeId> =
            lead.waits.iter().filter(|(_, answer)| is_stale(answer)).map(|(peer, _)| *peer).collect();
        for peer in stale {
            self.leave_behind(peer, now);
        }
        let Some(lead) = &mut self.lead else { return };
        let own = self.next.as_mut().filter(|next| next.round == lead.round);
        let Some(own) = own else {
            self.lead = None;
            return;
        };
        if own.phase != Phase::Told || lead.waits.values().any(|answer| *answer != Answer::Ready) {
            // It cannot tell in time what it would lose: nothing has happened yet, and nothing does.
            if passed > 2 * TELLING {
                self.lead = None;
            }
            return;
        }
        own.phase = Phase::Committed;
        if self.current.as_ref().is_none_or(|current| current.digest != own.tables.digest) {
            self.changed = Some(now);
        }
        let (round, with): (Round, BTreeSet<NodeId>) = (lead.round, lead.waits.keys().copied().collect());
        lead.committed = Some((now, with.clone()));
        self.with = with.iter().copied().chain([self.me]).collect();
        let told: Vec<NodeId> = self.with.iter().copied().collect();
        for peer in with {
            self.say(peer, Word::Commit(round, told.clone()));
        }
    }

    /// This peer does not come along. It may be dying, and somebody may be taking its connections over: a change is given up, and
    /// the next one does not wait for it. What is no change for those who are in step goes on.
    fn leave_behind(&mut self, peer: NodeId, now: Instant) {
        let Some(lead) = &mut self.lead else { return };
        lead.waits.remove(&peer);
        let own = self.digest();
        if self.next.as_ref().is_some_and(|next| next.tables.digest != own) {
            self.stale.insert(peer, now + self.idle + self.every * 2);
            self.taken_over(now);
        } else {
            self.stale.insert(peer, now + AGAIN);
        }
    }

    /// What a director says of a change that this one leads.
    pub(super) fn answered(&mut self, from: NodeId, round: Round, answer: Answer) {
        if let Some(lead) = &mut self.lead
            && lead.round == round
            && let Some(held) = lead.waits.get_mut(&from)
        {
            *held = answer;
        }
    }

    /// A director cannot make them, or may not go over now.
    pub(super) fn was_refused(&mut self, from: NodeId, round: Round) {
        if let Some(lead) = &self.lead
            && lead.round == round
            && lead.may_be_given_up()
        {
            let now = self.now.unwrap_or(lead.began);
            self.leave_behind(from, now);
        }
    }
}

//! Miss tables in step: what tables a director goes by, and which ones a peer may be going by.
//!
//! A connection need not be told if every table that a peer may be using gives its server. So a table changes in three steps,
//! which the leader takes with all who answer: *prepare* (from now on both tables count, and what either of them would lose is
//! told), *commit* (all that was told is acknowledged), *done* (nobody uses the old one any more). Whoever is not in step is
//! known by what it says of itself, and is told everything. A takeover needs no agreement: under each table that anybody may
//! have committed, what was not told is found.

mod lead;
mod recipes;
mod usage;

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::lead::{Answer, Lead};
pub use self::recipes::{Digest, LaneKey, Recipe, Recipes, Tables};
use super::version::NodeId;

/// At most one change in this time.
pub const EVERY: Duration = Duration::from_secs(60);

/// One change, from its beginning to its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Round {
    pub counter: u64,
    pub leader: NodeId,
}

/// What directors say to each other of their tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// The tables that the sender goes by, and whether connections may have come to anybody it knows of.
    Stance(Digest, bool),
    /// The leader: these may be the next ones.
    Prepare(Round, Recipes),
    /// To the leader: they count, and what they would lose is being told.
    Heard(Round),
    /// To the leader: it has been told, and acknowledged.
    Ready(Round),
    /// To the leader: they cannot be made here.
    Refused(Round),
    /// The leader: go by them; these directors do.
    Commit(Round, Vec<NodeId>),
    /// The leader: nobody goes by others any more.
    Done(Round),
}

/// What the host is asked to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Task {
    /// Say whether these can be made here ([`Step::answer`]).
    Try(Tables),
    /// Tell what they would lose, then say so ([`Step::told`]).
    Tell,
    /// Go by these, then say so ([`Step::gone_over`]).
    GoOver(Tables),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Phase {
    Proposed,
    Telling,
    Told,
    Committed,
}

#[derive(Debug)]
struct Next {
    round: Round,
    tables: Tables,
    phase: Phase,
}

/// See the module.
#[derive(Debug)]
pub struct Step {
    me: NodeId,
    /// `None`: nobody knows what they are made of.
    current: Option<Tables>,
    next: Option<Next>,
    left: Vec<Tables>,
    /// Of each peer that is connected; `None` before it has said.
    stances: BTreeMap<NodeId, Option<Digest>>,
    lead: Option<Lead>,
    leads: bool,
    desired: Option<Tables>,
    /// Before which no change begins.
    still_until: Option<Instant>,
    /// Peers that did not come along, and when they are asked again.
    stale: BTreeMap<NodeId, Instant>,
    every: Duration,
    idle: Duration,
    /// This director may serve: what its connections need counts.
    is_ready: bool,
    /// Who serves, and whether anybody has.
    serving: BTreeSet<NodeId>,
    was_served: bool,
    now: Option<Instant>,
    changed: Option<Instant>,
    out: Vec<(NodeId, Word)>,
    /// Who went over with this director the last time, and in which round.
    with: BTreeSet<NodeId>,
    last_round: Option<Round>,
    /// The leader's tables could not be made here.
    has_refused: bool,
    /// Somebody has been ready: there may be connections.
    is_in_use: bool,
}

impl Step {
    /// Of a director whose tables are of unknown make; `every`: [`EVERY`]; `is_in_use`: there may be connections by its tables.
    pub fn new(me: NodeId, every: Duration, is_in_use: bool) -> Self {
        Self {
            me,
            current: None,
            next: None,
            left: Vec::new(),
            stances: BTreeMap::new(),
            lead: None,
            leads: false,
            desired: None,
            still_until: None,
            stale: BTreeMap::new(),
            every,
            idle: Duration::ZERO,
            is_ready: false,
            serving: BTreeSet::new(),
            was_served: is_in_use,
            now: None,
            changed: None,
            out: Vec::new(),
            with: BTreeSet::new(),
            last_round: None,
            has_refused: false,
            is_in_use,
        }
    }

    /// What the tables ought to be; `idle`: the longest that a connection may be silent. Nobody's, if they would not fit.
    pub fn desire(&mut self, desired: Recipes, idle: Duration) {
        self.idle = idle;
        if self.desired.as_ref().is_none_or(|held| *held.recipes != desired) {
            self.desired = Some(Tables::of(desired)).filter(|tables| tables.recipes.fit());
        }
    }

    /// A session with this peer has begun, or ended.
    pub(super) fn met(&mut self, peer: NodeId) {
        self.stances.insert(peer, None);
        self.out.retain(|(to, _)| *to != peer);
        self.say(peer, self.stance_here());
        self.stale.remove(&peer);
    }

    pub(super) fn lost(&mut self, peer: NodeId, now: Instant) {
        self.stances.remove(&peer);
        self.stale.remove(&peer);
        self.out.retain(|(to, _)| *to != peer);
        self.taken_over(now);
    }

    /// Connections have come here, or may have, of which nothing is known but that they were derived: until they have spoken, or
    /// have been silent for too long, nothing changes. What others have prepared they may have committed.
    pub(super) fn taken_over(&mut self, now: Instant) {
        self.stand_still(now);
        if let Some(next) = self.next.take_if(|next| next.phase != Phase::Committed)
            && next.phase != Phase::Proposed
        {
            self.keep_left(next.tables);
        }
        self.lead.take_if(|lead| lead.may_be_given_up());
    }

    /// The next word to this peer.
    pub(super) fn next_word(&mut self, peer: NodeId) -> Option<Word> {
        let at = self.out.iter().position(|(to, _)| *to == peer)?;
        Some(self.out.remove(at).1)
    }

    /// Takes in what a peer says; `leader`: who leads, as far as this director knows.
    pub(super) fn hear(&mut self, from: NodeId, word: Word, leader: Option<NodeId>) {
        match word {
            Word::Stance(digest, its_in_use) => {
                let is_first = self.stances.insert(from, Some(digest)) == Some(None);
                // Both were there before they met: connections may have gone from one to the other meanwhile.
                if is_first
                    && its_in_use
                    && std::mem::replace(&mut self.is_in_use, true)
                    && let Some(now) = self.now
                {
                    self.stand_still(now);
                }
            }
            Word::Prepare(round, recipes) => {
                // Another leader knows nothing of the last one's counter.
                let is_later = |next: &Next| next.round < round || next.round.leader != from;
                let later = self.next.as_ref().is_none_or(is_later);
                let tables = Tables::of(recipes);
                let unsettles = self.is_ready && self.is_still() && tables.digest != self.digest();
                if leader != Some(from)
                    || round.leader != from
                    || !later
                    || unsettles
                    || !tables.recipes.fit()
                {
                    return self.say(from, Word::Refused(round));
                }
                self.replace_next(Next { round, tables, phase: Phase::Proposed });
            }
            Word::Heard(round) => self.answered(from, round, Answer::Heard),
            Word::Ready(round) => self.answered(from, round, Answer::Ready),
            Word::Refused(round) => self.was_refused(from, round),
            Word::Commit(round, with) => {
                if let Some(next) = &mut self.next
                    && next.round == round
                    && round.leader == from
                    && next.phase == Phase::Told
                {
                    next.phase = Phase::Committed;
                    self.with = with.into_iter().collect();
                }
            }
            Word::Done(round) => {
                if self.next.is_none() && self.last_round == Some(round) && round.leader == from {
                    self.left.clear();
                }
            }
        }
    }

    /// What the host should do now.
    pub fn task(&self) -> Option<Task> {
        let next = self.next.as_ref()?;
        match next.phase {
            Phase::Proposed => Some(Task::Try(next.tables.clone())),
            Phase::Telling => Some(Task::Tell),
            Phase::Told => None,
            Phase::Committed => Some(Task::GoOver(next.tables.clone())),
        }
    }

    /// The tables of [`Task::Try`] can be made here, or cannot.
    pub fn answer(&mut self, can: bool) {
        let Some(next) = self.next.as_mut().filter(|next| next.phase == Phase::Proposed) else { return };
        let (round, leader) = (next.round, next.round.leader);
        self.has_refused = !can;
        if can {
            next.phase = Phase::Telling;
        } else {
            self.next = None;
        }
        self.say_or_note(leader, if can { Word::Heard(round) } else { Word::Refused(round) });
    }

    /// All that the next tables would lose has been told to all who are in step, and acknowledged.
    pub fn told(&mut self) {
        let Some(next) = self.next.as_mut().filter(|next| next.phase == Phase::Telling) else { return };
        next.phase = Phase::Told;
        let (round, leader) = (next.round, next.round.leader);
        self.say_or_note(leader, Word::Ready(round));
    }

    /// The host goes by the tables of [`Task::GoOver`].
    pub fn gone_over(&mut self) {
        let Some(next) = self.next.take_if(|next| next.phase == Phase::Committed) else { return };
        if let Some(old) = self.current.replace(next.tables) {
            self.keep_left(old);
        }
        self.last_round = Some(next.round);
        self.say_stance();
    }

    /// Time passes. `leads`: this director leads, and `is_ready`: it may serve, or `others_are`; `counter`: above all that were
    /// used.
    pub(super) fn tick(
        &mut self,
        leads: bool,
        [is_ready, others_are]: [bool; 2],
        serving: BTreeSet<NodeId>,
        counter: impl FnOnce() -> u64,
        now: Instant,
    ) {
        (self.now, self.is_ready) = (Some(now), is_ready);
        if self.serving != serving {
            // To the first of all nothing comes.
            let is_first = !std::mem::replace(&mut self.was_served, true);
            self.serving = serving;
            if !is_first {
                self.taken_over(now);
            }
        }
        if leads && !std::mem::replace(&mut self.leads, leads) {
            self.stand_still(now);
        }
        self.leads = leads;
        self.is_in_use |= is_ready || others_are;
        if !leads {
            self.lead = None;
            return;
        }
        if self.lead.is_some() {
            self.go_on(now);
        } else if let Some(target) = self.target(now) {
            self.begin(target, counter(), now);
        }
    }

    /// All of it but what is to be said.
    #[cfg(any(test, fuzzing))]
    pub(super) fn knowledge(&self) -> String {
        let Self { current, next, left, stances, lead, still_until, stale, with, last_round, .. } = self;
        let flags = [self.leads, self.is_ready, self.was_served, self.has_refused, self.is_in_use];
        format!(
            "{current:?} {next:?} {left:?} {stances:?} {lead:?} {still_until:?} {stale:?} {with:?} {last_round:?} {flags:?}"
        )
    }

    fn is_still(&self) -> bool {
        self.still_until.zip(self.now).is_some_and(|(until, now)| now < until)
    }

    fn say(&mut self, to: NodeId, word: Word) {
        if self.stances.contains_key(&to) {
            // Of each kind the last one holds, so what waits for a peer that does not read is bounded.
            let is_replaced =
                |(peer, it): &(NodeId, Word)| *peer == to && discriminant(it) == discriminant(&word);
            self.out.retain(|waiting| !is_replaced(waiting));
            self.out.push((to, word));
        }
    }

    fn say_or_note(&mut self, leader: NodeId, word: Word) {
        if leader != self.me {
            self.say(leader, word);
        } else if matches!(word, Word::Refused(_)) {
            self.lead = None;
        }
    }

    /// Connections that are silent at a director which has them no longer are stored nowhere.
    fn stand_still(&mut self, now: Instant) {
        if self.is_in_use {
            self.still_until = Some(now + self.idle);
        }
    }
}

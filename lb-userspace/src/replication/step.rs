//! Miss tables in step: what tables a director goes by, and which ones a peer may be going by.
//!
//! A connection need not be told if every table that a peer may be using gives its server. So a table changes in three steps,
//! which the leader takes with all who answer: *prepare* (from now on both tables count, and what either of them would lose is
//! told), *commit* (all that was told is acknowledged), *done* (nobody uses the old one any more). Whoever is not in step is
//! known by what it says of itself, and is told everything. A takeover needs no agreement: under each table that anybody may
//! have committed, what was not told is found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lb_common::identity::mix;
use serde::{Deserialize, Serialize};

use super::version::NodeId;

/// At most one change in this time.
pub const EVERY: Duration = Duration::from_secs(60);
/// Likewise of a director that nobody is connected to: connections that were picked by the tables before are stored, or over.
const EVERY_ALONE: Duration = Duration::from_secs(10);
/// A director that does not answer in this time is stale, and not waited for.
const ANSWER: Duration = Duration::from_secs(2);
/// For telling what a change would lose.
const TELLING: Duration = Duration::from_secs(30);
/// Between two attempts to bring a director in step that was not.
const AGAIN: Duration = Duration::from_secs(10);
/// Tables that may be in use besides the present and the next one. Who uses an older one is out of step.
const MOST_LEFT: usize = 4;
/// Servers in all tables together: they have to fit into a message.
pub const MOST_SHARES: usize = 32_768;

/// A lane of a service, by the hash of its names; the same on every director.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LaneKey(pub u64);

/// What a lane's table is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// Places.
    pub size: u32,
    /// Name hash and weight of each server that has a share, by name hash.
    pub shares: Vec<(u64, u32)>,
}

/// What the miss tables of all lanes are made of.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Recipes(pub BTreeMap<LaneKey, Recipe>);

/// Equal for equal recipes, and for no others that one is likely to meet. 0: a director does not know what its tables are made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct Digest(pub u64);

impl Recipes {
    pub fn digest(&self) -> Digest {
        // Of the way in which tables are made, too: another one is another number.
        const METHOD: u64 = 1;
        let add = |sum: u64, value: u64| mix(sum ^ mix(value));
        let sum = self.0.iter().fold(METHOD, |sum, (LaneKey(lane), recipe)| {
            let sum = add(add(sum, *lane), u64::from(recipe.size));
            let sum = add(sum, recipe.shares.len() as u64);
            recipe.shares.iter().fold(sum, |sum, (name, weight)| add(add(sum, *name), u64::from(*weight)))
        });
        Digest(sum.max(1))
    }

    /// Whether they may be told.
    pub fn fit(&self) -> bool {
        self.0.values().map(|recipe| recipe.shares.len() + 1).sum::<usize>() <= MOST_SHARES
    }
}

/// Recipes with their digest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tables {
    pub recipes: Arc<Recipes>,
    pub digest: Digest,
}

impl Tables {
    pub fn of(recipes: Recipes) -> Self {
        Self { digest: recipes.digest(), recipes: Arc::new(recipes) }
    }
}

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

/// How far a follower is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    None,
    Heard,
    Ready,
}

/// The change that this director leads.
#[derive(Debug)]
struct Lead {
    round: Round,
    began: Instant,
    waits: BTreeMap<NodeId, Answer>,
    /// Since when, and for whom.
    committed: Option<(Instant, BTreeSet<NodeId>)>,
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

    /// Whether there may be connections by these tables, here or elsewhere: else they may be any others at any time.
    pub fn is_in_use(&self) -> bool {
        self.is_in_use
    }

    /// The tables that this director goes by.
    pub fn current(&self) -> Option<&Tables> {
        self.current.as_ref()
    }

    /// The tables that a peer in step may be going by, the present ones first; empty while nobody knows what they are made of.
    pub fn possible(&self) -> impl Iterator<Item = &Tables> {
        let next = self.next.as_ref().filter(|next| next.phase != Phase::Proposed).map(|next| &next.tables);
        let all = self.current.iter().chain(next).chain(&self.left);
        all.filter(|_| self.current.is_some())
    }

    /// Whether this peer goes by one of them, by its own word.
    pub fn is_in_step(&self, peer: NodeId) -> bool {
        let Some(Some(stance)) = self.stances.get(&peer) else { return false };
        self.possible().any(|tables| tables.digest == *stance)
    }

    /// Whether this director goes by the tables of the one that leads, or cannot.
    pub fn is_settled(&self, leader: Option<NodeId>) -> bool {
        let Some(leader) = leader.filter(|leader| *leader != self.me) else { return true };
        let stance = self.stance(leader);
        self.has_refused || stance.is_some_and(|its| its == self.digest() || its == Digest::default())
    }

    /// What this peer says that it goes by.
    pub fn stance(&self, peer: NodeId) -> Option<Digest> {
        self.stances.get(&peer).copied().flatten()
    }

    /// Who went over with this director at the last commit.
    pub fn with(&self) -> &BTreeSet<NodeId> {
        &self.with
    }

    /// What the tables ought to be; `idle`: the longest that a connection may be silent. Nobody's, if they would not fit.
    pub fn desire(&mut self, desired: Recipes, idle: Duration) {
        self.idle = idle;
        if self.desired.as_ref().is_none_or(|held| *held.recipes != desired) {
            self.desired = Some(Tables::of(desired)).filter(|tables| tables.recipes.fit());
        }
    }

    /// What this director's tables are made of, found out or made by itself: `None`, if that cannot be known.
    pub fn found(&mut self, tables: Option<Tables>) {
        if self.current != tables {
            self.left.clear();
            self.current = tables;
            self.say_stance();
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
        self.lead.take_if(|lead| lead.committed.is_none());
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
            Word::Refused(round) => {
                if let Some(lead) = &self.lead
                    && lead.round == round
                    && lead.committed.is_none()
                {
                    let now = self.now.unwrap_or(lead.began);
                    self.leave_behind(from, now);
                }
            }
            Word::Commit(round, with) => {
                if let Some(next) = &mut self.next
                    && next.round == round
                    && next.phase == Phase::Told
                {
                    next.phase = Phase::Committed;
                    self.with = with.into_iter().collect();
                }
            }
            Word::Done(round) => {
                if self.next.is_none() && self.last_round == Some(round) {
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

    /// What the tables of all should become: what this director's are, if somebody's are not; else what is desired, if it is time.
    fn target(&mut self, now: Instant) -> Option<Tables> {
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

    fn begin(&mut self, tables: Tables, counter: u64, now: Instant) {
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

    fn go_on(&mut self, now: Instant) {
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

    fn is_still(&self) -> bool {
        self.still_until.zip(self.now).is_some_and(|(until, now)| now < until)
    }

    fn answered(&mut self, from: NodeId, round: Round, answer: Answer) {
        if let Some(lead) = &mut self.lead
            && lead.round == round
            && let Some(held) = lead.waits.get_mut(&from)
        {
            *held = answer;
        }
    }

    /// Of a round that is given up, its tables may be in use by whoever committed it.
    fn replace_next(&mut self, next: Next) {
        if let Some(old) = self.next.replace(next)
            && old.phase != Phase::Proposed
        {
            self.keep_left(old.tables);
        }
    }

    fn keep_left(&mut self, tables: Tables) {
        self.left.retain(|held| held.digest != tables.digest);
        self.left.push(tables);
        if self.left.len() > MOST_LEFT {
            self.left.remove(0);
        }
    }

    fn digest(&self) -> Digest {
        self.current.as_ref().map_or(Digest::default(), |tables| tables.digest)
    }

    fn stance_here(&self) -> Word {
        Word::Stance(self.digest(), self.is_in_use)
    }

    fn say_stance(&mut self) {
        let peers: Vec<NodeId> = self.stances.keys().copied().collect();
        for peer in peers {
            self.say(peer, self.stance_here());
        }
    }

    fn say(&mut self, to: NodeId, word: Word) {
        if self.stances.contains_key(&to) {
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

//! One director's part in the replication: what it exports, what it holds for others, and what each peer has to be told.
//!
//! No I/O and no clock: the caller brings bytes and the time, takes frames and changes. `sending` and `receiving` are its two
//! other halves; `meeting` says who is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lb_common::identity::FlowId;

use super::backup::Scope;
use super::board::Board;
use super::join::{self, Patience, Standing};
use super::names::Names;
use super::record::{Connection, Content, Entry, Pair};
use super::refusal::{Refusal, Refusals};
use super::session::{Session, SessionId};
use super::step::{self, Step};
use super::store::{Bounds, Store};
use super::traffic::Traffic;
use super::version::{Counter, NodeId, Origin, Version};

/// Who this director is, whom it knows, and its bounds.
#[derive(Clone, Debug)]
pub struct Setup {
    pub origin: Origin,
    /// The agent restarted on a flow table that lives: its exports are at its peers.
    pub recovering: bool,
    pub domain: String,
    /// The wall clock when the director was made, since the beginning of 1970. Others' counters are believed up to what it allows.
    pub since_1970: Duration,
    pub peers: BTreeSet<NodeId>,
    pub scope: Scope,
    pub bounds: Bounds,
    /// Records of unknown services and servers that wait for the configuration.
    pub quarantine: usize,
    /// Changes kept for a slow peer.
    pub dirty: usize,
    pub digest_interval: Duration,
    pub patience: Patience,
}

/// See the module.
#[derive(Debug)]
pub struct Replicator {
    pub(super) setup: Setup,
    pub(super) recovering: bool,
    pub(super) counter: Counter,
    pub(super) names: Names,
    pub(super) store: Store,
    /// Own records that no entry of the flow table stands behind: taken over, or got back after a restart. They lapse.
    pub(super) guarded: BTreeSet<FlowId>,
    pub(super) quarantine: BTreeSet<FlowId>,
    changed: BTreeSet<FlowId>,
    pub(super) sessions: BTreeMap<NodeId, Session>,
    pub(super) traffic: BTreeMap<NodeId, Traffic>,
    pub(super) last_session: u64,
    /// Of all, and of what came from each peer.
    pub(super) refusals: Refusals,
    refusals_of: BTreeMap<NodeId, Refusals>,
    pub(super) board: Board,
    pub(super) step: Step,
    /// Others have ordered or found something, or who leads may be another.
    pub(super) news: bool,
    pub(super) standing: Standing,
    pub(super) began: Instant,
    made: Instant,
    /// Of the last tick.
    pub(super) now: Instant,
    last_digest: Instant,
}

impl Replicator {
    /// A director that knows nothing yet; `mark` is the persisted [`Replicator::mark`].
    pub fn new(setup: Setup, mark: u64, now: Instant) -> Self {
        Self {
            recovering: setup.recovering,
            counter: Counter::from_mark(mark),
            names: Names::default(),
            store: Store::new(setup.bounds),
            guarded: BTreeSet::new(),
            quarantine: BTreeSet::new(),
            changed: BTreeSet::new(),
            sessions: BTreeMap::new(),
            traffic: BTreeMap::new(),
            last_session: 0,
            refusals: Refusals::default(),
            refusals_of: BTreeMap::new(),
            board: Board::default(),
            step: Step::new(setup.origin.node, step::EVERY, setup.recovering),
            news: true,
            standing: Standing::Init,
            began: now,
            made: now,
            now,
            last_digest: now,
            setup,
        }
    }

    /// These services and servers are known; records that waited for them come into force, those of others wait.
    ///
    /// # Errors
    /// [`Refusal::NameClash`]: two names have one hash, and one has to be changed.
    pub fn configure(&mut self, pairs: impl IntoIterator<Item = Pair>) -> Result<(), Refusal> {
        let before: BTreeSet<FlowId> = self.in_force().collect();
        self.names.configure(pairs)?;
        let after: BTreeSet<FlowId> = self.in_force().collect();
        self.changed.extend(before.symmetric_difference(&after));
        let waiting = |(_, entry): &(FlowId, &Entry)| self.waits(entry);
        self.quarantine = self.store.iter().filter(waiting).map(|(flow, _)| flow).collect();
        // Once they are known again, the next digest brings them back.
        while self.quarantine.len() > self.setup.quarantine
            && let Some(flow) = self.quarantine.pop_last()
        {
            self.refusals.count(Refusal::QuarantineFull);
            self.store.remove(flow);
        }
        Ok(())
    }

    fn in_force(&self) -> impl Iterator<Item = FlowId> + '_ {
        self.store.iter().map(|(flow, _)| flow).filter(|flow| self.replica(*flow).is_some())
    }

    /// Whether it is somebody else's record of a server that is not configured here.
    pub(super) fn waits(&self, entry: &Entry) -> bool {
        let unknown = |connection: &Connection| !self.names.is_configured(connection.target);
        entry.version.origin != self.setup.origin && entry.connection().is_some_and(unknown)
    }

    /// The flow table of this director answers for this connection, and a peer would not derive it. Says the same again without
    /// effect; takes the record over from whoever had it.
    ///
    /// # Errors
    /// When there is no room for the record.
    pub fn publish(&mut self, flow: FlowId, connection: Connection, now: Instant) -> Result<(), Refusal> {
        if Duration::from_secs(connection.idle.into()) > self.setup.bounds.longest_idle {
            return Err(self.refuse(Refusal::ExpiryTooLong));
        }
        let content = Content::Live(connection);
        let same = |here: &Entry| here.version.origin == self.setup.origin && here.content == content;
        if self.store.get(flow).is_some_and(same) {
            self.guarded.remove(&flow);
            return Ok(());
        }
        self.write(flow, content, now)?;
        self.guarded.remove(&flow);
        Ok(())
    }

    /// The connection that was just published settled then. From there on counts how long it takes until a peer knows of it.
    pub fn settled(&mut self, flow: FlowId, then: Instant) {
        for session in self.sessions.values_mut() {
            session.out.settled(flow, then);
        }
    }

    /// The connection ended here, or has become derivable. A record that somebody else has taken over is left to them.
    pub fn withdraw(&mut self, flow: FlowId, now: Instant) {
        let own = |entry: &Entry| entry.version.origin == self.setup.origin && entry.connection().is_some();
        if self.store.get(flow).is_some_and(own) {
            self.write(flow, Content::Ended, now).expect("a tombstone needs no room among the living");
        }
    }

    /// The origin is dead and this director answers for its connections: each record becomes its own, and its expiry starts
    /// anew. Those of which no packet comes are withdrawn when they lapse. Says how many there are.
    pub fn take_over(&mut self, dead: Origin, now: Instant) -> usize {
        self.step.taken_over(now);
        let theirs: Vec<(FlowId, Content)> = self
            .store
            .iter()
            .filter(|(_, entry)| entry.version.origin == dead && entry.connection().is_some())
            .map(|(flow, entry)| (flow, entry.content))
            .collect();
        let mut taken = 0;
        for (flow, content) in theirs {
            if self.write(flow, content, now).is_ok() {
                self.guarded.insert(flow);
                taken += 1;
            }
        }
        taken
    }

    /// Time passes: records lapse, digests fall due, the join goes on. To be called some times a second.
    pub fn tick(&mut self, now: Instant) {
        for flow in self.store.sweep(now) {
            let own = self.store.get(flow).is_some_and(|entry| entry.version.origin == self.setup.origin);
            if !own {
                self.store.remove(flow);
                self.note(flow);
            } else if self.guarded.contains(&flow) {
                self.withdraw(flow, now);
            }
        }
        if now.saturating_duration_since(self.last_digest) >= self.setup.digest_interval {
            self.last_digest = now;
            let orphans = self.orphans();
            for session in self.sessions.values_mut().filter(|session| session.origin.is_some()) {
                session.out.digests.extend(&orphans);
                if !self.recovering && session.out.tells {
                    session.out.digests.insert(self.setup.origin);
                    session.out.own_digest_due.get_or_insert(now);
                }
            }
        }
        self.now = now;
        let leads = self.leader() == Some(self.setup.origin.node);
        let others_are = self.sessions.values().any(|session| session.standing >= Some(Standing::Ready));
        let (ready, serving) = ([self.standing >= Standing::Ready, others_are], self.serving());
        self.step.tick(leads, ready, serving, || self.counter.count(), now);
        let facts = self.facts();
        self.standing = join::next(self.standing, &facts, &self.setup.patience, self.began, now);
        if self.recovering && self.standing >= Standing::Ready {
            self.recovering = false;
            for session in self.sessions.values_mut().filter(|session| session.origin.is_some()) {
                if session.out.tells {
                    session.out.digests.insert(self.setup.origin);
                } else {
                    session.out.releases = true;
                }
            }
        }
        self.appoint();
    }

    /// Who this director is.
    pub fn origin(&self) -> Origin {
        self.setup.origin
    }

    /// The peers hold records of us that we have not got back since the restart.
    pub fn is_recovering(&self) -> bool {
        self.recovering
    }

    /// All that is in force is among the next [`Replicator::changes`], as if it were new.
    pub fn review(&mut self) {
        let in_force: Vec<FlowId> = self.in_force().collect();
        self.changed.extend(in_force);
    }

    /// The flow ids of which [`Replicator::replica`] may answer otherwise than before, each once; then they are forgotten.
    pub fn changes(&mut self) -> BTreeSet<FlowId> {
        std::mem::take(&mut self.changed)
    }

    /// What the data path should know of this flow id besides its own entries: a record of somebody else, or one this
    /// director guards, whose server is configured.
    pub fn replica(&self, flow: FlowId) -> Option<&Connection> {
        let entry = self.store.get(flow)?;
        let theirs = entry.version.origin != self.setup.origin || self.guarded.contains(&flow);
        entry.connection().filter(|connection| theirs && self.names.is_configured(connection.target))
    }

    /// Whether another director has said the last word of this flow id, and that it is over.
    pub fn has_ended_elsewhere(&self, flow: FlowId) -> bool {
        let entry = self.store.get(flow);
        entry
            .is_some_and(|entry| entry.content == Content::Ended && entry.version.origin != self.setup.origin)
    }

    /// Whether it is this director's own record, and something here stands behind it.
    pub fn is_own(&self, flow: FlowId) -> bool {
        let own = |entry: &Entry| entry.version.origin == self.setup.origin && entry.connection().is_some();
        self.store.get(flow).is_some_and(own) && !self.guarded.contains(&flow)
    }

    /// To be persisted whenever it changes, and given to the next [`Replicator::new`].
    pub fn mark(&self) -> u64 {
        self.counter.mark()
    }

    /// Its miss tables, and those of the others.
    pub fn step(&self) -> &Step {
        &self.step
    }

    pub fn step_mut(&mut self) -> &mut Step {
        &mut self.step
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Of what came from this peer, over all sessions.
    pub fn refusals_of(&self, peer: NodeId) -> Refusals {
        self.refusals_of.get(&peer).cloned().unwrap_or_default()
    }

    /// Records that wait for the configuration.
    pub fn waiting(&self) -> usize {
        self.quarantine.len()
    }

    /// See [`Counter::ceiling`].
    pub(super) fn ceiling(&self) -> u64 {
        Counter::ceiling(self.setup.since_1970 + self.now.saturating_duration_since(self.made))
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) -> Refusal {
        self.refusals.count(refusal);
        refusal
    }

    /// Something that came from this peer.
    pub(super) fn refuse_from(&mut self, peer: NodeId, refusal: Refusal) -> Refusal {
        self.refusals_of.entry(peer).or_default().count(refusal);
        self.refuse(refusal)
    }

    /// Something that came in this session, if it still stands.
    pub(super) fn refuse_in(&mut self, id: SessionId, refusal: Refusal) -> Refusal {
        match self.sessions.values().find(|session| session.id == id).map(|session| session.node) {
            Some(peer) => self.refuse_from(peer, refusal),
            None => self.refuse(refusal),
        }
    }

    pub(super) fn note(&mut self, flow: FlowId) {
        self.changed.insert(flow);
        if self.store.get(flow).is_none_or(|entry| entry.version.origin != self.setup.origin) {
            self.guarded.remove(&flow);
        }
        if self.store.get(flow).is_some_and(|entry| self.waits(entry)) {
            self.quarantine.insert(flow);
        } else {
            self.quarantine.remove(&flow);
        }
    }

    /// Writes an own record, later than all that was seen, and marks it for all peers.
    fn write(&mut self, flow: FlowId, content: Content, now: Instant) -> Result<(), Refusal> {
        let version = Version { counter: self.counter.count(), origin: self.setup.origin };
        if let Err(refusal) = self.store.merge(flow, Entry { version, content, since: now }) {
            return Err(self.refuse(refusal));
        }
        if content == Content::Ended {
            self.guarded.remove(&flow);
        }
        self.note(flow);
        for session in self.sessions.values_mut().filter(|session| session.origin.is_some()) {
            session.out.mark(flow, self.setup.dirty, now);
        }
        Ok(())
    }
}

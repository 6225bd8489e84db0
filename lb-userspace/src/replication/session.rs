//! What is between this director and one peer while they are connected: what it has yet to be told, and what we wait for.
//!
//! Nothing here is a log. What changed is a set of flow ids whose records are read when they are sent, so the last value
//! wins and memory is bounded, however slow the peer is.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use lb_common::identity::FlowId;

use super::board::{AddressKey, Finding, Owed};
use super::digest::range_of;
use super::dirty::Dirty;
use super::join::Standing;
use super::message::Told;
use super::names::{Heard, Spoken};
use super::version::{NodeId, Origin};
use super::window::Window;

/// Distinguishes a session from those before it: what still comes in for an older one is refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub(super) u64);

/// Frames with records that may be on their way without an acknowledgement.
pub(super) const WINDOW: usize = 64;
/// So long after its last message a director that has nothing to say says so.
pub(super) const PULSE: Duration = Duration::from_millis(500);
/// Answers to outdated records kept for a peer; what is beyond, the next digest finds.
const MOST_ANSWERS: usize = 4096;

#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    pub node: NodeId,
    /// Known once it has said hello; before, the session carries nothing else.
    pub origin: Option<Origin>,
    /// What it has said of itself: in a new session nothing yet.
    pub standing: Option<Standing>,
    pub out: Outgoing,
    pub inc: Incoming,
}

/// What the peer has to be told, the most urgent first.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub hello_sent: bool,
    /// The peer is told of our own records.
    pub tells: bool,
    /// It is to forget those that it was told.
    pub releases: bool,
    /// Messages so far.
    pub sent: u64,
    /// When the last of them was taken.
    pub last: Option<Instant>,
    /// Frames with records without an acknowledgement.
    pub flight: VecDeque<Flight>,
    /// Own records that have changed since they were last sent.
    pub dirty: Dirty,
    /// When the connections of some of these settled.
    pub settled: HashMap<FlowId, Instant>,
    /// More has changed than is kept, since then: once the flight has landed, a digest finds what differs.
    pub stale: Option<Instant>,
    /// Digests to be sent.
    pub digests: BTreeSet<Origin>,
    /// When the digest of the own records should have been sent.
    pub own_digest_due: Option<Instant>,
    /// Digests sent that the peer has not answered yet.
    pub unanswered: BTreeSet<Origin>,
    /// The peer has compared our own records with what it holds, at least once.
    pub compared: bool,
    /// Buckets the peer wants, and the flow id from which on.
    pub owed: BTreeMap<(Origin, u16), FlowId>,
    /// Flow ids of which the peer has shown an outdated record.
    pub answers: BTreeSet<FlowId>,
    /// Answers to the peer's digests.
    pub wants: BTreeMap<Origin, Vec<u16>>,
    pub told: Told,
    pub standing_told: Option<Standing>,
    pub board: Owed,
    pub spoken: Spoken,
}

/// A frame with records on its way.
#[derive(Debug)]
pub(super) struct Flight {
    pub sequence: u64,
    /// When the oldest of its changes happened.
    pub since: Instant,
    /// When the connections settled of which it is the first word.
    pub settled: Vec<Instant>,
}

/// What has come from the peer.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// Messages so far.
    pub received: u64,
    pub ack_due: bool,
    /// Buckets we wanted and have not got.
    pub awaited: BTreeMap<Origin, BTreeSet<u16>>,
    pub heard: Heard,
    pub told: Told,
    /// Buckets that differed in the last digest of the peer's own records.
    pub divergent: usize,
    /// What it has found of servers; it counts while the peer leads.
    pub findings: BTreeMap<AddressKey, Finding>,
}

/// How far a peer is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lag {
    /// Records that have changed and are not sent.
    pub dirty: usize,
    /// So much changed that it will get what differs instead.
    pub stale: bool,
    /// Age of the oldest change it has not acknowledged.
    pub oldest: Option<Duration>,
    /// Of its own records, buckets in which we differed when it last said.
    pub divergent: usize,
}

impl Session {
    pub fn new(id: SessionId, node: NodeId) -> Self {
        let (out, inc) = (Outgoing::default(), Incoming::default());
        Self { id, node, origin: None, standing: None, out, inc }
    }

    /// The peer has been told all that it is to be told, and has acknowledged it.
    pub fn level(&self) -> bool {
        let has_compared = self.out.compared || !self.out.tells;
        has_compared
            && self.out.told == Told::Everything
            && self.out.nothing_owed()
            && self.out.flight.is_empty()
    }

    /// The peer has acknowledged all that had changed by then.
    pub fn has_all_of(&self, then: Instant) -> bool {
        let landed = self.out.flight.front().map(|frame| frame.since);
        let oldest = [landed, self.out.dirty.since()].into_iter().flatten().min();
        let is_known = self.out.compared && self.out.told == Told::Everything;
        let has_all = is_known
            && self.out.stale.is_none()
            && self.out.owed.is_empty()
            && oldest.is_none_or(|oldest| oldest > then);
        has_all || !self.out.tells
    }

    /// Origins of which the peer has sent a digest that is not dealt with.
    pub fn compares(&self, origin: Origin) -> usize {
        let answered = self.inc.awaited.keys().filter(|at| !self.out.wants.contains_key(at));
        self.out.wants.keys().chain(answered).filter(|at| **at != origin).count() + 1
    }

    pub fn lag(&self, now: Instant) -> Lag {
        let landed = self.out.flight.front().map(|frame| frame.since);
        let oldest = [landed, self.out.dirty.since(), self.out.stale].into_iter().flatten().min();
        Lag {
            dirty: self.out.dirty.len(),
            stale: self.out.stale.is_some(),
            oldest: oldest.map(|since| now.saturating_duration_since(since)),
            divergent: self.inc.divergent,
        }
    }
}

impl Incoming {
    /// Nothing more will come of this origin's records.
    pub fn give_up(&mut self, origin: Origin) {
        self.awaited.remove(&origin);
        self.divergent = 0;
    }
}

impl Outgoing {
    /// This own record has changed.
    pub fn mark(&mut self, flow: FlowId, most: usize, now: Instant) {
        if self.stale.is_some() || !self.tells {
            return;
        }
        self.dirty.mark(flow, now);
        if self.dirty.len() > most {
            self.stale = self.dirty.since();
            self.dirty.clear();
            self.settled.clear();
        }
    }

    /// The connection of this own record settled then. Nothing comes of it unless the record is still to be sent.
    pub fn settled(&mut self, flow: FlowId, then: Instant) {
        if self.dirty.has(flow) {
            self.settled.entry(flow).or_insert(then);
        }
    }

    pub fn answer(&mut self, flow: FlowId) {
        if self.answers.len() < MOST_ANSWERS {
            self.answers.insert(flow);
        }
    }

    pub fn owe(&mut self, origin: Origin, buckets: &[u16]) {
        for &bucket in buckets {
            self.owed.insert((origin, bucket), range_of(bucket).0);
        }
    }

    /// All that differed when the session began has been sent.
    pub fn snapshot_told(&self) -> bool {
        self.digests.is_empty() && self.unanswered.is_empty() && self.owed.is_empty()
    }

    fn nothing_owed(&self) -> bool {
        self.stale.is_none() && self.dirty.is_empty() && self.owed.is_empty() && self.answers.is_empty()
    }

    /// How far the beginning of the session has come.
    pub fn progress(&self) -> Told {
        match (self.told, self.snapshot_told(), self.nothing_owed()) {
            (Told::Everything, _, _) => Told::Everything,
            (Told::Snapshot, _, true) | (Told::Nothing, true, true) => Told::Everything,
            (Told::Snapshot, _, false) | (Told::Nothing, true, false) => Told::Snapshot,
            (Told::Nothing, false, _) => Told::Nothing,
        }
    }

    /// The peer has applied everything up to this message, and knows of its connections from now on. `false` if it was not sent.
    pub fn landed(&mut self, through: u64, window: &mut Window, now: Instant) -> bool {
        if through > self.sent {
            return false;
        }
        let landed = self.flight.partition_point(|frame| frame.sequence <= through);
        for then in self.flight.drain(..landed).flat_map(|frame| frame.settled) {
            window.note(now.saturating_duration_since(then));
        }
        true
    }
}

//! What a director knows, to be compared with what it knew before: what is refused changes nothing of it, and what is not
//! refused no more than its sender may.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::identity::FlowId;

use super::board::{AddressKey, Finding, Given, MOST_ORDERS, ServerKey};
use super::join::Standing;
use super::message::Told;
use super::record::{Content, Entry, Kind};
use super::replicator::Replicator;
use super::session::{Session, WINDOW};
use super::store::Bounds;
use super::version::{NodeId, Origin};

/// All that a message could change, but for how many have come, and what is due in return.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Knowledge {
    own: Origin,
    known: BTreeSet<NodeId>,
    records: BTreeMap<FlowId, Entry>,
    tombstones: usize,
    counter: u64,
    names: usize,
    guarded: BTreeSet<FlowId>,
    waiting: BTreeSet<FlowId>,
    orders: Vec<(ServerKey, Given)>,
    step: String,
    standing: Standing,
    peers: BTreeMap<NodeId, Peer>,
}

#[derive(Clone, PartialEq, Debug)]
struct Peer {
    origin: Option<Origin>,
    standing: Option<Standing>,
    told: Told,
    divergent: usize,
    awaited: usize,
    compared: usize,
    names: usize,
    findings: BTreeMap<AddressKey, Finding>,
    flight: usize,
    unanswered: usize,
    owed: usize,
    wants: usize,
    dirty: usize,
}

impl Knowledge {
    pub fn of(director: &Replicator) -> Self {
        let peers = director.sessions.values().map(|session| (session.node, Peer::of(session)));
        Self {
            own: director.setup.origin,
            known: director.setup.peers.iter().copied().chain([director.setup.origin.node]).collect(),
            records: director.store.iter().map(|(flow, entry)| (flow, *entry)).collect(),
            tombstones: director.store.tombstones(),
            counter: director.counter.now(),
            names: director.names.known(),
            guarded: director.guarded.clone(),
            waiting: director.quarantine.clone(),
            orders: director.board.orders().collect(),
            step: director.step.knowledge(),
            standing: director.standing,
            peers: peers.collect(),
        }
    }

    /// What is believed, without where sessions stand and how far counters are.
    pub fn said(&self) -> impl PartialEq + std::fmt::Debug + '_ {
        (&self.records, self.tombstones, &self.guarded, &self.waiting, &self.orders, &self.step)
    }

    /// Asserts that it takes no more memory than is allowed.
    pub fn is_within(&self, bounds: &Bounds, waiting: usize, ceiling: u64) {
        for kind in Kind::ALL {
            let alive = self.records.values().filter_map(Entry::connection);
            assert!(
                alive.filter(|it| it.class.kind() == kind).count() <= bounds.records.of(kind),
                "{kind:?}"
            );
        }
        assert!(self.tombstones <= bounds.tombstones && self.waiting.len() <= waiting);
        let living = self.records.values().filter(|it| it.connection().is_some());
        let origins: BTreeSet<Origin> = living.map(|it| it.version.origin).collect();
        assert!(origins.len() <= bounds.origins);
        assert!(self.orders.len() <= MOST_ORDERS && self.counter <= ceiling);
        for peer in self.peers.values() {
            assert!(peer.compared <= 2 * bounds.origins + 1 && peer.flight <= WINDOW);
        }
    }

    /// Whether this may have come of it by something that `sender` said.
    pub fn may_become(&self, after: &Self, sender: NodeId) -> Result<(), &'static str> {
        for (flow, here) in &self.records {
            // An end may be told under the version of the record, by whoever passes it on.
            let ends = |it: &Entry| it.version == here.version && it.content == Content::Ended;
            match after.records.get(flow) {
                Some(it) if it == here || it.version > here.version => {}
                Some(it) if ends(it) && here.version.origin != self.own => {}
                Some(it)
                    if it.content == here.content && it.version == here.version && it.since > here.since => {}
                // Its own it may take back.
                None if here.version.origin.node == sender => {}
                // A tombstone may give way to another one where there are too many.
                None if here.content == Content::Ended => {}
                _ => return Err("a record was lost or went back"),
            }
        }
        for (flow, it) in &after.records {
            let is_new = self.records.get(flow).is_none_or(|here| here.version != it.version);
            if is_new && it.version.origin == self.own {
                return Err("a record in our name that we did not write");
            }
            if is_new && !self.known.contains(&it.version.origin.node) {
                return Err("a record of a stranger");
            }
        }
        for (server, given) in &self.orders {
            let same = |(key, it): &&(ServerKey, Given)| {
                key == server && it.order.concern() == given.order.concern()
            };
            if after.orders.iter().find(same).is_none_or(|(_, it)| it.version < given.version) {
                return Err("an order was lost or went back");
            }
        }
        if after.counter < self.counter || after.standing != self.standing {
            return Err("the counter went back, or somebody else said how far we are");
        }
        for (node, peer) in self.peers.iter().filter(|(node, _)| **node != sender) {
            if after.peers.get(node) != Some(peer) {
                return Err("what we know of another peer");
            }
        }
        Ok(())
    }
}

impl Peer {
    fn of(session: &Session) -> Self {
        Self {
            origin: session.origin,
            standing: session.standing,
            told: session.inc.told,
            divergent: session.inc.divergent,
            awaited: session.inc.awaited.values().map(BTreeSet::len).sum(),
            compared: session
                .inc
                .awaited
                .keys()
                .chain(session.out.wants.keys())
                .collect::<BTreeSet<_>>()
                .len(),
            names: session.inc.heard.known(),
            findings: session.inc.findings.clone(),
            flight: session.out.flight.len(),
            unanswered: session.out.unanswered.len(),
            owed: session.out.owed.len(),
            wants: session.out.wants.len(),
            dirty: session.out.dirty.len(),
        }
    }
}

//! What must hold in every moment, and what once everything has calmed down.

use lb_common::identity::FlowId;

use super::super::backup::Scope;
use super::super::join::{OnTimeout, Standing};
use super::super::record::{Content, Entry, Kind};
use super::super::refusal::Refusal;
use super::world::{Node, World};

/// By the slowest clock, and on its way, ms.
const UNTIL_THE_NEXT_DIGEST: u64 = 15_000;

impl World {
    pub(super) fn check(&mut self) {
        for index in 0..self.nodes.len() {
            self.bounded(index);
            self.nothing_rises(index);
            self.join_ends(index);
            self.orders_only_grow(index);
        }
        self.peers_in_sync_know();
        self.every_peer_would_go_on();
    }

    fn bounded(&self, index: usize) {
        let Some(core) = &self.nodes[index].core else { return };
        let setup = &core.setup;
        for kind in Kind::ALL {
            assert!(core.store.live_by_kind().of(kind) <= setup.bounds.records.of(kind), "{kind:?}");
        }
        assert!(core.store.tombstones() <= setup.bounds.tombstones, "tombstones");
        assert!(core.waiting() <= setup.quarantine, "quarantine");
        for session in core.sessions.values() {
            assert!(session.out.dirty.len() <= setup.dirty, "dirty set");
            assert!(session.out.flight.len() <= super::super::session::WINDOW, "flight");
        }
        for (flow, entry) in core.store.iter() {
            let configured = entry.connection().is_some_and(|to| core.names.is_configured(to.target));
            assert!(core.replica(flow).is_none() || configured, "a replica of an unknown server in force");
        }
    }

    /// What a director has once known to be ended is never alive there again but by a later record.
    fn nothing_rises(&mut self, index: usize) {
        let Node { core: Some(core), graves, .. } = &mut self.nodes[index] else { return };
        for (flow, entry) in core.store.iter() {
            match entry.content {
                Content::Ended => {
                    let grave = graves.entry(flow).or_insert(entry.version);
                    *grave = entry.version.max(*grave);
                }
                Content::Live(_) => {
                    let risen = graves.get(&flow).is_some_and(|grave| entry.version <= *grave);
                    assert!(!risen, "{flow:?} rose from the dead at node {index}: {entry:?}");
                }
            }
        }
    }

    fn join_ends(&self, index: usize) {
        let node = &self.nodes[index];
        let Some(core) = &node.core else { return };
        let patience = &core.setup.patience;
        let waited = self.node_time(index) - node.began;
        if core.standing() < Standing::Ready && patience.on_timeout == OnTimeout::Serve {
            assert!(
                waited <= patience.whole + std::time::Duration::from_secs(2),
                "node {index} joins for ever"
            );
        }
    }

    /// A peer that has acknowledged everything holds each own record, or a later one.
    fn peers_in_sync_know(&self) {
        for (a, node) in self.nodes.iter().enumerate() {
            let Some(core) = &node.core else { continue };
            for (b, peer) in self.nodes.iter().enumerate().filter(|(b, _)| *b != a) {
                let Some(peer_core) = &peer.core else { continue };
                let same_session = self.network.ends.get(&(a, b)).is_some_and(|end| {
                    self.network.ends.get(&(b, a)).is_some_and(|back| back.session == end.other)
                });
                // What was refused shows as a bucket that differs, until there is room.
                let refused = peer_core.refusals().of(Refusal::QuarantineFull) > 0;
                if refused || !same_session || core.in_sync(peer_core.setup.origin.node) != Some(true) {
                    continue;
                }
                for (flow, entry) in core.store.iter().filter(|(_, entry)| own(core.setup.origin, entry)) {
                    if core.guarded.contains(&flow) {
                        continue;
                    }
                    let there = peer_core.store.get(flow);
                    let known = there.is_some_and(|there| there.version >= entry.version);
                    if self.has_forgotten(b, flow) {
                        continue;
                    }
                    assert!(known, "node {b} is in sync with {a} and does not know {flow:?} {entry:?}");
                }
            }
        }
    }

    /// What somebody had told who tells it no longer may have stood over what another one tells, which is found by its next
    /// digest; then nothing is known of the connection, or an older end that had stood behind it.
    pub(super) fn has_forgotten(&self, index: usize, flow: FlowId) -> bool {
        let Node { core, released, .. } = &self.nodes[index];
        let here = core.as_ref().and_then(|core| core.store.get(flow));
        here.is_none_or(|here| here.connection().is_none())
            && released.is_some_and(|at| at + UNTIL_THE_NEXT_DIGEST > self.now)
    }

    /// After a calm: everybody holds the same, and it is the truth.
    pub(super) fn all_agree(&self) {
        self.all_obey_and_follow();
        for (a, node) in self.nodes.iter().enumerate() {
            let core = node.core.as_ref().expect("all are back");
            assert!(core.standing() >= Standing::Ready, "node {a} is {:?}", core.standing());
            for (b, peer) in self.nodes.iter().enumerate().filter(|(b, _)| *b != a) {
                let peer = peer.core.as_ref().expect("all are back");
                let is_told = core.tells(peer.setup.origin.node) == Some(true);
                assert_eq!(core.in_sync(peer.setup.origin.node), Some(is_told), "{a} with {b}");
                let exports: Vec<_> =
                    core.store.iter().filter(|(_, entry)| own(core.setup.origin, entry)).map(fact).collect();
                let replicas: Vec<_> =
                    peer.store.iter().filter(|(_, entry)| own(core.setup.origin, entry)).map(fact).collect();
                if is_told {
                    assert_eq!(exports, replicas, "exports of {a}, replicas at {b}");
                } else {
                    // It has shown an older record, and was told the later one, which lapses there.
                    let is_true = replicas.iter().all(|fact| exports.contains(fact));
                    assert!(is_true, "exports of {a}, {exports:?}, replicas at {b}, {replicas:?}");
                }
            }
        }
        for (flow, (holder, connection)) in self.truth.iter().filter(|_| self.tells_all) {
            for (index, node) in
                self.nodes.iter().enumerate().filter(|(index, _)| self.hears(*index, *holder))
            {
                let core = node.core.as_ref().expect("all are back");
                let entry = core.store.get(*flow);
                let right = entry.is_some_and(|entry| entry.connection() == Some(connection));
                assert!(
                    right,
                    "node {index} holds {entry:?} of {flow:?}, which node {holder} has as {connection:?}"
                );
            }
        }
    }

    /// And whether told or derived, every connection would go on everywhere.
    pub(super) fn all_would_go_on(&mut self) {
        let truth: Vec<_> = self
            .truth
            .iter()
            .map(|(flow, (holder, connection))| (*flow, *holder, connection.target))
            .collect();
        for index in 0..self.nodes.len() {
            for (flow, holder, target) in &truth {
                if !self.hears(index, *holder) {
                    continue;
                }
                assert_eq!(
                    self.route(index, *flow),
                    Some(*target),
                    "node {index} sends {flow:?} elsewhere, after a calm"
                );
            }
        }
    }

    /// Whether this director is told of what that one has, or has it itself.
    fn hears(&self, index: usize, holder: usize) -> bool {
        let core = |index: usize| self.nodes[index].core.as_ref().expect("all are back");
        index == holder || core(holder).tells(core(index).setup.origin.node) == Some(true)
    }

    /// After the longest expiry: what is not alive is nowhere.
    pub(super) fn nothing_is_left_over(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            let core = node.core.as_ref().expect("all are back");
            let held: Vec<FlowId> = core
                .store
                .iter()
                .filter(|(_, entry)| entry.connection().is_some())
                .map(|(flow, _)| flow)
                .collect();
            let truth: Vec<FlowId> = self.truth.keys().copied().collect();
            if self.tells_all && self.scope == Scope::All {
                assert_eq!(held, truth, "node {index}");
                assert_eq!(core.store.tombstones(), 0, "node {index}");
            } else {
                // A change of the tables may just have made connections derivable.
                assert!(held.iter().all(|flow| truth.contains(flow)), "node {index}");
            }
        }
    }
}

fn own(origin: super::super::version::Origin, entry: &Entry) -> bool {
    entry.version.origin == origin && entry.connection().is_some()
}

fn fact((flow, entry): (FlowId, &Entry)) -> (FlowId, u64, Content) {
    (flow, entry.version.counter, entry.content)
}

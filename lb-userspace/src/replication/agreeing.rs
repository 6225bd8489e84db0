//! Orders and findings among directors, and who leads: [`super::board`] put to work.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use lb_common::identity::FlowId;

use super::board::{AddressKey, Board, Finding, Given, Note, Order, ServerKey};
use super::join::Standing;
use super::names::MOST_NAMES;
use super::refusal::Refusal;
use super::replicator::Replicator;
use super::session::Session;
use super::step::Word;
use super::version::{NodeId, Version};

impl Replicator {
    /// Who decides what servers are in: the lowest of those who serve; while nobody does, of those who may. `None`: nobody, each
    /// goes by what it finds itself.
    pub fn leader(&self) -> Option<NodeId> {
        let of_peers = self.sessions.values().filter_map(|session| Some((session.standing?, session.node)));
        let all = of_peers.chain([(self.standing(), self.setup.origin.node)]);
        let rank = |standing| match standing {
            Standing::Serving => Some(0),
            Standing::Ready => Some(1),
            _ => None,
        };
        all.filter_map(|(standing, node)| Some((rank(standing)?, node))).min().map(|(_, node)| node)
    }

    /// All who serve, as far as this director knows.
    pub(super) fn serving(&self) -> BTreeSet<NodeId> {
        let peers = self.sessions.values().filter(|session| session.standing == Some(Standing::Serving));
        let own = (self.standing() == Standing::Serving).then_some(self.setup.origin.node);
        peers.map(|session| session.node).chain(own).collect()
    }

    /// An operator orders this here. Without effect if it holds already.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn order(&mut self, server: ServerKey, order: Order) -> Result<(), Refusal> {
        if self.board.order(server, order.concern()) == Some(order) {
            return Ok(());
        }
        let version = Version { counter: self.counter.count(), origin: self.setup.origin };
        self.give(server, Given { order, version }, None).map_err(|refusal| self.refuse(refusal))
    }

    /// What was ordered in an earlier life of the agent, here or elsewhere. Not told as news: sessions begin with all there is.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn remember(&mut self, server: ServerKey, given: Given) -> Result<(), Refusal> {
        self.give(server, given, None)
    }

    /// What an order was before there was a cluster: anything that was ordered since is later.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn inherit(&mut self, server: ServerKey, order: Order) -> Result<(), Refusal> {
        let version = Version { counter: 0, origin: self.setup.origin };
        match self.board.order(server, order.concern()) {
            Some(_) => Ok(()),
            None => self.give(server, Given { order, version }, None),
        }
    }

    /// What this director's checks have found, of all addresses; told while it leads.
    pub fn find(&mut self, findings: BTreeMap<AddressKey, Finding>) {
        let new = self.board.find(findings);
        for session in self.sessions.values_mut().filter(|session| session.origin.is_some()) {
            session.out.board.findings(&new);
        }
    }

    /// What another director that leads has found; `None` if this one leads, or nobody.
    pub fn found_by_leader(&self) -> Option<&BTreeMap<AddressKey, Finding>> {
        let leader = self.leader().filter(|leader| *leader != self.setup.origin.node)?;
        Some(&self.sessions.get(&leader)?.inc.findings)
    }

    /// Whether every peer that may serve goes by tables that are counted with, by its own word: then what all of those give need
    /// not be told. One that joins is brought in step before it may serve. An agent that recovers does not know what it had said, so
    /// it says all.
    pub fn all_in_step(&self) -> bool {
        let mut ready = self.sessions.values().filter(|session| session.standing >= Some(Standing::Ready));
        !self.recovering
            && self.step.current().is_some()
            && ready.all(|session| self.step.is_in_step(session.node))
    }

    /// Whether nothing was said of this flow: a peer believes what it was told before what it derives, and who was away may still
    /// hold an entry that a tombstone alone does not clear. So what is told stays told until it ends, and what follows it at once
    /// is told as well.
    pub fn may_be_left_untold(&self, flow: FlowId) -> bool {
        self.store.get(flow).is_none()
    }

    /// Whether everybody in step has acknowledged what had been written by then. An agent that has restarted tells nothing before
    /// it has heard what it told.
    pub fn has_told_all_of(&self, then: Instant) -> bool {
        if self.recovering {
            return true;
        }
        let in_step = |session: &&Session| self.step.is_in_step(session.node);
        self.sessions.values().filter(in_step).all(|session| session.has_all_of(then))
    }

    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Whether others have ordered or found something since this was last asked.
    pub fn heard_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    pub(super) fn noted(&mut self, node: NodeId, note: Note) -> Result<(), Refusal> {
        self.news = true;
        match note {
            Note::Orders(orders) => {
                for (server, given) in orders.into_iter().map(super::board::Told::into_given) {
                    if !self.counter.hear(given.version.counter, self.ceiling()) {
                        self.refuse_from(node, Refusal::CounterOutOfRange);
                    } else if let Err(refusal) = self.give(server, given, Some(node)) {
                        self.refuse_from(node, refusal);
                    }
                }
            }
            Note::Step(word) => {
                if let Word::Prepare(round, _) = &word
                    && !self.counter.hear(round.counter, self.ceiling())
                {
                    self.refuse_from(node, Refusal::CounterOutOfRange);
                    return Ok(());
                }
                let leader = self.leader();
                self.step.hear(node, word, leader);
            }
            Note::Findings(findings) => {
                let Some(session) = self.sessions.get_mut(&node) else { return Err(Refusal::StaleSession) };
                let held = &mut session.inc.findings;
                let new = findings.iter().filter(|(address, _)| !held.contains_key(address)).count();
                if held.len() + new > 2 * MOST_NAMES {
                    return Err(Refusal::TooManyNames);
                }
                held.extend(findings);
            }
        }
        Ok(())
    }

    /// What is new is told to everybody but whom it came from.
    fn give(&mut self, server: ServerKey, given: Given, from: Option<NodeId>) -> Result<(), Refusal> {
        if self.board.give(server, given, from.is_some())? {
            let others = self.sessions.values_mut().filter(|session| Some(session.node) != from);
            for session in others.filter(|session| session.origin.is_some()) {
                session.out.board.order(server, given.order.concern());
            }
        }
        Ok(())
    }
}

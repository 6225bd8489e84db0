//! What this director goes by, what its peers say that they go by, and what they may be going by.

use std::collections::BTreeSet;

use super::recipes::{Digest, Tables};
use super::{Next, Phase, Step, Word};
use crate::replication::version::NodeId;

/// Tables that may be in use besides the present and the next one. Who uses an older one is out of step.
const MOST_LEFT: usize = 4;

impl Step {
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

    /// What this director's tables are made of, found out or made by itself: `None`, if that cannot be known.
    pub fn found(&mut self, tables: Option<Tables>) {
        if self.current != tables {
            self.left.clear();
            self.current = tables;
            self.say_stance();
        }
    }

    /// Of a round that is given up, its tables may be in use by whoever committed it.
    pub(super) fn replace_next(&mut self, next: Next) {
        if let Some(old) = self.next.replace(next)
            && old.phase != Phase::Proposed
        {
            self.keep_left(old.tables);
        }
    }

    pub(super) fn keep_left(&mut self, tables: Tables) {
        self.left.retain(|held| held.digest != tables.digest);
        self.left.push(tables);
        if self.left.len() > MOST_LEFT {
            self.left.remove(0);
        }
    }

    /// Of the tables that this director goes by; 0 if nobody knows what they are made of.
    pub(super) fn digest(&self) -> Digest {
        self.current.as_ref().map_or(Digest::default(), |tables| tables.digest)
    }

    pub(super) fn stance_here(&self) -> Word {
        Word::Stance(self.digest(), self.is_in_use)
    }

    pub(super) fn say_stance(&mut self) {
        let peers: Vec<NodeId> = self.stances.keys().copied().collect();
        for peer in peers {
            self.say(peer, self.stance_here());
        }
    }
}

//! Peers that come and go, and how far behind each is.

use std::collections::BTreeSet;
use std::time::Instant;

use super::join::Standing;
use super::record::Target;
use super::refusal::Refusal;
use super::replicator::Replicator;
use super::session::{Lag, Session, SessionId};
use super::traffic::Traffic;
use super::version::{NodeId, Origin};

impl Replicator {
    /// A connection to a configured and authenticated peer stands; an older one of that peer is over.
    ///
    /// # Errors
    /// [`Refusal::UnknownNode`].
    pub fn connected(&mut self, node: NodeId) -> Result<SessionId, Refusal> {
        if !self.setup.peers.contains(&node) {
            return Err(self.refuse(Refusal::UnknownNode));
        }
        self.last_session += 1;
        let id = SessionId(self.last_session);
        if let Some(old) = self.sessions.insert(node, Session::new(id, node)) {
            self.left(&old);
        }
        Ok(id)
    }

    /// The connection is gone. Whether it was the peer's last: one that a newer one has replaced is over already.
    pub fn disconnected(&mut self, id: SessionId) -> bool {
        let of = self.sessions.values().find(|session| session.id == id).map(|session| session.node);
        let session = of.and_then(|node| self.sessions.remove(&node));
        if let Some(session) = &session {
            self.left(session);
        }
        session.is_some()
    }

    fn left(&mut self, lost: &Session) {
        self.orphaned(lost);
        self.appoint();
        self.step.lost(lost.node, self.now);
        self.forget_names();
        self.news = true;
    }

    /// Names that only a session of the past has made known.
    fn forget_names(&mut self) {
        if self.names.has_strange() {
            let said = self.sessions.values().flat_map(|session| session.inc.heard.targets());
            let held = self.store.iter().filter_map(|(_, entry)| Some(entry.connection()?.target));
            let used: BTreeSet<Target> = said.chain(held).collect();
            self.names.keep(|target| used.contains(&target));
        }
    }

    /// The records of a lost peer are compared among those who remain.
    fn orphaned(&mut self, lost: &Session) {
        let Some(origin) = lost.origin else { return };
        for session in
            self.sessions.values_mut().filter(|session| session.origin.is_some_and(|at| at != origin))
        {
            session.out.digests.insert(origin);
        }
    }

    /// Origins of records, but for this director's and those who can speak for themselves.
    pub fn orphans(&self) -> BTreeSet<Origin> {
        let present = |origin: Origin| self.sessions.values().any(|session| session.origin == Some(origin));
        self.store.origins().filter(|&origin| origin != self.setup.origin && !present(origin)).collect()
    }

    /// Whether this peer is told, and has acknowledged everything. `None` without a session.
    pub fn in_sync(&self, peer: NodeId) -> Option<bool> {
        self.sessions.get(&peer).map(|session| session.out.tells && session.level())
    }

    /// How far this peer is behind. `None` without a session.
    pub fn lag(&self, peer: NodeId, now: Instant) -> Option<Lag> {
        self.sessions.get(&peer).map(|session| session.lag(now))
    }

    /// What this peer has said of itself. `None` before it has said who it is and how far.
    pub fn heard_of(&self, peer: NodeId) -> Option<(Origin, Standing)> {
        let session = self.sessions.get(&peer)?;
        Some((session.origin?, session.standing?))
    }

    /// What has gone to this peer and come from it, over all sessions.
    pub fn traffic(&self, peer: NodeId) -> Traffic {
        self.traffic.get(&peer).copied().unwrap_or_default()
    }

    /// Every connected peer has acknowledged everything: a director that leaves may go.
    pub fn acknowledged(&self) -> bool {
        self.sessions.values().all(Session::level)
    }
}

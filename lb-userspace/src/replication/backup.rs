//! Who is told of this director's records: all others, or one alone that would go on with them.
//!
//! The one is the next in the ring of directors that are connected, as in the BackupManager of Tomcat's cluster. It changes when
//! directors come and go. Who was told before is told until the new one has everything, then that it is so no longer: it
//! forgets what it was told, for what it holds would go stale.

use super::record::ByKind;
use super::replicator::Replicator;
use super::session::Outgoing;
use super::version::{NodeId, Origin};

/// Whom records are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// All other directors: any of them may take over.
    #[default]
    All,
    /// One of them: memory and messages do not grow with their number, and another one could go on only with what tables
    /// derive and what the one still tells it.
    Backup,
}

impl Replicator {
    /// Whether this peer is told of this director's records. `None` without a session.
    pub fn tells(&self, peer: NodeId) -> Option<bool> {
        self.sessions.get(&peer).map(|session| session.out.tells)
    }

    /// Sees to it that the right ones are told.
    pub(super) fn appoint(&mut self) {
        let (own, recovering) = (self.setup.origin, self.recovering);
        let backup = self.backup();
        let chosen = |node: NodeId| self.setup.scope == Scope::All || backup == Some(node);
        let is_known = self.setup.scope == Scope::All
            || backup
                .and_then(|backup| self.sessions.get(&backup))
                .is_some_and(|at| at.out.tells && at.level());
        let chosen: Vec<(NodeId, bool)> = self.sessions.keys().map(|node| (*node, chosen(*node))).collect();
        for (node, is_chosen) in chosen {
            let Some(session) = self.sessions.get_mut(&node).filter(|session| session.origin.is_some())
            else {
                continue;
            };
            let out = &mut session.out;
            match (out.tells, is_chosen) {
                (false, true) => out.begin_telling(own, recovering),
                // Who restarted may have nobody else to get its own records from.
                (true, false) if is_known && !recovering => out.stop_telling(own),
                _ => {}
            }
        }
    }

    /// The next one in the ring.
    fn backup(&self) -> Option<NodeId> {
        let connected =
            || self.sessions.values().filter(|session| session.origin.is_some()).map(|at| at.node);
        let own = self.setup.origin.node;
        connected().filter(|node| *node > own).min().or_else(|| connected().min())
    }

    /// The sender tells us no longer. What it told has not ended, and is not to be remembered as if it had; and what we still
    /// wanted of it will not come.
    pub(super) fn released(&mut self, sender: Origin) {
        if let Some(session) = self.sessions.get_mut(&sender.node) {
            session.inc.give_up(sender);
            // Its digest is answered nevertheless: until then it sends no other.
            session.out.wants.entry(sender).and_modify(Vec::clear);
        }
        if self.store.live_of(sender) == ByKind::NONE {
            return;
        }
        let theirs = self
            .store
            .iter()
            .filter(|(_, entry)| entry.version.origin == sender && entry.connection().is_some());
        for flow in theirs.map(|(flow, _)| flow).collect::<Vec<_>>() {
            self.store.remove(flow);
            self.note(flow);
        }
    }
}

impl Outgoing {
    /// A digest finds what the peer lacks.
    fn begin_telling(&mut self, own: Origin, recovering: bool) {
        (self.tells, self.releases, self.compared) = (true, false, false);
        if !recovering {
            self.digests.insert(own);
        }
    }

    fn stop_telling(&mut self, own: Origin) {
        (self.tells, self.releases) = (false, true);
        self.dirty.clear();
        (self.stale, self.own_digest_due) = (None, None);
        self.digests.remove(&own);
        self.owed.retain(|(origin, _), _| *origin != own);
    }
}

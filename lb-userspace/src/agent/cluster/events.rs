//! What is logged of the cluster: who is connected, who is lost, what this director's standing is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use super::Cluster;
use crate::config::Sending;
use crate::replication::join::Standing;
use crate::replication::session::Lag;
use crate::replication::version::{NodeId, Origin};

/// As it was when it was looked at last.
#[derive(Debug, Default)]
pub struct Observed {
    pub(super) standing: Option<Standing>,
    pub(super) sessions: BTreeMap<NodeId, Session>,
}

/// A peer that has said who it is.
#[derive(Debug, Clone, Copy)]
pub struct Session {
    origin: Origin,
    /// The peer has acknowledged everything, at least once.
    was_in_sync: bool,
    /// It is late with acknowledging, and somebody wants to know.
    is_late: bool,
    pub(super) since: SystemTime,
}

/// A director that has not acknowledged a change for so long is late.
const LATE: Duration = Duration::from_secs(1);

pub(super) fn is_late(lag: &Lag) -> bool {
    lag.oldest.is_some_and(|oldest| oldest >= LATE)
}

impl Observed {
    /// Directors that were late when it was looked at.
    pub(super) fn late(&self) -> usize {
        self.sessions.values().filter(|session| session.is_late).count()
    }
}

impl Cluster {
    /// Logs what has become otherwise.
    pub(super) fn observe(&mut self) {
        let names: Vec<(NodeId, String)> = self
            .mesh
            .peers
            .iter()
            .map(|peer| (NodeId::of(peer.name.as_str()), peer.name.as_str().to_owned()))
            .collect();
        let now = Instant::now();
        for (node, director) in names {
            let traffic = self.desk.with(|replicator| replicator.traffic(node));
            self.pace.read(node, traffic, now);
            let asks = self.mesh.send == Sending::Ack;
            let heard = self.desk.with(|replicator| {
                let lag = replicator.lag(node, now).filter(|_| asks);
                Some((replicator.heard_of(node)?.0, replicator.in_sync(node) == Some(true), lag))
            });
            let before = self.observed.sessions.get(&node).copied();
            let Some((origin, in_sync, lag)) = heard else {
                if self.observed.sessions.remove(&node).is_some() {
                    tracing::warn!(%director, "the director is lost");
                }
                continue;
            };
            let same = before.filter(|before| before.origin == origin);
            if same.is_none() {
                tracing::info!(%director, life = format_args!("{:x}", origin.life), "the director is connected");
            }
            let was_in_sync = same.is_some_and(|same| same.was_in_sync);
            if in_sync && !was_in_sync {
                tracing::info!(%director, "the director has all it was told");
            }
            let (was_late, is_late) =
                (same.is_some_and(|same| same.is_late), lag.as_ref().is_some_and(is_late));
            if is_late && !was_late {
                let seconds = lag.and_then(|lag| lag.oldest).unwrap_or_default().as_secs();
                tracing::warn!(%director, seconds, "the director has not acknowledged what it was told: a takeover now would break connections");
            } else if was_late && !is_late {
                tracing::info!(%director, "the director acknowledges in time again");
            }
            let since = same.map_or_else(SystemTime::now, |same| same.since);
            let session = Session { origin, was_in_sync: was_in_sync || in_sync, is_late, since };
            self.observed.sessions.insert(node, session);
        }
        let standing = self.desk.with(|replicator| replicator.standing());
        if self.observed.standing.replace(standing) != Some(standing) {
            tracing::info!("in the cluster: {}", super::report::word(standing));
        }
    }
}

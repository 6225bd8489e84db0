//! Standings that follow what is agreed among directors.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use super::Cluster;
use super::agreement::{self, Findings};
use crate::agent::actor::unix_seconds;
use crate::agent::standing::{PairName, Standing, Standings};
use crate::replication::board::Order;

impl Cluster {
    /// At the start: what pins and file remember of orders. Those that are only pinned are older than all that are given in the
    /// cluster.
    pub fn recall(&mut self, standings: &mut Standings) {
        let now = unix_seconds(SystemTime::now()) as u32;
        self.desk.with(|replicator| {
            for (name, standing) in standings.iter_mut() {
                for order in agreement::orders(standing) {
                    // Without room it holds here alone, as it did.
                    let _counted = replicator.inherit(agreement::server_key(&name.pair), order);
                }
                agreement::settle(name, standing, replicator.board(), None, None, now);
            }
        });
    }

    /// Brings the standings to what is agreed, if that is something else than before, and tells what this director has found, if
    /// it leads. Names the services that this touches.
    pub fn agree(&mut self, standings: &mut Standings, found: &Findings) -> BTreeSet<Arc<str>> {
        let Self { desk, ordered, led_by, is_unsettled, .. } = self;
        let now = unix_seconds(SystemTime::now()) as u32;
        let (touched, kept) = desk.with(|replicator| {
            let leader = replicator.leader();
            let mut touched = BTreeSet::new();
            let is_news = replicator.heard_news() || std::mem::take(is_unsettled);
            if !is_news && *led_by == leader {
                return (touched, Ok(()));
            }
            let leaders = replicator.found_by_leader();
            for (name, standing) in standings.iter_mut() {
                if agreement::settle(name, standing, replicator.board(), leaders, found.get(name), now) {
                    touched.insert(name.pair.service.clone());
                }
            }
            let leads = leader == Some(replicator.origin().node);
            replicator.find(if leads { agreement::findings(standings) } else { Default::default() });
            *led_by = leader;
            (touched, ordered.keep(replicator.board()))
        });
        if let Err(error) = kept {
            tracing::error!("keeping what was ordered: {error:#}");
        }
        touched
    }

    /// Standings have changed here: they are settled, and told, the next time.
    pub fn settle_anew(&mut self) {
        self.is_unsettled = true;
    }

    /// An operator has ordered this here; it is on the disk, and told to the others, when this returns.
    ///
    /// # Errors
    /// Why it would hold here alone.
    pub fn order(&mut self, pair: &PairName, standing: &Standing) -> anyhow::Result<()> {
        let Self { desk, ordered, .. } = self;
        desk.with(|replicator| {
            let server = agreement::server_key(pair);
            for order in [agreement::traffic(standing), agreement::weight(standing)] {
                let is_default = matches!(order, Order::Enabled | Order::ConfiguredWeight);
                let held = replicator.board().order(server, order.concern());
                if held.is_some() || !is_default {
                    replicator.order(server, order)?;
                }
            }
            ordered.keep(replicator.board())
        })
    }

    /// Whether another director decides what servers are in.
    pub fn follows(&self) -> bool {
        self.led_by.is_some_and(|leader| leader != self.life.origin().node)
    }

    /// Who decides that, by name.
    pub fn leader(&self) -> Option<&str> {
        self.led_by.map(|leader| self.name(leader))
    }
}

//! Where the agent's own life touches that of the cluster.

use std::time::Instant;

use anyhow::Result;

use super::Cluster;
use crate::agent::actor::Agent;
use crate::agent::desired::DesiredService;
use crate::agent::preflight;
use crate::api::{PeersReport, Schema, time_of};

impl Agent {
    /// The maps are in force: others may be told of what is in them.
    pub(in crate::agent) fn begin_cluster(&mut self) -> Result<()> {
        self.cluster.as_mut().map_or(Ok(()), Cluster::begin)
    }

    /// Services and servers have other names or ids.
    pub(in crate::agent) fn rename_cluster(&mut self, wanted: &[DesiredService]) {
        if let Some(cluster) = &mut self.cluster {
            cluster.rename(&self.model, wanted, &self.installation.ledger);
        }
    }

    /// What was ordered and found elsewhere comes into force here, and what was found here is told if this director leads.
    pub(in crate::agent) fn agree(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        let touched = cluster.agree(&mut self.standings, &self.found);
        if !touched.is_empty() {
            self.reconcile_services(&touched);
            self.check_targets();
        }
    }

    /// What a reload has asked for that only a start does.
    pub(in crate::agent) fn warn_of_cluster(&mut self) {
        let holds = match &self.cluster {
            Some(cluster) => cluster.is_of(&self.model),
            None => self.model.cluster.mesh.is_none(),
        };
        if !holds {
            self.warnings.push(
                "[cluster] says otherwise who is there (node, listen, peers, credentials, join_timeout, on_timeout, ready_file) than \
                 when the agent was started; 'systemctl restart xlvs' puts that in force, connections go on"
                    .to_owned(),
            );
        }
    }

    /// Each second.
    pub(in crate::agent) fn look_around_cluster(&mut self, now: Instant) {
        if self.cluster.is_none() {
            return;
        }
        let has_vips = {
            let view = self.view.borrow();
            let mut vips = preflight::vips(&self.model).into_iter().peekable();
            vips.peek().is_some() && vips.all(|vip| view.addresses.contains(vip))
        };
        let is_ready = self.not_ready().is_empty();
        if let Some(cluster) = &mut self.cluster {
            cluster.look_around(has_vips, is_ready, now);
        }
    }

    /// The last news, to those who are connected.
    pub(in crate::agent) async fn leave_cluster(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.leave(&self.installation.maps).await;
        }
    }

    pub(in crate::agent) fn peers(&self) -> PeersReport {
        match &self.cluster {
            Some(cluster) => cluster.peers(&self.installation.maps),
            None => PeersReport {
                schema: Schema,
                at: time_of(std::time::SystemTime::now()),
                cluster: None,
                peers: Vec::new(),
                services: Vec::new(),
                refusals: std::collections::BTreeMap::new(),
                strangers_total: 0,
            },
        }
    }
}

//! What changes with time alone, or with the servers as a whole: quorums, growing shares, deadlines.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use super::actor::{Agent, unix_seconds};
use super::desired::DesiredService;
use super::eligible::{self, Circumstances};

impl Agent {
    /// What eligibility depends on at this moment.
    pub(super) fn circumstances(&self) -> Circumstances {
        Circumstances { now: unix_seconds(SystemTime::now()), without_quorum: self.without_quorum.clone() }
    }

    /// Takes up who has a quorum now. A VIP may have to follow.
    pub(super) fn judge_quorums(&mut self) {
        let now = eligible::without_quorum(&self.model, &self.standings, &self.without_quorum);
        self.note_quorums(now);
    }

    /// Likewise of these services alone.
    pub(super) fn judge_quorums_of(&mut self, names: &BTreeSet<Arc<str>>) {
        let mut now = self.without_quorum.clone();
        for service in self.model.services.iter().filter(|service| names.contains(service.name.as_str())) {
            let name = service.name.as_str();
            if eligible::lacks_quorum(service, &self.standings, &self.without_quorum) {
                now.insert(name.to_owned());
            } else {
                now.remove(name);
            }
        }
        self.note_quorums(now);
    }

    pub(super) fn note_quorums(&mut self, without: BTreeSet<String>) {
        for service in without.difference(&self.without_quorum) {
            tracing::warn!(%service, "the quorum is lost");
        }
        for service in self.without_quorum.difference(&without) {
            tracing::info!(%service, "the quorum is there again, or no longer wanted");
        }
        self.vips_are_due |= without != self.without_quorum;
        self.without_quorum = without;
    }

    /// Notes when the time alone will change something.
    pub(super) fn look_ahead(&mut self, wanted: &[DesiredService]) {
        let servers = wanted.iter().flat_map(|lane| &lane.servers);
        let farewell = self.installation.next_farewell(unix_seconds(SystemTime::now()));
        self.due = servers.filter_map(super::desired::DesiredServer::next_change).chain(farewell).min();
    }

    /// Whether that time has come.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= unix_seconds(SystemTime::now()))
    }

    /// Brings the VIPs on this host to what quorums ask for, if that has changed.
    pub(super) async fn follow_quorums(&mut self) {
        if !std::mem::take(&mut self.vips_are_due) {
            return;
        }
        match self.vips.addresses().await {
            Ok(addresses) => {
                let (circumstances, pool) = (self.circumstances(), self.installation.pool());
                self.vips.keep(&self.model, &circumstances, &pool, &addresses).await;
            }
            Err(error) => {
                self.vips_are_due = true;
                tracing::error!("listing addresses, to let VIPs follow the quorum: {error}");
            }
        }
    }
}

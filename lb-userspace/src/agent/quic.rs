//! What connection ids call the servers, in the maps.
//!
//! A server that leaves keeps its id for the connections it still has, unless another one is given it.

use std::collections::HashMap;

use anyhow::{Context, Result};
use lb_common::entry::QuicKey;
use lb_common::slot::ServerId;

use super::desired::DesiredService;
use super::install::Installation;
use super::ledger::Numbered;

impl Installation {
    /// Before the services go by it: what is new comes first, so that no server is without an id in between.
    pub(super) fn write_quic(&mut self, wanted: &[DesiredService], numbered: &[Numbered]) -> Result<()> {
        let wanted = entries(wanted, numbered);
        for (key, id) in &wanted {
            if self.maps.quic_servers.get(key, 0).ok() != Some(*id) {
                self.maps
                    .quic_servers
                    .insert(key, id, 0)
                    .context("entering what connection ids call a server")?;
            }
        }
        let staying: Vec<ServerId> =
            self.ledger.pairs().filter(|(_, pair)| !pair.leaving).map(|(id, _)| id).collect();
        self.remove_quic(|key, id| !wanted.contains_key(key) && staying.contains(&id))
    }

    /// Nobody calls these servers anything any more.
    pub(super) fn forget_quic(&mut self, is_gone: impl Fn(ServerId) -> bool) -> Result<()> {
        self.remove_quic(|_, id| is_gone(id))
    }

    fn remove_quic(&mut self, is_stale: impl Fn(&QuicKey, ServerId) -> bool) -> Result<()> {
        let held: Vec<(QuicKey, u32)> = self.maps.quic_servers.iter().filter_map(Result::ok).collect();
        let is_stale = |key: &QuicKey, id: u32| ServerId::new(id as u16).is_none_or(|id| is_stale(key, id));
        for (key, _) in held.iter().filter(|(key, id)| is_stale(key, *id)) {
            self.maps.quic_servers.remove(key).context("removing what connection ids called a server")?;
        }
        Ok(())
    }
}

fn entries(wanted: &[DesiredService], numbered: &[Numbered]) -> HashMap<QuicKey, u32> {
    let mut entries = HashMap::new();
    for (lane, numbers) in wanted.iter().zip(numbered) {
        let Some(format) = lane.quic else { continue };
        for (server, id) in lane.servers.iter().zip(&numbers.servers) {
            if let Some(called) = &server.quic_id {
                entries.insert(QuicKey::new(numbers.service, format, called.octets()), id.index());
            }
        }
    }
    entries
}

//! Who puts the VIPs on the host: with `vip_owner = "xlvs"`, the agent, after attaching and until it detaches.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::preflight;
use crate::config::{Model, VipOwner};
use crate::net::{Addresses, NetError, Netlink};

/// Keeps the VIPs on one interface.
#[derive(Debug)]
pub struct VipKeeper {
    netlink: Netlink,
    interface: u32,
    /// Put there by us.
    ours: BTreeSet<IpAddr>,
}

impl VipKeeper {
    #[must_use]
    pub fn new(netlink: Netlink, interface: u32) -> Self {
        Self { netlink, interface, ours: BTreeSet::new() }
    }

    /// What this host answers for at this moment.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn addresses(&self) -> Result<Addresses, NetError> {
        self.netlink.addresses().await
    }

    /// Adds the VIPs that are missing, and removes ours that are no longer wanted.
    pub async fn keep(&mut self, model: &Model, addresses: &Addresses) {
        let wanted: BTreeSet<IpAddr> = match model.agent.vip_owner {
            VipOwner::Xlvs => preflight::vips(model).into_iter().collect(),
            VipOwner::External => BTreeSet::new(),
        };
        for vip in &wanted {
            match self.netlink.add_host_address(*vip, self.interface).await {
                Ok(true) => {
                    self.ours.insert(*vip);
                    tracing::info!(%vip, "added");
                }
                // One that an earlier agent put there goes with the others; an administrator's stays.
                Ok(false) if addresses.holders(*vip).any(|address| address.ours) => {
                    self.ours.insert(*vip);
                }
                Ok(false) => {}
                Err(error) => tracing::error!(%vip, "adding the VIP: {error}"),
            }
        }
        let stale: Vec<IpAddr> = self.ours.difference(&wanted).copied().collect();
        for vip in stale {
            self.remove(vip).await;
        }
    }

    /// Removes all of ours, before the data path goes.
    pub async fn withdraw(&mut self) {
        for vip in self.ours.clone() {
            self.remove(vip).await;
        }
    }

    async fn remove(&mut self, vip: IpAddr) {
        match self.netlink.remove_host_address(vip, self.interface).await {
            Ok(_) => {
                self.ours.remove(&vip);
                tracing::info!(%vip, "removed");
            }
            Err(error) => tracing::error!(%vip, "removing the VIP: {error}"),
        }
    }
}

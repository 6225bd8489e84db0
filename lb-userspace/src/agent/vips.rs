//! Who puts the VIPs, and what full NAT sends from, on the host: with `vip_owner = "xlvs"`, the agent, after attaching and until it detaches.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::eligible::{self, Circumstances};
use super::preflight;
use crate::config::{Model, VipOwner};
use crate::net::{Addresses, NetError, Netlink};

/// Keeps the VIPs on one interface, and each address of the pool on that whose network it is in.
#[derive(Debug)]
pub struct VipKeeper {
    netlink: Netlink,
    interface: u32,
    /// Put there by us, and where.
    ours: BTreeMap<IpAddr, u32>,
}

impl VipKeeper {
    #[must_use]
    pub fn new(netlink: Netlink, interface: u32) -> Self {
        Self { netlink, interface, ours: BTreeMap::new() }
    }

    /// What this host answers for at this moment.
    ///
    /// # Errors
    /// What the kernel says.
    pub async fn addresses(&self) -> Result<Addresses, NetError> {
        self.netlink.addresses().await
    }

    /// Adds the addresses that are missing, the VIPs and the pool's, and removes ours that are no longer wanted.
    /// A VIP whose services are all withdrawn is not wanted.
    pub async fn keep(
        &mut self,
        model: &Model,
        circumstances: &Circumstances,
        pool: &[IpAddr],
        addresses: &Addresses,
    ) {
        let serves = |vip: &IpAddr| {
            let mut its = model.services.iter().filter(|service| service.has_vip(*vip));
            its.any(|service| !eligible::is_withdrawn(service, circumstances))
        };
        let vips = preflight::vips(model).into_iter().filter(serves).map(|vip| (vip, self.interface));
        // Servers ask for it in their own network.
        let pool = pool.iter().map(|ip| (*ip, addresses.interface_towards(*ip).unwrap_or(self.interface)));
        let wanted: BTreeMap<IpAddr, u32> = match model.agent.vip_owner {
            VipOwner::Xlvs => vips.chain(pool).collect(),
            VipOwner::External => BTreeMap::new(),
        };
        for (vip, interface) in &wanted {
            match self.netlink.add_host_address(*vip, *interface).await {
                Ok(true) => {
                    self.ours.insert(*vip, *interface);
                    tracing::info!(%vip, "added");
                }
                // One that an earlier agent put there goes with the others; an administrator's stays.
                Ok(false) if addresses.holders(*vip).any(|address| address.ours) => {
                    self.ours.insert(*vip, *interface);
                }
                Ok(false) => {}
                Err(error) => tracing::error!(%vip, "adding the address: {error}"),
            }
        }
        let stale: Vec<IpAddr> =
            self.ours.keys().filter(|address| !wanted.contains_key(address)).copied().collect();
        for vip in stale {
            self.remove(vip).await;
        }
    }

    /// Removes all of ours, before the data path goes.
    pub async fn withdraw(&mut self) {
        for vip in self.ours.keys().copied().collect::<Vec<_>>() {
            self.remove(vip).await;
        }
    }

    async fn remove(&mut self, vip: IpAddr) {
        let Some(interface) = self.ours.get(&vip) else { return };
        match self.netlink.remove_host_address(vip, *interface).await {
            Ok(_) => {
                self.ours.remove(&vip);
                tracing::info!(%vip, "removed");
            }
            Err(error) => tracing::error!(%vip, "removing the address: {error}"),
        }
    }
}

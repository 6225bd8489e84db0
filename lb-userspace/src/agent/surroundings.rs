//! What the data path must know of its surroundings: the ways to servers, the interfaces, the director's own addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use lb_common::entry::Interface;
use lb_common::net::{Addr, NextHop, PortNumber};

use super::install::Installation;
use crate::net;

impl Installation {
    /// Writes the next hops that are known. One that is not known is left as it is: it was right once, and the health
    /// check judges reachability. Says whether a pair got its first, and may enter its table now.
    #[must_use]
    pub fn write_next_hops(&self, view: &net::View) -> bool {
        let mut first = false;
        for (id, pair) in self.ledger.pairs() {
            let Some(hop) = view.hops.get(&IpAddr::from(pair.identity.address)) else { continue };
            let word = NextHop { mac: hop.mac, port: PortNumber::of_interface(hop.ifindex) }.to_word();
            if let Some(server) = self.maps.servers.get(id.index())
                && server.next_hop.load() != word
            {
                first |= server.next_hop.load() == 0;
                server.next_hop.store(word);
            }
        }
        first
    }

    /// Makes the interfaces known by which packets may leave: those attached to and those that next hops name.
    ///
    /// # Errors
    /// Two interfaces that share a number, or what the kernel says.
    pub fn write_interfaces(
        &mut self,
        links: &BTreeMap<u32, net::Link>,
        wanted: &BTreeSet<u32>,
    ) -> Result<()> {
        for index in wanted {
            let Some(link) = links.get(index) else { continue };
            let Some(mac) = link.mac else { continue };
            let port = PortNumber::of_interface(*index);
            let entry: &Interface =
                self.maps.interfaces.get(port.index()).context("port numbers fit the map")?;
            let held = entry.ifindex.load();
            if held != 0 && held != u64::from(*index) && links.contains_key(&(held as u32)) {
                bail!(
                    "interfaces {} and {held} have kernel indices that are equal modulo {}; create one of them anew",
                    link.name,
                    PortNumber::LIMIT
                );
            }
            entry.set_mac(mac);
            if held != u64::from(*index) {
                self.maps
                    .devices
                    .set(port.index(), *index, None, 0)
                    .with_context(|| format!("entering {} into the device map", link.name))?;
                entry.ifindex.store(u64::from(*index));
            }
        }
        Ok(())
    }

    /// Makes the director's own addresses known, apart from its VIPs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write_locals(&mut self, addresses: &net::Addresses) -> Result<()> {
        let vips: BTreeSet<IpAddr> =
            self.ledger.services().map(|(_, service)| IpAddr::from(service.vip)).collect();
        let now: BTreeSet<IpAddr> =
            addresses.iter().map(|address| address.ip).filter(|address| !vips.contains(address)).collect();
        for address in now.difference(&self.locals) {
            self.maps
                .locals
                .insert(Addr::from(*address), 1, 0)
                .with_context(|| format!("local address {address}"))?;
        }
        for address in self.locals.difference(&now) {
            let _ = self.maps.locals.remove(&Addr::from(*address));
        }
        self.locals = now;
        Ok(())
    }
}

//! What the data path must know of its surroundings: the ways to servers, the interfaces, the director's own addresses.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use lb_common::entry::Interface;
use lb_common::net::{Addr, NextHop, PortNumber};
use lb_common::wire::{Tags, Wire};

use super::install::Installation;
use super::ports::Port;
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

    /// Makes these interfaces known, and which VLANs packets are taken from.
    ///
    /// # Errors
    /// Two interfaces that share a number, or what the kernel says.
    pub fn write_ports(&mut self, ports: &[Port], links: &BTreeMap<u32, net::Link>) -> Result<()> {
        for port in ports {
            let Port { index, name, wire, mac, .. } = port;
            let number = PortNumber::of_interface(*index).index();
            let entry: &Interface = self.maps.interfaces.get(number).context("port numbers fit the map")?;
            let held = entry.index.load() as u32;
            if held != 0 && held != *index && links.contains_key(&held) {
                bail!(
                    "interfaces {name} and {held} have kernel indices that are equal modulo {}; create one of them anew",
                    PortNumber::LIMIT
                );
            }
            if held != *index || entry.wire() != *wire {
                self.maps
                    .devices
                    .set(number, wire.device)
                    .with_context(|| format!("entering {name} into the device map"))?;
            }
            entry.set(*index, *wire, *mac);
        }
        self.write_vlans(ports)
    }

    fn write_vlans(&mut self, ports: &[Port]) -> Result<()> {
        let taken = ports.iter().filter(|port| port.takes && port.wire.tags != Tags::NONE);
        let wanted: HashMap<Wire, &Port> = taken.map(|port| (port.wire, port)).collect();
        for (wire, port) in &wanted {
            if self.maps.vlans.get(wire) != Some(port.index) {
                let entering = || format!("entering VLAN {}", port.name);
                self.maps.vlans.insert(wire, port.index).with_context(entering)?;
            }
        }
        let stale: Vec<Wire> =
            self.maps.vlans.keys().into_iter().filter(|wire| !wanted.contains_key(wire)).collect();
        for wire in stale {
            let _ = self.maps.vlans.remove(&wire);
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
        // Also where somebody else answers for them: no reply may be derived to one of them.
        let pool = self.maps.pool.only().addresses().map(IpAddr::from);
        let now: BTreeSet<IpAddr> = now.into_iter().chain(pool).collect();
        for address in now.difference(&self.locals) {
            self.maps
                .locals
                .insert(&Addr::from(*address), 1)
                .with_context(|| format!("local address {address}"))?;
        }
        for address in self.locals.difference(&now) {
            let _ = self.maps.locals.remove(&Addr::from(*address));
        }
        self.locals = now;
        Ok(())
    }
}

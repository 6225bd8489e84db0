//! What full NAT sends from, in the maps. It is fixed while they live, because a connection stands where its port does: another
//! pool gets maps of its own when an agent starts, and the connections of the old one end with the old program.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use lb_common::entry::Pool;
use lb_common::net::Addr;

use super::desired::DesiredService;
use super::install::Installation;
use super::preflight::Finding;
use crate::config::{FullNat, Mode, Model};
use crate::dataplane::{Pins, pinned_pool};
use crate::net::{Addresses, Link};

/// The maps that belong to one pool.
const MAPS: [&str; 3] = ["POOL", "LEASES", "TENANTS"];

/// Sees to it that maps of another pool are not adopted. Whether there were connections to lose by that.
///
/// # Errors
/// What could not be removed.
pub fn forget_other(pins: &Pins, wanted: &FullNat) -> Result<bool> {
    let Some(held) = pinned_pool(pins.dir()) else { return Ok(false) };
    let held = held.only();
    if is(held, wanted) {
        return Ok(false);
    }
    for name in MAPS {
        let path = pins.map(name);
        std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(held.size() > 0)
}

/// Writes the pool into new maps.
pub fn found(pool: &Pool, wanted: &FullNat) {
    if is(pool, wanted) {
        return;
    }
    let of = |ipv4: bool| addresses(wanted).filter(move |ip| ip.is_ipv4() == ipv4).map(Addr::from);
    let (v4, v6): (Vec<_>, Vec<_>) = (of(true).collect(), of(false).collect());
    pool.found((wanted.ports.first, wanted.ports.count()), &v4, &v6);
}

/// Whether this is the wanted pool.
fn is(pool: &Pool, wanted: &FullNat) -> bool {
    // Those of IPv4 come first in both.
    let same = pool.addresses().map(IpAddr::from).eq(addresses(wanted));
    let first = pool.source(lb_common::flow_table::Place::of_number(0)).map(|(_, port)| port.to_host());
    same && pool.size() == u64::from(wanted.size())
        && first.is_none_or(|first| first == wanted.ports.first || wanted.addresses.is_empty())
}

fn addresses(wanted: &FullNat) -> impl Iterator<Item = IpAddr> {
    wanted.addresses.iter().map(|address| address.ip())
}

impl Installation {
    /// Whether the pool in force has addresses for these lanes.
    ///
    /// # Errors
    /// If not, with the remedy.
    pub(super) fn plan_pool(&self, wanted: &[DesiredService]) -> Result<()> {
        let pool = self.maps.pool.only();
        for lane in wanted.iter().filter(|lane| lane.identity.mode == Mode::FullNat) {
            let ipv6 = lane.identity.vip.as_v4().is_none();
            if pool.range(ipv6).is_none() {
                bail!(
                    "service {}: full NAT has no {} address to send from yet; [fullnat] comes into force when the agent is \
                     started anew, which ends no connection of other modes",
                    lane.name,
                    if ipv6 { "IPv6" } else { "IPv4" }
                );
            }
        }
        Ok(())
    }

    /// The addresses that full NAT sends from now.
    pub(super) fn pool(&self) -> Vec<IpAddr> {
        self.maps.pool.only().addresses().map(IpAddr::from).collect()
    }
}

/// What stands in the way of full NAT although nothing forbids it: addresses that nobody has put on the host, and ports that
/// the host's own connections may have.
#[must_use]
pub fn findings(model: &Model, addresses: &Addresses, links: &[Link], own_ports: &OwnPorts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ip in self::addresses(&model.fullnat) {
        if !addresses.contains(ip) && model.agent.vip_owner == crate::config::VipOwner::External {
            findings.push(Finding::new(
                format!("the address {ip} that full NAT sends from is not on this host, so that servers cannot answer it"),
                "put it on the interface towards the servers with 'ip address add', or vip_owner = \"xlvs\"",
            ));
        }
        let is_its =
            |link: &&Link| addresses.primary(link.index, ip.is_ipv6()).is_some_and(|its| its.ip == ip);
        let link = links.iter().find(is_its);
        if let Some(link) =
            link.filter(|_| own_ports.meet(model.fullnat.ports.first, model.fullnat.ports.last))
        {
            let ports = model.fullnat.ports;
            findings.push(Finding::new(
                format!(
                    "full NAT sends from {ip}, from which the host's own connections by {} come as well, by ports of the same \
                     range",
                    link.name
                ),
                format!(
                    "give it an address of its own, or reserve its ports: sysctl net.ipv4.ip_local_reserved_ports={ports}"
                ),
            ));
        }
    }
    findings
}

/// The ports that the kernel may choose for the host's own connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnPorts {
    range: (u16, u16),
    reserved: Vec<(u16, u16)>,
}

impl OwnPorts {
    /// As this namespace has them; Linux's default where they cannot be read.
    #[must_use]
    pub fn here() -> Self {
        let read =
            |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
        Self::parse(&read("ip_local_port_range"), &read("ip_local_reserved_ports"))
    }

    fn parse(range: &str, reserved: &str) -> Self {
        let mut ends = range.split_whitespace().map_while(|end| end.parse().ok());
        let range = ends.next().zip(ends.next()).unwrap_or((32_768, 60_999));
        let one = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Self { range, reserved: reserved.trim().split(',').filter_map(one).collect() }
    }

    /// Whether the kernel may choose one of these.
    fn meet(&self, first: u16, last: u16) -> bool {
        let is_reserved =
            |port: &u16| self.reserved.iter().any(|(first, last)| (first..=last).contains(&port));
        (first.max(self.range.0)..=last.min(self.range.1)).any(|port| !is_reserved(&port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_not_the_kernels_to_choose() {
        let ports = |reserved| OwnPorts::parse("32768\t60999\n", reserved);
        assert!(ports("\n").meet(1024, 65_535));
        assert!(ports("").meet(60_999, 65_535));
        assert!(!ports("").meet(61_000, 65_535));
        assert!(!ports("").meet(1024, 32_767));
        assert!(!ports("22,40000-60999\n").meet(40_000, 65_535));
        assert!(ports("22,40001-60999\n").meet(40_000, 65_535));
    }
}

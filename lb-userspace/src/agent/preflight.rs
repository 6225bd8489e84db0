//! What is looked at before anything is attached: cheap questions whose answers spare a user an afternoon.

use std::net::IpAddr;

use crate::api::{Failure, FailureKind};
use crate::config::{ListenPort, Model, VipOwner};
use crate::dataplane::foreign_program;
use crate::net::{Addresses, Link};

/// The interfaces to attach to, found and fit for it.
///
/// # Errors
/// The first that is not, with the remedy.
pub fn interfaces(names: &[String], links: &[Link], pinned: &[String]) -> Result<Vec<Link>, Failure> {
    if names.is_empty() {
        return Err(refused("no interface to attach to; name one in [agent] interfaces or with --iface"));
    }
    names.iter().map(|name| interface(name, links, pinned)).collect()
}

fn interface(name: &str, links: &[Link], pinned: &[String]) -> Result<Link, Failure> {
    let Some(link) = links.iter().find(|link| link.name == name) else {
        let there: Vec<&str> =
            links.iter().map(|link| link.name.as_str()).filter(|name| *name != "lo").collect();
        return Err(refused(format!(
            "interface {name} does not exist here; there are: {}",
            there.join(", ")
        )));
    };
    if let Some(master) = link.master.filter(|_| link.port_of.as_deref() == Some("bond")) {
        let master = links.iter().find(|other| other.index == master).map_or("its bond", |other| &other.name);
        return Err(refused(format!("interface {name} is enslaved to {master}; attach to {master} instead")));
    }
    if link.kind.as_deref() == Some("vlan") {
        let parent = link.lower.and_then(|index| links.iter().find(|other| other.index == index));
        let parent = parent.map_or("its parent", |parent| parent.name.as_str());
        return Err(refused(format!(
            "interface {name} is a VLAN interface, whose driver hook sees nothing; attach to {parent} instead"
        )));
    }
    if !link.up {
        return Err(refused(format!("interface {name} is down; 'ip link set {name} up'")));
    }
    if link.mac.is_none() {
        return Err(refused(format!(
            "interface {name} has no MAC address, so packets cannot be forwarded on it"
        )));
    }
    if let Some(xdp) = link.xdp.filter(|_| !pinned.iter().any(|pin| pin == name)) {
        return Err(refused(format!(
            "interface {name} already has an XDP program, {}; only one fits. Detach it ('ip link set {name} xdp off', or \
             whatever put it there), or attach xlvs elsewhere",
            foreign_program(xdp.program_id)
        )));
    }
    Ok(link.clone())
}

/// Refuses what would cut the operator off: every port of an address by which the host itself is reached.
///
/// # Errors
/// The service that would.
pub fn lock_out(model: &Model, addresses: &Addresses, links: &[Link]) -> Result<(), Failure> {
    for service in &model.services {
        let vip = service.listener.vip.ip();
        let primary_of = links.iter().find(|link| {
            addresses
                .primary(link.index, vip.is_ipv6())
                .is_some_and(|primary| primary.ip == vip && link.name != "lo")
        });
        if let Some(link) = primary_of.filter(|_| service.listener.port == ListenPort::Any) {
            return Err(refused(format!(
                "service {}: every port of {vip} would be balanced, and {vip} is the host's own primary address on {}: \
                 ssh and everything else to it would be cut off. Give the service an address of its own, or name its ports",
                service.name, link.name
            )));
        }
    }
    Ok(())
}

/// What will not work although nothing forbids it.
#[must_use]
pub fn warnings(model: &Model, addresses: &Addresses, interfaces: &[Link]) -> Vec<String> {
    let mut warnings = Vec::new();
    let device = interfaces.first().map_or("eth0", |link| link.name.as_str());
    if model.agent.vip_owner == VipOwner::External {
        for vip in vips(model).into_iter().filter(|vip| !addresses.contains(*vip)) {
            warnings.push(format!(
                "the VIP {vip} is not on this host, so nobody here answers ARP for it: 'ip address add {vip}/{} dev {device}', \
                 or vip_owner = \"xlvs\"",
                if vip.is_ipv4() { 32 } else { 128 }
            ));
        }
    }
    warnings
}

/// What a user of these interfaces had better know.
#[must_use]
pub fn hints(interfaces: &[Link]) -> Vec<String> {
    let veth = interfaces.iter().filter(|link| link.kind.as_deref() == Some("veth"));
    veth.map(|link| {
        format!(
            "{} is a veth: frames sent back by XDP arrive only if its peer has an XDP program too (one that passes will do), \
             and the sender there must compute checksums ('ethtool -K PEER tx off')",
            link.name
        )
    })
    .collect()
}

/// The VIPs of a configuration, each once.
#[must_use]
pub fn vips(model: &Model) -> Vec<IpAddr> {
    let mut vips: Vec<IpAddr> = model.services.iter().map(|service| service.listener.vip.ip()).collect();
    vips.sort_unstable();
    vips.dedup();
    vips
}

pub(super) fn refused(message: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Refused, message)
}

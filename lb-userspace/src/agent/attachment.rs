//! Where the program is attached for an interface that the configuration names, and whether that will do.
//!
//! A VLAN is a part of what its device carries, so the program is attached to the device; a bond's traffic is the bond's,
//! whichever member it comes through.

use std::collections::BTreeSet;

use lb_common::wire::Wire;

use super::preflight::Finding;
use crate::dataplane::{foreign_program, offloads};
use crate::net::{Link, NoWire, wire};

/// The modes in which the kernel runs XDP in the drivers of a bond's members (drivers/net/bonding, `bond_xdp_check`).
const NATIVE_BOND_MODES: [&str; 4] = ["balance-rr", "active-backup", "balance-xor", "802.3ad"];

/// The offloads by which a NIC takes the tag off a frame before the program sees it.
const STRIPPING: [&str; 2] = ["rx-vlan-hw-parse", "rx-vlan-stag-hw-parse"];

/// An interface that is named, and the device whose hook its frames pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub named: Link,
    pub device: Link,
    pub wire: Wire,
}

/// The interfaces that are named, found and fit.
///
/// # Errors
/// The first that is not.
pub fn find(names: &[String], links: &[Link], pinned: &[String]) -> Result<Vec<Attachment>, Finding> {
    if names.is_empty() {
        return Err(Finding::new(
            "no interface to attach to",
            "name one in [agent] interfaces or with --iface",
        ));
    }
    names.iter().map(|name| attachment(name, links, pinned)).collect()
}

fn attachment(name: &str, links: &[Link], pinned: &[String]) -> Result<Attachment, Finding> {
    let by_index = |index| links.iter().find(|link| link.index == index);
    let Some(link) = links.iter().find(|link| link.name == name) else {
        let there: Vec<&str> =
            links.iter().map(|link| link.name.as_str()).filter(|name| *name != "lo").collect();
        let remedy = format!("name one of those there are: {}", there.join(", "));
        return Err(Finding::new(format!("interface {name} does not exist here"), remedy));
    };
    if link.is_member() {
        let master = link.master.and_then(by_index).map_or("its master", |master| &master.name);
        return Err(Finding::new(
            format!("interface {name} is enslaved to {master}, whose traffic it carries"),
            format!("name {master} instead"),
        ));
    }
    let (wire, device) = wire(link, by_index).map_err(|why| no_wire(name, why))?;
    for link in [device, link] {
        if !link.up {
            let name = &link.name;
            return Err(Finding::new(
                format!("interface {name} is down"),
                format!("'ip link set {name} up'"),
            ));
        }
    }
    if link.mac.is_none() {
        return Err(Finding::new(
            format!("interface {name} has no MAC address, so frames cannot be forwarded on it"),
            "attach to an Ethernet interface",
        ));
    }
    if let Some(xdp) = device.xdp.filter(|_| !pinned.contains(&device.name)) {
        let device = &device.name;
        return Err(Finding::new(
            format!("interface {device} already has an XDP program, {}", foreign_program(xdp.program_id)),
            format!(
                "detach it ('ip link set {device} xdp off', or whatever put it there), or attach xlvs elsewhere"
            ),
        ));
    }
    Ok(Attachment { named: link.clone(), device: device.clone(), wire })
}

fn no_wire(name: &str, why: NoWire) -> Finding {
    match why {
        NoWire::TooManyTags => Finding::new(
            format!("the frames of {name} have more than two VLAN tags"),
            "name a VLAN of at most two tags",
        ),
        NoWire::NoVlan => Finding::new(
            format!("{name} is a VLAN without an identifier, whose frames are those of the device below"),
            "name the device below it",
        ),
        NoWire::NothingBelow => Finding::new(
            format!(
                "the device below {name} is not in this network namespace, so nothing can be attached to it"
            ),
            "run xlvs in the namespace of that device ('xlvs up --netns NAME'), or give the VLAN a device here",
        ),
    }
}

/// Refuses devices that carry VLANs and take their tags off: what is tagged would look like what is not.
///
/// # Errors
/// The first such device.
pub fn keep_tags(attachments: &[Attachment], links: &[Link]) -> Result<(), Finding> {
    let by_index = |index| links.iter().find(|link| link.index == index);
    let carries_vlans = |device: u32| {
        let vlans = links.iter().filter(|link| link.vlan.is_some());
        vlans.filter_map(|vlan| wire(vlan, by_index).ok()).any(|(wire, _)| wire.device == device)
    };
    for Attachment { device, .. } in attachments.iter().filter(|it| carries_vlans(it.device.index)) {
        for nic in frames_come_through(device, links) {
            // A device that cannot be asked strips nothing that we would hear of.
            let on = offloads(&nic.name).unwrap_or_default();
            if let Some(finding) = stripping(nic, &on) {
                return Err(finding);
            }
        }
    }
    Ok(())
}

/// The NICs whose drivers hand over what comes by this device: itself, or a bond's members. A veth is none: its tags are
/// where its peer put them.
fn frames_come_through<'l>(device: &'l Link, links: &'l [Link]) -> impl Iterator<Item = &'l Link> {
    let members = links.iter().filter(|link| link.is_member() && link.master == Some(device.index));
    std::iter::once(device).chain(members).filter(|link| link.kind.is_none())
}

fn stripping(nic: &Link, on: &[String]) -> Option<Finding> {
    let name = &nic.name;
    let found: Vec<&str> =
        STRIPPING.into_iter().filter(|offload| on.iter().any(|it| it == offload)).collect();
    let switches: Vec<String> = found.iter().map(|offload| format!("{offload} off")).collect();
    if found.is_empty() {
        return None;
    }
    Some(Finding::new(
        format!(
            "{name} takes VLAN tags off the frames it receives, so XDP cannot tell the VLANs on it apart"
        ),
        format!("'ethtool -K {name} {}'", switches.join(" ")),
    ))
}

/// What a user of these interfaces had better know.
#[must_use]
pub fn hints(attachments: &[Attachment]) -> BTreeSet<String> {
    attachments.iter().flat_map(of_kind).collect()
}

fn of_kind(Attachment { named, device, wire }: &Attachment) -> Vec<String> {
    let name = &device.name;
    let mut hints = Vec::new();
    if device.kind.as_deref() == Some("veth") {
        hints.push(format!(
            "{name} is a veth: frames sent back by XDP arrive only if its peer has an XDP program too (one that passes will do), \
             and the sender there must compute checksums ('ethtool -K PEER tx off')"
        ));
        if wire.tags.count() > 0 {
            hints.push(format!(
                "{name} is a veth: its peer must write VLAN tags into the frames ('ethtool -K PEER txvlan off'), else {} \
                 hears nothing",
                named.name
            ));
        }
    }
    if let Some(mode) = device.bond_mode.as_deref().filter(|mode| !NATIVE_BOND_MODES.contains(mode)) {
        hints.push(format!(
            "{name} is a bond in mode {mode}, for which the kernel has no XDP in drivers; it has for {}",
            NATIVE_BOND_MODES.join(", ")
        ));
    }
    // A device lets one tag through beyond its MTU (VLAN_HLEN).
    if wire.tags.count() > 1 && device.mtu < named.mtu + 4 {
        hints.push(format!(
            "full-sized frames of {} do not leave through {name} with two VLAN tags; 'ip link set {name} mtu {}'",
            named.name,
            named.mtu + 4
        ));
    }
    hints
}

#[cfg(test)]
mod tests {
    use lb_common::wire::Tag;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn vlan(index: u32, name: &str, id: u16, lower: u32) -> Link {
        let vlan = Tag::new(id, false);
        Link { kind: Some("vlan".into()), vlan, lower: Some(lower), ..Link::ethernet(index, name) }
    }

    #[test]
    fn vlans_of_one_device_share_its_hook() {
        let links = [Link::ethernet(2, "eth0"), vlan(3, "eth0.10", 10, 2), vlan(4, "eth0.20", 20, 2)];
        let found = find(&names(&["eth0.10", "eth0.20"]), &links, &[]).unwrap();
        let where_to: Vec<_> =
            found.iter().map(|it| (it.device.name.as_str(), it.wire.tags.outer().id())).collect();
        assert_eq!(where_to, [("eth0", 10), ("eth0", 20)]);
    }

    #[test]
    fn what_will_not_do_is_named_with_its_mend() {
        let member =
            |of: &str| Link { master: Some(9), port_of: Some(of.into()), ..Link::ethernet(2, "eth0") };
        let down = Link { up: false, ..Link::ethernet(2, "eth0") };
        let refused = |name: &str, links: &[Link]| find(&names(&[name]), links, &[]).unwrap_err().to_string();
        let bond = Link { kind: Some("bond".into()), ..Link::ethernet(9, "bond0") };
        let told = refused("eth0", &[member("bond"), bond.clone()]);
        assert_eq!(told, "interface eth0 is enslaved to bond0, whose traffic it carries; name bond0 instead");
        assert!(refused("eth0.10", &[down, vlan(3, "eth0.10", 10, 2)]).contains("'ip link set eth0 up'"));
        let deep = [
            Link::ethernet(2, "eth0"),
            vlan(3, "eth0.1", 1, 2),
            vlan(4, "eth0.1.2", 2, 3),
            vlan(5, "eth0.1.2.3", 3, 4),
        ];
        assert!(refused("eth0.1.2.3", &deep).contains("more than two VLAN tags"));
        assert!(refused("eth0.10", &[vlan(3, "eth0.10", 10, 2)]).contains("--netns"));
        assert!(find(&names(&["bond0"]), &[member("bond"), bond], &[]).is_ok());
        assert!(find(&names(&["eth0"]), &[member("bridge"), Link::ethernet(9, "br0")], &[]).is_ok());
    }

    #[test]
    fn a_nic_that_takes_tags_off_is_found() {
        let nic = Link::ethernet(2, "eth0");
        let told = stripping(&nic, &names(&["tx-checksumming", "rx-vlan-hw-parse"])).unwrap().to_string();
        assert!(told.ends_with("; 'ethtool -K eth0 rx-vlan-hw-parse off'"), "{told}");
        assert_eq!(stripping(&nic, &names(&["tx-vlan-hw-insert"])), None);
    }

    #[test]
    fn the_members_of_a_bond_are_asked_and_a_veth_is_not() {
        let bond = Link { kind: Some("bond".into()), ..Link::ethernet(9, "bond0") };
        let member = |index, name| Link {
            master: Some(9),
            port_of: Some("bond".into()),
            ..Link::ethernet(index, name)
        };
        let links = [bond.clone(), member(2, "eth0"), member(3, "eth1"), Link::ethernet(4, "eth2")];
        let asked = |device: &Link| {
            frames_come_through(device, &links).map(|link| link.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(asked(&bond), ["eth0", "eth1"]);
        assert_eq!(asked(&links[3]), ["eth2"]);
        assert!(asked(&Link { kind: Some("veth".into()), ..Link::ethernet(5, "veth0") }).is_empty());
    }
}

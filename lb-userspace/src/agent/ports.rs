//! The interfaces that the data path must know: those it takes packets from, and those by which packets leave.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::wire::Wire;

use crate::net::{Link, Mac, wire};

/// An interface as the data path knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub index: u32,
    pub name: String,
    pub wire: Wire,
    pub mac: Mac,
    /// Packets are taken from here, if they have these tags.
    pub takes: bool,
}

/// Those of the interfaces that are named, with the devices below them and the members of bonds, and those of next hops.
/// What has no Ethernet address, or is on no wire, cannot be one.
#[must_use]
pub fn known(
    links: &BTreeMap<u32, Link>,
    named: &BTreeSet<u32>,
    of_hops: impl Iterator<Item = u32>,
) -> Vec<Port> {
    let wire_of = |link: &Link| wire(link, |index| links.get(&index)).map(|(wire, _)| wire);
    let mut wanted: BTreeSet<u32> = named.iter().copied().chain(of_hops).collect();
    let below = wanted.iter().filter_map(|index| links.get(index)).filter_map(|link| wire_of(link).ok());
    let devices: BTreeSet<u32> = below.map(|wire| wire.device).collect();
    let member_of_one =
        |link: &&Link| link.is_member() && link.master.is_some_and(|it| devices.contains(&it));
    wanted.extend(links.values().filter(member_of_one).map(|link| link.index));
    wanted.extend(&devices);
    let port = |link: &Link| {
        let (wire, mac) = (wire_of(link).ok()?, link.mac?);
        Some(Port {
            index: link.index,
            name: link.name.clone(),
            wire,
            mac,
            takes: named.contains(&link.index),
        })
    };
    wanted.iter().filter_map(|index| links.get(index)).filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use lb_common::wire::{Tag, Tags};

    use super::*;

    #[test]
    fn devices_and_members_come_along_and_only_what_is_named_takes_packets() {
        let vlan = |index, id| Link {
            kind: Some("vlan".into()),
            vlan: Tag::new(id, false),
            lower: Some(9),
            ..Link::ethernet(index, "vlan")
        };
        let member =
            |index| Link { master: Some(9), port_of: Some("bond".into()), ..Link::ethernet(index, "eth") };
        let loopback = Link { mac: None, ..Link::ethernet(1, "lo") };
        let links = [
            loopback,
            member(2),
            member(3),
            Link::ethernet(9, "bond0"),
            vlan(10, 10),
            vlan(20, 20),
            vlan(30, 30),
        ];
        let links = links.into_iter().map(|link| (link.index, link)).collect();
        let ports = known(&links, &BTreeSet::from([10]), [20, 1, 77].into_iter());
        let seen: Vec<_> = ports.iter().map(|port| (port.index, port.wire.device, port.takes)).collect();
        assert_eq!(seen, [(2, 9, false), (3, 9, false), (9, 9, false), (10, 9, true), (20, 9, false)]);
        assert_eq!(ports[4].wire.tags, Tags::of(Tag::new(20, false).unwrap(), Tag::NONE));
    }
}

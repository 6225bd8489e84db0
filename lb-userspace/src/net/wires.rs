//! How an interface's frames are on the wire: which device they pass, and with which VLAN tags.

use lb_common::wire::{Tags, Wire};

use super::links::Link;

/// Why an interface's frames cannot be told on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWire {
    /// More than two tags.
    TooManyTags,
    /// A VLAN without an identifier: its frames only have a priority.
    NoVlan,
    /// What is below the VLAN is in another namespace, or not there (any more).
    NothingBelow,
}

/// The wire of this interface: a VLAN's frames pass the device at the bottom, with its tag and those of the VLANs between;
/// a bond's member speaks for the bond. Also the device itself.
///
/// # Errors
/// See [`NoWire`].
pub fn wire<'l>(
    link: &'l Link,
    by_index: impl Fn(u32) -> Option<&'l Link>,
) -> Result<(Wire, &'l Link), NoWire> {
    let (mut tags, mut device) = (Tags::NONE, link);
    while device.kind.as_deref() == Some("vlan") {
        let vlan = device.vlan.ok_or(NoWire::NoVlan)?;
        // Downwards, each tag is further outside.
        tags = tags.within(vlan).ok_or(NoWire::TooManyTags)?;
        device = device.lower.and_then(&by_index).ok_or(NoWire::NothingBelow)?;
    }
    if device.is_member() {
        device = device.master.and_then(&by_index).ok_or(NoWire::NothingBelow)?;
    }
    Ok((Wire { device: device.index, tags }, device))
}

#[cfg(test)]
mod tests {
    use lb_common::wire::Tag;

    use super::*;

    fn vlan(index: u32, id: u16, service: bool, lower: u32) -> Link {
        let vlan = Tag::new(id, service);
        Link { kind: Some("vlan".into()), vlan, lower: Some(lower), ..Link::ethernet(index, "vlan") }
    }

    #[test]
    fn a_stack_of_vlans_is_read_from_the_outside_in() {
        let links = [
            Link::ethernet(2, "eth0"),
            vlan(3, 100, true, 2),
            vlan(4, 10, false, 3),
            vlan(5, 1, false, 4),
            vlan(6, 7, false, 99),
            vlan(7, 0, false, 2),
        ];
        let by_index = |index| links.iter().find(|link| link.index == index);
        let wire_of = |place: usize| wire(&links[place], by_index).map(|(wire, device)| (wire, device.index));
        let (outer, inner) = (Tag::new(100, true).unwrap(), Tag::new(10, false).unwrap());
        assert_eq!(wire_of(0), Ok((Wire { device: 2, tags: Tags::NONE }, 2)));
        assert_eq!(wire_of(1), Ok((Wire { device: 2, tags: Tags::of(outer, Tag::NONE) }, 2)));
        assert_eq!(wire_of(2), Ok((Wire { device: 2, tags: Tags::of(outer, inner) }, 2)));
        assert_eq!(wire_of(3), Err(NoWire::TooManyTags));
        assert_eq!(wire_of(4), Err(NoWire::NothingBelow));
        assert_eq!(wire_of(5), Err(NoWire::NoVlan));
    }

    #[test]
    fn a_member_speaks_for_its_bond_and_a_bridge_port_for_itself() {
        let of = |master, what: &str| Link {
            master: Some(master),
            port_of: Some(what.into()),
            ..Link::ethernet(3, "eth1")
        };
        let links = [Link::ethernet(9, "bond0"), of(9, "bond"), of(9, "bridge")];
        let device =
            |link| wire(link, |index| links.iter().find(|link| link.index == index)).map(|it| it.0.device);
        assert_eq!(device(&links[1]), Ok(9));
        assert_eq!(device(&links[2]), Ok(3));
    }
}

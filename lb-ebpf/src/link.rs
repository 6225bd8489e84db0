//! The link header of a frame that grows or goes back.

use network_types::eth::EtherType;

use crate::{
    frame::Frame,
    headers::{Ethernet, Vlan},
    parse::Shape,
};

const TAGGED: u64 = (size_of::<Ethernet>() + size_of::<Vlan>()) as u64;

/// The frame goes back to where it came from.
#[inline(always)]
pub fn turn(link: &Ethernet) {
    let (from, to) = (link.source.mac(), link.destination.mac());
    link.source.set_mac(to);
    link.destination.set_mac(from);
}

/// Brings the header to the front of a frame that has just grown by so many bytes, with its VLAN tag. What follows now is
/// of this type, as it lies on the wire.
#[inline(always)]
pub fn advance(frame: &Frame<'_>, shape: Shape, by: u64, ethertype: u16) -> Option<()> {
    let (link, before): (&Ethernet, &Ethernet) = (frame.view(0)?, frame.view_at(by)?);
    if shape.link_length() == TAGGED {
        let before: &Vlan = frame.view_at(by + size_of::<Ethernet>() as u64)?;
        let tag: &Vlan = frame.view(size_of::<Ethernet>())?;
        tag.control.set(before.control.get());
        tag.ethertype.set_raw(ethertype);
        link.ethertype.set_raw(EtherType::Ieee8021q as u16);
    } else {
        link.ethertype.set_raw(ethertype);
    }
    link.destination.set_mac(before.destination.mac());
    link.source.set_mac(before.source.mac());
    Some(())
}

//! The link header of a frame that grows or goes back.

use crate::{
    frame::Frame,
    headers::{Ethernet, Macs, VlanTag},
    parse::Shape,
};

/// The frame goes back to where it came from.
#[inline(always)]
pub fn turn(link: &Ethernet) {
    let (from, to) = (link.source.mac(), link.destination.mac());
    link.source.set_mac(to);
    link.destination.set_mac(from);
}

/// Brings the header of a packet of this shape, with the tags it wears, to the front of a frame that has just grown by so
/// many bytes. What follows it now is of this type, as it lies on the wire.
#[inline(always)]
pub fn advance(frame: &Frame<'_>, shape: Shape, by: u64, ethertype: u16) -> Option<()> {
    const FIRST_TAG: u64 = size_of::<Macs>() as u64;
    const SECOND_TAG: u64 = FIRST_TAG + size_of::<VlanTag>() as u64;
    // Front to back, because the old header may begin where the new one ends.
    frame.view::<Macs>(0)?.set(frame.view_at::<Macs>(by)?.get());
    let last = shape.link_length() - size_of_val(&ethertype) as u64;
    if last > FIRST_TAG {
        bring(frame, FIRST_TAG, by)?;
    }
    if last > SECOND_TAG {
        bring(frame, SECOND_TAG, by)?;
    }
    frame.view_at::<VlanTag>(last)?.ethertype.set_raw(ethertype);
    Some(())
}

#[inline(always)]
fn bring(frame: &Frame<'_>, at: u64, by: u64) -> Option<()> {
    let (tag, before): (&VlanTag, &VlanTag) = (frame.view_at(at)?, frame.view_at(by + at)?);
    tag.ethertype.set(before.ethertype.get());
    tag.control.set(before.control.get());
    Some(())
}

//! Where an interface's frames are on the wire: which device they pass, and which VLAN tags they carry there.

/// One VLAN tag (IEEE 802.1Q clause 9.6) as far as it names a VLAN: its identifier, and whether it is a service tag
/// (802.1ad). Zero is no tag: a tag without an identifier only tells a priority.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Tag(u16);

impl Tag {
    pub const NONE: Self = Self(0);
    const SERVICE: u16 = 1 << 12;
    const ID: u16 = 0x0fff;
    /// EtherType of a customer tag, as it lies in memory (802.1Q).
    pub const CUSTOMER_TYPE: u16 = 0x8100_u16.to_be();
    /// EtherType of a service tag, likewise (802.1ad).
    pub const SERVICE_TYPE: u16 = 0x88a8_u16.to_be();

    /// `None` for what is no VLAN: identifiers go from 1 to 4094.
    #[must_use]
    pub const fn new(id: u16, service: bool) -> Option<Self> {
        if id == 0 || id >= Self::ID {
            return None;
        }
        Some(Self(if service { id | Self::SERVICE } else { id }))
    }

    /// What a tag on the wire says: its control information, and whether its EtherType is a service tag's.
    #[must_use]
    #[inline(always)]
    pub const fn on_wire(control: u16, service: bool) -> Self {
        let id = control & Self::ID;
        if id == 0 {
            return Self::NONE;
        }
        if service { Self(id | Self::SERVICE) } else { Self(id) }
    }

    #[must_use]
    #[inline(always)]
    pub const fn id(self) -> u16 {
        self.0 & Self::ID
    }

    #[must_use]
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The EtherType that announces it, as it lies in memory.
    #[must_use]
    #[inline(always)]
    pub const fn ethertype(self) -> u16 {
        if self.0 & Self::SERVICE == 0 { Self::CUSTOMER_TYPE } else { Self::SERVICE_TYPE }
    }
}

/// The tags of a frame, at most two.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tags(u32);

impl Tags {
    pub const NONE: Self = Self(0);
    /// More are none of ours.
    pub const LIMIT: u32 = 2;

    /// `None` if there is no room for it.
    #[must_use]
    pub const fn within(self, outer: Tag) -> Option<Self> {
        if self.inner().is_none() { Some(Self::of(outer, self.outer())) } else { None }
    }

    /// From the outside in. A tag without an identifier is none.
    #[must_use]
    #[inline(always)]
    pub const fn of(outer: Tag, inner: Tag) -> Self {
        if outer.is_none() { Self(inner.0 as u32) } else { Self(outer.0 as u32 | (inner.0 as u32) << 16) }
    }

    #[must_use]
    #[inline(always)]
    pub const fn outer(self) -> Tag {
        Tag(self.0 as u16)
    }

    #[must_use]
    #[inline(always)]
    pub const fn inner(self) -> Tag {
        Tag((self.0 >> 16) as u16)
    }

    #[must_use]
    #[inline(always)]
    pub const fn count(self) -> u32 {
        (self.0 & 0xffff != 0) as u32 + (self.0 >> 16 != 0) as u32
    }
}

/// A device (by the kernel's index) and the tags of the frames there: in one word, which changes whole.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Wire {
    pub device: u32,
    pub tags: Tags,
}

impl Wire {
    /// Of frames without tags on this device.
    #[must_use]
    #[inline(always)]
    pub const fn untagged(device: u32) -> Self {
        Self { device, tags: Tags::NONE }
    }

    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.device as u64 | (self.tags.0 as u64) << 32
    }

    /// A zero word means that there is no such interface.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { device: word as u32, tags: Tags((word >> 32) as u32) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_is_its_word() {
        let (outer, inner) = (Tag::new(4094, true).unwrap(), Tag::new(1, false).unwrap());
        let two = Tags::of(inner, Tag::NONE).within(outer).unwrap();
        let wire = Wire { device: u32::MAX, tags: two };
        assert_eq!(Wire::from_word(wire.to_word()), wire);
        assert_eq!((two.outer(), two.inner(), two.count()), (outer, inner, 2));
        assert_eq!((outer.id(), outer.ethertype()), (4094, Tag::SERVICE_TYPE));
        assert_eq!(two.within(inner), None, "a third tag");
        assert_eq!(Tags::NONE.count(), 0);
    }

    #[test]
    fn a_tag_without_an_identifier_is_none() {
        let priority = Tag::on_wire(0xe000, false);
        let ten = Tag::on_wire(0x200a, false);
        assert!(priority.is_none());
        assert_eq!(Some(ten), Tag::new(10, false));
        assert_eq!(Tags::of(priority, ten), Tags::of(ten, Tag::NONE));
        assert_eq!((Tag::new(0, false), Tag::new(4095, true)), (None, None));
    }
}

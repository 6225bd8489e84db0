//! The interfaces the data path knows: those packets are taken from, and those they are sent from.

use crate::{net::Mac, wire::Wire, word::Word};

/// Entry of `interfaces`, by [`PortNumber`](crate::net::PortNumber).
#[repr(C)]
#[derive(Debug)]
pub struct Interface {
    /// The kernel's index; 0: not in use.
    pub index: Word,
    /// [`Wire`]: the device and tags of what is sent from here; 0: not in use. That of a bond's member names the bond.
    wire: Word,
    mac: Word,
}

impl Interface {
    #[must_use]
    #[inline(always)]
    pub fn mac(&self) -> Mac {
        Mac::in_word(self.mac.load())
    }

    #[must_use]
    #[inline(always)]
    pub fn wire(&self) -> Wire {
        Wire::from_word(self.wire.load())
    }

    /// Makes it known, or changes what is known of it.
    pub fn set(&self, index: u32, wire: Wire, m: [u8; 6]) {
        self.mac.store(u64::from_ne_bytes([m[0], m[1], m[2], m[3], m[4], m[5], 0, 0]));
        self.wire.store(wire.to_word());
        self.index.store(u64::from(index));
    }
}

//! The interfaces the program may send from.

use crate::word::Word;

/// Entry of `interfaces`, by [`PortNumber`](crate::net::PortNumber).
#[repr(C)]
#[derive(Debug)]
pub struct Interface {
    /// The kernel's index; 0: not in use.
    pub ifindex: Word,
    mac: Word,
}

impl Interface {
    #[must_use]
    #[inline(always)]
    pub fn mac(&self) -> [u8; 6] {
        let b = self.mac.load().to_ne_bytes();
        [b[0], b[1], b[2], b[3], b[4], b[5]]
    }

    pub fn set_mac(&self, m: [u8; 6]) {
        self.mac.store(u64::from_ne_bytes([m[0], m[1], m[2], m[3], m[4], m[5], 0, 0]));
    }
}

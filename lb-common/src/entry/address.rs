//! Addresses in mapped memory.

use crate::{net::Addr, word::Word};

/// An address in mapped memory. Two words, so it is written only while nothing points to its entry.
#[repr(C)]
#[derive(Debug, Default)]
pub struct SharedAddr([Word; 2]);

impl SharedAddr {
    /// None.
    #[must_use]
    pub const fn nobody() -> Self {
        Self([const { Word::new(0) }; 2])
    }

    #[must_use]
    #[inline(always)]
    pub fn load(&self) -> Addr {
        Addr::from_pair([self.0[0].load(), self.0[1].load()])
    }

    /// Whether it is this one: two comparisons where [`load`](Self::load) would take it apart.
    #[must_use]
    #[inline(always)]
    pub fn is(&self, addr: Addr) -> bool {
        let [a, b] = addr.pair();
        (self.0[0].load() ^ a) | (self.0[1].load() ^ b) == 0
    }

    pub fn store(&self, addr: Addr) {
        let [a, b] = addr.pair();
        self.0[0].store(a);
        self.0[1].store(b);
    }
}

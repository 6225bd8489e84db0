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
        let (a, b) = (self.0[0].load().to_ne_bytes(), self.0[1].load().to_ne_bytes());
        let word = |c: &[u8; 8], i: usize| u32::from_ne_bytes([c[i], c[i + 1], c[i + 2], c[i + 3]]);
        Addr::from_words([word(&a, 0), word(&a, 4), word(&b, 0), word(&b, 4)])
    }

    pub fn store(&self, addr: Addr) {
        let w = addr.words().map(u32::to_ne_bytes);
        let pair =
            |a: [u8; 4], b: [u8; 4]| u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]]);
        self.0[0].store(pair(w[0], w[1]));
        self.0[1].store(pair(w[2], w[3]));
    }
}

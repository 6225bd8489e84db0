//! Internet checksums changed in place: RFC 1624 equation 3, HC' = ~(~HC + ~m + m').
//!
//! Values are 16-bit words as they lie in memory; one's-complement sums do not care about byte order (RFC 1071, 2.B).

use crate::net::Addr;

/// What a change adds to a checksum. Accumulate with [`Delta::word`], apply once with [`Delta::apply`].
#[derive(Clone, Copy, Default, Debug)]
pub struct Delta(u64);

impl Delta {
    #[must_use]
    #[inline(always)]
    pub const fn none() -> Self {
        Self(0)
    }

    /// A 16-bit word changes.
    #[must_use]
    #[inline(always)]
    pub const fn half(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// A 32-bit word changes.
    #[must_use]
    #[inline(always)]
    pub const fn word(self, old: u32, new: u32) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// An address changes. Both families, but four words for what is one in IPv4.
    #[must_use]
    #[inline(always)]
    pub const fn address(self, old: Addr, new: Addr) -> Self {
        let (old, new) = (old.words(), new.words());
        self.word(old[0], new[0]).word(old[1], new[1]).word(old[2], new[2]).word(old[3], new[3])
    }

    /// Both changes.
    #[must_use]
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The changed checksum.
    /// [`apply`](Self::apply) for one [`half`](Self::half) that has changed: two numbers of sixteen bits carry once.
    #[must_use]
    #[inline(always)]
    pub const fn apply_alone(self, checksum: u16) -> u16 {
        let sum = self.0 + (!checksum) as u64;
        !(sum + (sum >> 16)) as u16
    }

    #[must_use]
    #[inline(always)]
    pub const fn apply(self, checksum: u16) -> u16 {
        let sum = self.0 + (!checksum) as u64;
        !fold(sum)
    }
}

/// What an address adds to a pseudo-header. The mapped form of IPv4 adds nothing but the address: ff ff is a zero here.
#[must_use]
#[inline(always)]
pub const fn sum(addr: Addr) -> u64 {
    let [a, b, c, d] = addr.words();
    a as u64 + b as u64 + c as u64 + d as u64
}

/// Four bytes as they lie in memory, for sums.
#[must_use]
#[inline(always)]
pub const fn four(bytes: [u8; 4]) -> u64 {
    u32::from_ne_bytes(bytes) as u64
}

/// One's-complement sum of 64 bits of partial sums, folded to 16.
#[must_use]
#[inline(always)]
pub const fn fold(mut sum: u64) -> u16 {
    sum = (sum & 0xffff_ffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(bytes: &[u8]) -> u16 {
        let sum =
            bytes.chunks(2).map(|p| u64::from(u16::from_be_bytes([p[0], *p.get(1).unwrap_or(&0)]))).sum();
        !fold(sum)
    }

    proptest! {
        #[test]
        fn incremental_equals_full(mut bytes in proptest::collection::vec(any::<u8>(), 8..80), at in 0usize..80, new: u32) {
            bytes.truncate(bytes.len() / 4 * 4);
            let at = at % (bytes.len() / 4) * 4;
            let before = full(&bytes);
            let old = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            bytes[at..at + 4].copy_from_slice(&new.to_be_bytes());
            let after = Delta::none().word(old, new).apply(before);
            // 0x0000 and 0xffff are the same one's-complement number (RFC 1624 section 3).
            let canonical = |c: u16| if c == 0xffff { 0 } else { c };
            prop_assert_eq!(canonical(after), canonical(full(&bytes)));
        }
    }
}

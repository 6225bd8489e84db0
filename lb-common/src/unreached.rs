//! The form in which the data path tells the agent of a client to whom it knew no way, so that the next packet has one.

use crate::net::Addr;

/// A client whom a packet was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unreached(pub Addr);

impl Unreached {
    /// Bytes of the ring in which these travel, those that the kernel adds included: a power of two, and whole pages. Some
    /// hundreds of them have room; who finds none is told of again with the next packet.
    pub const RING_BYTES: usize = 16 << 10;

    /// As it travels.
    #[must_use]
    #[inline(always)]
    pub const fn to_words(self) -> [u64; 2] {
        self.0.pair()
    }

    /// What came out of the ring; `None` if it is nothing of the kind.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_first_chunk()?;
        let words = [*first, second.try_into().ok()?];
        Some(Self(Addr::from_pair(words.map(u64::from_ne_bytes))))
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        for ip in ["10.77.1.10", "2001:db8::10"] {
            let unreached = Unreached(Addr::from(ip.parse::<IpAddr>().unwrap()));
            let bytes: [[u8; 8]; 2] = unreached.to_words().map(u64::to_ne_bytes);
            let bytes = bytes.as_flattened();
            assert_eq!(Unreached::read(bytes), Some(unreached));
            assert_eq!(Unreached::read(&bytes[..15]), None);
            assert_eq!(Unreached::read(&[bytes, &[0]].concat()), None);
        }
    }
}

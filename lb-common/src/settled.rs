//! The form in which the data path tells the agent of a connection that has settled, so that other directors hear of it at once.

use crate::identity::FlowId;

/// A connection that has settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settled {
    pub flow: FlowId,
    /// When, by the machine's monotonic clock, ns.
    pub at: u64,
}

impl Settled {
    /// Bytes of the ring in which these travel, those that the kernel adds included: a power of two, and whole pages. Some ten
    /// thousand of them have room.
    pub const RING_BYTES: usize = 256 << 10;

    /// As it travels.
    #[must_use]
    #[inline(always)]
    pub const fn to_words(self) -> [u64; 2] {
        [self.flow.bits(), self.at]
    }

    /// What came out of the ring; `None` if it is nothing of the kind.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (flow, at) = bytes.split_first_chunk()?;
        let flow = FlowId::from_bits(u64::from_ne_bytes(*flow));
        Some(Self { flow, at: u64::from_ne_bytes(at.try_into().ok()?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_else() {
        let settled = Settled { flow: FlowId::from_bits(0x1234_5678_9abc), at: 7_000_000_001 };
        let bytes: [[u8; 8]; 2] = settled.to_words().map(u64::to_ne_bytes);
        let bytes = bytes.as_flattened();
        assert_eq!(Settled::read(bytes), Some(settled));
        assert_eq!(Settled::read(&bytes[..15]), None);
        assert_eq!(Settled::read(&[bytes, &[0]].concat()), None);
    }
}

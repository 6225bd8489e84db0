//! Which server a flow id picks: an index into a service's table, in the arena that all tables share.

use crate::{identity::FlowId, slot::ServerId};

/// Server ids in one arena word.
pub const IDS_PER_WORD: u32 = 4;

/// Where a service's table lies, in one word that changes whole: offset (in arena words), size (in ids), generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    offset: u32,
    size: u32,
    generation: u16,
}

impl Extent {
    /// Largest table: 2^20 ids.
    pub const MAX_SIZE: u32 = (1 << 21) - 1;
    /// Largest offset: 2^28 words, 2 GiB of arena.
    pub const MAX_OFFSET: u32 = (1 << 28) - 1;

    /// `None` if size is zero or anything is out of bounds.
    #[must_use]
    pub const fn new(offset: u32, size: u32, generation: u16) -> Option<Self> {
        if size == 0 || size > Self::MAX_SIZE || offset > Self::MAX_OFFSET {
            return None;
        }
        Some(Self { offset, size, generation: generation & 0x7fff })
    }

    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.offset as u64 | ((self.size as u64) << 28) | ((self.generation as u64) << 49)
    }

    /// `None` for the zero word: a service without a table.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        Some(Self {
            offset: (word as u32) & Self::MAX_OFFSET,
            size: (word >> 28) as u32 & Self::MAX_SIZE,
            generation: (word >> 49) as u16,
        })
    }

    #[must_use]
    pub const fn offset(self) -> u32 {
        self.offset
    }

    #[must_use]
    pub const fn size(self) -> u32 {
        self.size
    }

    #[must_use]
    pub const fn generation(self) -> u16 {
        self.generation
    }

    /// Arena words that so many ids take.
    #[must_use]
    pub const fn words_for(size: u32) -> u32 {
        size.div_ceil(IDS_PER_WORD)
    }

    #[must_use]
    pub const fn words(self) -> u32 {
        Self::words_for(self.size)
    }

    /// The place of this flow's `attempt`-th candidate: arena word and position in it. Depends on the flow id and the
    /// table alone, never on how many buckets the flow table has.
    #[must_use]
    #[inline(always)]
    pub const fn place(self, flow: FlowId, attempt: u32) -> (u32, u32) {
        // Multiply-shift instead of a division: the low half of the flow id, scaled to the table.
        let spread = (flow.bits() as u32).wrapping_add(attempt.wrapping_mul(0x9e37_79b9));
        let index = ((spread as u64 * self.size as u64) >> 32) as u32;
        (self.offset + index / IDS_PER_WORD, index % IDS_PER_WORD)
    }
}

/// The id at this position of an arena word; `None` where the table names nobody.
#[must_use]
#[inline(always)]
pub const fn id_in_word(word: u64, position: u32) -> Option<ServerId> {
    ServerId::new((word >> (16 * (position % IDS_PER_WORD))) as u16)
}

/// Four ids as one arena word.
#[must_use]
pub const fn word_of_ids(ids: [u16; 4]) -> u64 {
    ids[0] as u64 | ((ids[1] as u64) << 16) | ((ids[2] as u64) << 32) | ((ids[3] as u64) << 48)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_extent_is_its_word(offset in 0..=Extent::MAX_OFFSET, size in 1..=Extent::MAX_SIZE, generation in 0u16..0x8000) {
            let extent = Extent::new(offset, size, generation).unwrap();
            prop_assert_eq!(Extent::from_word(extent.to_word()), Some(extent));
            prop_assert_eq!((extent.offset(), extent.size(), extent.generation()), (offset, size, generation));
        }

        #[test]
        fn a_pick_stays_inside_its_table(bits: u64, offset in 0..1000u32, size in 1..=Extent::MAX_SIZE, attempt in 0u32..8) {
            let extent = Extent::new(offset, size, 0).unwrap();
            let (word, position) = extent.place(FlowId::from_bits(bits), attempt);
            prop_assert!(word >= offset && word < offset + extent.words());
            prop_assert!((word - offset) * IDS_PER_WORD + position < size);
        }
    }
}

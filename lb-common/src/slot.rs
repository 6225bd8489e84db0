//! One connection in one `u64`: which server, how far its life has come, when it was last seen, and who it is.
//!
//! ```text
//!  63      48 47 46 45      38 37       36     35                    0
//! +----------+-----+----------+--------+------+-----------------------+
//! |  server  |class|   age    |diverged|second|          tag          |
//! +----------+-----+----------+--------+------+-----------------------+
//! ```
//! Tag and *second* give back the flow id from the bucket the slot stands in. Server 0 is nobody: a zero word is free.

use crate::{
    clock::Now,
    flow_table::BUCKET_SLOTS,
    identity::{FLOW_ID_BITS, FlowId},
};

/// Fewest bits of bucket number, so that the rest of a flow id fits the tag: 2^14 buckets, 131,072 slots, 1 MiB.
pub const MIN_BUCKET_BITS: u32 = FLOW_ID_BITS - TAG_BITS;
/// Most bits of bucket number, so that at least 29 bits of tag remain: 2^21 buckets, 16,777,216 slots.
pub const MAX_BUCKET_BITS: u32 = FLOW_ID_BITS - 29;

pub(crate) const TAG_BITS: u32 = 36;
const TAG: u64 = (1 << TAG_BITS) - 1;
const SECOND: u64 = 1 << 36;
const DIVERGED: u64 = 1 << 37;
const AGE_SHIFT: u32 = 38;
const AGE: u64 = 0xff << AGE_SHIFT;
const CLASS_SHIFT: u32 = 46;
const CLASS: u64 = 3 << CLASS_SHIFT;

/// In the *new* class the age has seven bits; the eighth says that the server has answered.
const ANSWERED: u64 = 0x80 << AGE_SHIFT;

/// The local number of one (service, server) pair: its index in the `servers` map. Never 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ServerId(core::num::NonZeroU16);

impl ServerId {
    #[must_use]
    #[inline(always)]
    pub const fn new(number: u16) -> Option<Self> {
        match core::num::NonZeroU16::new(number) {
            Some(n) => Some(Self(n)),
            None => None,
        }
    }

    #[must_use]
    #[inline(always)]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    #[must_use]
    #[inline(always)]
    pub const fn index(self) -> u32 {
        self.0.get() as u32
    }
}

/// How far a connection's life has come, as far as the director can see it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// One packet, or several in one tick, and no answer seen. First to give way.
    New,
    /// NAT: the server has answered the SYN; the client's next packet establishes.
    Answered,
    Established,
    /// One FIN: ages as established, since a download may follow.
    HalfClosed,
    /// Both FINs or a RST (in DR, one FIN): soon forgotten, unless it speaks again.
    Closing,
}

/// Silence after which an entry of each kind is over, in ticks of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// *New* and *answered*, fine ticks, at most 63.
    pub new: u8,
    /// *Closing*, fine ticks, at most 127.
    pub closing: u8,
    /// *Established* and *half-closed*, coarse ticks, at most 127.
    pub established: u8,
}

/// A place in the table: the bucket, and whether it is the flow's second choice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Home {
    pub bucket: u32,
    pub second: bool,
}

/// The shape of a table: how many bits of a flow id number the bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    bucket_bits: u32,
}

impl Geometry {
    /// `None` outside [`MIN_BUCKET_BITS`]..=[`MAX_BUCKET_BITS`].
    #[must_use]
    #[inline(always)]
    pub const fn new(bucket_bits: u32) -> Option<Self> {
        if bucket_bits >= MIN_BUCKET_BITS && bucket_bits <= MAX_BUCKET_BITS {
            Some(Self { bucket_bits })
        } else {
            None
        }
    }

    /// The nearest shape there is.
    #[must_use]
    #[inline(always)]
    pub const fn nearest(bucket_bits: u32) -> Self {
        if bucket_bits < MIN_BUCKET_BITS {
            Self { bucket_bits: MIN_BUCKET_BITS }
        } else if bucket_bits > MAX_BUCKET_BITS {
            Self { bucket_bits: MAX_BUCKET_BITS }
        } else {
            Self { bucket_bits }
        }
    }

    /// That of a table which is there. Other numbers of bits give some shape, whose buckets a map of that table may not have.
    #[must_use]
    #[inline(always)]
    pub const fn in_force(bucket_bits: u32) -> Self {
        Self { bucket_bits: bucket_bits & 31 }
    }

    /// The smallest table that holds so many connections at a load of at most three quarters.
    /// `None` if that would need more than 2^24 slots.
    #[must_use]
    pub const fn for_connections(connections: u64) -> Option<Self> {
        let mut bits = MIN_BUCKET_BITS;
        while bits <= MAX_BUCKET_BITS {
            if (8 << bits) * 3 / 4 >= connections {
                return Some(Self { bucket_bits: bits });
            }
            bits += 1;
        }
        None
    }

    #[must_use]
    pub const fn bucket_bits(self) -> u32 {
        self.bucket_bits
    }

    #[must_use]
    pub const fn buckets(self) -> u32 {
        1 << self.bucket_bits
    }

    #[must_use]
    pub const fn slots(self) -> u32 {
        self.buckets() * BUCKET_SLOTS as u32
    }

    #[must_use]
    #[inline(always)]
    const fn tag_bits(self) -> u32 {
        FLOW_ID_BITS - self.bucket_bits
    }

    #[must_use]
    #[inline(always)]
    pub const fn tag(self, flow: FlowId) -> u64 {
        flow.bits() & ((1 << self.tag_bits()) - 1)
    }

    #[must_use]
    #[inline(always)]
    pub const fn first(self, flow: FlowId) -> u32 {
        (flow.bits() >> self.tag_bits()) as u32
    }

    /// The other candidate: an involution given by the tag alone, so a slot leads back to the flow from either.
    #[must_use]
    #[inline(always)]
    pub const fn other(self, bucket: u32, tag: u64) -> u32 {
        let spread = (tag.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_shr(64 - self.bucket_bits)) as u32;
        bucket ^ (spread | 1)
    }

    /// Whose slot this is, given the bucket it stands in.
    #[must_use]
    #[inline(always)]
    pub const fn flow_of(self, slot: Slot, bucket: u32) -> FlowId {
        let tag = slot.0 & TAG & ((1 << self.tag_bits()) - 1);
        let first = if slot.0 & SECOND == 0 { bucket } else { self.other(bucket, tag) };
        FlowId::from_bits(((first as u64) << self.tag_bits()) | tag)
    }
}

/// The word of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u64);

impl Slot {
    /// Above it stands the server: zero in a free slot alone.
    pub const SERVER_SHIFT: u32 = 48;

    /// A fresh entry of class *new*.
    #[must_use]
    #[inline(always)]
    pub const fn fresh(server: ServerId, tag: u64, second: bool, diverged: bool, now: Now) -> Self {
        let mut word = ((server.get() as u64) << Self::SERVER_SHIFT) | (tag & TAG);
        if second {
            word |= SECOND;
        }
        if diverged {
            word |= DIVERGED;
        }
        Self(word).with_class(Class::New, now)
    }

    /// `None` for a free slot.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word == 0 { None } else { Some(Self(word)) }
    }

    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// What a slot's word must equal under [`identity_mask`](Self::identity_mask) to belong to this flow here.
    #[must_use]
    #[inline(always)]
    pub const fn identity(tag: u64, second: bool) -> u64 {
        tag | if second { SECOND } else { 0 }
    }

    #[must_use]
    #[inline(always)]
    pub const fn identity_mask() -> u64 {
        TAG | SECOND
    }

    /// Whether this word has this identity.
    #[must_use]
    #[inline(always)]
    pub const fn has_identity(word: u64, identity: u64) -> bool {
        (word ^ identity) & Self::identity_mask() == 0
    }

    /// Class number (0 *new* or *answered*, 1 *established*, 2 *half-closed*, 3 *closing*), age and *diverged*, for
    /// arithmetic.
    #[must_use]
    #[inline(always)]
    pub const fn packed_parts(word: u64) -> (u64, u64, u64) {
        ((word & CLASS) >> CLASS_SHIFT, (word & AGE) >> AGE_SHIFT, (word & DIVERGED) >> 37)
    }

    /// `None` only if the word was never made by this type.
    #[must_use]
    #[inline(always)]
    pub const fn server(self) -> Option<ServerId> {
        ServerId::new((self.0 >> Self::SERVER_SHIFT) as u16)
    }

    #[must_use]
    #[inline(always)]
    pub const fn class(self) -> Class {
        match (self.0 & CLASS) >> CLASS_SHIFT {
            0 if self.0 & ANSWERED == 0 => Class::New,
            0 => Class::Answered,
            1 => Class::Established,
            2 => Class::HalfClosed,
            _ => Class::Closing,
        }
    }

    /// Whether both sides have spoken and neither has ended it.
    #[must_use]
    #[inline(always)]
    pub const fn is_settled(self) -> bool {
        matches!(self.class(), Class::Established | Class::HalfClosed)
    }

    /// Whether it is *established* and has been seen in this tick of its age: whatever goes on with it says nothing new.
    #[must_use]
    #[inline(always)]
    pub const fn is_live(self, now: Now) -> bool {
        self.0 & (CLASS | AGE) == 1 << CLASS_SHIFT | (now.coarse() as u64) << AGE_SHIFT
    }

    /// What is stored of the flow.
    #[must_use]
    #[inline(always)]
    pub const fn tag(self) -> u64 {
        self.0 & TAG
    }

    #[must_use]
    #[inline(always)]
    pub const fn diverged(self) -> bool {
        self.0 & DIVERGED != 0
    }

    /// The same connection in this class, seen now.
    #[must_use]
    #[inline(always)]
    pub const fn with_class(self, class: Class, now: Now) -> Self {
        let kept = self.0 & !(CLASS | AGE);
        let (class, age) = match class {
            Class::New => (0, now.fine7() as u64),
            Class::Answered => (0, now.fine7() as u64 | 0x80),
            Class::Established => (1, now.coarse() as u64),
            Class::HalfClosed => (2, now.coarse() as u64),
            Class::Closing => (3, now.fine() as u64),
        };
        Self(kept | (class << CLASS_SHIFT) | (age << AGE_SHIFT))
    }

    /// The same connection at another server, as good as new.
    #[must_use]
    #[inline(always)]
    pub const fn moved_to(self, server: ServerId, diverged: bool, now: Now) -> Self {
        Self::fresh(server, self.0 & TAG, self.0 & SECOND != 0, diverged, now)
    }

    /// Ticks of silence, fine or coarse as its class counts. An age from the future (another CPU's clock word was a
    /// tick older) is none.
    #[must_use]
    #[inline(always)]
    pub const fn idle(self, now: Now) -> u8 {
        let age = (self.0 >> AGE_SHIFT) as u8;
        let (idle, future) = match self.class() {
            Class::New | Class::Answered => (now.fine7().wrapping_sub(age) & 0x7f, 0x78),
            Class::Established | Class::HalfClosed => (now.coarse().wrapping_sub(age), 0xf8),
            Class::Closing => (now.fine().wrapping_sub(age), 0xf8),
        };
        if idle >= future { 0 } else { idle }
    }

    #[must_use]
    #[inline(always)]
    pub const fn expired(self, now: Now, limits: Limits) -> bool {
        let limit = match self.class() {
            Class::New | Class::Answered => limits.new,
            Class::Established | Class::HalfClosed => limits.established,
            Class::Closing => limits.closing,
        };
        self.idle(now) > limit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn classes() -> impl Strategy<Value = Class> {
        prop_oneof![
            Just(Class::New),
            Just(Class::Answered),
            Just(Class::Established),
            Just(Class::HalfClosed),
            Just(Class::Closing)
        ]
    }

    proptest! {
        #[test]
        fn a_slot_gives_back_all_that_was_put_in(
            bits: u64, number in 1u16.., bucket_bits in MIN_BUCKET_BITS..=MAX_BUCKET_BITS,
            second: bool, diverged: bool, ticks: u32, class in classes(),
        ) {
            let flow = FlowId::from_bits(bits);
            let table = Geometry::new(bucket_bits).unwrap();
            let server = ServerId::new(number).unwrap();
            let now = Now::at_tick(ticks);
            let tag = table.tag(flow);
            let bucket = if second { table.other(table.first(flow), tag) } else { table.first(flow) };
            prop_assert!(bucket < table.buckets());
            let slot = Slot::fresh(server, tag, second, diverged, now).with_class(class, now);
            prop_assert_eq!(slot.server(), Some(server));
            prop_assert_eq!(slot.class(), class);
            prop_assert_eq!(slot.diverged(), diverged);
            prop_assert_eq!(slot.idle(now), 0);
            prop_assert_eq!(table.flow_of(slot, bucket), flow);
            prop_assert_eq!(slot.word() & Slot::identity_mask(), Slot::identity(tag, second));
        }

        #[test]
        fn the_two_candidates_differ_and_lead_to_each_other(bits: u64, bucket_bits in MIN_BUCKET_BITS..=MAX_BUCKET_BITS) {
            let table = Geometry::new(bucket_bits).unwrap();
            let flow = FlowId::from_bits(bits);
            let (first, tag) = (table.first(flow), table.tag(flow));
            let second = table.other(first, tag);
            prop_assert_ne!(first, second);
            prop_assert_eq!(table.other(second, tag), first);
        }

        #[test]
        fn silence_is_counted_and_the_future_is_not(ticks: u32, passed in 0u32..60, class in classes()) {
            let slot = Slot::fresh(ServerId::new(1).unwrap(), 5, false, false, Now::at_tick(ticks))
                .with_class(class, Now::at_tick(ticks));
            let idle = slot.idle(Now::at_tick(ticks.wrapping_add(passed)));
            match class {
                Class::Established | Class::HalfClosed => prop_assert!(idle <= 1),
                _ => prop_assert_eq!(u32::from(idle), passed),
            }
            prop_assert_eq!(slot.idle(Now::at_tick(ticks.wrapping_sub(1))), 0);
        }
    }

    #[test]
    fn the_nearest_shape_is_the_wanted_one_if_there_is_such() {
        for (wanted, nearest) in [
            (0, MIN_BUCKET_BITS),
            (MIN_BUCKET_BITS - 1, MIN_BUCKET_BITS),
            (MIN_BUCKET_BITS, MIN_BUCKET_BITS),
            (MIN_BUCKET_BITS + 1, MIN_BUCKET_BITS + 1),
            (MAX_BUCKET_BITS, MAX_BUCKET_BITS),
            (MAX_BUCKET_BITS + 1, MAX_BUCKET_BITS),
        ] {
            assert_eq!(Geometry::nearest(wanted).bucket_bits(), nearest, "{wanted}");
        }
    }

    #[test]
    fn ten_million_connections_fit_the_largest_table() {
        assert_eq!(Geometry::for_connections(10_000_000).unwrap().bucket_bits(), MAX_BUCKET_BITS);
        assert_eq!(Geometry::for_connections(65_536).unwrap().bucket_bits(), MIN_BUCKET_BITS);
        assert_eq!(Geometry::for_connections(12_582_913), None);
    }
}

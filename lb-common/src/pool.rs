//! Full NAT: which ports a connection may be sent from.
//!
//! The places of a flow table are the ports themselves: a slot stands where its address and port say, so that a reply finds
//! it without a search, and a client's packet in one of two buckets that its flow id names. There is no second entry.
//!
//! A port is lent to another client only when its last connection has been over for as long as the server may remember it
//! (TIME-WAIT, RFC 9293 section 3.6.1): entries that are *closing* rest until they expire. See `docs/full-nat.md`.

use crate::{
    flow_table::{BUCKET_SLOTS, Layout, Memory},
    identity::FlowId,
    lifecycle::Segment,
    net::Protocol,
    slot::{Class, Slot, TAG_BITS},
};

/// The buckets that the connections of one family are in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    first: u32,
    count: u32,
}

impl Range {
    /// `None` if there are none.
    #[must_use]
    #[inline(always)]
    pub const fn new(first: u32, count: u32) -> Option<Self> {
        if count == 0 { None } else { Some(Self { first, count }) }
    }

    #[must_use]
    pub const fn has(self, bucket: u32) -> bool {
        bucket >= self.first && bucket - self.first < self.count
    }

    /// Whether the flow would be looked for in this bucket, and if so, whether as its other choice.
    #[must_use]
    pub fn is_other_choice(self, flow: FlowId, bucket: u32) -> Option<bool> {
        let (tag, first) = (tag(flow), self.first(flow));
        // A tag of zero looks like a free place in the first bucket, where nobody looks for it.
        if bucket == first && tag != 0 {
            return Some(false);
        }
        (bucket == self.other(first, tag)).then_some(true)
    }
}

impl Layout for Range {
    #[inline(always)]
    fn bucket<M: Memory>(self, memory: &M, number: u32) -> Option<&[M::Cell; BUCKET_SLOTS]> {
        memory.leases(number)
    }

    #[inline(always)]
    fn tag(self, flow: FlowId) -> u64 {
        tag(flow)
    }

    /// By the bits that the tag has not, as far as they go: together they tell about 49 bits of the flow id.
    #[inline(always)]
    fn first(self, flow: FlowId) -> u32 {
        self.first + (((flow.bits() >> 18) * self.count as u64) >> 32) as u32
    }

    /// Another one if there are two.
    #[inline(always)]
    fn other(self, bucket: u32, tag: u64) -> u32 {
        let spread = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let steps = 1 + ((spread * (self.count as u64 - 1)) >> 32) as u32;
        let moved = bucket - self.first + steps;
        self.first + if moved >= self.count { moved - self.count } else { moved }
    }
}

/// What a slot stores of a flow.
#[must_use]
#[inline(always)]
pub const fn tag(flow: FlowId) -> u64 {
    flow.bits() & ((1 << TAG_BITS) - 1)
}

/// Whether a connection whose time is not over may lose its port to another. The server has not answered it by more than a
/// SYN-ACK, so that nothing but a handshake can be mistaken, which the newcomer then refuses by RST (RFC 9293 section
/// 3.10.7.3). UDP has no such protection.
#[must_use]
#[inline(always)]
pub const fn gives_way(slot: Slot, protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Tcp) && matches!(slot.class(), Class::New | Class::Answered)
}

/// Whether a packet without a port may be given one: it must open the connection, for nobody knows of one amid its life.
#[must_use]
#[inline(always)]
pub const fn opens(segment: Segment) -> bool {
    matches!(segment, Segment::Syn | Segment::Datagram)
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, vec, vec::Vec};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        clock::Now,
        flow_table::{Admission, FlowTable},
        identity::mix,
        slot::{Limits, ServerId},
        word::Word,
    };

    const LIMITS: Limits = Limits { new: 28, closing: 112, established: 13 };

    struct Ports(Vec<[Word; BUCKET_SLOTS]>);

    impl Ports {
        fn free(buckets: usize) -> Self {
            let mut ports = vec![];
            ports.resize_with(buckets, || core::array::from_fn(|_| Word::new(0)));
            Self(ports)
        }

        fn table(&self) -> FlowTable<'_, Self, Range> {
            FlowTable { memory: self, geometry: Range::new(0, self.0.len() as u32).unwrap() }
        }

        fn rent(&self, number: u64, now: Now) -> bool {
            let gives_way = |slot, _| gives_way(slot, Protocol::Tcp);
            let flow = FlowId::from_bits(mix(number));
            let admission =
                self.table().admit(flow, ServerId::new(1).unwrap(), false, now, LIMITS, gives_way);
            admission != Admission::Homeless
        }

        fn in_class(&self, class: Class, now: Now) {
            for word in self.0.iter().flatten() {
                if let Some(slot) = Slot::from_word(word.load()) {
                    word.store(slot.with_class(class, now).word());
                }
            }
        }
    }

    impl Memory for Ports {
        type Cell = Word;
        fn bucket(&self, _: u32) -> Option<&[Word; BUCKET_SLOTS]> {
            None
        }
        fn leases(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
            self.0.get(number as usize)
        }
    }

    proptest! {
        #[test]
        fn both_choices_are_in_the_range_and_differ(bits: u64, first in 0_u32..100_000, count in 2_u32..500_000) {
            let range = Range::new(first, count).unwrap();
            let flow = FlowId::from_bits(bits);
            let one = range.first(flow);
            let two = range.other(one, range.tag(flow));
            prop_assert!(range.has(one) && range.has(two) && one != two);
        }
    }

    #[test]
    fn three_quarters_of_the_ports_are_lent_before_one_in_a_thousand_is_refused() {
        let ports = Ports::free(8192);
        let wanted = 8192 * 8 * 3 / 4;
        let refused = (0..wanted).filter(|number| !ports.rent(*number, Now::at_tick(0))).count() as u64;
        assert!(refused * 1000 < wanted, "{refused} of {wanted}");
    }

    #[test]
    fn every_connection_finds_its_own_port() {
        let ports = Ports::free(1024);
        let all: Vec<u64> = (0..4000).filter(|number| ports.rent(*number, Now::at_tick(0))).collect();
        let place = |number: &u64| ports.table().locate(FlowId::from_bits(mix(*number))).unwrap().number();
        assert_eq!(all.iter().map(place).collect::<HashSet<_>>().len(), all.len());
    }

    #[test]
    fn where_a_connection_stands_is_where_it_would_be_looked_for() {
        let ports = Ports::free(64);
        let range = ports.table().geometry;
        for number in (0..400).filter(|number| ports.rent(*number, Now::at_tick(0))) {
            let flow = FlowId::from_bits(mix(number));
            let place = ports.table().locate(flow).unwrap();
            let is_other = ports.0[place.bucket as usize][place.index as usize].load()
                & Slot::identity_mask()
                == Slot::identity(tag(flow), true);
            assert_eq!(range.is_other_choice(flow, place.bucket), Some(is_other));
            let both = [range.first(flow), range.other(range.first(flow), tag(flow))];
            let elsewhere = (0..64).filter(|bucket| !both.contains(bucket));
            assert!(elsewhere.into_iter().all(|bucket| range.is_other_choice(flow, bucket).is_none()));
        }
        let untagged = FlowId::from_bits(5 << 40);
        assert_eq!(range.is_other_choice(untagged, range.first(untagged)), None);
        assert_eq!(range.is_other_choice(untagged, range.other(range.first(untagged), 0)), Some(true));
    }

    #[test]
    fn what_is_established_or_rests_keeps_its_port_and_what_is_new_does_not() {
        for (class, refused) in [
            (Class::Established, true),
            (Class::HalfClosed, true),
            (Class::Closing, true),
            (Class::New, false),
            (Class::Answered, false),
        ] {
            let ports = Ports::free(2);
            let rented = (0..1000).filter(|number| ports.rent(*number, Now::at_tick(0))).count();
            assert!(rented >= 16);
            ports.in_class(class, Now::at_tick(0));
            assert_eq!(!ports.rent(5000, Now::at_tick(50)), refused, "{class:?}");
        }
    }

    #[test]
    fn a_port_that_rested_long_enough_is_lent_again() {
        let ports = Ports::free(2);
        (0..1000).for_each(|number| {
            let _ = ports.rent(number, Now::at_tick(0));
        });
        ports.in_class(Class::Closing, Now::at_tick(0));
        assert!(!ports.rent(5000, Now::at_tick(112)));
        assert!(ports.rent(5000, Now::at_tick(113)));
    }
}

//! How a service gives its new connections away, and how many its servers have.

use super::{Service, SharedAddr, Then};
use crate::{
    net::{Addr, Port, Protocol, Tuple},
    slot::{Class, Geometry, Limits, ServerId, Slot},
    word::Word,
};

/// How a service picks for a packet that opens a connection: one word of its entry. The zero word is Maglev alone, and costs
/// the question.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Scheduling(u64);

/// What names the candidates.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[repr(u8)]
pub enum Scheduler {
    /// The select table, by the flow.
    #[default]
    Maglev = 0,
    /// Likewise, two of them: the one with fewer connections for its weight.
    Least = 1,
    /// The turns of the service, each CPU in its own rotation.
    Rotation = 2,
    /// The select table, by the client's address alone.
    Source = 3,
    /// The select table, at random.
    Random = 4,
}

impl Scheduling {
    const KIND: u64 = 0xff;
    /// Connections of its servers are counted.
    pub const COUNTED: u64 = 1 << 8;
    /// Clients come back to their servers: it has an entry of [`Affinity`].
    pub const AFFINITY: u64 = 1 << 9;

    #[must_use]
    pub const fn new(scheduler: Scheduler, flags: u64) -> Self {
        Self(scheduler as u64 | flags & !Self::KIND)
    }

    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        self.0
    }

    #[must_use]
    #[inline(always)]
    pub const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// Whether it is this one.
    #[must_use]
    #[inline(always)]
    pub const fn is(self, scheduler: Scheduler) -> bool {
        self.0 & Self::KIND == scheduler as u64
    }
}

/// How many connections somebody has, as far as it is known: what the agent's last walk found, and what has begun since that
/// walk began. So it errs upwards only: by what began amid the walk and was found by it, and by what has ended since.
///
/// Entry of `loads`, by server id; and a part of each service's, for all of its servers together.
#[repr(C)]
#[derive(Debug)]
pub struct Load {
    /// What the walk found, less `begun` as it was when the walk began, modulo 2^64: one word, so that both change at once.
    pub base: Word,
    /// Connections ever begun. The data path adds.
    pub begun: Word,
    /// More it does not take; 0: no limit.
    pub most: Word,
    /// Of the select table; of a service, the sum.
    pub weight: Word,
    /// Whose entry counts for it: a server has an id in each lane of its service, and is one server.
    pub home: Word,
}

impl Load {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            base: Word::new(0),
            begun: Word::new(0),
            most: Word::new(0),
            weight: Word::new(0),
            home: Word::new(0),
        }
    }

    /// Connections it has now.
    #[must_use]
    #[inline(always)]
    pub fn now(&self) -> u64 {
        let sum = self.base.load().wrapping_add(self.begun.load());
        // No more than there may be connections: a base from before a restart of the counts is no load.
        if sum >> 32 == 0 { sum } else { 0 }
    }

    /// A walk that began when so many had begun found so many.
    pub fn publish(&self, found: u64, begun: u64) {
        self.base.store(found.wrapping_sub(begun));
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

/// Whose clients come back to their servers, and for how long: entry of `affinities`, by service number.
#[repr(C)]
#[derive(Debug)]
pub struct Affinity {
    /// The bits of an IPv4 client (in its mapped form) that make a source.
    pub mask_v4: SharedAddr,
    /// Likewise of an IPv6 client.
    pub mask_v6: SharedAddr,
    /// The hash of the group's name: all services of a group have the same.
    pub group: Word,
    /// [`Terms`].
    pub terms: Word,
    /// How many bits of a flow id number the bucket.
    pub bucket_bits: Word,
    /// Silence after which a seat of any group is over: fine ticks (lowest byte) and coarse ones.
    pub longest: Word,
}

/// How long a seat is kept, and what becomes of it when its server fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// Ticks of silence, at most 127.
    pub ticks: u8,
    /// Coarse ones.
    pub coarse: bool,
    /// When its server fails its check.
    pub on_down: Then,
}

impl Terms {
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { ticks: word as u8, coarse: word & 0x100 != 0, on_down: Then::from_bits(word >> 16) }
    }

    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.ticks as u64 | (self.coarse as u64) << 8 | self.on_down.bits() << 16
    }

    /// A seat is a slot of a flow table: of a class that counts its age in these ticks.
    #[must_use]
    #[inline(always)]
    pub const fn class(self) -> Class {
        if self.coarse { Class::Established } else { Class::Closing }
    }

    /// Whether a seat that was last taken so many ticks of its class ago is over. One that was taken under other terms counts
    /// in its own ticks.
    #[must_use]
    #[inline(always)]
    pub const fn are_over(self, slot: Slot, now: crate::clock::Now) -> bool {
        slot.idle(now) > self.ticks
    }
}

impl Affinity {
    /// Who a client is to a group, as a tuple of which the flow id is the key. It carries the group's name, half of it where
    /// [`Caller`](super::Caller) notes it.
    #[must_use]
    #[inline(always)]
    pub fn seat_of(&self, client: Addr) -> Tuple {
        let mask = if client.as_v4().is_some() { self.mask_v4.load() } else { self.mask_v6.load() };
        Self::key(client & mask, self.group.load())
    }

    /// The same of a client that is masked already.
    #[must_use]
    #[inline(always)]
    pub const fn key(client: Addr, group: u64) -> Tuple {
        Tuple {
            client,
            vip: Addr::v4(((group >> 32) as u32).to_ne_bytes()),
            client_port: Port::from_raw(group as u16),
            vip_port: Port::from_raw((group >> 16) as u16),
            protocol: Protocol::Udp,
        }
    }

    #[must_use]
    #[inline(always)]
    pub fn geometry(&self) -> Geometry {
        Geometry::nearest(self.bucket_bits.load() as u32)
    }

    /// When seats of any group are over.
    #[must_use]
    #[inline(always)]
    pub fn limits(&self) -> Limits {
        let word = self.longest.load();
        Limits { new: 0, closing: word as u8, established: (word >> 8) as u8 }
    }
}

/// Key of `members`: a service, and a server by the number that another service of its group has for it.
#[must_use]
#[inline(always)]
pub const fn member_key(service: u16, named: ServerId) -> u64 {
    (service as u64) << 16 | named.get() as u64
}

impl Service {
    #[must_use]
    #[inline(always)]
    pub fn scheduling(&self) -> Scheduling {
        Scheduling::from_word(self.scheduling.load())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn terms_are_their_word(ticks in 0u8..128, coarse: bool, on_down in 0usize..3) {
            let on_down = [Then::Rehash, Then::Reset, Then::Keep][on_down];
            let terms = Terms { ticks, coarse, on_down };
            prop_assert_eq!(Terms::from_word(terms.to_word()), terms);
        }

        #[test]
        fn a_load_is_what_was_found_and_what_began_since(before in 0u64..1 << 60, amid in 0u64..1000, since in 0u64..1000, found in 0u64..1000) {
            let load = Load::new();
            load.begun.store(before);
            (0..amid).for_each(|_| load.begun.increment());
            load.publish(found, before);
            (0..since).for_each(|_| load.begun.increment());
            prop_assert_eq!(load.now(), found + amid + since);
        }
    }
}

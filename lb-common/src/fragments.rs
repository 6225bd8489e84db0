//! Where the first fragment of a datagram went, for those that follow it and have no ports.
//!
//! A note is one word in a set of eight, so that nothing is ever torn and no lock is needed. It may be lost: the datagram is,
//! too, then. The keyed hash of what a datagram's fragments have in common gives the set (top bits) and the tag.

use crate::{
    clock::Now,
    identity::{FLOW_ID_BITS, FlowId},
    net::{Addr, Port, Protocol, Tuple},
    slot::ServerId,
    word::{Word, opaque, veiled},
};

/// Notes in a set: one cache line.
pub const SET_NOTES: usize = 8;
const SET_BITS: u32 = 12;
/// Sets: 32,768 datagrams may be under way.
pub const SETS: u32 = 1 << SET_BITS;
/// Fine ticks that a note is good for: 30 s, as long as Linux waits for the rest (`ipfrag_time`).
pub const LIFE: u64 = 28;

/// ```text
///  63      48  47   46     38 37      0
/// +----------+-----+---------+---------+
/// |  server  |reply|  tick   |   tag   |
/// +----------+-----+---------+---------+
/// ```
const TAG: u64 = (1 << (FLOW_ID_BITS - SET_BITS)) - 1;
const TICK_SHIFT: u32 = FLOW_ID_BITS - SET_BITS;
const TICKS: u64 = 0x1ff;
const REPLY: u64 = 1 << 47;
const SERVER_SHIFT: u32 = 48;
/// Ticks by which another CPU may have been ahead.
const AHEAD: u64 = 8;

/// Which way a datagram goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heading {
    ToServer,
    ToClient,
}

/// What a note says, in one word; 0: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note(u64);

impl Note {
    /// Nothing is known.
    pub const NONE: Self = Self(0);

    /// For a subprogram to take.
    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// What [`word`](Self::word) gave.
    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    #[must_use]
    #[inline(always)]
    pub const fn new(server: ServerId, heading: Heading) -> Self {
        let reply = match heading {
            Heading::ToServer => 0,
            Heading::ToClient => REPLY,
        };
        Self((server.get() as u64) << SERVER_SHIFT | reply)
    }

    /// The server, if the note is of a datagram that goes this way.
    #[must_use]
    #[inline(always)]
    pub const fn server(self, heading: Heading) -> Option<ServerId> {
        let reply = matches!(heading, Heading::ToClient);
        if (self.0 & REPLY != 0) == reply { ServerId::new((self.0 >> SERVER_SHIFT) as u16) } else { None }
    }
}

/// What the fragments of one datagram have in common (RFC 791 section 3.2, RFC 8200 section 4.5: there without the
/// protocol), in the form in which it is hashed.
#[must_use]
#[inline(always)]
pub const fn datagram(source: Addr, destination: Addr, protocol: Option<Protocol>, id: u32) -> Tuple {
    let protocol = match protocol {
        Some(protocol) => protocol,
        None => Protocol::Udp,
    };
    Tuple {
        client: source,
        vip: destination,
        client_port: Port::from_raw(id as u16),
        vip_port: Port::from_raw((id >> 16) as u16),
        protocol,
    }
}

/// The set of a datagram with this hash.
#[must_use]
#[inline(always)]
pub const fn set_of(hash: FlowId) -> u32 {
    (hash.bits() >> TICK_SHIFT) as u32
}

/// Writes a note: over the datagram's own, into a free or expired place, or over the oldest.
#[inline(always)]
pub fn write(set: &[Word; SET_NOTES], hash: FlowId, note: Note, now: Now) {
    let mut best = veiled(0, hash.bits());
    for (i, word) in set.iter().enumerate() {
        let held = word.load();
        // Its own before all, then the free, then by age. As arithmetic: a branch for each would double the verifier's ways.
        let own = opaque((held ^ hash.bits()) & TAG).wrapping_sub(1) >> 63;
        let free = opaque(held >> SERVER_SHIFT).wrapping_sub(1) >> 63;
        let order = (own << 11 | free << 10 | age(held, now)) << 3 | i as u64;
        best = veiled(best.max(order), hash.bits());
    }
    let tick = (now.ticks() & TICKS) << TICK_SHIFT;
    set[best as usize % SET_NOTES].store(note.0 | tick | hash.bits() & TAG);
}

/// The note of this datagram, if there is one that is not too old.
#[must_use]
#[inline(always)]
pub fn read(set: &[Word; SET_NOTES], hash: FlowId, now: Now) -> Note {
    let mut found = veiled(0, hash.bits());
    for word in set {
        let held = word.load();
        let own = opaque((held ^ hash.bits()) & TAG).wrapping_sub(1) >> 63;
        let young = opaque(age(held, now).wrapping_sub(LIFE + AHEAD + 1)) >> 63;
        found = veiled(found | held & (own & young).wrapping_neg(), hash.bits());
    }
    Note(found)
}

/// Ticks since it was written, and [`AHEAD`].
#[inline(always)]
const fn age(held: u64, now: Now) -> u64 {
    (now.ticks() + AHEAD).wrapping_sub(held >> TICK_SHIFT) & TICKS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> [Word; SET_NOTES] {
        [const { Word::new(0) }; SET_NOTES]
    }

    fn server(number: u16) -> ServerId {
        ServerId::new(number).unwrap()
    }

    fn note(number: u16) -> Note {
        Note::new(server(number), Heading::ToServer)
    }

    fn found(set: &[Word; SET_NOTES], hash: u64, tick: u32) -> Option<u16> {
        let note = read(set, FlowId::from_bits(hash), Now::at_tick(tick));
        note.server(Heading::ToServer).map(ServerId::get)
    }

    fn put(set: &[Word; SET_NOTES], hash: u64, number: u16, tick: u32) {
        write(set, FlowId::from_bits(hash), note(number), Now::at_tick(tick));
    }

    #[test]
    fn a_note_is_found_for_as_long_as_it_is_good() {
        for tick in [0, 5, 500, 511, 512, u32::MAX - 3] {
            let set = set();
            put(&set, 0x1234, 0xffff, tick);
            for later in 0..=LIFE as u32 {
                assert_eq!(found(&set, 0x1234, tick.wrapping_add(later)), Some(0xffff));
            }
            assert_eq!(found(&set, 0x1234, tick.wrapping_add(LIFE as u32 + 1)), None);
            assert_eq!(found(&set, 0x1234, tick.wrapping_sub(1)), Some(0xffff), "another CPU was ahead");
            assert_eq!(found(&set, 0x1235, tick), None);
        }
    }

    #[test]
    fn a_note_says_the_way() {
        let reply = Note::new(server(7), Heading::ToClient);
        assert_eq!(
            (reply.server(Heading::ToClient), reply.server(Heading::ToServer)),
            (Some(server(7)), None)
        );
        assert_eq!(
            (note(7).server(Heading::ToClient), note(7).server(Heading::ToServer)),
            (None, Some(server(7)))
        );
        assert_eq!(Note(0).server(Heading::ToServer), None);
    }

    #[test]
    fn a_datagram_has_one_note_and_the_last_is_right() {
        let set = set();
        for number in 1..100 {
            put(&set, 9, number, u32::from(number));
            assert_eq!(found(&set, 9, u32::from(number)), Some(number));
        }
        assert_eq!(set.iter().filter(|word| word.load() != 0).count(), 1);
    }

    #[test]
    fn in_a_full_set_the_oldest_gives_way() {
        let set = set();
        for i in 0..8 {
            put(&set, 100 + i, 1, 40 + i as u32);
        }
        assert!((0..8).all(|i| found(&set, 100 + i, 47).is_some()));
        put(&set, 200, 2, 48);
        assert_eq!(found(&set, 100, 48), None);
        assert_eq!(found(&set, 200, 48), Some(2));
        assert!((1..8).all(|i| found(&set, 100 + i, 48).is_some()));
    }

    #[test]
    fn a_tag_of_zero_is_no_free_place() {
        let set = set();
        assert_eq!(found(&set, 0, 3), None);
        put(&set, 0, 3, 3);
        assert_eq!(found(&set, 0, 3), Some(3));
    }
}

//! So much a second: the generic cell rate algorithm (ITU-T I.371, annex A), which is a token bucket in one number.
//!
//! A cell holds the moment at which its bucket will be full again, so its *debt* is how far that lies ahead. Each packet
//! adds the time that the rate gives it; who would owe more than a second is refused, and a refusal writes nothing. A
//! bucket holds a second's worth: so many may come at once, and over any time no more than that and the rate.
//!
//! ```text
//!  63         40 39                        0
//! +-------------+---------------------------+
//! |     tag     | full again, in 64 ns      |
//! +-------------+---------------------------+
//! ```
//! A debt that is paid is no debt: a cell that is not in debt says the same as none, so cells are taken over freely. In a set
//! all of whose cells are in debt, the smallest debt is forgotten: with more busy sources than places, the least guilty may
//! have a little more than their share, but nobody ever pays for others, unless tag and set agree (once in 2^24 sources of
//! the set).

use crate::word::Word;

/// Cells in which a source may stand: one cache line.
pub const WAYS: usize = 8;
/// The units of a second.
pub const SECOND: u64 = 1_000_000_000 >> UNIT_SHIFT;
/// The highest rate: beyond it the unit is too coarse.
pub const MOST_PER_SECOND: u32 = 1_000_000;

const UNIT_SHIFT: u32 = 6;
const MOMENT_BITS: u32 = 40;
const MOMENT: u64 = (1 << MOMENT_BITS) - 1;
/// Compare-exchanges before a cell that others keep changing counts as used up.
const TRIES: u32 = 4;

/// The time that one packet takes at so many a second, rounded to the nearest unit; 0 for no limit.
#[must_use]
pub const fn interval(per_second: u32) -> u64 {
    if per_second == 0 { 0 } else { (SECOND + per_second as u64 / 2) / per_second as u64 }
}

/// How far a cell's bucket is from being full. No cell is ever more than two seconds ahead: one that seems to be has wrapped
/// around (19 hours), and owes nothing.
#[inline(always)]
const fn debt(cell: u64, now: u64) -> u64 {
    let ahead = cell.wrapping_sub(now) & MOMENT;
    if ahead > 2 * SECOND { 0 } else { ahead }
}

/// What whoever has this tag owes by this cell, which may be somebody else's.
#[inline(always)]
const fn owed(cell: u64, tag: u64, now: u64) -> u64 {
    if cell >> MOMENT_BITS == tag { debt(cell, now) } else { 0 }
}

/// What [`take`] would say, and nothing is taken.
#[inline(always)]
pub fn has_left(cell: &Word, tag: u64, interval: u64, machine_ns: u64) -> bool {
    owed(cell.load(), tag, machine_ns >> UNIT_SHIFT) + interval <= SECOND
}

/// Takes one packet's time from the cell of whoever has this tag; says whether there was any left. The cell may have been
/// somebody else's. `machine_ns` is the machine's monotonic clock.
#[inline(always)]
pub fn take(cell: &Word, tag: u64, interval: u64, machine_ns: u64) -> bool {
    let now = machine_ns >> UNIT_SHIFT;
    for _ in 0..TRIES {
        let seen = cell.load();
        let owed = owed(seen, tag, now);
        if owed + interval > SECOND {
            return false;
        }
        if cell.replace(seen, tag << MOMENT_BITS | (now + owed + interval) & MOMENT) {
            return true;
        }
    }
    false
}

/// The place in the set of whoever has this tag, or the one whose loss matters least.
#[inline(always)]
#[must_use]
pub fn place(set: &[Word; WAYS], tag: u64, machine_ns: u64) -> usize {
    let now = machine_ns >> UNIT_SHIFT;
    let (mut place, mut least) = (0, u64::MAX);
    for (i, cell) in set.iter().enumerate() {
        let seen = cell.load();
        // Its own cell comes before all that are not in debt.
        let rank = if seen >> MOMENT_BITS == tag { 0 } else { 1 + debt(seen, now) };
        if rank < least {
            least = rank;
            place = i;
        }
    }
    place
}

/// The set and the tag of a source, by its flow id among so many sets (a power of two, up to 2^26).
#[inline(always)]
#[must_use]
pub const fn seat(flow: u64, set_mask: u64) -> (u32, u64) {
    ((flow >> 24 & set_mask) as u32, flow & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    /// Any moment, near a wrap of the forty bits.
    const START: u64 = (MOMENT << UNIT_SHIFT) - SECOND_NS / 2;

    fn taken(cell: &Word, rate: u32, times: usize, at: u64) -> usize {
        (0..times).filter(|_| take(cell, 7, interval(rate), at)).count()
    }

    #[test]
    fn a_seconds_worth_at_once_and_then_the_rate() {
        for rate in [1, 3, 10, 1000] {
            let cell = Word::new(0);
            assert_eq!(taken(&cell, rate, 3 * rate as usize, START), rate as usize);
            let later = taken(&cell, rate, 3 * rate as usize, START + SECOND_NS);
            assert_eq!(later, rate as usize, "a full bucket holds no more than a second");
            assert_eq!(taken(&cell, rate, 3 * rate as usize, START + 100 * SECOND_NS), rate as usize);
        }
    }

    #[test]
    fn half_a_second_gives_half_of_it() {
        let cell = Word::new(0);
        assert_eq!(taken(&cell, 1000, 5000, START), 1000);
        let later = taken(&cell, 1000, 5000, START + SECOND_NS / 2);
        assert!((499..=501).contains(&later), "{later}");
    }

    #[test]
    fn who_only_asks_is_not_charged() {
        let cell = Word::new(0);
        let asked = || has_left(&cell, 7, interval(2), START);
        assert!((0..10).all(|_| asked()));
        assert_eq!(taken(&cell, 2, 1, START), 1);
        assert!((0..10).all(|_| asked()));
        assert_eq!(taken(&cell, 2, 10, START), 1);
        assert!(!asked());
        assert!(has_left(&cell, 8, interval(2), START), "another's debt is not its own");
    }

    #[test]
    fn who_is_refused_is_not_charged() {
        let cell = Word::new(0);
        assert_eq!(taken(&cell, 2, 1000, START), 2);
        assert_eq!(taken(&cell, 2, 1, START + SECOND_NS / 2 + 1000), 1);
    }

    #[test]
    fn a_cell_from_before_a_wrap_owes_nothing() {
        let cell = Word::new(0);
        assert_eq!(taken(&cell, 5, 100, START), 5);
        // Ten of nineteen hours later the stored moment seems to lie ahead.
        assert_eq!(taken(&cell, 5, 100, START + 10 * 3600 * SECOND_NS), 5);
    }

    #[test]
    fn the_highest_rate_is_met_within_four_per_cent() {
        let cell = Word::new(0);
        let taken = taken(&cell, MOST_PER_SECOND, 2_000_000, START) as u32;
        assert!(taken.abs_diff(MOST_PER_SECOND) <= MOST_PER_SECOND / 25, "{taken}");
    }

    /// A table of sets as the data path has it.
    struct Sources(Vec<[Word; WAYS]>);

    impl Sources {
        fn new(sets: usize) -> Self {
            Self((0..sets).map(|_| [const { Word::new(0) }; WAYS]).collect())
        }

        fn take(&self, source: u64, rate: u32, at: u64) -> bool {
            let (set, tag) = seat(crate::identity::mix(source) >> 14, self.0.len() as u64 - 1);
            let set = &self.0[set as usize];
            take(&set[place(set, tag, at)], tag, interval(rate), at)
        }
    }

    #[test]
    fn a_flood_of_other_sources_neither_frees_the_guilty_nor_harms_the_innocent() {
        let sources = Sources::new(1024);
        let (mut guilty, mut innocent) = (0, 0);
        // Ten seconds: each millisecond ten packets of one source, and 200 of sources never seen again; a neighbour sends
        // eight a second, two below the limit.
        for ms in 0..10_000 {
            let at = START + ms * 1_000_000;
            guilty += (0..10).filter(|_| sources.take(1, 10, at)).count();
            for other in 0..200 {
                sources.take(1_000_000 + ms * 200 + other, 10, at);
            }
            if ms % 125 == 0 {
                innocent += usize::from(!sources.take(2, 10, at));
            }
        }
        assert_eq!(innocent, 0, "refusals of the neighbour");
        assert!((100..=115).contains(&guilty), "{guilty} instead of 10 + 10 x 10");
    }

    proptest! {
        #[test]
        fn nobody_has_more_than_a_second_and_the_rate(
            rate in 1u32..2000,
            gaps in proptest::collection::vec(0u64..3_000_000, 1..2000),
        ) {
            let cell = Word::new(0);
            let (mut at, mut taken) = (START, 0u64);
            for gap in gaps {
                at += gap;
                taken += u64::from(take(&cell, 7, interval(rate), at));
                let most = u64::from(rate) + (at - START) * u64::from(rate) / (SECOND_NS - 1000) + 1;
                prop_assert!(taken <= most, "{taken} of {most}");
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(rate in 1u32..10_000, count in 1u64..2000) {
            let cell = Word::new(0);
            let each = SECOND_NS.div_ceil(u64::from(rate)) + 64;
            for i in 0..count {
                prop_assert!(take(&cell, 7, interval(rate), START + i * each));
            }
        }
    }
}

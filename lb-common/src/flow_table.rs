//! The connection table: buckets of eight words, one cache line each, two candidate buckets a flow.
//!
//! Generic over the memory, so that program, agent and tests (with model-checked cells) run the same code.
//!
//! Invariants: inserts, moves and refreshes are compare-exchanges on the word that was seen, so that none destroys what
//! another CPU has just written (`interleavings`); the agent clears, and admits what other directors tell of seats, likewise. No packet evicts a connection that is established
//! and would not be found again by the miss table.

use crate::{
    clock::Now,
    identity::FlowId,
    slot::{Class, Geometry, Limits, ServerId, Slot},
    word::{Word, opaque, veiled},
};

/// Slots in a bucket: 64 bytes.
pub const BUCKET_SLOTS: usize = 8;

/// A shared word. [`Word`] in maps; a model checker's atomic in tests.
pub trait Cell {
    fn load(&self) -> u64;
    /// Compare-exchange: says whether the word still was `seen`.
    fn replace(&self, seen: u64, new: u64) -> bool;
}

impl Cell for Word {
    #[inline(always)]
    fn load(&self) -> u64 {
        Self::load(self)
    }
    #[inline(always)]
    fn replace(&self, seen: u64, new: u64) -> bool {
        Self::replace(self, seen, new)
    }
}

/// The maps' buckets.
pub trait Memory {
    type Cell: Cell;
    /// `None` if the map has no such bucket.
    fn bucket(&self, number: u32) -> Option<&[Self::Cell; BUCKET_SLOTS]>;
    /// Of the table whose places are the ports of full NAT ([`pool`](crate::pool)); likewise.
    fn leases(&self, _number: u32) -> Option<&[Self::Cell; BUCKET_SLOTS]> {
        None
    }
    /// Of the table that says which client comes back to which server; likewise.
    fn seats(&self, _number: u32) -> Option<&[Self::Cell; BUCKET_SLOTS]> {
        None
    }
    /// Of the table of connections that other directors hold ([`Replicas`]); likewise.
    fn replicas(&self, _number: u32) -> Option<&[Self::Cell; BUCKET_SLOTS]> {
        None
    }
}

/// Which table it is, and where in it a flow belongs.
pub trait Layout: Copy {
    fn bucket<M: Memory>(self, memory: &M, number: u32) -> Option<&[M::Cell; BUCKET_SLOTS]>;
    /// What a slot stores of the flow.
    fn tag(self, flow: FlowId) -> u64;
    /// The bucket of its first choice.
    fn first(self, flow: FlowId) -> u32;
    /// The other one, of a flow with this tag.
    fn other(self, bucket: u32, tag: u64) -> u32;
}

/// The connection table's own.
impl Layout for Geometry {
    #[inline(always)]
    fn bucket<M: Memory>(self, memory: &M, number: u32) -> Option<&[M::Cell; BUCKET_SLOTS]> {
        memory.bucket(number)
    }
    #[inline(always)]
    fn tag(self, flow: FlowId) -> u64 {
        Self::tag(self, flow)
    }
    #[inline(always)]
    fn first(self, flow: FlowId) -> u32 {
        Self::first(self, flow)
    }
    #[inline(always)]
    fn other(self, bucket: u32, tag: u64) -> u32 {
        Self::other(self, bucket, tag)
    }
}

/// The table of who comes back to which server, of this shape.
#[derive(Clone, Copy, Debug)]
pub struct Seats(pub Geometry);

impl Layout for Seats {
    #[inline(always)]
    fn bucket<M: Memory>(self, memory: &M, number: u32) -> Option<&[M::Cell; BUCKET_SLOTS]> {
        memory.seats(number)
    }
    #[inline(always)]
    fn tag(self, flow: FlowId) -> u64 {
        self.0.tag(flow)
    }
    #[inline(always)]
    fn first(self, flow: FlowId) -> u32 {
        self.0.first(flow)
    }
    #[inline(always)]
    fn other(self, bucket: u32, tag: u64) -> u32 {
        self.0.other(bucket, tag)
    }
}

/// A table of this shape in this memory.
#[derive(Debug)]
pub struct FlowTable<'m, M, L = Geometry> {
    pub memory: &'m M,
    pub geometry: L,
}

/// A place in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    pub bucket: u32,
    pub index: u32,
}

impl Place {
    /// Bucket and index as one number, below 2^35.
    #[must_use]
    #[inline(always)]
    pub const fn to_word(self) -> u64 {
        (self.bucket as u64) << 3 | self.index as u64
    }

    /// Its number among all slots, by which parallel arrays are indexed.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.bucket * BUCKET_SLOTS as u32 + self.index
    }

    #[must_use]
    pub const fn of_number(number: u32) -> Self {
        Self { bucket: number / BUCKET_SLOTS as u32, index: number % BUCKET_SLOTS as u32 }
    }

    #[must_use]
    #[inline(always)]
    pub const fn from_word(word: u64) -> Self {
        Self { bucket: (word >> 3) as u32, index: word as u32 % BUCKET_SLOTS as u32 }
    }
}

/// A connection that was found, and its cell.
#[derive(Debug)]
pub struct Entry<'m, C> {
    cell: &'m C,
    slot: Slot,
}

/// What became of a connection that wanted a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It has this one, which was free, or whose entry had expired.
    Stored(Place),
    /// It took this one from an entry of this class.
    Evicted(Class, Place),
    /// No place: it is forwarded by the miss table, like its next packets.
    Homeless,
}

impl Admission {
    #[must_use]
    #[inline(always)]
    pub const fn place(self) -> Option<Place> {
        match self {
            Self::Stored(place) | Self::Evicted(_, place) => Some(place),
            Self::Homeless => None,
        }
    }
}

impl<'m, M: Memory, L: Layout> FlowTable<'m, M, L> {
    /// The flow's entry, in either candidate bucket.
    #[inline(always)]
    pub fn find(&self, flow: FlowId) -> Option<Entry<'m, M::Cell>> {
        let (_, cell) = self.search(flow)?;
        Slot::from_word(cell.load()).map(|slot| Entry { cell, slot })
    }

    /// Where the flow's entry stands.
    #[inline(always)]
    pub fn locate(&self, flow: FlowId) -> Option<Place> {
        self.search(flow).map(|(place, _)| place)
    }

    #[inline(always)]
    fn search(&self, flow: FlowId) -> Option<(Place, &'m M::Cell)> {
        let tag = self.geometry.tag(flow);
        let mut number = self.geometry.first(flow);
        let mut bucket = self.geometry.bucket(self.memory, number)?;
        let mut index = position(bucket, Slot::identity(tag, false));
        if index == NOWHERE || tag == 0 {
            number = self.geometry.other(number, tag);
            bucket = self.geometry.bucket(self.memory, number)?;
            index = position(bucket, Slot::identity(tag, true));
        }
        if index == NOWHERE {
            return None;
        }
        Some((Place { bucket: number, index: index as u32 }, &bucket[index % BUCKET_SLOTS]))
    }

    /// The entry that stands there now, whosever it is.
    #[inline(always)]
    pub fn at(&self, place: Place) -> Option<Entry<'m, M::Cell>> {
        let cell = &self.geometry.bucket(self.memory, place.bucket)?[place.index as usize % BUCKET_SLOTS];
        Slot::from_word(cell.load()).map(|slot| Entry { cell, slot })
    }

    /// Gives the flow a place if there is a free one or one whose holder must give way: expired, then *new*, then
    /// *closing*, then the longest idle *established* one, never a *diverged* one; and none for which `gives_way` does not
    /// hold, which is told the bucket it stands in. Ties go at random, by bits of the newcomer's keyed id.
    #[inline(always)]
    pub fn admit(
        &self,
        flow: FlowId,
        server: ServerId,
        diverged: bool,
        now: Now,
        limits: Limits,
        gives_way: impl Fn(Slot, u32) -> bool,
    ) -> Admission {
        let tag = self.geometry.tag(flow);
        let first = self.geometry.first(flow);
        let second = self.geometry.other(first, tag);
        let bucket = |number| self.geometry.bucket(self.memory, number);
        let (Some(near), Some(far)) = (bucket(first), bucket(second)) else {
            return Admission::Homeless;
        };

        let (room_near, room_far) = (vacancies(near), vacancies(far));
        let to_near = takes_near(tag, room_near, room_far);
        let (bucket, number, room) = if to_near { (near, first, room_near) } else { (far, second, room_far) };
        let newcomer = Slot::fresh(server, tag, !to_near, diverged, now);
        if room != 0 {
            let mut index = lowest(room);
            if !bucket[index].replace(0, newcomer.word()) {
                // Another CPU was faster: once more, with what is left.
                let left = vacancies(bucket);
                index = lowest(left);
                if left == 0 || !bucket[index].replace(0, newcomer.word()) {
                    return Admission::Homeless;
                }
            }
            return Admission::Stored(Place { bucket: number, index: index as u32 });
        }
        // No vacancy in the chosen bucket: none in the other either.
        let yields = Yields::at(now, limits);
        let near_weakest = if tag == 0 { u64::MAX } else { yields.weakest(near, 0, flow) };
        let weakest = near_weakest.min(yields.weakest(far, Yields::FAR, flow));
        if Yields::rank(weakest) >= Rank::Never as u64 {
            return Admission::Homeless;
        }
        let in_far = weakest & Yields::FAR != 0;
        let (bucket, number) = if in_far { (far, second) } else { (near, first) };
        let index = (weakest & Yields::INDEX) as usize % BUCKET_SLOTS;
        let cell = &bucket[index];
        let word = cell.load();
        let Some(victim) = Slot::from_word(word) else { return Admission::Homeless };
        // Between the comparison and now it may have been refreshed or replaced: it is judged again as it is.
        let rank = Yields::rank(yields.order(word));
        if rank > Yields::rank(weakest) {
            return Admission::Homeless;
        }
        if rank != Rank::Expired as u64 && !gives_way(victim, number) {
            return Admission::Homeless;
        }
        let newcomer = Slot::fresh(server, tag, in_far, diverged, now);
        if !cell.replace(word, newcomer.word()) {
            return Admission::Homeless;
        }
        let place = Place { bucket: number, index: index as u32 };
        if rank == Rank::Expired as u64 {
            Admission::Stored(place)
        } else {
            Admission::Evicted(victim.class(), place)
        }
    }
}

impl<C: Cell> Entry<'_, C> {
    #[must_use]
    #[inline(always)]
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Records that the connection was seen now, in this class. Writes only if the word changes by it: at most once a
    /// tick of its class; says whether it did.
    #[inline(always)]
    pub fn refresh(&self, class: Class, now: Now) -> bool {
        let fresh = self.slot.with_class(class, now);
        if fresh == self.slot {
            return false;
        }
        // Whoever has taken the place or moved the connection since then is not written over. If the agent has just
        // cleared it as expired, it comes back.
        self.cell.replace(self.slot.word(), fresh.word()) || self.cell.replace(0, fresh.word())
    }

    /// Gives the connection to another server, as a new one. False if the entry changed meanwhile.
    #[inline(always)]
    pub fn move_to(&self, server: ServerId, diverged: bool, now: Now) -> bool {
        self.cell.replace(self.slot.word(), self.slot.moved_to(server, diverged, now).word())
    }
}

/// No place in a bucket.
const NOWHERE: usize = BUCKET_SLOTS;

/// Where in a bucket the flow's identity stands, or [`NOWHERE`]. Lower halves first, which are nearly always different.
#[inline(always)]
fn position<C: Cell>(bucket: &[C; BUCKET_SLOTS], wanted: u64) -> usize {
    let mut places = zeros(bucket, |word| u64::from(word as u32 ^ wanted as u32));
    if places == 0 {
        return NOWHERE;
    }
    let index = lowest(places);
    if Slot::has_identity(bucket[index].load(), wanted) {
        return index;
    }
    places = zeros(bucket, |word| (word ^ wanted) & Slot::identity_mask());
    if places == 0 { NOWHERE } else { lowest(places) }
}

/// Where in a bucket this is zero (and below 2^63 elsewhere), as one bit a place, without a branch: the verifier need not follow
/// nine ways out of each search, and the CPU cannot guess wrongly among them.
#[inline(always)]
fn zeros<C: Cell>(bucket: &[C; BUCKET_SLOTS], of: impl Fn(u64) -> u64) -> u64 {
    let mut places = 0;
    for (i, cell) in bucket.iter().enumerate() {
        places |= (opaque(of(cell.load())).wrapping_sub(1) >> 63) << i;
    }
    places
}

/// The number of the lowest of these places. One of eight bits, by a de Bruijn sequence.
#[inline(always)]
fn lowest(places: u64) -> usize {
    const SEQUENCE: u64 = 0x1d;
    const PLACE_OF: u64 = 0x3457_2610;
    let bit = places & places.wrapping_neg();
    (PLACE_OF >> ((bit.wrapping_mul(SEQUENCE) >> 5 & 7) * 4)) as usize % BUCKET_SLOTS
}

/// The free places. Whoever is somebody has a server, in the upper bits.
#[inline(always)]
fn vacancies<C: Cell>(bucket: &[C; BUCKET_SLOTS]) -> u64 {
    zeros(bucket, |word| word >> Slot::SERVER_SHIFT)
}

/// Whether a newcomer with this tag goes to its first choice, given the free places of both: while that is half empty (its line
/// is warm), else to the emptier of the two. Always taking the first that has room leaves 1 % homeless at three quarters full,
/// this under 0.01 %. A tag of zero would look like a free place in the first bucket, so such a flow (one in 2^29) lives in its
/// second.
#[inline(always)]
const fn takes_near(tag: u64, room_near: u64, room_far: u64) -> bool {
    tag != 0 && (count(room_near) >= 4 || count(room_near) >= count(room_far))
}

#[inline(always)]
const fn count(places: u64) -> u64 {
    let pairs = places - ((places >> 1) & 0x55);
    let nibbles = (pairs & 0x33) + ((pairs >> 2) & 0x33);
    (nibbles + (nibbles >> 4)) & 0x0f
}

/// Who gives way first. The numbers stand in [`Yields`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "the middle ranks are only computed, as numbers"))]
enum Rank {
    Expired,
    New,
    Closing,
    Established,
    Never,
}

/// The order in which entries give way, as arithmetic on packed bytes, one for each class number: new, established,
/// half-closed, closing. Branches would cost the verifier five ways for each of sixteen entries.
#[derive(Clone, Copy)]
struct Yields {
    now: u64,
    limits: u64,
}

impl Yields {
    const FAR: u64 = 8;
    const INDEX: u64 = 7;
    const RANK_SHIFT: u32 = 16;
    const MASKS: u64 = 0xff_ff_ff_7f;
    const WIDTHS: u64 = 0x08_08_08_07;
    const RANKS: u64 = 0x02_03_03_01;
    const SETTLED: u64 = 0x00_01_01_00;

    #[inline(always)]
    const fn at(now: Now, limits: Limits) -> Self {
        let (new, established, closing) =
            (limits.new as u64, limits.established as u64, limits.closing as u64);
        Self {
            now: now.fine7() as u64
                | (now.coarse() as u64) << 8
                | (now.coarse() as u64) << 16
                | (now.fine() as u64) << 24,
            limits: new | established << 8 | established << 16 | closing << 24,
        }
    }

    /// Of an occupied slot: rank above idleness (the longer, the lower).
    #[inline(always)]
    fn order(self, word: u64) -> u64 {
        let (class, age, diverged) = Slot::packed_parts(word);
        let of_class = class * 8;
        let mask = Self::MASKS >> of_class & 0xff;
        let idle = ((self.now >> of_class & 0xff).wrapping_sub(age)) & mask;
        // The last eight before a wrap are the future: no idleness.
        let future = opaque(idle + 8) >> (Self::WIDTHS >> of_class & 0xff);
        let idle = idle & future.wrapping_sub(1);
        let expired = opaque((self.limits >> of_class & 0xff).wrapping_sub(idle)) >> 63;
        let settled = opaque(Self::SETTLED >> of_class & 1);
        let rank = (Self::RANKS >> of_class & 0xff) + (diverged & settled);
        let order = rank << Self::RANK_SHIFT | ((255 - idle) << 8) & settled.wrapping_neg();
        order & expired.wrapping_sub(1)
    }

    #[inline(always)]
    const fn rank(order: u64) -> u64 {
        order >> Self::RANK_SHIFT
    }

    /// The first to give way in a full bucket: its order, and its index in the lowest bits.
    #[inline(always)]
    fn weakest<C: Cell>(self, bucket: &[C; BUCKET_SLOTS], far: u64, flow: FlowId) -> u64 {
        let tie = flow.bits() >> 3 & 0xf;
        let mut weakest = veiled(u64::MAX, flow.bits());
        for (i, cell) in bucket.iter().enumerate() {
            let index = i as u64 | far;
            // Ties: by the newcomer's bits, above the index itself.
            let order = self.order(cell.load()) | (index ^ tie) << 4 | index;
            weakest = veiled(weakest.min(order), flow.bits());
        }
        weakest
    }
}

#[cfg(test)]
mod interleavings;
mod replicas;
#[cfg(test)]
mod tests;

pub use replicas::Replicas;

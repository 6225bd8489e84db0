//! Who comes back to which server, between directors: the seats that clients take here are told, and those they have elsewhere are
//! kept for them.
//!
//! Unlike connections, seats have one table for both: a seat of another director's is taken for its client as the data path would
//! take it, by compare-exchange, but never from anybody. It is the data path's from then on: once a client has come by it, its word is
//! another one, the record becomes ours, and what is told does not change it any more. Until then it neither ages nor is it told.

use std::net::IpAddr;
use std::time::Instant;

use lb_common::clock::{COARSE_TICKS, TICK_NS};
use lb_common::entry::{Affinity, ServerState, Terms};
use lb_common::flow_table::{BUCKET_SLOTS, FlowTable, Place, Seats as Layout};
use lb_common::identity::FlowId;
use lb_common::net::{Addr, Protocol};
use lb_common::slot::{Class, Geometry, ServerId, Slot};

use super::exports::STEPS;
use super::naming::Naming;
use crate::dataplane::Maps;
use crate::replication::record::{self, Connection};
use crate::replication::replicator::Replicator;

/// What is known of the seats, by the place in the table that they stand in.
#[derive(Debug)]
pub struct Seats {
    /// The word as it was told, or taken for another director's client; zero: neither.
    known: Vec<u64>,
    next: usize,
    /// Of a table that was there before this agent, others may know better whose its seats are.
    is_first_round: bool,
}

impl Seats {
    /// Of a table with so many buckets, of which nothing is known.
    pub fn new(buckets: usize) -> Self {
        Self { known: vec![0; buckets * BUCKET_SLOTS], next: 0, is_first_round: true }
    }

    /// Looks at the next part of the table, tells what is new and renews what is kept.
    pub fn step(&mut self, maps: &Maps, naming: &Naming, replicator: &mut Replicator, now: Instant) {
        let buckets = maps.seats.all();
        let end = buckets.len().min(self.next + buckets.len().div_ceil(STEPS));
        for (number, bucket) in (self.next..end).zip(&buckets[self.next..end]) {
            for (index, cell) in bucket.iter().enumerate() {
                let place = Place { bucket: number as u32, index: index as u32 };
                let word = cell.load();
                if word != self.known[place.number() as usize] {
                    self.tell(maps, naming, replicator, place, word, now);
                } else if let Some(slot) = Slot::from_word(word) {
                    self.renew(maps, replicator, place, slot);
                }
            }
        }
        self.next = end;
        if end == buckets.len() {
            self.next = 0;
            self.is_first_round = false;
        }
    }

    /// All of the table, at once.
    pub fn finish(&mut self, maps: &Maps, naming: &Naming, replicator: &mut Replicator, now: Instant) {
        self.next = 0;
        for _ in 0..STEPS {
            self.step(maps, naming, replicator, now);
        }
    }

    fn tell(
        &mut self,
        maps: &Maps,
        naming: &Naming,
        replicator: &mut Replicator,
        place: Place,
        word: u64,
        now: Instant,
    ) {
        let flow_of = |slot| geometry(maps).flow_of(slot, place.bucket);
        let known = &mut self.known[place.number() as usize];
        let here = Slot::from_word(word).map(|slot| (flow_of(slot), slot));
        if let Some(before) = Slot::from_word(*known).map(flow_of)
            && here.is_none_or(|(flow, _)| flow != before)
        {
            *known = 0;
            // It may stand in its other bucket by now.
            if table(maps).find(before).is_none() {
                replicator.withdraw(before, now);
            }
        }
        let record = here.and_then(|(flow, slot)| Some((flow, record(maps, naming, place, flow, slot)?)));
        let Some((flow, seat)) = record else { return };
        let own = replicator.origin();
        let is_anothers = replicator.store().get(flow).is_some_and(|entry| entry.version.origin != own);
        // One for which there is no room is tried again.
        if (self.is_first_round && is_anothers) || replicator.publish(flow, seat, now).is_ok() {
            *known = word;
        }
    }

    /// As long as others vouch for it, a seat that is kept does not come to its end.
    fn renew(&mut self, maps: &Maps, replicator: &Replicator, place: Place, slot: Slot) {
        let now = maps.clock.only().now();
        let idle = slot.idle(now);
        let Some(terms) = (idle > 0).then(|| slot.server().and_then(|id| rules(maps, id))).flatten() else {
            return;
        };
        let terms = Terms::from_word(terms.terms.load());
        let flow = geometry(maps).flow_of(slot, place.bucket);
        if idle <= terms.ticks / 2 || replicator.replica(flow).is_none() {
            return;
        }
        self.replace(maps, place, slot.word(), slot.with_class(terms.class(), now).word());
    }

    /// Clients of this source come back to this server, as others say, unless they are here already. False: no room, or the
    /// group's rules are others here.
    pub fn put(&mut self, maps: &Maps, flow: FlowId, server: ServerId, source: IpAddr) -> bool {
        let Some(affinity) = rules(maps, server) else { return false };
        let key = Affinity::key(Addr::from(source), affinity.group.load());
        if maps.settings.only().flow_id(&key) != flow {
            return false;
        }
        let (now, class) = (maps.clock.only().now(), Terms::from_word(affinity.terms.load()).class());
        let table = table(maps);
        if let Some(place) = table.locate(flow) {
            let Some(seat) = table.at(place) else { return false };
            let word = seat.slot().word();
            // What has changed since is told by the next look.
            if word == self.known[place.number() as usize] {
                let moved = seat.slot().moved_to(server, false, now).with_class(class, now);
                self.replace(maps, place, word, moved.word());
            }
            return true;
        }
        let place = table.admit(flow, server, false, now, affinity.limits(), |_, _| false).place();
        let Some((place, seat)) = place.and_then(|place| Some((place, table.at(place)?))) else {
            return false;
        };
        seat.refresh(class, now);
        let kept = table.at(place).map_or(0, |seat| seat.slot().word());
        self.known[place.number() as usize] = kept;
        if let Some(source) = maps.sitters.get(place.number()) {
            source.note(&key);
        }
        true
    }

    /// Nobody says so any more: the seat is free, unless a client has come by it.
    pub fn take(&mut self, maps: &Maps, flow: FlowId) {
        let Some(place) = table(maps).locate(flow) else { return };
        let known = self.known[place.number() as usize];
        let is_its = |slot| geometry(maps).flow_of(slot, place.bucket) == flow;
        if Slot::from_word(known).is_some_and(is_its) {
            self.replace(maps, place, known, 0);
        }
    }

    /// If the data path was faster, a client has come.
    fn replace(&mut self, maps: &Maps, place: Place, seen: u64, new: u64) {
        let cell = maps.seats.get(place.bucket).map(|bucket| &bucket[place.index as usize]);
        if cell.is_some_and(|cell| cell.replace(seen, new)) {
            self.known[place.number() as usize] = new;
        }
    }
}

fn geometry(maps: &Maps) -> Geometry {
    Geometry::nearest(maps.seats.all().len().ilog2())
}

fn table(maps: &Maps) -> FlowTable<'_, Maps, Layout> {
    FlowTable { memory: maps, geometry: Layout(geometry(maps)) }
}

/// By which rules clients of this server's service come back.
fn rules(maps: &Maps, server: ServerId) -> Option<&Affinity> {
    let state = ServerState::from_word(maps.servers.get(server.index())?.state.load());
    maps.affinities.get(u32::from(state.service)).filter(|_| state.has(ServerState::IN_USE))
}

/// All seats that are told, where they stand.
pub fn all(maps: &Maps, naming: &Naming) -> impl Iterator<Item = (FlowId, Slot, Connection)> {
    let places = (0..).zip(maps.seats.all()).flat_map(|(bucket, cells)| {
        (0..).zip(cells).map(move |(index, cell)| (Place { bucket, index }, cell))
    });
    places.filter_map(|(place, cell)| {
        let slot = Slot::from_word(cell.load())?;
        let flow = geometry(maps).flow_of(slot, place.bucket);
        Some((flow, slot, record(maps, naming, place, flow, slot)?))
    })
}

/// What is told of a seat; nothing of one that is over, or whose source has not been noted yet.
fn record(maps: &Maps, naming: &Naming, place: Place, flow: FlowId, slot: Slot) -> Option<Connection> {
    let server = slot.server()?;
    let affinity = rules(maps, server)?;
    let noted = maps.sitters.get(place.number())?;
    let source = noted.tuple(Addr::v4([0; 4]), Protocol::Udp).client;
    if maps.settings.only().flow_id(&Affinity::key(source, affinity.group.load())) != flow {
        return None;
    }
    let terms = Terms::from_word(affinity.terms.load());
    if slot.class() == Class::New || terms.are_over(slot, maps.clock.only().now()) {
        return None;
    }
    naming.seat(server, record::Class::Seat(IpAddr::from(source)), seconds(terms))
}

/// The silence after which a seat is over.
fn seconds(terms: Terms) -> u32 {
    let ticks = u64::from(terms.ticks) * if terms.coarse { u64::from(COARSE_TICKS) } else { 1 };
    (ticks * TICK_NS / 1_000_000_000).max(1) as u32
}

#[cfg(test)]
mod tests;

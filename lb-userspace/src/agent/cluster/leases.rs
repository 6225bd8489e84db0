//! The ports of full NAT, between directors: those that are lent here are told, and those that are lent elsewhere are kept for
//! their connections, so that these go on where VIPs and pool go.
//!
//! As with seats, both are in one table: another director's connection has its place where its port is, and the data path finds
//! it there like its own. A place is taken only if it is free, in three steps, so that no note is written beside a connection of
//! somebody else's and none is found before its own is: *claimed* by a word that no packet finds, noted, made known. From then on it
//! is the data path's; once a packet has come by it, its word is another one, and the record becomes ours.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use lb_common::clock::{COARSE_TICKS, Now};
use lb_common::entry::ServerState;
use lb_common::flow_table::{BUCKET_SLOTS, Place};
use lb_common::identity::FlowId;
use lb_common::net::{Addr, Port, Tuple};
use lb_common::pool;
use lb_common::slot::{self, ServerId, Slot};
use lb_common::word::Word;

use super::exports::STEPS;
use super::naming::Naming;
use super::ripening::Ripening;
use crate::dataplane::{Maps, Site};
use crate::replication::record::{Class, Connection, Lease, Stage};
use crate::replication::replicator::Replicator;

/// Buckets that are looked at in a step at least: all ports of an address.
const AT_LEAST: usize = 8192;

/// What is known of the ports, by the place in the table that they are.
#[derive(Debug)]
pub struct Leases {
    known: Vec<Known>,
    /// Connections of other directors that have no port here.
    without: BTreeMap<FlowId, Lack>,
    next: usize,
    ripening: Ripening,
    /// Of a table that was there before this agent, others may know better whose its connections are.
    is_first_round: bool,
}

/// What this agent has seen or done in a place.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The word as it was told, or taken for another director's connection; zero: neither.
    word: u64,
    flow: FlowId,
    /// For another director's, or one that this director has taken over, of which no packet has come yet.
    is_kept: bool,
}

/// Why another director's connection has no port here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// Another connection has it, or had it a moment ago. Tried again.
    Lent,
    /// It is not where this director would look for it: the pool in force there is another one.
    OtherPool,
}

/// Where another director's connection would be.
struct Wanted {
    place: Place,
    tuple: Tuple,
    /// The word that packets find.
    slot: Slot,
    /// The same as the other choice of its bucket, or the first one if it is that: whoever looks for the connection does not find
    /// it, and to all others the place is taken.
    claim: Slot,
}

impl Known {
    const NOTHING: Self = Self { word: 0, flow: FlowId::from_bits(0), is_kept: false };
}

impl Leases {
    /// Of so many buckets, of which nothing is known.
    pub fn new(buckets: usize) -> Self {
        Self {
            known: vec![Known::NOTHING; buckets * BUCKET_SLOTS],
            without: BTreeMap::new(),
            next: 0,
            ripening: Ripening::default(),
            is_first_round: true,
        }
    }

    /// Ports that are kept for connections of other directors.
    pub fn kept(&self) -> usize {
        self.kept_servers().count()
    }

    /// The server of each of these.
    pub fn kept_servers(&self) -> impl Iterator<Item = ServerId> + '_ {
        let kept = self.known.iter().filter(|known| known.is_kept);
        kept.filter_map(|known| Slot::from_word(known.word)?.server())
    }

    /// Connections of other directors that lack their port here for this reason.
    pub fn without(&self, lack: Lack) -> usize {
        self.without.values().filter(|its| **its == lack).count()
    }

    /// Looks at the next part of the table, tells what is new and renews what is kept.
    pub fn step(&mut self, maps: &Maps, naming: &Naming, replicator: &mut Replicator, now: Instant) {
        let buckets = maps.leases.all();
        let end = buckets.len().min(self.next + buckets.len().div_ceil(STEPS).max(AT_LEAST));
        for (number, bucket) in (self.next..end).zip(&buckets[self.next..end]) {
            for (index, cell) in bucket.iter().enumerate() {
                let place = Place { bucket: number as u32, index: index as u32 };
                let word = cell.load();
                let known = self.known[place.number() as usize];
                if word != known.word {
                    self.tell(maps, naming, replicator, place, word, now);
                } else if known.is_kept {
                    self.renew(maps, place, cell);
                }
            }
        }
        self.next = end;
        if end == buckets.len() {
            self.next = 0;
            self.is_first_round = false;
            self.ripening.end_round();
            self.try_again(maps, naming, replicator);
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
        let here = Slot::from_word(word).and_then(|slot| record(maps, naming, place, slot));
        let known = &mut self.known[place.number() as usize];
        if known.word != 0 && here.is_none_or(|(flow, ..)| flow != known.flow) {
            let before = std::mem::replace(known, Known::NOTHING).flow;
            // It may have another port by now.
            if !is_told(maps, naming, before) {
                replicator.withdraw(before, now);
            }
        }
        let Some((flow, connection, after)) = here else { return };
        if known.word == 0 && !self.ripening.is_ripe(place.number(), flow, after, now) {
            return;
        }
        let own = replicator.origin();
        let is_anothers = replicator.store().get(flow).is_some_and(|entry| entry.version.origin != own);
        if self.is_first_round && is_anothers {
            *known = Known { word, flow, is_kept: replicator.replica(flow).is_some() };
        } else if replicator.publish(flow, connection, now).is_ok() {
            *known = Known { word, flow, is_kept: false };
        }
        // One for which there is no room is tried again.
    }

    /// As long as others vouch for it, a connection whose port is kept does not come to its end. One that is over rests here as
    /// long as there.
    fn renew(&mut self, maps: &Maps, place: Place, cell: &Word) {
        let known = &mut self.known[place.number() as usize];
        let Some(slot) = Slot::from_word(known.word).filter(|slot| slot.is_settled()) else { return };
        let renewed = slot.with_class(slot.class(), ahead(maps)).word();
        if renewed != known.word && cell.replace(known.word, renewed) {
            known.word = renewed;
        }
    }

    /// Whose port was somebody else's may have it by now.
    fn try_again(&mut self, maps: &Maps, naming: &Naming, replicator: &Replicator) {
        let lent = self.without.iter().filter(|(_, lack)| **lack == Lack::Lent);
        let lent: Vec<FlowId> = lent.map(|(flow, _)| *flow).collect();
        for flow in lent {
            let Some(connection) = replicator.replica(flow) else { continue };
            if let (Some(server), Class::Lease(stage, lease)) =
                (naming.server(connection.target), connection.class)
            {
                self.put(maps, flow, server, stage, &lease);
            }
        }
    }

    /// This connection has this port, as others say, unless packets show otherwise here. What it lacks is counted.
    pub fn put(&mut self, maps: &Maps, flow: FlowId, server: ServerId, stage: Stage, lease: &Lease) {
        match self.keep(maps, flow, server, stage, lease) {
            Ok(()) => {
                self.without.remove(&flow);
            }
            Err(lack) => {
                if lack == Lack::OtherPool && self.without(lack) == 0 {
                    let source = SocketAddr::new(lease.source, lease.source_port);
                    tracing::warn!(
                        "another director has connections by full NAT from {source}, which are not kept here because the \
                         pool in force is another one: they would end with it; write the same [fullnat] on all directors, \
                         and start their agents anew"
                    );
                }
                self.without.insert(flow, lack);
            }
        }
    }

    /// This connection has this port.
    ///
    /// # Errors
    /// Why it has not.
    pub fn keep(
        &mut self,
        maps: &Maps,
        flow: FlowId,
        server: ServerId,
        stage: Stage,
        lease: &Lease,
    ) -> Result<(), Lack> {
        let wanted = wanted(maps, flow, server, stage, lease).ok_or(Lack::OtherPool)?;
        if let Some(place) = find(maps, flow).filter(|place| *place != wanted.place) {
            // Its connection of now has the other port, unless packets still come by this one.
            if !self.clear(maps, place) {
                return Err(Lack::Lent);
            }
        }
        let Wanted { place, tuple, slot, claim } = wanted;
        let cell = &maps.leases.get(place.bucket).ok_or(Lack::OtherPool)?[place.index as usize];
        let (word, known) = (cell.load(), self.known[place.number() as usize]);
        let taken = if word != 0 && find(maps, flow) == Some(place) {
            if word != known.word {
                // Packets have come by it here: the next look tells.
                return Ok(());
            }
            cell.replace(word, slot.word())
        } else {
            // An agent that was killed may have left its claim.
            let is_claimed = word != 0 && is_alike(word, claim) || cell.replace(0, claim.word());
            let claimed = cell.load();
            if !is_claimed || !is_alike(claimed, claim) {
                return Err(Lack::Lent);
            }
            maps.tenants.get(place.number()).ok_or(Lack::OtherPool)?.note(&tuple);
            cell.replace(claimed, slot.word())
        };
        if !taken {
            return Err(Lack::Lent);
        }
        self.known[place.number() as usize] = Known { word: slot.word(), flow, is_kept: true };
        Ok(())
    }

    /// Nobody says so any more: the port is free, unless a packet has come by it here.
    pub fn take(&mut self, maps: &Maps, flow: FlowId) {
        self.without.remove(&flow);
        if let Some(place) = find(maps, flow) {
            self.clear(maps, place);
        }
    }

    /// Frees this place, if it is as it was told or taken.
    fn clear(&mut self, maps: &Maps, place: Place) -> bool {
        let known = &mut self.known[place.number() as usize];
        let cell = maps.leases.get(place.bucket).map(|bucket| &bucket[place.index as usize]);
        let cleared = known.word != 0 && cell.is_some_and(|cell| cell.replace(known.word, 0));
        if cleared {
            *known = Known::NOTHING;
        }
        cleared
    }
}

/// Where the connection of this flow stands, in either family's ports.
fn find(maps: &Maps, flow: FlowId) -> Option<Place> {
    let of_family = |ipv6| {
        let table = maps.lease_table(ipv6)?;
        let place = table.locate(flow)?;
        let slot = table.at(place)?.slot();
        // A tag is not all of a flow id.
        let tuple = maps.caller(Site::Lease(place), slot)?;
        (maps.settings.only().flow_id(&tuple) == flow).then_some(place)
    };
    of_family(false).or_else(|| of_family(true))
}

/// Whether these are words of one connection at one server, in one of its states.
fn is_alike(word: u64, slot: Slot) -> bool {
    let same_server = Slot::from_word(word).and_then(Slot::server) == slot.server();
    same_server && Slot::has_identity(word, slot.word() & Slot::identity_mask())
}

/// Where this is to be, and how; `None` if it is not where this director would look for it.
fn wanted(maps: &Maps, flow: FlowId, server: ServerId, stage: Stage, lease: &Lease) -> Option<Wanted> {
    let pool = maps.pool.only();
    let source = Addr::from(lease.source);
    let number = pool.addresses().position(|address| address == source)?;
    let place = pool.place(number as u32, Port::from_host(lease.source_port))?;
    let entry = maps.servers.get(server.index())?;
    let tuple = Tuple {
        client: lease.client.into(),
        vip: entry.vip.load(),
        client_port: Port::from_host(lease.client_port),
        vip_port: Port::from_host(lease.vip_port),
        protocol: ServerState::from_word(entry.state.load()).protocol(),
    };
    if maps.settings.only().flow_id(&tuple) != flow {
        return None;
    }
    let range = pool.range(tuple.vip.as_v4().is_none())?;
    let is_other = range.is_other_choice(flow, place.bucket)?;
    let now = if stage == Stage::Closing { maps.clock.only().now() } else { ahead(maps) };
    let slot = |is_other| {
        Slot::fresh(server, pool::tag(flow), is_other, false, now).with_class(slot::Class::from(stage), now)
    };
    Some(Wanted { place, tuple, slot: slot(is_other), claim: slot(!is_other) })
}

/// The next tick of what is settled. An age from the future is none, and the first packet that comes writes another one, so that
/// it shows.
fn ahead(maps: &Maps) -> Now {
    Now::at_tick((maps.clock.only().now().ticks() as u32).wrapping_add(COARSE_TICKS))
}

/// What is told of the connection here, and how old it must be; nothing of one whose client has not been noted yet.
pub fn record(
    maps: &Maps,
    naming: &Naming,
    place: Place,
    slot: Slot,
) -> Option<(FlowId, Connection, Duration)> {
    let stage = Stage::of(slot.class())?;
    let tuple = maps.caller(Site::Lease(place), slot)?;
    let (source, source_port) = maps.pool.only().source(place)?;
    let lease = Lease {
        source: source.into(),
        source_port: source_port.to_host(),
        client: IpAddr::from(tuple.client),
        client_port: tuple.client_port.to_host(),
        vip_port: tuple.vip_port.to_host(),
    };
    let (connection, after) = naming.record(slot.server()?, Class::Lease(stage, lease))?;
    Some((maps.settings.only().flow_id(&tuple), connection, after))
}

/// Whether this flow has a port, anywhere, that is told.
fn is_told(maps: &Maps, naming: &Naming, flow: FlowId) -> bool {
    let word = find(maps, flow)
        .and_then(|place| Some((place, maps.leases.get(place.bucket)?[place.index as usize].load())));
    word.is_some_and(|(place, word)| {
        Slot::from_word(word).is_some_and(|slot| record(maps, naming, place, slot).is_some())
    })
}

#[cfg(test)]
mod tests;

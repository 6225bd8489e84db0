//! Which record of a flow id holds: the one with the greatest version, until it lapses.
//!
//! Exports (own records) and replicas (others') are one map, so that no flow id can have both. A tombstone is a record that
//! says *ended*; it stays as long as any older record of its flow id could still turn up, also behind a later one that lives:
//! that may lapse without a trace before the older ones do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lb_common::identity::FlowId;

use super::digest::{Ledger, bucket_of, range_of};
use super::record::{ByKind, Content, Entry, Kind};
use super::refusal::Refusal;
use super::version::{Origin, Version};

/// Bounds of memory and of belief.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Live records, of each kind: none takes the others' room.
    pub records: ByKind,
    /// Tombstones. Beyond, the oldest is forgotten, and digests have to find what it would have beaten.
    pub tombstones: usize,
    /// Lives of directors of which records are held.
    pub origins: usize,
    /// The longest that a record may be believed without its origin.
    pub longest_idle: Duration,
}

impl Bounds {
    /// How long a tombstone stays: a replica that nobody told lapses within the longest expiry; passed on by a third director
    /// it takes its age along, but its travel and a slow clock are not in it.
    fn tombstone_life(&self) -> Duration {
        self.longest_idle + self.longest_idle / 4 + Duration::from_secs(60)
    }
}

/// What became of a record that came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merge {
    Applied,
    /// Already here: neither applied nor forwarded.
    Equal,
    /// A later one is here.
    Older,
}

/// All records a director holds.
#[derive(Debug)]
pub struct Store {
    bounds: Bounds,
    entries: BTreeMap<FlowId, Entry>,
    /// Tombstones behind a later record that lives.
    buried: BTreeMap<FlowId, Entry>,
    ledgers: BTreeMap<Origin, Ledger>,
    tombstones: BTreeSet<(Instant, FlowId)>,
    live: ByKind,
    swept: u16,
    /// Tombstones given up before their time.
    pub forgotten: u64,
}

impl Store {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: BTreeMap::new(),
            buried: BTreeMap::new(),
            ledgers: BTreeMap::new(),
            tombstones: BTreeSet::new(),
            live: ByKind::NONE,
            swept: 0,
            forgotten: 0,
        }
    }

    pub fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Live records.
    pub fn live(&self) -> usize {
        self.live.all()
    }

    /// Live records, of each kind.
    pub fn live_by_kind(&self) -> ByKind {
        self.live
    }

    /// Live records of this origin.
    pub fn live_of(&self, origin: Origin) -> ByKind {
        self.ledgers.get(&origin).map_or(ByKind::NONE, |ledger| ledger.live)
    }

    pub fn tombstones(&self) -> usize {
        self.tombstones.len()
    }

    pub fn get(&self, flow: FlowId) -> Option<&Entry> {
        self.entries.get(&flow)
    }

    pub fn iter(&self) -> impl Iterator<Item = (FlowId, &Entry)> {
        self.entries.iter().map(|(flow, entry)| (*flow, entry))
    }

    pub fn range(&self, first: FlowId, last: FlowId) -> impl Iterator<Item = (FlowId, &Entry)> {
        self.entries.range(first..=last).map(|(flow, entry)| (*flow, entry))
    }

    /// The origins of live records.
    pub fn origins(&self) -> impl Iterator<Item = Origin> + '_ {
        self.ledgers.keys().copied()
    }

    pub(super) fn ledger(&self, origin: Origin) -> Option<&Ledger> {
        self.ledgers.get(&origin)
    }

    /// Applies a record if it is later than what is here.
    ///
    /// # Errors
    /// When there is no room for it.
    pub fn merge(&mut self, flow: FlowId, entry: Entry) -> Result<Merge, Refusal> {
        if let Some(here) = self.entries.get(&flow) {
            // Of one version, the end is later than the life: its owner has given it up, and may have told only some.
            let place = |entry: &Entry| (entry.version, entry.connection().is_none());
            match place(&entry).cmp(&place(here)) {
                std::cmp::Ordering::Greater => {}
                std::cmp::Ordering::Equal => return Ok(Merge::Equal),
                std::cmp::Ordering::Less => return Ok(Merge::Older),
            }
        }
        if let Some(connection) = entry.connection() {
            let kind = connection.class.kind();
            let replaces = self.get(flow).and_then(Entry::connection);
            let replaces_alike = replaces.is_some_and(|here| here.class.kind() == kind);
            if !replaces_alike && self.is_full(kind) {
                return Err(Refusal::StoreFull);
            }
            if !self.ledgers.contains_key(&entry.version.origin) && self.ledgers.len() >= self.bounds.origins
            {
                return Err(Refusal::UnknownOrigin);
            }
        }
        self.put(flow, entry);
        Ok(Merge::Applied)
    }

    fn is_full(&self, kind: Kind) -> bool {
        self.live.of(kind) >= self.bounds.records.of(kind)
    }

    /// The owner does not know this record any more: it ends under its own version, so that it cannot be brought back.
    pub(super) fn disown(&mut self, flow: FlowId, now: Instant) {
        if let Some(&here) = self.entries.get(&flow) {
            self.put(flow, Entry { content: Content::Ended, since: now, ..here });
        }
    }

    /// The origin has shown that it still holds this very record.
    pub(super) fn renew(&mut self, flow: FlowId, version: Version, now: Instant) {
        if let Some(here) = self.entries.get_mut(&flow)
            && here.version == version
            && here.connection().is_some()
        {
            here.since = now;
        }
    }

    /// The origin has shown that it holds just what is here, but for these buckets (ascending).
    pub(super) fn vouch(&mut self, origin: Origin, differing: &[u16], now: Instant) {
        if let Some(ledger) = self.ledgers.get_mut(&origin) {
            ledger.vouch(differing, now);
        }
    }

    /// The record as of its last sign of life: what its bucket was vouched for counts for it.
    pub(super) fn vouched(&self, flow: FlowId, entry: &Entry) -> Entry {
        let vouched =
            self.ledgers.get(&entry.version.origin).and_then(|ledger| ledger.vouched(bucket_of(flow)));
        let since = match entry.content {
            Content::Live(_) => vouched.map_or(entry.since, |at| at.max(entry.since)),
            Content::Ended => entry.since,
        };
        Entry { since, ..*entry }
    }

    /// When the record lapses if nobody vouches for it.
    pub fn lapses(&self, flow: FlowId, entry: &Entry) -> Instant {
        let life = match &entry.content {
            Content::Live(connection) => Duration::from_secs(connection.idle.into()),
            Content::Ended => self.bounds.tombstone_life(),
        };
        self.vouched(flow, entry).since + life
    }

    /// Forgets tombstones whose time is over and names the live records that have lapsed in the next part of the table;
    /// sixteen calls see all of it.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<FlowId> {
        while let Some(&(since, flow)) = self.tombstones.first() {
            if since + self.bounds.tombstone_life() > now {
                break;
            }
            self.forget((since, flow));
        }
        let (first, _) = range_of(self.swept);
        let (_, last) = range_of(self.swept + 255);
        self.swept = (self.swept + 256) % super::digest::BUCKETS as u16;
        let lapsed = |flow, entry: &Entry| entry.connection().is_some() && self.lapses(flow, entry) <= now;
        self.range(first, last).filter(|(flow, entry)| lapsed(*flow, entry)).map(|(flow, _)| flow).collect()
    }

    /// The record has never been, as far as others are concerned; what had ended before it still has.
    pub(super) fn remove(&mut self, flow: FlowId) {
        self.take(flow);
        if let Some(tombstone) = self.buried.remove(&flow) {
            self.entries.insert(flow, tombstone);
        }
    }

    fn forget(&mut self, tombstone: (Instant, FlowId)) {
        self.tombstones.remove(&tombstone);
        let (_, flow) = tombstone;
        if self.buried.remove(&flow).is_none() {
            self.entries.remove(&flow);
        }
    }

    fn take(&mut self, flow: FlowId) -> Option<Entry> {
        let entry = self.entries.remove(&flow)?;
        match entry.content {
            Content::Ended => {
                self.tombstones.remove(&(entry.since, flow));
            }
            Content::Live(connection) => {
                let kind = connection.class.kind();
                *self.live.of_mut(kind) -= 1;
                let origin = entry.version.origin;
                let ledger =
                    self.ledgers.get_mut(&origin).expect("a live record stands in its origin's ledger");
                ledger.remove(kind, bucket_of(flow), entry.version.fingerprint(flow.bits()));
                if ledger.live == ByKind::NONE {
                    self.ledgers.remove(&origin);
                }
            }
        }
        Some(entry)
    }

    /// A record older than its bucket's last vouching was not among what was vouched for. The others of the bucket take the
    /// moment down as their own, so that the newcomer does not have it too.
    fn settle_vouching(&mut self, flow: FlowId, newcomer: &Entry) {
        let Some(ledger) = self.ledgers.get_mut(&newcomer.version.origin) else { return };
        let Some(vouched) = ledger.vouched(bucket_of(flow)).filter(|at| *at > newcomer.since) else { return };
        ledger.forget_vouching(bucket_of(flow));
        let (first, last) = range_of(bucket_of(flow));
        for (_, entry) in self.entries.range_mut(first..=last) {
            if entry.version.origin == newcomer.version.origin && entry.connection().is_some() {
                entry.since = entry.since.max(vouched);
            }
        }
    }

    fn put(&mut self, flow: FlowId, entry: Entry) {
        let before = self.take(flow);
        match entry.content {
            Content::Ended => {
                if let Some(earlier) = self.buried.remove(&flow) {
                    self.tombstones.remove(&(earlier.since, flow));
                }
                self.tombstones.insert((entry.since, flow));
            }
            Content::Live(connection) => {
                if let Some(tombstone) = before.filter(|before| before.connection().is_none()) {
                    self.tombstones.insert((tombstone.since, flow));
                    self.buried.insert(flow, tombstone);
                }
                let kind = connection.class.kind();
                *self.live.of_mut(kind) += 1;
                self.settle_vouching(flow, &entry);
                let ledger = self.ledgers.entry(entry.version.origin).or_insert_with(Ledger::new);
                ledger.add(kind, bucket_of(flow), entry.version.fingerprint(flow.bits()));
            }
        }
        self.entries.insert(flow, entry);
        while self.tombstones.len() > self.bounds.tombstones {
            let &oldest = self.tombstones.first().expect("more than the bound");
            self.forget(oldest);
            self.forgotten += 1;
        }
    }
}

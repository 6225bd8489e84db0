//! What a peer says, and what of it is believed. A peer writes records as itself; of others it may only tell what they
//! wrote, under their version, and of us nothing, unless we ask after a restart.

use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use lb_common::identity::{FLOW_ID_BITS, FlowId};

use super::digest::{BUCKETS, bucket_of, divergent, range_of};
use super::message::{Hello, Item, Listing, Message, Parcel, Told, Words, decode};
use super::record::{Connection, Content, Entry as Held, Pair};
use super::refusal::Refusal;
use super::replicator::Replicator;
use super::session::{Session, SessionId};
use super::store::Merge;
use super::version::{NodeId, Origin, Version};

impl Replicator {
    /// Takes in the body of a frame.
    ///
    /// # Errors
    /// When the session has to be closed (the caller says [`Replicator::disconnected`]). A record that is refused alone is
    /// counted, and the rest of its message holds.
    pub fn receive(&mut self, id: SessionId, body: &[u8], now: Instant) -> Result<(), Refusal> {
        self.read(id, body, now).map_err(|refusal| self.refuse_in(id, refusal))
    }

    fn read(&mut self, id: SessionId, body: &[u8], now: Instant) -> Result<(), Refusal> {
        let session =
            self.sessions.values_mut().find(|session| session.id == id).ok_or(Refusal::StaleSession)?;
        let node = session.node;
        let envelope = decode(body)?;
        if envelope.sequence != session.inc.received + 1 {
            return Err(Refusal::OutOfOrder);
        }
        session.inc.received += 1;
        let completes = session.inc.told == Told::Nothing
            && matches!(envelope.message, Message::Told(told) if told > Told::Nothing);
        let tally = &mut self.traffic.entry(node).or_default().received;
        tally.count(body.len(), envelope.message.records(), completes);
        let Some(sender) = session.origin else {
            let Message::Hello(hello) = envelope.message else { return Err(Refusal::HelloExpected) };
            return self.greeted(node, &hello);
        };
        match envelope.message {
            Message::Hello(_) => Err(Refusal::HelloRepeated),
            Message::Pulse => Ok(()),
            Message::Note(note) => self.noted(node, note),
            Message::Ack(through) => {
                let window = &mut self.traffic.entry(node).or_default().window;
                session.out.landed(through, window, now).then_some(()).ok_or(Refusal::NotAsked)
            }
            Message::Standing(standing) => {
                session.standing = Some(standing);
                self.news = true;
                Ok(())
            }
            Message::Told(told) => {
                session.inc.told = session.inc.told.max(told);
                Ok(())
            }
            Message::Want { origin, buckets } => wanted(session, origin, &buckets, self.setup.origin),
            Message::Digest { origin, sums } => self.compare(node, sender, origin, &sums, now),
            Message::Changes(parcel) => {
                if parcel.records.iter().any(|item| item.author.is_some()) {
                    return Err(Refusal::NotItsOwn);
                }
                self.define(node, parcel.names)?;
                self.unpack(node, sender, &parcel.records, now);
                Ok(())
            }
            Message::Listing(listing) => self.listed(node, sender, listing, now),
            Message::Released => {
                self.released(sender);
                Ok(())
            }
        }
    }

    fn greeted(&mut self, node: NodeId, hello: &Hello) -> Result<(), Refusal> {
        hello.agree(node, &self.setup.domain)?;
        let origin = Origin { node, life: hello.life };
        let (own, recovering) = (self.setup.origin, self.recovering);
        let Some(session) = self.sessions.get_mut(&node) else { return Err(Refusal::StaleSession) };
        session.origin = Some(origin);
        self.board.owe_all(&mut session.out.board);
        self.step.met(node);
        // Each speaks for itself; an agent that has forgotten asks what it said.
        session.out.digests =
            self.store.origins().filter(|&at| at != own && (at != origin || hello.recovering)).collect();
        // Unless it is appointed: what it was told in an earlier session may be stale.
        session.out.releases = !recovering;
        self.appoint();
        Ok(())
    }

    /// Where we differ we want to know; where a peer's own records are what we hold, it has vouched for them.
    fn compare(
        &mut self,
        node: NodeId,
        sender: Origin,
        origin: Origin,
        sums: &[(u16, u64)],
        now: Instant,
    ) -> Result<(), Refusal> {
        let differing = divergent(self.store.ledger(origin), sums).ok_or(Refusal::Malformed)?;
        let most = 2 * self.setup.bounds.origins;
        if self.sessions.get(&node).is_none_or(|session| session.compares(origin) > most) {
            return Err(Refusal::TooManyDigests);
        }
        let known = self.knows(origin.node);
        // What others say about our own records counts only while we have forgotten them.
        let asked = known && (origin != self.setup.origin || self.recovering);
        if !known {
            self.refuse_from(node, Refusal::UnknownOrigin);
        }
        let buckets = if asked { differing } else { Vec::new() };
        if origin == sender {
            self.store.vouch(origin, &buckets, now);
        }
        let Some(session) = self.sessions.get_mut(&node) else { return Err(Refusal::StaleSession) };
        if origin == sender {
            session.inc.divergent = buckets.len();
        }
        // What was wanted before and still differs is wanted again.
        session.inc.awaited.remove(&origin);
        if !buckets.is_empty() {
            session.inc.awaited.insert(origin, buckets.iter().copied().collect());
        }
        session.out.wants.insert(origin, buckets);
        Ok(())
    }

    fn listed(
        &mut self,
        node: NodeId,
        sender: Origin,
        listing: Listing,
        now: Instant,
    ) -> Result<(), Refusal> {
        let Listing { origin, first, last, as_of, parcel } = listing;
        if first > last || last >> FLOW_ID_BITS != 0 || (as_of > 0 && origin != sender) {
            return Err(Refusal::Malformed);
        }
        let (from, to) = (FlowId::from_bits(first), FlowId::from_bits(last));
        // More than a bucket would have us look at all that we hold.
        if bucket_of(from) != bucket_of(to) {
            return Err(Refusal::Malformed);
        }
        if parcel.records.iter().any(|item| item.flow < first || item.flow > last) {
            return Err(Refusal::NotAsked);
        }
        let Parcel { names, records } = parcel;
        self.define(node, names)?;
        if as_of > 0 {
            let listed: std::collections::BTreeSet<u64> = records.iter().map(|item| item.flow).collect();
            let gone: Vec<FlowId> = self
                .store
                .range(from, to)
                .filter(|(flow, entry)| {
                    let theirs = entry.version.origin == sender && entry.version.counter <= as_of;
                    theirs && entry.connection().is_some() && !listed.contains(&flow.bits())
                })
                .map(|(flow, _)| flow)
                .collect();
            for flow in gone {
                self.store.disown(flow, now);
                self.note(flow);
            }
        }
        self.unpack(node, origin, &records, now);
        if let Some(session) = self.sessions.get_mut(&node)
            && range_of(bucket_of(to)).1 == to
            && let Entry::Occupied(mut awaited) = session.inc.awaited.entry(origin)
        {
            awaited.get_mut().remove(&bucket_of(to));
            if awaited.get().is_empty() {
                awaited.remove();
            }
        }
        Ok(())
    }

    /// The names of a message with records: all of them, or none.
    fn define(&mut self, node: NodeId, names: Vec<Pair>) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get_mut(&node) else { return Err(Refusal::StaleSession) };
        session.inc.heard.define(names, &mut self.names)?;
        session.inc.ack_due = true;
        Ok(())
    }

    /// The records of a message, those without an author being `origin`'s.
    fn unpack(&mut self, node: NodeId, origin: Origin, records: &[Item], now: Instant) {
        for item in records {
            if let Err(refusal) = self.apply(node, origin, item, now) {
                self.refuse_from(node, refusal);
            }
        }
    }

    fn apply(&mut self, node: NodeId, origin: Origin, item: &Item, now: Instant) -> Result<(), Refusal> {
        if item.flow >> FLOW_ID_BITS != 0 {
            return Err(Refusal::FlowOutOfRange);
        }
        let flow = FlowId::from_bits(item.flow);
        let version = Version { counter: item.counter, origin: item.author.unwrap_or(origin) };
        let content = self.content(node, &item.content)?;
        if !self.knows(version.origin.node) {
            return Err(Refusal::UnknownOrigin);
        }
        let own = version.origin == self.setup.origin;
        if own && !self.recovering {
            let ours = self.store.get(flow).is_some_and(|here| here.version >= version);
            return if ours || content == Content::Ended { Ok(()) } else { Err(Refusal::ForgedSelf) };
        }
        if !self.counter.hear(version.counter, self.ceiling()) {
            return Err(Refusal::CounterOutOfRange);
        }
        let since = now.checked_sub(Duration::from_secs(item.age.into())).unwrap_or(now);
        let entry = Held { version, content, since };
        if self.store.lapses(flow, &entry) <= now {
            return Ok(());
        }
        self.room_in_quarantine(flow, &entry)?;
        let Some(session) = self.sessions.get_mut(&node) else { return Err(Refusal::StaleSession) };
        match self.store.merge(flow, entry)? {
            Merge::Older => session.out.answer(flow),
            Merge::Equal if session.origin == Some(version.origin) => self.store.renew(flow, version, now),
            Merge::Equal => {}
            Merge::Applied => {
                if own && content != Content::Ended {
                    self.guarded.insert(flow);
                }
                self.note(flow);
            }
        }
        Ok(())
    }

    fn content(&self, node: NodeId, words: &Words) -> Result<Content, Refusal> {
        let Words::Live { name, class, idle } = *words else { return Ok(Content::Ended) };
        if Duration::from_secs(idle.into()) > self.setup.bounds.longest_idle {
            return Err(Refusal::ExpiryTooLong);
        }
        let heard = self.sessions.get(&node).and_then(|session| session.inc.heard.target(name));
        let target = heard.ok_or(Refusal::UndefinedName)?;
        Ok(Content::Live(Connection { target, class, idle }))
    }

    fn room_in_quarantine(&self, flow: FlowId, entry: &Held) -> Result<(), Refusal> {
        let full = self.quarantine.len() >= self.setup.quarantine;
        if full && self.waits(entry) && !self.quarantine.contains(&flow) {
            return Err(Refusal::QuarantineFull);
        }
        Ok(())
    }

    fn knows(&self, node: NodeId) -> bool {
        node == self.setup.origin.node || self.setup.peers.contains(&node)
    }
}

/// The answer to one of our digests.
fn wanted(session: &mut Session, origin: Origin, buckets: &[u16], own: Origin) -> Result<(), Refusal> {
    if buckets.len() > BUCKETS || buckets.iter().any(|bucket| usize::from(*bucket) >= BUCKETS) {
        return Err(Refusal::TooManyBuckets);
    }
    if !session.out.unanswered.remove(&origin) {
        return Err(Refusal::NotAsked);
    }
    if origin == own && !session.out.tells {
        return Ok(());
    }
    session.out.compared |= origin == own && !session.out.digests.contains(&own);
    session.out.owe(origin, buckets);
    Ok(())
}

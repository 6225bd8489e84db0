//! What a peer is told next. Asked when its connection can take a frame, so that a slow one coalesces instead of queueing.

use std::time::Instant;

use lb_common::identity::FlowId;

use super::board::Note;
use super::digest::{Ledger, range_of};
use super::message::{Envelope, Hello, Item, Listing, Message, Parcel, SPOKEN, Told, Words, encode};
use super::names::{Names, Spoken};
use super::record::{Content, Entry};
use super::replicator::Replicator;
use super::session::{Flight, Outgoing, PULSE, Session, SessionId, WINDOW};
use super::store::Store;
use super::version::Origin;

/// Records in one message: with all their names new, and the names as long as allowed, below a quarter of a frame.
const PARCEL: usize = 512;

impl Replicator {
    /// The body of the next message in this session; `None` while there is nothing to say, or too much unacknowledged. A pulse
    /// falls due some times a second, so this has to be asked as often.
    pub fn transmit(&mut self, id: SessionId, now: Instant) -> Option<Vec<u8>> {
        let hello = Hello {
            lowest: *SPOKEN.start(),
            highest: *SPOKEN.end(),
            domain: self.setup.domain.clone(),
            node: self.setup.origin.node,
            life: self.setup.origin.life,
            recovering: self.recovering,
        };
        let standing = self.standing();
        let session = self.sessions.values_mut().find(|session| session.id == id)?;
        let teller = Teller {
            own: self.setup.origin,
            recovering: self.recovering,
            as_of: self.counter.now(),
            store: &self.store,
            names: &self.names,
            patience: self.setup.digest_interval,
            now,
        };
        let told = session.out.told;
        let message = if !session.out.hello_sent {
            session.out.hello_sent = true;
            Message::Hello(hello)
        } else if session.origin.is_none() {
            return None;
        } else if let Some(word) = self.step.next_word(session.node) {
            // Before the standing: who may serve is asked whether it is in step.
            Message::Note(Note::Step(word))
        } else if session.out.standing_told != Some(standing) {
            session.out.standing_told = Some(standing);
            Message::Standing(standing)
        } else if let Some(note) = self.board.next(&mut session.out.board) {
            Message::Note(note)
        } else if let Some(message) = teller.next(session) {
            message
        } else if session.out.last.is_some_and(|last| last + PULSE <= now) {
            Message::Pulse
        } else {
            return None;
        };
        session.out.sent += 1;
        session.out.last = Some(now);
        let (records, completes) = (message.records(), told == Told::Nothing && session.out.told > told);
        let body = encode(&Envelope { sequence: session.out.sent, message });
        self.traffic.entry(session.node).or_default().sent.count(body.len(), records, completes);
        Some(body)
    }
}

/// The records to tell from.
struct Teller<'a> {
    own: Origin,
    recovering: bool,
    as_of: u64,
    store: &'a Store,
    names: &'a Names,
    /// How long a digest waits for a moment without changes.
    patience: std::time::Duration,
    now: Instant,
}

impl Teller<'_> {
    fn next(&self, session: &mut Session) -> Option<Message> {
        if session.inc.ack_due {
            session.inc.ack_due = false;
            return Some(Message::Ack(session.inc.received));
        }
        let out = &mut session.out;
        if std::mem::take(&mut out.releases) {
            return Some(Message::Released);
        }
        if let Some((origin, buckets)) = out.wants.pop_first() {
            return Some(Message::Want { origin, buckets });
        }
        if out.stale.is_some() && out.flight.is_empty() {
            out.stale = None;
            out.compared = false;
            // A digest of what one has not got back yet would end the rest. There is one when all of it is here.
            if !self.recovering {
                out.digests.insert(self.own);
            }
        }
        if out.flight.len() < WINDOW
            && let Some(message) = self.records(out)
        {
            return Some(message);
        }
        if let Some(origin) = self.digest_due(out) {
            out.digests.remove(&origin);
            out.unanswered.insert(origin);
            let sums = self.store.ledger(origin).map(Ledger::sums).unwrap_or_default();
            return Some(Message::Digest { origin, sums });
        }
        if out.progress() > out.told {
            out.told = out.progress();
            return Some(Message::Told(out.told));
        }
        None
    }

    /// Changes and what the peer wants take turns, so that neither a busy director nor a joining one starves the other.
    fn records(&self, out: &mut Outgoing) -> Option<Message> {
        let since = out.dirty.since().unwrap_or(self.now);
        let mut settled = Vec::new();
        let message = if let Some(flow) = out.answers.pop_first() {
            self.answer(flow, &mut out.spoken)?
        } else if out.dirty.is_empty() || (out.sent.is_multiple_of(2) && !out.owed.is_empty()) {
            self.listing(out)?
        } else {
            self.changes(out, &mut settled)
        };
        out.flight.push_back(Flight { sequence: out.sent + 1, since, settled });
        Some(message)
    }

    /// What has changed; `settled`: when those connections settled of which that is known.
    fn changes(&self, out: &mut Outgoing, settled: &mut Vec<Instant>) -> Message {
        let mut parcel = Parcel::default();
        while parcel.records.len() < PARCEL
            && let Some(flow) = out.dirty.pop()
        {
            settled.extend(out.settled.remove(&flow));
            // What somebody else has taken over meanwhile, they tell.
            let own = self.store.get(flow).filter(|entry| entry.version.origin == self.own);
            if let Some(entry) = own {
                self.put(&mut parcel, self.own, flow, entry, &mut out.spoken);
            }
        }
        Message::Changes(parcel)
    }

    /// The next part of the first bucket that the peer wants.
    fn listing(&self, out: &mut Outgoing) -> Option<Message> {
        let ((origin, bucket), first) = out.owed.pop_first()?;
        let (_, end) = range_of(bucket);
        let (mut parcel, mut last, mut complete) = (Parcel::default(), end, true);
        for (flow, entry) in self.store.range(first, end) {
            let lapsed = origin != self.own && self.store.lapses(flow, entry) <= self.now;
            if lapsed || (entry.connection().is_some() && entry.version.origin != origin) {
                continue;
            }
            if parcel.records.len() == PARCEL {
                last = FlowId::from_bits(flow.bits() - 1);
                out.owed.insert((origin, bucket), flow);
                break;
            }
            complete &= self.put(&mut parcel, origin, flow, entry, &mut out.spoken);
        }
        // A list with gaps must not end what is not in it.
        let as_of = if origin == self.own && complete { self.as_of } else { 0 };
        Some(Message::Listing(Listing { origin, first: first.bits(), last: last.bits(), as_of, parcel }))
    }

    /// The later record of which the peer has shown an older one.
    fn answer(&self, flow: FlowId, spoken: &mut Spoken) -> Option<Message> {
        let entry = self.store.get(flow)?;
        let origin = entry.version.origin;
        let mut parcel = Parcel::default();
        self.put(&mut parcel, origin, flow, entry, spoken);
        Some(Message::Listing(Listing { origin, first: flow.bits(), last: flow.bits(), as_of: 0, parcel }))
    }

    /// `false` if the server has no name that could be told.
    fn put(
        &self,
        parcel: &mut Parcel,
        origin: Origin,
        flow: FlowId,
        entry: &Entry,
        spoken: &mut Spoken,
    ) -> bool {
        let (content, age) = match &entry.content {
            Content::Live(connection) => {
                let Some(name) = spoken.number(connection.target, self.names, &mut parcel.names) else {
                    return false;
                };
                let own = entry.version.origin == self.own;
                let age = if own { 0 } else { self.store.vouched(flow, entry).age(self.now) };
                (Words::Live { name, class: connection.class, idle: connection.idle }, age)
            }
            Content::Ended => (Words::Ended, entry.age(self.now)),
        };
        let author = Some(entry.version.origin).filter(|author| *author != origin);
        parcel.records.push(Item { flow: flow.bits(), counter: entry.version.counter, author, age, content });
        true
    }

    /// A digest of the own records is exact when no change is on its way to be sent; so it waits for such a moment, but not
    /// for ever. One at a time for each origin.
    fn digest_due(&self, out: &mut Outgoing) -> Option<Origin> {
        let overdue = out.own_digest_due.is_some_and(|due| due + self.patience <= self.now);
        let exact = out.dirty.is_empty() && out.stale.is_none();
        let ready = |origin: Origin| origin != self.own || exact || overdue || out.told == Told::Nothing;
        let due =
            out.digests.iter().copied().find(|origin| ready(*origin) && !out.unanswered.contains(origin));
        if due == Some(self.own) {
            out.own_digest_due = None;
        }
        due
    }
}

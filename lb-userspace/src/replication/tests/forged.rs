//! Each kind of message, damaged in each way that there is, to a director that has something to lose: what is refused changes
//! nothing and is counted under its name, and what is not is something that its sender could have said in other words.

use super::super::board::{AddressKey, Finding, Health, Note, Order, ServerKey, Wish};
use super::super::frame::{Frames, LONGEST, framed};
use super::super::knowledge::Knowledge;
use super::super::message::Told;
use super::super::step::{Digest, LaneKey, Recipe, Recipes, Round, Tables, Word};
use super::*;

pub(super) const KINDS: [&str; 20] = [
    "hello", "ack", "changes", "digest", "want", "listing", "told", "standing", "pulse", "orders",
    "findings", "stance", "prepare", "heard", "ready", "refused", "commit", "done", "ended", "released",
];

/// A new kind has to have its example.
fn kind(message: &Message) -> &'static str {
    match message {
        Message::Hello(_) => "hello",
        Message::Ack(_) => "ack",
        Message::Changes(parcel) if parcel.names.is_empty() => "ended",
        Message::Changes(_) => "changes",
        Message::Digest { .. } => "digest",
        Message::Want { .. } => "want",
        Message::Listing(_) => "listing",
        Message::Told(_) => "told",
        Message::Standing(_) => "standing",
        Message::Pulse => "pulse",
        Message::Released => "released",
        Message::Note(Note::Orders(_)) => "orders",
        Message::Note(Note::Findings(_)) => "findings",
        Message::Note(Note::Step(word)) => match word {
            Word::Stance(..) => "stance",
            Word::Prepare(..) => "prepare",
            Word::Heard(_) => "heard",
            Word::Ready(_) => "ready",
            Word::Refused(_) => "refused",
            Word::Commit(..) => "commit",
            Word::Done(_) => "done",
        },
    }
}

/// The director at which everything is aimed: it has records of its own, of the peer that is played here and of another one,
/// orders, a change of tables that waits for its commit, and sessions with both.
pub(super) struct Target {
    pub now: Instant,
    pub director: Replicator,
    pub ids: [SessionId; 2],
}

pub(super) const PEERS: [&str; 2] = ["lb1", "lb3"];

pub(super) fn origin(name: &str) -> Origin {
    Origin { node: NodeId::of(name), life: 1 }
}

pub(super) fn hello(name: &str) -> Message {
    let (lowest, highest, domain) = (2, 2, "edge".to_owned());
    Message::Hello(Hello { lowest, highest, domain, node: NodeId::of(name), life: 1, recovering: false })
}

fn round(counter: u64) -> Round {
    Round { counter, leader: NodeId::of("lb1") }
}

pub(super) fn recipes(weight: u32) -> Recipes {
    Recipes([(LaneKey(1), Recipe { size: 251, shares: vec![(7, weight), (9, 1)] })].into())
}

pub(super) fn finding(health: Health) -> Finding {
    let (share, wish, most) = (8, Wish::Ready, 0);
    Finding { health, heard: false, share, wish, fault: false, most, since: 1, risen: 0 }
}

pub(super) fn orders(orders: &[(u64, Order, u64)], author: Origin) -> Message {
    let told = |(server, order, counter): &(u64, Order, u64)| {
        super::super::board::Told::of(ServerKey(*server), *order, *counter, author)
    };
    Message::Note(Note::Orders(orders.iter().map(told).collect()))
}

pub(super) fn step(word: Word) -> Message {
    Message::Note(Note::Step(word))
}

/// A record of these ends at `rs1`.
pub(super) fn record(number: u64, counter: u64, author: Option<Origin>) -> Item {
    Item { counter, ..live(number, author) }
}

/// What the origin holds of this flow id.
pub(super) fn listing(origin: Origin, as_of: u64, item: Item) -> Message {
    let bucket = FlowId::from_bits(item.flow);
    let (first, last) = super::super::digest::range_of(super::super::digest::bucket_of(bucket));
    let (first, last) = (first.bits(), last.bits());
    Message::Listing(Listing { origin, first, last, as_of, parcel: parcel(vec![item]) })
}

impl Target {
    /// With both peers, which have said who they are.
    pub fn new(setup: impl FnOnce(&mut Setup)) -> Self {
        let now = Instant::now();
        let mut its = super::setup("lb2", "lb1");
        its.peers = PEERS.map(NodeId::of).into();
        setup(&mut its);
        let mut director = Replicator::new(its, 0, now);
        director.configure([pair("rs1"), pair("rs2")]).unwrap();
        director.step_mut().found(Some(Tables::of(recipes(1))));
        director.begin(now);
        let ids = PEERS.map(|peer| director.connected(NodeId::of(peer)).unwrap());
        let mut target = Self { now, director, ids };
        for peer in [0, 1] {
            target.hear(peer, hello(PEERS[peer])).unwrap();
        }
        target
    }

    /// See [`Target`].
    fn busy() -> Self {
        let mut target = Self::new(|_| {});
        let now = target.now;
        for number in 0..3 {
            target.director.publish(flow(number), connection("rs2"), now).unwrap();
        }
        target.director.withdraw(flow(2), now);
        for (peer, numbers) in [(0, 10..13), (1, 20..23)] {
            let records = numbers.map(|number| record(number, 30 + number, None)).collect();
            target.hear(peer, Message::Changes(parcel(records))).unwrap();
        }
        let unknown = Parcel {
            names: vec![pair("rs9")],
            records: vec![Item { content: nameless(1), ..record(30, 60, None) }],
        };
        target.hear(1, Message::Changes(unknown)).unwrap();
        target.hear(1, orders(&[(1, Order::Draining, 61)], origin("lb3"))).unwrap();
        target.director.order(ServerKey(2), Order::Weight(3)).unwrap();
        target.hear(1, Message::Standing(Standing::Ready)).unwrap();
        target.hear(0, Message::Standing(Standing::Serving)).unwrap();
        target.hear(0, step(Word::Prepare(round(70), recipes(2)))).unwrap();
        target.director.step_mut().answer(true);
        target.director.step_mut().told();
        target.hear(0, Message::Note(Note::Findings(vec![(AddressKey(1), finding(Health::Up))]))).unwrap();
        while target.director.transmit(target.ids[0], now).is_some() {}
        assert_eq!(target.director.waiting(), 1);
        target
    }

    fn session(&self, peer: usize) -> &super::super::session::Session {
        &self.director.sessions[&NodeId::of(PEERS[peer])]
    }

    /// The next message of this peer.
    pub fn body(&self, peer: usize, message: Message) -> Vec<u8> {
        encode(&Envelope { sequence: self.session(peer).inc.received + 1, message })
    }

    pub fn hear(&mut self, peer: usize, message: Message) -> Result<(), Refusal> {
        let body = self.body(peer, message);
        self.director.receive(self.ids[peer], &body, self.now)
    }

    pub fn knows(&self) -> Knowledge {
        Knowledge::of(&self.director)
    }

    pub fn refused(&self) -> u64 {
        self.director.refusals().iter().map(|(_, count)| count).sum()
    }

    /// It is refused by this name, counted once, and changes nothing.
    pub fn refuses(&mut self, id: SessionId, body: &[u8], refusal: Refusal, what: &str) {
        let (knows, refused) = (self.knows(), self.refused());
        let of_it = self.director.refusals().of(refusal);
        let of_peer = |target: &Self| target.director.refusals_of(NodeId::of("lb1")).of(refusal);
        let (before, is_theirs) = (of_peer(self), refusal != Refusal::StaleSession);
        let outcome = self.director.receive(id, body, self.now);
        assert_eq!(outcome, if refusal.of_a_record() { Ok(()) } else { Err(refusal) }, "{what}");
        assert_eq!(self.director.refusals().of(refusal), of_it + 1, "{what}");
        assert_eq!(self.refused(), refused + 1, "{what}");
        assert_eq!(of_peer(self), before + u64::from(is_theirs), "{what}");
        assert_eq!(self.knows(), knows, "{what}");
    }
}

fn nameless(name: u32) -> Words {
    Words::Live { name, class: Class::Established, idle: IDLE }
}

/// One of each kind, all of which hold where they are said to [`Target::busy`] by its first peer.
fn examples() -> Vec<Message> {
    let mut ended = record(11, 50, None);
    ended.content = Words::Ended;
    let all = vec![
        Message::Ack(1),
        Message::Changes(Parcel {
            names: vec![pair("rs2")],
            records: vec![record(40, 80, None), record(41, 81, None)],
        }),
        Message::Changes(Parcel { names: Vec::new(), records: vec![ended] }),
        Message::Digest { origin: origin("lb1"), sums: vec![(3, 9), (4000, 1)] },
        Message::Want { origin: origin("lb2"), buckets: vec![1, 700] },
        listing(origin("lb1"), 90, record(10, 85, None)),
        Message::Told(Told::Snapshot),
        Message::Standing(Standing::Draining),
        Message::Pulse,
        Message::Released,
        orders(&[(1, Order::Enabled, 90), (3, Order::Weight(900), 91)], origin("lb1")),
        Message::Note(Note::Findings(vec![(AddressKey(1), finding(Health::Down))])),
        step(Word::Stance(Digest(77), true)),
        step(Word::Prepare(round(99), recipes(3))),
        step(Word::Heard(round(70))),
        step(Word::Ready(round(70))),
        step(Word::Refused(round(70))),
        step(Word::Commit(round(70), vec![NodeId::of("lb1"), NodeId::of("lb2")])),
        step(Word::Done(round(70))),
    ];
    let mut kinds: Vec<&str> = all.iter().map(kind).chain(["hello"]).collect();
    let mut wanted = KINDS.to_vec();
    kinds.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(kinds, wanted);
    all
}

#[test]
fn the_examples_hold_and_most_of_them_change_something() {
    let mut idle = Vec::new();
    for message in examples() {
        let mut target = Target::busy();
        let (knows, refused, kind) = (target.knows(), target.refused(), kind(&message));
        target.hear(0, message).unwrap();
        assert_eq!(target.refused(), refused, "{kind}");
        assert_eq!(knows.may_become(&target.knows(), NodeId::of("lb1")), Ok(()), "{kind}");
        if target.knows() == knows {
            idle.push(kind);
        }
    }
    // Who follows is told nothing by a follower's word, and what was not committed is not done.
    assert_eq!(idle, ["ack", "pulse", "heard", "ready", "refused", "done"]);
}

#[test]
fn what_is_cut_short_anywhere_or_has_more_behind_it_is_malformed() {
    let mut target = Target::busy();
    for message in examples() {
        let name = kind(&message);
        let body = target.body(0, message);
        for length in 0..body.len() {
            target.refuses(
                target.ids[0],
                &body[..length],
                Refusal::Malformed,
                &format!("{length} of {name}"),
            );
        }
        for more in [&[0][..], &[0xff], &body] {
            let long = [&body, more].concat();
            target.refuses(target.ids[0], &long, Refusal::Malformed, &format!("{name} with {more:?}"));
        }
    }
}

#[test]
fn one_bit_turned_over_anywhere_is_refused_or_is_another_thing_that_the_peer_may_say() {
    let mut target = Target::busy();
    let (mut refused, mut held) = (0, 0);
    for message in examples() {
        let name = kind(&message);
        let body = target.body(0, message);
        for bit in 0..8 * body.len() {
            let mut forged = body.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let (knows, before) = (target.knows(), target.refused());
            let outcome = target.director.receive(target.ids[0], &forged, target.now);
            let after = target.knows();
            match outcome {
                Err(refusal) => {
                    assert_eq!(after, knows, "bit {bit} of {name}: {refusal}");
                    assert_eq!(target.refused(), before + 1, "bit {bit} of {name}: {refusal}");
                    refused += 1;
                }
                Ok(()) => {
                    let may = knows.may_become(&after, NodeId::of("lb1"));
                    assert_eq!(may, Ok(()), "bit {bit} of {name}");
                    held += 1;
                }
            }
            if !matches!(outcome, Err(Refusal::Malformed | Refusal::OutOfOrder)) {
                target = Target::busy();
            }
        }
    }
    assert!(refused > 500 && held > 100, "{refused} refused, {held} held");
}

#[test]
fn what_is_repeated_left_out_or_swapped_is_out_of_order() {
    for message in examples() {
        let name = kind(&message);
        let mut target = Target::busy();
        let body = target.body(0, message);
        let Envelope { sequence, .. } = decode(&body).unwrap();
        for other in [0, 1, sequence - 1, sequence + 1, sequence + 2, u64::MAX] {
            let message = decode(&body).unwrap().message;
            let forged = encode(&Envelope { sequence: other, message });
            target.refuses(target.ids[0], &forged, Refusal::OutOfOrder, &format!("{name} as {other}"));
        }
        target.director.receive(target.ids[0], &body, target.now).unwrap();
        target.refuses(target.ids[0], &body, Refusal::OutOfOrder, &format!("{name} again"));
    }
}

#[test]
fn nothing_is_heard_before_a_hello_or_of_an_earlier_session() {
    for message in examples() {
        let name = kind(&message);
        let mut target = Target::busy();
        let (old, of_old) = (target.ids[0], target.body(0, message));
        target.ids[0] = target.director.connected(NodeId::of("lb1")).unwrap();
        target.refuses(old, &of_old, Refusal::StaleSession, name);
        target.refuses(target.ids[0], &of_old, Refusal::OutOfOrder, name);
        let message = decode(&of_old).unwrap().message;
        let first = encode(&Envelope { sequence: 1, message });
        target.refuses(target.ids[0], &first, Refusal::HelloExpected, name);
    }
}

#[test]
fn what_was_true_once_is_not_brought_back() {
    let mut target = Target::busy();
    let mut ended = record(11, 50, None);
    ended.content = Words::Ended;
    target.hear(0, Message::Changes(Parcel { names: Vec::new(), records: vec![ended] })).unwrap();
    target.hear(0, orders(&[(1, Order::Enabled, 90)], origin("lb1"))).unwrap();
    // What was said earlier, in the right place of a session, by whom it is: later words hold.
    let knows = target.knows();
    target
        .hear(0, Message::Changes(Parcel { names: Vec::new(), records: vec![record(11, 41, None)] }))
        .unwrap();
    target.hear(0, listing(origin("lb3"), 0, record(20, 49, None))).unwrap();
    target.hear(0, orders(&[(1, Order::Draining, 61)], origin("lb3"))).unwrap();
    let after = target.knows();
    assert_eq!(after.said(), knows.said());
}

#[test]
fn a_hello_of_another_domain_node_or_version_and_a_second_one_are_refused() {
    let Message::Hello(good) = hello("lb1") else { unreachable!() };
    let cases = [
        (Hello { domain: "core".into(), ..good.clone() }, Refusal::OtherDomain),
        (Hello { domain: String::new(), ..good.clone() }, Refusal::OtherDomain),
        (Hello { node: NodeId::of("lb3"), ..good.clone() }, Refusal::OtherNode),
        (Hello { node: NodeId::of("lb2"), ..good.clone() }, Refusal::OtherNode),
        (Hello { node: NodeId::of("lb9"), ..good.clone() }, Refusal::OtherNode),
        (Hello { lowest: 3, highest: 9, ..good.clone() }, Refusal::NoCommonVersion),
        (Hello { lowest: 2, highest: 1, ..good.clone() }, Refusal::NoCommonVersion),
    ];
    for (hello, refusal) in cases {
        let mut target = Target::busy();
        target.refuses(
            target.ids[0],
            &target.body(0, Message::Hello(hello.clone())),
            Refusal::HelloRepeated,
            "hello",
        );
        target.ids[0] = target.director.connected(NodeId::of("lb1")).unwrap();
        let body = target.body(0, Message::Hello(hello));
        target.refuses(target.ids[0], &body, refusal, "hello");
    }
    let mut target = Target::busy();
    assert_eq!(target.director.connected(NodeId::of("lb9")), Err(Refusal::UnknownNode));
}

#[test]
fn unknown_kinds_are_malformed() {
    let mut target = Target::busy();
    let sequence = target.session(0).inc.received + 1;
    let place = u8::try_from(sequence).unwrap();
    for kind in 11..=0x7f {
        target.refuses(target.ids[0], &[place, kind], Refusal::Malformed, "kind");
        target.refuses(target.ids[0], &[&[place, kind], &[0; 40][..]].concat(), Refusal::Malformed, "kind");
    }
    // Kinds of notes, and of words about tables.
    for kind in 3..=0x7f {
        target.refuses(target.ids[0], &[place, 9, kind, 0], Refusal::Malformed, "note");
    }
    for kind in 7..=0x7f {
        target.refuses(target.ids[0], &[place, 9, 2, kind, 0, 0], Refusal::Malformed, "word");
    }
    assert!(target.director.receive(target.ids[0], &[place, 8], target.now).is_ok(), "a pulse is one");
}

#[test]
fn of_each_kind_a_length_out_of_bounds_is_refused_before_its_body() {
    let target = Target::busy();
    for message in examples() {
        let frame = framed(&target.body(0, message));
        for (length, refusal) in [
            (0, Refusal::FrameEmpty),
            (LONGEST as u32 + 1, Refusal::FrameTooLong),
            (u32::MAX, Refusal::FrameTooLong),
        ] {
            let mut forged = frame.clone();
            forged[..4].copy_from_slice(&length.to_le_bytes());
            assert_eq!(Frames::default().push(&forged, |_| panic!("a body")), Err(refusal));
        }
    }
}

#[test]
fn what_is_refused_as_a_whole_leaves_nothing_of_its_parts() {
    let bad = || vec![pair("fine"), pair("")];
    let later = record(10, 95, None);
    let named = |records| Parcel { names: bad(), records };
    let cut = Listing { origin: origin("lb1"), first: 0, last: 5, as_of: 99, parcel: named(vec![]) };
    let Message::Listing(mut whole) = listing(origin("lb1"), 99, later) else { unreachable!() };
    whole.parcel.names = bad();
    whole.parcel.records.clear();
    let far = vec![5000, 1];
    let cases = [
        (Message::Changes(named(vec![record(50, 90, None)])), Refusal::BadName),
        // It would end what it does not list.
        (Message::Listing(whole), Refusal::BadName),
        (Message::Listing(cut), Refusal::BadName),
        (Message::Want { origin: origin("lb2"), buckets: far }, Refusal::TooManyBuckets),
        (Message::Ack(9999), Refusal::NotAsked),
        (Message::Changes(parcel(vec![record(1, 90, Some(origin("lb3")))])), Refusal::NotItsOwn),
        (listing(origin("lb2"), 9, record(1, 90, None)), Refusal::Malformed),
        (listing(origin("lb3"), 9, record(20, 90, None)), Refusal::Malformed),
        (Message::Digest { origin: origin("lb1"), sums: vec![(4096, 1)] }, Refusal::Malformed),
        (Message::Digest { origin: origin("lb1"), sums: vec![(2, 1), (1, 1)] }, Refusal::Malformed),
    ];
    for (message, refusal) in cases {
        let mut target = Target::busy();
        let body = target.body(0, message);
        target.refuses(target.ids[0], &body, refusal, &format!("{refusal}"));
    }
}

#[test]
fn what_is_refused_of_one_record_changes_nothing_else() {
    let other = |content| {
        Message::Changes(Parcel {
            names: Vec::new(),
            records: vec![Item { content, ..record(50, 90, None) }],
        })
    };
    let cases = [
        (
            Message::Changes(Parcel { names: vec![], records: vec![record(50, u64::MAX, None)] }),
            Refusal::CounterOutOfRange,
        ),
        (
            Message::Changes(Parcel {
                names: vec![],
                records: vec![Item { flow: 1 << 50, ..record(50, 90, None) }],
            }),
            Refusal::FlowOutOfRange,
        ),
        (other(Words::Live { name: 0, class: Class::Established, idle: IDLE + 1 }), Refusal::ExpiryTooLong),
        (other(nameless(9)), Refusal::UndefinedName),
        (orders(&[(1, Order::Enabled, u64::MAX)], origin("lb1")), Refusal::CounterOutOfRange),
        (
            step(Word::Prepare(Round { counter: u64::MAX, leader: NodeId::of("lb1") }, recipes(9))),
            Refusal::CounterOutOfRange,
        ),
        (Message::Digest { origin: origin("lb9"), sums: vec![] }, Refusal::UnknownOrigin),
    ];
    for (message, refusal) in cases {
        let mut target = Target::busy();
        // The question of a stranger's records is answered: with nothing.
        let (refused, knows) = (target.director.refusals().of(refusal), target.knows());
        target.hear(0, message).unwrap();
        assert_eq!(target.director.refusals().of(refusal), refused + 1, "{refusal}");
        assert_eq!(target.knows().said(), knows.said(), "{refusal}");
    }
    for (message, refusal) in [
        (listing(origin("lb2"), 0, record(1, 90, None)), Refusal::ForgedSelf),
        (listing(origin("lb9"), 0, record(20, 90, None)), Refusal::UnknownOrigin),
    ] {
        let mut target = Target::busy();
        let (refused, knows) = (target.director.refusals().of(refusal), target.knows());
        target.hear(0, message).unwrap();
        assert_eq!(target.director.refusals().of(refusal), refused + 1, "{refusal}");
        assert_eq!(target.knows().said(), knows.said(), "{refusal}");
    }
}

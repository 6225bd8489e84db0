//! Two directors on one desk: what one says, handed to the other message by message, true or forged.

mod backup;
mod forged;
mod recovering;
mod stolen;

use std::time::{Duration, Instant};

use lb_common::identity::FlowId;
use proptest::prelude::*;

use super::backup::Scope;
use super::join::{Patience, Standing};
use super::message::{Envelope, Hello, Item, Listing, Message, Parcel, Words, decode, encode};
use super::record::{ByKind, Class, Connection, Content, Entry, Pair};
use super::refusal::Refusal;
use super::replicator::{Replicator, Setup};
use super::session::SessionId;
use super::store::{Bounds, Merge, Store};
use super::version::{NodeId, Origin, Version};

const IDLE: u32 = 900;

pub(super) fn pair(server: &str) -> Pair {
    Pair { service: "web".into(), server: server.into(), lane: "80".into() }
}

pub(super) fn connection(server: &str) -> Connection {
    Connection { target: pair(server).target(), class: Class::Established, idle: IDLE }
}

pub(super) fn flow(number: u64) -> FlowId {
    FlowId::from_bits(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 14)
}

pub(super) fn setup(name: &str, peer: &str) -> Setup {
    Setup {
        origin: Origin { node: NodeId::of(name), life: 1 },
        recovering: false,
        domain: "edge".into(),
        since_1970: Duration::ZERO,
        peers: [NodeId::of(peer)].into(),
        scope: Scope::All,
        bounds: Bounds {
            records: ByKind { connections: 10_000, seats: 10_000, leases: 10_000 },
            tombstones: 10_000,
            origins: 4,
            longest_idle: Duration::from_secs(u64::from(IDLE)),
        },
        quarantine: 2,
        dirty: 100,
        digest_interval: Duration::from_secs(10),
        patience: Patience::default(),
    }
}

/// Seed 370 of the simulation: a later record replaces a tombstone, lapses, and then an older one turns up.
#[test]
fn what_had_ended_stays_ended_when_a_later_record_leaves_without_a_trace() {
    let (Setup { origin, bounds, .. }, since, flow) = (setup("lb1", "lb2"), Instant::now(), flow(1));
    let live = Content::Live(connection("rs1"));
    let entry = |counter, content| Entry { version: Version { counter, origin }, content, since };
    let later = since + Duration::from_secs(u64::from(IDLE) * 2);
    let mut store = Store::new(bounds);
    assert_eq!(store.merge(flow, entry(2, Content::Ended)), Ok(Merge::Applied));
    assert_eq!(store.merge(flow, entry(3, live)), Ok(Merge::Applied));
    assert_eq!((store.live(), store.tombstones()), (1, 1));
    store.remove(flow);
    assert_eq!(store.merge(flow, entry(1, live)), Ok(Merge::Older), "it ended in the second");
    assert_eq!(store.merge(flow, entry(3, live)), Ok(Merge::Applied), "its origin may bring it back");
    // The end of the later one is one for both.
    assert_eq!(store.merge(flow, entry(4, Content::Ended)), Ok(Merge::Applied));
    assert_eq!((store.live(), store.tombstones()), (0, 1));
    // Under a record that lives on, a tombstone has its time as any.
    assert_eq!(store.merge(flow, entry(5, live)), Ok(Merge::Applied));
    store.sweep(later);
    assert_eq!((store.live(), store.tombstones()), (1, 0));
    store.remove(flow);
    assert_eq!(store.get(flow), None);
}

fn director(name: &str, peer: &str, now: Instant) -> Replicator {
    let mut director = Replicator::new(setup(name, peer), 0, now);
    director.configure([pair("rs1"), pair("rs2")]).unwrap();
    director.begin(now);
    director
}

struct Desk {
    now: Instant,
    sides: [Replicator; 2],
    ids: [SessionId; 2],
}

impl Desk {
    fn new() -> Self {
        let now = Instant::now();
        let mut sides = [director("lb1", "lb2", now), director("lb2", "lb1", now)];
        let ids =
            [sides[0].connected(NodeId::of("lb2")).unwrap(), sides[1].connected(NodeId::of("lb1")).unwrap()];
        Self { now, sides, ids }
    }

    /// Everything that is to be said is said; the messages of the first side.
    fn talk(&mut self) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        loop {
            let before = said.len();
            let mut quiet = true;
            for from in [0, 1] {
                while let Some(body) = self.sides[from].transmit(self.ids[from], self.now) {
                    self.sides[1 - from].receive(self.ids[1 - from], &body, self.now).unwrap();
                    quiet = false;
                    if from == 0 {
                        said.push(body);
                    }
                }
            }
            if quiet && said.len() == before {
                return said;
            }
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.sides.iter_mut().for_each(|side| side.tick(self.now));
            self.talk();
        }
    }

    fn lag(&self) -> super::session::Lag {
        self.sides[0].lag(NodeId::of("lb2"), self.now).unwrap()
    }

    /// A message to the second side, in the place of the first side's next one.
    fn forge(&mut self, message: Message) -> Result<(), Refusal> {
        let sequence = self.sides[1].sessions[&NodeId::of("lb1")].inc.received + 1;
        self.sides[1].receive(self.ids[1], &encode(&Envelope { sequence, message }), self.now)
    }
}

#[test]
fn what_one_has_sent_the_other_has_received_also_over_a_second_session() {
    let mut desk = Desk::new();
    let traffic =
        |desk: &Desk| [desk.sides[0].traffic(NodeId::of("lb2")), desk.sides[1].traffic(NodeId::of("lb1"))];
    desk.sides[0].publish(flow(1), connection("rs1"), desk.now).unwrap();
    desk.talk();
    let [one, other] = traffic(&desk);
    assert_eq!((one.sent, other.sent), (other.received, one.received));
    assert_eq!((one.sent.records, other.sent.records), (1, 0));
    assert_eq!((one.sent.snapshots, other.sent.snapshots), (1, 1));
    desk.sides[0].withdraw(flow(1), desk.now);
    desk.sides[0].publish(flow(2), connection("rs2"), desk.now).unwrap();
    let said = desk.talk();
    let [after, _] = traffic(&desk);
    assert_eq!(after.sent.records, 3, "a tombstone is a record");
    assert_eq!(after.sent.bytes - one.sent.bytes, said.iter().map(|body| body.len() as u64).sum::<u64>());
    desk.ids = [
        desk.sides[0].connected(NodeId::of("lb2")).unwrap(),
        desk.sides[1].connected(NodeId::of("lb1")).unwrap(),
    ];
    desk.talk();
    let [one, other] = traffic(&desk);
    assert_eq!((one.sent, other.sent), (other.received, one.received));
    assert_eq!((one.sent.snapshots, other.sent.snapshots), (2, 2));
    assert!(one.sent.bytes > after.sent.bytes, "a session does not begin the count anew");
}

fn live(number: u64, author: Option<Origin>) -> Item {
    let content = Words::Live { name: 0, class: Class::Established, idle: IDLE };
    Item { flow: flow(number).bits(), counter: 7, author, age: 0, content }
}

fn parcel(records: Vec<Item>) -> Parcel {
    Parcel { names: vec![pair("rs1")], records }
}

#[test]
fn a_record_gets_there_changes_and_ends() {
    let mut desk = Desk::new();
    desk.talk();
    desk.sides[0].publish(flow(1), connection("rs1"), desk.now).unwrap();
    assert_eq!(desk.sides[1].replica(flow(1)), None);
    desk.talk();
    assert_eq!(desk.sides[1].replica(flow(1)), Some(&connection("rs1")));
    assert_eq!(desk.sides[1].changes(), [flow(1)].into());
    assert_eq!(desk.sides[0].replica(flow(1)), None, "its own entry stands in its flow table");

    desk.sides[0].publish(flow(1), connection("rs2"), desk.now).unwrap();
    desk.talk();
    assert_eq!(desk.sides[1].replica(flow(1)), Some(&connection("rs2")));
    desk.sides[0].withdraw(flow(1), desk.now);
    desk.talk();
    assert_eq!(desk.sides[1].replica(flow(1)), None);
    assert!(desk.sides[0].acknowledged());
}

#[test]
fn saying_the_same_again_says_nothing() {
    let mut desk = Desk::new();
    desk.talk();
    desk.sides[0].publish(flow(1), connection("rs1"), desk.now).unwrap();
    desk.talk();
    desk.sides[0].publish(flow(1), connection("rs1"), desk.now).unwrap();
    desk.sides[1].withdraw(flow(1), desk.now);
    assert!(desk.talk().is_empty());
    assert_eq!(desk.sides[1].replica(flow(1)), Some(&connection("rs1")), "not the peer's to withdraw");
}

#[test]
fn idle_connections_live_on_by_digests_alone_and_not_without() {
    let mut desk = Desk::new();
    desk.sides[0].publish(flow(1), connection("rs1"), desk.now).unwrap();
    desk.pass(3 * u64::from(IDLE));
    assert_eq!(desk.sides[1].replica(flow(1)), Some(&connection("rs1")));
    desk.sides[1].disconnected(desk.ids[1]);
    for _ in 0..IDLE + 20 {
        desk.now += Duration::from_secs(1);
        desk.sides[1].tick(desk.now);
    }
    assert_eq!(desk.sides[1].replica(flow(1)), None);
}

#[test]
fn a_slow_peer_gets_the_last_value_and_beyond_the_bound_what_differs() {
    let mut desk = Desk::new();
    desk.talk();
    for server in ["rs1", "rs2", "rs1", "rs2"] {
        for number in 0..100 {
            desk.sides[0].publish(flow(number), connection(server), desk.now).unwrap();
        }
    }
    assert_eq!((desk.lag().dirty, desk.lag().stale), (100, false));
    desk.now += Duration::from_millis(70);
    assert_eq!(desk.lag().oldest, Some(Duration::from_millis(70)));
    desk.talk();
    assert_eq!((desk.lag().dirty, desk.lag().oldest), (0, None));
    for number in 0..3000 {
        desk.sides[0].publish(flow(number), connection("rs1"), desk.now).unwrap();
    }
    assert_eq!((desk.lag().dirty, desk.lag().stale), (0, true));
    assert!(!desk.sides[0].acknowledged());
    desk.talk();
    assert!(desk.sides[0].acknowledged());
    assert!((0..3000).all(|number| desk.sides[1].replica(flow(number)) == Some(&connection("rs1"))));
}

#[test]
fn silent_divergence_is_found_and_just_that_is_sent() {
    let mut desk = Desk::new();
    for number in 0..3000 {
        desk.sides[0].publish(flow(number), connection("rs1"), desk.now).unwrap();
    }
    desk.talk();
    desk.sides[1].store.remove(flow(77));
    desk.now += Duration::from_secs(10);
    desk.sides[0].tick(desk.now);
    let listings = desk
        .talk()
        .iter()
        .filter(|body| matches!(decode(body).unwrap().message, Message::Listing(_)))
        .count();
    assert_eq!(listings, 1);
    assert!(desk.sides[1].replica(flow(77)).is_some());
    assert_eq!(desk.sides[1].lag(NodeId::of("lb1"), desk.now).unwrap().divergent, 1);
    desk.pass(10);
    assert_eq!(desk.sides[1].lag(NodeId::of("lb1"), desk.now).unwrap().divergent, 0);
}

#[test]
fn a_restarted_agent_gets_back_what_it_exported() {
    let mut desk = Desk::new();
    desk.sides[0].publish(flow(1), connection("rs1"), desk.now).unwrap();
    desk.sides[0].publish(flow(2), connection("rs2"), desk.now).unwrap();
    desk.pass(1);
    let recovering = Setup { recovering: true, ..setup("lb1", "lb2") };
    desk.sides[0] = Replicator::new(recovering, desk.sides[0].mark(), desk.now);
    desk.sides[0].configure([pair("rs1"), pair("rs2")]).unwrap();
    desk.sides[0].begin(desk.now);
    desk.ids = [
        desk.sides[0].connected(NodeId::of("lb2")).unwrap(),
        desk.sides[1].connected(NodeId::of("lb1")).unwrap(),
    ];
    desk.talk();
    // One of the two lives on in the flow table, the other ended while no agent was there.
    desk.sides[0].publish(flow(1), connection("rs1"), desk.now).unwrap();
    desk.sides[0].withdraw(flow(2), desk.now);
    desk.pass(30);
    assert_eq!(desk.sides[0].standing(), Standing::Ready);
    assert_eq!(desk.sides[1].replica(flow(1)), Some(&connection("rs1")));
    assert_eq!(desk.sides[1].replica(flow(2)), None);
}

#[test]
fn who_takes_over_answers_for_silent_connections_until_they_lapse() {
    let mut desk = Desk::new();
    desk.sides[0].publish(flow(1), connection("rs1"), desk.now).unwrap();
    desk.pass(1);
    // The first machine dies with all it had, and comes back as another life that knows nothing.
    let dead = desk.sides[0].setup.origin;
    desk.sides[1].disconnected(desk.ids[1]);
    desk.now += Duration::from_secs(u64::from(IDLE) / 2);
    desk.sides[1].take_over(dead, desk.now);
    let reborn = Setup { origin: Origin { life: 2, ..dead }, ..setup("lb1", "lb2") };
    desk.sides[0] = Replicator::new(reborn, 0, desk.now);
    desk.sides[0].configure([pair("rs1"), pair("rs2")]).unwrap();
    desk.sides[0].begin(desk.now);
    desk.ids = [
        desk.sides[0].connected(NodeId::of("lb2")).unwrap(),
        desk.sides[1].connected(NodeId::of("lb1")).unwrap(),
    ];
    desk.pass(u64::from(IDLE) - 1);
    for side in &desk.sides {
        assert_eq!(side.replica(flow(1)), Some(&connection("rs1")), "its expiry began anew");
    }
    desk.pass(20);
    for side in &desk.sides {
        assert_eq!((side.replica(flow(1)), side.store().live()), (None, 0), "no packet ever came");
    }
}

/// The lower of two that start together goes first; one whose peer has only said hello does not know whether they do.
#[test]
fn who_joins_waits_to_hear_how_far_its_peer_is() {
    let (low, high) = ("lb1", "lb2");
    let (low, high) = if NodeId::of(low) < NodeId::of(high) { (low, high) } else { (high, low) };
    let mut now = Instant::now();
    let mut old = director(high, low, now);
    old.publish(flow(1), connection("rs1"), now).unwrap();
    now += Duration::from_secs(6);
    old.tick(now);
    assert_eq!(old.standing(), Standing::Ready, "it was alone");
    let mut new = director(low, high, now);
    let there = old.connected(NodeId::of(low)).unwrap();
    let here = new.connected(NodeId::of(high)).unwrap();
    let hello = old.transmit(there, now).unwrap();
    new.receive(here, &hello, now).unwrap();
    new.tick(now);
    assert_eq!((new.standing(), new.store().live()), (Standing::Connect, 0));
    while let Some(body) = new.transmit(here, now) {
        old.receive(there, &body, now).unwrap();
        while let Some(body) = old.transmit(there, now) {
            new.receive(here, &body, now).unwrap();
            new.tick(now);
            assert!(new.standing() < Standing::Ready || new.store().live() == 1);
        }
    }
    new.tick(now);
    assert_eq!((new.standing(), new.store().live()), (Standing::Ready, 1));
}

#[test]
fn unknown_servers_wait_in_bounded_number_and_come_into_force_with_the_configuration() {
    let mut desk = Desk::new();
    desk.sides[1].configure([pair("rs1")]).unwrap();
    for number in 0..5 {
        desk.sides[0].publish(flow(number), connection("rs2"), desk.now).unwrap();
    }
    desk.talk();
    assert_eq!((desk.sides[1].waiting(), desk.sides[1].refusals().of(Refusal::QuarantineFull)), (2, 3));
    assert!((0..5).all(|number| desk.sides[1].replica(flow(number)).is_none()));
    desk.sides[1].configure([pair("rs1"), pair("rs2")]).unwrap();
    assert_eq!(desk.sides[1].changes().len(), 2);
    desk.pass(11);
    assert!((0..5).all(|number| desk.sides[1].replica(flow(number)).is_some()));
}

#[test]
fn strangers_are_refused_at_the_door() {
    let now = Instant::now();
    let good = || Hello {
        lowest: 2,
        highest: 2,
        domain: "edge".into(),
        node: NodeId::of("lb2"),
        life: 1,
        recovering: false,
    };
    let says = |message: Message| {
        let mut side = director("lb1", "lb2", now);
        let id = side.connected(NodeId::of("lb2")).unwrap();
        let told = side.receive(id, &encode(&Envelope { sequence: 1, message }), now);
        told.inspect_err(|refusal| assert_eq!(side.refusals().of(*refusal), 1))
    };
    assert_eq!(says(Message::Hello(good())), Ok(()));
    assert_eq!(says(Message::Hello(Hello { domain: "core".into(), ..good() })), Err(Refusal::OtherDomain));
    assert_eq!(says(Message::Hello(Hello { node: NodeId::of("lb3"), ..good() })), Err(Refusal::OtherNode));
    assert_eq!(
        says(Message::Hello(Hello { lowest: 3, highest: 4, ..good() })),
        Err(Refusal::NoCommonVersion)
    );
    assert_eq!(says(Message::Ack(0)), Err(Refusal::HelloExpected));
    assert_eq!(director("lb1", "lb2", now).connected(NodeId::of("lb3")), Err(Refusal::UnknownNode));
}

#[test]
fn what_a_peer_may_not_say_has_no_effect() {
    use forged::listing;

    let (us, third) =
        (Origin { node: NodeId::of("lb2"), life: 1 }, Origin { node: NodeId::of("lb9"), life: 1 });
    let sender = Origin { node: NodeId::of("lb1"), life: 1 };
    let mut far = live(1, None);
    far.counter = u64::MAX;
    let mut long = live(1, None);
    long.content = Words::Live { name: 0, class: Class::Established, idle: IDLE + 1 };
    let mut nameless = live(1, None);
    nameless.content = Words::Live { name: 5, class: Class::Established, idle: 1 };
    let mut outside = live(1, None);
    outside.flow = 1 << 50;
    for (message, refusal) in [
        (Message::Changes(parcel(vec![live(1, Some(third))])), Refusal::NotItsOwn),
        (listing(us, 9, live(1, None)), Refusal::Malformed),
        (listing(us, 0, live(1, None)), Refusal::ForgedSelf),
        (listing(third, 0, live(1, None)), Refusal::UnknownOrigin),
        (Message::Changes(parcel(vec![far])), Refusal::CounterOutOfRange),
        (Message::Changes(parcel(vec![long])), Refusal::ExpiryTooLong),
        (Message::Changes(parcel(vec![nameless])), Refusal::UndefinedName),
        (Message::Changes(parcel(vec![outside])), Refusal::FlowOutOfRange),
        (Message::Ack(1000), Refusal::NotAsked),
        (Message::Want { origin: sender, buckets: vec![1] }, Refusal::NotAsked),
        (Message::Digest { origin: sender, sums: vec![(4096, 1)] }, Refusal::Malformed),
    ] {
        let mut desk = Desk::new();
        desk.talk();
        desk.sides[1].publish(flow(3), connection("rs2"), desk.now).unwrap();
        let told = desk.forge(message);
        assert_eq!(told.is_err(), !refusal.of_a_record(), "{refusal}");
        assert_eq!(desk.sides[1].refusals().of(refusal), 1, "{refusal}");
        assert_eq!(desk.sides[1].store().iter().count(), 1, "{refusal}");
        assert_eq!(desk.sides[1].store().live(), 1, "{refusal}");
    }
    // The same words in good faith do have an effect.
    let mut desk = Desk::new();
    desk.talk();
    desk.forge(Message::Changes(parcel(vec![live(1, None)]))).unwrap();
    assert_eq!(desk.sides[1].replica(flow(1)), Some(&connection("rs1")));
}

#[test]
fn a_change_costs_few_bytes() {
    let mut desk = Desk::new();
    desk.talk();
    for number in 0..100 {
        desk.sides[0].publish(flow(number), connection("rs1"), desk.now).unwrap();
    }
    let bytes: usize = desk.talk().iter().map(Vec::len).sum();
    assert!(bytes < 100 * 20, "{bytes} bytes for a hundred records");
}

proptest! {
    #[test]
    fn damaged_messages_never_bring_a_director_down(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        which in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut desk = Desk::new();
        for number in 0..20 {
            desk.sides[0].publish(flow(number), connection("rs1"), desk.now).unwrap();
        }
        let said = desk.talk();
        let whole = which.get(&said);
        let mut body = whole[..=cut.index(whole.len())].to_vec();
        for (at, byte) in damage {
            let at = at.index(body.len());
            body[at] ^= byte;
        }
        let mut other = director("lb2", "lb1", desk.now);
        let id = other.connected(NodeId::of("lb1")).unwrap();
        let hello = said.first().unwrap();
        let _ = other.receive(id, hello, desk.now);
        if let Ok(Envelope { message, .. }) = decode(&body) {
            let _ = other.receive(id, &encode(&Envelope { sequence: 2, message }), desk.now);
        }
        let _ = other.receive(id, &body, desk.now);
        while other.transmit(id, desk.now).is_some() {}
        other.tick(desk.now + Duration::from_secs(10));
    }
}

/// How many of how long, in the order of the buckets.
fn window(desk: &Desk) -> Vec<(Option<u64>, u64)> {
    let window = desk.sides[0].traffic(NodeId::of("lb2")).window;
    let counted = window.buckets().filter(|(_, count)| *count > 0);
    counted.map(|(bound, count)| (bound.map(|bound| bound.as_millis() as u64), count)).collect()
}

#[test]
fn the_loss_window_ends_when_the_peer_has_acknowledged_a_connection() {
    let mut desk = Desk::new();
    desk.talk();
    let settled = desk.now;
    desk.now += Duration::from_millis(3);
    for number in 0..5 {
        desk.sides[0].publish(flow(number), connection("rs1"), desk.now).unwrap();
    }
    // Of what the walk found, nobody knows since when.
    for number in 0..4 {
        desk.sides[0].settled(flow(number), settled);
    }
    assert_eq!(window(&desk), [], "it is not even sent");
    let body = desk.sides[0].transmit(desk.ids[0], desk.now).unwrap();
    desk.sides[1].receive(desk.ids[1], &body, desk.now).unwrap();
    assert_eq!(window(&desk), [], "nobody has said that it came");
    desk.now += Duration::from_millis(30);
    desk.talk();
    assert_eq!(window(&desk), [(Some(50), 4)]);
    // Once known, a connection is told of again without a window; so is one that had been sent before it was announced.
    for number in 0..5 {
        desk.sides[0].publish(flow(number), connection("rs2"), desk.now).unwrap();
    }
    desk.talk();
    desk.sides[0].settled(flow(0), settled);
    desk.talk();
    assert_eq!(window(&desk), [(Some(50), 4)]);
}

#[test]
fn more_connections_than_are_kept_for_a_peer_are_told_without_a_window() {
    let mut desk = Desk::new();
    desk.talk();
    for number in 0..=100 {
        desk.sides[0].publish(flow(number), connection("rs1"), desk.now).unwrap();
        desk.sides[0].settled(flow(number), desk.now);
    }
    desk.talk();
    assert!(desk.sides[1].replica(flow(100)).is_some(), "the digest brings them");
    assert_eq!(window(&desk), []);
}

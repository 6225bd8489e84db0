//! A peer with a valid certificate that means harm, and what it can do at most: what `docs/replication.md` says of a stolen
//! certificate, line by line.

use std::collections::BTreeMap;

use super::super::board::{AddressKey, Concern, Health, Note, Order, ServerKey};
use super::super::join::OnTimeout;
use super::super::message::Told;
use super::super::names::MOST_NAMES;
use super::super::record::{Lease, Stage};
use super::super::step::{Digest, LaneKey, Recipe, Recipes, Round, Task, Word};
use super::super::version::Counter;
use super::forged::{PEERS, Target, finding, hello, listing, orders, origin, recipes, record, step};
use super::*;

/// The one that is played here, and the honest one.
const THIEF: usize = 0;
const HONEST: usize = 1;

fn at(name: u32, class: Class) -> Words {
    Words::Live { name, class, idle: IDLE }
}

fn changes(names: Vec<Pair>, records: Vec<Item>) -> Message {
    Message::Changes(Parcel { names, records })
}

fn seat(number: u64, counter: u64) -> Item {
    Item { content: at(0, Class::Seat([192, 0, 2, 1].into())), ..record(number, counter, None) }
}

fn lease(number: u64, counter: u64) -> Item {
    let lease = Lease {
        source: [198, 51, 100, 9].into(),
        source_port: 1024,
        client: [203, 0, 113, 1].into(),
        client_port: number as u16,
        vip_port: 80,
    };
    Item { content: at(0, Class::Lease(Stage::Established, lease)), ..record(number, counter, None) }
}

impl Target {
    /// Some of this director's peers say what they are asked, and this director says all it has to.
    fn talk(&mut self) -> usize {
        let (mut bytes, now) = (0, self.now);
        for id in self.ids {
            while let Some(body) = self.director.transmit(id, now) {
                bytes += body.len();
            }
        }
        bytes
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.director.tick(self.now);
        }
    }

    fn come_back(&mut self, peer: usize) {
        self.ids[peer] = self.director.connected(NodeId::of(PEERS[peer])).unwrap();
        self.hear(peer, hello(PEERS[peer])).unwrap();
    }
}

#[test]
fn it_steers_and_ends_connections_but_only_to_what_is_configured_and_what_is_ours_comes_back() {
    let mut target = Target::new(|_| {});
    target.director.publish(flow(1), connection("rs2"), target.now).unwrap();
    target.hear(HONEST, Message::Changes(parcel(vec![record(20, 50, None)]))).unwrap();
    // As itself, later than we; and in the other's name, which it may pass on.
    target.hear(THIEF, Message::Changes(parcel(vec![record(1, 90, None)]))).unwrap();
    assert_eq!(target.director.replica(flow(1)), Some(&connection("rs1")));
    let mut ended = record(20, 91, None);
    ended.content = Words::Ended;
    target.hear(THIEF, listing(origin("lb3"), 0, ended)).unwrap();
    assert_eq!(target.director.replica(flow(20)), None);
    // Not in our name; and the next packet here makes the record ours again.
    target.hear(THIEF, listing(origin("lb2"), 0, record(1, 99, None))).unwrap();
    assert_eq!(target.director.refusals().of(Refusal::ForgedSelf), 1);
    target.director.publish(flow(1), connection("rs2"), target.now).unwrap();
    assert!(target.director.is_own(flow(1)));
    // A service, server or lane of no file leads nowhere.
    let strange = [("other", "rs1", "80"), ("web", "192.0.2.66", "80"), ("web", "rs1", "81")];
    for (number, (service, server, lane)) in (30..).zip(strange) {
        let name = Pair { service: service.into(), server: server.into(), lane: lane.into() };
        let item = Item { content: at(1, Class::Established), ..record(number, 100, None) };
        target.come_back(THIEF);
        target.hear(THIEF, changes(vec![pair("rs1"), name], vec![item])).unwrap();
        assert_eq!(target.director.replica(flow(number)), None, "{server}");
    }
    assert_eq!(target.director.refusals().of(Refusal::QuarantineFull), 1, "two may wait");
    let all: Vec<FlowId> = target.director.store().iter().map(|(flow, _)| flow).collect();
    let known = [pair("rs1").target(), pair("rs2").target()];
    assert!(
        all.iter().filter_map(|flow| target.director.replica(*flow)).all(|it| known.contains(&it.target))
    );
}

#[test]
fn it_fills_the_room_for_records_and_no_more() {
    let (tombstones, origins) = (30, 4);
    let records = ByKind { connections: 50, seats: 20, leases: 10 };
    let mut target = Target::new(|setup| {
        let longest_idle = setup.bounds.longest_idle;
        setup.bounds = Bounds { records, tombstones, origins, longest_idle };
    });
    target.director.publish(flow(1), connection("rs1"), target.now).unwrap();
    for number in 1000..1200 {
        target.hear(THIEF, Message::Changes(parcel(vec![record(number, number, None)]))).unwrap();
        target.hear(THIEF, Message::Changes(parcel(vec![seat(number + 5000, number)]))).unwrap();
        target.hear(THIEF, Message::Changes(parcel(vec![lease(number + 9000, number)]))).unwrap();
    }
    for number in 2000..2200 {
        let ended = Item { content: Words::Ended, ..record(number, number, None) };
        target.hear(THIEF, changes(vec![], vec![ended])).unwrap();
    }
    let store = target.director.store();
    assert_eq!((store.live_by_kind(), store.tombstones()), (records, tombstones));
    // Nobody else has room, we neither; what we had stays.
    assert_eq!(target.director.publish(flow(2), connection("rs1"), target.now), Err(Refusal::StoreFull));
    assert!(target.director.is_own(flow(1)));
    // In the name of lives that nobody has had.
    for life in 2..10 {
        let forged = Origin { life, ..origin("lb3") };
        target.hear(THIEF, listing(forged, 0, record(1000, 3000 + life, None))).unwrap();
    }
    assert!(target.director.store().origins().count() <= origins);
    // It lapses when nobody says it again.
    target.director.disconnected(target.ids[THIEF]);
    target.pass(u64::from(IDLE) + 20);
    assert_eq!(target.director.store().live(), 1, "ours");
    target.director.publish(flow(2), connection("rs1"), target.now).unwrap();
}

#[test]
fn names_that_it_made_up_leave_with_it() {
    let mut target = Target::new(|_| {});
    let made_up = |from: usize| (from..from + MOST_NAMES / 2).map(|it| pair(&it.to_string())).collect();
    for from in [0, MOST_NAMES / 2] {
        target.hear(THIEF, changes(made_up(from), vec![])).unwrap();
    }
    // Of another one something is heard that is new here, while the thief is there.
    let fresh = Item { content: at(0, Class::Established), ..record(20, 50, None) };
    assert_eq!(target.hear(HONEST, changes(vec![pair("rs3")], vec![fresh])), Ok(()));
    assert_eq!(target.hear(THIEF, changes(vec![pair("x")], vec![])), Err(Refusal::TooManyNames));
    target.director.disconnected(target.ids[THIEF]);
    assert_eq!(target.director.names.known(), 3);
    // What is waiting for its name has kept it.
    target.director.configure([pair("rs1"), pair("rs2"), pair("rs3")]).unwrap();
    assert_eq!(target.director.replica(flow(20)), Some(&connection("rs3")));
}

#[test]
fn it_orders_as_an_operator_does_and_an_operator_overrules_it() {
    let mut target = Target::new(|_| {});
    target.hear(THIEF, orders(&[(1, Order::Disabled, 1 << 40)], origin("lb1"))).unwrap();
    assert_eq!(target.director.board().order(ServerKey(1), Concern::Traffic), Some(Order::Disabled));
    target.director.order(ServerKey(1), Order::Enabled).unwrap();
    assert_eq!(target.director.board().order(ServerKey(1), Concern::Traffic), Some(Order::Enabled));
    // It orders things of servers that nobody has.
    for from in (0..300_000).step_by(4096) {
        let many: Vec<_> = (from..from + 4096).map(|it| (it + 100, Order::Draining, 2)).collect();
        target.hear(THIEF, orders(&many, origin("lb1"))).unwrap();
    }
    assert_eq!(target.director.board().orders().count(), 2 * MOST_NAMES);
    assert!(target.director.refusals().of(Refusal::TooManyOrders) > 0);
    target.director.order(ServerKey(50), Order::Draining).expect("an operator here has room");
    // And after a restart, too.
    let mut again = Target::new(|_| {}).director;
    for (server, given) in target.director.board().orders() {
        again.remember(server, given).expect("what was kept is remembered");
    }
}

/// Two records used to be enough to make one director's records unbelievable to another one for ever.
#[test]
fn it_pushes_the_counter_no_further_than_the_clock_allows_and_honest_ones_go_on() {
    let year = Duration::from_secs(1_700_000_000);
    let mut target = Target::new(|setup| setup.since_1970 = year);
    let mut number = 100;
    let mut step = 1 << 62;
    while step > 0 {
        let counter = target.director.counter.now() + step;
        let (knows, refused) = (target.director.counter.now(), target.refused());
        target.hear(THIEF, Message::Changes(parcel(vec![record(number, counter, None)]))).unwrap();
        if target.refused() > refused {
            assert_eq!(target.director.counter.now(), knows);
            step /= 2;
        }
        number += 1;
        target
            .hear(THIEF, changes(vec![], vec![Item { content: Words::Ended, ..record(1, knows, None) }]))
            .unwrap();
    }
    let ceiling = Counter::ceiling(year);
    assert!(target.director.counter.now().abs_diff(ceiling) < 1 << 30, "{:x}", target.director.counter.now());
    assert!(ceiling < u64::MAX / 64, "there is room for ages");
    // What we write now is believed by one who has heard nothing of it, and whose clock is a minute behind, after that minute.
    target.pass(1);
    target.director.publish(flow(1), connection("rs1"), target.now).unwrap();
    let ours = target.director.store().get(flow(1)).unwrap().version.counter;
    let mut other = Target::new(|setup| setup.since_1970 = year - Duration::from_secs(60));
    other.hear(HONEST, Message::Changes(parcel(vec![record(1, ours, None)]))).unwrap();
    assert_eq!(other.director.refusals().of(Refusal::CounterOutOfRange), 1);
    other.pass(62);
    other.hear(HONEST, Message::Changes(parcel(vec![record(1, ours, None)]))).unwrap();
    assert_eq!(other.director.replica(flow(1)), Some(&connection("rs1")));
}

#[test]
fn it_takes_no_memory_by_asking_or_by_not_reading() {
    let mut target = Target::new(|_| {});
    // Digests of lives that nobody has had, every bucket of which would be wanted.
    let sums: Vec<(u16, u64)> = (0..4096).map(|bucket| (bucket, 1)).collect();
    let mut outcome = Ok(());
    for life in 0..1000 {
        let forged = Origin { life, ..origin("lb1") };
        outcome = target.hear(THIEF, Message::Digest { origin: forged, sums: sums.clone() });
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(outcome, Err(Refusal::TooManyDigests));
    // It reads, and never lists what it was asked for.
    target.come_back(THIEF);
    let mut outcome = Ok(());
    for life in 0..1000 {
        target.talk();
        let forged = Origin { life, ..origin("lb1") };
        outcome = target.hear(THIEF, Message::Digest { origin: forged, sums: sums.clone() });
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(outcome, Err(Refusal::TooManyDigests));
    // Changes that it proposes without a right to, and does not read the answers.
    target.come_back(THIEF);
    target.talk();
    for counter in 0..10_000 {
        let round = Round { counter, leader: NodeId::of("lb1") };
        target.hear(THIEF, step(Word::Prepare(round, recipes(1)))).unwrap();
        target.hear(THIEF, step(Word::Stance(Digest(counter), true))).unwrap();
    }
    assert!(target.talk() < 5000, "ten thousand answers");
    for counter in 0..1000 {
        let old = record(1, counter + 1, None);
        target.hear(THIEF, Message::Changes(parcel(vec![old]))).unwrap();
        target.hear(THIEF, Message::Ack(0)).unwrap();
    }
    assert!(target.talk() < 5000);
    // What it has found, of addresses that nobody has.
    let many = |from: u64| (from..from + 8192).map(|it| (AddressKey(it), finding(Health::Down))).collect();
    let found = |target: &mut Target, from| target.hear(THIEF, Message::Note(Note::Findings(many(from))));
    let outcomes: Vec<_> = (0..20).map(|part| found(&mut target, part * 8192)).collect();
    assert!(outcomes[..16].iter().all(Result::is_ok));
    assert!(outcomes[16..].iter().all(|outcome| *outcome == Err(Refusal::TooManyNames)));
}

#[test]
fn while_it_leads_its_findings_hold_and_its_tables_have_to_be_possible() {
    let mut target = Target::new(|_| {});
    target.hear(THIEF, Message::Note(Note::Findings(vec![(AddressKey(1), finding(Health::Down))]))).unwrap();
    assert_eq!(target.director.found_by_leader(), None, "it leads nobody");
    target.hear(THIEF, Message::Standing(Standing::Serving)).unwrap();
    assert_eq!(target.director.leader(), Some(NodeId::of("lb1")));
    let believed = BTreeMap::from([(AddressKey(1), finding(Health::Down))]);
    assert_eq!(target.director.found_by_leader(), Some(&believed));
    // What would take the agent's memory, time or life.
    let recipe = |size, shares: &[(u64, u32)]| {
        Recipes([(LaneKey(1), Recipe { size, shares: shares.to_vec() })].into())
    };
    let shares = [(7, 1), (9, 1)];
    let bad = [
        recipe(0, &shares),
        recipe(1, &shares),
        recipe(250, &shares),
        recipe(u32::MAX, &shares),
        recipe(4_294_967_291, &shares),
        recipe(2_097_143, &shares),
        recipe(251, &[(9, 1), (7, 1)]),
        recipe(251, &[(7, 1), (7, 1)]),
        recipe(251, &[(7, 0)]),
        Recipes((0..40_000).map(|lane| (LaneKey(lane), Recipe { size: 2, shares: vec![] })).collect()),
    ];
    for (counter, recipes) in (1..).zip(bad) {
        let round = Round { counter, leader: NodeId::of("lb1") };
        let what = format!("{:?}", recipes.0.get(&LaneKey(1)));
        target.hear(THIEF, step(Word::Prepare(round, recipes))).unwrap();
        assert_eq!(target.director.step().task(), None, "{what}");
    }
    // What can be made is tried, and told; nobody but the leader commits it, or says that it is done.
    let round = Round { counter: 100, leader: NodeId::of("lb1") };
    target.hear(THIEF, step(Word::Prepare(round, recipes(9)))).unwrap();
    assert!(matches!(target.director.step().task(), Some(Task::Try(_))));
    target.director.step_mut().answer(true);
    target.director.step_mut().told();
    let all = || vec![NodeId::of("lb1"), NodeId::of("lb2")];
    target.hear(HONEST, step(Word::Commit(round, all()))).unwrap();
    assert_eq!(target.director.step().task(), None, "it is not its change");
    target.hear(THIEF, step(Word::Commit(round, all()))).unwrap();
    assert!(matches!(target.director.step().task(), Some(Task::GoOver(_))));
    target.director.step_mut().gone_over();
    assert_eq!(target.director.step().possible().count(), 2, "the others may use the old ones");
    target.hear(HONEST, step(Word::Done(round))).unwrap();
    assert_eq!(target.director.step().possible().count(), 2);
    target.hear(THIEF, step(Word::Done(round))).unwrap();
    assert_eq!(target.director.step().possible().count(), 1);
    // Gone, it leads nobody.
    target.director.disconnected(target.ids[THIEF]);
    assert_eq!((target.director.leader(), target.director.found_by_leader()), (None, None));
}

#[test]
fn it_keeps_a_director_from_becoming_ready_as_long_as_the_file_lets_it_and_takes_it_from_nobody() {
    let joining = |on_timeout| {
        let mut target = Target::new(|setup| setup.patience.on_timeout = on_timeout);
        target.director.disconnected(target.ids[HONEST]);
        target.hear(THIEF, Message::Standing(Standing::Serving)).unwrap();
        // Something that it would have to list before this director has all.
        target.hear(THIEF, Message::Digest { origin: origin("lb1"), sums: vec![(1, 1)] }).unwrap();
        target.hear(THIEF, Message::Told(Told::Everything)).unwrap();
        target.talk();
        target
    };
    let mut target = joining(OnTimeout::Serve);
    target.pass(59);
    assert_eq!(target.director.standing(), Standing::Snapshot);
    target.pass(2);
    assert_eq!(target.director.standing(), Standing::Ready);
    let mut target = joining(OnTimeout::StayBackup);
    target.pass(3600);
    assert_eq!(target.director.standing(), Standing::Snapshot, "as long as it says that it serves");
    target.director.disconnected(target.ids[THIEF]);
    target.pass(1);
    assert_eq!(target.director.standing(), Standing::Ready, "shut out, it has no say");
    // Who is ready stays so, whatever is said.
    target.come_back(THIEF);
    for standing in [Standing::Serving, Standing::Init, Standing::Draining] {
        target.hear(THIEF, Message::Standing(standing)).unwrap();
        target.pass(1);
        assert_eq!(target.director.standing(), Standing::Ready);
    }
}

#[test]
fn it_keeps_tables_from_changing_as_long_as_it_comes_and_goes_which_costs_telling_alone() {
    let mut target = Target::new(|_| {});
    target.director.disconnected(target.ids[HONEST]);
    target.director.disconnected(target.ids[THIEF]);
    target.pass(6);
    target.director.serve(true);
    let idle = Duration::from_secs(30);
    target.pass(1);
    target.come_back(THIEF);
    target.director.step_mut().desire(recipes(5), idle);
    let before = target.director.step().current().unwrap().digest;
    let go_over = |target: &mut Target| match target.director.step().task() {
        Some(Task::Try(_)) => target.director.step_mut().answer(true),
        Some(Task::Tell) => target.director.step_mut().told(),
        Some(Task::GoOver(_)) => target.director.step_mut().gone_over(),
        None => {}
    };
    for _ in 0..40 {
        for _ in 0..15 {
            target.pass(1);
            go_over(&mut target);
        }
        target.director.disconnected(target.ids[THIEF]);
        target.come_back(THIEF);
    }
    assert_eq!(target.director.step().current().unwrap().digest, before);
    // Whoever says that it goes by other tables makes this director tell everything.
    assert!(target.director.all_in_step());
    target.hear(THIEF, Message::Standing(Standing::Ready)).unwrap();
    target.hear(THIEF, step(Word::Stance(Digest(77), true))).unwrap();
    assert!(!target.director.all_in_step());
    target.director.disconnected(target.ids[THIEF]);
    for _ in 0..45 {
        target.pass(1);
        go_over(&mut target);
    }
    assert_eq!(
        target.director.step().current().unwrap().digest,
        recipes(5).digest(),
        "shut out, they change"
    );
}

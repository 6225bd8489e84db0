//! The book under any sequence of events, and its reactions in time.

use proptest::prelude::*;

use super::*;

const SERVER: &str = "10.0.0.9";
const GATEWAY: &str = "10.0.0.1";
const MAC: Mac = [2, 0, 0, 0, 0, 9];

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn route(ifindex: u32, via: &str) -> Route {
    Route { ifindex, via: ip(via), source: None, mtu: None }
}

fn valid(last: u8) -> Seen {
    Seen::Valid { mac: [2, 0, 0, 0, 0, last], probing: false, foreign: false }
}

fn probing(last: u8) -> Seen {
    Seen::Valid { mac: [2, 0, 0, 0, 0, last], probing: true, foreign: false }
}

fn book_with_the_server_on_the_link() -> Book {
    let mut book = Book::default();
    book.set_targets(&[ip(SERVER)].into());
    book.routed(Subject::Target(ip(SERVER)), Ok(route(3, SERVER)));
    book
}

fn hop(book: &mut Book) -> Option<NextHop> {
    book.settle();
    book.hops().find(|(subject, _)| *subject == Subject::Target(ip(SERVER))).map(|(_, hop)| hop)
}

#[test]
fn a_missing_neighbour_is_asked_for_and_then_confirmed() {
    let mut book = book_with_the_server_on_the_link();
    let start = Instant::now();
    assert!(book.has_unread_neighbours());
    assert_eq!(book.due(start), [], "nothing is done before the table was read");

    book.saw_all([], start);
    let solicit = |absent| Action::Solicit { ifindex: 3, ip: ip(SERVER), absent };
    assert_eq!(book.due(start), [solicit(true)]);
    assert_eq!(book.due(start + Duration::from_millis(50)), []);
    book.saw(3, ip(SERVER), Seen::Resolving, start);
    assert_eq!(book.due(start + Duration::from_secs(2)), [], "the kernel is at it");
    book.saw(3, ip(SERVER), Seen::Failed, start + Duration::from_secs(3));
    assert_eq!(book.due(start + Duration::from_secs(3)), [solicit(false)]);
    assert_eq!(book.due(start + Duration::from_millis(3900)), []);
    assert_eq!(hop(&mut book), None);

    let found = start + Duration::from_secs(4);
    book.saw(3, ip(SERVER), valid(9), found);
    assert_eq!(hop(&mut book), Some(NextHop { mac: MAC, ifindex: 3, via: ip(SERVER) }));
    assert_eq!(book.due(found), [Action::Confirm { ifindex: 3, ip: ip(SERVER) }]);
    assert_eq!(book.due(found + Duration::from_millis(700)), []);
    assert_eq!(
        book.due(found + Duration::from_millis(800)),
        [Action::Confirm { ifindex: 3, ip: ip(SERVER) }]
    );
}

#[test]
fn a_flushed_neighbour_is_asked_for_at_once() {
    let mut book = book_with_the_server_on_the_link();
    let start = Instant::now();
    book.saw_all([(3, ip(SERVER), valid(9))], start);
    let known = hop(&mut book).expect("known");
    let solicit = Action::Solicit { ifindex: 3, ip: ip(SERVER), absent: true };
    book.saw(3, ip(SERVER), Seen::Absent, start);
    assert_eq!(book.due(start), [solicit]);
    book.saw(3, ip(SERVER), Seen::Resolving, start);
    let later = start + Duration::from_millis(100);
    book.saw(3, ip(SERVER), Seen::Absent, later);
    assert_eq!(book.due(later), [solicit], "flushed again");
    assert_eq!(hop(&mut book), Some(known));
}

#[test]
fn a_neighbour_that_does_not_answer_is_looked_for_elsewhere() {
    let mut book = book_with_the_server_on_the_link();
    let start = Instant::now();
    book.saw_all([(3, ip(SERVER), valid(9))], start);
    assert_eq!(book.due(start), [Action::Confirm { ifindex: 3, ip: ip(SERVER) }]);
    book.saw(3, ip(SERVER), probing(9), start);
    assert_eq!(book.due(start + Duration::from_millis(200)), []);
    book.saw_all([(3, ip(SERVER), probing(9))], start + Duration::from_millis(300));
    let rediscover = Action::Rediscover { ifindex: 3, ip: ip(SERVER) };
    assert_eq!(book.due(start + Duration::from_millis(400)), [rediscover]);
    let before = hop(&mut book).expect("kept");
    book.saw(3, ip(SERVER), Seen::Resolving, start);
    assert_eq!(hop(&mut book), Some(before));
    book.saw(3, ip(SERVER), valid(7), start);
    assert_eq!(hop(&mut book).expect("found").mac, [2, 0, 0, 0, 0, 7]);
}

#[test]
fn entries_of_others_are_used_and_left_alone() {
    let mut book = book_with_the_server_on_the_link();
    let start = Instant::now();
    book.saw_all([(3, ip(SERVER), Seen::Valid { mac: MAC, probing: false, foreign: true })], start);
    assert_eq!(book.due(start + Duration::from_secs(60)), []);
    assert_eq!(hop(&mut book).expect("known").mac, MAC);
}

#[test]
fn a_new_route_counts_only_when_its_neighbour_is_known() {
    let mut book = book_with_the_server_on_the_link();
    let start = Instant::now();
    book.saw_all([(3, ip(SERVER), valid(9))], start);
    let direct = hop(&mut book).expect("known");
    book.routed(Subject::Target(ip(SERVER)), Ok(route(4, GATEWAY)));
    book.keep_only_neighbours_in_use();
    assert!(book.has_unread_neighbours());
    assert_eq!(hop(&mut book), Some(direct));
    assert!(book.due(start).contains(&Action::Release { ifindex: 3, ip: ip(SERVER) }));
    book.saw(4, ip(GATEWAY), valid(1), start);
    assert_eq!(hop(&mut book), Some(NextHop { mac: [2, 0, 0, 0, 0, 1], ifindex: 4, via: ip(GATEWAY) }));
}

#[test]
fn a_target_is_new_until_its_route_was_looked_up_whatever_came_of_it() {
    let mut book = book_with_the_server_on_the_link();
    let unrouted = |book: &Book| {
        let targets = book.unrouted().filter(|subject| matches!(subject, Subject::Target(_)));
        targets.collect::<Vec<_>>()
    };
    assert_eq!(unrouted(&book), []);
    let new = Subject::Target(ip("10.0.0.77"));
    book.set_targets(&[ip(SERVER), ip("10.0.0.77")].into());
    assert_eq!(unrouted(&book), [new]);
    book.routed(new, Err("unreachable".to_owned()));
    assert_eq!(unrouted(&book), []);
}

#[test]
fn many_neighbours_are_confirmed_in_turns() {
    let mut book = Book::default();
    let targets: BTreeSet<IpAddr> = (0..200u8).map(|last| IpAddr::from([10, 0, 1, last])).collect();
    book.set_targets(&targets);
    for &target in &targets {
        book.routed(Subject::Target(target), Ok(Route { ifindex: 3, via: target, source: None, mtu: None }));
    }
    let start = Instant::now();
    book.saw_all(targets.iter().map(|&target| (3, target, valid(9))), start);
    let mut asked = BTreeSet::new();
    for round in 0..5 {
        let actions = book.due(start + round * Duration::from_millis(200));
        assert_eq!(actions.len(), CONFIRM_AT_ONCE);
        for action in actions {
            let Action::Confirm { ip, .. } = action else { panic!("{action:?}") };
            asked.insert(ip);
        }
    }
    assert_eq!(asked, targets, "each had its turn before any had a second");
}

/// An event in the life of one target with two possible routes.
#[derive(Debug, Clone)]
enum Happening {
    Routed(u32, &'static str),
    RouteLost,
    Saw(u32, &'static str, Seen),
    TableRead(Vec<(u32, IpAddr, Seen)>),
    TimePasses,
}

fn any_seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        Just(Seen::Absent),
        Just(Seen::Resolving),
        Just(Seen::Failed),
        (1u8..4).prop_map(valid),
        (1u8..4).prop_map(probing),
    ]
}

fn any_place() -> impl Strategy<Value = (u32, &'static str)> {
    (3u32..5, prop_oneof![Just(SERVER), Just(GATEWAY)])
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        any_place().prop_map(|(ifindex, via)| Happening::Routed(ifindex, via)),
        Just(Happening::RouteLost),
        (any_place(), any_seen()).prop_map(|((ifindex, via), seen)| Happening::Saw(ifindex, via, seen)),
        prop::collection::vec((any_place(), any_seen()), 0..4).prop_map(|table| {
            Happening::TableRead(
                table.into_iter().map(|((ifindex, via), seen)| (ifindex, ip(via), seen)).collect(),
            )
        }),
        Just(Happening::TimePasses),
    ]
}

proptest! {
    /// Whatever vanishes, a known next hop stays until another valid one takes its place, and what is published was
    /// at that moment the neighbour's address on the current route.
    #[test]
    fn a_known_next_hop_never_disappears(happenings in prop::collection::vec(any_happening(), 0..40)) {
        let subject = Subject::Target(ip(SERVER));
        let mut book = Book::default();
        book.set_targets(&[ip(SERVER)].into());
        let mut now = Instant::now();
        let mut before = None;
        for happening in happenings {
            match happening {
                Happening::Routed(ifindex, via) => {
                    book.routed(subject, Ok(route(ifindex, via)));
                    book.keep_only_neighbours_in_use();
                }
                Happening::RouteLost => book.routed(subject, Err("no route".into())),
                Happening::Saw(ifindex, via, seen) => drop(book.saw(ifindex, ip(via), seen, now)),
                Happening::TableRead(table) => book.saw_all(table, now),
                Happening::TimePasses => now += Duration::from_millis(500),
            }
            book.due(now);
            let after = hop(&mut book);
            prop_assert!(before.is_none() || after.is_some(), "lost {before:?}");
            if let Some(hop) = after.filter(|_| after != before) {
                let route = book.ways[&subject].route.expect("routed");
                prop_assert_eq!((hop.ifindex, hop.via), (route.ifindex, route.via));
                prop_assert_eq!(book.neighbours[&(hop.ifindex, hop.via)].mac(), Some(hop.mac));
            }
            before = after;
        }
    }
}

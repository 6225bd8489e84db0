//! One backup of three directors: who is told, and what becomes of those who are told no longer.

use super::*;

/// A session between two of them, as each knows it.
type Link = [(usize, SessionId); 2];

struct Ring {
    /// In the order of the ring; the first is the one whose records are told.
    directors: Vec<Replicator>,
    links: Vec<Link>,
    now: Instant,
}

impl Ring {
    fn new() -> Self {
        let mut names = ["lb1", "lb2", "lb3"];
        names.sort_by_key(|name| NodeId::of(name));
        let now = Instant::now();
        let director = |name: &str| {
            let peers = names.iter().filter(|peer| **peer != name).map(|peer| NodeId::of(peer)).collect();
            let mut director =
                Replicator::new(Setup { scope: Scope::Backup, peers, ..setup(name, "") }, 0, now);
            director.configure([pair("rs1")]).unwrap();
            director.begin(now);
            director
        };
        Self { directors: names.map(director).into(), links: Vec::new(), now }
    }

    fn node(&self, index: usize) -> NodeId {
        self.directors[index].origin().node
    }

    fn connect(&mut self, one: usize, other: usize) {
        let nodes = [self.node(other), self.node(one)];
        let session = |director: &mut Replicator, peer| director.connected(peer).unwrap();
        self.links.push([
            (one, session(&mut self.directors[one], nodes[0])),
            (other, session(&mut self.directors[other], nodes[1])),
        ]);
    }

    fn part(&mut self, one: usize, other: usize) {
        let (gone, kept) = self.links.iter().partition(|link| link.map(|(index, _)| index) == [one, other]);
        self.links = kept;
        for (index, id) in Vec::<Link>::into_iter(gone).flatten() {
            self.directors[index].disconnected(id);
        }
    }

    /// Until nobody has anything to say, twice, for what a tick finds.
    fn talk(&mut self) {
        for _ in 0..2 {
            self.directors.iter_mut().for_each(|director| director.tick(self.now));
            while self
                .links
                .clone()
                .into_iter()
                .any(|[one, other]| self.hand(one, other) | self.hand(other, one))
            {}
        }
    }

    fn hand(&mut self, from: (usize, SessionId), to: (usize, SessionId)) -> bool {
        let Some(body) = self.directors[from.0].transmit(from.1, self.now) else { return false };
        self.directors[to.0].receive(to.1, &body, self.now).unwrap();
        true
    }

    fn publish(&mut self, flows: std::ops::Range<u64>) {
        for number in flows {
            self.directors[0].publish(flow(number), connection("rs1"), self.now).unwrap();
        }
    }

    /// Connections of the first that the others hold, and which of them it says to be in sync.
    fn held(&self) -> [(usize, Option<bool>); 2] {
        let first = &self.directors[0];
        [1, 2].map(|index| {
            let held = self.directors[index].store().live_of(first.origin()).connections;
            (held, first.in_sync(self.node(index)))
        })
    }
}

#[test]
fn the_next_in_the_ring_is_told_and_who_was_told_before_forgets() {
    let mut ring = Ring::new();
    ring.connect(0, 2);
    ring.publish(0..10);
    ring.talk();
    assert_eq!(ring.held(), [(0, None), (10, Some(true))], "the only one there is");
    ring.connect(0, 1);
    ring.talk();
    assert_eq!(ring.held(), [(10, Some(true)), (0, Some(false))], "the next one has come");
    ring.publish(10..15);
    ring.directors[0].withdraw(flow(0), ring.now);
    ring.talk();
    assert_eq!(ring.held(), [(14, Some(true)), (0, Some(false))]);
    ring.part(0, 1);
    ring.talk();
    assert_eq!(ring.held(), [(14, None), (14, Some(true))], "it has gone, and keeps what it was told");
}

#[test]
fn who_is_released_has_forgotten_and_not_ended() {
    let mut ring = Ring::new();
    ring.connect(0, 2);
    ring.publish(0..3);
    ring.talk();
    ring.connect(0, 1);
    ring.talk();
    let [first, .., last] = &ring.directors[..] else { unreachable!() };
    for number in 0..3 {
        assert!(last.store().get(flow(number)).is_none() && !last.has_ended_elsewhere(flow(number)));
    }
    // What it holds of one that dies comes from the backup.
    let dead = first.origin();
    ring.connect(1, 2);
    ring.part(0, 1);
    ring.part(0, 2);
    ring.now += Duration::from_secs(11);
    ring.talk();
    assert_eq!(ring.directors[2].store().live_of(dead).connections, 3);
}

#[test]
fn who_is_released_waits_for_nothing_more_and_becomes_ready() {
    let mut ring = Ring::new();
    ring.publish(0..10);
    ring.connect(1, 2);
    ring.connect(0, 2);
    let [_, [first, last]] = ring.links[..] else { unreachable!() };
    while ring.hand(first, last) {}
    assert!(ring.hand(last, first), "its greeting");
    while ring.hand(first, last) {}
    let awaited = |ring: &Ring| ring.directors[2].sessions[&ring.node(0)].inc.awaited.len();
    assert_eq!(awaited(&ring), 1, "it has compared, and its answer is on the way");
    // Meanwhile the one that is to be told instead comes, and has everything.
    ring.connect(0, 1);
    let [.., [first, next]] = ring.links[..] else { unreachable!() };
    while ring.hand(first, next) | ring.hand(next, first) {}
    ring.directors[0].tick(ring.now);
    ring.talk();
    assert_eq!(ring.held(), [(10, Some(true)), (0, Some(false))]);
    assert_eq!(awaited(&ring), 0);
    assert_eq!(ring.directors[2].standing(), Standing::Ready);
}

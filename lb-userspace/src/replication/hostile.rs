//! Any bytes as what two peers say to a director, with what it does itself in between.
//!
//! The fuzzer feeds it what it likes (`cargo xtask fuzz --target messages`), the tests what the fuzzer found worth keeping. What
//! must hold: nothing panics, what is refused changes nothing, what is not changes no more than its sender may ([`Knowledge`]),
//! everything stays within its bounds, and what the director says in return can be read.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use lb_common::identity::FlowId;

use super::backup::Scope;
use super::board::{AddressKey, Finding, Health, Order, ServerKey, Wish};
use super::frame::{Frames, framed};
use super::join::Patience;
use super::knowledge::Knowledge;
use super::message::{Envelope, Hello, Message, SPOKEN, decode, encode};
use super::record::{ByKind, Class, Connection, Lease, Pair, Stage};
use super::refusal::Refusal;
use super::replicator::{Replicator, Setup};
use super::session::SessionId;
use super::step::{LaneKey, Recipe, Recipes, Tables, Task};
use super::store::Bounds;
use super::version::{NodeId, Origin};

const NODE: &str = "lb2";
const PEERS: [&str; 2] = ["lb1", "lb3"];
const IDLE: u32 = 100;
const BOUNDS: Bounds = Bounds {
    records: ByKind { connections: 12, seats: 4, leases: 4 },
    tombstones: 6,
    origins: 5,
    longest_idle: Duration::from_secs(IDLE as u64),
};
const WAITING: usize = 3;
const LEASE: Lease = Lease {
    source: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 9)),
    source_port: 1024,
    client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    client_port: 40_000,
    vip_port: 80,
};

/// What a step is, in the upper bits of its first byte; the lowest says whose it is.
const RAW: u8 = 0x40;
const OWN: u8 = 0x80;

/// Runs one input.
///
/// # Panics
/// If the director does what it must not.
pub fn run(input: &[u8]) {
    let mut scene = Scene::new();
    let mut rest = input;
    while let [first, after @ ..] = rest {
        rest = after;
        let peer = usize::from(first & 1);
        if first & OWN != 0 {
            let (number, after) = rest.split_first().map_or((0, rest), |(number, after)| (*number, after));
            rest = after;
            scene.act(first >> 1 & 0x0f, peer, number);
            continue;
        }
        let Some((length, after)) = rest.split_first() else { return };
        let (body, after) = after.split_at(after.len().min(usize::from(*length)));
        rest = after;
        let mut whole = Vec::new();
        if first & RAW == 0 {
            whole = scene.place(peer);
        }
        whole.extend(body);
        scene.hear(peer, &whole);
    }
    scene.act(0, 0, 200);
}

/// Inputs to begin with: two directors that tell each other all there is, one message each, and the whole of it.
pub fn seeds() -> Vec<Vec<u8>> {
    let (now, mut said) = (Instant::now(), Vec::new());
    let mut pair = [director(PEERS[0], &[NODE], now), director(NODE, &[PEERS[0]], now)];
    for (number, side) in (0..).zip(&mut pair) {
        for flow in number * 5..number * 5 + 4 {
            side.publish(flow_of(flow), connection(flow), now).expect("there is room");
        }
        side.withdraw(flow_of(number * 5), now);
        side.order(ServerKey(u64::from(number)), Order::Draining).expect("there is room");
        side.find([(AddressKey(1), FINDING)].into());
    }
    for second in 0..20 {
        let now = now + Duration::from_secs(second);
        if second % 10 == 0 {
            let ids = [pair[0].connected(NodeId::of(NODE)), pair[1].connected(NodeId::of(PEERS[0]))];
            talk(&mut pair, ids.map(|id| id.expect("a peer")), now, &mut said);
        }
        for side in &mut pair {
            side.tick(now);
            side.serve(true);
            side.step_mut().desire(recipes(second as u32 / 5 + 1), Duration::from_secs(1));
            host(side);
        }
        let ids = pair.each_ref().map(|side| side.sessions.values().next().expect("a session").id);
        talk(&mut pair, ids, now, &mut said);
    }
    let step = |message: &Vec<u8>| [&[0, message.len() as u8][..], message].concat();
    let short: Vec<Vec<u8>> = said.iter().filter(|it| it.len() < 256).map(step).collect();
    let whole = short.iter().take(40).flat_map(|it| [&it[..], &[OWN, 1]].concat()).collect();
    let alone = short.into_iter().map(|it| [&it[..], &[OWN | 2, 0]].concat());
    alone.chain([whole]).collect()
}

/// Both say all there is to say; what the first said, without its places in the session.
fn talk(pair: &mut [Replicator; 2], ids: [SessionId; 2], now: Instant, said: &mut Vec<Vec<u8>>) {
    loop {
        let mut quiet = true;
        for from in [0, 1] {
            while let Some(body) = pair[from].transmit(ids[from], now) {
                quiet = false;
                pair[1 - from].receive(ids[1 - from], &body, now).expect("an honest word");
                let place = encode_place(decode(&body).expect("well formed").sequence);
                if from == 0 {
                    said.push(body[place.len()..].to_vec());
                }
            }
        }
        if quiet {
            return;
        }
    }
}

/// How a message begins that has this place.
fn encode_place(sequence: u64) -> Vec<u8> {
    let mut body = encode(&Envelope { sequence, message: Message::Pulse });
    body.pop();
    body
}

struct Scene {
    now: Instant,
    director: Replicator,
    ids: [SessionId; 2],
}

impl Scene {
    /// A director that holds something of everybody, and has sessions with both.
    fn new() -> Self {
        let now = Instant::now();
        let mut director = director(NODE, &PEERS, now);
        for number in 0..3 {
            director.publish(flow_of(number), connection(number), now).expect("there is room");
        }
        director.order(ServerKey(1), Order::Draining).expect("there is room");
        let ids = PEERS.map(|peer| director.connected(NodeId::of(peer)).expect("a peer"));
        let mut scene = Self { now, director, ids };
        (0..2).for_each(|peer| scene.greet(peer));
        scene
    }

    fn greet(&mut self, peer: usize) {
        let node = NodeId::of(PEERS[peer]);
        let (lowest, highest, domain) = (*SPOKEN.start(), *SPOKEN.end(), String::new());
        let hello = Hello { lowest, highest, domain, node, life: 1, recovering: false };
        let body = encode(&Envelope { sequence: 1, message: Message::Hello(hello) });
        self.director.receive(self.ids[peer], &body, self.now).expect("a good hello");
    }

    /// The beginning of this peer's next message.
    fn place(&self, peer: usize) -> Vec<u8> {
        let session = self.director.sessions.values().find(|session| session.id == self.ids[peer]);
        encode_place(session.map_or(0, |session| session.inc.received) + 1)
    }

    fn hear(&mut self, peer: usize, body: &[u8]) {
        let node = NodeId::of(PEERS[peer]);
        let (before, refused) = (Knowledge::of(&self.director), self.refused());
        let outcome = self.director.receive(self.ids[peer], body, self.now);
        let after = Knowledge::of(&self.director);
        if let Err(refusal) = outcome {
            assert!(after == before, "{refusal} and yet something has changed");
            assert_eq!(self.refused(), refused + 1, "{refusal}");
            self.come_back(peer);
        } else if let Err(why) = before.may_become(&after, node) {
            panic!("{why}: {before:?} became {after:?}");
        }
        after.is_within(&BOUNDS, WAITING, self.director.ceiling());
    }

    fn come_back(&mut self, peer: usize) {
        self.director.disconnected(self.ids[peer]);
        self.ids[peer] = self.director.connected(NodeId::of(PEERS[peer])).expect("a peer");
        self.greet(peer);
    }

    /// Something that does not come from a peer.
    fn act(&mut self, what: u8, peer: usize, number: u8) {
        let (now, small) = (self.now, u32::from(number % 16));
        match what {
            0 => {
                self.now += Duration::from_secs(number.into());
                self.director.tick(self.now);
            }
            1 => self.listen(peer),
            2 => drop(self.director.publish(flow_of(small), connection(small), now)),
            3 => self.director.withdraw(flow_of(small), now),
            4 => self.come_back(peer),
            5 => host(&mut self.director),
            6 => self.director.step_mut().desire(recipes(small), Duration::from_secs(5)),
            7 => self.director.serve(number & 1 == 0),
            8 => drop(self.director.order(ServerKey(small.into()), Order::Weight(number.into()))),
            9 => drop(self.director.configure((0..small).map(pair))),
            10 => drop(self.director.take_over(Origin { node: NodeId::of(PEERS[peer]), life: 1 }, now)),
            11 => self.director.find([(AddressKey(small.into()), FINDING)].into()),
            _ => {}
        }
    }

    /// What the director says can be read, in a frame, too.
    fn listen(&mut self, peer: usize) {
        for _ in 0..50 {
            let Some(body) = self.director.transmit(self.ids[peer], self.now) else { return };
            let mut come = Vec::new();
            Frames::default().push(&framed(&body), |it| come.extend(it)).expect("a good frame");
            assert_eq!(decode(&come).map(|_| ()), Ok::<(), Refusal>(()));
        }
    }

    fn refused(&self) -> u64 {
        self.director.refusals().iter().map(|(_, count)| count).sum()
    }
}

/// What an agent does for the tables.
fn host(director: &mut Replicator) {
    match director.step().task() {
        Some(Task::Try(_)) => director.step_mut().answer(true),
        Some(Task::Tell) => director.step_mut().told(),
        Some(Task::GoOver(_)) => director.step_mut().gone_over(),
        None => {}
    }
}

fn director(name: &str, peers: &[&str], now: Instant) -> Replicator {
    let setup = Setup {
        origin: Origin { node: NodeId::of(name), life: 1 },
        recovering: false,
        domain: String::new(),
        since_1970: Duration::from_secs(1_700_000_000),
        peers: peers.iter().map(|peer| NodeId::of(peer)).collect(),
        scope: Scope::Backup,
        bounds: BOUNDS,
        quarantine: WAITING,
        dirty: 6,
        digest_interval: Duration::from_secs(10),
        patience: Patience::default(),
    };
    let mut director = Replicator::new(setup, 0, now);
    director.configure((0..3).map(pair)).expect("names do not clash");
    director.step_mut().found(Some(Tables::of(recipes(1))));
    director.begin(now);
    director
}

fn pair(number: u32) -> Pair {
    Pair { service: "web".into(), server: number.to_string(), lane: "80".into() }
}

fn flow_of(number: u32) -> FlowId {
    FlowId::from_bits(u64::from(number) << 30)
}

fn connection(number: u32) -> Connection {
    let class = if number % 4 == 3 { Class::Lease(Stage::Established, LEASE) } else { Class::Established };
    Connection { target: pair(number % 3).target(), class, idle: IDLE }
}

fn recipes(weight: u32) -> Recipes {
    Recipes([(LaneKey(1), Recipe { size: 2, shares: vec![(7, weight.max(1)), (9, 1)] })].into())
}

const FINDING: Finding = Finding {
    health: Health::Up,
    heard: false,
    share: 8,
    wish: Wish::Ready,
    fault: false,
    most: 0,
    since: 1,
    risen: 0,
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::board::Board;
    use super::*;

    #[test]
    fn the_corpus_and_what_the_fuzzer_begins_with_hold() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/messages");
        let files =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let kept: Vec<Vec<u8>> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(kept.len() > 20, "only {} inputs in {}", kept.len(), folder.display());
        seeds().iter().chain(&kept).for_each(|input| run(input));
    }

    /// What is looked for would be found.
    #[test]
    fn what_no_peer_may_do_is_noticed() {
        let becomes = |change: fn(&mut Scene, Instant)| {
            let mut scene = Scene::new();
            let before = Knowledge::of(&scene.director);
            let now = scene.now;
            change(&mut scene, now);
            before.may_become(&Knowledge::of(&scene.director), NodeId::of(PEERS[0]))
        };
        fn differ(scene: &mut Scene, peer: &str) {
            let session = scene.director.sessions.get_mut(&NodeId::of(peer));
            session.expect("a session").inc.divergent += 1;
        }
        assert!(becomes(|_, _| {}).is_ok());
        assert!(becomes(|scene, _| differ(scene, PEERS[0])).is_ok());
        assert!(becomes(|scene, _| differ(scene, PEERS[1])).is_err(), "another's session");
        let publish = |scene: &mut Scene, now| {
            scene.director.publish(flow_of(9), connection(9), now).expect("there is room");
        };
        assert!(becomes(publish).is_err(), "a record in our name");
        assert!(
            becomes(|scene, now| scene.director.withdraw(flow_of(1), now)).is_err(),
            "an end in our name"
        );
        assert!(becomes(|scene, _| scene.director.store.remove(flow_of(1))).is_err(), "a record is gone");
        assert!(becomes(|scene, _| scene.director.board = Board::default()).is_err(), "orders are gone");
    }
}

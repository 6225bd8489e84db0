//! Which server gets how much, by each scheduler: the data path itself, over ordinary memory, and the walk that tells it what it
//! has found, a second after a second, with connections of heavy-tailed lengths.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::ops::Range;

use lb_common::clock::Now;
use lb_common::entry::{Load, Scheduler, ServerState};
use lb_common::flow_table::Place;
use lb_common::net::Protocol;
use lb_common::slot::{ServerId, Slot};
use lb_common::verdict::Verdict;
use lb_common::word::Word;
use xlvs_tests::datapath::maps::{LIMITS, SERVERS};
use xlvs_tests::datapath::world::{Server, Service, Side, World, mac_of};
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::packet::{Frame, Ipv4, Mac, Tcp, TcpFlags};
use xlvs_tests::random::Random;

use super::{Begun, Scales, walk};
use crate::agent::sweep::{Ground, Sweep, SweepLimits};
use crate::dataplane::Site;

impl Ground for Native {
    fn now(&self) -> Now {
        self.arrays.clock.all()[0].now()
    }

    fn buckets(&self) -> usize {
        self.arrays.flows.all().len()
    }

    fn places(&self, buckets: Range<usize>) -> impl Iterator<Item = (Site, &Word)> {
        buckets.flat_map(|bucket| {
            let place = move |index| Place { bucket: bucket as u32, index };
            (0..)
                .zip(&self.arrays.flows.all()[bucket])
                .map(move |(index, cell)| (Site::Flow(place(index)), cell))
        })
    }

    fn protocol(&self, _: Slot) -> Protocol {
        Protocol::Tcp
    }
}

impl Scales for Native {
    fn loads(&self) -> &[Load] {
        self.arrays.loads.all()
    }

    fn totals(&self) -> impl Iterator<Item = &Load> {
        self.arrays.services.all().iter().map(|service| &service.total)
    }

    fn service_of(&self, id: ServerId) -> Option<u16> {
        Some(ServerState::from_word(self.arrays.servers.get(id.index())?.state.load()).service)
    }
}

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 100);
const CROWD: u8 = 50;

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 2, number)
}

fn world(scheduler: Scheduler, servers: u8, weight: impl Fn(u8) -> u32) -> World {
    let server =
        |number| Server::at(format!("rs{number}").leak(), address(number), 80).weight(weight(number));
    World::of(Service::tcp("web", VIP, 80).direct().scheduled(scheduler), (1..=servers).map(server))
}

/// A client's connection: who, by which port, when it ends.
#[derive(Clone, Copy)]
struct Connection {
    client: (Ipv4Addr, u16),
    server: Mac,
    begun: u32,
    ends: u32,
}

/// A director under load, and its agent's walk.
struct Director {
    native: Native,
    world: World,
    sweep: Sweep,
    begun: Begun,
    random: Random,
    live: Vec<Connection>,
    now: u32,
    next: u32,
    /// By server, new connections.
    given: HashMap<Mac, u64>,
}

impl Director {
    fn new(world: World, seed: u64) -> Self {
        let native = Native::with(&world).unwrap();
        Self {
            native,
            world,
            sweep: Sweep::new(SERVERS as usize),
            begun: Begun::default(),
            random: Random::from_seed(seed),
            live: Vec::new(),
            now: 0,
            next: 0,
            given: HashMap::new(),
        }
    }

    fn send(&mut self, client: (Ipv4Addr, u16), flags: TcpFlags) -> (Verdict, Mac) {
        let segment = Tcp::new(client.1, 80, flags);
        let frame =
            Frame::new(mac_of(client.0), Side::Front.mac(), Ipv4::new(client.0, VIP, segment)).bytes();
        let (verdict, _, output) = self.native.push(Side::Front, &frame);
        (verdict, output[..6].try_into().unwrap())
    }

    /// A client that was not there before.
    fn client(&mut self) -> (Ipv4Addr, u16) {
        self.next += 1;
        let [_, a, b, c] = (self.next / 7).to_be_bytes();
        (Ipv4Addr::new(100, 64 + a % 64, b, c), 1024 + (self.random.below(60_000)) as u16)
    }

    /// Opens a connection that lasts so long; `None`: it was not let in.
    fn open(&mut self, ticks: u32) -> Option<Mac> {
        let client = self.client();
        let (verdict, server) = self.send(client, TcpFlags::SYN);
        if verdict != Verdict::ForwardedDr {
            return None;
        }
        *self.given.entry(server).or_default() += 1;
        self.live.push(Connection { client, server, begun: self.now, ends: self.now + ticks });
        Some(server)
    }

    /// A second: whoever is young says something, whoever is done goes, the agent walks.
    fn second(&mut self) {
        self.native.pass(1).unwrap();
        self.now += 1;
        for connection in self.live.clone() {
            let ends = connection.ends <= self.now;
            // The second tick establishes it; after that nothing it says changes anything.
            if !ends && connection.begun + 2 < self.now {
                continue;
            }
            let flags = if ends { TcpFlags::FIN | TcpFlags::ACK } else { TcpFlags::ACK };
            let (verdict, server) = self.send(connection.client, flags);
            assert_eq!(
                (verdict, server),
                (Verdict::ForwardedDr, connection.server),
                "a connection was moved"
            );
        }
        let now = self.now;
        self.live.retain(|connection| connection.ends > now);
        let limits = SweepLimits { tcp: LIMITS, udp: LIMITS };
        while !walk(&mut self.sweep, &mut self.begun, &self.native, &limits, true, |_, _| false) {}
    }

    /// A Pareto length (alpha 1.2), from four seconds to ten minutes.
    fn length(&mut self) -> u32 {
        let uniform = (self.random.below(1 << 53) + 1) as f64 / (1_u64 << 53) as f64;
        ((4.0 * uniform.powf(-1.0 / 1.2)) as u32).min(600)
    }

    fn load_of(&self, server: Mac) -> usize {
        self.live.iter().filter(|connection| connection.server == server).count()
    }

    fn servers(&self) -> Vec<(Mac, u32)> {
        self.world.servers.iter().map(|(_, server)| (mac_of(server.address), server.weight)).collect()
    }

    /// The greatest load for its weight, over the mean.
    fn imbalance(&self) -> f64 {
        let servers = self.servers();
        let weights: u32 = servers.iter().map(|(_, weight)| weight).sum();
        let mut loads: HashMap<Mac, u32> = HashMap::new();
        for connection in &self.live {
            *loads.entry(connection.server).or_default() += 1;
        }
        let mean = self.live.len() as f64 / f64::from(weights);
        let share = |(mac, weight): &(Mac, u32)| {
            f64::from(loads.get(mac).copied().unwrap_or(0)) / f64::from(*weight) / mean
        };
        servers.iter().filter(|(_, weight)| *weight > 0).map(share).fold(0.0, f64::max)
    }

    /// Connections a second, for so long; the mean imbalance of the second half.
    fn run(&mut self, seconds: u32, arrivals: u32) -> f64 {
        let mut sum = 0.0;
        for second in 0..seconds {
            for _ in 0..arrivals {
                let length = self.length();
                self.open(length).unwrap();
            }
            self.second();
            sum += if second >= seconds / 2 { self.imbalance() } else { 0.0 };
        }
        sum / f64::from(seconds - seconds / 2)
    }
}

/// Whom so many clients get who come to a new director.
fn given_to(world: &World, clients: u32) -> Vec<Mac> {
    let mut director = Director::new(world.clone(), 1);
    let client = |number: u32| (Ipv4Addr::new(100, 127, (number >> 8) as u8, number as u8), 7);
    (0..clients).map(|number| director.send(client(number), TcpFlags::SYN).1).collect()
}

const ALL: [(&str, Scheduler); 5] = [
    ("maglev", Scheduler::Maglev),
    ("least", Scheduler::Least),
    ("wrr", Scheduler::Rotation),
    ("source", Scheduler::Source),
    ("random", Scheduler::Random),
];

#[test]
fn loads_are_spread_as_measured_and_least_keeps_them_even() {
    println!("50 servers, connections of 4 s to 10 min (Pareto, alpha 1.2), 300 s, mean of the last 150 s");
    println!("scheduler  live  greatest load / mean  greatest number given / mean");
    let mut measured = BTreeMap::new();
    for (name, scheduler) in ALL {
        let mut all = Vec::new();
        let seeds = if matches!(scheduler, Scheduler::Maglev | Scheduler::Least) { 1..=3 } else { 1..=1 };
        for seed in seeds {
            let mut site = Director::new(world(scheduler, CROWD, |_| 1), seed);
            let imbalance = site.run(300, 38);
            let most = *site.given.values().max().unwrap() as f64;
            let mean = site.given.values().sum::<u64>() as f64 / f64::from(CROWD);
            println!("{name:9} {:5}  {imbalance:20.2}  {:28.2}", site.live.len(), most / mean);
            all.push(imbalance);
        }
        measured.insert(name, all);
    }
    for (maglev, least) in measured["maglev"].iter().zip(&measured["least"]) {
        assert!(*maglev >= 1.6, "maglev shows {maglev}: a load that tells nothing");
        assert!(*least <= 1.25, "least shows {least}");
    }
}

#[test]
fn weights_hold_by_every_scheduler() {
    println!("weights 3, 2, 1, 1, 1; 100 s; share of connections given and of those that live");
    for (name, scheduler) in ALL {
        let weight = |number| [3, 2, 1, 1, 1][usize::from(number) - 1];
        let mut site = Director::new(world(scheduler, 5, weight), 7);
        site.run(100, 80);
        let (total, live) = (site.given.values().sum::<u64>() as f64, site.live.len() as f64);
        let mut told = String::new();
        for (mac, weight) in site.servers() {
            let given = *site.given.get(&mac).unwrap_or(&0) as f64 / total;
            let load = site.load_of(mac) as f64 / live;
            told += &format!("  {weight}: {given:.3} {load:.3}");
            let share = f64::from(weight) / 8.0;
            // By source, a client of several connections counts whole.
            let tolerance = if scheduler == Scheduler::Source { 0.04 } else { 0.02 };
            let got = if scheduler == Scheduler::Least { load } else { given };
            assert!((got - share).abs() < tolerance, "{name}: {got} instead of {share}");
        }
        println!("{name:9}{told}");
    }
}

#[test]
fn a_server_that_goes_moves_nobody_who_is_connected() {
    println!(
        "one of 10 servers goes; new connections of the same clients that go elsewhere than before (10 % must)"
    );
    for (name, scheduler) in ALL {
        let mut site = Director::new(world(scheduler, 10, |_| 1), 11);
        site.run(60, 20);
        let before = given_to(&site.world, 2000);
        site.world = site.world.clone().with(|world| world.named("rs3").weight = 0);
        site.native.install(&site.world.clone()).unwrap();
        let after = given_to(&site.world, 2000);
        let moved = before.iter().zip(&after).filter(|(a, b)| a != b).count() as f64 / 2000.0;
        println!("{name:9} {:5.1} %", moved * 100.0);
        assert!(!after.contains(&mac_of(address(3))), "{name}: a server of weight 0 was given a connection");
        if matches!(scheduler, Scheduler::Maglev | Scheduler::Source) {
            assert!(moved < 0.15, "{name} moves {moved}");
        }
        // Each live connection speaks, and is where it was.
        for connection in site.live.clone() {
            assert_eq!(
                site.send(connection.client, TcpFlags::ACK),
                (Verdict::ForwardedDr, connection.server),
                "{name}"
            );
        }
        assert!(
            site.live.iter().any(|connection| connection.server == mac_of(address(3))),
            "{name}: nobody was there"
        );
    }
}

#[test]
fn a_server_takes_no_more_than_it_may() {
    for (name, scheduler) in ALL {
        let mut world = world(scheduler, 4, |_| 1);
        for (number, most) in [(1, 10), (2, 20), (3, 30)] {
            world.named(&format!("rs{number}")).most = most;
        }
        world.named("rs4").weight = 0;
        let mut site = Director::new(world, 5);
        let let_in = (0..100).filter(|_| site.open(40).is_some()).count();
        let counts = |site: &Director| [1, 2, 3].map(|number| site.load_of(mac_of(address(number))));
        // Nothing has ended and no walk has been: exact.
        assert_eq!((let_in, counts(&site)), (60, [10, 20, 30]), "{name}");
        (0..5).for_each(|_| site.second());
        assert_eq!(site.open(40), None, "{name}");
        (0..40).for_each(|_| site.second());
        site.second();
        assert!(site.live.is_empty());
        let let_in = (0..100).filter(|_| site.open(40).is_some()).count();
        assert_eq!((let_in, counts(&site)), (60, [10, 20, 30]), "{name}: what has ended makes room again");
    }
}

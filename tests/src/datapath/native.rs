//! The pipeline as a library, over ordinary memory.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use anyhow::{Context as _, Result};
use lb_common::clock::{Clock, Now, TICK_NS};
use lb_common::entry::{
    AccessKey, Affinity, Caller, Counters, EndpointKey, Interface, Load, Path, Pool, Pulse, QuicKey, Refusal,
    Refusals, Rule, Server, ServerState, Service, ServiceLimits, Settings, Sharers, Tunnel, member_key,
};
use lb_common::flow_table::{BUCKET_SLOTS, FlowTable, Memory, Place};
use lb_common::fragments::{self, SET_NOTES};
use lb_common::gate;
use lb_common::identity::FlowId;
use lb_common::net::{Addr, NextHop, PortNumber};
use lb_common::rate;
use lb_common::slot::{ServerId, Slot};
use lb_common::verdict::{Action, Event, Verdict};
use lb_common::wire::Wire;
use lb_common::word::Word;
use lb_ebpf::director::Director;
use lb_ebpf::frame::Frame;
use lb_ebpf::tables::{Direction, Tables};
use lb_ebpf::{Exit, process};

use super::maps::{
    Arrays, Keyed, LEASE_BUCKETS, SERVERS, SERVICES, SOURCE_SETS, TABLE_WORDS, geometry, next_hop,
};
use super::region::Region;
use super::world::{Hop, Side, World};
use super::{Engine, FIRST_TICK};
use crate::fixture::Observation;
use crate::random::Random;

/// The room in front of a frame that drivers leave.
const HEADROOM: usize = 256;

/// What the first buffer of a frame holds: a page less what the kernel puts around it.
const FIRST_BUFFER: usize = 3520;

/// The kernel indices of the two sides.
const INDICES: [u32; 2] = [3, 4];

/// A data path in this process.
pub struct Native {
    pub arrays: Arrays,
    keyed: HashMaps,
    routes: HashMap<Addr, Hop>,
    names: Vec<String>,
    services: Vec<String>,
    machine_ns: u64,
    ingress: Cell<u32>,
    /// Where the frame at hand lies, with room in front of it, and which part of it is left.
    memory: Vec<Cell<u8>>,
    left: Cell<(usize, usize)>,
    verdicts: Cell<[i64; Verdict::ALL.len()]>,
    events: Cell<[i64; Event::ALL.len()]>,
    servers: RefCell<HashMap<ServerId, Counters>>,
    refusals: RefCell<HashMap<u32, Refusals>>,
    pulse: Cell<Pulse>,
    /// By service, the next turn of the one CPU there is.
    turns: RefCell<HashMap<u32, u64>>,
    random: RefCell<Random>,
    /// Buckets of the flow table that were asked for, ever.
    pub buckets_seen: Cell<u64>,
    /// Which of them, and which sets of paths, since everything was last forgotten.
    touched: Touched,
    /// States of servers before they were disturbed.
    undisturbed: Vec<(u32, u64)>,
    /// What stands in the flow table when everything is forgotten, word by word; nothing, if it is empty.
    resting: Vec<u64>,
}

/// What may hold anything, so that it can be forgotten without a look at all of it.
struct Touched {
    buckets: Noted,
    paths: Noted,
}

/// A set of numbers below a limit.
struct Noted {
    bits: Vec<Cell<u64>>,
    numbers: RefCell<Vec<u32>>,
}

impl Noted {
    fn below(limit: u32) -> Self {
        Self { bits: vec![Cell::new(0); limit.div_ceil(64) as usize], numbers: RefCell::default() }
    }

    fn note(&self, number: u32) {
        let Some(word) = self.bits.get(number as usize / 64) else { return };
        let (before, bit) = (word.get(), 1 << (number % 64));
        if before & bit == 0 {
            word.set(before | bit);
            self.numbers.borrow_mut().push(number);
        }
    }

    /// All of them, which are forgotten by it.
    fn take(&self) -> impl Iterator<Item = u32> {
        let numbers = self.numbers.take();
        numbers.iter().for_each(|number| self.bits[*number as usize / 64].set(0));
        numbers.into_iter()
    }
}

#[derive(Default)]
struct HashMaps {
    listeners: HashMap<EndpointKey, u32>,
    backends: HashMap<EndpointKey, Sharers>,
    locals: HashSet<Addr>,
    vlans: HashMap<Wire, u32>,
    /// The kernel's trie as a list of its prefixes.
    rules: Vec<(AccessKey, Rule)>,
    quic_servers: HashMap<QuicKey, ServerId>,
    members: HashMap<u64, ServerId>,
}

impl Keyed for HashMaps {
    fn add_listener(&mut self, key: EndpointKey, service: u32) -> Result<()> {
        self.listeners.insert(key, service);
        Ok(())
    }

    fn add_backend(&mut self, key: EndpointKey, sharers: Sharers) -> Result<()> {
        self.backends.insert(key, sharers);
        Ok(())
    }

    fn add_local(&mut self, addr: Addr) -> Result<()> {
        self.locals.insert(addr);
        Ok(())
    }

    fn add_vlan(&mut self, wire: Wire, index: u32) -> Result<()> {
        self.vlans.insert(wire, index);
        Ok(())
    }

    fn add_rule(&mut self, prefix: AccessKey, rule: Rule) -> Result<()> {
        self.rules.push((prefix, rule));
        Ok(())
    }

    fn add_quic_server(&mut self, key: QuicKey, server: ServerId) -> Result<()> {
        self.quic_servers.insert(key, server);
        Ok(())
    }

    fn add_member(&mut self, key: u64, server: ServerId) -> Result<()> {
        self.members.insert(key, server);
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        *self = Self::default();
        Ok(())
    }
}

impl Native {
    /// An empty data path; install a world before running frames.
    pub fn new() -> Result<Self> {
        let mut native = Self {
            arrays: arrays().context("cannot get memory for the maps")?,
            keyed: HashMaps::default(),
            routes: HashMap::new(),
            names: Vec::new(),
            services: Vec::new(),
            machine_ns: 5_000_000 * TICK_NS,
            ingress: Cell::new(0),
            memory: Vec::new(),
            left: Cell::new((0, 0)),
            verdicts: Cell::new([0; Verdict::ALL.len()]),
            events: Cell::default(),
            servers: RefCell::default(),
            refusals: RefCell::default(),
            pulse: Cell::default(),
            turns: RefCell::default(),
            random: RefCell::new(Random::from_seed(1)),
            buckets_seen: Cell::default(),
            touched: Touched { buckets: Noted::below(geometry().buckets()), paths: Noted::below(Path::SETS) },
            undisturbed: Vec::new(),
            resting: Vec::new(),
        };
        native.reset()?;
        Ok(native)
    }

    /// One that has this world.
    pub fn with(world: &World) -> Result<Self> {
        let mut native = Self::new()?;
        native.install(world)?;
        Ok(native)
    }

    #[must_use]
    pub fn flows(&self) -> FlowTable<'_, Self> {
        FlowTable { memory: self, geometry: geometry() }
    }

    /// Forgets connections, paths and what happened to servers, at the cost of what there is to be forgotten.
    pub fn forget(&mut self) {
        for number in self.touched.buckets.take() {
            let first = number as usize * BUCKET_SLOTS;
            for (word, at) in self.arrays.flows.get(number).into_iter().flatten().zip(first..) {
                word.store(self.resting.get(at).copied().unwrap_or(0));
            }
        }
        for number in self.touched.paths.take() {
            self.arrays.paths.get(number).into_iter().flatten().for_each(Path::clear);
        }
        for (number, state) in self.undisturbed.drain(..).rev() {
            self.arrays.servers.all()[number as usize].state.store(state);
        }
        self.arrays.set_ticks(FIRST_TICK, self.machine_ns);
        self.servers.get_mut().clear();
        self.pulse.take();
    }

    /// Whoever is stored now is still there when everything is forgotten.
    pub fn rest(&mut self) {
        self.resting = self.arrays.flows.words().iter().map(Word::load).collect();
    }

    /// Turns some of a server's flags over until everything is forgotten; whoever there is not, is not disturbed.
    pub fn disturb(&mut self, number: u8, flags: u8) {
        const CHANGING: u64 =
            (ServerState::IN_USE | ServerState::DOWN | ServerState::DRAINED | ServerState::REMOVED) as u64;
        let number = 1 + u32::from(number) % self.names.len().max(1) as u32;
        let Some(server) = self.arrays.servers.get(number) else { return };
        let state = server.state.load();
        self.undisturbed.push((number, state));
        server.state.store(state ^ u64::from(flags) & CHANGING);
    }

    /// Every stored connection.
    pub fn stored(&self) -> impl Iterator<Item = Slot> {
        self.arrays.flows.words().iter().filter_map(|word| Slot::from_word(word.load()))
    }

    /// Runs a frame whose fate nobody wants to know in detail: the verdict and the frame that is left.
    pub fn push(&mut self, from: Side, frame: &[u8]) -> (Verdict, Exit, Vec<u8>) {
        self.ingress.set(INDICES[from as usize]);
        self.memory.clear();
        self.memory.extend([0; HEADROOM].into_iter().chain(frame.iter().copied()).map(Cell::new));
        self.left.set((HEADROOM, self.memory.len()));
        let outcome = process(&self.frame(), self);
        let (start, end) = self.left.get();
        let bytes = self.memory[start..end].iter().map(Cell::get).collect();
        // What the program does with an outcome: a redirect to nowhere is a drop.
        let known = |port: PortNumber| {
            let entry = self.arrays.interfaces.get(port.index());
            entry.is_some_and(|interface| interface.index.load() != 0)
        };
        let verdict = match (outcome.verdict().unwrap_or(Verdict::Aborted), outcome.exit()) {
            (verdict, Exit::Through(port)) if verdict.action() == Action::Send && !known(port) => {
                Verdict::DroppedNoNextHop
            }
            (verdict, _) => verdict,
        };
        let mut verdicts = self.verdicts.get();
        verdicts[verdict as usize] += 1;
        self.verdicts.set(verdicts);
        (verdict, outcome.exit(), bytes)
    }

    /// What is left of the frame at hand.
    fn frame(&self) -> Frame<'_> {
        let (start, end) = self.left.get();
        Frame::of_cells(&self.memory[start..end.min(start + FIRST_BUFFER)])
    }

    /// Growth since the last call, which is forgotten by it.
    fn take_counters(&self) -> BTreeMap<String, i64> {
        let events = self.events.replace(Default::default());
        let mut growth: BTreeMap<String, i64> =
            Event::ALL.iter().map(|event| (event.name().to_owned(), events[*event as usize])).collect();
        let mut servers = self.servers.take();
        for (index, name) in self.names.iter().enumerate() {
            let counters = ServerId::new(index as u16 + 1).and_then(|id| servers.remove(&id));
            growth.extend(super::named(name, counters.unwrap_or_default()));
        }
        let mut refusals = self.refusals.take();
        for (number, name) in self.services.iter().enumerate() {
            let refused = refusals.remove(&(number as u32)).unwrap_or_default();
            growth.extend(super::refused(name, refused));
        }
        growth
    }
}

fn arrays() -> io::Result<Arrays> {
    Ok(Arrays {
        settings: Region::private(1)?,
        clock: Region::private(1)?,
        gate: Region::private(gate::WORDS)?,
        flows: Region::private(geometry().buckets())?,
        addresses: Region::private(geometry().slots())?,
        services: Region::private(SERVICES)?,
        servers: Region::private(SERVERS)?,
        tunnels: Region::private(SERVERS)?,
        tables: Region::private(TABLE_WORDS)?,
        paths: Region::private(Path::SETS)?,
        fragments: Region::private(fragments::SETS)?,
        interfaces: Region::private(PortNumber::LIMIT)?,
        limits: Region::private(SERVICES)?,
        sources: Region::private(SOURCE_SETS)?,
        pool: Region::private(1)?,
        leases: Region::private(LEASE_BUCKETS)?,
        tenants: Region::private(LEASE_BUCKETS * BUCKET_SLOTS as u32)?,
        loads: Region::private(SERVERS)?,
        affinities: Region::private(SERVICES)?,
        seats: Region::private(geometry().buckets())?,
        sitters: Region::private(geometry().slots())?,
    })
}

impl Engine for Native {
    fn reset(&mut self) -> Result<()> {
        self.arrays.clear();
        self.keyed.clear()?;
        self.pulse.take();
        self.arrays.set_ticks(FIRST_TICK, self.machine_ns);
        Ok(())
    }

    fn install(&mut self, world: &World) -> Result<()> {
        self.routes = world.routes.iter().map(|(address, hop)| (Addr::from(*address), *hop)).collect();
        self.names = world.servers.iter().map(|(_, server)| server.name.to_owned()).collect();
        self.services = world.services.iter().map(|service| service.name.to_owned()).collect();
        self.arrays.install(world, &mut self.keyed, INDICES, self.machine_ns)
    }

    fn pass(&mut self, ticks: u32) -> Result<()> {
        self.machine_ns += u64::from(ticks) * TICK_NS;
        let clock = &self.arrays.clock.all()[0];
        let silent = !clock.agent_lives(clock.now());
        self.arrays.set_ticks(self.arrays.ticks() + ticks, self.machine_ns);
        if !silent {
            clock.beat(self.machine_ns, 1_700_000_000);
        }
        Ok(())
    }

    fn run(&mut self, from: Side, frame: &[u8]) -> Result<Observation> {
        self.verdicts.set([0; Verdict::ALL.len()]);
        self.take_counters();
        let (verdict, exit, output) = self.push(from, frame);
        let action = match (verdict.action(), exit) {
            (Action::Drop, _) => 1,
            (Action::Pass, _) => 2,
            (Action::Send, Exit::Back) => 3,
            (Action::Send, Exit::Through(_)) => 4,
        };
        let counted = self.verdicts.get();
        let verdicts =
            Verdict::ALL.iter().map(|one| (one.name().to_owned(), counted[*one as usize])).collect();
        Ok(Observation { action, output, verdicts, counters: self.take_counters() })
    }
}

impl Memory for Native {
    type Cell = Word;
    fn bucket(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.buckets_seen.set(self.buckets_seen.get() + 1);
        self.touched.buckets.note(number);
        self.arrays.flows.get(number)
    }
    fn leases(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.arrays.leases.get(number)
    }
    fn seats(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.arrays.seats.get(number)
    }
}

/// Whether the first bits of the two are the same, as many as the prefix has.
fn is_in(client: &AccessKey, prefix: &AccessKey) -> bool {
    let bits = |key: &AccessKey| key.data().into_iter().flat_map(u32::to_ne_bytes).collect::<Vec<u8>>();
    let (client, bytes) = (bits(client), bits(prefix));
    (0..prefix.prefix_len() as usize).all(|bit| (client[bit / 8] ^ bytes[bit / 8]) & 0x80 >> (bit % 8) == 0)
}

/// The director as one packet sees it. The questions that the kernel answers by a subprogram are answered by the same
/// functions here.
fn director(tables: &Native) -> Option<Director<'_, Native>> {
    Director::consult(tables)
}

impl Tables for Native {
    fn settings(&self) -> Option<&Settings> {
        self.arrays.settings.get(0)
    }

    fn clock(&self) -> Option<&Clock> {
        self.arrays.clock.get(0)
    }

    fn gate(&self, word: u32) -> u64 {
        self.arrays.gate.get(word).map_or(0, Word::load)
    }

    fn listener(&self, key: &EndpointKey) -> Option<u32> {
        self.keyed.listeners.get(key).copied()
    }

    fn service(&self, number: u32) -> Option<&Service> {
        self.arrays.services.get(number)
    }

    fn server(&self, id: ServerId) -> Option<&Server> {
        self.arrays.servers.get(id.index())
    }

    fn tunnel(&self, id: ServerId) -> Option<&Tunnel> {
        self.arrays.tunnels.get(id.index())
    }

    fn ids(&self, word: u32) -> Option<u64> {
        self.arrays.tables.get(word).map(Word::load)
    }

    fn sharers(&self, key: &EndpointKey) -> Option<&Sharers> {
        self.keyed.backends.get(key)
    }

    fn is_local(&self, addr: Addr) -> bool {
        self.keyed.locals.contains(&addr)
    }

    fn rule(&self, client: &AccessKey) -> Option<u32> {
        let matching = self.keyed.rules.iter().filter(|(prefix, _)| is_in(client, prefix));
        matching.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, rule)| *rule as u32)
    }

    fn quic_server(&self, key: &QuicKey) -> Option<u32> {
        self.keyed.quic_servers.get(key).map(|id| id.index())
    }

    fn load(&self, number: u32) -> Option<&Load> {
        self.arrays.loads.get(number)
    }

    fn next_turn(&self, service: u32) -> u64 {
        let mut turns = self.turns.borrow_mut();
        let turn = turns.entry(service).or_default();
        *turn += 1;
        *turn - 1
    }

    fn random(&self) -> u32 {
        self.random.borrow_mut().next() as u32
    }

    fn affinity(&self, service: u32) -> Option<&Affinity> {
        self.arrays.affinities.get(service)
    }

    fn member(&self, service: u32, named: ServerId) -> Option<u32> {
        self.keyed.members.get(&member_key(service as u16, named)).map(|id| id.index())
    }

    fn sitter(&self, place: Place) -> Option<&Caller> {
        self.arrays.sitters.get(place.number())
    }

    fn limits(&self, entry: u32) -> Option<&ServiceLimits> {
        self.arrays.limits.get(entry)
    }

    fn sources(&self, set: u32) -> Option<&[Word; rate::WAYS]> {
        self.arrays.sources.get(set)
    }

    fn paths(&self, set: u32) -> Option<&[Path; Path::WAYS]> {
        self.touched.paths.note(set);
        self.arrays.paths.get(set)
    }

    fn notes(&self, set: u32) -> Option<&[Word; SET_NOTES]> {
        self.arrays.fragments.get(set)
    }

    fn interface(&self, port: PortNumber) -> Option<&Interface> {
        self.arrays.interfaces.get(port.index())
    }

    fn ingress(&self) -> u32 {
        self.ingress.get()
    }

    fn monotonic_ns(&self) -> u64 {
        self.machine_ns
    }

    fn is_time_to_look(&self) -> bool {
        let mut pulse = self.pulse.get();
        let looks = pulse.is_time_to_look();
        self.pulse.set(pulse);
        looks
    }

    fn may_answer(&self, now: Now) -> bool {
        let mut pulse = self.pulse.get();
        let may = pulse.may_answer(now);
        self.pulse.set(pulse);
        may
    }

    fn vlan(&self, wire: &Wire) -> Option<u32> {
        self.keyed.vlans.get(wire).copied()
    }

    fn route(&self, _: u32, _: &Addr, to: &Addr) -> Option<NextHop> {
        self.routes.get(to).map(|hop| next_hop(*hop, INDICES))
    }

    fn frame_length(&self) -> u64 {
        let (start, end) = self.left.get();
        (end - start) as u64
    }

    fn trim(&self, bytes: usize) {
        let (start, end) = self.left.get();
        self.left.set((start, end - bytes));
    }

    fn moved(&self, bytes: i32) -> Option<Frame<'_>> {
        let (start, end) = self.left.get();
        let start = start.checked_add_signed(-(bytes as isize))?;
        self.left.set((start, end));
        Some(self.frame())
    }

    fn locate(&self, flow: FlowId) -> Option<Place> {
        director(self)?.flows().locate(flow)
    }

    fn derives(&self, server: ServerId, flow: FlowId) -> bool {
        director(self).is_some_and(|director| director.derives(server, flow))
    }

    fn store(&self, flow: FlowId, server: ServerId, diverged: bool) -> bool {
        director(self).is_some_and(|director| director.store(flow, server, diverged))
    }

    fn pool(&self) -> Option<&Pool> {
        self.arrays.pool.get(0)
    }

    fn tenant(&self, place: Place) -> Option<&Caller> {
        self.arrays.tenants.get(place.number())
    }

    fn rent(&self, flow: FlowId, server: ServerId, ipv6: bool) -> Option<Place> {
        director(self)?.rent(flow, server, ipv6)
    }

    fn caller(&self, place: Place) -> Option<&Caller> {
        self.arrays.addresses.get(place.number())
    }

    fn count(&self, event: Event) {
        let mut events = self.events.get();
        events[event as usize] += 1;
        self.events.set(events);
    }

    fn count_refusal(&self, service: u32, why: Refusal) {
        self.refusals.borrow_mut().entry(service).or_default().add(why);
    }

    fn count_connection(&self, server: ServerId) {
        self.servers.borrow_mut().entry(server).or_default().connections += 1;
    }

    fn count_packet(&self, server: ServerId, direction: Direction, bytes: u16) {
        let mut servers = self.servers.borrow_mut();
        let counters = servers.entry(server).or_default();
        match direction {
            Direction::In => {
                counters.packets_in += 1;
                counters.bytes_in += u64::from(bytes);
            }
            Direction::Out => {
                counters.packets_out += 1;
                counters.bytes_out += u64::from(bytes);
            }
        }
    }
}

//! The pipeline as a library, over ordinary memory.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use anyhow::{Context as _, Result};
use lb_common::clock::{Clock, Now, TICK_NS};
use lb_common::entry::{
    Caller, Counters, EndpointKey, Interface, Path, Pulse, Server, Service, Settings, Sharers, Tunnel,
};
use lb_common::flow_table::{BUCKET_SLOTS, FlowTable, Memory, Place};
use lb_common::gate;
use lb_common::identity::FlowId;
use lb_common::net::{Addr, NextHop, PortNumber};
use lb_common::slot::{ServerId, Slot};
use lb_common::verdict::{Action, Event, Verdict};
use lb_common::word::Word;
use lb_ebpf::director::Director;
use lb_ebpf::frame::Frame;
use lb_ebpf::tables::{Direction, Tables};
use lb_ebpf::{Exit, process};

use super::maps::{Arrays, Keyed, SERVERS, SERVICES, TABLE_WORDS, geometry, next_hop};
use super::region::Region;
use super::world::{Hop, Side, World};
use super::{Engine, FIRST_TICK};
use crate::fixture::Observation;

/// What drivers leave in front of a frame (XDP_PACKET_HEADROOM).
const HEAD_ROOM: usize = 256;

/// The kernel indices of the two sides.
const INDICES: [u32; 2] = [3, 4];

/// A data path in this process.
pub struct Native {
    pub arrays: Arrays,
    keyed: HashMaps,
    routes: HashMap<Addr, Hop>,
    names: Vec<String>,
    machine_ns: u64,
    ingress: Cell<u32>,
    /// How many bytes the frame has more in front, and fewer at its end.
    grown: Cell<usize>,
    trimmed: Cell<usize>,
    verdicts: Cell<[i64; Verdict::ALL.len()]>,
    events: Cell<[i64; Event::ALL.len()]>,
    servers: RefCell<HashMap<ServerId, Counters>>,
    pulse: Cell<Pulse>,
    /// Buckets of the flow table that were asked for, ever.
    pub buckets_seen: Cell<u64>,
}

#[derive(Default)]
struct HashMaps {
    listeners: HashMap<EndpointKey, u32>,
    backends: HashMap<EndpointKey, Sharers>,
    locals: HashSet<Addr>,
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
            machine_ns: 5_000_000 * TICK_NS,
            ingress: Cell::new(0),
            grown: Cell::new(0),
            trimmed: Cell::new(0),
            verdicts: Cell::default(),
            events: Cell::default(),
            servers: RefCell::default(),
            pulse: Cell::default(),
            buckets_seen: Cell::default(),
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

    /// Every stored connection.
    pub fn stored(&self) -> impl Iterator<Item = Slot> {
        self.arrays.flows.words().iter().filter_map(|word| Slot::from_word(word.load()))
    }

    /// Runs a frame whose fate nobody wants to know in detail: the verdict and the frame that is left.
    pub fn push(&mut self, from: Side, frame: &[u8]) -> (Verdict, Exit, Vec<u8>) {
        self.ingress.set(INDICES[from as usize]);
        self.grown.set(0);
        self.trimmed.set(0);
        let mut bytes = [&[0; HEAD_ROOM], frame].concat();
        let outcome = process(&Frame::of_bytes(&mut bytes, HEAD_ROOM), self);
        bytes.truncate(bytes.len() - self.trimmed.get());
        bytes.drain(..HEAD_ROOM - self.grown.get());
        // What the program does with an outcome: a redirect to nowhere is a drop.
        let known = |port: PortNumber| INDICES.iter().any(|i| PortNumber::of_interface(*i) == port);
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

    /// Growth since the last call, which is forgotten by it.
    fn take_counters(&self) -> BTreeMap<String, i64> {
        let events = self.events.replace(Default::default());
        let mut growth: BTreeMap<String, i64> =
            Event::ALL.iter().map(|event| (event.name().to_owned(), events[*event as usize])).collect();
        let mut servers = self.servers.take();
        for (index, name) in self.names.iter().enumerate() {
            let counters = ServerId::new(index as u16 + 1).and_then(|id| servers.remove(&id));
            growth.extend(super::program::named(name, counters.unwrap_or_default()));
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
        interfaces: Region::private(PortNumber::LIMIT)?,
    })
}

impl Engine for Native {
    fn reset(&mut self) -> Result<()> {
        self.arrays.clear();
        self.keyed.clear()?;
        self.arrays.set_ticks(FIRST_TICK, self.machine_ns);
        Ok(())
    }

    fn install(&mut self, world: &World) -> Result<()> {
        self.routes = world.routes.iter().map(|(address, hop)| (Addr::from(*address), *hop)).collect();
        self.names = world.servers.iter().map(|(_, server)| server.name.to_owned()).collect();
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
        self.verdicts.set(Default::default());
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
        self.arrays.flows.get(number)
    }
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

    fn paths(&self, set: u32) -> Option<&[Path; Path::WAYS]> {
        self.arrays.paths.get(set)
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

    fn route(&self, _: Addr, to: Addr) -> Option<NextHop> {
        self.routes.get(&to).map(|hop| next_hop(*hop, INDICES))
    }

    fn trim(&self, bytes: usize) {
        self.trimmed.set(bytes);
    }

    fn grow<'a>(&self, frame: &Frame<'a>, bytes: usize) -> Option<Frame<'a>> {
        self.grown.set(self.grown.get() + bytes);
        frame.grown(bytes)
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

    fn caller(&self, place: Place) -> Option<&Caller> {
        self.arrays.addresses.get(place.number())
    }

    fn count(&self, event: Event) {
        let mut events = self.events.get();
        events[event as usize] += 1;
        self.events.set(events);
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

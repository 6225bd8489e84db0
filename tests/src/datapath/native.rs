//! The pipeline as a library, over ordinary memory.

mod answers;
mod asked;
mod forgetting;
mod keyed;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::io;

use anyhow::{Context as _, Result};
use lb_common::clock::TICK_NS;
use lb_common::entry::{Counters, Incidents, Path, Pulse};
use lb_common::flow_table::{BUCKET_SLOTS, FlowTable};
use lb_common::fragments;
use lb_common::gate;
use lb_common::identity::FlowId;
use lb_common::net::{Addr, PortNumber};
use lb_common::slot::{ServerId, Slot};
use lb_common::verdict::{Action, Event, Verdict};
use lb_ebpf::frame::Frame;
use lb_ebpf::{Exit, followed};

pub use asked::{Asked, Question};
use forgetting::{Resting, Touched};
use keyed::HashMaps;

use super::cases::settling::Announcer;
use super::cases::ways_back::Asker;
use super::maps::{Arrays, Keyed as _, Room, SERVERS, SERVICES, SOURCE_SETS};
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
    incidents: RefCell<HashMap<u32, Incidents>>,
    pulse: Cell<Pulse>,
    /// Connections of which the agent would have heard.
    announced: RefCell<Vec<FlowId>>,
    unreached: RefCell<Vec<Addr>>,
    /// By service, the next turn of the one CPU there is.
    turns: RefCell<HashMap<u32, u64>>,
    random: RefCell<Random>,
    /// What packets have asked so far.
    pub asked: Asked,
    /// What may hold anything that came since everything was last forgotten.
    touched: Touched,
    /// States of servers before they were disturbed.
    undisturbed: Vec<(u32, u64)>,
    /// What stands there when everything is forgotten.
    resting: Resting,
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
            incidents: RefCell::default(),
            pulse: Cell::default(),
            announced: RefCell::default(),
            unreached: RefCell::default(),
            turns: RefCell::default(),
            random: RefCell::new(Random::from_seed(1)),
            asked: Asked::default(),
            touched: Touched::default(),
            undisturbed: Vec::new(),
            resting: Resting::default(),
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
        FlowTable { memory: self, geometry: Room::SMALL.geometry }
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
        let outcome = followed(&self.frame(), self, |_| self.asked.note(Question::Stage));
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
        let mut incidents = self.incidents.take();
        for (number, name) in self.services.iter().enumerate() {
            let befallen = incidents.remove(&(number as u32)).unwrap_or_default();
            growth.extend(super::befallen(name, befallen));
        }
        growth
    }
}

fn arrays() -> io::Result<Arrays> {
    let room = Room::SMALL;
    Ok(Arrays {
        room,
        settings: Region::private(1)?,
        clock: Region::private(1)?,
        gate: Region::private(gate::WORDS)?,
        flows: Region::private(room.geometry.buckets())?,
        addresses: Region::private(room.geometry.slots())?,
        services: Region::private(SERVICES)?,
        servers: Region::private(SERVERS)?,
        tunnels: Region::private(SERVERS)?,
        tables: Region::private(room.table_words())?,
        paths: Region::private(Path::SETS)?,
        fragments: Region::private(fragments::SETS)?,
        interfaces: Region::private(PortNumber::LIMIT)?,
        limits: Region::private(SERVICES)?,
        sources: Region::private(SOURCE_SETS)?,
        pool: Region::private(1)?,
        leases: Region::private(room.lease_buckets)?,
        tenants: Region::private(room.lease_buckets * BUCKET_SLOTS as u32)?,
        loads: Region::private(SERVERS)?,
        affinities: Region::private(SERVICES)?,
        seats: Region::private(room.geometry.buckets())?,
        replicas: Region::private(room.geometry.buckets())?,
        sitters: Region::private(room.geometry.slots())?,
    })
}

impl Announcer for Native {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn take_announced(&mut self) -> Result<Vec<FlowId>> {
        Ok(self.announced.take())
    }
}

impl Asker for Native {
    fn take_unreached(&mut self) -> Result<Vec<Addr>> {
        Ok(self.unreached.take())
    }
}

impl Engine for Native {
    fn reset(&mut self) -> Result<()> {
        self.arrays.clear();
        self.keyed.clear()?;
        self.pulse.take();
        self.announced.take();
        self.unreached.take();
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

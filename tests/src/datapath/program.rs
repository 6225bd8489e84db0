//! The object as the kernel verified and compiled it, run frame by frame with BPF_PROG_TEST_RUN.

mod dump;
mod keyed;
mod object;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::Ebpf;
use aya::maps::xdp::DevMap;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use lb_common::capture::Filter;
use lb_common::clock::TICK_NS;
use lb_common::entry::{Counters, Incidents, Path, Pulse, Tally};
use lb_common::fragments;
use lb_common::gate;
use lb_common::identity::FlowId;
use lb_common::net::{Addr, PortNumber};
use lb_common::purpose::Purpose;
use lb_common::settled::Settled;
use lb_common::unreached::Unreached;
use lb_common::verdict::{Event, Verdict};
use nix::time::{ClockId, clock_gettime};

use keyed::HashMaps;
pub use object::{OBJECT_VARIABLE, load, object, open, xdp};
use object::{array, open_to, surround, take};

use super::cases::settling::Announcer;
use super::cases::ways_back::Asker;
use super::maps::{Arrays, Keyed as _, Room, SOURCE_SETS};
use super::region::Region;
use super::world::{Side, World};
use super::{Engine, FIRST_TICK, befallen, named};
use crate::family::Family;
use crate::fixture::Observation;
use crate::namespace::{Group, Namespace};

/// A loaded data path in a namespace of its own, which the thread that loaded it has entered for good.
pub struct Program {
    ebpf: Ebpf,
    pub arrays: Arrays,
    keyed: HashMaps,
    verdicts: PerCpuArray<MapData, Tally>,
    events: PerCpuArray<MapData, u64>,
    counters: PerCpuArray<MapData, Counters>,
    incidents: PerCpuArray<MapData, Incidents>,
    turns: PerCpuArray<MapData, u64>,
    settled: RefCell<RingBuf<MapData>>,
    unreached: RefCell<RingBuf<MapData>>,
    /// Word by word.
    pulse: PerCpuArray<MapData, [u64; size_of::<Pulse>() / 8]>,
    purpose: Purpose,
    /// What the counters showed after the last run.
    seen: Seen,
    names: Vec<String>,
    services: Vec<String>,
    agent_lives: bool,
    indices: [u32; 2],
    namespace: Namespace,
}

#[derive(Clone, Default)]
struct Seen {
    verdicts: Vec<u64>,
    events: Vec<u64>,
    servers: Vec<Counters>,
    incidents: Vec<Incidents>,
}

impl Program {
    /// Loads the object and makes the two interfaces. The calling thread stays in their namespace.
    pub fn load() -> Result<Self> {
        Self::load_to(Purpose::Serve)
    }

    /// The same, for any purpose.
    pub fn load_to(purpose: Purpose) -> Result<Self> {
        Self::load_with(purpose, Room::SMALL)
    }

    /// The same, with tables of any size.
    pub fn load_with(purpose: Purpose, room: Room) -> Result<Self> {
        let namespace = Namespace::create(Group::next(), "program")?;
        namespace.speak_ipv6()?;
        let mut lines = String::new();
        for side in Side::BOTH {
            let (name, mac) = (name_of(side), side.mac().map(|byte| format!("{byte:02x}")).join(":"));
            lines += &format!("link add {name} address {mac} type veth peer name {name}-peer\n");
            lines += &format!("link set {name} up\nlink set {name}-peer up\n");
        }
        namespace.ip(&lines)?;
        // The kernel's routing answers the data path only on interfaces that forward.
        namespace.sysctl(&[("net/ipv4/conf/all/forwarding", "1"), ("net/ipv6/conf/all/forwarding", "1")])?;
        let index = |side| -> Result<u32> {
            let shown = namespace.ip_json(&["link", "show", "dev", name_of(side)])?;
            let index = shown[0]["ifindex"].as_u64().context("ip shows no interface index")?;
            Ok(index as u32)
        };
        let indices = [index(Side::Front)?, index(Side::Back)?];
        namespace.join()?;

        let mut ebpf = open_to(purpose, room)?;
        load(&mut ebpf)?;
        if purpose == Purpose::Capture {
            surround(&mut ebpf)?;
        }
        let mut devices: DevMap<_> = take(&mut ebpf, "DEVICES")?;
        for index in indices {
            devices.set(PortNumber::of_interface(index).index(), index, None, 0)?;
        }
        let mut program = Self {
            arrays: arrays(&mut ebpf, room)?,
            keyed: HashMaps {
                listeners: take(&mut ebpf, "LISTENERS")?,
                backends: take(&mut ebpf, "BACKENDS")?,
                locals: take(&mut ebpf, "LOCALS")?,
                vlans: take(&mut ebpf, "VLANS")?,
                devices,
                lists: take(&mut ebpf, "LISTS")?,
                quic_servers: take(&mut ebpf, "QUIC_SERVERS")?,
                members: take(&mut ebpf, "MEMBERS")?,
            },
            verdicts: take(&mut ebpf, "VERDICTS")?,
            events: take(&mut ebpf, "EVENTS")?,
            counters: take(&mut ebpf, "SERVER_COUNTERS")?,
            incidents: take(&mut ebpf, "INCIDENTS")?,
            turns: take(&mut ebpf, "TURNS")?,
            settled: RefCell::new(take(&mut ebpf, "SETTLED")?),
            unreached: RefCell::new(take(&mut ebpf, "UNREACHED")?),
            pulse: take(&mut ebpf, "PULSE")?,
            purpose,
            seen: Seen::default(),
            names: Vec::new(),
            services: Vec::new(),
            agent_lives: true,
            indices,
            namespace,
            ebpf,
        };
        program.reset()?;
        Ok(program)
    }

    /// All verdicts ever counted, by number.
    pub fn verdicts(&self) -> Result<Vec<u64>> {
        let numbers = 0..Verdict::ALL.len() as u32;
        numbers.map(|i| Ok(self.verdicts.get(&i, 0)?.iter().map(|tally| tally.packets).sum())).collect()
    }

    /// What the kernel calls first.
    pub fn first(&mut self) -> Result<&mut Xdp> {
        xdp(&mut self.ebpf, self.purpose.first())
    }

    /// Its interface on this side.
    #[must_use]
    pub const fn interface(&self, side: Side) -> u32 {
        self.indices[side as usize]
    }

    /// What a capturing copy has written since the last call.
    pub fn captured(&mut self) -> Result<Vec<Vec<u8>>> {
        let map = self.ebpf.map_mut("RING").context("the object has no map RING")?;
        let mut ring = RingBuf::try_from(map)?;
        let mut records = Vec::new();
        while let Some(record) = ring.next() {
            records.push(record.to_vec());
        }
        Ok(records)
    }

    /// Connections that were announced since the last call.
    pub fn settled(&self) -> Result<Vec<Settled>> {
        let mut ring = self.settled.borrow_mut();
        let mut announced = Vec::new();
        while let Some(record) = ring.next() {
            announced.push(Settled::read(&record).context("what the ring holds is no connection")?);
        }
        Ok(announced)
    }

    /// Clients of whom the agent was told since the last call that there is no way to them.
    pub fn unreached(&self) -> Result<Vec<Addr>> {
        let mut ring = self.unreached.borrow_mut();
        let mut told = Vec::new();
        while let Some(record) = ring.next() {
            let Unreached(client) = Unreached::read(&record).context("what the ring holds is no client")?;
            told.push(client);
        }
        Ok(told)
    }

    /// What a capturing copy goes by.
    pub fn filter(&mut self) -> Result<Region<Filter>> {
        array(&mut self.ebpf, "FILTER", 1)
    }

    fn counted(&self) -> Result<Seen> {
        let events = 0..Event::ALL.len() as u32;
        let servers = 1..=self.names.len() as u32;
        let services = 0..self.services.len() as u32;
        Ok(Seen {
            verdicts: self.verdicts()?,
            events: events.map(|i| Ok(self.events.get(&i, 0)?.iter().sum())).collect::<Result<_>>()?,
            servers: servers
                .map(|i| Ok(self.counters.get(&i, 0)?.iter().fold(Counters::default(), |a, b| a + *b)))
                .collect::<Result<_>>()?,
            incidents: services
                .map(|i| Ok(self.incidents.get(&i, 0)?.iter().fold(Incidents::default(), |a, b| a + *b)))
                .collect::<Result<_>>()?,
        })
    }

    /// The kernel's action and the frame that is left, without a look at the counters.
    pub fn push(&mut self, from: Side, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        self.settle()?;
        self.put(from, frame)
    }

    /// The same, with the clock left as it is.
    pub fn put(&mut self, from: Side, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        ensure!(frame.len() >= 14, "BPF_PROG_TEST_RUN takes no frame of less than an Ethernet header");
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let words = [0, frame.len() as u32, 0, self.indices[from as usize], 0, 0];
        let context: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut output = vec![0; frame.len() + GROWTH];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut output),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        let result = xdp(&mut self.ebpf, self.purpose.first())?
            .test_run(options)
            .context("BPF_PROG_TEST_RUN refuses the frame")?;
        output.truncate(result.data_size_out as usize);
        Ok((result.return_value, output))
    }

    /// Keeps the data path's clock where it is while a frame runs, so that a case sees the ticks it let pass and no others.
    fn settle(&self) -> Result<()> {
        let left = TICK_NS - machine_ns()? % TICK_NS;
        if left < NEAR_TICK_NS {
            thread::sleep(Duration::from_nanos(left) + Duration::from_millis(5));
        }
        self.set_clock(self.arrays.ticks())
    }

    fn set_clock(&self, ticks: u32) -> Result<()> {
        let now = machine_ns()?;
        self.arrays.set_ticks(ticks, now);
        let silence = if self.agent_lives { 0 } else { 1000 * TICK_NS };
        self.arrays.clock.all()[0].beat(now.saturating_sub(silence), 1_700_000_000);
        Ok(())
    }
}

impl Announcer for Program {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn take_announced(&mut self) -> Result<Vec<FlowId>> {
        Ok(self.settled()?.into_iter().map(|settled| settled.flow).collect())
    }
}

impl Asker for Program {
    fn take_unreached(&mut self) -> Result<Vec<Addr>> {
        self.unreached()
    }
}

impl Engine for Program {
    fn reset(&mut self) -> Result<()> {
        self.arrays.clear();
        self.keyed.clear()?;
        self.settled()?;
        self.unreached()?;
        self.set_clock(FIRST_TICK)?;
        for family in Family::BOTH {
            self.namespace.ip_of(family, "route flush table main\nneigh flush all")?;
        }
        Ok(())
    }

    fn install(&mut self, world: &World) -> Result<()> {
        self.agent_lives = world.agent_lives;
        self.arrays.install(world, &mut self.keyed, self.indices, machine_ns()?)?;
        self.names = world.servers.iter().map(|(_, server)| server.name.to_owned()).collect();
        self.services = world.services.iter().map(|service| service.name.to_owned()).collect();
        let mut lines = String::new();
        for (address, hop) in &world.routes {
            let (device, mac) = (name_of(hop.side), hop.mac.map(|byte| format!("{byte:02x}")).join(":"));
            // Without a length, the one address.
            lines += &format!("route replace {address} dev {device}\n");
            lines += &format!("neigh replace {address} lladdr {mac} dev {device} nud permanent\n");
        }
        if !lines.is_empty() {
            self.namespace.ip(&lines)?;
        }
        self.seen = self.counted()?;
        Ok(())
    }

    fn pass(&mut self, ticks: u32) -> Result<()> {
        self.set_clock(self.arrays.ticks() + ticks)
    }

    fn run(&mut self, from: Side, frame: &[u8]) -> Result<Observation> {
        let (action, output) = self.push(from, frame)?;
        let now = self.counted()?;
        let before = std::mem::replace(&mut self.seen, now.clone());
        let growth = |now: u64, before: u64| now as i64 - before as i64;
        let mut observation = Observation { action, output, ..Observation::default() };
        for (verdict, (now, before)) in Verdict::ALL.iter().zip(now.verdicts.iter().zip(before.verdicts)) {
            observation.verdicts.insert(verdict.name().to_owned(), growth(*now, before));
        }
        let mut counters = BTreeMap::new();
        for (event, (now, before)) in Event::ALL.iter().zip(now.events.iter().zip(before.events)) {
            counters.insert(event.name().to_owned(), growth(*now, before));
        }
        for (name, (now, before)) in self.names.iter().zip(now.servers.iter().zip(before.servers)) {
            let (now, before) = (now.to_array(), before.to_array());
            let grown = Counters::from_array(std::array::from_fn(|i| now[i] - before[i]));
            counters.extend(named(name, grown));
        }
        for (name, (now, before)) in self.services.iter().zip(now.incidents.iter().zip(before.incidents)) {
            let (now, before) = (now.to_array(), before.to_array());
            counters
                .extend(befallen(name, Incidents::from_array(std::array::from_fn(|i| now[i] - before[i]))));
        }
        observation.counters = counters;
        Ok(observation)
    }
}

fn arrays(ebpf: &mut Ebpf, room: Room) -> Result<Arrays> {
    Ok(Arrays {
        room,
        settings: array(ebpf, "SETTINGS", 1)?,
        clock: array(ebpf, "CLOCK", 1)?,
        gate: array(ebpf, "GATE", gate::WORDS)?,
        flows: array(ebpf, "FLOWS", room.geometry.buckets())?,
        addresses: array(ebpf, "ADDRESSES", room.geometry.slots())?,
        services: array(ebpf, "SERVICES", room.services)?,
        servers: array(ebpf, "SERVERS", room.servers())?,
        tunnels: array(ebpf, "TUNNELS", room.servers())?,
        tables: array(ebpf, "TABLES", room.table_words())?,
        paths: array(ebpf, "PATHS", Path::SETS)?,
        fragments: array(ebpf, "FRAGMENTS", fragments::SETS)?,
        interfaces: array(ebpf, "INTERFACES", PortNumber::LIMIT)?,
        limits: array(ebpf, "LIMITS", room.services)?,
        sources: array(ebpf, "SOURCES", SOURCE_SETS)?,
        pool: array(ebpf, "POOL", 1)?,
        leases: array(ebpf, "LEASES", room.lease_buckets)?,
        tenants: array(ebpf, "TENANTS", room.lease_buckets * 8)?,
        loads: array(ebpf, "LOADS", room.servers())?,
        affinities: array(ebpf, "AFFINITIES", room.services)?,
        seats: array(ebpf, "SEATS", room.geometry.buckets())?,
        replicas: array(ebpf, "REPLICAS", room.geometry.buckets())?,
        sitters: array(ebpf, "SITTERS", room.geometry.slots())?,
    })
}

/// More than any tunnel adds.
const GROWTH: usize = 64;

/// Longer than a frame takes, also on a busy machine.
const NEAR_TICK_NS: u64 = 20_000_000;

/// The clock that the program reads.
fn machine_ns() -> Result<u64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).context("cannot read the monotonic clock")?;
    Ok(now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64)
}

const fn name_of(side: Side) -> &'static str {
    match side {
        Side::Front => "front",
        Side::Back => "back",
    }
}

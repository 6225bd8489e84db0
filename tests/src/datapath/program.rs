//! The object as the kernel verified and compiled it, run frame by frame with BPF_PROG_TEST_RUN.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::xdp::DevMap;
use aya::maps::{HashMap, Map, MapData, PerCpuArray, ProgramArray, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use lb_common::capture::Filter;
use lb_common::clock::TICK_NS;
use lb_common::entry::{AccessKey, Counters, EndpointKey, Path, QuicKey, Refusals, Rule, Sharers, Tally};
use lb_common::fragments;
use lb_common::gate;
use lb_common::net::{Addr, PortNumber};
use lb_common::purpose::{ENTRY_INDEX, Purpose, SEEN, SEEN_INDEX, WATCH};
use lb_common::slot::ServerId;
use lb_common::stage::{ENTRY, Stage};
use lb_common::verdict::{EVENT_LIMIT, Event, VERDICT_LIMIT, Verdict};
use lb_common::wire::Wire;
use lb_common::word::Word;
use nix::time::{ClockId, clock_gettime};

use super::maps::{Arrays, Keyed, LEASE_BUCKETS, SERVERS, SERVICES, SOURCE_SETS, TABLE_WORDS, geometry};
use super::region::{Region, Value};
use super::world::{Side, World};
use super::{Engine, FIRST_TICK, named, refused};
use crate::family::Family;
use crate::fixture::Observation;
use crate::namespace::{Group, Namespace};

/// Names the object under test.
pub const OBJECT_VARIABLE: &str = "XLVS_EBPF_OBJECT";

/// A loaded data path in a namespace of its own, which the thread that loaded it has entered for good.
pub struct Program {
    ebpf: Ebpf,
    pub arrays: Arrays,
    keyed: HashMaps,
    verdicts: PerCpuArray<MapData, Tally>,
    events: PerCpuArray<MapData, u64>,
    counters: PerCpuArray<MapData, Counters>,
    refusals: PerCpuArray<MapData, Refusals>,
    turns: PerCpuArray<MapData, u64>,
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
    refusals: Vec<Refusals>,
}

struct HashMaps {
    listeners: HashMap<MapData, EndpointKey, u32>,
    backends: HashMap<MapData, EndpointKey, Sharers>,
    locals: HashMap<MapData, Addr, u32>,
    vlans: HashMap<MapData, Wire, u32>,
    devices: DevMap<MapData>,
    lists: LpmTrie<MapData, [u32; AccessKey::DATA_WORDS], u32>,
    quic_servers: HashMap<MapData, QuicKey, u32>,
    members: HashMap<MapData, u64, u32>,
}

/// The bytes of the object under test.
pub fn object() -> Result<Vec<u8>> {
    let path = std::env::var_os(OBJECT_VARIABLE).map(PathBuf::from).with_context(|| {
        format!("{OBJECT_VARIABLE} names no object; run this suite with 'cargo xtask test --only kernel'")
    })?;
    fs::read(&path).with_context(|| format!("cannot read {OBJECT_VARIABLE}={}", path.display()))
}

/// The object, its maps made and its programs not yet loaded. Maps whose size the agent sets are small.
pub fn open() -> Result<Ebpf> {
    open_to(Purpose::Serve)
}

fn open_to(purpose: Purpose) -> Result<Ebpf> {
    let sizes = [
        ("FLOWS", geometry().buckets()),
        ("ADDRESSES", geometry().slots()),
        ("SERVERS", SERVERS),
        ("SERVER_COUNTERS", SERVERS),
        ("TUNNELS", SERVERS),
        ("LOADS", SERVERS),
        ("MEMBERS", SERVERS * SERVERS),
        ("TURNS", SERVICES),
        ("AFFINITIES", SERVICES),
        ("SEATS", geometry().buckets()),
        ("SITTERS", geometry().slots()),
        ("BACKENDS", SERVERS),
        ("QUIC_SERVERS", SERVERS),
        ("SERVICES", SERVICES),
        ("REFUSALS", SERVICES),
        ("LIMITS", SERVICES),
        ("SOURCES", SOURCE_SETS),
        ("LEASES", LEASE_BUCKETS),
        ("TENANTS", LEASE_BUCKETS * 8),
        ("LISTENERS", SERVICES * 2),
        ("TABLES", TABLE_WORDS),
    ];
    let constant = purpose as u8;
    let mut loader = EbpfLoader::new();
    loader.override_global(Purpose::CONSTANT, &constant, true);
    if purpose != Purpose::Serve {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error).context("cannot count CPUs")?;
        loader.map_max_entries("TRAIL", cpus as u32);
    }
    if purpose == Purpose::Capture {
        loader.map_max_entries("RING", 1 << 20);
    }
    for (map, entries) in sizes {
        loader.map_max_entries(map, entries);
    }
    loader.load(&object()?).context("the kernel refuses the maps of the object; this suite needs root")
}

/// An XDP program of the object.
pub fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = ebpf.program_mut(name).ok_or_else(|| anyhow!("the object has no program {name}"))?;
    program.try_into().with_context(|| format!("program {name} is not an XDP program"))
}

/// The kernel's verifier takes every program of the object, and each finds those it hands over to.
pub fn load(ebpf: &mut Ebpf) -> Result<()> {
    xdp(ebpf, ENTRY)?.load().with_context(|| format!("the kernel refuses {ENTRY}"))?;
    for stage in Stage::ALL {
        let name = stage.program();
        xdp(ebpf, name)?.load().with_context(|| format!("the kernel refuses {name}"))?;
        enter(ebpf, name, *stage as u32)?;
    }
    Ok(())
}

/// Likewise the programs around the others, for a copy that captures.
fn surround(ebpf: &mut Ebpf) -> Result<()> {
    for name in [WATCH, SEEN] {
        xdp(ebpf, name)?.load().with_context(|| format!("the kernel refuses {name}"))?;
    }
    enter(ebpf, ENTRY, ENTRY_INDEX)?;
    enter(ebpf, SEEN, SEEN_INDEX)
}

fn enter(ebpf: &mut Ebpf, name: &str, index: u32) -> Result<()> {
    let program = xdp(ebpf, name)?.fd()?.try_clone()?;
    let mut stages = ProgramArray::try_from(ebpf.map_mut("STAGES").context("the object has no map STAGES")?)?;
    stages.set(index, &program, 0).with_context(|| format!("cannot enter {name}"))
}

impl Program {
    /// Loads the object and makes the two interfaces. The calling thread stays in their namespace.
    pub fn load() -> Result<Self> {
        Self::load_to(Purpose::Serve)
    }

    /// The same, for any purpose.
    pub fn load_to(purpose: Purpose) -> Result<Self> {
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

        let mut ebpf = open_to(purpose)?;
        load(&mut ebpf)?;
        if purpose == Purpose::Capture {
            surround(&mut ebpf)?;
        }
        let mut devices: DevMap<_> = take(&mut ebpf, "DEVICES")?;
        for index in indices {
            devices.set(PortNumber::of_interface(index).index(), index, None, 0)?;
        }
        let mut program = Self {
            arrays: arrays(&mut ebpf)?,
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
            refusals: take(&mut ebpf, "REFUSALS")?,
            turns: take(&mut ebpf, "TURNS")?,
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

    /// Everything that lies in the maps, by name.
    pub fn dump(&self) -> Result<BTreeMap<&'static str, Vec<u64>>> {
        let words = |words: &[Word]| words.iter().map(Word::load).collect::<Vec<u64>>();
        let arrays = &self.arrays;
        let mut dump = BTreeMap::from([
            ("SETTINGS", words(arrays.settings.words())),
            ("CLOCK", words(arrays.clock.words())),
            ("GATE", words(arrays.gate.words())),
            ("FLOWS", words(arrays.flows.words())),
            ("ADDRESSES", words(arrays.addresses.words())),
            ("SERVICES", words(arrays.services.words())),
            ("SERVERS", words(arrays.servers.words())),
            ("TUNNELS", words(arrays.tunnels.words())),
            ("POOL", words(arrays.pool.words())),
            ("LEASES", words(arrays.leases.words())),
            ("TENANTS", words(arrays.tenants.words())),
            ("LOADS", words(arrays.loads.words())),
            ("AFFINITIES", words(arrays.affinities.words())),
            ("SEATS", words(arrays.seats.words())),
            ("SITTERS", words(arrays.sitters.words())),
            ("TABLES", words(arrays.tables.words())),
            ("LIMITS", words(arrays.limits.words())),
            ("SOURCES", words(arrays.sources.words())),
            ("PATHS", words(arrays.paths.words())),
            ("FRAGMENTS", words(arrays.fragments.words())),
            ("INTERFACES", words(arrays.interfaces.words())),
        ]);
        // Of every CPU, with the numbers that nothing has yet.
        let mut verdicts = Vec::new();
        for number in 0..VERDICT_LIMIT {
            let cpus = self.verdicts.get(&number, 0)?;
            verdicts.extend(cpus.iter().flat_map(|tally| [tally.packets, tally.bytes]));
        }
        let mut events = Vec::new();
        for number in 0..EVENT_LIMIT {
            events.extend(self.events.get(&number, 0)?.iter());
        }
        let mut counters = Vec::new();
        for id in 0..SERVERS {
            counters.extend(self.counters.get(&id, 0)?.iter().flat_map(|counters| counters.to_array()));
        }
        let mut refusals = Vec::new();
        for number in 0..SERVICES {
            refusals.extend(self.refusals.get(&number, 0)?.iter().flat_map(|refusals| refusals.to_array()));
        }
        let mut turns = Vec::new();
        for number in 0..SERVICES {
            turns.extend(self.turns.get(&number, 0)?.iter());
        }
        dump.extend([
            ("TURNS", turns),
            ("VERDICTS", verdicts),
            ("EVENTS", events),
            ("SERVER_COUNTERS", counters),
            ("REFUSALS", refusals),
        ]);
        dump.extend(self.keyed.dump()?);
        Ok(dump)
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
            refusals: services
                .map(|i| Ok(self.refusals.get(&i, 0)?.iter().fold(Refusals::default(), |a, b| a + *b)))
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

fn arrays(ebpf: &mut Ebpf) -> Result<Arrays> {
    Ok(Arrays {
        settings: array(ebpf, "SETTINGS", 1)?,
        clock: array(ebpf, "CLOCK", 1)?,
        gate: array(ebpf, "GATE", gate::WORDS)?,
        flows: array(ebpf, "FLOWS", geometry().buckets())?,
        addresses: array(ebpf, "ADDRESSES", geometry().slots())?,
        services: array(ebpf, "SERVICES", SERVICES)?,
        servers: array(ebpf, "SERVERS", SERVERS)?,
        tunnels: array(ebpf, "TUNNELS", SERVERS)?,
        tables: array(ebpf, "TABLES", TABLE_WORDS)?,
        paths: array(ebpf, "PATHS", Path::SETS)?,
        fragments: array(ebpf, "FRAGMENTS", fragments::SETS)?,
        interfaces: array(ebpf, "INTERFACES", PortNumber::LIMIT)?,
        limits: array(ebpf, "LIMITS", SERVICES)?,
        sources: array(ebpf, "SOURCES", SOURCE_SETS)?,
        pool: array(ebpf, "POOL", 1)?,
        leases: array(ebpf, "LEASES", LEASE_BUCKETS)?,
        tenants: array(ebpf, "TENANTS", LEASE_BUCKETS * 8)?,
        loads: array(ebpf, "LOADS", SERVERS)?,
        affinities: array(ebpf, "AFFINITIES", SERVICES)?,
        seats: array(ebpf, "SEATS", geometry().buckets())?,
        sitters: array(ebpf, "SITTERS", geometry().slots())?,
    })
}

fn array<T: Value>(ebpf: &mut Ebpf, name: &str, entries: u32) -> Result<Region<T>> {
    let Some(Map::Array(data)) = ebpf.map(name) else { bail!("the object has no array {name}") };
    Region::of_map(data.fd().as_fd(), entries).with_context(|| format!("map {name}"))
}

fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M::Error: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf.take_map(name).with_context(|| format!("the object has no map {name}"))?;
    M::try_from(map).with_context(|| format!("map {name}"))
}

impl HashMaps {
    /// What lies in them, by name and in the order of the keys.
    fn dump(&self) -> Result<BTreeMap<&'static str, Vec<u64>>> {
        fn sorted<K: Debug, V>(
            entries: impl Iterator<Item = Result<(K, V), aya::maps::MapError>>,
            words: impl Fn(V) -> Vec<u64>,
        ) -> Result<Vec<u64>> {
            let entries = entries.map(|entry| entry.map(|(key, value)| (format!("{key:?}"), words(value))));
            let entries = entries.collect::<Result<BTreeMap<_, _>, _>>()?;
            Ok(entries.into_values().flatten().collect())
        }
        let one = |value: u32| vec![u64::from(value)];
        let lists =
            self.lists.iter().map(|entry| entry.map(|(key, rule)| ((key.prefix_len(), key.data()), rule)));
        let ids = |sharers: Sharers| sharers.ids.map(u64::from).to_vec();
        Ok(BTreeMap::from([
            ("LISTENERS", sorted(self.listeners.iter(), one)?),
            ("BACKENDS", sorted(self.backends.iter(), ids)?),
            ("LOCALS", sorted(self.locals.iter(), one)?),
            ("VLANS", sorted(self.vlans.iter(), one)?),
            ("LISTS", sorted(lists, one)?),
        ]))
    }
}

impl Keyed for HashMaps {
    fn add_listener(&mut self, key: EndpointKey, service: u32) -> Result<()> {
        self.listeners.insert(key, service, 0).context("cannot add a listener")
    }

    fn add_backend(&mut self, key: EndpointKey, sharers: Sharers) -> Result<()> {
        self.backends.insert(key, sharers, 0).context("cannot add a backend")
    }

    fn add_local(&mut self, addr: Addr) -> Result<()> {
        self.locals.insert(addr, 1, 0).context("cannot add a local address")
    }

    fn add_vlan(&mut self, wire: Wire, index: u32) -> Result<()> {
        self.devices.set(PortNumber::of_interface(index).index(), wire.device, None, 0)?;
        self.vlans.insert(wire, index, 0).context("cannot add a VLAN interface")
    }

    fn add_rule(&mut self, prefix: AccessKey, rule: Rule) -> Result<()> {
        let key = Key::new(prefix.prefix_len(), prefix.data());
        self.lists.insert(&key, rule as u32, 0).context("cannot add a prefix")
    }

    fn add_quic_server(&mut self, key: QuicKey, server: ServerId) -> Result<()> {
        self.quic_servers
            .insert(key, server.index(), 0)
            .context("cannot add what connection ids call a server")
    }

    fn add_member(&mut self, key: u64, server: ServerId) -> Result<()> {
        self.members.insert(key, server.index(), 0).context("cannot add what a service calls a server")
    }

    fn clear(&mut self) -> Result<()> {
        for key in self.listeners.keys().collect::<Result<Vec<_>, _>>()? {
            self.listeners.remove(&key)?;
        }
        for key in self.backends.keys().collect::<Result<Vec<_>, _>>()? {
            self.backends.remove(&key)?;
        }
        for key in self.locals.keys().collect::<Result<Vec<_>, _>>()? {
            self.locals.remove(&key)?;
        }
        for key in self.vlans.keys().collect::<Result<Vec<_>, _>>()? {
            self.vlans.remove(&key)?;
        }
        for key in self.lists.keys().collect::<Result<Vec<_>, _>>()? {
            self.lists.remove(&key)?;
        }
        for key in self.quic_servers.keys().collect::<Result<Vec<_>, _>>()? {
            self.quic_servers.remove(&key)?;
        }
        for key in self.members.keys().collect::<Result<Vec<_>, _>>()? {
            self.members.remove(&key)?;
        }
        Ok(())
    }
}

impl Engine for Program {
    fn reset(&mut self) -> Result<()> {
        self.arrays.clear();
        self.keyed.clear()?;
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
        for (name, (now, before)) in self.services.iter().zip(now.refusals.iter().zip(before.refusals)) {
            let (now, before) = (now.to_array(), before.to_array());
            counters.extend(refused(name, Refusals::from_array(std::array::from_fn(|i| now[i] - before[i]))));
        }
        observation.counters = counters;
        Ok(observation)
    }
}

//! Every map, under its type.

use anyhow::{Context, Result, anyhow};
use aya::Ebpf;
use aya::maps::{Map, MapData, xdp::DevMap};
use lb_common::ABI_VERSION;
use lb_common::clock::Clock;
use lb_common::entry::{
    About, Affinity, Caller, EndpointKey, Interface, Load, Path, Pool, QuicKey, Server, ServerState, Service,
    ServiceLimits, Settings, Sharers, Tunnel,
};
use lb_common::flow_table::{BUCKET_SLOTS, FlowTable, Memory, Place};
use lb_common::gate;
use lb_common::identity::HashKey;
use lb_common::net::{Addr, PortNumber, Tuple};
use lb_common::pool;
use lb_common::rate;
use lb_common::slot::{Geometry, Slot};
use lb_common::wire::Wire;
use lb_common::word::Word;
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use super::Mapped;
use super::announced::Announced;
use super::counts::Counts;
use super::keyed::{Keyed, Prefixes};
use super::unreached::Unreached;

/// How large the maps are whose size depends on the configuration. Fixed for the life of the pins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapSizes {
    pub geometry: Geometry,
    /// Slots whose callers are noted: all or, where that is switched off, one.
    pub addresses: u32,
    /// Pairs of service and server.
    pub servers: u32,
    pub services: u32,
    /// Ports at VIPs, and VIPs.
    pub listeners: u32,
    /// Prefixes in lists.
    pub lists: u32,
    /// Sets of sources whose rates are known, a power of two.
    pub source_sets: u32,
    /// Words of the table arena.
    pub table_words: u32,
    /// Buckets of the table of who comes back to which server.
    pub seat_buckets: u32,
    /// Buckets of the table of connections that other directors hold.
    pub replica_buckets: u32,
    /// Buckets of the ports that full NAT sends from; one if there are none.
    pub lease_buckets: u32,
}

/// Where a connection is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// In the connection table.
    Flow(Place),
    /// In the ports of full NAT.
    Lease(Place),
}

/// The maps of one data path.
pub struct Maps {
    pub about: Mapped<About>,
    pub settings: Mapped<Settings>,
    pub clock: Mapped<Clock>,
    pub gate: Mapped<Word>,
    pub flows: Mapped<[Word; BUCKET_SLOTS]>,
    /// One for each slot of `flows`; a single one if they are not kept.
    pub addresses: Mapped<Caller>,
    /// What full NAT sends from, as long as these maps live.
    pub pool: Mapped<Pool>,
    pub leases: Mapped<[Word; BUCKET_SLOTS]>,
    /// One for each slot of `leases`.
    pub tenants: Mapped<Caller>,
    /// Connections that other directors hold.
    pub replicas: Mapped<[Word; BUCKET_SLOTS]>,
    pub services: Mapped<Service>,
    pub servers: Mapped<Server>,
    /// By server id.
    pub loads: Mapped<Load>,
    /// By service number.
    pub affinities: Mapped<Affinity>,
    pub seats: Mapped<[Word; BUCKET_SLOTS]>,
    /// One for each slot of `seats`.
    pub sitters: Mapped<Caller>,
    pub tunnels: Mapped<Tunnel>,
    pub tables: Mapped<Word>,
    pub paths: Mapped<[Path; Path::WAYS]>,
    pub interfaces: Mapped<Interface>,
    /// By the number of a lane.
    pub limits: Mapped<ServiceLimits>,
    pub sources: Mapped<[Word; rate::WAYS]>,
    pub listeners: Keyed<EndpointKey, u32>,
    pub backends: Keyed<EndpointKey, Sharers>,
    /// By what connection ids call it, a server.
    pub quic_servers: Keyed<QuicKey, u32>,
    /// By [`member_key`](lb_common::entry::member_key), a server.
    pub members: Keyed<u64, u32>,
    pub locals: Keyed<Addr, u32>,
    /// The interface with these tags on this device, by index.
    pub vlans: Keyed<Wire, u32>,
    pub lists: Prefixes,
    pub counts: Counts,
    pub announced: Announced,
    pub unreached: Unreached,
    pub devices: Devices,
}

/// Where the program sends what leaves by an interface. None where no program does.
pub struct Devices(Option<DevMap<MapData>>);

impl MapSizes {
    /// The maps whose size the loader sets, by name.
    #[must_use]
    pub fn by_name(&self) -> [(&'static str, u32); 23] {
        [
            ("FLOWS", self.geometry.buckets()),
            ("ADDRESSES", self.addresses),
            ("REPLICAS", self.replica_buckets),
            ("SERVERS", self.servers),
            ("SERVER_COUNTERS", self.servers),
            ("TUNNELS", self.servers),
            ("BACKENDS", self.servers),
            // Old and new ones, while they are exchanged.
            ("QUIC_SERVERS", self.servers * 2),
            ("LOADS", self.servers),
            // Each lane of a group for each other one.
            ("MEMBERS", self.servers * 4),
            ("TURNS", self.services),
            ("AFFINITIES", self.services),
            ("SEATS", self.seat_buckets),
            ("SITTERS", self.seat_buckets * BUCKET_SLOTS as u32),
            ("SERVICES", self.services),
            ("INCIDENTS", self.services),
            ("LISTS", self.lists),
            ("LIMITS", self.services),
            ("SOURCES", self.source_sets),
            ("LISTENERS", self.listeners),
            ("TABLES", self.table_words),
            ("LEASES", self.lease_buckets),
            ("TENANTS", self.lease_buckets * BUCKET_SLOTS as u32),
        ]
    }
}

impl Maps {
    /// Takes the maps out of a loaded object.
    ///
    /// # Errors
    /// If the object lacks a map or one cannot be mapped.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            about: mapped(ebpf, "ABOUT")?,
            settings: mapped(ebpf, "SETTINGS")?,
            clock: mapped(ebpf, "CLOCK")?,
            gate: mapped(ebpf, "GATE")?,
            flows: mapped(ebpf, "FLOWS")?,
            addresses: mapped(ebpf, "ADDRESSES")?,
            pool: mapped(ebpf, "POOL")?,
            leases: mapped(ebpf, "LEASES")?,
            tenants: mapped(ebpf, "TENANTS")?,
            replicas: mapped(ebpf, "REPLICAS")?,
            services: mapped(ebpf, "SERVICES")?,
            servers: mapped(ebpf, "SERVERS")?,
            loads: mapped(ebpf, "LOADS")?,
            affinities: mapped(ebpf, "AFFINITIES")?,
            seats: mapped(ebpf, "SEATS")?,
            sitters: mapped(ebpf, "SITTERS")?,
            tunnels: mapped(ebpf, "TUNNELS")?,
            tables: mapped(ebpf, "TABLES")?,
            paths: mapped(ebpf, "PATHS")?,
            interfaces: mapped(ebpf, "INTERFACES")?,
            limits: mapped(ebpf, "LIMITS")?,
            sources: mapped(ebpf, "SOURCES")?,
            listeners: Keyed::take(ebpf, "LISTENERS")?,
            backends: Keyed::take(ebpf, "BACKENDS")?,
            quic_servers: Keyed::take(ebpf, "QUIC_SERVERS")?,
            members: Keyed::take(ebpf, "MEMBERS")?,
            locals: Keyed::take(ebpf, "LOCALS")?,
            vlans: Keyed::take(ebpf, "VLANS")?,
            lists: Prefixes::take(ebpf, "LISTS")?,
            counts: Counts::take(ebpf)?,
            announced: Announced::of(ebpf)?,
            unreached: Unreached::of(ebpf)?,
            devices: Devices(Some(typed(ebpf, "DEVICES")?)),
        })
    }

    /// The same in memory of our own, which no program knows.
    ///
    /// # Errors
    /// If there is not so much memory.
    pub fn own(sizes: &MapSizes) -> io::Result<Self> {
        let lease_slots = sizes.lease_buckets * BUCKET_SLOTS as u32;
        Ok(Self {
            about: Mapped::own(1)?,
            settings: Mapped::own(1)?,
            clock: Mapped::own(1)?,
            gate: Mapped::own(gate::WORDS)?,
            flows: Mapped::own(sizes.geometry.buckets())?,
            addresses: Mapped::own(sizes.addresses)?,
            pool: Mapped::own(1)?,
            leases: Mapped::own(sizes.lease_buckets)?,
            tenants: Mapped::own(lease_slots)?,
            replicas: Mapped::own(sizes.replica_buckets)?,
            services: Mapped::own(sizes.services)?,
            servers: Mapped::own(sizes.servers)?,
            loads: Mapped::own(sizes.servers)?,
            affinities: Mapped::own(sizes.services)?,
            seats: Mapped::own(sizes.seat_buckets)?,
            sitters: Mapped::own(sizes.seat_buckets * BUCKET_SLOTS as u32)?,
            tunnels: Mapped::own(sizes.servers)?,
            tables: Mapped::own(sizes.table_words)?,
            paths: Mapped::own(Path::SETS)?,
            interfaces: Mapped::own(PortNumber::LIMIT)?,
            limits: Mapped::own(sizes.services)?,
            sources: Mapped::own(sizes.source_sets)?,
            listeners: Keyed::own(sizes.listeners),
            backends: Keyed::own(sizes.servers),
            quic_servers: Keyed::own(sizes.servers * 2),
            members: Keyed::own(sizes.servers * 4),
            locals: Keyed::own(u32::MAX),
            vlans: Keyed::own(PortNumber::LIMIT),
            lists: Prefixes::own(sizes.lists),
            counts: Counts::default(),
            announced: Announced::default(),
            unreached: Unreached::default(),
            devices: Devices(None),
        })
    }

    /// The connection table.
    #[must_use]
    pub fn flow_table(&self) -> FlowTable<'_, Self> {
        FlowTable { memory: self, geometry: self.settings.only().geometry() }
    }

    /// The ports of full NAT for connections of one family, as the table of those who have them.
    #[must_use]
    pub fn lease_table(&self, ipv6: bool) -> Option<FlowTable<'_, Self, pool::Range>> {
        Some(FlowTable { memory: self, geometry: self.pool.only().range(ipv6)? })
    }

    /// How many buckets both tables have.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.flows.all().len() + self.leases.all().len()
    }

    /// Every place in these of all buckets, those of the connection table first. Meant for `for_each`, which is two plain loops.
    pub fn places(&self, buckets: std::ops::Range<usize>) -> impl Iterator<Item = (Site, &Word)> {
        let (flows, leases) = (self.flows.all(), self.leases.all());
        let first = buckets.start.min(flows.len())..buckets.end.min(flows.len());
        let beyond = buckets.start - first.start..buckets.end - first.end;
        let flows = within(flows, first).map(|(place, cell)| (Site::Flow(place), cell));
        flows.chain(within(leases, beyond).map(|(place, cell)| (Site::Lease(place), cell)))
    }

    /// Whose connection stands here, if it was noted: the tuple must hash to the slot, which may have changed hands since.
    #[must_use]
    pub fn caller(&self, site: Site, slot: Slot) -> Option<Tuple> {
        let server = self.servers.get(slot.server()?.index())?;
        let (vip, protocol) = (server.vip.load(), ServerState::from_word(server.state.load()).protocol());
        let settings = self.settings.only();
        match site {
            Site::Flow(place) => {
                let tuple = self.addresses.get(place.number())?.tuple(vip, protocol);
                let whose = settings.geometry().flow_of(slot, place.bucket);
                (settings.flow_id(&tuple) == whose).then_some(tuple)
            }
            Site::Lease(place) => {
                let tuple = self.tenants.get(place.number())?.tuple(vip, protocol);
                (pool::tag(settings.flow_id(&tuple)) == slot.tag()).then_some(tuple)
            }
        }
    }
}

/// The places of these buckets of a table.
fn within(
    table: &[[Word; BUCKET_SLOTS]],
    buckets: std::ops::Range<usize>,
) -> impl Iterator<Item = (Place, &Word)> {
    (buckets.start as u32..).zip(&table[buckets]).flat_map(|(bucket, cells)| {
        (0..).zip(cells).map(move |(index, cell)| (Place { bucket, index }, cell))
    })
}

impl Devices {
    /// Sends what leaves by the interface with this number through the device with this index.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&mut self, number: u32, device: u32) -> Result<()> {
        self.0.as_mut().map_or(Ok(()), |devices| Ok(devices.set(number, device, None, 0)?))
    }
}

impl Memory for Maps {
    type Cell = Word;
    fn bucket(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.flows.get(number)
    }
    fn leases(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.leases.get(number)
    }
    fn seats(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.seats.get(number)
    }
    fn replicas(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.replicas.get(number)
    }
}

/// Unix seconds of an agent's last sign of life, read from the pins in this folder.
#[must_use]
pub fn last_heartbeat(dir: &std::path::Path) -> Option<u64> {
    pinned::<Clock>(dir, "CLOCK")?.only().last_beat()
}

/// The network namespace that the pins in this folder belong to, by its inode number.
#[must_use]
pub fn pinned_netns(dir: &std::path::Path) -> Option<u64> {
    Some(pinned::<About>(dir, "ABOUT")?.only().netns.load())
}

/// The key by which the connections pinned in this folder are found; `None` where none have been, and for pins of another ABI.
#[must_use]
pub fn pinned_key(dir: &std::path::Path) -> Option<HashKey> {
    let about = pinned::<About>(dir, "ABOUT")?;
    let is_ours = about.only().magic.load() == About::MAGIC && about.only().abi.load() == ABI_VERSION;
    let settings = is_ours.then(|| pinned::<Settings>(dir, "SETTINGS"))??;
    Some(settings.only().key())
}

/// What full NAT sends from by the pins in this folder.
#[must_use]
pub fn pinned_pool(dir: &std::path::Path) -> Option<Mapped<Pool>> {
    pinned(dir, "POOL")
}

/// The VIPs of the services that are pinned in this folder; none if they cannot be read.
#[must_use]
pub fn pinned_vips(dir: &std::path::Path) -> BTreeSet<IpAddr> {
    let Some(services) = pinned::<Service>(dir, "SERVICES") else { return BTreeSet::new() };
    let used = services.all().iter().filter(|service| service.flags.load() & Service::IN_USE != 0);
    used.map(|service| service.vip.load().into()).collect()
}

pub(super) fn cpus() -> Result<usize> {
    aya::util::nr_cpus().map_err(|(_, error)| error).context("counting CPUs")
}

fn pinned<T: super::mapped::Shared>(dir: &std::path::Path, name: &str) -> Option<Mapped<T>> {
    let data = MapData::from_pin(dir.join("maps").join(name)).ok()?;
    shared(&data, name).ok()
}

pub(super) fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map> {
    ebpf.take_map(name).ok_or_else(|| anyhow!("the eBPF object has no map {name}"))
}

pub(super) fn typed<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M::Error: std::error::Error + Send + Sync + 'static,
{
    M::try_from(take(ebpf, name)?).with_context(|| format!("map {name}"))
}

pub(super) fn mapped<T: super::mapped::Shared>(ebpf: &mut Ebpf, name: &str) -> Result<Mapped<T>> {
    let Map::Array(data) = take(ebpf, name)? else { return Err(anyhow!("map {name} is not an array")) };
    shared(&data, name)
}

fn shared<T: super::mapped::Shared>(data: &MapData, name: &str) -> Result<Mapped<T>> {
    let info = data.info().with_context(|| format!("map {name}"))?;
    let size = size_of::<T>();
    if info.value_size() as usize != size {
        return Err(anyhow!(
            "map {name} has values of {} bytes, this agent's have {size}",
            info.value_size()
        ));
    }
    Mapped::new(&data.fd().as_fd().as_raw_fd(), info.max_entries())
        .with_context(|| format!("mapping map {name}"))
}

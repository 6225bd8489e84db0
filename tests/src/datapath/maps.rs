//! The maps of a data path under test, and how a [`World`] is written into them.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use lb_common::clock::{Clock, Now, TICK_NS};
use lb_common::entry::{
    AccessKey, Affinity, Caller, Encapsulation, EndpointKey, Interface, Load, Path, Pool, QuicFormat,
    QuicKey, Rule, Scheduler, Scheduling, Server, ServerState, Service, ServiceLimits, Settings, Sharers,
    Terms, Tunnel, TunnelWay, member_key,
};
use lb_common::flow_table::{BUCKET_SLOTS, FlowTable, Memory, Replicas};
use lb_common::fragments::SET_NOTES;
use lb_common::gate::{self, Position, Role};
use lb_common::identity::{HashKey, mix, name_hash};
use lb_common::maglev::{Share, table};
use lb_common::net::{Addr, NextHop, Port, PortNumber, Tuple};
use lb_common::pick::{Extent, IDS_PER_WORD, word_of_ids};
use lb_common::rate;
use lb_common::rotation::turns;
use lb_common::slot::{Class, Geometry, Limits, MIN_BUCKET_BITS, Slot};
use lb_common::wire::{Tags, Wire};
use lb_common::word::Word;
use lb_common::{net, slot::ServerId};

use super::region::Region;
use super::world::{self, Hop, Lost, Mode, Side, World};

/// Room for the worlds of tests.
pub const SERVICES: u32 = 32;
pub const SERVERS: u32 = 64;
/// Sets of the table of sources.
pub const SOURCE_SETS: u32 = 64;

/// How large the tables are that grow with connections and servers.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Of the connection table.
    pub geometry: Geometry,
    /// Buckets of the ports of full NAT.
    pub lease_buckets: u32,
    /// Places in the table of each service; prime, as Maglev wants it.
    pub maglev: u32,
    pub services: u32,
}

impl Room {
    /// For tests: worlds are cheap.
    pub const SMALL: Self = Self {
        geometry: Geometry::nearest(MIN_BUCKET_BITS),
        lease_buckets: 64,
        maglev: 1021,
        services: SERVICES,
    };

    /// Of all services together.
    #[must_use]
    pub const fn servers(self) -> u32 {
        self.services * (SERVERS / SERVICES)
    }

    /// Words of the tables of all services.
    #[must_use]
    pub const fn table_words(self) -> u32 {
        self.services * 3 * self.words_per_table()
    }

    const fn words_per_table(self) -> u32 {
        self.maglev.div_ceil(IDS_PER_WORD)
    }
}

/// Ages after which entries are over: 30 s, 60 s, 15 min.
pub const LIMITS: Limits = Limits { new: 28, closing: 56, established: 13 };

/// The arrays that are shared word by word.
#[derive(Debug)]
pub struct Arrays {
    pub room: Room,
    pub settings: Region<Settings>,
    pub clock: Region<Clock>,
    pub gate: Region<Word>,
    pub flows: Region<[Word; BUCKET_SLOTS]>,
    pub addresses: Region<Caller>,
    pub services: Region<Service>,
    pub servers: Region<Server>,
    pub tunnels: Region<Tunnel>,
    pub tables: Region<Word>,
    pub paths: Region<[Path; Path::WAYS]>,
    /// Sets of eight words, as buckets are.
    pub fragments: Region<[Word; SET_NOTES]>,
    pub interfaces: Region<Interface>,
    pub limits: Region<ServiceLimits>,
    pub sources: Region<[Word; rate::WAYS]>,
    pub pool: Region<Pool>,
    pub leases: Region<[Word; BUCKET_SLOTS]>,
    pub tenants: Region<Caller>,
    pub loads: Region<Load>,
    pub affinities: Region<Affinity>,
    pub seats: Region<[Word; BUCKET_SLOTS]>,
    pub replicas: Region<[Word; BUCKET_SLOTS]>,
    pub sitters: Region<Caller>,
}

/// The maps that are written by key.
pub trait Keyed {
    fn add_listener(&mut self, key: EndpointKey, service: u32) -> Result<()>;
    fn add_backend(&mut self, key: EndpointKey, sharers: Sharers) -> Result<()>;
    fn add_local(&mut self, addr: Addr) -> Result<()>;
    /// The VLAN interface with this index has this wire.
    fn add_vlan(&mut self, wire: Wire, index: u32) -> Result<()>;
    fn add_rule(&mut self, prefix: AccessKey, rule: Rule) -> Result<()>;
    /// Connection ids call this server so.
    fn add_quic_server(&mut self, key: QuicKey, server: ServerId) -> Result<()>;
    /// By a service and another one's number for it, a server.
    fn add_member(&mut self, key: u64, server: ServerId) -> Result<()>;
    fn clear(&mut self) -> Result<()>;
}

impl Memory for Arrays {
    type Cell = Word;
    fn bucket(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.flows.get(number)
    }
    fn replicas(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.replicas.get(number)
    }
}

impl world::Replica {
    /// The connection that it is about.
    #[must_use]
    pub fn tuple(&self) -> Tuple {
        Tuple {
            client: self.client.0.into(),
            vip: self.vip.0.into(),
            client_port: Port::from_host(self.client.1),
            vip_port: Port::from_host(self.vip.1),
            protocol: protocol(self.protocol),
        }
    }
}

/// The same key in every run, so that a failure repeats.
#[must_use]
pub fn test_key() -> HashKey {
    HashKey(std::array::from_fn(|i| mix(i as u64 + 0x786c_7673)))
}

impl Arrays {
    /// Forgets everything, also connections and paths.
    pub fn clear(&self) {
        self.settings.clear();
        self.clock.clear();
        self.gate.clear();
        self.flows.clear();
        self.services.clear();
        self.servers.clear();
        self.tunnels.clear();
        self.tables.clear();
        self.paths.clear();
        self.fragments.clear();
        self.interfaces.clear();
        self.limits.clear();
        self.sources.clear();
        self.pool.clear();
        self.leases.clear();
        self.tenants.clear();
        self.loads.clear();
        self.affinities.clear();
        self.seats.clear();
        self.replicas.clear();
        self.sitters.clear();
    }

    /// Writes a world; connections, learned paths and the clock's ticks stay. `indices` are the interfaces of the two
    /// sides, `machine_ns` the machine's monotonic clock.
    pub fn install(
        &self,
        world: &World,
        keyed: &mut impl Keyed,
        indices: [u32; 2],
        machine_ns: u64,
    ) -> Result<()> {
        keyed.clear()?;
        self.gate.clear();
        self.set_up(world, indices, machine_ns);
        for (number, service) in world.services.iter().enumerate() {
            self.write_service(world, number, service)?;
            let vip = Addr::from(service.vip);
            self.admit(vip, Role::Vip);
            if service.mode == Mode::FullNat {
                self.admit(vip, Role::FullNat);
            }
            let port = Port::from_host(service.port);
            keyed.add_listener(EndpointKey::new(vip, port, protocol(service.protocol)), number as u32)?;
            keyed.add_listener(EndpointKey::vip_marker(vip), echo_marker(world, service.vip))?;
            add_rules(keyed, number, service)?;
        }
        let room = self.room.servers();
        ensure!(world.servers.len() < room as usize, "a world has at most {} servers", room - 1);
        let mut backends: Vec<(EndpointKey, Sharers)> = Vec::new();
        for (index, (number, server)) in world.servers.iter().enumerate() {
            let id = ServerId::new(index as u16 + 1).context("ids begin with 1")?;
            let service = &world.services[number.0];
            self.write_server(world, id, number.0, service, server, indices);
            if let (Some(format), Some(called)) = (service.quic, server.quic)
                && !server.freed
            {
                keyed.add_quic_server(QuicKey::new(number.0 as u16, format, called), id)?;
            }
            if service.mode == Mode::Nat && !server.freed {
                let addr = Addr::from(server.address);
                self.admit(addr, Role::NatServer);
                let key = EndpointKey::new(addr, port_at(world, service, server), protocol(service.protocol));
                join(&mut backends, key, id)?;
            }
        }
        // A reply from a fixed port may also be one of a service on any port at the same address.
        let any_port: Vec<_> = backends.iter().filter(|(key, _)| key.port.is_any()).copied().collect();
        for (any, sharers) in any_port {
            let fixed: Vec<EndpointKey> = backends.iter().map(|(key, _)| *key).collect();
            for key in fixed.into_iter().filter(|key| !key.port.is_any()) {
                let mut with_any = key;
                with_any.port = Port::ANY;
                if with_any == any {
                    for id in sharers.ids.into_iter().map_while(ServerId::new) {
                        join(&mut backends, key, id)?;
                    }
                }
            }
        }
        for (key, sharers) in backends {
            keyed.add_backend(key, sharers)?;
        }
        add_members(world, keyed)?;
        self.write_replicas(world)?;
        for (number, (side, tags)) in world.vlans.iter().enumerate() {
            let wire = Wire { device: indices[*side as usize], tags: *tags };
            self.write_interface(vlan_index(number), wire, *side);
            keyed.add_vlan(wire, vlan_index(number))?;
        }
        self.write_pool(world, keyed)?;
        for local in &world.locals {
            keyed.add_local(Addr::from(*local))?;
        }
        Ok(())
    }

    /// What the agent was told, and nothing else.
    fn write_replicas(&self, world: &World) -> Result<()> {
        let settings = &self.settings.all()[0];
        let shape = Replicas(self.room.geometry);
        self.replicas.clear();
        settings.set_replicas(if world.replicas.is_empty() { None } else { Some(shape) });
        let table = FlowTable { memory: self, geometry: shape };
        for replica in &world.replicas {
            let tuple = replica.tuple();
            let server = ServerId::new(replica.server.0 as u16 + 1).context("ids begin with 1")?;
            let put = table.put(settings.flow_id(&tuple), server, replica.class, Now::at_tick(0));
            ensure!(put, "no room for {replica:?}");
        }
        if world.is_crowded {
            let server = ServerId::new(1).context("ids begin with 1")?;
            let now = self.clock.all()[0].now();
            // Of nobody in particular.
            let settled =
                Slot::fresh(server, 0x5_a5a5_a5a5, false, true, now).with_class(Class::Established, now);
            for word in self.flows.words() {
                word.store(settled.word());
            }
        }
        Ok(())
    }

    /// Sets the clock to so many ticks, with the machine's clock where it is.
    pub fn set_ticks(&self, ticks: u32, machine_ns: u64) {
        self.clock.words()[0].store(u64::from(ticks) << 32 | u64::from((machine_ns / TICK_NS) as u32));
    }

    #[must_use]
    pub fn ticks(&self) -> u32 {
        (self.clock.words()[0].load() >> 32) as u32
    }

    fn set_up(&self, world: &World, indices: [u32; 2], machine_ns: u64) {
        let settings = &self.settings.all()[0];
        settings.found(&test_key(), self.room.geometry);
        settings.set_limits(LIMITS);
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        settings.flags.store(
            Settings::ADDRESSES
                | flag(world.flows, Settings::FLOWS)
                | flag(world.serving, Settings::SERVING)
                | flag(world.derive_udp, Settings::DERIVE_UDP),
        );
        let silence = if world.agent_lives { 0 } else { 1000 * TICK_NS };
        self.clock.all()[0].beat(machine_ns.saturating_sub(silence), 1_700_000_000);
        for (side, index) in Side::BOTH.into_iter().zip(indices) {
            self.write_interface(index, Wire { device: index, tags: Tags::NONE }, side);
        }
    }

    fn write_pool(&self, world: &World, keyed: &mut impl Keyed) -> Result<()> {
        let of = |ipv4| {
            let addresses = world.pool.addresses.iter().filter(move |address| address.is_ipv4() == ipv4);
            addresses.map(|address| Addr::from(*address)).collect::<Vec<_>>()
        };
        let (v4, v6) = (of(true), of(false));
        let pool = &self.pool.all()[0];
        pool.found(world.pool.ports, &v4, &v6);
        ensure!(
            pool.size() <= u64::from(self.room.lease_buckets) * BUCKET_SLOTS as u64,
            "the pool is too large"
        );
        for (number, addr) in pool.addresses().enumerate() {
            self.admit(addr, Role::FullNat);
            keyed.add_listener(EndpointKey::pool_marker(addr), number as u32)?;
        }
        Ok(())
    }

    fn write_interface(&self, index: u32, wire: Wire, side: Side) {
        let interface = &self.interfaces.all()[PortNumber::of_interface(index).index() as usize];
        interface.set(index, wire, side.mac());
    }

    fn admit(&self, addr: Addr, role: Role) {
        let position = Position::of(addr);
        let word = &self.gate.all()[position.word() as usize % gate::WORDS as usize];
        word.store(position.admit(word.load(), role));
    }

    fn write_service(&self, world: &World, number: usize, service: &world::Service) -> Result<()> {
        let entry =
            self.services.get(number as u32).with_context(|| format!("no room for service {number}"))?;
        entry.vip.store(Addr::from(service.vip));
        entry.name_hash.store(name_hash(0, service.name.as_bytes()));
        self.write_limits(number, entry, &service.limits);
        entry.access.store(if service.rules.is_empty() { 0 } else { list(number) });
        entry.quic.store(service.quic.map_or(0, QuicFormat::to_word));
        let flag = |on, bit| if on { bit } else { 0 };
        entry.flags.store(
            Service::IN_USE
                | flag(service.reject, Service::REJECT)
                | flag(service.mode == Mode::FullNat, Service::FULL_NAT),
        );
        let now = shares(world, number, |server| server.weight);
        let before = shares(world, number, |server| server.miss_weight.unwrap_or(server.weight));
        let select = self.write_table(number as u32 * 2, &now)?;
        let miss = if now == before { select } else { self.write_table(number as u32 * 2 + 1, &before)? };
        entry.select.store(select);
        entry.miss.store(miss);
        self.write_scheduling(world, number, service, &now)
    }

    fn write_scheduling(
        &self,
        world: &World,
        number: usize,
        service: &world::Service,
        shares: &[Share],
    ) -> Result<()> {
        let entry = &self.services.all()[number];
        let servers = || world.servers.iter().enumerate().filter(|(_, (of, _))| of.0 == number);
        let counted =
            service.scheduler == Scheduler::Least || servers().any(|(_, (_, server))| server.most > 0);
        let flag = |on, bit| if on { bit } else { 0 };
        let flags =
            flag(counted, Scheduling::COUNTED) | flag(service.affinity.is_some(), Scheduling::AFFINITY);
        entry.scheduling.store(Scheduling::new(service.scheduler, flags).to_word());
        entry.total.home.store(number as u64);
        entry.total.weight.store(shares.iter().map(|share| u64::from(share.weight)).sum());
        for (index, (_, server)) in servers() {
            let load = &self.loads.all()[index + 1];
            load.home.store(index as u64 + 1);
            load.most.store(u64::from(server.most));
            load.weight.store(u64::from(server.weight));
        }
        let once = shares.iter().map(|share| Share { weight: share.weight.min(1), ..*share });
        let once: Vec<Share> = once.collect();
        let turns = turns(
            if service.scheduler == Scheduler::Rotation { shares } else { &once },
            self.room.maglev as usize,
        );
        entry.turns.store(self.write_ids(self.room.services * 2 + number as u32, &turns)?);
        if let Some(affinity) = service.affinity {
            let words = &self.affinities.all()[number];
            words.mask_v4.store(mask(affinity.prefixes[0], 96));
            words.mask_v6.store(mask(affinity.prefixes[1], 0));
            words.group.store(name_hash(0, affinity.group.as_bytes()));
            let terms = Terms { ticks: affinity.ticks, coarse: false, on_down: affinity.on_down };
            words.terms.store(terms.to_word());
            words.longest.store(u64::from(affinity.ticks));
            words.bucket_bits.store(u64::from(MIN_BUCKET_BITS));
        }
        Ok(())
    }

    fn write_limits(&self, number: usize, entry: &Service, limits: &world::Limits) {
        let words = &self.limits.all()[number];
        words.connections.store(rate::interval(limits.connections));
        words.source_connections.store(rate::interval(limits.source_connections));
        words.source_packets.store(rate::interval(limits.source_packets));
        words.mask_v4.store(mask(limits.prefixes[0], 96));
        words.mask_v6.store(mask(limits.prefixes[1], 0));
        words.set_mask.store(u64::from(SOURCE_SETS) - 1);
        let any = limits.connections + limits.source_connections + limits.source_packets > 0;
        entry.limits.store(if any { number as u64 + 1 } else { 0 });
    }

    fn write_table(&self, number: u32, shares: &[Share]) -> Result<u64> {
        if shares.iter().all(|share| share.weight == 0) {
            return Ok(0);
        }
        self.write_ids(number, &table(shares, self.room.maglev))
    }

    /// The extent of these ids, as a word; 0 if there are none.
    fn write_ids(&self, number: u32, all: &[u16]) -> Result<u64> {
        if all.is_empty() {
            return Ok(0);
        }
        let offset = number * self.room.words_per_table();
        for (word, ids) in all.chunks(IDS_PER_WORD as usize).enumerate() {
            let four = std::array::from_fn(|i| ids.get(i).copied().unwrap_or(0));
            self.tables.all()[offset as usize + word].store(word_of_ids(four));
        }
        Ok(Extent::new(offset, all.len() as u32, 1).context("an extent within bounds")?.to_word())
    }

    fn write_server(
        &self,
        world: &World,
        id: ServerId,
        number: usize,
        service: &world::Service,
        server: &world::Server,
        indices: [u32; 2],
    ) {
        let entry = &self.servers.all()[id.index() as usize];
        let at_same_place = world.servers.iter().filter(|(other, twin)| {
            let twin_service = &world.services[other.0];
            let (mine, other) = (port_at(world, service, server), port_at(world, twin_service, twin));
            let same_port = mine == other || mine.is_any() || other.is_any();
            twin.address == server.address
                && same_port
                && twin_service.protocol == service.protocol
                && twin_service.mode == Mode::Nat
                && !twin.freed
        });
        let shared = service.mode == Mode::Nat && at_same_place.count() > 1;
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        let state = ServerState {
            flags: flag(!server.freed, ServerState::IN_USE)
                | flag(server.down, ServerState::DOWN)
                | flag(server.down && service.lost == Lost::Reset, ServerState::RESETS)
                | flag(server.down && service.lost == Lost::Rehashed, ServerState::REHASHES)
                | flag(server.drained, ServerState::DRAINED)
                | flag(service.mode == Mode::Nat, ServerState::NAT)
                | flag(matches!(service.mode, Mode::Tunnel(_)), ServerState::TUNNEL)
                | flag(service.mode == Mode::FullNat, ServerState::FULL_NAT)
                | flag(service.protocol == world::Protocol::Udp, ServerState::UDP)
                | flag(shared, ServerState::SHARED)
                | flag(service.limits.source_packets > 0, ServerState::METERED)
                | flag(service.quic.is_some(), ServerState::BY_ID)
                | flag(service.told != world::Told::None, ServerState::TOLD)
                | flag(service.told == world::Told::All, ServerState::TOLD_WHOLE)
                | flag(server.removed, ServerState::REMOVED),
            service: number as u16,
            port: port_at(world, service, server),
            vip_port: Port::from_host(service.port),
        };
        entry.address.store(Addr::from(server.address));
        entry.vip.store(Addr::from(service.vip));
        entry.name_hash.store(name_hash(name_hash(0, service.name.as_bytes()), server.name.as_bytes()));
        let way = |hop: Hop| {
            let vlan = world.vlans.iter().position(|vlan| *vlan == (hop.side, server.tags));
            let mut way = next_hop(hop, indices);
            way.port = vlan.map_or(way.port, |number| PortNumber::of_interface(vlan_index(number)));
            way.to_word()
        };
        entry.next_hop.store(server.next_hop.map_or(0, way));
        entry.state.store(state.to_word());
        if let Mode::Tunnel(tunnel) = service.mode
            && let Some(entry) = self.tunnels.get(id.index())
        {
            let encapsulation =
                tunnel.gue.map_or(Encapsulation::Ip, |port| Encapsulation::Gue(Port::from_host(port)));
            let way = TunnelWay::new(encapsulation, Addr::from(server.address), tunnel.mtu);
            entry.source.store(Addr::from(tunnel.source));
            entry.way.store(way.to_word());
        }
    }
}

/// The kernel index of a world's VLAN interface, beyond those that devices of a test have.
pub const fn vlan_index(number: usize) -> u32 {
    3000 + number as u32
}

/// The first bits of an address of a family that has so many `before` its own; a length of 0 is all of them.
fn mask(length: u32, before: u32) -> Addr {
    let bits = before + if length == 0 { 128 - before } else { length };
    Addr::from(IpAddr::from((u128::MAX << (128 - bits)).to_be_bytes()))
}

/// What services of one group call each other's servers.
fn add_members(world: &World, keyed: &mut impl Keyed) -> Result<()> {
    let group = |number: &world::Number| world.services[number.0].affinity.map(|affinity| affinity.group);
    for (own, (number, server)) in world.servers.iter().enumerate() {
        for (named, (other, twin)) in world.servers.iter().enumerate() {
            if number != other
                && group(number).is_some()
                && group(number) == group(other)
                && server.address == twin.address
                && let (Some(named), Some(own)) =
                    (ServerId::new(named as u16 + 1), ServerId::new(own as u16 + 1))
            {
                keyed.add_member(member_key(number.0 as u16, named), own)?;
            }
        }
    }
    Ok(())
}

/// The number of the list of the service with this number.
const fn list(service: usize) -> u64 {
    0x1157_0000_0000_0001 + service as u64
}

/// What the service says about its clients, and at the roots of both families what holds for the rest.
fn add_rules(keyed: &mut impl Keyed, number: usize, service: &world::Service) -> Result<()> {
    let rule = |admitted| if admitted { Rule::Allow } else { Rule::Deny };
    let otherwise = rule(!service.rules.iter().any(|(.., admitted)| *admitted));
    let roots = [(IpAddr::from([0; 4]), 0, otherwise), (IpAddr::from([0; 16]), 0, otherwise)];
    let own = service.rules.iter().map(|(address, length, admitted)| (*address, *length, rule(*admitted)));
    for (address, length, rule) in roots.into_iter().filter(|_| !service.rules.is_empty()).chain(own) {
        let bits = if address.is_ipv4() { 96 + length } else { length };
        keyed.add_rule(AccessKey::new(list(number), Addr::from(address), bits), rule)?;
    }
    Ok(())
}

/// A neighbour as the data path writes it.
#[must_use]
pub fn next_hop(hop: Hop, indices: [u32; 2]) -> NextHop {
    NextHop { mac: hop.mac, port: PortNumber::of_interface(indices[hop.side as usize]) }
}

/// Pings are answered while any service of the VIP has somebody to pick.
fn echo_marker(world: &World, vip: IpAddr) -> u32 {
    let picks = |(number, server): &(world::Number, world::Server)| {
        world.services[number.0].vip == vip && server.weight > 0
    };
    if world.servers.iter().any(picks) { EndpointKey::ANSWERS_ECHO } else { EndpointKey::SILENT }
}

/// "The port that was hit" is known beforehand where the service has one. Only on any port it stays open.
fn port_at(world: &World, service: &world::Service, server: &world::Server) -> Port {
    let known = if world.ports_known { service.port } else { 0 };
    Port::from_host(if server.port == 0 { known } else { server.port })
}

fn protocol(protocol: world::Protocol) -> net::Protocol {
    match protocol {
        world::Protocol::Tcp => net::Protocol::Tcp,
        world::Protocol::Udp => net::Protocol::Udp,
    }
}

/// The servers of a service with their weights in one of its tables.
fn shares(world: &World, service: usize, weight: impl Fn(&world::Server) -> u32) -> Vec<Share> {
    let of_service = world.servers.iter().enumerate().filter(|(_, (number, _))| number.0 == service);
    of_service
        .map(|(index, (_, server))| Share {
            name_hash: name_hash(service as u64, server.name.as_bytes()),
            weight: weight(server),
            id: index as u16 + 1,
        })
        .collect()
}

fn join(backends: &mut Vec<(EndpointKey, Sharers)>, key: EndpointKey, id: ServerId) -> Result<()> {
    if !backends.iter().any(|(other, _)| *other == key) {
        backends.push((key, Sharers::default()));
    }
    let (_, sharers) = backends.iter_mut().find(|(other, _)| *other == key).context("just added")?;
    let free = sharers.ids.iter_mut().find(|id| **id == 0);
    *free.with_context(|| format!("more than {} services share {key:?}", Sharers::LIMIT))? = id.get();
    Ok(())
}

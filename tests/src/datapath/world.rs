//! A director, its services and its neighbours as plain data: what a test says once, for every engine.

use std::net::IpAddr;

use lb_common::entry::{QuicFormat, Scheduler, Then};
use lb_common::slot::Class;
use lb_common::wire::Tags;

use crate::packet::Mac;

/// The client's side or the servers'. A one-arm director has only the front.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Side {
    Front,
    Back,
}

impl Side {
    pub const BOTH: [Self; 2] = [Self::Front, Self::Back];

    /// The director's own address on this side.
    #[must_use]
    pub const fn mac(self) -> Mac {
        match self {
            Self::Front => [2, 0, 0, 0, 1, 1],
            Self::Back => [2, 0, 0, 0, 2, 1],
        }
    }
}

/// A neighbour of the director.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hop {
    pub side: Side,
    pub mac: Mac,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    Tcp,
    Udp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Nat,
    Dr,
    FullNat,
    Tunnel(Tunnel),
}

/// How packets get to the servers of a service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// The director's end, of the servers' family.
    pub source: IpAddr,
    /// The port, if by GUE.
    pub gue: Option<u16>,
    /// Of the way to the servers, bytes.
    pub mtu: u16,
}

/// One listener.
#[derive(Clone, Debug)]
pub struct Service {
    pub name: &'static str,
    pub vip: IpAddr,
    /// 0: any.
    pub port: u16,
    pub protocol: Protocol,
    pub mode: Mode,
    /// Without a server, a SYN is answered with RST.
    pub reject: bool,
    /// What becomes of the connections of a server that is down.
    pub lost: Lost,
    /// Prefixes of clients: address, length, and whether they may come.
    pub rules: Vec<(IpAddr, u32, bool)>,
    pub limits: Limits,
    /// Of the connection ids that name its servers, if they do.
    pub quic: Option<QuicFormat>,
    pub scheduler: Scheduler,
    /// If its clients come back to their servers.
    pub affinity: Option<Affinity>,
    pub told: Told,
}

/// Of which of its connections other directors are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    None,
    /// Of those that the miss table would not give their server.
    Diverged,
    All,
}

/// How clients come back. Services of one group share it; servers at one address are the same to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Affinity {
    pub group: &'static str,
    /// Clients with so many common bits are one source, of IPv4 and IPv6.
    pub prefixes: [u32; 2],
    /// Fine ticks, at most 127.
    pub ticks: u8,
    pub on_down: Then,
}

/// What becomes of connections whose server is down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// They stay, in case it returns.
    Kept,
    /// Whoever speaks on one is told by RST.
    Reset,
    /// Each goes to another server with its next packet.
    Rehashed,
}

/// How much a service takes in a second; 0 is as much as comes.
#[derive(Clone, Copy, Default, Debug)]
pub struct Limits {
    pub connections: u32,
    pub source_connections: u32,
    pub source_packets: u32,
    /// Addresses with so many common bits are one source; 0: each is one.
    pub prefixes: [u32; 2],
}

impl Service {
    /// NAT over TCP; without a server, clients are told.
    pub fn tcp(name: &'static str, vip: impl Into<IpAddr>, port: u16) -> Self {
        Self {
            name,
            vip: vip.into(),
            port,
            protocol: Protocol::Tcp,
            mode: Mode::Nat,
            reject: true,
            lost: Lost::Kept,
            rules: Vec::new(),
            limits: Limits::default(),
            quic: None,
            scheduler: Scheduler::Maglev,
            affinity: None,
            told: Told::None,
        }
    }

    #[must_use]
    pub fn told(self, told: Told) -> Self {
        Self { told, ..self }
    }

    #[must_use]
    pub fn scheduled(self, scheduler: Scheduler) -> Self {
        Self { scheduler, ..self }
    }

    /// Each client comes back to its server for a minute; so it does to other services of this group.
    #[must_use]
    pub fn affine(self, group: &'static str, on_down: Then) -> Self {
        Self { affinity: Some(Affinity { group, prefixes: [32, 128], ticks: 56, on_down }), ..self }
    }

    #[must_use]
    pub fn udp(self) -> Self {
        Self { protocol: Protocol::Udp, ..self }
    }

    #[must_use]
    pub fn direct(self) -> Self {
        Self { mode: Mode::Dr, ..self }
    }

    #[must_use]
    pub fn full_nat(self) -> Self {
        Self { mode: Mode::FullNat, ..self }
    }

    /// By IP in IP from here, over Ethernet.
    #[must_use]
    pub fn tunnelled(self, source: impl Into<IpAddr>) -> Self {
        self.through(Tunnel { source: source.into(), gue: None, mtu: 1500 })
    }

    #[must_use]
    pub fn through(self, tunnel: Tunnel) -> Self {
        Self { mode: Mode::Tunnel(tunnel), ..self }
    }

    /// The policy about connections of a server that is down.
    #[must_use]
    pub fn losing(self, lost: Lost) -> Self {
        Self { lost, ..self }
    }

    /// Clients in this prefix do not come in, unless a longer one says otherwise.
    #[must_use]
    pub fn deny(mut self, prefix: impl Into<IpAddr>, length: u32) -> Self {
        self.rules.push((prefix.into(), length, false));
        self
    }

    /// Clients in this prefix come in, unless a longer one says otherwise; those in none do not.
    #[must_use]
    pub fn allow(mut self, prefix: impl Into<IpAddr>, length: u32) -> Self {
        self.rules.push((prefix.into(), length, true));
        self
    }

    /// Takes no more than this.
    #[must_use]
    pub fn limit(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// UDP, and connection ids of this configuration name the servers by ids of so many octets.
    ///
    /// # Panics
    /// If there is no such format.
    #[must_use]
    pub fn quic(self, config: u8, length: u8) -> Self {
        let format = QuicFormat::new(config, length);
        assert!(format.is_some(), "configuration {config} with {length} octets");
        Self { quic: format, ..self.udp() }
    }

    /// Without a server, packets are dropped in silence.
    #[must_use]
    pub fn silent(self) -> Self {
        Self { reject: false, ..self }
    }
}

/// One real server of one service.
#[derive(Clone, Debug)]
pub struct Server {
    pub name: &'static str,
    pub address: IpAddr,
    /// 0: the port that was hit.
    pub port: u16,
    /// In the select table.
    pub weight: u32,
    /// In the miss table, if that still has an older one.
    pub miss_weight: Option<u32>,
    pub next_hop: Option<Hop>,
    /// The VLAN in which the next hop is; one of the world's.
    pub tags: Tags,
    pub down: bool,
    pub drained: bool,
    pub removed: bool,
    /// What connection ids call it, as many octets as its service says.
    pub quic: Option<&'static [u8]>,
    /// The most connections it takes; 0: any number.
    pub most: u32,
    /// Not in use (any more): its number may be found in old entries and tables.
    pub freed: bool,
}

impl Server {
    /// Weight 1, behind the director, reached directly.
    pub fn at(name: &'static str, address: impl Into<IpAddr>, port: u16) -> Self {
        let address = address.into();
        let next_hop = Some(Hop { side: Side::Back, mac: mac_of(address) });
        Self {
            name,
            address,
            port,
            weight: 1,
            miss_weight: None,
            next_hop,
            tags: Tags::NONE,
            down: false,
            drained: false,
            removed: false,
            quic: None,
            most: 0,
            freed: false,
        }
    }

    /// Connection ids call it so.
    #[must_use]
    pub fn called(self, id: &'static [u8]) -> Self {
        Self { quic: Some(id), ..self }
    }

    /// Takes no more connections than this.
    #[must_use]
    pub fn at_most(self, most: u32) -> Self {
        Self { most, ..self }
    }

    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    #[must_use]
    pub fn by(self, next_hop: Option<Hop>) -> Self {
        Self { next_hop, ..self }
    }

    /// In a VLAN, which the world must have.
    #[must_use]
    pub fn in_vlan(self, tags: Tags) -> Self {
        Self { tags, ..self }
    }

    /// In the same network as the clients.
    #[must_use]
    pub fn in_front(self) -> Self {
        let mac = mac_of(self.address);
        self.by(Some(Hop { side: Side::Front, mac }))
    }
}

/// The MAC address a neighbour with this address has. A machine with addresses of both families has two, so that one
/// sees by which of them a frame found its way.
#[must_use]
pub fn mac_of(address: impl Into<IpAddr>) -> Mac {
    match address.into() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [0x0a, 0, a, b, c, d]
        }
        IpAddr::V6(address) => {
            let [_, _, a, b, .., c, d] = address.octets();
            [0x0a, 6, a, b, c, d]
        }
    }
}

/// The number of a service or server within its world.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Number(pub usize);

/// Everything a director goes by.
#[derive(Clone, Debug)]
pub struct World {
    pub services: Vec<Service>,
    /// With the number of their service. A server's id is its place here, plus one.
    pub servers: Vec<(Number, Server)>,
    /// The director's own addresses.
    pub locals: Vec<IpAddr>,
    /// Addresses the kernel's routing knows a neighbour for.
    pub routes: Vec<(IpAddr, Hop)>,
    /// The director's VLAN interfaces: on which side, and with which tags.
    pub vlans: Vec<(Side, Tags)>,
    pub flows: bool,
    pub serving: bool,
    pub derive_udp: bool,
    /// Whether the agent's heartbeat is fresh.
    pub agent_lives: bool,
    /// Whether a server without a port of its own is entered with its service's, where that has one.
    pub ports_known: bool,
    pub pool: Pool,
    /// Connections that other directors hold.
    pub replicas: Vec<Replica>,
    /// Whether every place in the connection table is taken, by connections that do not give way.
    pub is_crowded: bool,
}

/// What another director has said of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    pub client: (IpAddr, u16),
    pub vip: (IpAddr, u16),
    pub protocol: Protocol,
    pub server: Number,
    pub class: Class,
}

/// What full NAT sends from: addresses, and the first port of each and how many there are.
#[derive(Clone, Debug)]
pub struct Pool {
    pub addresses: Vec<IpAddr>,
    pub ports: (u16, u32),
}

impl Default for World {
    /// No services; serving, with a flow table, under a living agent; nothing comes by the kernel's routing.
    fn default() -> Self {
        Self {
            services: Vec::new(),
            servers: Vec::new(),
            locals: Vec::new(),
            routes: Vec::new(),
            vlans: Vec::new(),
            flows: true,
            serving: true,
            derive_udp: false,
            agent_lives: true,
            ports_known: true,
            pool: Pool { addresses: Vec::new(), ports: (0, 0) },
            replicas: Vec::new(),
            is_crowded: false,
        }
    }
}

impl World {
    pub fn service(&mut self, service: Service) -> Number {
        self.services.push(service);
        Number(self.services.len() - 1)
    }

    pub fn server(&mut self, service: Number, server: Server) -> Number {
        self.servers.push((service, server));
        Number(self.servers.len() - 1)
    }

    /// A world with one service and its servers.
    #[must_use]
    pub fn of(service: Service, servers: impl IntoIterator<Item = Server>) -> Self {
        Self::default().and(service, servers)
    }

    /// One more service.
    #[must_use]
    pub fn and(mut self, service: Service, servers: impl IntoIterator<Item = Server>) -> Self {
        let number = self.service(service);
        for server in servers {
            self.server(number, server);
        }
        self
    }

    /// This world and another one, behind the same director. Everything that is not counted is as it is here, the ports of full
    /// NAT too.
    #[must_use]
    pub fn beside(mut self, other: Self) -> Self {
        let moved = self.services.len();
        self.services.extend(other.services);
        let servers = other.servers.into_iter().map(|(number, server)| (Number(number.0 + moved), server));
        self.servers.extend(servers);
        self.locals.extend(other.locals);
        self.routes.extend(other.routes);
        self.vlans.extend(other.vlans);
        self.pool.addresses.extend(other.pool.addresses);
        self
    }

    /// The director has this address, too.
    pub fn local(&mut self, address: impl Into<IpAddr>) {
        self.locals.push(address.into());
    }

    /// The kernel's routing knows this neighbour for the address.
    pub fn route(&mut self, address: impl Into<IpAddr>, hop: Hop) {
        self.routes.push((address.into(), hop));
    }

    /// Full NAT sends from these addresses, which are the director's own; from so many ports each.
    #[must_use]
    pub fn sending_from(mut self, addresses: &[IpAddr], ports: (u16, u32)) -> Self {
        self.locals.extend(addresses);
        self.pool = Pool { addresses: addresses.to_vec(), ports };
        self
    }

    /// The director has VLAN interfaces with these tags on this side.
    #[must_use]
    pub fn with_vlans(mut self, side: Side, all: &[Tags]) -> Self {
        self.vlans.extend(all.iter().map(|tags| (side, *tags)));
        self
    }

    /// The same with something else.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The one server of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn named(&mut self, name: &str) -> &mut Server {
        let found = self.servers.iter_mut().find(|(_, server)| server.name == name);
        &mut found.unwrap_or_else(|| panic!("no server {name} in this world")).1
    }
}

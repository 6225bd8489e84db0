//! The validated configuration. What can be constructed only by the reader is right by construction;
//! nothing here refers to the file any more.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lb_common::entry::QuicFormat;

/// A whole configuration without a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// `[agent]`: what concerns the process, not the traffic.
    pub agent: Agent,
    /// `[datapath]`: the sizes and timeouts that all services share.
    pub datapath: Datapath,
    /// `[fullnat]`: what services of that mode send from.
    pub fullnat: FullNat,
    /// `[cluster]`: where this director stands among others.
    pub cluster: Cluster,
    /// The services in the order of the file; never empty, names and listeners unique.
    pub services: Vec<Service>,
}

/// `[agent]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// The NICs to attach to, without duplicates. May be empty: `up --iface` can name them.
    pub interfaces: Vec<InterfaceName>,
    /// How to attach.
    pub xdp_mode: XdpMode,
    /// Who puts the VIPs on the host.
    pub vip_owner: VipOwner,
    /// The control socket; absolute, at most 107 bytes.
    pub socket: PathBuf,
    /// Where maps, programs and links are pinned; absolute.
    pub pin_dir: PathBuf,
    /// What outlives the pins: the hash key, overrides; absolute.
    pub state_dir: PathBuf,
    /// What a SIGTERM leaves behind.
    pub on_stop: OnStop,
    /// Whether connections are kept in the state folder for an agent that finds no pins.
    pub snapshot: bool,
    /// When the file is read again.
    pub reload: Reload,
    /// The name of this director; `None`: the host's name.
    pub node: Option<NodeName>,
    /// How much the agent logs.
    pub log: LogLevel,
}

/// How the XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver, else generic.
    Auto,
    /// In the driver or not at all.
    Native,
    /// Behind the driver, slower, on any NIC.
    Generic,
}

/// Who puts the VIPs on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VipOwner {
    /// Somebody else: a script, networkd, keepalived.
    External,
    /// The agent, after attaching; it removes them before detaching.
    Xlvs,
}

/// What a SIGTERM leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// The data path, forwarding.
    Keep,
    /// Nothing.
    Detach,
}

/// When the file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// When asked: `xlvs reload` or SIGHUP.
    Command,
    /// Also when it, or what it includes, has changed.
    Watch,
}

/// How much the agent logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of every log")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `[datapath]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datapath {
    /// Connections the flow table holds, 1 to 12,582,912.
    pub flow_table_size: u32,
    /// Whether the client of each connection is noted, for `xlvs connections`.
    pub client_addresses: bool,
    /// Slots of a service's look-up table.
    pub maglev_table_size: MaglevTableSize,
    /// Pairs of service and server for which the maps have room, 256 to 65,536.
    pub server_slots: u32,
    /// Prefixes for which the maps have room, those of lists that are about to go included, 1 to 1,048,576.
    pub list_slots: u32,
    /// Sources whose servers the maps have room to know at once, for affinity, 1 to 12,582,912.
    pub affinity_slots: u32,
    /// Sources whose rates the maps have room to know at once, 8 to 16,777,216.
    pub source_slots: u32,
    /// How long an idle connection is remembered.
    pub timeouts: Timeouts,
}

/// Slots of a service's look-up table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaglevTableSize {
    /// By the number of servers.
    Auto,
    /// A prime up to 65,537, not less than the servers of any service.
    Prime(u32),
}

/// How long a connection without packets is remembered, by its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Not yet answered, 1 s to 60 s.
    pub new: Duration,
    /// 64 s to 2 h.
    pub established: Duration,
    /// Both ends have closed, 1 s to 120 s.
    pub closing: Duration,
    /// UDP in both directions, 64 s to 2 h.
    pub udp: Duration,
}

/// One service: its listeners and the real servers behind them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its identity across reloads and directors.
    pub name: ServiceName,
    /// What clients connect to; no other service has any of it.
    pub listening: Listening,
    /// How packets reach a server.
    pub mode: Mode,
    /// The tunnel to each server, in tunnel mode and no other.
    pub tunnel: Option<Tunnel>,
    /// How a new connection finds its server.
    pub scheduler: Scheduler,
    /// What a client is told when no server can take it.
    pub on_no_server: OnNoServer,
    /// What becomes of the connections of a server that is no longer meant for any.
    pub partings: Partings,
    /// How much of its servers must be there, if it cares.
    pub quorum: Option<Quorum>,
    /// How long a server that comes back takes to get its whole share; zero: no time.
    pub slow_start: Duration,
    /// Whom it admits.
    pub access: Arc<Access>,
    /// How much it takes in a second.
    pub limits: Limits,
    /// Whether and how clients come back to their servers. Services that share it have the same servers.
    pub affinity: Option<Affinity>,
    /// Of the connection ids that name its servers, if they do; every server then has an id of that length.
    pub quic_lb: Option<QuicFormat>,
    /// How the servers are checked.
    pub health: Health,
    /// How they say themselves how they are, if they do.
    pub agent_check: Option<AgentCheck>,
    /// Which of its connections other directors are told of.
    pub replication: Replication,
    /// The real servers in the order of the file; never empty, names and targets unique. Each family of the VIPs has one,
    /// and none has an address of another; but in a tunnel any address serves either.
    pub servers: Vec<Server>,
}

/// How packets reach a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The server's address and port are written in, both ways through the director.
    Nat,
    /// Direct routing: only the MAC is rewritten, the server answers the client itself.
    Dr,
    /// The packet goes whole into one of the director's own; the server takes it out and answers the client itself.
    Tunnel,
    /// Addresses and ports of both ends are rewritten: the servers answer this director, whatever their routes are.
    FullNat,
}

impl Mode {
    /// Whether what servers answer comes back through this director.
    #[must_use]
    pub fn sees_answers(self) -> bool {
        matches!(self, Self::Nat | Self::FullNat)
    }
}

/// How a new connection finds its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// Maglev consistent hashing.
    Maglev,
    /// Of two candidates of that, the one with fewer connections for its weight.
    Least,
    /// In turn, as often as the weights say.
    Wrr,
    /// In turn.
    Rr,
    /// By a hash of the client's address alone.
    Source,
    /// At random, as often as the weights say.
    Random,
}

/// What a client is told when no server can take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNoServer {
    /// A RST or an ICMP error from the VIP.
    Reject,
    /// Nothing.
    Drop,
    /// It is given to any server that is enabled, as if the checks were wrong.
    All,
}

/// A real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its identity within the service.
    pub name: ServerName,
    /// Its addresses, at most one of a family, IPv4 first; never one of the VIPs. A listener uses that of its own family, or in a tunnel the other.
    pub addresses: Vec<ServerAddress>,
    /// The port that NAT rewrites to; `None`: the port that was hit. Always `None` in DR, in a tunnel and in a
    /// service of any port or of a range.
    pub port: Option<NonZeroU16>,
    /// Its share of new connections.
    pub weight: Weight,
    /// Connections that it takes at once, in all listeners of the service together; `None`: any number.
    pub max_connections: Option<NonZeroU32>,
    /// What connection ids call it, where they do; no other server of the service is called so.
    pub server_id: Option<QuicId>,
    /// When it is used.
    pub tier: Tier,
    /// Where it is.
    pub domain: Option<DomainName>,
}

/// How the servers of a service are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Not at all: they count as up.
    Off,
    /// From time to time.
    Checked(Box<Check>),
}

/// A periodic check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is tried.
    pub probe: Probe,
    /// The port to try; `None`: the server's, else the service's only one (one of the two exists, unless the probe needs
    /// no port).
    pub port: Option<NonZeroU16>,
    /// What is asked besides the server's own address. [`Via::Vip`] only in DR and through a tunnel.
    pub via: Via,
    /// From the start of one probe to the start of the next, before jitter.
    pub interval: Duration,
    /// The same while the server is down.
    pub interval_down: Duration,
    /// How long a probe may take; never more than either interval.
    pub timeout: Duration,
    /// Successes in a row that bring a server up, 1 to 255.
    pub rise: u32,
    /// Failures in a row that take it down, 1 to 255.
    pub fall: u32,
}

/// Where a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// To each VIP as well, by the way that traffic goes: what is sent there must be answered.
    Vip,
    /// To the server's own address alone.
    Address,
}

/// What a VIP is asked by the way that traffic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Knock {
    /// Whether it accepts connections.
    Syn,
    /// What the check asks, which is a datagram.
    Check,
}

impl Service {
    /// The address by which listeners of this family lead to a server of this service.
    pub fn address(&self, server: &Server, family: Family) -> Option<ServerAddress> {
        let any = || server.addresses.first().copied().filter(|_| self.mode == Mode::Tunnel);
        server.address(family).or_else(any)
    }

    /// Where this server is checked under one of its addresses; `None` if checks are off. The port is 0 where there is none
    /// to ask.
    pub fn check_target(&self, server: &Server, address: ServerAddress) -> Option<SocketAddr> {
        let Health::Checked(check) = &self.health else { return None };
        if server.tier == Tier::Sorry {
            return None;
        }
        let port = check.port.or(server.port).or(self.listening.only_port());
        Some(SocketAddr::new(address.ip(), port.map_or(0, NonZeroU16::get)))
    }

    /// Which VIPs a check of this address of a server asks by the way that traffic goes, and what; none if it does not.
    ///
    /// A SYN goes to the lowest port, or to the checked one where that is any. A service of UDP alone is asked what the check asks, if
    /// that is a datagram to a port of the service: nobody knows what else its servers would answer.
    pub fn knocks(&self, server: &Server, address: ServerAddress) -> Option<(Knock, Vec<SocketAddr>)> {
        let Health::Checked(check) = &self.health else { return None };
        let listening = &self.listening;
        let (knock, port) = if listening.protocols.contains(&Protocol::Tcp) {
            let lowest = listening.ports.first().and_then(|port| match port {
                ListenPort::Any => check.port.map(NonZeroU16::get),
                port => port.each().next(),
            });
            (Knock::Syn, lowest?)
        } else {
            let port = self.check_target(server, address)?.port();
            let asks = matches!(check.probe, Probe::Udp(_) | Probe::Dns(_)) && listening.has_port(port);
            (Knock::Check, Some(port).filter(|_| asks)?)
        };
        let vips: Vec<_> = listening
            .vips
            .iter()
            .map(|vip| vip.ip())
            .filter(|vip| self.address(server, Family::of(*vip)) == Some(address))
            .map(|vip| SocketAddr::new(vip, port))
            .collect();
        (check.via == Via::Vip && !vips.is_empty()).then_some((knock, vips))
    }

    /// Whether it listens on this address.
    pub fn has_vip(&self, address: IpAddr) -> bool {
        self.listening.vips.iter().any(|vip| vip.ip() == address)
    }

    /// The server of this name.
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name.as_str() == name)
    }
}

impl Model {
    /// What this director is called, if the file says so.
    pub fn node(&self) -> Option<&NodeName> {
        self.cluster.mesh.as_ref().map(|mesh| &mesh.node).or(self.agent.node.as_ref())
    }

    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name.as_str() == name)
    }
}

impl Server {
    /// Its address of this family, if it has one.
    pub fn address(&self, family: Family) -> Option<ServerAddress> {
        self.addresses.iter().copied().find(|address| address.family() == family)
    }
}

pub use super::access::Access;
pub use super::address::{Family, ServerAddress, SourceAddress, Vip};
pub use super::affinity::Affinity;
pub use super::agent_check::AgentCheck;
pub use super::cluster::{CREDENTIALS, Cluster, Mesh, Peer, Sending};
pub use super::fullnat::{FullNat, Ports};
pub use super::limits::Limits;
pub use super::listener::{Lane, ListenPort, Listener, Listening, PortRange, Protocol};
pub use super::name::{DomainName, GroupName, InterfaceName, NodeName, ServerName, ServiceName};
pub use super::parting::{Parting, Partings, Then};
pub use super::prefix::Prefix;
pub use super::probe::{
    DnsProbe, ExecProbe, GrpcProbe, HttpProbe, Identity, Probe, RecordType, Tls, Trust, UdpProbe,
};
pub use super::quic::QuicId;
pub use super::replicate::{Replicate, Replication};
pub use super::server::Weight;
pub use super::standby::{Below, Quorum, Tier};
pub use super::tunnel::{Encapsulation, Tunnel};

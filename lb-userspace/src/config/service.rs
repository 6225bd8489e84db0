//! `[[service]]` and `[defaults]`: listeners, their servers, and what all services share.

use std::sync::Arc;
use std::time::Duration;

use lb_common::entry::QuicFormat;

use super::access::{self, Access};
use super::address::Vip;
use super::affinity::{self, Affinity};
use super::agent_check::{self, AgentCheck};
use super::choice;
use super::duration;
use super::health::{self, Checked, PortToCheck};
use super::limits::{self, Limits};
use super::listed;
use super::model::{Health, ListenPort, Listener, Listening, Mode, OnNoServer, Protocol, Scheduler, Service};
use super::name::ServiceName;
use super::parting::{self, Partings};
use super::port;
use super::quic;
use super::replicate::{self, Said};
use super::server;
use super::source::{Placed, Reported, Spot};
use super::standby::{self, Quorum};
use super::table::{Entry, Layered, Table};
use super::tunnel::{self, Tunnel};
use super::vocabulary::{DEFAULTS, HEALTH, HEALTH_DEFAULTS, SERVER, SERVER_DEFAULTS};

/// What services, their checks and their servers inherit.
#[derive(Clone, Copy, Default)]
pub(super) struct Defaults<'a> {
    service: Option<Table<'a>>,
    health: Option<Table<'a>>,
    server: Option<Table<'a>>,
}

/// A service as far as it could be read.
pub(super) struct Draft<'a> {
    /// The header of its table.
    pub(super) spot: Spot<'a>,
    pub(super) name: Result<Placed<'a, ServiceName>, Reported>,
    pub(super) vips: Result<Vec<Placed<'a, Vip>>, Reported>,
    pub(super) ports: Result<Vec<Placed<'a, ListenPort>>, Reported>,
    pub(super) protocols: Result<Vec<Placed<'a, Protocol>>, Reported>,
    pub(super) mode: Result<Mode, Reported>,
    pub(super) tunnel: Result<Option<Tunnel>, Reported>,
    pub(super) scheduler: Result<Scheduler, Reported>,
    on_no_server: Result<OnNoServer, Reported>,
    partings: Result<Partings, Reported>,
    quorum: Result<Option<Quorum>, Reported>,
    slow_start: Result<Duration, Reported>,
    access: Result<Access, Reported>,
    limits: Result<Limits, Reported>,
    pub(super) affinity: Result<Option<Placed<'a, Affinity>>, Reported>,
    pub(super) quic_lb: Result<Option<Placed<'a, QuicFormat>>, Reported>,
    health: Result<Health, Reported>,
    agent_check: Result<Option<AgentCheck>, Reported>,
    replication: Result<Said, Reported>,
    pub(super) servers: Vec<server::Draft<'a>>,
    has_servers: Result<(), Reported>,
}

impl<'a> Defaults<'a> {
    /// Opens `[defaults]` and the tables in it.
    pub(super) fn open(entry: &Entry<'a>) -> Result<Self, Reported> {
        let service = entry.table(&DEFAULTS)?;
        let health = service.get("health").map(|health| health.table(&HEALTH_DEFAULTS)).transpose();
        let server = service.get("server").map(|server| server.table(&SERVER_DEFAULTS)).transpose();
        Ok(Self { service: Some(service), health: health?, server: server? })
    }

    /// Reads every key, so that a mistake is found even if no service inherits it.
    pub(super) fn check(&self, spot: Spot<'a>) -> Result<(), Reported> {
        let table = Layered::new(spot, None, self.service);
        let vip = table.read("vip", Vip::read);
        let port = table.read("port", port::read_listen);
        let protocol = table.read("protocol", read_protocols);
        let mode = table.read("mode", choice::read::<Mode>);
        let tunnel = table.read("tunnel", tunnel::read_table);
        let scheduler = table.read("scheduler", choice::read::<Scheduler>);
        let on_no_server = table.read("on_no_server", choice::read::<OnNoServer>);
        let partings = parting::read(&table);
        let quorum = standby::read_quorum(&table);
        let slow_start = read_slow_start(&table);
        let access = access::read(&table);
        let limits = limits::read(&table);
        let affinity = affinity::read(&table);
        let health = health::read(
            Layered::new(spot, None, self.health),
            Checked { port: None, protocols: None, mode: None },
        );
        let agent_check = table.read("agent_check", agent_check::read);
        let replication = replicate::read(&table);
        let server = server::check_defaults(Layered::new(spot, None, self.server));
        vip.and(port.map(drop)).and(protocol.map(drop)).and(mode).and(scheduler).and(on_no_server)?;
        tunnel.map(drop).and(partings.map(drop)).and(quorum.map(drop)).and(slow_start)?;
        access.map(drop).and(limits.map(drop)).and(affinity.map(drop))?;
        health.map(drop).and(agent_check.map(drop)).and(replication.map(drop)).and(server)
    }
}

/// Reads a service with whatever of it is right.
pub(super) fn read<'a>(own: Table<'a>, defaults: Defaults<'a>) -> Draft<'a> {
    let table = Layered::new(own.spot, Some(own), defaults.service);
    let name = table.require("name", "name = \"web\"", ServiceName::read);
    let vips = table.require("vip", "vip = \"192.0.2.1\"", Vip::read);
    let ports = table.require("port", "port = 80", port::read_listen);
    let protocols = match table.get("protocol") {
        Some(entry) => read_protocols(&entry),
        None => Ok(vec![Placed { value: Protocol::Tcp, spot: table.spot }]),
    };
    let mode = table.read_or("mode", Mode::Nat, choice::read);
    let tunnel = tunnel::read(&table, mode.ok());
    let scheduler = table.read_or("scheduler", Scheduler::Maglev, choice::read);
    let on_no_server = table.read_or("on_no_server", OnNoServer::Reject, choice::read);
    let listen = ports.as_ref().ok().map(|ports| listed::values(ports));
    let (servers, has_servers) = read_servers(own, defaults, mode.ok(), listen.as_deref());
    let spoken = protocols.as_ref().ok().map(|protocols| listed::values(protocols));
    let checked = Checked {
        port: listen.map(|ports| port_to_check(&ports, &servers)),
        protocols: spoken.as_deref(),
        mode: mode.ok(),
    };
    Draft {
        spot: own.spot,
        name: name.map(|value| Placed { value, spot: table.spot_of("name") }),
        vips,
        ports,
        protocols,
        mode,
        tunnel,
        scheduler,
        on_no_server,
        partings: parting::read(&table),
        quorum: standby::read_quorum(&table),
        slow_start: read_slow_start(&table),
        access: access::read(&table),
        limits: limits::read(&table),
        affinity: affinity::read(&table),
        quic_lb: quic::read(&table),
        health: read_health(own, defaults, checked),
        agent_check: table.read("agent_check", agent_check::read),
        replication: replicate::read(&table),
        servers,
        has_servers,
    }
}

impl<'a> Draft<'a> {
    /// Where it listens, if that could be read.
    pub(super) fn listening(&self) -> Option<Listening> {
        let (Ok(vips), Ok(ports), Ok(protocols)) = (&self.vips, &self.ports, &self.protocols) else {
            return None;
        };
        Some(Listening {
            vips: listed::values(vips),
            ports: listed::values(ports),
            protocols: listed::values(protocols),
        })
    }

    /// Every listener with the place of its VIP, if they could be read.
    pub(super) fn listeners(&self) -> Vec<Placed<'a, Listener>> {
        let (Some(listening), Ok(vips)) = (self.listening(), &self.vips) else { return Vec::new() };
        let placed = |value: Listener| {
            let vip = vips.iter().find(|vip| vip.value == value.vip)?;
            Some(Placed { value, spot: vip.spot })
        };
        listening.listeners().filter_map(placed).collect()
    }

    /// The service, if nothing was wrong with it; `cluster` is what it inherits of replication.
    pub(super) fn finish(self, cluster: Said) -> Result<Service, Reported> {
        self.has_servers?;
        let listening = Listening {
            vips: listed::values(&self.vips?),
            ports: listed::values(&self.ports?),
            protocols: listed::values(&self.protocols?),
        };
        Ok(Service {
            name: self.name?.value,
            listening,
            mode: self.mode?,
            tunnel: self.tunnel?,
            scheduler: self.scheduler?,
            on_no_server: self.on_no_server?,
            partings: self.partings?,
            quorum: self.quorum?,
            slow_start: self.slow_start?,
            access: Arc::new(self.access?),
            limits: self.limits?,
            affinity: self.affinity?.map(|affinity| affinity.value),
            quic_lb: self.quic_lb?.map(|quic| quic.value),
            health: self.health?,
            agent_check: self.agent_check?,
            replication: self.replication?.within(cluster),
            servers: self.servers.into_iter().map(server::Draft::finish).collect::<Result<_, _>>()?,
        })
    }
}

/// How long a server that comes back takes to get its whole share.
fn read_slow_start(table: &Layered<'_>) -> Result<Duration, Reported> {
    const LONGEST: Duration = Duration::from_secs(3600);
    let read = |entry: &Entry<'_>| duration::read(entry, Duration::from_secs(1)..=LONGEST);
    table.read_or("slow_start", Duration::ZERO, read)
}

/// Which port a check tries that names none.
fn port_to_check(ports: &[ListenPort], servers: &[server::Draft<'_>]) -> PortToCheck {
    let known = |server: &server::Draft<'_>| server.port.map_or(true, |port| port.is_some());
    match ports {
        [ListenPort::Fixed(_)] => PortToCheck::Known,
        [ListenPort::Any] => PortToCheck::Any,
        _ if servers.iter().all(known) => PortToCheck::Known,
        _ => PortToCheck::OneOfSeveral,
    }
}

fn read_health(own: Table<'_>, defaults: Defaults<'_>, service: Checked<'_>) -> Result<Health, Reported> {
    let health = own.get("health").map(|entry| entry.table(&HEALTH)).transpose()?;
    health::read(Layered::new(own.spot, health, defaults.health), service)
}

fn read_servers<'a>(
    own: Table<'a>,
    defaults: Defaults<'a>,
    mode: Option<Mode>,
    ports: Option<&[ListenPort]>,
) -> (Vec<server::Draft<'a>>, Result<(), Reported>) {
    let Some(entry) = own.get("server") else {
        let what = "the service has no server";
        return (
            Vec::new(),
            Err(own.spot.missing(what, "add [[service.server]] with a name and an address")),
        );
    };
    match entry.tables(&SERVER) {
        Ok(tables) if tables.is_empty() => {
            let what = "the service has no server";
            (Vec::new(), Err(entry.problem(what, "add [[service.server]] with a name and an address")))
        }
        Ok(tables) => {
            let read = |table: Table<'a>| {
                server::read(Layered::new(table.spot, Some(table), defaults.server), mode, ports)
            };
            (tables.into_iter().map(read).collect(), Ok(()))
        }
        Err(reported) => (Vec::new(), Err(reported)),
    }
}

fn read_protocols<'a>(entry: &Entry<'a>) -> Result<Vec<Placed<'a, Protocol>>, Reported> {
    let protocols = listed::read(entry, "protocol = \"tcp\"", choice::read)?;
    listed::distinct(protocols, |protocol: Protocol| format!("the protocol {protocol} is given twice"))
}

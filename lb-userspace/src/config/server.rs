//! `[[service.server]]`: a real server.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::address::ServerAddress;
use super::listed;
use super::model::{ListenPort, Mode, Server};
use super::name::{DomainName, ServerName};
use super::port;
use super::quic::QuicId;
use super::source::{Placed, Reported};
use super::standby::Tier;
use super::table::{Entry, Layered};

/// As many as the largest flow table holds.
const MOST_CONNECTIONS: u32 = 12_582_912;

/// A server's share of new connections: 0 (drained) to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight(u16);

impl Weight {
    /// No new connections.
    pub const DRAINED: Self = Self(0);
    /// The largest.
    pub const MAX: Self = Self(1000);

    /// A weight, if it is not too large.
    pub fn new(weight: u16) -> Option<Self> {
        (weight <= Self::MAX.0).then_some(Self(weight))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }

    fn read(entry: &Entry<'_>) -> Result<Self, Reported> {
        let weight = entry.integer(0, Self::MAX.0.into(), "weight = 1")?;
        Ok(u16::try_from(weight).map_or(Self::MAX, Self))
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A server as far as it could be read.
pub(super) struct Draft<'a> {
    pub(super) name: Result<Placed<'a, ServerName>, Reported>,
    pub(super) addresses: Result<Vec<Placed<'a, ServerAddress>>, Reported>,
    pub(super) port: Result<Option<NonZeroU16>, Reported>,
    pub(super) server_id: Result<Option<Placed<'a, QuicId>>, Reported>,
    weight: Result<Weight, Reported>,
    pub(super) max_connections: Result<Option<NonZeroU32>, Reported>,
    tier: Result<Tier, Reported>,
    domain: Result<Option<DomainName>, Reported>,
}

/// Reads a server of a service with this mode and these ports, if those could be read.
pub(super) fn read<'a>(table: Layered<'a>, mode: Option<Mode>, listen: Option<&[ListenPort]>) -> Draft<'a> {
    let name = table.require("name", "name = \"rs1\"", ServerName::read);
    Draft {
        name: name.map(|value| Placed { value, spot: table.spot_of("name") }),
        addresses: table.require("address", "address = \"192.0.2.11\"", ServerAddress::read),
        port: read_port(&table, mode, listen),
        server_id: table.read("server_id", QuicId::read),
        weight: table.read_or("weight", Weight::default(), Weight::read),
        max_connections: table.read("max_connections", read_most),
        tier: table.read_or("backup", Tier::default(), Tier::read),
        domain: table.read("domain", DomainName::read),
    }
}

impl Draft<'_> {
    pub(super) fn finish(self) -> Result<Server, Reported> {
        let (name, addresses) = (self.name?.value, listed::values(&self.addresses?));
        let server_id = self.server_id?.map(|id| id.value);
        Ok(Server {
            name,
            addresses,
            port: self.port?,
            weight: self.weight?,
            max_connections: self.max_connections?,
            server_id,
            tier: self.tier?,
            domain: self.domain?,
        })
    }
}

/// A default for all servers counts only where a server may have a port at all.
fn read_port(
    table: &Layered<'_>,
    mode: Option<Mode>,
    listen: Option<&[ListenPort]>,
) -> Result<Option<NonZeroU16>, Reported> {
    let listen = listen.unwrap_or_default();
    let why = if matches!(mode, Some(Mode::Dr | Mode::Tunnel)) {
        "in dr and in a tunnel a server gets packets as they were sent, with the port of the service"
    } else if listen.contains(&ListenPort::Any) {
        "a service of any port keeps the port that was hit, or its replies could not be told apart"
    } else if listen.iter().any(|port| port.fixed().is_none()) {
        "a service with a range of ports keeps the port that was hit, or its replies could not be told apart"
    } else {
        return table.read("port", port::read);
    };
    match table.get_own("port") {
        Some(entry) => Err(entry.problem(why, "remove the server's port")),
        None => Ok(None),
    }
}

fn read_most(entry: &Entry<'_>) -> Result<NonZeroU32, Reported> {
    let example = "max_connections = 1000";
    let most = entry.integer(1, MOST_CONNECTIONS, example)?;
    NonZeroU32::new(most)
        .ok_or_else(|| entry.problem("max_connections = 0 lets nobody in", format!("write {example}")))
}

/// Reads what `[defaults.server]` gives, so that a mistake in it is found even if no server inherits it.
pub(super) fn check_defaults(table: Layered<'_>) -> Result<(), Reported> {
    let port = table.read("port", port::read);
    let weight = table.read("weight", Weight::read);
    let most = table.read("max_connections", read_most);
    let tier = table.read("backup", Tier::read);
    table.read("domain", DomainName::read).and(tier).and(port).and(weight).and(most).map(drop)
}

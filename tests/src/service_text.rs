//! The TOML of a service, for the topologies of this rig.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::family::Family;
use crate::topology::{Delivery, Server, vip};

/// A `[[service]]` table. Start from [`ServiceText::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct ServiceText {
    pub name: String,
    pub vip: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `nat` or `dr`.
    pub mode: String,
    /// More lines of the service's own table.
    pub lines: String,
    /// The lines of `[service.health]`.
    pub health: String,
    pub servers: Vec<ServerText>,
}

/// A `[[service.server]]` table.
#[derive(Clone, Debug)]
pub struct ServerText {
    pub name: String,
    pub address: IpAddr,
    pub weight: u32,
    /// More lines of the server's table.
    pub lines: String,
}

impl ServiceText {
    /// TCP on the VIP, without health checks: the state of every server is what the test says.
    pub fn new(name: &str, port: u16, delivery: Delivery) -> Self {
        Self::over(Family::V4, name, port, delivery)
    }

    /// The same, with VIP and servers of one family or the other.
    pub fn over(family: Family, name: &str, port: u16, delivery: Delivery) -> Self {
        let mode = match delivery {
            Delivery::Nat => "nat",
            Delivery::DirectRouting => "dr",
        };
        Self {
            name: name.to_owned(),
            vip: SocketAddr::new(vip(family), port),
            protocol: "tcp".to_owned(),
            mode: mode.to_owned(),
            lines: String::new(),
            health: "kind = \"none\"".to_owned(),
            servers: Vec::new(),
        }
    }

    /// Adds a server of the topology, by its address of the VIP's family.
    #[must_use]
    pub fn server(mut self, server: &Server, weight: u32) -> Self {
        let (name, address) = (server.name.clone(), server.address_in(Family::of(self.vip.ip())));
        self.servers.push(ServerText { name, address, weight, lines: String::new() });
        self
    }

    /// Replaces the health check's lines.
    #[must_use]
    pub fn health(self, lines: &str) -> Self {
        Self { health: lines.to_owned(), ..self }
    }

    /// Adds lines to the service's table.
    #[must_use]
    pub fn lines(self, lines: &str) -> Self {
        Self { lines: lines.to_owned(), ..self }
    }
}

impl fmt::Display for ServiceText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, vip, protocol, mode, lines, health, servers } = self;
        writeln!(
            formatter,
            "[[service]]\nname = \"{name}\"\nvip = \"{}\"\nport = {}\nprotocol = \"{protocol}\"\nmode = \"{mode}\"\n{lines}",
            vip.ip(),
            vip.port()
        )?;
        writeln!(formatter, "[service.health]\n{health}")?;
        for ServerText { name, address, weight, lines } in servers {
            writeln!(
                formatter,
                "[[service.server]]\nname = \"{name}\"\naddress = \"{address}\"\nweight = {weight}\n{lines}"
            )?;
        }
        Ok(())
    }
}

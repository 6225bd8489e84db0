//! The TOML of a service, for the topologies of this rig.

use std::fmt;
use std::net::IpAddr;

use crate::family::Family;
use crate::topology::{Delivery, Server, vip};

/// A `[[service]]` table. Start from [`ServiceText::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct ServiceText {
    pub name: String,
    pub vips: Vec<IpAddr>,
    /// As the file writes them: `80`, `[80, "8000-8099"]`, `"any"`.
    pub ports: String,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// `nat`, `dr`, `tunnel` or `fullnat`.
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
    /// Of either family; written are those of the VIPs' families, in a tunnel all of them.
    pub addresses: Vec<IpAddr>,
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
            Delivery::FullNat => "fullnat",
        };
        Self {
            name: name.to_owned(),
            vips: vec![vip(family)],
            ports: port.to_string(),
            protocol: "tcp".to_owned(),
            mode: mode.to_owned(),
            lines: String::new(),
            health: "kind = \"none\"".to_owned(),
            servers: Vec::new(),
        }
    }

    /// Adds a server of the topology, by its addresses of the VIPs' families.
    #[must_use]
    pub fn server(mut self, server: &Server, weight: u32) -> Self {
        let addresses = Family::BOTH.map(|family| server.address_in(family)).to_vec();
        self.servers.push(ServerText { name: server.name.clone(), addresses, weight, lines: String::new() });
        self
    }

    /// Listens on these instead.
    #[must_use]
    pub fn at(self, vips: &[IpAddr], ports: &str) -> Self {
        Self { vips: vips.to_vec(), ports: ports.to_owned(), ..self }
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
        let Self { name, vips, ports, protocol, mode, lines, health, servers } = self;
        writeln!(
            formatter,
            "[[service]]\nname = \"{name}\"\nvip = {}\nport = {ports}\nprotocol = \"{protocol}\"\nmode = \"{mode}\"\n{lines}",
            list(vips.iter())
        )?;
        writeln!(formatter, "[service.health]\n{health}")?;
        let reachable =
            |address: &&IpAddr| mode == "tunnel" || vips.iter().any(|vip| vip.is_ipv4() == address.is_ipv4());
        for ServerText { name, addresses, weight, lines } in servers {
            let address = list(addresses.iter().filter(reachable));
            writeln!(
                formatter,
                "[[service.server]]\nname = \"{name}\"\naddress = {address}\nweight = {weight}\n{lines}"
            )?;
        }
        Ok(())
    }
}

/// One address as it is, more in brackets.
fn list<'a>(addresses: impl Iterator<Item = &'a IpAddr>) -> String {
    let quoted: Vec<_> = addresses.map(|address| format!("\"{address}\"")).collect();
    if let [one] = &quoted[..] { one.clone() } else { format!("[{}]", quoted.join(", ")) }
}

//! `xlvs connections`: entries of the connection table.

use super::{ConnectionClass, Protocol, Schema, Time};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// What `xlvs connections` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsReport {
    /// Always 1.
    pub schema: Schema,
    /// When the table was read.
    pub at: Time,
    /// How many entries match the filter; more than are listed if the limit cut them.
    pub matching: u64,
    /// Whether the table stores addresses at all; if not, every address below is null.
    pub addresses: bool,
    /// The entries, at most as many as were asked for.
    pub connections: Vec<Connection>,
}

/// One stored connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The client; null if its address is not stored or was overwritten.
    pub client: Option<IpAddr>,
    /// The client's port.
    pub client_port: Option<u16>,
    /// The virtual address it called.
    pub vip: Option<IpAddr>,
    /// The port it called.
    pub port: Option<u16>,
    /// The protocol.
    pub protocol: Protocol,
    /// What the server sees instead of the client, by full NAT; null: the client itself.
    #[serde(default)]
    pub sent_from: Option<SocketAddr>,
    /// The service; null: removed from the configuration since.
    pub service: Option<String>,
    /// The real server that has it; null: removed from the configuration since.
    pub server: Option<String>,
    /// Its class.
    pub class: ConnectionClass,
    /// Time since its last packet, as coarse as the table's tick (seconds to a minute).
    pub idle_seconds: u64,
    /// Whether a fresh pick would choose another server now: only its entry keeps it where it is.
    pub diverged: bool,
}

//! `xlvs explain`: what the data path would do with a packet, and why.

use super::{Decision, Protocol, Schema};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// What `xlvs explain` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainReport {
    /// Always 1.
    pub schema: Schema,
    /// The packet's protocol.
    pub protocol: Protocol,
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The service it matches; null: none.
    pub service: Option<String>,
    /// What names the server.
    pub decision: Decision,
    /// The real server; null: none.
    pub server: Option<String>,
    /// That server's address.
    pub server_address: Option<IpAddr>,
    /// The port the packet would carry there; null: no server, or it is not rewritten.
    pub server_port: Option<u16>,
    /// The verdict it would be counted under.
    pub verdict: String,
    /// How the data path gets there, a step a line, in order.
    pub why: Vec<String>,
}

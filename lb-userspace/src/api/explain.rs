//! `xlvs explain`: what the data path would do with a packet, and why.

use super::{Decision, Hex, Protocol, Schema};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// What `xlvs explain` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExplainReport {
    /// Always 1.
    pub schema: Schema,
    /// The packet's protocol; null: it has no ports that could be read, and neither end has one.
    pub protocol: Option<Protocol>,
    /// Where it comes from.
    pub source: Option<SocketAddr>,
    /// Where it goes.
    pub destination: Option<SocketAddr>,
    /// The interface it comes in through.
    pub interface: String,
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
    /// The stage of the data path that comes to the verdict.
    pub stage: String,
    /// What else would be counted.
    pub events: Vec<String>,
    /// How the data path gets there, a step a line, in order.
    pub why: Vec<String>,
    /// Without an agent, and its hash key: the servers of which it is one, which `server` does not name then.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
    /// What was taken to be so because no agent was asked.
    #[serde(default)]
    pub assumed: Vec<String>,
    /// The frame as it comes in.
    pub before: ExplainedFrame,
    /// The frame as it leaves; null: it is not sent, or that is not known.
    pub after: Option<ExplainedFrame>,
}

/// A server that the packet may be for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub server: String,
    /// Its address.
    pub address: IpAddr,
    /// The port the packet would carry there; null: it is not rewritten.
    pub port: Option<u16>,
    /// Of the service's connections, those that are picked for it, from 0 to 1.
    pub share: f64,
}

/// A frame, told and in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedFrame {
    /// In a line.
    pub text: String,
    /// From the Ethernet header on.
    pub bytes: Hex,
}

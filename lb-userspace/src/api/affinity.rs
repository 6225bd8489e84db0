//! `xlvs affinity`: which sources come back to which servers.

use super::{Schema, Time};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What `xlvs affinity` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityReport {
    /// Always 1.
    pub schema: Schema,
    /// When the table was read.
    pub at: Time,
    /// How many sources match the filter; more than are listed if the limit cut them.
    pub matching: u64,
    /// How many of these have been forgotten: all that match, if that was asked for.
    pub cleared: u64,
    /// How many the table has room for.
    pub capacity: u64,
    /// The sources, at most as many as were asked for; none after clearing.
    pub sources: Vec<AffineSource>,
}

/// A source that comes back to a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffineSource {
    /// The first address of the source.
    pub source: IpAddr,
    /// How many bits its addresses have in common.
    pub prefix_length: u8,
    /// The group of services that share it; null: one service has it to itself.
    pub group: Option<String>,
    /// These services.
    pub services: Vec<String>,
    /// The server; null: removed from the configuration since.
    pub server: Option<String>,
    /// Time since its last new connection, as coarse as the table's tick (1 s, of timeouts above 136 s a minute).
    pub idle_seconds: u64,
    /// After so long without a new connection it is forgotten.
    pub timeout_seconds: u64,
}

//! `xlvs status`: the whole picture of a director; most other views are taken from it.

use super::{ClusterStatus, Schema, ServiceStatus, Time, XdpMode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// What `xlvs status` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Always 1.
    pub schema: Schema,
    /// When the agent read the counters.
    pub at: Time,
    /// Attached everywhere wanted, maps reconciled, a first health result or its timeout for each server,
    /// and in a cluster in sync.
    pub ready: bool,
    /// Why it is not ready, one sentence each; empty when it is.
    pub not_ready: Vec<String>,
    /// What works but should not stay so, one sentence each, with its remedy.
    pub warnings: Vec<String>,
    /// The agent's process.
    pub pid: u32,
    /// The agent's version.
    pub version: String,
    /// The director's name.
    pub node: Option<String>,
    /// When the agent started.
    pub since: Time,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// The program in the kernel and its pins.
    pub data_path: DataPathStatus,
    /// Where it is attached.
    pub interfaces: Vec<InterfaceStatus>,
    /// The connection table; null: not readable yet.
    pub flow_table: Option<FlowTableStatus>,
    /// The ports that full NAT sends from; null: it has none.
    #[serde(default)]
    pub fullnat: Option<FullNatStatus>,
    /// Its part among other directors; null: it is alone.
    #[serde(default)]
    pub cluster: Option<ClusterStatus>,
    /// The services, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// Packets by verdict: each packet that entered ended in exactly one.
    pub verdicts: BTreeMap<String, u64>,
    /// Things worth counting that are not the end of a packet: connections stored, evicted, homeless, ...
    pub events: BTreeMap<String, u64>,
    /// What failed after the verdict, by interface and the driver's own name for it. The driver's count, which is older than
    /// the data path: it began with the interface, and holds what other XDP programs lost there.
    pub losses: BTreeMap<String, u64>,
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The file it was read from.
    pub path: PathBuf,
    /// Grows by one with each configuration put in force.
    pub generation: u64,
    /// The last reload that was tried; null: none since the agent started.
    pub last_reload: Option<LastReload>,
}

/// How a reload ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// When.
    pub at: Time,
    /// Whether it was put in force. If not, nothing changed.
    pub ok: bool,
    /// Why not, in a line.
    pub error: Option<String>,
}

/// The program in the kernel and its pins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPathStatus {
    /// The version of the layout of the pinned maps.
    pub abi: u32,
    /// The kernel's tag of the program: the same code has the same tag.
    pub program_tag: Option<String>,
    /// Where everything is pinned.
    pub pin_dir: PathBuf,
    /// Since when the pinned data path has been forwarding; older than the agent if it was adopted.
    pub since: Option<Time>,
    /// Whether this agent took over a data path that was there before it.
    pub adopted: bool,
}

/// An interface the program is attached to, or should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index in the agent's network namespace; null: there is no such interface now.
    pub index: Option<u32>,
    /// The device whose hook its frames pass: itself, or the one below a VLAN.
    pub device: String,
    /// How the program is attached; null: it is not.
    pub mode: Option<XdpMode>,
    /// Why the mode is not the wished one, or why it is not attached, in words.
    pub reason: Option<String>,
}

/// The ports that full NAT sends from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullNatStatus {
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// Ports of all of them together.
    pub ports: u64,
    /// Of these, how many are lent to connections, those included that rest until servers have forgotten them.
    pub ports_lent: u64,
    /// Packets for whose connection there was no port.
    pub refused_total: u64,
}

/// The connection table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowTableStatus {
    /// Connections it was configured to hold.
    pub size: u64,
    /// Connections stored now.
    pub connections_active: u64,
    /// Connections that found no place and were forwarded statelessly.
    pub homeless_total: u64,
}

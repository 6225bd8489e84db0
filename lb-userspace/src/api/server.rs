//! Real servers, within their service (`status`) and as a flat list (`servers`).

use super::{Admin, AgentOrder, Health, Rates, Schema, ServerState, StatusReport, Time};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One address of a real server of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name, unique within the service but for its address of the other family.
    pub name: String,
    /// Where its packets go.
    pub address: IpAddr,
    /// The port they go to; null: the port that was hit, or one that depends on it.
    pub port: Option<u16>,
    /// The weight in force: the override if there is one, else the configured one.
    pub weight: u32,
    /// The weight in the file.
    pub weight_configured: u32,
    /// The weight an operator set by hand; null: none, the file decides.
    pub weight_override: Option<u32>,
    /// What connection ids of QUIC call it, in hexadecimal; null: nothing.
    #[serde(default)]
    pub server_id: Option<String>,
    /// Connections that it takes at once; null: any number.
    #[serde(default)]
    pub max_connections: Option<u32>,
    /// Used only when no other server of the service is up.
    pub backup: bool,
    /// Its share of the service's new connections, of 1; 0: none.
    #[serde(default)]
    pub share: f64,
    /// When its connections will be ended or sent elsewhere; null: never, or they have been.
    #[serde(default)]
    pub connections_end_at: Option<Time>,
    /// What it is to the tables, all in all.
    pub state: ServerState,
    /// What an operator ordered.
    pub admin: Admin,
    /// What the checks say.
    pub health: Health,
    /// Why it is in this state, in words.
    pub reason: Option<String>,
    /// Since when it has been in this state.
    pub since: Option<Time>,
    /// The last changes of `health`, at most 16 since the agent started, the oldest first.
    #[serde(default)]
    pub history: Vec<Transition>,
    /// What its own agent says (agent-check); null: it is not asked, or has not been heard.
    #[serde(default)]
    pub agent: Option<AgentStatus>,
    /// Where its frames are sent; null: not resolved, the kernel's tables decide per packet.
    pub next_hop: Option<NextHop>,
    /// Connections stored for it now.
    pub connections_active: u64,
    /// Connections ever given to it.
    pub connections_total: u64,
    /// Connections that wait for its answer while nothing else comes back from it either, as the last walk found; 0: it is not
    /// silent; null where replies do not pass (DR, tunnel).
    #[serde(default)]
    pub unanswered: Option<u64>,
    /// Packets from clients forwarded to it.
    pub packets: u64,
    /// Bytes of those packets, by their IP length.
    pub bytes: u64,
    /// Its replies seen on their way back; null where replies do not pass (DR, tunnel).
    pub reply_packets: Option<u64>,
    /// Bytes of those replies, by their IP length.
    pub reply_bytes: Option<u64>,
    /// Rates over the agent's last sampling interval; null before there are two samples.
    pub rates: Option<Rates>,
}

impl ServerStatus {
    /// Whether it takes new connections.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.state, ServerState::Up | ServerState::Starting)
    }

    /// Whether this is the same server at the same address, at another time.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.address == other.address
    }
}

/// A change of what the checks say of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When it happened.
    pub at: Time,
    /// What was known before.
    pub from: Health,
    /// What is known since.
    pub to: Health,
    /// What the check found that decided it.
    pub reason: String,
}

/// What a server's own agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The part of its configured weight that it takes, in steps of an eighth, rounded down.
    pub percent: u32,
    /// What it orders as an operator would.
    pub order: AgentOrder,
    /// Why it calls itself down; null: it does not.
    pub fault: Option<String>,
    /// The connections it is ready to have at once; null: it does not say.
    pub max_connections: Option<u32>,
    /// Why it did not answer when it was last asked, or what it said that means nothing; null: nothing.
    pub trouble: Option<String>,
}

/// The neighbour frames for a server are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// The interface they leave by.
    pub interface: String,
    /// The MAC address they carry, as `02:00:00:00:00:01`.
    pub mac: String,
}

/// What `xlvs servers` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServersReport {
    /// Always 1.
    pub schema: Schema,
    /// When the agent read the counters.
    pub at: Time,
    /// Every server's addresses of every service, in the order of the configuration.
    pub servers: Vec<ServerEntry>,
}

/// A server, and the service it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerEntry {
    /// The service's name.
    pub service: String,
    /// The server.
    #[serde(flatten)]
    pub status: ServerStatus,
}

impl From<&StatusReport> for ServersReport {
    fn from(status: &StatusReport) -> Self {
        let entries = status.services.iter().flat_map(|service| {
            service
                .servers
                .iter()
                .map(|server| ServerEntry { service: service.name.clone(), status: server.clone() })
        });
        Self { schema: Schema, at: status.at, servers: entries.collect() }
    }
}

//! `xlvs peers`: the other directors of the cluster, and how far they know what this one knows.

use super::{ClusterStanding, PeerAbsence, Schema, Time};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// What `xlvs peers` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeersReport {
    /// Always 1.
    pub schema: Schema,
    /// When it was looked at.
    pub at: Time,
    /// This director's part; null: it is alone.
    pub cluster: Option<ClusterStatus>,
    /// The other directors, by name.
    pub peers: Vec<PeerStatus>,
    /// What each service's connections come to among directors, by name.
    #[serde(default)]
    pub services: Vec<ServiceRecords>,
    /// What was not accepted, by reason, from whomever.
    pub refusals: BTreeMap<String, u64>,
    /// Connections of callers that were no director of this cluster.
    pub strangers_total: u64,
}

/// What directors have told each other of a service's connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecords {
    /// Its name.
    pub name: String,
    /// Connections that this director tells the others of.
    pub records_told: u64,
    /// Connections that it need not tell them of, because they would send them to the same server.
    pub records_spared: u64,
    /// Connections that others have told of.
    pub records_held: u64,
    /// Connections of others that the data path would go on with.
    pub replicas: u64,
}

impl ServiceRecords {
    /// A service of whose connections there is none.
    #[must_use]
    pub fn none_of(name: &str) -> Self {
        Self { name: name.to_owned(), records_told: 0, records_spared: 0, records_held: 0, replicas: 0 }
    }
}

/// A director's part in its cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// What it is called there.
    pub node: String,
    /// How far it is on its way into the cluster, or out of it.
    pub standing: ClusterStanding,
    /// Who decides what the servers are in: itself, another one, or (null) each director for itself.
    pub leader: Option<String>,
    /// How many other directors are configured.
    pub peers: u64,
    /// Of these, how many are connected.
    pub peers_connected: u64,
    /// And how many take longer to acknowledge than they should (`send = "ack"`).
    pub peers_late: u64,
    /// Connections that this director tells the others of.
    pub records_told: u64,
    /// Connections that it need not tell them of, because they would send them to the same server.
    pub records_spared: u64,
    /// Connections that others have told of.
    pub records_held: u64,
    /// Of those that are told, connections by full NAT, with their ports.
    pub ports_told: u64,
    /// Of those that others have told of, likewise.
    pub ports_held: u64,
    /// Of these, connections whose port is lent to another connection here, or rests: they would end with their director.
    pub ports_lent_otherwise: u64,
    /// Likewise, connections whose port is not in the pool that is in force here.
    pub ports_of_other_pools: u64,
    /// Sources whose clients come back to a server here, as the others are told.
    pub seats_told: u64,
    /// Likewise elsewhere, as others have told.
    pub seats_held: u64,
    /// Of the records that are held, how many wait for their service or server to be configured here.
    pub records_waiting: u64,
    /// Connections of others that the data path would go on with.
    pub replicas: u64,
    /// How often the data path had no room for one, since the agent started.
    pub replicas_without_room_total: u64,
}

/// Another director.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// What it is called.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether a session with it stands.
    pub connected: bool,
    /// Since when; null: it is not connected.
    pub since: Option<Time>,
    /// What shows that it is not connected; null: it is, or nobody has tried yet.
    pub absence: Option<PeerAbsence>,
    /// Since when that is so.
    pub absent_since: Option<Time>,
    /// How far it is on its own way; null: it is not connected.
    pub standing: Option<ClusterStanding>,
    /// Whether it is told of this director's connections (`scope`); null: it is not connected.
    pub told: Option<bool>,
    /// Whether it is told, and has acknowledged all of it; null: it is not connected.
    pub in_sync: Option<bool>,
    /// Whether it takes longer to acknowledge than it should (`send = "ack"`); null: it is not connected, or nobody asks.
    pub late: Option<bool>,
    /// Whether it would send what it has not been told of where this director does; null: it is not connected.
    pub in_step: Option<bool>,
    /// Connections that it has told of, also in an earlier life.
    pub records_held: u64,
    /// Changes that it has not been sent yet; null: it is not connected.
    pub untold: Option<u64>,
    /// Whether so much has changed that it will be sent what differs instead; null: it is not connected.
    pub stale: Option<bool>,
    /// Age of the oldest change that it has not acknowledged; 0: there is none; null: it is not connected.
    pub oldest_unacknowledged_seconds: Option<f64>,
    /// Parts of what it holds (of 4096) in which we differed when it last said; null: it is not connected.
    pub divergent_buckets: Option<u64>,
    /// For how long it did not know of connections that had settled, since the agent started.
    pub loss_window: LossWindow,
    /// What it was sent since the agent started, over all sessions.
    pub sent: PeerTraffic,
    /// What has come from it, likewise.
    pub received: PeerTraffic,
    /// What was not accepted of that, by reason.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
}

/// From the moment in which a connection settled until a director had acknowledged it: had this one died meanwhile, the connection
/// would have been lost unless the other derives it. Connections that the data path found no room to announce are not among these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossWindow {
    /// Half of them took at most so long; null: there were none, or it was longer than all bounds.
    pub p50_seconds: Option<f64>,
    /// Likewise 99 of 100.
    pub p99_seconds: Option<f64>,
    /// From the shortest to the longest.
    pub buckets: Vec<LossBucket>,
}

/// Those that took at most so long, and longer than the bucket before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LossBucket {
    /// Null: without a bound.
    pub up_to_seconds: Option<f64>,
    /// How many there were.
    pub connections_total: u64,
}

/// What went one way between two directors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PeerTraffic {
    /// Records; the ends of connections and repetitions are among them.
    pub records_total: u64,
    /// Bytes of messages, without what frames and TLS add.
    pub bytes_total: u64,
    /// Sessions in which all that differed at their beginning was told.
    pub snapshots_total: u64,
    /// Records in a second, over the last five; null: the agent has just started.
    #[serde(default)]
    pub records_per_second: Option<f64>,
    /// Bytes likewise.
    #[serde(default)]
    pub bytes_per_second: Option<f64>,
}

//! The JSON contract: what `xlvs VERB -o json` prints, what the agent answers on its socket and over HTTP.
//!
//! One set of types serves all three, so they cannot drift apart. The rules, fixed for schema 1:
//! every report is an object with `"schema": 1`; enums are strings and open, so a reader must expect
//! words it does not know; counters are integers that only grow; times are RFC 3339 in UTC; what is not
//! known is `null`, never left out and never a made-up zero. Fields may be added, none is renamed.

mod affinity;
mod capture;
mod change;
mod check;
mod cluster;
mod connections;
mod drops;
mod explain;
mod failure;
mod from_config;
mod hex;
mod operator;
mod peers;
mod rates;
mod schema;
mod server;
mod service;
mod stats;
mod status;
mod time;
mod words;

pub use affinity::{AffineSource, AffinityReport};
pub use capture::{CaptureReport, CapturedBytes, CapturedFrame};
pub use change::{Change, DiffReport, ReloadReport};
pub use check::CheckReport;
pub use cluster::ClusterReport;
pub use connections::{Connection, ConnectionsReport};
pub use drops::{Counted, DropsReport};
pub use explain::{Candidate, ExplainReport, ExplainedFrame};
pub use failure::{ErrorReport, Failure, Problem};
pub use hex::Hex;
pub use operator::{OverriddenServer, OverrideReport};
pub use peers::{
    ClusterStatus, LossBucket, LossWindow, PeerStatus, PeerTraffic, PeersReport, ServiceRecords,
};
pub use rates::Rates;
pub(crate) use rates::rate_of;
pub use schema::Schema;
pub use server::{AgentStatus, NextHop, ServerEntry, ServerStatus, ServersReport, Transition};
pub use service::{
    Listener, ListenerPort, QuicLb, Quorum, Refused, ServiceAffinity, ServiceStatus, ServicesReport,
};
pub use stats::{ServerRates, ServiceRates, StatsReport};
pub use status::{
    ConfigStatus, DataPathStatus, FlowTableStatus, FullNatStatus, InterfaceStatus, LastReload, StatusReport,
};
pub use time::{Time, time_of};
pub use words::{
    Admin, AgentOrder, ChangeKind, ClusterAction, ClusterStanding, ConnectionClass, Decision, Effect,
    FailureKind, ForwardMode, Health, OverrideAction, PeerAbsence, Protocol, ServerState, XdpMode,
};

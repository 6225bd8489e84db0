//! The requests and their answers.

use crate::api::{
    AffinityReport, CaptureReport, ConnectionsReport, DiffReport, DropsReport, ExplainReport, Failure, Hex,
    OverrideReport, PeersReport, Protocol, ReloadReport, StatusReport,
};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What the command line asks of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Request {
    /// The whole picture; answered by [`Report::Status`]. `services`, `servers` and `stats` are views of it.
    Status,
    /// Entries of the connection table; answered by [`Report::Connections`].
    Connections(ConnectionFilter),
    /// Sources that come back to their servers; answered by [`Report::Affinity`].
    Affinity(AffinityQuery),
    /// What was not forwarded, and why; answered by [`Report::Drops`].
    Drops,
    /// The other directors; answered by [`Report::Peers`].
    Peers,
    /// What would happen to a packet; answered by [`Report::Explain`].
    Explain(PacketQuery),
    /// What would happen to a frame; answered by [`Report::Explain`].
    ExplainFrame(FrameQuery),
    /// Capture frames; answered by [`Report::Capture`]. Goes on as long as somebody asks for more.
    BeginCapture(CaptureQuery),
    /// What was captured meanwhile; answered by [`Report::Capture`].
    GoOnCapturing {
        /// Its number.
        capture: u64,
    },
    /// Enough is captured; answered by [`Report::Capture`], with the last frames.
    EndCapture {
        /// Its number.
        capture: u64,
    },
    /// Put a file in force, or refuse it and change nothing; answered by [`Report::Reload`] once it is in force.
    Reload {
        /// An absolute path; absent: the file in force, read again.
        path: Option<PathBuf>,
    },
    /// What a reload of that file would change; changes nothing; answered by [`Report::Diff`].
    Diff {
        /// An absolute path; absent: the file in force, read again.
        path: Option<PathBuf>,
    },
    /// An operator's order for one server; answered by [`Report::Override`] once the tables follow it.
    Override(OverrideRequest),
    /// Detach, unpin and end; answered by [`Report::Down`] when nothing is attached any more.
    Down,
}

/// Which connections to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConnectionFilter {
    /// Only this service's.
    pub service: Option<String>,
    /// Only those on servers of this name.
    pub server: Option<String>,
    /// Only this client's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// At most so many; the report says how many match.
    pub limit: u64,
}

/// Which sources to list, or to forget.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AffinityQuery {
    /// Only those of this service's group.
    pub service: Option<String>,
    /// Only those that come back to servers of this name.
    pub server: Option<String>,
    /// Only the one that this client is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// At most so many; the report says how many match.
    pub limit: u64,
    /// Forget them: their next connections are given to any server.
    #[serde(default)]
    pub clear: bool,
}

/// A packet to explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacketQuery {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its source.
    pub source: SocketAddr,
    /// Its destination.
    pub destination: SocketAddr,
    /// The interface it comes in through; absent: the first that is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// A frame to explain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameQuery {
    /// From the Ethernet header on.
    pub frame: Hex,
    /// The interface it comes in through; absent: the first that is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// Which frames to capture; what is absent is of no matter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaptureQuery {
    /// Those of this service.
    pub service: Option<String>,
    /// Those that come from or go to this client, as they came or as they left.
    pub client: Option<EndQuery>,
    /// Likewise of this VIP.
    pub vip: Option<EndQuery>,
    /// Those with this verdict.
    pub verdict: Option<String>,
}

/// An end of a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndQuery {
    /// Its address.
    pub address: IpAddr,
    /// Its port; absent: any, or none.
    pub port: Option<u16>,
}

/// An order and whom it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideRequest {
    /// The service; absent: every service that has a server of that name.
    pub service: Option<String>,
    /// The server's name; absent: every server.
    #[serde(default)]
    pub server: Option<String>,
    /// The order.
    pub order: Order,
}

/// What an operator orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// No new connections.
    Drain,
    /// Undo drain and disable, not a weight.
    Enable,
    /// No new connections and no checks.
    Disable,
    /// Another weight.
    Weight(WeightOrder),
    /// Undo everything that was ordered.
    Clear,
}

/// The weight ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightOrder {
    /// This one, until it is ordered otherwise.
    Set(u16),
    /// The file's again.
    Config,
}

/// The agent's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// Done.
    #[serde(rename = "ok")]
    Ok(Report),
    /// Not done.
    #[serde(rename = "error")]
    Error(Failure),
}

/// What a request that was done comes back with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// To [`Request::Status`].
    Status(Box<StatusReport>),
    /// To [`Request::Connections`].
    Connections(ConnectionsReport),
    /// To [`Request::Affinity`].
    Affinity(AffinityReport),
    /// To [`Request::Drops`].
    Drops(DropsReport),
    /// To [`Request::Peers`].
    Peers(Box<PeersReport>),
    /// To [`Request::Explain`].
    Explain(Box<ExplainReport>),
    /// To the requests about a capture.
    Capture(CaptureReport),
    /// To [`Request::Reload`].
    Reload(ReloadReport),
    /// To [`Request::Diff`].
    Diff(DiffReport),
    /// To [`Request::Override`].
    Override(OverrideReport),
    /// To [`Request::Down`].
    Down {
        /// The agent's process, which ends now.
        pid: u32,
        /// Connections and seats that it has kept for the next one; `None`: it keeps none.
        #[serde(default)]
        kept: Option<u64>,
    },
}

impl From<Result<Report, Failure>> for Response {
    fn from(outcome: Result<Report, Failure>) -> Self {
        match outcome {
            Ok(report) => Self::Ok(report),
            Err(failure) => Self::Error(failure),
        }
    }
}

impl From<Response> for Result<Report, Failure> {
    fn from(response: Response) -> Self {
        match response {
            Response::Ok(report) => Ok(report),
            Response::Error(failure) => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, OverrideRequest, Request, Response, WeightOrder};
    use crate::api::{Failure, FailureKind};

    #[test]
    fn requests_look_as_documented() {
        let wire = |request: &Request| serde_json::to_string(request).unwrap();
        assert_eq!(wire(&Request::Status), r#"{"verb":"status"}"#);
        assert_eq!(wire(&Request::Reload { path: None }), r#"{"verb":"reload","path":null}"#);
        let request = Request::Override(OverrideRequest {
            service: Some("web".into()),
            server: Some("rs1".into()),
            order: Order::Weight(WeightOrder::Set(3)),
        });
        assert_eq!(
            wire(&request),
            r#"{"verb":"override","service":"web","server":"rs1","order":{"weight":{"set":3}}}"#
        );
        assert_eq!(serde_json::from_str::<Request>(&wire(&request)).unwrap(), request);
    }

    #[test]
    fn arguments_may_be_left_out_where_absence_means_something() {
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"verb":"reload"}"#).unwrap(),
            Request::Reload { path: None }
        );
    }

    #[test]
    fn an_error_looks_as_documented() {
        let response = Response::Error(Failure::new(FailureKind::NotFound, "no such service"));
        assert_eq!(
            serde_json::to_string(&response).unwrap(),
            r#"{"error":{"kind":"not_found","message":"no such service","problems":[]}}"#
        );
    }
}

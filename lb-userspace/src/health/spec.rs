//! What is asked, of whom, how often, and how many answers make a verdict.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use super::state::Thresholds;
use crate::config::{Knock, Probe, Tunnel};

/// One question to one server. Equal questions are asked once, whoever wants the answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// Whom to ask. The port is 0 where none is needed.
    pub target: SocketAddr,
    /// What to ask.
    pub ask: Ask,
    /// How the VIP is knocked at by the way that traffic goes, if it is: that must be answered as well.
    pub path: Option<Path>,
    /// The whole exchange, connection included, must be over by then.
    pub timeout: Duration,
}

/// The way that traffic goes: by direct routing, or through a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// What is knocked at; not empty.
    pub vips: Vec<SocketAddr>,
    pub knock: Knock,
    pub tunnel: Option<Tunnel>,
}

/// What to ask a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ask {
    /// Whether it works.
    Health(Probe),
    /// Likewise, by a program that is told about whom it is asked.
    Program { command: Vec<String>, subject: Subject },
    /// How it says itself that it is, by HAProxy's agent-check protocol; this is sent first.
    Agent(String),
}

/// A server in a service, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    pub service: String,
    pub server: String,
}

/// From the start of one probe to the start of the next, before jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// While the server is up, or nothing is known of it.
    pub up: Duration,
    /// While it is down.
    pub down: Duration,
}

/// One active check of one real server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    pub question: Question,
    pub rhythm: Rhythm,
    /// How many equal answers in a row change the verdict.
    pub thresholds: Thresholds,
}

/// How often a server's own agent is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSpec {
    pub question: Question,
    pub interval: Duration,
}

impl Path {
    /// Whether it is this port that is knocked at.
    pub fn is_at(&self, port: u16) -> bool {
        self.vips.iter().all(|vip| vip.port() == port)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.server)
    }
}

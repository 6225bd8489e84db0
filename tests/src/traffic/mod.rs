//! Real connections through the VIP, and what became of each of them.
//!
//! Servers answer with their own name, so a client knows which one it reached; echoed payloads are the oracle for
//! checksums and rewriting, since the kernels at both ends verify them. Client and servers each run on one thread of
//! their own inside their namespace, so a thousand connections cost two threads.

mod connection;
mod download;
mod echo_server;
mod handshakes;
mod outcome;
mod probe;
mod runner;
mod swarm;
mod udp;
mod wire;

pub use download::{Download, DownloadReport};
pub use echo_server::{EchoServer, Greeting};
pub use handshakes::{HandshakePlan, HandshakeReport, handshakes};
pub use outcome::{ConnectionReport, Fate, SwarmReport};
pub use probe::{Outage, Probe};
pub use runner::{Runner, at_most};
pub use swarm::{Activity, Swarm, SwarmPlan};
pub use udp::{UdpEchoServer, UdpReport, udp_flows};
pub use wire::numbered_payload;

//! One probe: ask one server once, within a deadline.
//!
//! # How sockets are closed
//!
//! A TCP probe is the side that closes first, so a plain close would leave a TIME_WAIT socket here for a minute:
//! 10,000 servers probed every two seconds would hold 300,000 of them. There is nothing to deliver and nothing to
//! protect, so a TCP probe closes with a reset (SO_LINGER 0), as HAProxy's checks do. An HTTP probe asks the server to
//! close and waits a moment for it: then TIME_WAIT is the server's (one per probe), and no reset appears in its logs.
//! A server that does not close in time is reset too.

mod agent;
mod dns;
mod exec;
mod grpc;
mod http;
mod path;
mod ping;
mod tcp;
mod tls;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::spec::{Ask, Question};
use super::state::Verdict;
use super::wire::Wire;
use crate::config::Probe;

pub use tls::unusable;

/// What probes share: files that are read once, and sockets.
#[derive(Default)]
pub struct Kit {
    tls: tls::Clients,
    wire: Option<Wire>,
}

impl Kit {
    /// Without a wire nobody can be asked by the way that traffic goes.
    pub fn new(wire: Option<Wire>) -> Self {
        Self { tls: tls::Clients::default(), wire }
    }
}

/// What one probe found out, and why, in a few words ("connect 10.77.2.21:80: connection refused").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed(String),
    Failed(String),
    /// This host lacked what the probe needs (descriptors, ports, memory): no fault of the server, and no verdict.
    /// Otherwise a director short of descriptors would declare every server dead.
    Untested(String),
}

impl Outcome {
    /// What this answer speaks for; `None` when it says nothing about the server.
    pub fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Passed(_) => Some(Verdict::Up),
            Self::Failed(_) => Some(Verdict::Down),
            Self::Untested(_) => None,
        }
    }

    /// With what was found before.
    fn after(self, found: &str) -> Self {
        match self {
            Self::Passed(reason) if !found.is_empty() => Self::Passed(format!("{found}; {reason}")),
            outcome => outcome,
        }
    }

    /// Why, in a few words.
    pub fn reason(&self) -> &str {
        match self {
            Self::Passed(reason) | Self::Failed(reason) | Self::Untested(reason) => reason,
        }
    }
}

/// Asks once. Returns within the question's timeout, whatever the server does.
///
/// Sockets are made by the calling thread, in its network namespace.
pub async fn probe(question: &Question, kit: &Kit) -> Outcome {
    let Question { target, ask, path, timeout } = question;
    let deadline = Deadline { at: Instant::now() + *timeout, allowed: *timeout };
    let outcome = match path {
        None => ask_server(*target, ask, kit, deadline).await,
        Some(path) if path::is_whole(*target, ask, path) => {
            path::probe(*target, ask, path, kit, deadline).await
        }
        Some(path) => match ask_server(*target, ask, kit, deadline).await {
            Ok(Outcome::Passed(found)) => {
                path::probe(*target, ask, path, kit, deadline).await.map(|outcome| outcome.after(&found))
            }
            outcome => outcome,
        },
    };
    outcome.unwrap_or_else(|outcome| outcome)
}

/// At its own address, by the kernel's routes.
async fn ask_server(
    target: SocketAddr,
    ask: &Ask,
    kit: &Kit,
    deadline: Deadline,
) -> Result<Outcome, Outcome> {
    match ask {
        Ask::Health(Probe::Tcp) => tcp::probe(target, deadline).await,
        Ask::Health(Probe::Http(http)) => http::probe(target, http, kit, deadline).await,
        Ask::Health(Probe::Udp(udp)) => udp::probe(target, udp, deadline).await,
        Ask::Health(Probe::Dns(dns)) => dns::probe(target, dns, deadline).await,
        Ask::Health(Probe::Grpc(grpc)) => grpc::probe(target, grpc, kit, deadline).await,
        Ask::Health(Probe::Ping) => ping::probe(target.ip(), deadline).await,
        // A program without a subject is not asked: see `Ask::Program`.
        Ask::Health(Probe::Exec(_)) => Err(Outcome::Untested("the program is not told whom to check".into())),
        Ask::Program { command, subject } => exec::probe(target, command, subject, deadline).await,
        Ask::Agent(send) => agent::probe(target, send, deadline).await,
    }
}

/// The end of an exchange, and how long it was given, for the reason.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// Runs one step of the exchange; `step` names it in the reason.
    async fn run<T>(self, step: &str, work: impl Future<Output = io::Result<T>>) -> Result<T, Outcome> {
        match tokio::time::timeout_at(self.at, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if is_our_own_shortage(&error) => {
                Err(Outcome::Untested(format!("{step}: {} on this host", describe(&error))))
            }
            Ok(Err(error)) => Err(Outcome::Failed(format!("{step}: {}", describe(&error)))),
            Err(_) => Err(Outcome::Failed(format!("{step}: no answer within {:?}", self.allowed))),
        }
    }
}

fn is_our_own_shortage(error: &io::Error) -> bool {
    const EAGAIN: i32 = 11; // connect(2): no free local port, or the routing cache is full
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const EADDRNOTAVAIL: i32 = 99;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(EAGAIN | ENOMEM | ENFILE | EMFILE | EADDRNOTAVAIL | ENOBUFS))
}

/// The kernel's words without Rust's "(os error N)", in lower case as the rest of the reason.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_well() {
        assert_eq!(describe(&io::Error::from_raw_os_error(111)), "connection refused");
        assert_eq!(describe(&io::Error::from_raw_os_error(113)), "no route to host");
        assert_eq!(describe(&io::Error::other("closed early")), "closed early");
    }

    #[tokio::test]
    async fn a_shortage_of_ours_is_no_verdict_on_the_server() {
        let deadline =
            Deadline { at: Instant::now() + Duration::from_secs(1), allowed: Duration::from_secs(1) };
        let failing = |code| async move { Err::<(), _>(io::Error::from_raw_os_error(code)) };
        let outcome = deadline.run("connect 10.0.0.1:80", failing(24)).await.expect_err("fails");
        assert_eq!(
            outcome,
            Outcome::Untested("connect 10.0.0.1:80: too many open files on this host".into())
        );
        let outcome = deadline.run("connect 10.0.0.1:80", failing(101)).await.expect_err("fails");
        assert_eq!(outcome, Outcome::Failed("connect 10.0.0.1:80: network is unreachable".into()));
    }
}

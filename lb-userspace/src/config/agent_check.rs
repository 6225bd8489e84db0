//! `[service.agent_check]`: servers that say how they are, by HAProxy's protocol.

use std::num::NonZeroU16;
use std::time::Duration;

use super::duration;
use super::health::{LONGEST, SHORTEST_INTERVAL, SHORTEST_TIMEOUT};
use super::port;
use super::source::Reported;
use super::table::{Entry, Layered};
use super::vocabulary::AGENT_CHECK;

/// Where a server's own agent listens, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCheck {
    /// Its TCP port on the server's address.
    pub port: NonZeroU16,
    /// From the start of one question to the start of the next.
    pub interval: Duration,
    /// How long an answer may take; never more than the interval.
    pub timeout: Duration,
    /// What is sent once connected; may be empty.
    pub send: String,
}

/// Reads the table by itself.
pub(super) fn read(entry: &Entry<'_>) -> Result<AgentCheck, Reported> {
    let table = Layered::new(entry.spot, Some(entry.table(&AGENT_CHECK)?), None);
    let port = table.require("port", "port = 9777", port::read);
    let interval = table.read_or("interval", Duration::from_secs(2), |entry| {
        duration::read(entry, SHORTEST_INTERVAL..=LONGEST)
    });
    let timeout = table.read("timeout", |entry| duration::read(entry, SHORTEST_TIMEOUT..=LONGEST));
    let send =
        table.read_or("send", String::new(), |entry| entry.text("send = \"web\\n\"").map(ToOwned::to_owned));
    let (port, interval, send) = (port?, interval?, send?);
    let timeout = timeout?.unwrap_or(interval.min(Duration::from_secs(1)));
    if timeout > interval {
        let what = format!(
            "the timeout ({}) is longer than the interval ({})",
            duration::show(timeout),
            duration::show(interval)
        );
        return Err(table.spot_of("timeout").problem(what, "make it at most as long"));
    }
    Ok(AgentCheck { port, interval, timeout, send })
}

//! `limits`: how much a service takes in a second.

use std::num::NonZeroU32;

use lb_common::rate::MOST_PER_SECOND;

use super::source::Reported;
use super::table::{Entry, Layered};
use super::vocabulary::LIMITS;

/// How much a service takes in a second, on all its listeners together. `None`: as much as comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// New connections, 1 to 1,000,000.
    pub connections: Option<NonZeroU32>,
    /// New connections of each source, likewise.
    pub source_connections: Option<NonZeroU32>,
    /// Packets of each source, likewise.
    pub source_packets: Option<NonZeroU32>,
    /// IPv4 clients with so many common bits are one source, 1 to 32.
    pub prefix_v4: u32,
    /// IPv6 clients with so many common bits are one source, 1 to 128.
    pub prefix_v6: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: None,
            source_connections: None,
            source_packets: None,
            prefix_v4: 32,
            // The smallest network that a host can have to itself.
            prefix_v6: 64,
        }
    }
}

impl Limits {
    /// Whether anything is limited.
    pub fn any(&self) -> bool {
        self.connections.or(self.source_connections).or(self.source_packets).is_some()
    }
}

/// Reads the table, if it is given.
pub(super) fn read(table: &Layered<'_>) -> Result<Limits, Reported> {
    let own = table.read("limits", |entry| entry.table(&LIMITS))?;
    let table = Layered::new(table.spot, own, None);
    let rate = |key, example: &'static str| {
        let read = |entry: &Entry<'_>| entry.integer(1, MOST_PER_SECOND, example);
        Ok(table.read(key, read)?.and_then(NonZeroU32::new))
    };
    let connections = rate("connections_per_second", "connections_per_second = 1000");
    let source_connections = rate("source_connections_per_second", "source_connections_per_second = 20");
    let source_packets = rate("source_packets_per_second", "source_packets_per_second = 10000");
    let default = Limits::default();
    let prefix_v4 =
        table.read_or("prefix_v4", default.prefix_v4, |entry| entry.integer(1, 32, "prefix_v4 = 32"));
    let prefix_v6 =
        table.read_or("prefix_v6", default.prefix_v6, |entry| entry.integer(1, 128, "prefix_v6 = 64"));
    Ok(Limits {
        connections: connections?,
        source_connections: source_connections?,
        source_packets: source_packets?,
        prefix_v4: prefix_v4?,
        prefix_v6: prefix_v6?,
    })
}

//! What became of connections, and how a whole swarm of them is summed up.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What became of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Open, and every answer so far was right and in time.
    Alive,
    /// The peer, or something that spoke for it, reset it.
    Reset,
    /// The peer ended it in good order, unasked.
    Closed,
    /// An answer has been missing for this long.
    Stalled(Duration),
    /// A server other than the one it began with answered.
    Misrouted { began: String, answered: String },
    /// An answer came that was not the one expected.
    Garbled(String),
    /// The kernel gave it up for another reason, such as a time-out or an unreachable host.
    Failed(String),
}

impl Fate {
    /// One word for the sum.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Stalled(_) => "stalled",
            Self::Misrouted { .. } => "misrouted",
            Self::Garbled(_) => "garbled",
            Self::Failed(_) => "failed",
        }
    }

    pub(super) fn of_error(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe => Self::Reset,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled(since) => write!(formatter, "stalled for {} ms", since.as_millis()),
            Self::Misrouted { began, answered } => write!(formatter, "misrouted from {began} to {answered}"),
            Self::Garbled(what) | Self::Failed(what) => write!(formatter, "{}: {what}", self.word()),
            _ => formatter.write_str(self.word()),
        }
    }
}

/// One connection at the moment of the report.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
    pub local_port: u16,
    /// The server that answered first.
    pub server: String,
    pub fate: Fate,
    /// Right echoes received.
    pub echoes: u64,
    /// Words of the server that nobody had asked for.
    pub pushes: u64,
    /// Words of the server that were subscribed to.
    pub ticks: u64,
    /// The longest time an answer was awaited, or a word that was due, the one awaited now included.
    pub longest_gap: Duration,
}

/// All connections of a swarm at the moment of the report.
#[derive(Clone, Debug)]
pub struct SwarmReport {
    pub connections: Vec<ConnectionReport>,
}

impl SwarmReport {
    /// How many have this fate, by its word.
    pub fn count(&self, word: &str) -> usize {
        self.connections.iter().filter(|connection| connection.fate.word() == word).count()
    }

    pub fn alive(&self) -> usize {
        self.count("alive")
    }

    /// Those that are not alive.
    pub fn broken(&self) -> impl Iterator<Item = &ConnectionReport> {
        self.connections.iter().filter(|connection| connection.fate != Fate::Alive)
    }

    pub fn all_alive(&self) -> bool {
        self.broken().next().is_none()
    }

    pub fn longest_gap(&self) -> Duration {
        self.connections.iter().map(|connection| connection.longest_gap).max().unwrap_or_default()
    }

    /// Words of servers that were subscribed to.
    pub fn ticks(&self) -> u64 {
        self.connections.iter().map(|connection| connection.ticks).sum()
    }

    pub fn echoes(&self) -> u64 {
        self.connections.iter().map(|connection| connection.echoes).sum()
    }

    /// How many connections each server got.
    pub fn by_server(&self) -> BTreeMap<&str, usize> {
        let mut servers = BTreeMap::new();
        for connection in &self.connections {
            *servers.entry(connection.server.as_str()).or_default() += 1;
        }
        servers
    }
}

impl fmt::Display for SwarmReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fates = BTreeMap::<&str, usize>::new();
        for connection in &self.connections {
            *fates.entry(connection.fate.word()).or_default() += 1;
        }
        write!(formatter, "{} connections", self.connections.len())?;
        for (word, count) in &fates {
            write!(formatter, ", {count} {word}")?;
        }
        write!(formatter, "; {} echoes, longest gap {} ms", self.echoes(), self.longest_gap().as_millis())?;
        for connection in self.broken().take(5) {
            write!(
                formatter,
                "\n  port {} at {}: {}",
                connection.local_port, connection.server, connection.fate
            )?;
        }
        Ok(())
    }
}

//! `replicate` and `replicate_after`: which connections of a service other directors are told of. A service inherits what
//! `[cluster]` says.

use std::time::Duration;

use super::choice;
use super::duration;
use super::source::Reported;
use super::table::{Entry, Layered};

/// As long as a connection may be idle.
const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);

/// Which connections of a service the other directors are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replication {
    /// Those that are, once they are old enough.
    pub which: Replicate,
    /// How old a connection must be, at most 2 h; zero: any that is established.
    pub after: Duration,
}

/// Which connections other directors are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicate {
    /// Every one.
    All,
    /// Those that the others would not derive: their tables are kept in step.
    Diverged,
    /// None: they end with this director.
    None,
}

/// What a table says of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    which: Option<Replicate>,
    after: Option<Duration>,
}

impl Said {
    /// What holds for a service that says this, in a cluster that says that.
    pub(super) fn within(self, cluster: Self) -> Replication {
        Replication {
            which: self.which.or(cluster.which).unwrap_or(Replicate::All),
            after: self.after.or(cluster.after).unwrap_or(Duration::ZERO),
        }
    }
}

/// Reads both keys, if they are given.
pub(super) fn read(table: &Layered<'_>) -> Result<Said, Reported> {
    let which = table.read("replicate", choice::read);
    let after = |entry: &Entry<'_>| duration::read(entry, Duration::ZERO..=LONGEST);
    let after = table.read("replicate_after", after);
    Ok(Said { which: which?, after: after? })
}

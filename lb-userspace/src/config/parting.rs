//! What becomes of a server's connections: `on_server_down`, `on_drain` and `on_remove`, each a word, or a word and how long
//! until then.

use std::fmt;
use std::time::Duration;

use lb_common::entry;

use super::choice;
use super::duration::{self, show};
use super::source::Reported;
use super::table::{Entry, Layered};
use super::vocabulary::PARTING;

/// What becomes of them in the end; or of clients that come back, by `affinity.on_server_down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// They stay until they end by themselves. Clients go there all the same.
    #[default]
    Keep,
    /// Whoever speaks on one gets a RST from the VIP, and connects anew. Datagrams go to another server. Clients are
    /// refused until theirs is back, or their time is over.
    Reset,
    /// The next packet of each goes to another server: which takes a datagram, and refuses a segment. Clients get
    /// another one, and stay there.
    Rehash,
}

impl From<Then> for entry::Then {
    fn from(then: Then) -> Self {
        match then {
            Then::Keep => Self::Keep,
            Then::Reset => Self::Reset,
            Then::Rehash => Self::Rehash,
        }
    }
}

/// The policy for one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parting {
    pub then: Then,
    /// From the cause on.
    pub after: Duration,
}

/// The policies of a service, by what happened to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Partings {
    /// It failed its check.
    pub down: Parting,
    /// It was drained or disabled by hand, or given no weight.
    pub drained: Parting,
    /// It was removed from the configuration, or the service was.
    pub removed: Parting,
}

/// A week.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Reads the three keys.
pub(super) fn read(table: &Layered<'_>) -> Result<Partings, Reported> {
    let down = table.read_or("on_server_down", Parting::default(), read_one);
    let drained = table.read_or("on_drain", Parting::default(), read_one);
    let removed = table.read_or("on_remove", Parting::default(), read_one);
    Ok(Partings { down: down?, drained: drained?, removed: removed? })
}

fn read_one(entry: &Entry<'_>) -> Result<Parting, Reported> {
    if entry.as_text().is_some() {
        return Ok(Parting { then: choice::read(entry)?, after: Duration::ZERO });
    }
    if entry.as_integer().is_some() {
        let example = format!("{} = \"keep\"", entry.key);
        return Err(entry.wrong_type("a word, or a table with then and after", &example));
    }
    let table = entry.table(&PARTING)?;
    let layered = Layered::new(table.spot, Some(table), None);
    let then = layered.require("then", "then = \"reset\"", choice::read::<Then>);
    let after = layered
        .read_or("after", Duration::ZERO, |entry| duration::read(entry, Duration::from_secs(1)..=LONGEST));
    match (then?, after?) {
        (Then::Keep, after) if after > Duration::ZERO => {
            let spot = layered.spot_of("after");
            Err(spot.problem(
                "what is kept is kept for ever",
                "remove after, or write then = \"reset\" or \"rehash\"",
            ))
        }
        (then, after) => Ok(Parting { then, after }),
    }
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.after.is_zero() {
            return self.then.fmt(f);
        }
        write!(f, "{} after {}", self.then, show(self.after))
    }
}

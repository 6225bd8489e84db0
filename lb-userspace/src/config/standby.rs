//! Who serves when others cannot: a server's tier, a service's quorum.

use std::fmt;
use std::num::NonZeroU8;

use super::choice;
use super::source::Reported;
use super::table::{Entry, Layered};
use super::vocabulary::QUORUM;

/// When a server is used: the first tier in which anybody can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Tier {
    /// Always.
    #[default]
    Primary,
    /// While nobody of the tiers before it can be.
    Backup(NonZeroU8),
    /// While nobody else can be, and without being checked: it says sorry.
    Sorry,
}

/// How much of a service must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    /// Below this share of the configured weight of its primary servers, in percent, the quorum is lost.
    pub percent: u8,
    /// So much more it takes to be regained, in percent.
    pub hysteresis: u8,
    pub below: Below,
}

/// What happens without a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Below {
    /// The backups serve in place of the primaries that are left, if one of them can.
    #[default]
    Backup,
    /// Nobody takes new connections, and the VIP leaves this host if the agent put it there.
    Withdraw,
}

impl Tier {
    const LAST: u32 = 9;
    const EXAMPLE: &'static str = "backup = true";

    pub(super) fn read(entry: &Entry<'_>) -> Result<Self, Reported> {
        const SECOND: NonZeroU8 = NonZeroU8::MIN;
        match (entry.as_text(), entry.as_integer()) {
            (Some("sorry"), _) => Ok(Self::Sorry),
            (Some(_), _) => {
                Err(entry.wrong_type("true, false, a tier from 1 to 9 or \"sorry\"", Self::EXAMPLE))
            }
            (None, Some(_)) => {
                let tier = entry.integer(1, Self::LAST, "backup = 2")?;
                Ok(Self::Backup(u8::try_from(tier).ok().and_then(NonZeroU8::new).unwrap_or(SECOND)))
            }
            (None, None) => Ok(if entry.boolean()? { Self::Backup(SECOND) } else { Self::Primary }),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("false"),
            Self::Backup(tier) => tier.fmt(f),
            Self::Sorry => f.write_str("sorry"),
        }
    }
}

/// Reads the table, if it is given.
pub(super) fn read_quorum(table: &Layered<'_>) -> Result<Option<Quorum>, Reported> {
    let Some(own) = table.read("quorum", |entry| entry.table(&QUORUM))? else { return Ok(None) };
    let table = Layered::new(own.spot, Some(own), None);
    let percent = table.require("percent", "percent = 50", |entry| entry.integer(1, 100, "percent = 50"));
    let hysteresis = table.read_or("hysteresis", 0, |entry| entry.integer(0, 99, "hysteresis = 10"));
    let below = table.read_or("below", Below::Backup, choice::read);
    let (percent, hysteresis, below) = (percent?, hysteresis?, below?);
    if percent + hysteresis > 100 {
        let what = format!("a quorum of {percent} and {hysteresis} % more can never be regained");
        return Err(table.spot_of("hysteresis").problem(what, "write values whose sum is at most 100"));
    }
    Ok(Some(Quorum { percent: percent as u8, hysteresis: hysteresis as u8, below }))
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %, {} % more to regain it, below: {}", self.percent, self.hysteresis, self.below)
    }
}

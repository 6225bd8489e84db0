//! `[service.health]`: how the servers of a service are checked.

use std::time::Duration;

use super::choice::{self, HealthKind};
use super::duration::{self, show};
use super::listener::Protocol;
use super::model::{Check, Health, Mode, Via};
use super::port;
use super::probe;
use super::source::Reported;
use super::table::Layered;

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
pub(super) const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
pub(super) const LONGEST: Duration = Duration::from_secs(60 * 60);
/// More in a row than anybody waits for.
const MOST_IN_A_ROW: u32 = 255;

/// What a check depends on in its service; `None` if that could not be read.
#[derive(Clone, Copy)]
pub(super) struct Checked<'a> {
    pub(super) port: Option<PortToCheck>,
    pub(super) protocols: Option<&'a [Protocol]>,
    pub(super) mode: Option<Mode>,
}

/// Which port a check tries that names none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PortToCheck {
    /// The server's own, or the only one of the service.
    Known,
    /// The service listens on several, and not every server has a port of its own.
    OneOfSeveral,
    /// The service listens on every port.
    Any,
}

pub(super) fn read(table: Layered<'_>, service: Checked<'_>) -> Result<Health, Reported> {
    let kind = kind(&table, service);
    let port = table.read("port", port::read);
    let via = read_via(&table, service.mode);
    let schedule = read_schedule(&table);
    let kind = kind?;
    let Some(probe) = probe::read(&table, kind)? else {
        schedule.and(port).and(via)?;
        return Ok(Health::Off);
    };
    if port.is_ok_and(|port| port.is_none()) {
        require_port(&table, kind, service)?;
    }
    let Schedule { interval, interval_down, timeout, rise, fall } = schedule?;
    Ok(Health::Checked(Box::new(Check {
        probe,
        port: port?,
        via: via?,
        interval,
        interval_down,
        timeout,
        rise,
        fall,
    })))
}

/// A TCP service is checked by opening connections unless it says otherwise. For UDP no check would be
/// right by itself, so one must be chosen.
fn kind(table: &Layered<'_>, service: Checked<'_>) -> Result<HealthKind, Reported> {
    match (table.read("kind", choice::read)?, service.protocols) {
        (Some(kind), _) => Ok(kind),
        (None, Some(protocols)) if !protocols.contains(&Protocol::Tcp) => {
            let remedy = "add [service.health] with kind = \"udp\", \"dns\" or \"none\", or kind = \"tcp\" and the port to check";
            Err(table.spot.missing("a UDP service must name its health check", remedy))
        }
        (None, _) => Ok(HealthKind::Tcp),
    }
}

/// A check that speaks TCP or UDP needs a port at which the servers do.
fn require_port(table: &Layered<'_>, kind: HealthKind, service: Checked<'_>) -> Result<(), Reported> {
    let Some(speaks) = kind.speaks() else { return Ok(()) };
    let speaks_otherwise = service.protocols.is_some_and(|protocols| !protocols.contains(&speaks));
    let why = match service {
        _ if speaks_otherwise && speaks == Protocol::Tcp => "the check speaks TCP, the service UDP",
        _ if speaks_otherwise => "the check speaks UDP, the service TCP",
        Checked { port: Some(PortToCheck::Any), .. } => {
            "the service takes any port, so there is none to check"
        }
        Checked { port: Some(PortToCheck::OneOfSeveral), .. } => {
            "the service has several ports, so it must be said which to check"
        }
        _ => return Ok(()),
    };
    let (port, name) = if speaks == Protocol::Tcp { (80, "TCP") } else { (53, "UDP") };
    let remedy =
        format!("add port = {port} to [service.health], the {name} port to check, or kind = \"none\"");
    Err(table.spot.missing(why, remedy))
}

/// By DR and through a tunnel a server may be well and yet not take what is sent to the VIP. Elsewhere the VIP is none of its
/// concern; what is inherited is left alone.
fn read_via(table: &Layered<'_>, mode: Option<Mode>) -> Result<Via, Reported> {
    let Some(mode @ (Mode::Nat | Mode::FullNat)) = mode else {
        return table.read_or("via", Via::Vip, choice::read);
    };
    match table.get_own("via") {
        Some(entry) if choice::read::<Via>(&entry)? == Via::Vip => {
            let what = format!("in mode {mode} servers do not have the VIP");
            Err(entry.problem(what, "remove it, checks go to their own addresses"))
        }
        _ => Ok(Via::Address),
    }
}

struct Schedule {
    interval: Duration,
    interval_down: Duration,
    timeout: Duration,
    rise: u32,
    fall: u32,
}

fn read_schedule(table: &Layered<'_>) -> Result<Schedule, Reported> {
    let interval =
        table.read_or("interval", INTERVAL, |entry| duration::read(entry, SHORTEST_INTERVAL..=LONGEST));
    let down = table.read("interval_down", |entry| duration::read(entry, SHORTEST_INTERVAL..=LONGEST));
    let timeout = table.read("timeout", |entry| duration::read(entry, SHORTEST_TIMEOUT..=LONGEST));
    let rise = table.read_or("rise", 2, |entry| entry.integer(1, MOST_IN_A_ROW, "rise = 2"));
    let fall = table.read_or("fall", 3, |entry| entry.integer(1, MOST_IN_A_ROW, "fall = 3"));
    let (interval, down) = (interval?, down?);
    let interval_down = down.unwrap_or(interval);
    let timeout = timeout?.unwrap_or(TIMEOUT.min(interval).min(interval_down));
    for (key, interval) in [("interval", interval), ("interval_down", interval_down)] {
        if timeout > interval {
            // Point at the one that the service itself has chosen.
            let chosen =
                table.get_own("timeout").or_else(|| table.get_own(key)).or_else(|| table.get("timeout"));
            let spot = chosen.map_or(table.spot, |entry| entry.spot);
            let what =
                format!("the timeout ({}) is longer than the {key} ({})", show(timeout), show(interval));
            return Err(spot.problem(what, "make it at most as long: a check ends before the next begins"));
        }
    }
    Ok(Schedule { interval, interval_down, timeout, rise: rise?, fall: fall? })
}

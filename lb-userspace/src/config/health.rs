//! `[service.health]`: how the servers of a service are checked.

use std::time::Duration;

use super::choice::{self, HealthKind};
use super::duration::{self, show};
use super::model::{Check, Health, HttpProbe, Probe};
use super::port;
use super::source::Reported;
use super::status::StatusSet;
use super::table::{Entry, Layered, quoted};

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// More in a row than anybody waits for.
const MOST_IN_A_ROW: u32 = 255;

/// What a check depends on in its service; `None` if that could not be read.
#[derive(Clone, Copy)]
pub(super) struct Checked {
    pub(super) port: Option<PortToCheck>,
    /// Whether it has a TCP listener.
    pub(super) speaks_tcp: Option<bool>,
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

pub(super) fn read(table: Layered<'_>, service: Checked) -> Result<Health, Reported> {
    let kind = kind(&table, service);
    let port = table.read("port", port::read);
    let schedule = read_schedule(&table);
    let http = read_http(&table);
    let probe = match kind? {
        HealthKind::None => {
            http.and(schedule).and(port)?;
            return Ok(Health::Off);
        }
        HealthKind::Http => Probe::Http(http?),
        HealthKind::Tcp => {
            refuse_http_keys(&table).and(http)?;
            Probe::Tcp
        }
    };
    if port.is_ok_and(|port| port.is_none()) {
        require_port(&table, service)?;
    }
    let Schedule { interval, timeout, rise, fall } = schedule?;
    Ok(Health::Checked(Check { probe, port: port?, interval, timeout, rise, fall }))
}

/// A TCP service is checked by opening connections unless it says otherwise. For UDP no check would be
/// right by itself, so one must be chosen.
fn kind(table: &Layered<'_>, service: Checked) -> Result<HealthKind, Reported> {
    match (table.read("kind", choice::read)?, service.speaks_tcp) {
        (Some(kind), _) => Ok(kind),
        (None, Some(false)) => {
            let remedy = "add [service.health] with kind = \"none\", or kind = \"tcp\" and the port to check";
            Err(table.spot.missing("a UDP service must name its health check", remedy))
        }
        (None, _) => Ok(HealthKind::Tcp),
    }
}

/// Both kinds of check speak TCP: they need a port at which the servers do.
fn require_port(table: &Layered<'_>, service: Checked) -> Result<(), Reported> {
    let why = match service {
        Checked { speaks_tcp: Some(false), .. } => "the check speaks TCP, the service UDP",
        Checked { port: Some(PortToCheck::Any), .. } => {
            "the service takes any port, so there is none to check"
        }
        Checked { port: Some(PortToCheck::OneOfSeveral), .. } => {
            "the service has several ports, so it must be said which to check"
        }
        _ => return Ok(()),
    };
    let remedy = "add port = 80 to [service.health], the TCP port to check, or kind = \"none\"";
    Err(table.spot.missing(why, remedy))
}

struct Schedule {
    interval: Duration,
    timeout: Duration,
    rise: u32,
    fall: u32,
}

fn read_schedule(table: &Layered<'_>) -> Result<Schedule, Reported> {
    let interval =
        table.read_or("interval", INTERVAL, |entry| duration::read(entry, SHORTEST_INTERVAL..=LONGEST));
    let timeout = table.read("timeout", |entry| duration::read(entry, SHORTEST_TIMEOUT..=LONGEST));
    let rise = table.read_or("rise", 2, |entry| entry.integer(1, MOST_IN_A_ROW, "rise = 2"));
    let fall = table.read_or("fall", 3, |entry| entry.integer(1, MOST_IN_A_ROW, "fall = 3"));
    let interval = interval?;
    let timeout = timeout?.unwrap_or(TIMEOUT.min(interval));
    if timeout > interval {
        // Point at the one that the service itself has chosen.
        let chosen =
            table.get_own("timeout").or_else(|| table.get_own("interval")).or_else(|| table.get("timeout"));
        let spot = chosen.map_or(table.spot, |entry| entry.spot);
        let what =
            format!("the timeout ({}) is longer than the interval ({})", show(timeout), show(interval));
        return Err(spot.problem(what, "make it at most as long: a check ends before the next begins"));
    }
    Ok(Schedule { interval, timeout, rise: rise?, fall: fall? })
}

fn read_http(table: &Layered<'_>) -> Result<HttpProbe, Reported> {
    let path = table.read_or("path", "/".to_owned(), read_path);
    let host = table.read("host", read_host);
    let expect = table.read_or("expect", StatusSet::default(), StatusSet::read);
    Ok(HttpProbe { path: path?, host: host?, expect: expect? })
}

/// Inherited keys are left alone: `[defaults.health]` may serve services of both kinds.
fn refuse_http_keys(table: &Layered<'_>) -> Result<(), Reported> {
    let mut result = Ok(());
    for entry in ["path", "host", "expect"].into_iter().filter_map(|key| table.get_own(key)) {
        let what = format!("{} has no meaning for kind = \"tcp\"", entry.key);
        result = Err(entry.problem(what, "remove it, or write kind = \"http\""));
    }
    result
}

fn read_path(entry: &Entry<'_>) -> Result<String, Reported> {
    let text = entry.text("path = \"/healthz\"")?;
    if !text.starts_with('/') {
        let what = format!("the path {} does not begin with /", quoted(text));
        let path = text
            .split_once("://")
            .map_or(text, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
        return Err(entry.problem(what, format!("write path = {}", quoted(&format!("/{path}")))));
    }
    visible_ascii(entry, text, "percent-encode all but visible ASCII")
}

fn read_host(entry: &Entry<'_>) -> Result<String, Reported> {
    let text = entry.text("host = \"www.example.org\"")?;
    if text.is_empty() {
        return Err(entry.problem("host is empty", "remove it, or write the name the server expects"));
    }
    visible_ascii(entry, text, "write a host name, in Punycode if need be")
}

fn visible_ascii(entry: &Entry<'_>, text: &str, remedy: &str) -> Result<String, Reported> {
    match text.chars().find(|character| !character.is_ascii_graphic()) {
        None => Ok(text.to_owned()),
        Some(odd) => {
            let what = format!("{} = {} holds the character {odd:?}", entry.key, quoted(text));
            Err(entry.problem(what, remedy))
        }
    }
}

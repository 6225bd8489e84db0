//! Ports: of a listener, of a server, of a check.

use std::num::NonZeroU16;

use super::listed;
use super::model::ListenPort;
use super::source::{Placed, Reported};
use super::table::{Entry, quoted};

/// Ports of a service at each of its VIPs: each takes an entry in a map of the data path.
const MOST_PORTS: usize = 4096;

/// The port of a server or of a check.
pub(super) fn read(entry: &Entry<'_>) -> Result<NonZeroU16, Reported> {
    if let Some(text) = entry.as_text() {
        return Err(text_instead_of_port(entry, text));
    }
    let value =
        entry.as_integer().ok_or_else(|| entry.wrong_type("a number from 1 to 65535", "port = 80"))?;
    u16::try_from(value).ok().and_then(NonZeroU16::new).ok_or_else(|| {
        let what = format!("port {} is out of range", entry.found());
        entry.problem(what, "write a number from 1 to 65535")
    })
}

/// The ports of a service, in order: a number, a range, a list of such, or "any".
pub(super) fn read_listen<'a>(entry: &Entry<'a>) -> Result<Vec<Placed<'a, ListenPort>>, Reported> {
    let ports = listed::read(entry, "port = 80", |item| {
        if entry.is_list() && item.as_text() == Some("any") {
            let what = "\"any\" stands for every port, so nothing can stand beside it";
            return Err(item.problem(what, "write port = \"any\", or the ports without it"));
        }
        read_listen_port(item)
    })?;
    let count: usize = ports.iter().map(|port| port.value.each().len()).sum();
    if count > MOST_PORTS {
        let what = format!("{count} ports are more than the {MOST_PORTS} a service may have at a VIP");
        return Err(entry.problem(what, "write fewer, or port = \"any\""));
    }
    without_overlaps(ports)
}

/// A range of ports; `None` for what is a port or "any".
pub(super) fn read_range(entry: &Entry<'_>) -> Result<Option<ListenPort>, Reported> {
    read_listen_port(entry).map(|port| Some(port).filter(|port| matches!(port, ListenPort::Range(_))))
}

fn read_listen_port(entry: &Entry<'_>) -> Result<ListenPort, Reported> {
    let Some(text) = entry.as_text() else { return read(entry).map(ListenPort::Fixed) };
    if text == "any" {
        return Ok(ListenPort::Any);
    }
    let Some((first, last)) = range(text) else { return Err(text_instead_of_port(entry, text)) };
    let port = |number: u32| u16::try_from(number).ok().and_then(NonZeroU16::new);
    let (Some(lowest), Some(highest)) = (port(first), port(last)) else {
        let what = format!("the port range {} is out of range", quoted(text));
        return Err(entry.problem(what, "write numbers from 1 to 65535"));
    };
    ListenPort::of_bounds(lowest, highest).ok_or_else(|| {
        let what = format!("the port range {} ends before it begins", quoted(text));
        entry.problem(what, format!("write \"{last}-{first}\""))
    })
}

/// Two numbers with a hyphen between them, or with the colon of iptables.
fn range(text: &str) -> Option<(u32, u32)> {
    let (first, last) = text.split_once(['-', ':'])?;
    Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
}

/// Puts the ports into order and reports each that stands in another entry of the list, too.
fn without_overlaps(mut ports: Vec<Placed<'_, ListenPort>>) -> Result<Vec<Placed<'_, ListenPort>>, Reported> {
    // Stable: of two equal ones the later stays the later.
    ports.sort_by_key(|port| port.value.bounds());
    let mut outcome = Ok(());
    let mut highest: Option<Placed<'_, ListenPort>> = None;
    for port in &ports {
        let before = highest.filter(|before| port.value.bounds().0 <= before.value.bounds().1);
        if let Some(before) = before {
            let (earlier, later) =
                if before.spot.is_after(port.spot) { (*port, before) } else { (before, *port) };
            let what = match earlier.value == later.value {
                true => format!("port {} is given twice", later.value),
                false => format!("port {} overlaps {}", later.value, earlier.value),
            };
            outcome = Err(later.spot.problem(what, "name each port once"));
        }
        if highest.is_none_or(|highest| highest.value.bounds().1 <= port.value.bounds().1) {
            highest = Some(*port);
        }
    }
    outcome.map(|()| ports)
}

fn text_instead_of_port(entry: &Entry<'_>, text: &str) -> Reported {
    let what = format!("port is a text ({}), a number is wanted", quoted(text));
    let remedy = match text.trim().parse::<NonZeroU16>() {
        Ok(port) => format!("write port = {port}"),
        Err(_) if text.eq_ignore_ascii_case("any") && entry.key == "port" => {
            "write a number, or port = \"any\" for every port of a service".to_owned()
        }
        Err(_) => "write a number from 1 to 65535".to_owned(),
    };
    entry.problem(what, remedy)
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn a_range_is_two_numbers() {
        assert_eq!(range("8000-8099"), Some((8000, 8099)));
        assert_eq!(range("8000 : 8099"), Some((8000, 8099)));
        for text in ["8000", "8000-", "-8099", "http-https", "1-2-3"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}

//! Ports: of a listener, of a server, of a check.

use std::num::NonZeroU16;

use super::model::ListenPort;
use super::source::Reported;
use super::table::{Entry, quoted};

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

/// The port of a service: a number or "any".
pub(super) fn read_listen(entry: &Entry<'_>) -> Result<ListenPort, Reported> {
    if entry.is_list() {
        let what = "a list of ports is not offered yet";
        return Err(entry.problem(what, "write one [[service]] for each port, or port = \"any\""));
    }
    match entry.as_text() {
        Some("any") => Ok(ListenPort::Any),
        Some(text) if is_range(text) => {
            let what = format!("a port range ({}) is not offered yet", quoted(text));
            Err(entry.problem(what, "write one [[service]] for each port, or port = \"any\""))
        }
        _ => read(entry).map(ListenPort::Fixed),
    }
}

fn is_range(text: &str) -> bool {
    text.split_once(['-', ':']).is_some_and(|(first, last)| {
        first.trim().parse::<u32>().is_ok() && last.trim().parse::<u32>().is_ok()
    })
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

//! `quic_lb` and `server_id`: how connection ids of QUIC name the servers.

use std::fmt;
use std::sync::Arc;

use lb_common::entry::QuicFormat;

use super::source::{Placed, Reported};
use super::table::{Entry, Layered};
use super::vocabulary::QUIC_LB;

/// What connection ids call a server: 1 to 15 octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QuicId(Arc<[u8]>);

impl QuicId {
    const EXAMPLE: &'static str = "server_id = \"0a1b\"";

    /// As they stand in a connection id.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// Reads it in hexadecimal digits, two an octet.
    pub(super) fn read<'a>(entry: &Entry<'a>) -> Result<Placed<'a, Self>, Reported> {
        let text = entry.text(Self::EXAMPLE)?;
        let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let octets: Option<Arc<[u8]>> = text.as_bytes().chunks(2).map(octet).collect();
        match octets {
            Some(octets) if digits && text.len().is_multiple_of(2) && !octets.is_empty() => {
                Ok(Placed { value: Self(octets), spot: entry.spot })
            }
            _ => Err(entry.problem(
                format!("server_id = {} is not in hexadecimal, two digits an octet", entry.found()),
                format!("write {}", Self::EXAMPLE),
            )),
        }
    }
}

impl fmt::Display for QuicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Reads the service's table, if it is given.
pub(super) fn read<'a>(table: &Layered<'a>) -> Result<Option<Placed<'a, QuicFormat>>, Reported> {
    let Some(entry) = table.get("quic_lb") else { return Ok(None) };
    let own = Layered::new(entry.spot, Some(entry.table(&QUIC_LB)?), None);
    let config = own.require("config_id", "config_id = 0", |entry| {
        entry.integer(0, QuicFormat::LAST_CONFIG.into(), "config_id = 0")
    });
    let length = own.require("server_id_length", "server_id_length = 2", |entry| {
        entry.integer(1, QuicFormat::LONGEST.into(), "server_id_length = 2")
    });
    let (config, length) = (config?, length?);
    Ok(QuicFormat::new(config as u8, length as u8).map(|value| Placed { value, spot: entry.spot }))
}

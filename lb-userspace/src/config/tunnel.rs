//! `tunnel` of a service in tunnel mode: what is put around a packet, and from where it is sent.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use super::address::{self, Family};
use super::choice::{self, Choice};
use super::listed;
use super::model::Mode;
use super::port;
use super::source::Reported;
use super::table::{Entry, Layered};
use super::vocabulary::TUNNEL;

/// How packets get into a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Tunnel {
    /// What is put around a packet.
    pub encapsulation: Encapsulation,
    /// The outer source, at most one of a family; where there is none, the address that the route to the server prefers.
    pub sources: Vec<IpAddr>,
}

/// What is put around a packet, before the outer IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encapsulation {
    /// Nothing.
    #[default]
    Ipip,
    /// UDP to this port of the server.
    Gue(NonZeroU16),
}

/// The port assigned to GUE by IANA.
const GUE: NonZeroU16 = NonZeroU16::new(6080).unwrap();

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ipip,
    Gue,
}

impl Choice for Kind {
    const OFFERED: &'static [(&'static str, Self)] = &[("ipip", Self::Ipip), ("gue", Self::Gue)];
    const LATER: &'static [&'static str] = &["gre"];
    const FOREIGN: &'static [(&'static str, &'static str, &'static str)] = &[
        ("iproute2 calls", "ip6tnl", "ipip"),
        ("iproute2 calls", "sit", "ipip"),
        ("iproute2 calls", "fou", "gue"),
        ("others call", "ip6ip6", "ipip"),
        ("others call", "ipip6", "ipip"),
        ("others call", "udp", "gue"),
    ];
}

impl Tunnel {
    /// The configured source of this family.
    pub fn source(&self, family: Family) -> Option<IpAddr> {
        self.sources.iter().copied().find(|source| Family::of(*source) == family)
    }
}

/// Reads the tunnel of a service: there is one in tunnel mode alone.
pub(super) fn read(table: &Layered<'_>, mode: Option<Mode>) -> Result<Option<Tunnel>, Reported> {
    match (mode, table.get_own("tunnel")) {
        (Some(Mode::Tunnel), _) => {
            table.read("tunnel", |entry| read_table(entry)).map(Option::unwrap_or_default).map(Some)
        }
        (Some(mode), Some(entry)) => Err(entry.problem(
            format!("in mode {mode} packets go through no tunnel"),
            "remove it, or write mode = \"tunnel\"",
        )),
        // What is wrong with the mode is told there.
        (None, Some(entry)) => read_table(&entry).map(Some),
        (_, None) => Ok(None),
    }
}

/// Reads the table by itself.
pub(super) fn read_table(entry: &Entry<'_>) -> Result<Tunnel, Reported> {
    let table = Layered::new(entry.spot, Some(entry.table(&TUNNEL)?), None);
    let kind = table.read_or("kind", Kind::Ipip, choice::read);
    let port = table.read("port", port::read);
    let sources = table.read("source", |entry| {
        address::read_one_of_each(entry, "source = \"192.0.2.2\"", "the tunnel has two", "write one of them")
    });
    let encapsulation = match (kind?, table.get("port")) {
        (Kind::Ipip, Some(entry)) => {
            Err(entry.problem("IP in IP has no ports", "remove it, or write kind = \"gue\""))
        }
        (Kind::Ipip, None) => Ok(Encapsulation::Ipip),
        (Kind::Gue, _) => port.map(|port| Encapsulation::Gue(port.unwrap_or(GUE))),
    };
    Ok(Tunnel { encapsulation: encapsulation?, sources: listed::values(&sources?.unwrap_or_default()) })
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipip => f.write_str("ipip"),
            Self::Gue(port) => write!(f, "gue port {port}"),
        }
    }
}

impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.encapsulation)?;
        self.sources.iter().try_for_each(|source| write!(f, " from {source}"))
    }
}

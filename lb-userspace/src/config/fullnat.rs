//! `[fullnat]`: what full NAT sends from.

use std::fmt;

use lb_common::entry::Pool;
use lb_common::flow_table::BUCKET_SLOTS;

use super::address::{Family, SourceAddress};
use super::listed;
use super::model::ListenPort;
use super::port;
use super::source::{Placed, Reported};
use super::table::{Entry, Layered};

/// Two buckets, from which a connection has a choice.
const FEWEST_PORTS: u32 = 16;
/// Ports below are those of services.
const LOWEST_PORT: u16 = 1024;

/// What full NAT sends from: the same ports of each of these addresses. Empty: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FullNat {
    /// None of them is a VIP or a server's; at most [`Pool::ADDRESSES`].
    pub addresses: Vec<SourceAddress>,
    pub ports: Ports,
}

/// The ports of each address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    pub first: u16,
    pub last: u16,
}

/// The table as far as it could be read.
pub(super) struct Draft<'a> {
    pub(super) addresses: Result<Vec<Placed<'a, SourceAddress>>, Reported>,
    ports: Result<Ports, Reported>,
}

impl Default for Ports {
    fn default() -> Self {
        Self { first: LOWEST_PORT, last: u16::MAX }
    }
}

impl Ports {
    /// How many are used: whole buckets.
    pub fn count(self) -> u32 {
        let slots = BUCKET_SLOTS as u32;
        (u32::from(self.last) + 1 - u32::from(self.first)) / slots * slots
    }
}

impl FullNat {
    /// Whether connections of this family can be sent.
    pub fn has(&self, family: Family) -> bool {
        self.addresses.iter().any(|address| address.family() == family)
    }

    /// Ports of all addresses together.
    pub fn size(&self) -> u32 {
        self.addresses.len() as u32 * self.ports.count()
    }
}

pub(super) fn read(table: Layered<'_>) -> Draft<'_> {
    Draft {
        addresses: table.read_or("addresses", Vec::new(), read_addresses),
        ports: table.read_or("ports", Ports::default(), read_ports),
    }
}

impl Draft<'_> {
    pub(super) fn finish(self) -> Result<FullNat, Reported> {
        Ok(FullNat { addresses: listed::values(&self.addresses?), ports: self.ports? })
    }
}

fn read_addresses<'a>(entry: &Entry<'a>) -> Result<Vec<Placed<'a, SourceAddress>>, Reported> {
    let addresses = SourceAddress::read(entry)?;
    if addresses.len() > Pool::ADDRESSES {
        let what =
            format!("{} addresses are more than the {} there is room for", addresses.len(), Pool::ADDRESSES);
        return Err(entry.problem(what, "write fewer, with more ports each"));
    }
    Ok(addresses)
}

fn read_ports(entry: &Entry<'_>) -> Result<Ports, Reported> {
    let remedy = "write a range from 1024 to 65535, such as ports = \"16384-65535\"";
    let Some(ports @ ListenPort::Range(_)) = port::read_range(entry)? else {
        return Err(entry.problem(format!("ports = {} is no range", entry.found()), remedy));
    };
    let (first, last) = ports.bounds();
    let ports = Ports { first, last };
    if first < LOWEST_PORT {
        return Err(entry.problem(format!("the ports {ports} reach below 1024, where services are"), remedy));
    }
    if ports.count() < FEWEST_PORTS {
        let what = format!("the ports {ports} are too few, at least {FEWEST_PORTS} are needed");
        return Err(entry.problem(what, remedy));
    }
    Ok(ports)
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_buckets_are_used() {
        assert_eq!(Ports::default().count(), 64_512);
        assert_eq!(Ports { first: 1024, last: 1024 + 22 }.count(), 16);
    }
}

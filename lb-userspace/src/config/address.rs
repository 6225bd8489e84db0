//! Addresses: of a service (the VIP) and of a real server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::source::Reported;
use super::table::{Entry, quoted};

/// A virtual address: unicast, not loopback. IPv4 in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vip(IpAddr);

/// The address of a real server: unicast, not loopback. IPv4 in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerAddress(IpAddr);

impl Vip {
    /// The address itself.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    pub(super) fn read(entry: &Entry<'_>) -> Result<Self, Reported> {
        if entry.is_list() {
            let remedy = "write one [[service]] for each address";
            return Err(entry.problem("a list of VIPs is not offered yet", remedy));
        }
        read(entry, "vip = \"192.0.2.1\"").map(Self)
    }
}

impl ServerAddress {
    /// The address itself.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    pub(super) fn read(entry: &Entry<'_>) -> Result<Self, Reported> {
        read(entry, "address = \"192.0.2.11\"").map(Self)
    }
}

fn read(entry: &Entry<'_>, example: &str) -> Result<IpAddr, Reported> {
    let text = entry.text(example)?;
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(
            entry.problem(format!("{} is not an IP address", quoted(text)), remedy_for(text, example))
        );
    };
    let IpAddr::V4(v4) = address else {
        return Err(entry.problem(format!("IPv6 is not offered yet ({text})"), "write an IPv4 address"));
    };
    match unusable(v4) {
        Some(kind) => Err(entry.problem(format!("{v4} is {kind}"), "write the unicast address of a host")),
        None => Ok(address),
    }
}

fn unusable(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.octets()[0] == 0 {
        Some("an address of \"this network\" (RFC 1122)")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.is_broadcast() {
        Some("the broadcast address")
    } else {
        None
    }
}

/// What to do about a text that is nearly an address.
fn remedy_for(text: &str, example: &str) -> String {
    let is_address = |part: &str| part.parse::<Ipv4Addr>().is_ok();
    if let Some((address, _)) = text.split_once('/').filter(|(address, _)| is_address(address)) {
        return format!("write it without the prefix length: \"{address}\"");
    }
    if let Some((address, port)) = text.split_once(':')
        && is_address(address)
        && port.parse::<u16>().is_ok()
    {
        return format!("write \"{address}\" and port = {port}");
    }
    if is_address(text.trim()) {
        return format!("write it without the blanks: \"{}\"", text.trim());
    }
    if text.split('.').count() == 4 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return "write four numbers from 0 to 255, without leading zeros".to_owned();
    }
    let is_host_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    if text.bytes().any(|byte| byte.is_ascii_alphabetic()) && text.bytes().all(is_host_name) {
        return format!("host names are not resolved, write {example}");
    }
    format!("write {example}")
}

impl fmt::Display for Vip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

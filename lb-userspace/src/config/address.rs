//! Addresses: of a service (the VIP) and of a real server.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::listed;
use super::source::{Placed, Reported};
use super::table::{Entry, quoted};

/// A virtual address: unicast, valid beyond a link, not loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vip(IpAddr);

/// The address of a real server: unicast, valid beyond a link, not loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerAddress(IpAddr);

/// An address that full NAT sends from: likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceAddress(IpAddr);

/// The family of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    V4,
    V6,
}

impl Family {
    /// The family that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// An address of this family that stands for any, for messages.
    pub(super) fn example(self) -> &'static str {
        match self {
            Self::V4 => "192.0.2.11",
            Self::V6 => "2001:db8::11",
        }
    }
}

impl Vip {
    /// The address itself.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.0)
    }

    /// One VIP or a list of them, in order.
    pub(super) fn read<'a>(entry: &Entry<'a>) -> Result<Vec<Placed<'a, Self>>, Reported> {
        let example = "vip = \"192.0.2.1\"";
        let vips = listed::read(entry, example, |item| read(item, example).map(Self))?;
        listed::distinct(vips, |vip| format!("the VIP {vip} is given twice"))
    }
}

impl ServerAddress {
    /// The address itself.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.0)
    }

    /// One address, or one of each family.
    pub(super) fn read<'a>(entry: &Entry<'a>) -> Result<Vec<Placed<'a, Self>>, Reported> {
        let remedy = "write a server of its own for each";
        let addresses = read_one_of_each(entry, "address = \"192.0.2.11\"", "the server has two", remedy)?;
        Ok(addresses.into_iter().map(|Placed { value, spot }| Placed { value: Self(value), spot }).collect())
    }
}

impl SourceAddress {
    /// The address itself.
    pub fn ip(self) -> IpAddr {
        self.0
    }

    /// Its family.
    pub fn family(self) -> Family {
        Family::of(self.0)
    }

    /// One address or a list of them, in order.
    pub(super) fn read<'a>(entry: &Entry<'a>) -> Result<Vec<Placed<'a, Self>>, Reported> {
        let example = "addresses = [\"192.0.2.200\"]";
        let addresses = listed::read(entry, example, |item| read(item, example).map(Self))?;
        listed::distinct(addresses, |address| format!("the address {address} is given twice"))
    }
}

/// One address, or one of each family, IPv4 first. `two` begins the complaint about a second one.
pub(super) fn read_one_of_each<'a>(
    entry: &Entry<'a>,
    example: &str,
    two: &str,
    remedy: &str,
) -> Result<Vec<Placed<'a, IpAddr>>, Reported> {
    let mut addresses = listed::read(entry, example, |item| read(item, example))?;
    // Stable: of two of a family the later stays the later.
    addresses.sort_by_key(|address| Family::of(address.value));
    let mut outcome = Ok(());
    for (first, second) in addresses.iter().zip(addresses.iter().skip(1)) {
        let family = Family::of(first.value);
        if family == Family::of(second.value) {
            let what = format!("{two} {family} addresses, {} and {}", first.value, second.value);
            outcome = Err(second.spot.problem(what, remedy));
        }
    }
    outcome.map(|()| addresses)
}

fn read(entry: &Entry<'_>, example: &str) -> Result<IpAddr, Reported> {
    let text = entry.text(example)?;
    let Ok(address) = text.parse::<IpAddr>() else {
        return Err(
            entry.problem(format!("{} is not an IP address", quoted(text)), remedy_for(text, example))
        );
    };
    of_a_host(entry, address)?;
    Ok(address)
}

/// Refuses what no host has to itself, or what means nothing beyond its link.
pub(super) fn of_a_host(entry: &Entry<'_>, address: IpAddr) -> Result<(), Reported> {
    let unusable = match address {
        IpAddr::V4(v4) => unusable_v4(v4),
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                let what = format!("{v6} is an IPv4 address in the form of IPv6");
                return Err(entry.problem(what, format!("write \"{v4}\"")));
            }
            unusable_v6(v6)
        }
    };
    match unusable {
        Some(kind) => {
            Err(entry.problem(format!("{address} is {kind}"), "write the unicast address of a host"))
        }
        None => Ok(()),
    }
}

fn unusable_v4(address: Ipv4Addr) -> Option<&'static str> {
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

fn unusable_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address")
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if address.is_multicast() {
        Some("a multicast address")
    } else if address.is_unicast_link_local() {
        Some("a link-local address, which means nothing beyond its link")
    } else {
        None
    }
}

/// What to do about a text that is nearly an address.
pub(super) fn remedy_for(text: &str, example: &str) -> String {
    let is_address = |part: &str| part.parse::<IpAddr>().is_ok();
    if let Some((address, _)) = text.split_once('/').filter(|(address, _)| is_address(address)) {
        return format!("write it without the prefix length: \"{address}\"");
    }
    if let Ok(endpoint) = text.parse::<SocketAddr>() {
        return format!("write \"{}\" and port = {}", endpoint.ip(), endpoint.port());
    }
    if let Some(address) =
        text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|a| is_address(a))
    {
        return format!("write it without the brackets: \"{address}\"");
    }
    if let Some((address, _)) = text.split_once('%').filter(|(address, _)| is_address(address)) {
        return format!(
            "an address that needs its interface ({address}) means nothing beyond its link, write {example}"
        );
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

macro_rules! displayed_as_their_ip {
    ($($address:ty),*) => {
        $(impl fmt::Display for $address {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        })*
    };
}
displayed_as_their_ip!(Vip, ServerAddress, SourceAddress);

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

//! Prefixes of addresses: networks from which clients come.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::Family;
use super::source::Reported;
use super::table::{Entry, quoted};

/// A network: an address without a bit behind its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    network: IpAddr,
    length: u8,
}

impl Prefix {
    /// The network of this length that the address is in; `None` if the family has no such length.
    pub fn of(address: IpAddr, length: u8) -> Option<Self> {
        let behind = bits(Family::of(address)).checked_sub(length)?;
        let network = match address {
            IpAddr::V4(v4) => {
                Ipv4Addr::from_bits(v4.to_bits() & u32::MAX.checked_shl(behind.into()).unwrap_or(0)).into()
            }
            IpAddr::V6(v6) => {
                Ipv6Addr::from_bits(v6.to_bits() & u128::MAX.checked_shl(behind.into()).unwrap_or(0)).into()
            }
        };
        Some(Self { network, length })
    }

    /// Its first address.
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// How many bits all its addresses have in common.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Reads `address/length`, or an address alone.
    pub(super) fn read(entry: &Entry<'_>, example: &str) -> Result<Self, Reported> {
        let text = entry.text(example)?;
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(entry.problem(
                format!("{} is not a prefix of addresses", quoted(text)),
                format!("write {example}"),
            ));
        };
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            let what = format!("{v6} is an IPv4 address in the form of IPv6");
            return Err(entry.problem(what, format!("write \"{v4}/32\"")));
        }
        let most = bits(Family::of(address));
        let plain = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let given = match length {
            None => Some(most),
            Some(digits) => Some(digits).filter(plain).and_then(|digits| digits.parse().ok()),
        };
        let Some(prefix) = given.and_then(|length| Self::of(address, length)) else {
            let what = format!("{} has no length of a prefix", quoted(text));
            return Err(entry.problem(what, format!("write {address}/0 to {address}/{most}")));
        };
        if prefix.network != address {
            let what = format!("{} has bits behind its length", quoted(text));
            return Err(entry.problem(what, format!("write \"{prefix}\" or \"{address}\"")));
        }
        Ok(prefix)
    }
}

/// The bits of an address of this family.
fn bits(family: Family) -> u8 {
    match family {
        Family::V4 => 32,
        Family::V6 => 128,
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

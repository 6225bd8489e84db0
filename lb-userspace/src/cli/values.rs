//! Arguments that are more than words: what they accept, and how they say no.

use crate::config::duration::{self, DurationError};
use crate::config::{NodeName, Weight};
use crate::control::{EndQuery, WeightOrder};
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// How long to wait: a whole number with its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience(pub Duration);

impl FromStr for Patience {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match duration::parse(text) {
            Ok(duration) if duration.is_zero() => Err("it is no time at all; write at least 1ms".to_owned()),
            Ok(duration) => Ok(Self(duration)),
            Err(DurationError::NoUnit) => {
                Err(format!("{text} could mean {text}s or {text}ms; write \"{text}s\" or \"{text}ms\""))
            }
            Err(DurationError::TooLong) => Err("it is too long".to_owned()),
            Err(DurationError::NotADuration) => {
                Err("it is not a duration; write a whole number and ms, s, m, h or d, such as 30s".to_owned())
            }
        }
    }
}

impl fmt::Display for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&duration::show(self.0))
    }
}

/// The name of a director.
pub fn node_name(text: &str) -> Result<NodeName, String> {
    NodeName::parse(text)
}

/// The number of a frame in a file: they begin with 1.
pub fn frame_number(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "frames are numbered from 1".to_owned())
}

/// The service an order is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceChoice {
    /// `-`: every service that has a server of that name.
    Every,
    /// This one.
    Named(String),
}

impl FromStr for ServiceChoice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { Self::Every } else { Self::Named(text.to_owned()) })
    }
}

impl ServiceChoice {
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Every => None,
            Self::Named(name) => Some(name),
        }
    }
}

/// An address with its port.
pub(super) fn endpoint(text: &str) -> Result<SocketAddr, String> {
    if let Ok(endpoint) = text.parse() {
        return Ok(endpoint);
    }
    Err(match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => format!("the port is missing; write {address}:PORT"),
        Ok(IpAddr::V6(address)) => format!("the port is missing; write [{address}]:PORT"),
        Err(_) => "it is not ADDRESS:PORT; write 192.0.2.7:40000 or [2001:db8::7]:40000".to_owned(),
    })
}

/// An address, with a port or any.
pub(super) fn end(text: &str) -> Result<EndQuery, String> {
    if let Ok(address) = text.parse() {
        return Ok(EndQuery { address, port: None });
    }
    match text.parse::<SocketAddr>() {
        Ok(end) => Ok(EndQuery { address: end.ip(), port: Some(end.port()) }),
        Err(_) => Err("it is no address; write 192.0.2.7, 192.0.2.7:40000 or [2001:db8::7]:40000".to_owned()),
    }
}

/// A weight, or `config`.
pub(super) fn weight(text: &str) -> Result<WeightOrder, String> {
    if text == "config" {
        return Ok(WeightOrder::Config);
    }
    let weight = text.parse().ok().and_then(Weight::new);
    weight.map(|weight| WeightOrder::Set(weight.get())).ok_or_else(|| {
        format!("it is not a weight; write a whole number from 0 to {}, or 'config'", Weight::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::{Patience, ServiceChoice, end, endpoint, weight};
    use crate::control::WeightOrder;
    use std::time::Duration;

    #[test]
    fn a_bare_number_is_refused_with_both_readings() {
        assert_eq!("30s".parse::<Patience>(), Ok(Patience(Duration::from_secs(30))));
        let refusal = "30".parse::<Patience>().unwrap_err();
        assert!(refusal.contains("30s") && refusal.contains("30ms"), "{refusal}");
        assert!("0s".parse::<Patience>().is_err());
    }

    #[test]
    fn an_endpoint_without_port_is_told_how_to_write_one() {
        assert_eq!(endpoint("192.0.2.7:80").unwrap().port(), 80);
        assert_eq!(endpoint("[2001:db8::7]:80").unwrap().port(), 80);
        assert!(endpoint("192.0.2.7").unwrap_err().contains("192.0.2.7:PORT"));
        assert!(endpoint("2001:db8::7").unwrap_err().contains("[2001:db8::7]:PORT"));
        assert!(endpoint("localhost:80").is_err());
        assert!(endpoint("192.0.2.7:70000").is_err());
    }

    #[test]
    fn an_end_may_do_without_a_port() {
        let parts = |text| end(text).map(|end| (end.address.to_string(), end.port));
        assert_eq!(parts("192.0.2.7"), Ok(("192.0.2.7".to_owned(), None)));
        assert_eq!(parts("192.0.2.7:80"), Ok(("192.0.2.7".to_owned(), Some(80))));
        assert_eq!(parts("2001:db8::7"), Ok(("2001:db8::7".to_owned(), None)));
        assert_eq!(parts("[2001:db8::7]:80"), Ok(("2001:db8::7".to_owned(), Some(80))));
        assert!(parts("web").is_err());
    }

    #[test]
    fn a_weight_is_a_number_or_config() {
        assert_eq!(weight("0"), Ok(WeightOrder::Set(0)));
        assert_eq!(weight("config"), Ok(WeightOrder::Config));
        for wrong in ["-1", "1.5", "", "Config", "1001", "70000"] {
            assert!(weight(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_dash_is_every_service() {
        assert_eq!("-".parse(), Ok(ServiceChoice::Every));
        assert_eq!("web".parse(), Ok(ServiceChoice::Named("web".to_owned())));
    }
}

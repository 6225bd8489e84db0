//! Where a service listens: the product of its VIPs, ports and protocols.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::num::NonZeroU16;

use super::address::Vip;

/// The VIPs, ports and protocols of a service, each list sorted, not empty, and without two that overlap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// The addresses that clients connect to, IPv4 first.
    pub vips: Vec<Vip>,
    /// The ports at each of them.
    pub ports: Vec<ListenPort>,
    /// The transports at each port.
    pub protocols: Vec<Protocol>,
}

/// One element of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Listener {
    /// The address.
    pub vip: Vip,
    /// One port, a range of them, or every one that no other service of this VIP names.
    pub port: ListenPort,
    /// The transport.
    pub protocol: Protocol,
}

/// What the data path knows as one service: a port of a VIP, or all ports of a VIP at which connections keep the port that
/// was hit. So a range that grows, or becomes "any", stays what it was, and takes no more room than one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// The address.
    pub vip: Vip,
    /// The port; `None`: the ranges of the service, or any port.
    pub port: Option<NonZeroU16>,
    /// The transport.
    pub protocol: Protocol,
}

/// The port of a listener. Sorted by the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListenPort {
    /// Every port of the VIP that no service names.
    Any,
    /// This one.
    Fixed(NonZeroU16),
    /// Each of these.
    Range(PortRange),
}

/// Two ports or more in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: NonZeroU16,
    last: NonZeroU16,
}

/// The transport protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Listening {
    /// Every listener, in order.
    pub fn listeners(&self) -> impl Iterator<Item = Listener> {
        self.vips.iter().flat_map(move |vip| {
            self.ports.iter().flat_map(move |port| {
                self.protocols.iter().map(move |protocol| Listener {
                    vip: *vip,
                    port: *port,
                    protocol: *protocol,
                })
            })
        })
    }

    /// Every lane, in order.
    pub fn lanes(&self) -> impl Iterator<Item = Lane> {
        // Ports at which none is fixed fall together.
        let ports: BTreeSet<_> = self.ports.iter().map(|port| port.fixed()).collect();
        self.vips.iter().flat_map(move |vip| {
            ports.clone().into_iter().flat_map(move |port| {
                self.protocols.iter().map(move |protocol| Lane { vip: *vip, port, protocol: *protocol })
            })
        })
    }

    /// The ports that lead into a lane, at its VIP; 0 is any.
    pub fn ports_of(&self, lane: Lane) -> impl Iterator<Item = u16> {
        self.ports.iter().filter(move |port| port.fixed() == lane.port).flat_map(|port| port.each())
    }

    /// Whether this port leads to it.
    pub fn has_port(&self, port: u16) -> bool {
        self.ports.iter().any(|listened| match listened {
            ListenPort::Any => port != 0,
            listened => listened.each().any(|each| each == port),
        })
    }

    /// The port, if it listens on no other.
    pub fn only_port(&self) -> Option<NonZeroU16> {
        match self.ports[..] {
            [ListenPort::Fixed(port)] => Some(port),
            _ => None,
        }
    }
}

impl ListenPort {
    /// The ports from `first` to `last`, which are one or several; `None` if they are in the wrong order.
    pub fn of_bounds(first: NonZeroU16, last: NonZeroU16) -> Option<Self> {
        match first.cmp(&last) {
            std::cmp::Ordering::Less => Some(Self::Range(PortRange { first, last })),
            std::cmp::Ordering::Equal => Some(Self::Fixed(first)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// The port, if it is one.
    pub fn fixed(self) -> Option<NonZeroU16> {
        match self {
            Self::Fixed(port) => Some(port),
            Self::Any | Self::Range(_) => None,
        }
    }

    /// The lowest and the highest port; 0 and 0, which is no port, for any.
    pub fn bounds(self) -> (u16, u16) {
        match self {
            Self::Any => (0, 0),
            Self::Fixed(port) => (port.get(), port.get()),
            Self::Range(PortRange { first, last }) => (first.get(), last.get()),
        }
    }

    /// The ports one by one; the 0 of [`ListenPort::bounds`] for any.
    pub fn each(self) -> std::ops::RangeInclusive<u16> {
        let (first, last) = self.bounds();
        first..=last
    }
}

impl Display for ListenPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Fixed(port) => port.fmt(f),
            Self::Range(PortRange { first, last }) => write!(f, "{first}-{last}"),
        }
    }
}

impl Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port, self.vip.ip()) {
            (ListenPort::Any, vip) => write!(f, "{vip} any port {}", self.protocol),
            (port, IpAddr::V4(vip)) => write!(f, "{vip}:{port} {}", self.protocol),
            (port, IpAddr::V6(vip)) => write!(f, "[{vip}]:{port} {}", self.protocol),
        }
    }
}

impl Display for Listening {
    /// The listener if it is one, else the three lists.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut listeners = self.listeners();
        if let (Some(only), None) = (listeners.next(), listeners.next()) {
            return only.fmt(f);
        }
        let (vips, ports, protocols) = (joined(&self.vips), joined(&self.ports), joined(&self.protocols));
        write!(f, "{vips} port {ports} {protocols}")
    }
}

/// A list as a line of text says it.
pub(super) fn joined(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::load_str;
    use super::*;

    fn listening(lists: &str) -> Listening {
        let text = format!(
            "[[service]]\nname = \"web\"\n{lists}\nhealth = {{ kind = \"none\" }}\n[[service.server]]\nname = \"rs1\"\n\
             address = [\"10.77.2.21\", \"2001:db8:2::21\"]\n"
        );
        load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}")).services.remove(0).listening
    }

    #[test]
    fn it_listens_on_the_product_in_an_order_of_its_own() {
        let listening = listening(
            "vip = [\"2001:db8::1\", \"10.77.1.100\"]\nport = [\"8000-8001\", 80]\nprotocol = [\"udp\", \"tcp\"]",
        );
        let listeners: Vec<_> = listening.listeners().map(|listener| listener.to_string()).collect();
        assert_eq!(
            listeners,
            [
                "10.77.1.100:80 tcp",
                "10.77.1.100:80 udp",
                "10.77.1.100:8000-8001 tcp",
                "10.77.1.100:8000-8001 udp",
                "[2001:db8::1]:80 tcp",
                "[2001:db8::1]:80 udp",
                "[2001:db8::1]:8000-8001 tcp",
                "[2001:db8::1]:8000-8001 udp",
            ]
        );
        assert_eq!(listening.to_string(), "10.77.1.100, 2001:db8::1 port 80, 8000-8001 tcp, udp");
    }

    #[test]
    fn ranges_share_a_lane_and_ports_have_their_own() {
        let listening = listening(
            "vip = [\"10.77.1.100\", \"2001:db8::1\"]\nport = [80, \"8000-8001\", 443, \"9000-9000\", \"9100-9102\"]",
        );
        let of_first: Vec<(Option<u16>, Vec<u16>)> = listening
            .lanes()
            .filter(|lane| lane.vip.ip().is_ipv4())
            .map(|lane| (lane.port.map(NonZeroU16::get), listening.ports_of(lane).collect()))
            .collect();
        assert_eq!(
            of_first,
            [
                (None, vec![8000, 8001, 9100, 9101, 9102]),
                (Some(80), vec![80]),
                (Some(443), vec![443]),
                (Some(9000), vec![9000]),
            ]
        );
        assert_eq!(listening.lanes().count(), 8);
    }
}

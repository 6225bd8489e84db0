//! Which way a packet to some address leaves: the route as the kernel would choose it, and the neighbour on it.

use std::fmt;
use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Mac;
use super::netlink::{NetError, Netlink, collect, errno};

/// Everything the data path needs to send a frame on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The destination MAC address to write.
    pub mac: Mac,
    /// The interface to send it from.
    pub ifindex: u32,
    /// Whose MAC address it is: a gateway, or the target itself when it is on the link.
    pub via: IpAddr,
}

/// The kernel's choice of way to an address, policy routing included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    pub ifindex: u32,
    /// The gateway, or the target itself when it is on the link.
    pub via: IpAddr,
    /// The source address this host would use.
    pub source: Option<IpAddr>,
    /// What the route says of the largest packet, where it says more than the interface does.
    pub mtu: Option<u32>,
}

/// What the neighbour table says of one neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// No entry.
    Absent,
    /// Asked for, not answered yet.
    Resolving,
    /// Asked for in vain.
    Failed,
    Valid {
        mac: Mac,
        /// Being asked whether it is still there.
        probing: bool,
        /// Somebody else maintains this entry (static, or learned by a control plane): hands off.
        foreign: bool,
    },
}

impl Netlink {
    /// The way to `target`. The error tells the kernel's reason, for example that there is no route, or that the
    /// address is this host's own.
    pub async fn route_to(&self, target: IpAddr) -> Result<Route, NetError> {
        let attempted = format!("find the route to {target}");
        let mut question = RouteMessage::default();
        question.header.address_family = family(&target);
        question.header.destination_prefix_length = if target.is_ipv4() { 32 } else { 128 };
        question.attributes.push(RouteAttribute::Destination(target.into()));
        let answers = collect(&attempted, self.handle.route().get(question).execute()).await?;
        let refuse = |why: &str| NetError::new(&attempted, std::io::Error::other(why.to_owned()));
        let answer = answers.into_iter().next().ok_or_else(|| refuse("the kernel named none"))?;
        match answer.header.kind {
            RouteType::Unicast => {}
            RouteType::Local => return Err(refuse("it is an address of this host")),
            other => return Err(refuse(&format!("its route is of type {other:?}, which leads nowhere"))),
        }
        route(target, &answer).ok_or_else(|| refuse("the route names no interface"))
    }

    /// The neighbour table, proxies excluded.
    pub(super) async fn neighbours(&self) -> Result<Vec<(u32, IpAddr, Seen)>, NetError> {
        let messages = collect("list the neighbours", self.handle.neighbours().get().execute()).await?;
        Ok(messages.iter().filter_map(neighbour).collect())
    }

    /// Makes the kernel find a neighbour's MAC address now and keep it fresh from now on, also when nobody else asks
    /// and when this process has died: NTF_USE, and NTF_EXT_MANAGED (kernel 5.16, commit 7482e3841d52; older ones
    /// ignore it). `absent` says that there is no entry; should there be one after all, it is left alone, for these
    /// flags would turn a static entry into a dynamic one.
    pub(super) async fn solicit(&self, ifindex: u32, ip: IpAddr, absent: bool) -> Result<(), NetError> {
        let attempted = format!("resolve neighbour {ip} on the interface with index {ifindex}");
        let order = RouteNetlinkMessage::NewNeighbour(managed_entry(ifindex, ip));
        let exclusive = if absent { NLM_F_EXCL } else { NLM_F_REPLACE };
        match self.order(&attempted, order, NLM_F_CREATE | exclusive).await {
            Err(error) if error.is(errno::EEXIST) => Ok(()),
            outcome => outcome,
        }
    }

    /// Makes the kernel find a neighbour's MAC address now. Its entry grows old like any other.
    pub(super) async fn ask(&self, ifindex: u32, ip: IpAddr) -> Result<(), NetError> {
        let attempted = format!("ask for neighbour {ip} on the interface with index {ifindex}");
        let order = RouteNetlinkMessage::NewNeighbour(used_entry(ifindex, ip));
        self.order(&attempted, order, NLM_F_CREATE | NLM_F_REPLACE).await
    }

    /// Makes the kernel ask a neighbour whether it is still there; its entry stays valid meanwhile. Only for an entry
    /// that exists.
    pub(super) async fn confirm(&self, ifindex: u32, ip: IpAddr) -> Result<(), NetError> {
        let attempted = format!("confirm neighbour {ip} on the interface with index {ifindex}");
        let mut entry = plain_entry(ifindex, ip);
        entry.header.state = NeighbourState::Probe;
        let ask = self.order(&attempted, RouteNetlinkMessage::NewNeighbour(entry), NLM_F_REPLACE);
        // An update without the flag ends the kernel's own care for the entry, so it is asked for again.
        let keep = RouteNetlinkMessage::NewNeighbour(managed_entry(ifindex, ip));
        let keep = self.order(&attempted, keep, NLM_F_REPLACE);
        let (asked, kept) = futures_util::future::join(ask, keep).await;
        match asked.and(kept) {
            Err(error) if error.is(errno::ENOENT) => Ok(()), // flushed meanwhile; its notice follows
            outcome => outcome,
        }
    }

    /// Declares what is known of a neighbour void and has everybody on the link asked (a broadcast, or multicast), as
    /// its old address does not answer.
    pub(super) async fn rediscover(&self, ifindex: u32, ip: IpAddr) -> Result<(), NetError> {
        let attempted = format!("rediscover neighbour {ip} on the interface with index {ifindex}");
        let mut entry = plain_entry(ifindex, ip);
        entry.header.state = NeighbourState::Failed;
        let forget = self.order(&attempted, RouteNetlinkMessage::NewNeighbour(entry), NLM_F_REPLACE);
        let resolve = self.solicit(ifindex, ip, false);
        let (forgotten, resolved) = futures_util::future::join(forget, resolve).await;
        match forgotten {
            Err(error) if !error.is(errno::ENOENT) => Err(error),
            _ => resolved,
        }
    }

    /// Ends the care that [`Self::solicit`] asked for; the entry grows old like any other.
    pub(super) async fn release(&self, ifindex: u32, ip: IpAddr) -> Result<(), NetError> {
        let attempted = format!("release neighbour {ip} on the interface with index {ifindex}");
        let entry = used_entry(ifindex, ip);
        match self.order(&attempted, RouteNetlinkMessage::NewNeighbour(entry), NLM_F_REPLACE).await {
            Err(error) if error.is(errno::ENOENT) || error.is(errno::ENODEV) => Ok(()),
            outcome => outcome,
        }
    }
}

/// Reads one neighbour entry; `None` for what is no IP neighbour (bridge forwarding entries, proxies).
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(u32, IpAddr, Seen)> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let (mut ip, mut mac) = (None, None::<Mac>);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                ip = Some(IpAddr::V4(*address));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                ip = Some(IpAddr::V6(*address));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let valid = |probing, foreign| match mac {
        // All zeroes: an interface without link-layer addresses, such as lo.
        Some(mac) if mac != [0; 6] => Seen::Valid { mac, probing, foreign },
        _ => Seen::Failed,
    };
    let learned = message.header.flags.contains(NeighbourFlags::ExtLearned);
    let seen = match message.header.state {
        NeighbourState::Permanent | NeighbourState::Noarp => valid(false, true),
        NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay => valid(false, learned),
        NeighbourState::Probe => valid(true, learned),
        NeighbourState::Incomplete => Seen::Resolving,
        _ => Seen::Failed,
    };
    Some((message.header.ifindex, ip?, seen))
}

fn route(target: IpAddr, answer: &RouteMessage) -> Option<Route> {
    let (mut ifindex, mut via, mut source, mut mtu) = (None, target, None, None);
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => via = IpAddr::V4(*ip),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => via = IpAddr::V6(*ip),
            // An IPv4 route through an IPv6 gateway (RFC 8950).
            RouteAttribute::Via(RouteVia::Inet(ip)) => via = IpAddr::V4(*ip),
            RouteAttribute::Via(RouteVia::Inet6(ip)) => via = IpAddr::V6(*ip),
            RouteAttribute::PrefSource(RouteAddress::Inet(ip)) => source = Some(IpAddr::V4(*ip)),
            RouteAttribute::PrefSource(RouteAddress::Inet6(ip)) => source = Some(IpAddr::V6(*ip)),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    Some(Route { ifindex: ifindex?, via, source, mtu })
}

fn family(ip: &IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn plain_entry(ifindex: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(&ip);
    message.header.ifindex = ifindex;
    message.attributes.push(NeighbourAttribute::Destination(match ip {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    }));
    message
}

fn used_entry(ifindex: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = plain_entry(ifindex, ip);
    message.header.flags = NeighbourFlags::Use;
    message
}

fn managed_entry(ifindex: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = used_entry(ifindex, ip);
    message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.mac;
        let Self { ifindex, via, .. } = self;
        write!(
            f,
            "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x} ({via}) from the interface with index {ifindex}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 9];

    fn entry(state: NeighbourState, flags: NeighbourFlags, mac: Option<&[u8]>) -> Seen {
        let mut message = plain_entry(3, "10.0.0.9".parse().expect("address"));
        message.header.state = state;
        message.header.flags = flags;
        message.attributes.extend(mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.to_vec())));
        let (ifindex, ip, seen) = neighbour(&message).expect("an IP neighbour");
        assert_eq!((ifindex, ip), (3, "10.0.0.9".parse().expect("address")));
        seen
    }

    #[test]
    fn entries_are_valid_while_the_kernel_would_use_them() {
        let none = NeighbourFlags::empty();
        let dynamic = |probing| Seen::Valid { mac: MAC, probing, foreign: false };
        for state in [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Delay] {
            assert_eq!(entry(state, none, Some(&MAC)), dynamic(false), "{state}");
        }
        assert_eq!(entry(NeighbourState::Probe, none, Some(&MAC)), dynamic(true));
        let foreign = Seen::Valid { mac: MAC, probing: false, foreign: true };
        assert_eq!(entry(NeighbourState::Permanent, none, Some(&MAC)), foreign);
        assert_eq!(entry(NeighbourState::Reachable, NeighbourFlags::ExtLearned, Some(&MAC)), foreign);
        assert_eq!(entry(NeighbourState::Incomplete, none, None), Seen::Resolving);
        assert_eq!(entry(NeighbourState::Failed, none, Some(&MAC)), Seen::Failed);
        assert_eq!(entry(NeighbourState::Noarp, none, Some(&[0; 6])), Seen::Failed, "no address to write");
        assert_eq!(entry(NeighbourState::Reachable, none, Some(&[1; 20])), Seen::Failed, "not Ethernet");
    }

    #[tokio::test]
    async fn this_hosts_own_address_is_no_next_hop() {
        let netlink = Netlink::open().expect("netlink");
        let error = netlink.route_to("127.0.0.1".parse().expect("address")).await.expect_err("local");
        assert_eq!(error.to_string(), "find the route to 127.0.0.1: it is an address of this host");
    }
}

//! The host's own addresses, and putting a VIP on an interface or taking it off.

use std::net::IpAddr;

use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::{NetError, Netlink, collect, errno};

/// Who put an address there (`IFA_PROTO`, Linux 5.18): the kernel keeps it for whoever comes after us. Numbers from 4 up
/// are free to use; `ip address` shows it.
const XLVS: AddressProtocol = AddressProtocol::Other(b'x');

/// An address of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LocalAddress {
    pub ip: IpAddr,
    pub prefix_len: u8,
    pub ifindex: u32,
    /// Valid beyond the link it is on (scope "global").
    pub global: bool,
    /// IPv4: a further address in the subnet of another, which is used as source before it. IPv6: a temporary one.
    pub secondary: bool,
    /// IPv6: not yet usable, or found to be in use by another host (duplicate address detection).
    pub tentative: bool,
    /// Put there by an agent of ours, this one or an earlier one.
    pub ours: bool,
}

/// All addresses of this host, in the kernel's order: per interface, the first is the one it prefers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses(Vec<LocalAddress>);

impl Addresses {
    /// All of them, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = &LocalAddress> {
        self.0.iter()
    }

    /// Whether this host answers for `ip`.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.iter().any(|address| address.ip == ip)
    }

    /// Where `ip` is: an address can be on several interfaces.
    pub fn holders(&self, ip: IpAddr) -> impl Iterator<Item = &LocalAddress> {
        self.0.iter().filter(move |address| address.ip == ip)
    }

    /// The addresses of one interface.
    pub fn on(&self, ifindex: u32) -> impl Iterator<Item = &LocalAddress> {
        self.0.iter().filter(move |address| address.ifindex == ifindex)
    }

    /// The interface in whose network `ip` is.
    pub fn interface_towards(&self, ip: IpAddr) -> Option<u32> {
        let in_its_network = |address: &&LocalAddress| {
            address.prefix_len != full_length(&address.ip) && shares(address.ip, ip, address.prefix_len)
        };
        self.0.iter().find(in_its_network).map(|address| address.ifindex)
    }

    /// The interface's main address of that family: the one the host is reached at and speaks from. A host address
    /// (/32, /128) is passed over when there is another, for VIPs are of that kind.
    pub fn primary(&self, ifindex: u32, ipv6: bool) -> Option<&LocalAddress> {
        let candidates =
            || self.on(ifindex).filter(move |address| address.ip.is_ipv6() == ipv6 && address.global);
        let in_a_subnet = |address: &&LocalAddress| address.prefix_len != full_length(&address.ip);
        let foremost = |address: &&LocalAddress| !address.secondary;
        candidates()
            .filter(in_a_subnet)
            .find(foremost)
            .or_else(|| candidates().find(foremost))
            .or_else(|| candidates().next())
    }
}

/// Whether the two are of one family and begin with the same bits.
fn shares(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let differ = match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => u128::from((one.to_bits() ^ other.to_bits()).leading_zeros()),
        (IpAddr::V6(one), IpAddr::V6(other)) => u128::from((one.to_bits() ^ other.to_bits()).leading_zeros()),
        _ => return false,
    };
    differ >= u128::from(bits)
}

impl FromIterator<LocalAddress> for Addresses {
    fn from_iter<T: IntoIterator<Item = LocalAddress>>(addresses: T) -> Self {
        Self(addresses.into_iter().collect())
    }
}

impl Netlink {
    /// All addresses of this namespace.
    pub async fn addresses(&self) -> Result<Addresses, NetError> {
        let messages = collect("list the local addresses", self.handle.address().get().execute()).await?;
        Ok(messages.into_iter().filter_map(local_address).collect())
    }

    /// Puts `ip` on an interface as a host address (/32 or /128); `false` when it was there already. IPv6 skips
    /// duplicate address detection (RFC 4862, section 5.4): a VIP must answer at once, and who owns it is decided
    /// elsewhere. Needs CAP_NET_ADMIN.
    pub async fn add_host_address(&self, ip: IpAddr, ifindex: u32) -> Result<bool, NetError> {
        let attempted = format!("add {ip}/{} to the interface with index {ifindex}", full_length(&ip));
        let mut message = host_address(ip, ifindex);
        message.attributes.push(AddressAttribute::Protocol(XLVS));
        message.header.flags = AddressHeaderFlags::Nodad;
        let order = RouteNetlinkMessage::NewAddress(message);
        match self.order(&attempted, order, NLM_F_CREATE | NLM_F_EXCL).await {
            Ok(()) => Ok(true),
            Err(error) if error.is(errno::EEXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the host address `ip` off an interface; `false` when it was not there, or its interface is gone. Needs
    /// CAP_NET_ADMIN.
    pub async fn remove_host_address(&self, ip: IpAddr, ifindex: u32) -> Result<bool, NetError> {
        let attempted = format!("remove {ip}/{} from the interface with index {ifindex}", full_length(&ip));
        let order = RouteNetlinkMessage::DelAddress(host_address(ip, ifindex));
        match self.order(&attempted, order, 0).await {
            Ok(()) => Ok(true),
            Err(error) if error.is(errno::EADDRNOTAVAIL) || error.is(errno::ENODEV) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn full_length(ip: &IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn host_address(ip: IpAddr, ifindex: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = full_length(&ip);
    message.header.index = ifindex;
    message.header.scope = AddressScope::Universe;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

fn local_address(message: AddressMessage) -> Option<LocalAddress> {
    let (mut local, mut address, mut ours) = (None, None, false);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(ip),
            AddressAttribute::Address(ip) => address = Some(ip),
            AddressAttribute::Protocol(who) => ours = who == XLVS,
            _ => {}
        }
    }
    let flags = message.header.flags;
    Some(LocalAddress {
        // On a point-to-point link IFA_ADDRESS is the other end; IPv6 gives IFA_LOCAL only there.
        ip: local.or(address)?,
        prefix_len: message.header.prefix_len,
        ifindex: message.header.index,
        global: message.header.scope == AddressScope::Universe,
        secondary: flags.contains(AddressHeaderFlags::Secondary),
        tentative: flags.intersects(AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed),
        ours,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, ifindex: u32) -> LocalAddress {
        let (ip, length) = text.split_once('/').expect("address/length");
        LocalAddress {
            ip: ip.parse().expect("address"),
            prefix_len: length.parse().expect("length"),
            ifindex,
            global: true,
            secondary: false,
            tentative: false,
            ours: false,
        }
    }

    #[test]
    fn a_vip_is_not_taken_for_the_primary_address() {
        let (vip, subnet) = (address("10.77.1.100/32", 2), address("10.77.1.2/24", 2));
        let further = LocalAddress { secondary: true, ..address("10.77.1.3/24", 2) };
        let addresses: Addresses = [vip, further, subnet, address("10.9.9.9/24", 3)].into_iter().collect();
        assert_eq!(addresses.primary(2, false), Some(&subnet));
        assert_eq!(addresses.primary(2, true), None);
        let routed: Addresses = [vip].into_iter().collect();
        assert_eq!(routed.primary(2, false), Some(&vip), "some hosts have nothing but a /32");
    }

    #[tokio::test]
    async fn the_loopback_address_is_listed() {
        let netlink = Netlink::open().expect("netlink");
        let addresses = netlink.addresses().await.expect("ask");
        let localhost: IpAddr = "127.0.0.1".parse().expect("address");
        assert!(addresses.contains(localhost));
        let holder = addresses.holders(localhost).next().expect("held");
        assert_eq!((holder.prefix_len, holder.global), (8, false));
        assert!(!addresses.contains("192.0.2.77".parse().expect("address")));
    }
}

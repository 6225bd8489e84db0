//! Who has which addresses and names. Everybody has one address of each family, with the same numbers as far as they go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::family::Family;

/// The address clients know.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 100);
/// The same over IPv6.
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x100);
/// The director's own address on the clients' side.
pub const DIRECTOR_OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
pub const DIRECTOR_OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 1);
/// The director's own address on the servers' side: the default route of NAT servers.
pub const DIRECTOR_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
pub const DIRECTOR_INSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 1);

/// What full NAT sends from, in the servers' network.
pub const POOL: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 200);
pub const POOL6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 0x200);

/// The VIP of a family.
pub fn vip(family: Family) -> IpAddr {
    family.choose(VIP, VIP6)
}

/// The address of client `index`: 10.77.1.10 and up.
pub fn client_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, 10 + index as u8)
}

/// Likewise: fd77:1::10 and up.
pub fn client_address6(index: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x10 + index as u16)
}

/// The address of server `index`: 10.77.2.21 and up.
pub fn server_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 2, 21 + index as u8)
}

/// Likewise: fd77:2::21 and up.
pub fn server_address6(index: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 0x21 + index as u16)
}

/// The name of server `index`: `rs1` and up, as in the configuration.
pub fn server_name(index: usize) -> String {
    format!("rs{}", index + 1)
}

/// The two addresses of a machine on one of its wires.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
}

impl Pair {
    pub(super) const OUTSIDE: Self = Self { v4: DIRECTOR_OUTSIDE, v6: DIRECTOR_OUTSIDE6 };
    pub(super) const INSIDE: Self = Self { v4: DIRECTOR_INSIDE, v6: DIRECTOR_INSIDE6 };
    /// The switch as the servers' own router, the way direct-routing answers take in two-arm.
    pub(super) const ROUTER_OUTSIDE: Self =
        Self { v4: Ipv4Addr::new(10, 77, 1, 254), v6: Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x254) };
    pub(super) const ROUTER_INSIDE: Self =
        Self { v4: Ipv4Addr::new(10, 77, 2, 254), v6: Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 0x254) };

    /// In the clients' network, by its last number.
    pub(super) const fn outside(number: u8) -> Self {
        Self {
            v4: Ipv4Addr::new(10, 77, 1, number),
            v6: Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, number as u16),
        }
    }

    /// In the servers' network, by its last number.
    pub(super) const fn inside(number: u8) -> Self {
        Self {
            v4: Ipv4Addr::new(10, 77, 2, number),
            v6: Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, number as u16),
        }
    }

    pub(super) fn client(index: usize) -> Self {
        Self { v4: client_address(index), v6: client_address6(index) }
    }

    pub(super) fn server(index: usize) -> Self {
        Self { v4: server_address(index), v6: server_address6(index) }
    }

    /// A readable, locally administered MAC: one sees in a dump whose frame it is.
    pub(super) fn mac(self) -> String {
        let [_, _, network, host] = self.v4.octets();
        format!("02:77:00:00:{network:02x}:{host:02x}")
    }

    /// What `ip` is told to switch an interface on and to give it these addresses, and a link-local one: the kernel
    /// solicits neighbours from that for packets that are not its own, a router's or those from a VIP.
    ///
    /// On first: an IPv6 address that is there before its link is up gets its route only when the kernel finds time to
    /// look at the link, up to a second later.
    pub(super) fn owned_by(self, interface: &str) -> String {
        let (Self { v4, v6 }, [_, _, network, host]) = (self, self.v4.octets());
        format!(
            "link set {interface} up\naddress add {v4}/24 dev {interface}\n\
             address add {v6}/64 dev {interface} nodad\n\
             address add fe80::{network:x}:{host:x}/64 dev {interface} nodad\n"
        )
    }

    /// This machine as everybody's router.
    pub(super) fn as_router(self) -> String {
        format!("route add default via {}\nroute add ::/0 via {}\n", self.v4, self.v6)
    }
}

/// What `ip` is told to make an interface own a VIP. Nobody's own traffic comes from it: a deprecated address is no
/// source while there is another.
pub(super) fn vip_on(interface: &str, vip: IpAddr) -> String {
    match vip {
        IpAddr::V4(vip) => format!("address add {vip}/32 dev {interface}\n"),
        IpAddr::V6(vip) => format!("address add {vip}/128 dev {interface} nodad preferred_lft 0\n"),
    }
}

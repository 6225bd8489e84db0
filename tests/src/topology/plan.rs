//! What a topology looks like: layouts, addresses, names.

use std::net::Ipv4Addr;

/// How the director meets its two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Everything comes and goes through eth0: forwarding is XDP_TX.
    OneArm,
    /// Clients on eth0, servers on eth1: forwarding is XDP_REDIRECT.
    TwoArm,
}

/// How a real server is set up to get its packets and to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Answers go back through the director, the server's default route.
    Nat,
    /// The VIP is on the server's lo, silent in ARP; answers take the server's own way to the client.
    DirectRouting,
}

/// What to build. Start from [`Plan::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct Plan {
    pub layout: Layout,
    pub delivery: Delivery,
    pub servers: usize,
    pub clients: usize,
    /// Whether the VIP is put on the director's eth0 (the agent's `vip_owner = "external"`).
    pub vip_on_director: bool,
    /// Whether the director's kernel forwards. Only the rig's own tests want this: with it off, nothing but xlvs can
    /// carry traffic from a client to a server.
    pub kernel_forwards: bool,
    /// Whether the director's veths are made ready for XDP in driver mode.
    pub ready_for_xdp: bool,
}

impl Plan {
    /// One client, the VIP on a director that does not forward, ready for XDP.
    pub fn new(layout: Layout, delivery: Delivery, servers: usize) -> Self {
        Self {
            layout,
            delivery,
            servers,
            clients: 1,
            vip_on_director: true,
            kernel_forwards: false,
            ready_for_xdp: true,
        }
    }
}

/// The address clients know.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 100);
/// The director's own address on the clients' side.
pub const DIRECTOR_OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// The director's own address on the servers' side: the default route of NAT servers.
pub const DIRECTOR_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
/// The switch as the servers' own router, the way direct-routing answers take in two-arm.
pub(super) const ROUTER_OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 254);
pub(super) const ROUTER_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 254);

/// The address of client `index`: 10.77.1.10 and up.
pub fn client_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, 10 + index as u8)
}

/// The address of server `index`: 10.77.2.21 and up.
pub fn server_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 2, 21 + index as u8)
}

/// The name of server `index`: `rs1` and up, as in the configuration.
pub fn server_name(index: usize) -> String {
    format!("rs{}", index + 1)
}

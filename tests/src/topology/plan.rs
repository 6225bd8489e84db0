//! What a topology looks like.

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
    /// The VIP is on the server's lo, silent in ARP and neighbour discovery; answers take the server's own way to the client.
    DirectRouting,
    /// The server has no way but to its own network; the director has an address there to send from.
    FullNat,
}

/// What is between a machine and the switch. Whatever it is, the machine's interface is called `eth0` (and `eth1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// A cable for each interface.
    Plain,
    /// Clients and servers each in a VLAN of one wire; a two-arm director's interfaces are both on its end of that wire.
    Vlan,
    /// The same with a service tag (802.1ad) around each.
    VlanInVlan,
    /// The director's interfaces are bonds of two cables each, of which one carries.
    Bond,
    /// Network cards that this machine has (virtio), three a wire: a one-arm director, a client, a server. No switch is in between.
    Cards,
}

impl Wiring {
    /// Whether the machines' interfaces are VLANs of one wire.
    pub(super) fn is_tagged(self) -> bool {
        matches!(self, Self::Vlan | Self::VlanInVlan)
    }
}

/// What to build. Start from [`Plan::new`] and change what differs.
#[derive(Clone, Debug)]
pub struct Plan {
    pub layout: Layout,
    pub delivery: Delivery,
    pub servers: usize,
    pub clients: usize,
    pub wiring: Wiring,
    /// Of the machines' interfaces; the wires below have room for tags.
    pub mtu: u32,
    /// Whether the VIPs are put on the director's eth0 (the agent's `vip_owner = "external"`).
    pub vip_on_director: bool,
    /// Whether the director's kernel forwards, either family. Only the rig's own tests want this: with it off, nothing but xlvs can
    /// carry traffic from a client to a server.
    pub kernel_forwards: bool,
    /// Whether the director's veths are made ready for XDP in driver mode.
    pub ready_for_xdp: bool,
    /// Whether there is a second director. The VIPs and the servers' default route are then on neither of the two until they are
    /// given to one, and each has addresses of its own instead of those of a single director.
    pub standby: bool,
}

impl Plan {
    /// One client, the VIP on a director that does not forward, ready for XDP.
    pub fn new(layout: Layout, delivery: Delivery, servers: usize) -> Self {
        Self {
            layout,
            delivery,
            servers,
            clients: 1,
            wiring: Wiring::Plain,
            mtu: 1500,
            vip_on_director: true,
            kernel_forwards: false,
            ready_for_xdp: true,
            standby: false,
        }
    }
}

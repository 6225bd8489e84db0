//! A second director beside the first: the same legs, a wire of their own between the two, and addresses that move.
//!
//! The VIPs, the servers' default route and what full NAT sends from belong to one of them at a time. Both have addresses of their own as well, with the
//! same last number in every network: 2 the first, 3 the second.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use super::addresses::{POOL, POOL6, Pair, vip_on};
use super::{Topology, machine, vip};
use crate::family::Family;
use crate::namespace::Namespace;
use crate::packet::{Arp, Frame, Icmp, Ipv6};
use crate::packet_socket::PacketSocket;

/// The end of the wire between the two directors, on either.
pub const MESH: &str = "mesh0";

const EVERYBODY: [u8; 6] = [0xff; 6];
const ALL_NODES: (Ipv6Addr, [u8; 6]) = (Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), [0x33, 0x33, 0, 0, 0, 1]);

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Director {
    First,
    Second,
}

impl Director {
    /// Both, the first one first.
    pub const BOTH: [Self; 2] = [Self::First, Self::Second];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// Its address on the wire between the two.
    #[must_use]
    pub fn on_mesh(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 9, self.number())
    }

    /// Its own address in the clients' network.
    pub(super) fn outside(self) -> Pair {
        Pair::outside(self.number())
    }

    /// Its own address in the servers' network.
    pub(super) fn inside(self) -> Pair {
        Pair::inside(self.number())
    }

    /// The switch's end of its cable on a side.
    pub(super) fn port(self, side: usize) -> String {
        match self {
            Self::First => format!("dir{side}"),
            Self::Second => format!("sby{side}"),
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::First => 2,
            Self::Second => 3,
        }
    }
}

impl Topology {
    /// The namespace of one of the two.
    ///
    /// # Panics
    /// Asked for the second where the plan has none.
    pub fn director_of(&self, which: Director) -> &Namespace {
        match which {
            Director::First => &self.director,
            Director::Second => self.standby(),
        }
    }

    /// The second director.
    ///
    /// # Panics
    /// Where the plan has none.
    pub fn standby(&self) -> &Namespace {
        self.standby.as_ref().expect("a plan with a standby")
    }

    /// The wire between the two, which no packet of a client takes.
    pub(super) fn lay_mesh(&self) -> Result<()> {
        let standby = self.standby();
        self.director.ip(&format!("link add {MESH} type veth peer name {MESH} netns {}", standby.name()))?;
        for which in Director::BOTH {
            let address = which.on_mesh();
            self.director_of(which)
                .ip(&format!("link set {MESH} up\naddress add {address}/24 dev {MESH}"))?;
        }
        Ok(())
    }

    /// Puts the shared addresses on this director and has everybody learn where they are.
    pub fn give_vips(&self, to: Director) -> Result<()> {
        let namespace = self.director_of(to);
        for (interface, address) in self.shared() {
            namespace.ip(&vip_on(interface, address))?;
        }
        for (interface, address) in self.shared() {
            let mac = machine::mac(namespace, interface)?;
            let frame = announcement(mac, address).bytes();
            namespace.enter(|| anyhow::Ok(PacketSocket::open(interface)?.send(&[frame])?))?.with_context(
                || format!("cannot announce {address} on {interface} of {}", namespace.name()),
            )?;
        }
        Ok(())
    }

    /// Takes the shared addresses from this director.
    pub fn take_vips(&self, from: Director) -> Result<()> {
        for (interface, address) in self.shared() {
            let length = if address.is_ipv4() { 32 } else { 128 };
            self.director_of(from).ip(&format!("address del {address}/{length} dev {interface}"))?;
        }
        Ok(())
    }

    /// Nothing of this director is heard any more, by clients, servers or the other one; nor does it hear them. Its links to the
    /// bridges stay up, so that plugging in again costs no time there; the wire to the other one takes a second or two.
    pub fn cut_off(&self, director: Director) -> Result<()> {
        for (port, _) in self.cables_of(director) {
            self.switch.ip(&format!("link set {port} nomaster"))?;
        }
        self.director_of(director).ip(&format!("link set {MESH} down"))
    }

    /// The other way round. What it has of the shared addresses meanwhile, it still has.
    pub fn plug_in_again(&self, director: Director) -> Result<()> {
        for (port, bridge) in self.cables_of(director) {
            self.switch.ip(&format!("link set {port} master {bridge}"))?;
        }
        self.director_of(director).ip(&format!("link set {MESH} up"))
    }

    /// What moves: the VIPs, and the servers' way back: in NAT a gateway, by full NAT the pool.
    fn shared(&self) -> Vec<(&'static str, IpAddr)> {
        let interfaces = self.director_interfaces();
        let inside = *interfaces.last().expect("a director has an interface");
        let vips = Family::BOTH.map(|family| (interfaces[0], vip(family)));
        let gateways = [(inside, Pair::INSIDE.v4.into()), (inside, Pair::INSIDE.v6.into())];
        let pool = [(inside, POOL.into()), (inside, POOL6.into())];
        let pool = pool.into_iter().filter(|_| self.has_pool);
        vips.into_iter().chain(gateways).chain(pool).collect()
    }

    /// The switch's ends of a director's cables, and the bridge each belongs to.
    fn cables_of(&self, director: Director) -> Vec<(String, &'static str)> {
        let bridges = [self.outside_bridge(), self.inside_bridge()];
        self.ports_of(director)
            .into_iter()
            .map(|port| {
                let side = usize::from(port.contains('1'));
                (port, bridges[side])
            })
            .collect()
    }
}

/// "This address is here", asked by nobody: a gratuitous ARP request (RFC 5227, section 3), or an unsolicited neighbour
/// advertisement (RFC 4861, section 7.2.6).
fn announcement(mac: [u8; 6], address: IpAddr) -> Frame {
    match address {
        IpAddr::V4(address) => Frame::new(mac, EVERYBODY, Arp::request((mac, address), address)),
        IpAddr::V6(address) => {
            let (everybody, group) = ALL_NODES;
            let advertisement = Icmp::advertisement(address, mac);
            Frame::new(mac, group, Ipv6::new(address, everybody, advertisement).hop_limit(255))
        }
    }
}

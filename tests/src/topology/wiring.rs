//! How a machine is joined to the switch: by a cable, by a VLAN of one, by a bond of two; or to a wire outside, by a card.

use anyhow::Result;

use super::addresses::Pair;
use super::{Topology, Wiring, cards};
use crate::namespace::Namespace;

/// A machine's cable, where its interfaces are VLANs.
pub(super) const WIRE: &str = "wire";
/// Two tags.
const ROOM_FOR_TAGS: u32 = 8;

/// The ends of a bond's two cables; the first carries until it is cut.
pub(super) fn member_ports(port: &str) -> [String; 2] {
    [port.to_owned(), format!("{port}b")]
}

impl Topology {
    /// A veth from `interface` in `namespace` to `port` of a bridge in the switch.
    pub(super) fn plug_in(
        &self,
        namespace: &Namespace,
        interface: &str,
        port: &str,
        bridge: &str,
        own: Pair,
    ) -> Result<()> {
        let device = if self.wiring.is_tagged() { WIRE } else { interface };
        self.lay_cable(namespace, device, port, bridge, own)?;
        if self.wiring.is_tagged() {
            namespace.ip(&vlan_interface(self.wiring, interface, own))?;
        }
        namespace.ip(&format!("link set {interface} mtu {}", self.mtu))
    }

    /// Likewise a director's, which may be a bond.
    pub(super) fn plug_in_director(
        &self,
        director: &Namespace,
        interface: &str,
        port: &str,
        bridge: &str,
        own: Pair,
    ) -> Result<()> {
        if self.wiring != Wiring::Bond {
            return self.plug_in(director, interface, port, bridge, own);
        }
        director.ip(&format!(
            "link add {interface} address {} type bond mode active-backup miimon 20\n",
            own.mac()
        ))?;
        for (port, letter) in member_ports(port).iter().zip(["a", "b"]) {
            let member = format!("{interface}{letter}");
            self.lay_cable(director, &member, port, bridge, own)?;
            director.ip(&format!("link set {member} master {interface}\n"))?;
        }
        director.ip(&format!("link set {interface} mtu {}", self.mtu))
    }

    fn lay_cable(
        &self,
        namespace: &Namespace,
        device: &str,
        port: &str,
        bridge: &str,
        own: Pair,
    ) -> Result<()> {
        if self.wiring == Wiring::Cards {
            return cards::give(namespace, device, own);
        }
        let (mac, name, mtu) = (own.mac(), namespace.name(), self.mtu + ROOM_FOR_TAGS);
        self.switch.ip(&format!(
            "link add {port} mtu {mtu} type veth peer name {device} mtu {mtu} address {mac} netns {name}\n\
             link set {port} master {bridge} up"
        ))
    }
}

/// What `ip` is told to make an interface of a wire's VLAN: that of the clients' network is 10, or 10 within 100, that of
/// the servers' 20.
pub(super) fn vlan_interface(wiring: Wiring, interface: &str, own: Pair) -> String {
    let network = u32::from(own.v4.octets()[2]);
    let (inner, outer) = (10 * network, 100 * network);
    let wire = format!("link set {WIRE} up\n");
    if wiring == Wiring::VlanInVlan {
        let around = format!("{WIRE}.{outer}");
        format!(
            "{wire}link add link {WIRE} name {around} type vlan protocol 802.1ad id {outer}\nlink set {around} up\n\
             link add link {around} name {interface} type vlan id {inner}\n"
        )
    } else {
        format!("{wire}link add link {WIRE} name {interface} type vlan id {inner}\n")
    }
}

//! A client, a director and real servers, each a namespace, joined the way racks are.
//!
//! ```text
//! two-arm   client ── br-c ── eth0 director eth1 ── br-s ── server…      one-arm   client ─┐
//!           10.77.1.0/24                          10.77.2.0/24                     server… ├─ br-a ── eth0 director
//!           fd77:1::/64                           fd77:2::/64
//! ```
//!
//! The bridges live in a namespace of their own (the *switch*), so the director has one veth per side, as a machine has
//! one NIC per side. In one-arm both subnets share the wire. The addresses are the same in both layouts, so one
//! configuration fits both. A default route leads from the director back to the first client, which is thereby the way
//! to every source address a flood invents (and, not forwarding, its end).
//!
//! # What veth needs for XDP in driver mode
//!
//! - A program on the *peer* of each of the director's veths ([`stub`]): without it XDP_TX frames count as sent and
//!   vanish. Here the peers are the switch's ports.
//! - Checksums complete before the balancer sees the frame: [`Offload::TxChecksum`] off on the device that feeds it,
//!   again the switch's port, and on that one alone. Clients and servers keep their offloads.
//! - Segmentation needs no hand: attaching in driver mode clears the peer's software GSO itself, so the switch's port
//!   cuts big frames to the MTU before they are handed over.

mod addresses;
mod cards;
mod cuts;
mod machine;
mod plan;
mod refusals;
mod standby;
mod wiring;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};

use crate::cleanup::Undo;
use crate::family::Family;
use crate::namespace::{Group, Namespace};
use crate::offload::{self, Offload};
use crate::stub::{self, Attached};

pub use addresses::{
    DIRECTOR_INSIDE, DIRECTOR_INSIDE6, DIRECTOR_OUTSIDE, DIRECTOR_OUTSIDE6, POOL, POOL6, VIP, VIP6,
    client_address, client_address6, server_address, server_address6, server_name, vip,
};
use addresses::{Pair, vip_on};
pub use cuts::{Cut, Network};
pub use plan::{Delivery, Layout, Plan, Wiring};
pub use standby::{Director, MESH};
use wiring::{WIRE, member_ports, vlan_interface};

/// A real server's namespace and what a configuration needs to know of it.
pub struct Server {
    pub name: String,
    pub address: Ipv4Addr,
    pub address6: Ipv6Addr,
    pub delivery: Delivery,
    pub namespace: Namespace,
}

impl Server {
    pub fn address_in(&self, family: Family) -> IpAddr {
        family.choose(self.address, self.address6)
    }
}

/// The built network; dropping it removes every namespace.
pub struct Topology {
    layout: Layout,
    wiring: Wiring,
    mtu: u32,
    /// Whether the directors have what full NAT sends from.
    has_pool: bool,
    group: Group,
    // Dropped in this order: first the stubs' links, then the machines, the switch last.
    _stubs: Vec<Attached>,
    servers: Vec<Server>,
    clients: Vec<Namespace>,
    director: Namespace,
    standby: Option<Namespace>,
    switch: Namespace,
}

impl Topology {
    /// Builds what `plan` says. Needs root.
    pub fn build(plan: &Plan) -> Result<Self> {
        let group = Group::next();
        let mut topology = Self {
            layout: plan.layout,
            wiring: plan.wiring,
            mtu: plan.mtu,
            has_pool: plan.delivery == Delivery::FullNat,
            group,
            _stubs: Vec::new(),
            servers: Vec::new(),
            clients: Vec::new(),
            director: Namespace::create(group, "director")?,
            standby: if plan.standby { Some(Namespace::create(group, "standby")?) } else { None },
            switch: Namespace::create(group, "switch")?,
        };
        topology.set_up_switch().context("cannot set up the switch")?;
        topology._stubs =
            topology.set_up_director(plan, Director::First).context("cannot set up the director")?;
        if plan.standby {
            let stubs =
                topology.set_up_director(plan, Director::Second).context("cannot set up the standby")?;
            topology._stubs.extend(stubs);
            topology.lay_mesh().context("cannot join the two directors")?;
        }
        for _ in 0..plan.clients {
            topology.add_client().context("cannot add a client")?;
        }
        for _ in 0..plan.servers {
            topology.add_server(plan.delivery).context("cannot add a server")?;
        }
        Ok(topology)
    }

    /// The first client.
    pub fn client(&self) -> &Namespace {
        &self.clients[0]
    }

    pub fn clients(&self) -> &[Namespace] {
        &self.clients
    }

    pub fn director(&self) -> &Namespace {
        &self.director
    }

    /// Where the bridges are; its ports `dir0` and `dir1` are the peers of the director's veths, the place for tcpdump.
    pub fn switch(&self) -> &Namespace {
        &self.switch
    }

    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The director's interfaces, for `[agent] interfaces`.
    pub fn director_interfaces(&self) -> &'static [&'static str] {
        match self.layout {
            Layout::OneArm => &["eth0"],
            Layout::TwoArm => &["eth0", "eth1"],
        }
    }

    /// The devices below them, which the program is attached to.
    pub fn director_devices(&self) -> &'static [&'static str] {
        match self.wiring {
            Wiring::Plain | Wiring::Bond | Wiring::Cards => self.director_interfaces(),
            Wiring::Vlan | Wiring::VlanInVlan => &[WIRE],
        }
    }

    /// The switch's ends of a director's cables.
    fn ports_of(&self, director: Director) -> Vec<String> {
        let ports = (0..self.director_devices().len()).map(|side| director.port(side));
        match self.wiring {
            Wiring::Bond => ports.flat_map(|port| member_ports(&port)).collect(),
            Wiring::Plain | Wiring::Vlan | Wiring::VlanInVlan => ports.collect(),
            // Their other ends are not of this machine.
            Wiring::Cards => Vec::new(),
        }
    }

    /// Cuts the cable that carries for one side of a bonded director, for good.
    pub fn cut_active_cable(&self, side: usize) -> Result<()> {
        let [active, _] = member_ports(&Director::First.port(side));
        self.switch.ip(&format!("link set {active} down"))
    }

    /// Adds one more real server and returns its index.
    pub fn add_server(&mut self, delivery: Delivery) -> Result<usize> {
        let index = self.servers.len();
        let namespace = Namespace::create(self.group, &server_name(index))?;
        namespace.speak_ipv6()?;
        let own = Pair::server(index);
        self.plug_in(&namespace, "eth0", &format!("srv{index}"), self.inside_bridge(), own)?;
        namespace.ip(&own.owned_by("eth0"))?;
        namespace.ip(&match (delivery, self.layout) {
            (Delivery::Nat, _) => Pair::INSIDE.as_router(),
            (Delivery::DirectRouting, Layout::TwoArm) => Pair::ROUTER_INSIDE.as_router(),
            // On one wire the server reaches the clients without any router.
            (Delivery::FullNat, _) => String::new(),
            (Delivery::DirectRouting, Layout::OneArm) => {
                let clients = "route add 10.77.1.0/24 dev eth0\nroute add fd77:1::/64 dev eth0\n";
                clients.to_owned() + &Pair::client(0).as_router()
            }
        })?;
        machine::tune(&namespace)?;
        if delivery == Delivery::DirectRouting {
            // Set before the VIP is there: a single ARP answer would draw the clients past the director. IPv6 needs no
            // such: neighbours are answered for the addresses of the very interface, and the VIP is on another.
            namespace
                .sysctl(&[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")])?;
            namespace.ip(&both_vips_on("lo"))?;
        }
        let (address, address6) = (own.v4, own.v6);
        self.servers.push(Server { name: server_name(index), address, address6, delivery, namespace });
        Ok(index)
    }

    /// Adds one more VIP: on the director's eth0, and on lo of each direct-routing server.
    pub fn add_vip(&self, vip: impl Into<IpAddr>) -> Result<()> {
        let vip = vip.into();
        self.director.ip(&vip_on("eth0", vip))?;
        for server in self.servers.iter().filter(|server| server.delivery == Delivery::DirectRouting) {
            server.namespace.ip(&vip_on("lo", vip))?;
        }
        Ok(())
    }

    /// Spares the servers the frames of a [`flood`](crate::flood): they are dropped on arrival, in driver mode, while the
    /// guards live. The director handles every one of them all the same; what is saved is the servers' kernels answering
    /// each, which on a small machine costs several times what the director does and starves everybody.
    pub fn shield_servers(&self) -> Result<Vec<Attached>> {
        self.servers.iter().map(|server| stub::attach_shield(&server.namespace, "eth0")).collect()
    }

    /// Pulls the server's cable: packets to it are lost without any answer. Plugged in again when the guard is dropped.
    pub fn unplug(&self, server: usize) -> Result<Undo> {
        self.switch.ip(&format!("link set srv{server} down"))?;
        let mut up = self.switch.command("ip")?;
        up.args(["link", "set", &format!("srv{server}"), "up"]);
        Ok(Undo::new(move || {
            if let Err(error) = crate::tools::output(&mut up) {
                eprintln!("warning: srv{server} stays unplugged: {error:#}");
            }
        }))
    }

    /// The MAC address of an interface of the director, which frames from the clients' side are sent to.
    pub fn director_mac(&self, interface: &str) -> Result<[u8; 6]> {
        machine::mac(&self.director, interface)
    }

    /// The MAC address of server `index`.
    pub fn server_mac(&self, index: usize) -> Result<[u8; 6]> {
        machine::mac(&self.servers[index].namespace, "eth0")
    }

    fn add_client(&mut self) -> Result<()> {
        let index = self.clients.len();
        let namespace = Namespace::create(self.group, &format!("client{index}"))?;
        namespace.speak_ipv6()?;
        let own = Pair::client(index);
        self.plug_in(&namespace, "eth0", &format!("cli{index}"), self.outside_bridge(), own)?;
        namespace.ip(&(own.owned_by("eth0") + &Pair::OUTSIDE.as_router()))?;
        machine::tune(&namespace)?;
        self.clients.push(namespace);
        Ok(())
    }

    fn outside_bridge(&self) -> &'static str {
        if self.is_one_wire() { "br-a" } else { "br-c" }
    }

    fn inside_bridge(&self) -> &'static str {
        if self.is_one_wire() { "br-a" } else { "br-s" }
    }

    fn is_one_wire(&self) -> bool {
        self.layout == Layout::OneArm || self.wiring.is_tagged()
    }

    fn set_up_switch(&self) -> Result<()> {
        let switch = &self.switch;
        let bridges: &[(&str, Option<Pair>)] = if self.is_one_wire() {
            &[("br-a", None)]
        } else {
            &[("br-c", Some(Pair::ROUTER_OUTSIDE)), ("br-s", Some(Pair::ROUTER_INSIDE))]
        };
        if !self.is_one_wire() {
            switch.speak_ipv6()?;
        }
        for (bridge, own) in bridges {
            let add = format!("link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0\n");
            let up = own.map_or_else(|| format!("link set {bridge} up\n"), |own| own.owned_by(bridge));
            switch.ip(&(add + &up))?;
        }
        if !self.is_one_wire() {
            switch.ip(&Pair::client(0).as_router())?;
            switch.sysctl(&[
                ("net/ipv4/ip_forward", "1"),
                ("net/ipv4/conf/all/send_redirects", "0"),
                ("net/ipv6/conf/all/forwarding", "1"),
                // The bridges speak, their ports do not.
                ("net/ipv6/conf/default/disable_ipv6", "1"),
            ])?;
        }
        Ok(())
    }

    /// The stubs at the other ends of its cables keep XDP going there.
    fn set_up_director(&self, plan: &Plan, which: Director) -> Result<Vec<Attached>> {
        let director = self.director_of(which);
        let (outside, inside) =
            if plan.standby { (which.outside(), which.inside()) } else { (Pair::OUTSIDE, Pair::INSIDE) };
        let forward = if plan.kernel_forwards { "1" } else { "0" };
        director.speak_ipv6()?;
        director.sysctl(&[
            ("net/ipv6/conf/all/forwarding", forward),
            ("net/ipv6/conf/default/forwarding", forward),
            ("net/ipv4/ip_forward", forward),
            ("net/ipv4/conf/all/forwarding", forward),
            ("net/ipv4/conf/default/forwarding", forward),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
        ])?;
        self.plug_in_director(director, "eth0", &which.port(0), self.outside_bridge(), outside)?;
        director.ip(&outside.owned_by("eth0"))?;
        match self.layout {
            Layout::OneArm => director.ip(&inside.owned_by("eth0"))?,
            Layout::TwoArm => {
                if self.wiring.is_tagged() {
                    director.ip(&vlan_interface(self.wiring, "eth1", inside))?;
                } else {
                    self.plug_in_director(director, "eth1", &which.port(1), self.inside_bridge(), inside)?;
                }
                director.ip(&inside.owned_by("eth1"))?;
            }
        }
        director.ip(&Pair::client(0).as_router())?;
        if self.has_pool && !plan.standby {
            let inside = if self.layout == Layout::OneArm { "eth0" } else { "eth1" };
            director.ip(&(vip_on(inside, POOL.into()) + &vip_on(inside, POOL6.into())))?;
        }
        if plan.vip_on_director && !plan.standby {
            director.ip(&both_vips_on("eth0"))?;
        }
        let mut stubs = Vec::new();
        if plan.standby {
            // A card takes what is for it alone, and a veth takes everything: without this, one of the two would forward what the
            // switch floods because the other is gone.
            for port in self.ports_of(which) {
                self.switch.ip(&format!("link set {port} type bridge_slave flood off"))?;
            }
        }
        if plan.ready_for_xdp {
            for port in self.ports_of(which) {
                offload::set(&self.switch, &port, Offload::TxChecksum, false)?;
                if self.wiring.is_tagged() {
                    offload::write_tags_into_frames(&self.switch, &port)?;
                }
                stubs.push(stub::attach(&self.switch, &port)?);
            }
        }
        Ok(stubs)
    }
}

fn both_vips_on(interface: &str) -> String {
    Family::BOTH.map(|family| vip_on(interface, vip(family))).concat()
}

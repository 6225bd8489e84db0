//! A client, a director and real servers, each a namespace, joined the way racks are.
//!
//! ```text
//! two-arm   client ── br-c ── eth0 director eth1 ── br-s ── server…      one-arm   client ─┐
//!           10.77.1.0/24                          10.77.2.0/24                     server… ├─ br-a ── eth0 director
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

mod plan;

use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use crate::cleanup::Undo;
use crate::namespace::{Group, Namespace};
use crate::offload::{self, Offload};
use crate::stub::{self, Attached};

pub use plan::{
    DIRECTOR_INSIDE, DIRECTOR_OUTSIDE, Delivery, Layout, Plan, VIP, client_address, server_address,
    server_name,
};
use plan::{ROUTER_INSIDE, ROUTER_OUTSIDE};

/// A real server's namespace and what a configuration needs to know of it.
pub struct Server {
    pub name: String,
    pub address: Ipv4Addr,
    pub delivery: Delivery,
    pub namespace: Namespace,
}

/// The built network; dropping it removes every namespace.
pub struct Topology {
    layout: Layout,
    group: Group,
    // Dropped in this order: first the stubs' links, then the machines, the switch last.
    _stubs: Vec<Attached>,
    servers: Vec<Server>,
    clients: Vec<Namespace>,
    director: Namespace,
    switch: Namespace,
}

impl Topology {
    /// Builds what `plan` says. Needs root.
    pub fn build(plan: &Plan) -> Result<Self> {
        let group = Group::next();
        let mut topology = Self {
            layout: plan.layout,
            group,
            _stubs: Vec::new(),
            servers: Vec::new(),
            clients: Vec::new(),
            director: Namespace::create(group, "director")?,
            switch: Namespace::create(group, "switch")?,
        };
        topology.set_up_switch().context("cannot set up the switch")?;
        topology.set_up_director(plan).context("cannot set up the director")?;
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

    /// Adds one more real server and returns its index.
    pub fn add_server(&mut self, delivery: Delivery) -> Result<usize> {
        let index = self.servers.len();
        let namespace = Namespace::create(self.group, &server_name(index))?;
        let address = server_address(index);
        self.plug_in(&namespace, "eth0", &format!("srv{index}"), self.inside_bridge(), address)?;
        namespace.ip(&format!("address add {address}/24 dev eth0\nlink set eth0 up"))?;
        match (delivery, self.layout) {
            (Delivery::Nat, _) => namespace.ip(&format!("route add default via {DIRECTOR_INSIDE}"))?,
            (Delivery::DirectRouting, Layout::TwoArm) => {
                namespace.ip(&format!("route add default via {ROUTER_INSIDE}"))?;
            }
            // On one wire the server reaches the clients without any router.
            (Delivery::DirectRouting, Layout::OneArm) => namespace.ip(&format!(
                "route add 10.77.1.0/24 dev eth0\nroute add default via {}",
                client_address(0)
            ))?,
        }
        self.tune_end_host(&namespace)?;
        if delivery == Delivery::DirectRouting {
            // Set before the VIP is there: a single ARP answer would draw the clients past the director.
            namespace
                .sysctl(&[("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2")])?;
            namespace.ip(&format!("address add {VIP}/32 dev lo"))?;
        }
        self.servers.push(Server { name: server_name(index), address, delivery, namespace });
        Ok(index)
    }

    /// Adds one more VIP: on the director's eth0, and on lo of each direct-routing server.
    pub fn add_vip(&self, vip: Ipv4Addr) -> Result<()> {
        self.director.ip(&format!("address add {vip}/32 dev eth0"))?;
        for server in self.servers.iter().filter(|server| server.delivery == Delivery::DirectRouting) {
            server.namespace.ip(&format!("address add {vip}/32 dev lo"))?;
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
        let switch = self.switch.name().to_owned();
        self.switch.ip(&format!("link set srv{server} down"))?;
        Ok(Undo::new(move || {
            let up = crate::tools::command("ip").and_then(|mut ip| {
                crate::tools::output(ip.args(["-n", &switch, "link", "set", &format!("srv{server}"), "up"]))
            });
            if let Err(error) = up {
                eprintln!("warning: srv{server} stays unplugged: {error:#}");
            }
        }))
    }

    /// The MAC address of an interface of the director, which frames from the clients' side are sent to.
    pub fn director_mac(&self, interface: &str) -> Result<[u8; 6]> {
        mac(&self.director, interface)
    }

    fn add_client(&mut self) -> Result<()> {
        let index = self.clients.len();
        let namespace = Namespace::create(self.group, &format!("client{index}"))?;
        let address = client_address(index);
        self.plug_in(&namespace, "eth0", &format!("cli{index}"), self.outside_bridge(), address)?;
        namespace.ip(&format!(
            "address add {address}/24 dev eth0\nlink set eth0 up\nroute add default via {DIRECTOR_OUTSIDE}"
        ))?;
        self.tune_end_host(&namespace)?;
        self.clients.push(namespace);
        Ok(())
    }

    fn outside_bridge(&self) -> &'static str {
        match self.layout {
            Layout::OneArm => "br-a",
            Layout::TwoArm => "br-c",
        }
    }

    fn inside_bridge(&self) -> &'static str {
        match self.layout {
            Layout::OneArm => "br-a",
            Layout::TwoArm => "br-s",
        }
    }

    fn set_up_switch(&self) -> Result<()> {
        let switch = &self.switch;
        let bridges: &[(&str, Option<Ipv4Addr>)] = match self.layout {
            Layout::OneArm => &[("br-a", None)],
            Layout::TwoArm => &[("br-c", Some(ROUTER_OUTSIDE)), ("br-s", Some(ROUTER_INSIDE))],
        };
        for (bridge, address) in bridges {
            switch.ip(&format!(
                "link add {bridge} type bridge forward_delay 0 stp_state 0 mcast_snooping 0\nlink set {bridge} up"
            ))?;
            if let Some(address) = address {
                switch.ip(&format!("address add {address}/24 dev {bridge}"))?;
            }
        }
        if self.layout == Layout::TwoArm {
            switch.ip(&format!("route add default via {}", client_address(0)))?;
            switch.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/send_redirects", "0")])?;
        }
        Ok(())
    }

    fn set_up_director(&mut self, plan: &Plan) -> Result<()> {
        let director = &self.director;
        let forward = if plan.kernel_forwards { "1" } else { "0" };
        director.sysctl(&[
            ("net/ipv4/ip_forward", forward),
            ("net/ipv4/conf/all/forwarding", forward),
            ("net/ipv4/conf/default/forwarding", forward),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
        ])?;
        self.plug_in(director, "eth0", "dir0", self.outside_bridge(), DIRECTOR_OUTSIDE)?;
        director.ip(&format!("address add {DIRECTOR_OUTSIDE}/24 dev eth0"))?;
        match self.layout {
            Layout::OneArm => director.ip(&format!("address add {DIRECTOR_INSIDE}/24 dev eth0"))?,
            Layout::TwoArm => {
                self.plug_in(director, "eth1", "dir1", self.inside_bridge(), DIRECTOR_INSIDE)?;
                director.ip(&format!("address add {DIRECTOR_INSIDE}/24 dev eth1\nlink set eth1 up"))?;
            }
        }
        director.ip(&format!("link set eth0 up\nroute add default via {}", client_address(0)))?;
        if plan.vip_on_director {
            director.ip(&format!("address add {VIP}/32 dev eth0"))?;
        }
        if plan.ready_for_xdp {
            for port in ["dir0", "dir1"].iter().take(self.director_interfaces().len()) {
                offload::set(&self.switch, port, Offload::TxChecksum, false)?;
                self._stubs.push(stub::attach(&self.switch, port)?);
            }
        }
        Ok(())
    }

    /// A veth from `interface` in `namespace` to `port` of a bridge in the switch.
    fn plug_in(
        &self,
        namespace: &Namespace,
        interface: &str,
        port: &str,
        bridge: &str,
        address: Ipv4Addr,
    ) -> Result<()> {
        let [_, _, network, host] = address.octets();
        // A readable, locally administered MAC: one sees in a dump whose frame it is.
        let mac = format!("02:77:00:00:{network:02x}:{host:02x}");
        self.switch.ip(&format!(
            "link add {port} type veth peer name {interface} address {mac} netns {}\n\
             link set {port} master {bridge} up",
            namespace.name()
        ))
    }

    /// What a test with many connections needs of a client or a server.
    fn tune_end_host(&self, namespace: &Namespace) -> Result<()> {
        namespace.sysctl(&[
            ("net/ipv4/ip_local_port_range", "10000 65000"),
            ("net/ipv4/tcp_max_syn_backlog", "16384"),
            ("net/core/somaxconn", "16384"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/eth0/rp_filter", "0"),
            // Both subnets share the wire in one-arm; a redirect would teach the ends a way round the director.
            ("net/ipv4/conf/all/accept_redirects", "0"),
            ("net/ipv4/conf/eth0/accept_redirects", "0"),
        ])
    }
}

fn mac(namespace: &Namespace, interface: &str) -> Result<[u8; 6]> {
    let links = namespace.ip_json(&["link", "show", "dev", interface])?;
    let text = links[0]["address"].as_str().context("ip shows no MAC address")?;
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    <[u8; 6]>::try_from(bytes.as_slice()).with_context(|| format!("{text} is no MAC address"))
}

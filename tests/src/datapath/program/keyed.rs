//! The maps that are looked up by a key.

use anyhow::{Context as _, Result};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::xdp::DevMap;
use aya::maps::{HashMap, MapData};
use lb_common::entry::{AccessKey, EndpointKey, QuicKey, Rule, Sharers};
use lb_common::net::{Addr, PortNumber};
use lb_common::slot::ServerId;
use lb_common::wire::Wire;

use crate::datapath::maps::Keyed;

pub(super) struct HashMaps {
    pub(super) listeners: HashMap<MapData, EndpointKey, u32>,
    pub(super) backends: HashMap<MapData, EndpointKey, Sharers>,
    pub(super) locals: HashMap<MapData, Addr, u32>,
    pub(super) vlans: HashMap<MapData, Wire, u32>,
    pub(super) devices: DevMap<MapData>,
    pub(super) lists: LpmTrie<MapData, [u32; AccessKey::DATA_WORDS], u32>,
    pub(super) quic_servers: HashMap<MapData, QuicKey, u32>,
    pub(super) members: HashMap<MapData, u64, u32>,
}

impl Keyed for HashMaps {
    fn add_listener(&mut self, key: EndpointKey, service: u32) -> Result<()> {
        self.listeners.insert(key, service, 0).context("cannot add a listener")
    }

    fn add_backend(&mut self, key: EndpointKey, sharers: Sharers) -> Result<()> {
        self.backends.insert(key, sharers, 0).context("cannot add a backend")
    }

    fn add_local(&mut self, addr: Addr) -> Result<()> {
        self.locals.insert(addr, 1, 0).context("cannot add a local address")
    }

    fn add_vlan(&mut self, wire: Wire, index: u32) -> Result<()> {
        self.devices.set(PortNumber::of_interface(index).index(), wire.device, None, 0)?;
        self.vlans.insert(wire, index, 0).context("cannot add a VLAN interface")
    }

    fn add_rule(&mut self, prefix: AccessKey, rule: Rule) -> Result<()> {
        let key = Key::new(prefix.prefix_len(), prefix.data());
        self.lists.insert(&key, rule as u32, 0).context("cannot add a prefix")
    }

    fn add_quic_server(&mut self, key: QuicKey, server: ServerId) -> Result<()> {
        self.quic_servers
            .insert(key, server.index(), 0)
            .context("cannot add what connection ids call a server")
    }

    fn add_member(&mut self, key: u64, server: ServerId) -> Result<()> {
        self.members.insert(key, server.index(), 0).context("cannot add what a service calls a server")
    }

    fn clear(&mut self) -> Result<()> {
        for key in self.listeners.keys().collect::<Result<Vec<_>, _>>()? {
            self.listeners.remove(&key)?;
        }
        for key in self.backends.keys().collect::<Result<Vec<_>, _>>()? {
            self.backends.remove(&key)?;
        }
        for key in self.locals.keys().collect::<Result<Vec<_>, _>>()? {
            self.locals.remove(&key)?;
        }
        for key in self.vlans.keys().collect::<Result<Vec<_>, _>>()? {
            self.vlans.remove(&key)?;
        }
        for key in self.lists.keys().collect::<Result<Vec<_>, _>>()? {
            self.lists.remove(&key)?;
        }
        for key in self.quic_servers.keys().collect::<Result<Vec<_>, _>>()? {
            self.quic_servers.remove(&key)?;
        }
        for key in self.members.keys().collect::<Result<Vec<_>, _>>()? {
            self.members.remove(&key)?;
        }
        Ok(())
    }
}

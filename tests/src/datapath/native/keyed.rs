//! The maps that are looked up by a key.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use lb_common::entry::{AccessKey, EndpointKey, QuicKey, Rule, Sharers};
use lb_common::net::Addr;
use lb_common::slot::ServerId;
use lb_common::wire::Wire;

use crate::datapath::maps::Keyed;

#[derive(Default)]
pub(super) struct HashMaps {
    pub(super) listeners: HashMap<EndpointKey, u32>,
    pub(super) backends: HashMap<EndpointKey, Sharers>,
    pub(super) locals: HashSet<Addr>,
    pub(super) vlans: HashMap<Wire, u32>,
    /// The kernel's trie as a list of its prefixes.
    pub(super) rules: Vec<(AccessKey, Rule)>,
    pub(super) quic_servers: HashMap<QuicKey, ServerId>,
    pub(super) members: HashMap<u64, ServerId>,
}

impl Keyed for HashMaps {
    fn add_listener(&mut self, key: EndpointKey, service: u32) -> Result<()> {
        self.listeners.insert(key, service);
        Ok(())
    }

    fn add_backend(&mut self, key: EndpointKey, sharers: Sharers) -> Result<()> {
        self.backends.insert(key, sharers);
        Ok(())
    }

    fn add_local(&mut self, addr: Addr) -> Result<()> {
        self.locals.insert(addr);
        Ok(())
    }

    fn add_vlan(&mut self, wire: Wire, index: u32) -> Result<()> {
        self.vlans.insert(wire, index);
        Ok(())
    }

    fn add_rule(&mut self, prefix: AccessKey, rule: Rule) -> Result<()> {
        self.rules.push((prefix, rule));
        Ok(())
    }

    fn add_quic_server(&mut self, key: QuicKey, server: ServerId) -> Result<()> {
        self.quic_servers.insert(key, server);
        Ok(())
    }

    fn add_member(&mut self, key: u64, server: ServerId) -> Result<()> {
        self.members.insert(key, server);
        Ok(())
    }

    fn clear(&mut self) -> Result<()> {
        *self = Self::default();
        Ok(())
    }
}

//! Brings the maps to what is desired: the same few steps at start, reload, health change and repair.
//!
//! Order: server entries before whatever names them; tables aside, then one word that publishes them; listeners last.
//! Removal goes the other way round. Dying between any two steps leaves a data path that forwards.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use lb_common::entry::{Counters, EndpointKey, Interface, ServerState, Service, Settings, Sharers};
use lb_common::gate::{self, Position, Role};
use lb_common::maglev::{self, Share};
use lb_common::net::{Addr, NextHop, PortNumber};
use lb_common::pick::{Extent, IDS_PER_WORD, word_of_ids};
use lb_common::slot::{Limits, ServerId};

use super::arena::Arena;
use super::desired::{DesiredServer, DesiredService};
use super::ledger::{Ledger, Numbered, PairIdentity, listener_word};
use crate::config;
use crate::dataplane::Maps;
use crate::net;

/// How long the miss table stays behind the select table on a single director: long enough that connections picked by
/// the old tables have either been stored or ended.
pub const MISS_DELAY: Duration = Duration::from_secs(10);

/// The maps and what the agent knows of them.
pub struct Installation {
    pub maps: Maps,
    pub ledger: Ledger,
    arena: Arena,
    /// What each service's tables were last built from.
    built: HashMap<u16, Vec<Share>>,
    /// Services whose miss table has yet to follow, and when.
    following: HashMap<u16, Instant>,
    locals: BTreeSet<IpAddr>,
}

/// A wanted configuration for which there is room, not yet in force.
pub struct Plan {
    ledger: Ledger,
    numbered: Vec<Numbered>,
}

impl Installation {
    /// Reads what the maps say.
    #[must_use]
    pub fn of(maps: Maps, now: Instant) -> Self {
        let ledger = Ledger::read(&maps.services, &maps.servers);
        let extents: Vec<Extent> = maps
            .services
            .all()
            .iter()
            .filter(|service| service.flags.load() & Service::IN_USE != 0)
            .flat_map(|service| [service.select.load(), service.miss.load()])
            .filter_map(Extent::from_word)
            .collect();
        let arena = Arena::new(maps.tables.all().len() as u32, extents);
        let behind = |service: &Service| service.select.load() != service.miss.load();
        let following = ledger
            .services()
            .filter(|(number, _)| maps.services.get(u32::from(*number)).is_some_and(behind))
            .map(|(number, _)| (number, now + MISS_DELAY))
            .collect();
        let locals = maps.locals.keys().filter_map(Result::ok).map(IpAddr::from).collect();
        Self { maps, ledger, arena, built: HashMap::new(), following, locals }
    }

    /// Whether there is room for this; changes nothing.
    ///
    /// # Errors
    /// What there is no room for, with the remedy.
    pub fn plan(&self, wanted: &[DesiredService]) -> Result<Plan> {
        let mut ledger = self.ledger.clone();
        let numbered = ledger.assign(wanted).map_err(|full| anyhow!("{full}"))?;
        let needed: u64 = wanted.iter().map(|service| u64::from(Extent::words_for(service.table_size))).sum();
        // Each table may stand twice while the miss table follows.
        let room = self.maps.tables.all().len() as u64;
        if needed * 2 > room {
            bail!(
                "the tables need {} MiB, the maps have room for {} MiB; 'xlvs down' and 'xlvs up' make them anew, larger",
                (needed * 2 * 8) >> 20,
                (room * 8) >> 20
            );
        }
        for (endpoint, ids) in sharers(&ledger) {
            if ids.len() > Sharers::LIMIT {
                bail!(
                    "{} services lead to the real server {} and one port by NAT, {} are possible; give some of them \
                     another port or address at the server",
                    ids.len(),
                    IpAddr::from(endpoint.addr),
                    Sharers::LIMIT
                );
            }
        }
        Ok(Plan { ledger, numbered })
    }

    /// Puts a plan in force.
    ///
    /// # Errors
    /// What the kernel says; what was done by then stays done and is repeated by the next call.
    pub fn apply(&mut self, plan: Plan, wanted: &[DesiredService], now: Instant) -> Result<()> {
        let Plan { ledger, numbered } = plan;
        let before = std::mem::replace(&mut self.ledger, ledger);
        for (service, numbers) in wanted.iter().zip(&numbered) {
            self.write_service(service, numbers.service);
            for (server, id) in service.servers.iter().zip(&numbers.servers) {
                self.write_server(service, numbers.service, server, *id);
            }
        }
        self.write_backends()?;
        self.write_gate();
        for (service, numbers) in wanted.iter().zip(&numbered) {
            self.build_tables(service, numbers, now)?;
        }
        self.write_listeners(wanted, &numbered)?;
        self.mark_leaving();
        let gone = before.services().filter(|(number, _)| !numbered.iter().any(|n| n.service == *number));
        for (number, _) in gone.collect::<Vec<_>>() {
            self.close_service(number, now);
        }
        Ok(())
    }

    /// Lets the miss tables follow that are due.
    pub fn follow(&mut self, now: Instant) {
        let due: Vec<u16> =
            self.following.iter().filter(|(_, at)| **at <= now).map(|(number, _)| *number).collect();
        for number in due {
            self.following.remove(&number);
            let Some(service) = self.maps.services.get(u32::from(number)) else { continue };
            let (select, miss) = (service.select.load(), service.miss.load());
            if select != miss {
                service.miss.store(select);
                if let Some(old) = Extent::from_word(miss) {
                    self.arena.release(old, now);
                }
            }
        }
    }

    /// Writes the next hops that are known. One that is not known is left as it is: it was right once, and the health
    /// check judges reachability. Says whether a pair got its first, and may enter its table now.
    #[must_use]
    pub fn write_next_hops(&self, view: &net::View) -> bool {
        let mut first = false;
        for (id, pair) in self.ledger.pairs() {
            let Some(hop) = view.hops.get(&IpAddr::from(pair.identity.address)) else { continue };
            let word = NextHop { mac: hop.mac, port: PortNumber::of_interface(hop.ifindex) }.to_word();
            if let Some(server) = self.maps.servers.get(id.index())
                && server.next_hop.load() != word
            {
                first |= server.next_hop.load() == 0;
                server.next_hop.store(word);
            }
        }
        first
    }

    /// Makes the interfaces known by which packets may leave: those attached to and those that next hops name.
    ///
    /// # Errors
    /// Two interfaces that share a number, or what the kernel says.
    pub fn write_interfaces(
        &mut self,
        links: &BTreeMap<u32, net::Link>,
        wanted: &BTreeSet<u32>,
    ) -> Result<()> {
        for index in wanted {
            let Some(link) = links.get(index) else { continue };
            let Some(mac) = link.mac else { continue };
            let port = PortNumber::of_interface(*index);
            let entry: &Interface =
                self.maps.interfaces.get(port.index()).context("port numbers fit the map")?;
            let held = entry.ifindex.load();
            if held != 0 && held != u64::from(*index) && links.contains_key(&(held as u32)) {
                bail!(
                    "interfaces {} and {held} have kernel indices that are equal modulo {}; create one of them anew",
                    link.name,
                    PortNumber::LIMIT
                );
            }
            entry.set_mac(mac);
            if held != u64::from(*index) {
                self.maps
                    .devices
                    .set(port.index(), *index, None, 0)
                    .with_context(|| format!("entering {} into the device map", link.name))?;
                entry.ifindex.store(u64::from(*index));
            }
        }
        Ok(())
    }

    /// Makes the director's own addresses known, apart from its VIPs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write_locals(&mut self, addresses: &net::Addresses) -> Result<()> {
        let vips: BTreeSet<IpAddr> =
            self.ledger.services().map(|(_, service)| IpAddr::from(service.vip)).collect();
        let now: BTreeSet<IpAddr> =
            addresses.iter().map(|address| address.ip).filter(|address| !vips.contains(address)).collect();
        for address in now.difference(&self.locals) {
            self.maps
                .locals
                .insert(Addr::from(*address), 1, 0)
                .with_context(|| format!("local address {address}"))?;
        }
        for address in self.locals.difference(&now) {
            let _ = self.maps.locals.remove(&Addr::from(*address));
        }
        self.locals = now;
        Ok(())
    }

    /// Sets what every packet is judged by.
    pub fn write_settings(&self, limits: Limits, wanted: &config::Datapath) {
        let settings = self.maps.settings.only();
        let room = self.maps.addresses.all().len() == settings.geometry().slots() as usize;
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        settings.set_limits(limits);
        settings.flags.store(
            Settings::SERVING
                | flag(wanted.flow_table_size > 0, Settings::FLOWS)
                | flag(wanted.client_addresses && room, Settings::ADDRESSES),
        );
    }

    /// Gives back the numbers of pairs that are leaving and that nothing holds any more.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn free(&mut self, held: impl Fn(ServerId) -> bool) -> Result<()> {
        let free: Vec<(ServerId, u16)> = self
            .ledger
            .pairs()
            .filter(|(id, pair)| pair.leaving && !held(*id))
            .map(|(id, pair)| (id, pair.identity.service))
            .collect();
        for (id, number) in &free {
            let counted = self.maps.counters(*id)?;
            if let Some(service) = self.maps.services.get(u32::from(*number)) {
                for (word, add) in service.retired.iter().zip(counted.to_array()) {
                    word.store(word.load().wrapping_add(add));
                }
            }
            self.ledger.free_pair(*id);
        }
        if free.is_empty() {
            return Ok(());
        }
        self.write_backends()?;
        self.write_gate();
        for (id, _) in &free {
            if let Some(server) = self.maps.servers.get(id.index()) {
                server.state.store(0);
                server.next_hop.store(0);
                server.memo.store(0);
            }
            self.maps.clear_counters(*id)?;
        }
        self.free_services();
        Ok(())
    }

    /// A service's totals of servers that are no longer there.
    #[must_use]
    pub fn retired(&self, number: u16) -> Counters {
        match self.maps.services.get(u32::from(number)) {
            Some(service) => Counters::from_array(std::array::from_fn(|i| service.retired[i].load())),
            None => Counters::default(),
        }
    }

    fn write_service(&self, wanted: &DesiredService, number: u16) {
        let Some(entry) = self.maps.services.get(u32::from(number)) else { return };
        if entry.flags.load() & Service::IN_USE == 0 {
            for word in [&entry.select, &entry.miss].into_iter().chain(&entry.retired) {
                word.store(0);
            }
        }
        entry.listener.store(listener_word(&wanted.identity));
        entry.vip.store(wanted.identity.vip);
        entry.name_hash.store(wanted.identity.name_hash);
        entry.flags.store(Service::IN_USE | if wanted.reject { Service::REJECT } else { 0 });
    }

    fn write_server(&self, service: &DesiredService, number: u16, server: &DesiredServer, id: ServerId) {
        let Some(entry) = self.maps.servers.get(id.index()) else { return };
        let held = ServerState::from_word(entry.state.load());
        if !held.has(ServerState::IN_USE) {
            entry.address.store(server.address);
            entry.vip.store(service.identity.vip);
            entry.name_hash.store(server.name_hash);
        }
        entry.memo.store(server.memo().to_word());
        let state = ServerState {
            flags: server.flags(&service.identity) | held.flags & ServerState::SHARED,
            service: number,
            port: server.port,
            vip_port: service.identity.port,
        };
        if held != state {
            entry.state.store(state.to_word());
        }
    }

    /// Who may answer from where (NAT), and which pairs share such a place.
    fn write_backends(&mut self) -> Result<()> {
        let wanted = sharers(&self.ledger);
        for (endpoint, ids) in &wanted {
            let mut list = Sharers::default();
            for (place, id) in list.ids.iter_mut().zip(ids) {
                *place = id.get();
            }
            if self.maps.backends.get(endpoint, 0).ok() != Some(list) {
                self.maps.backends.insert(endpoint, list, 0).context("entering a real server's address")?;
            }
        }
        let shared: BTreeSet<ServerId> =
            wanted.values().filter(|ids| ids.len() > 1).flatten().copied().collect();
        for id in wanted.values().flatten() {
            let Some(entry) = self.maps.servers.get(id.index()) else { continue };
            let state = ServerState::from_word(entry.state.load());
            let flag = if shared.contains(id) { ServerState::SHARED } else { 0 };
            let flags = state.flags & !ServerState::SHARED | flag;
            if flags != state.flags {
                entry.state.store(ServerState { flags, ..state }.to_word());
            }
        }
        let stale: Vec<EndpointKey> = self
            .maps
            .backends
            .keys()
            .filter_map(Result::ok)
            .filter(|key| !wanted.contains_key(key))
            .collect();
        for key in stale {
            let _ = self.maps.backends.remove(&key);
        }
        Ok(())
    }

    fn write_gate(&self) {
        let mut words = vec![0u64; gate::WORDS as usize];
        let mut admit = |addr, role| {
            let position = Position::of(addr);
            let word = &mut words[position.word() as usize];
            *word = position.admit(*word, role);
        };
        for (_, service) in self.ledger.services() {
            admit(service.vip, Role::Vip);
        }
        for (_, pair) in self.ledger.pairs() {
            admit(pair.identity.vip, Role::Vip);
            if pair.identity.nat {
                admit(pair.identity.address, Role::NatServer);
            }
        }
        for (entry, word) in self.maps.gate.all().iter().zip(words) {
            if entry.load() != word {
                entry.store(word);
            }
        }
    }

    /// Builds a service's table aside and publishes it, if anything about it changed.
    fn build_tables(&mut self, wanted: &DesiredService, numbers: &Numbered, now: Instant) -> Result<()> {
        let number = numbers.service;
        let shares: Vec<Share> = wanted
            .servers
            .iter()
            .zip(&numbers.servers)
            .filter(|(server, id)| server.takes_new() && self.reachable(**id))
            .map(|(server, id)| Share {
                name_hash: server.name_hash,
                weight: u32::from(server.weight),
                id: id.get(),
            })
            .collect();
        let entry = self.maps.services.get(u32::from(number)).context("service numbers fit the map")?;
        let published = Extent::from_word(entry.select.load());
        let size_holds = published.is_some_and(|extent| extent.size() == wanted.table_size);
        if self.built.get(&number) == Some(&shares) && size_holds {
            return Ok(());
        }
        let table = maglev::table(&shares, wanted.table_size);
        if size_holds && published.is_some_and(|extent| self.holds(extent, &table)) {
            self.built.insert(number, shares);
            return Ok(());
        }
        let extent = self.arena.take(wanted.table_size, now).with_context(|| {
            format!("no free stretch of table memory for service {}; try again in a second", wanted.name)
        })?;
        for (i, word) in words(&table).enumerate() {
            if let Some(place) = self.maps.tables.get(extent.offset() + i as u32) {
                place.store(word);
            }
        }
        let entry = self.maps.services.get(u32::from(number)).context("service numbers fit the map")?;
        let miss = Extent::from_word(entry.miss.load());
        entry.select.store(extent.to_word());
        if miss.is_some_and(|miss| self.names_somebody(miss)) {
            self.following.insert(number, now + MISS_DELAY);
        } else {
            // A service that is new, or had no server, has no connections that its miss table should keep finding.
            entry.miss.store(extent.to_word());
            self.following.remove(&number);
            if let Some(empty) = miss
                && published != miss
            {
                self.arena.release(empty, now);
            }
        }
        let miss = Extent::from_word(entry.miss.load());
        if let Some(old) = published
            && miss != Some(old)
        {
            self.arena.release(old, now);
        }
        self.built.insert(number, shares);
        Ok(())
    }

    /// Whether the way to a server is known: without, its packets could only be dropped.
    fn reachable(&self, id: ServerId) -> bool {
        self.maps.servers.get(id.index()).is_some_and(|server| server.next_hop.load() != 0)
    }

    /// A table is full or empty: its first word tells.
    fn names_somebody(&self, extent: Extent) -> bool {
        self.maps.tables.get(extent.offset()).is_some_and(|word| word.load() != 0)
    }

    fn holds(&self, extent: Extent, table: &[u16]) -> bool {
        words(table).enumerate().all(|(i, word)| {
            self.maps.tables.get(extent.offset() + i as u32).is_some_and(|place| place.load() == word)
        })
    }

    fn write_listeners(&mut self, wanted: &[DesiredService], numbered: &[Numbered]) -> Result<()> {
        let mut keys = HashMap::new();
        for (service, numbers) in wanted.iter().zip(numbered) {
            let identity = &service.identity;
            keys.insert(
                EndpointKey::new(identity.vip, identity.port, identity.protocol),
                u32::from(numbers.service),
            );
            keys.insert(EndpointKey::vip_marker(identity.vip), u32::MAX);
        }
        for (key, number) in &keys {
            if self.maps.listeners.get(key, 0).ok() != Some(*number) {
                self.maps.listeners.insert(key, number, 0).context("entering a listener")?;
            }
        }
        let stale: Vec<EndpointKey> =
            self.maps.listeners.keys().filter_map(Result::ok).filter(|key| !keys.contains_key(key)).collect();
        for key in stale {
            self.maps.listeners.remove(&key).context("removing a listener")?;
        }
        Ok(())
    }

    fn mark_leaving(&self) {
        for (id, pair) in self.ledger.pairs() {
            let Some(entry) = self.maps.servers.get(id.index()) else { continue };
            let state = ServerState::from_word(entry.state.load());
            let flags =
                state.flags & !ServerState::REMOVED | if pair.leaving { ServerState::REMOVED } else { 0 };
            if flags != state.flags {
                entry.state.store(ServerState { flags, ..state }.to_word());
            }
        }
    }

    /// A service that is no longer wanted picks nobody; its connections go on until they end.
    fn close_service(&mut self, number: u16, now: Instant) {
        self.built.remove(&number);
        self.following.remove(&number);
        if let Some(entry) = self.maps.services.get(u32::from(number)) {
            let (select, miss) = (entry.select.load(), entry.miss.load());
            entry.select.store(0);
            entry.miss.store(0);
            for extent in [select, miss].into_iter().filter_map(Extent::from_word) {
                self.arena.release(extent, now);
            }
        }
        self.free_services();
    }

    /// Frees the numbers of services that are closed and have no pair left.
    fn free_services(&mut self) {
        let with_pairs: BTreeSet<u16> = self.ledger.pairs().map(|(_, pair)| pair.identity.service).collect();
        let empty: Vec<u16> = self
            .ledger
            .services()
            .map(|(number, _)| number)
            .filter(|number| !with_pairs.contains(number) && !self.built.contains_key(number))
            .collect();
        for number in empty {
            if let Some(entry) = self.maps.services.get(u32::from(number)) {
                entry.flags.store(0);
            }
            self.ledger.free_service(number);
        }
    }
}

/// By NAT server and port, the pairs that lead there. A reply from a port that has a list of its own is looked up in that
/// list alone, so the pairs that lead to every port of the server stand in it too.
fn sharers(ledger: &Ledger) -> HashMap<EndpointKey, Vec<ServerId>> {
    let mut by_endpoint: HashMap<EndpointKey, Vec<ServerId>> = HashMap::new();
    let mut to_every_port = Vec::new();
    for (id, pair) in ledger.pairs().filter(|(_, pair)| pair.identity.nat) {
        let PairIdentity { address, port, protocol, .. } = pair.identity;
        by_endpoint.entry(EndpointKey::new(address, port, protocol)).or_default().push(id);
        if port.is_any() {
            to_every_port.push((address, protocol, id));
        }
    }
    for (address, protocol, id) in to_every_port {
        let its =
            |key: &EndpointKey| *key == EndpointKey::new(address, key.port, protocol) && !key.port.is_any();
        for (_, ids) in by_endpoint.iter_mut().filter(|(key, _)| its(key)) {
            ids.push(id);
        }
    }
    by_endpoint
}

fn words(table: &[u16]) -> impl Iterator<Item = u64> {
    table.chunks(IDS_PER_WORD as usize).map(|ids| {
        let mut four = [0; 4];
        four[..ids.len()].copy_from_slice(ids);
        word_of_ids(four)
    })
}

#[cfg(test)]
mod tests {
    use lb_common::net::{Port, Protocol};

    use super::*;
    use crate::agent::desired::{ServiceIdentity, Standing};

    /// One service of one server, at this VIP port and server port.
    fn service(name: &str, vip_port: u16, server_port: u16) -> DesiredService {
        let hash = lb_common::identity::name_hash(1, name.as_bytes());
        DesiredService {
            name: name.into(),
            identity: ServiceIdentity {
                name_hash: hash,
                vip: Addr::v4([192, 0, 2, 1]),
                port: Port::from_host(vip_port),
                protocol: Protocol::Tcp,
                nat: true,
            },
            reject: true,
            table_size: 101,
            servers: vec![DesiredServer {
                name: "rs1".into(),
                name_hash: hash + 1,
                address: Addr::v4([10, 0, 0, 1]),
                port: Port::from_host(server_port),
                weight: 1,
                standing: Standing::default(),
            }],
        }
    }

    #[test]
    fn a_pair_that_leads_to_every_port_stands_in_each_ports_list() {
        let mut ledger = Ledger::empty(4, 8);
        let numbered = ledger.assign(&[service("web", 80, 80), service("all", 0, 0)]).unwrap();
        let (web, all) = (numbered[0].servers[0], numbered[1].servers[0]);
        let lists = sharers(&ledger);
        let key = |port| EndpointKey::new(Addr::v4([10, 0, 0, 1]), Port::from_host(port), Protocol::Tcp);
        assert_eq!(lists[&key(80)], [web, all]);
        assert_eq!(lists[&key(0)], [all]);
    }
}

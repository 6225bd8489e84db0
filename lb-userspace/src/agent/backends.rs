//! Who may answer from where (NAT): by server and port, the pairs under which a reply is looked up.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use lb_common::entry::{EndpointKey, ServerState, Sharers};
use lb_common::net::{Addr, Protocol};
use lb_common::slot::ServerId;

use super::install::Installation;
use super::ledger::{Ledger, PairIdentity};
use crate::config::Mode;

/// By NAT server and port, the pairs that lead there.
pub(super) type Sharing = HashMap<EndpointKey, Vec<ServerId>>;

impl Installation {
    /// Who will share which place, and whether the pairs that lead to one place are few enough; those still leaving count.
    ///
    /// # Errors
    /// If not, with the remedy.
    pub(super) fn plan_backends(ledger: &Ledger) -> Result<Sharing> {
        let sharing = sharers(ledger);
        for (endpoint, ids) in &sharing {
            if ids.len() <= Sharers::LIMIT {
                continue;
            }
            let leaving = ledger.pairs().filter(|(id, pair)| pair.leaving && ids.contains(id)).count();
            let (lanes, server, limit) = (ids.len(), IpAddr::from(endpoint.addr), Sharers::LIMIT);
            let what = format!(
                "{lanes} listeners lead to the real server {server} and one port by NAT, {limit} are possible"
            );
            if leaving == 0 {
                bail!("{what}; give some of them another port or address at the server");
            }
            bail!(
                "{what}, and {leaving} of them are leaving: their connections still need them; replace fewer at once, and the \
                 others when those connections have ended"
            );
        }
        Ok(sharing)
    }

    /// [`Self::write_backends`], of all who have a number now.
    pub(super) fn write_backends_anew(&mut self) -> Result<()> {
        let wanted = sharers(&self.ledger);
        self.write_backends(&wanted)
    }

    /// Who may answer from where (NAT), and which pairs share such a place.
    pub(super) fn write_backends(&mut self, wanted: &Sharing) -> Result<()> {
        for (endpoint, ids) in wanted {
            let mut list = Sharers::default();
            for (place, id) in list.ids.iter_mut().zip(ids) {
                *place = id.get();
            }
            if self.sharers.get(endpoint) != Some(&list) {
                self.maps.backends.insert(endpoint, list).context("entering a real server's address")?;
                self.sharers.insert(*endpoint, list);
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
        for (key, _) in self.sharers.extract_if(|key, _| !wanted.contains_key(key)) {
            let _ = self.maps.backends.remove(&key);
        }
        Ok(())
    }
}

/// By NAT server and port, the pairs that lead there. A reply from a port that has a list of its own is looked up in that
/// list alone, so the pairs that lead to every port of the server stand in it too.
fn sharers(ledger: &Ledger) -> Sharing {
    let mut by_endpoint = Sharing::with_capacity(ledger.pairs().count());
    let mut to_every_port: HashMap<Addr, Vec<(Protocol, ServerId)>> = HashMap::new();
    for (id, pair) in ledger.pairs().filter(|(_, pair)| pair.identity.mode == Mode::Nat) {
        let PairIdentity { address, port, protocol, .. } = pair.identity;
        by_endpoint.entry(EndpointKey::new(address, port, protocol)).or_default().push(id);
        if port.is_any() {
            to_every_port.entry(address).or_default().push((protocol, id));
        }
    }
    for (key, ids) in by_endpoint.iter_mut().filter(|(key, _)| !key.port.is_any()) {
        let its = to_every_port.get(&key.addr).into_iter().flatten();
        let is_its = |protocol| *key == EndpointKey::new(key.addr, key.port, protocol);
        ids.extend(its.filter(|(protocol, _)| is_its(*protocol)).map(|(_, id)| *id));
    }
    by_endpoint
}

#[cfg(test)]
mod tests {
    use lb_common::net::Port;

    use super::*;
    use crate::agent::desired::{DesiredServer, DesiredService, ServiceIdentity};

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
                mode: Mode::Nat,
            },
            tunnel: None,
            ports: vec![Port::from_host(vip_port)],
            reject: true,
            access: std::sync::Arc::default(),
            limits: crate::config::Limits::default(),
            quic: None,
            scheduler: lb_common::entry::Scheduler::Maglev,
            weighted_turns: false,
            affinity: None,
            told: crate::config::Replicate::None,
            table_size: 101,
            servers: vec![DesiredServer::plain(
                "rs1",
                hash + 1,
                Addr::v4([10, 0, 0, 1]),
                Port::from_host(server_port),
            )],
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

    #[test]
    fn too_many_that_lead_to_one_port_are_told_with_those_that_only_wait_for_their_connections() {
        let mut ledger = Ledger::empty(32, 32);
        let at = |vip_ports: std::ops::Range<u16>| -> Vec<DesiredService> {
            vip_ports.map(|port| service("web", port, 80)).collect()
        };
        ledger.assign(&at(1..6)).unwrap();
        Installation::plan_backends(&ledger).unwrap();
        ledger.assign(&at(6..9)).unwrap();
        Installation::plan_backends(&ledger).unwrap();
        ledger.assign(&at(6..11)).unwrap();
        let refused = Installation::plan_backends(&ledger).unwrap_err().to_string();
        assert!(refused.contains("10 listeners") && refused.contains("5 of them are leaving"), "{refused}");
    }
}

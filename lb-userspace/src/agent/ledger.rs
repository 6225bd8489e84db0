//! Who has which number in the maps. Read from the pins at start, never from the order of a file; pure otherwise.
//!
//! A pair that is no longer wanted keeps its number and its connections until the sweep has found it nowhere; a number is
//! given away again only then.

use std::collections::HashMap;

use lb_common::entry::{Server, ServerState, Service};
use lb_common::net::{Addr, Port, Protocol};
use lb_common::slot::ServerId;

use super::desired::{DesiredServer, DesiredService, ServiceIdentity};
use crate::config::Mode;
use crate::dataplane::Mapped;

/// What makes a pair the same: change any of it and it is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PairIdentity {
    pub service: u16,
    pub name_hash: u64,
    pub address: Addr,
    pub port: Port,
    pub vip: Addr,
    pub vip_port: Port,
    pub protocol: Protocol,
    pub mode: Mode,
}

/// The numbers in use.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    services: Vec<Option<ServiceIdentity>>,
    pairs: Vec<Option<Pair>>,
}

/// A pair that has a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    pub identity: PairIdentity,
    /// No longer wanted; kept for its connections.
    pub leaving: bool,
}

/// The maps are full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    Services(usize),
    Pairs(usize),
}

/// The numbers of a wanted configuration, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    pub service: u16,
    pub servers: Vec<ServerId>,
}

impl Ledger {
    /// What the maps say.
    #[must_use]
    pub fn read(services: &Mapped<Service>, servers: &Mapped<Server>) -> Self {
        let read_service = |service: &Service| {
            let listener = service.listener.load();
            (service.flags.load() & Service::IN_USE != 0).then(|| ServiceIdentity {
                name_hash: service.name_hash.load(),
                vip: service.vip.load(),
                port: Port::from_raw((listener >> 16) as u16),
                protocol: Protocol::from_number(listener as u8).unwrap_or(Protocol::Tcp),
                mode: mode_of(listener >> 8 & 0xff),
            })
        };
        let read_pair = |server: &Server| {
            let state = ServerState::from_word(server.state.load());
            state.has(ServerState::IN_USE).then(|| Pair {
                identity: PairIdentity {
                    service: state.service,
                    name_hash: server.name_hash.load(),
                    address: server.address.load(),
                    port: state.port,
                    vip: server.vip.load(),
                    vip_port: state.vip_port,
                    protocol: state.protocol(),
                    mode: pair_mode(state),
                },
                leaving: state.has(ServerState::REMOVED),
            })
        };
        Self {
            services: services.all().iter().map(read_service).collect(),
            pairs: servers.all().iter().map(read_pair).collect(),
        }
    }

    #[cfg(test)]
    pub fn empty(services: usize, pairs: usize) -> Self {
        Self { services: vec![None; services], pairs: vec![None; pairs] }
    }

    /// Numbers for everything wanted: the old ones where they exist. Whatever else has a number is leaving afterwards.
    ///
    /// # Errors
    /// [`Full`], with how many there is room for; the ledger is then to be thrown away.
    pub fn assign(&mut self, wanted: &[DesiredService]) -> Result<Vec<Numbered>, Full> {
        // With room from the start: growing as it is filled takes as long as filling it.
        let mut known: HashMap<PairIdentity, ServerId> = HashMap::with_capacity(self.pairs.len());
        known.extend(self.pairs().map(|(id, pair)| (pair.identity, id)));
        let mut known_services: HashMap<ServiceIdentity, u16> =
            self.services().map(|(number, identity)| (*identity, number)).collect();
        let mut free = self.free_ids();
        let mut free_numbers = self.free_numbers();
        let mut kept = vec![false; self.pairs.len()];
        let mut numbered = Vec::with_capacity(wanted.len());
        for service in wanted {
            let number = match known_services.get(&service.identity) {
                Some(number) => *number,
                None => {
                    let new = free_numbers.next().ok_or(Full::Services(self.services.len()))?;
                    known_services.insert(service.identity, new);
                    new
                }
            };
            self.services[usize::from(number)] = Some(service.identity);
            let mut servers = Vec::with_capacity(service.servers.len());
            for server in &service.servers {
                let identity = PairIdentity::of(number, service, server);
                let id = match known.get(&identity) {
                    Some(id) => *id,
                    None => {
                        let new = free.next().ok_or(Full::Pairs(self.pairs.len().saturating_sub(1)))?;
                        known.insert(identity, new);
                        new
                    }
                };
                self.pairs[id.index() as usize] = Some(Pair { identity, leaving: false });
                kept[id.index() as usize] = true;
                servers.push(id);
            }
            numbered.push(Numbered { service: number, servers });
        }
        for (pair, kept) in self.pairs.iter_mut().zip(kept) {
            if let Some(pair) = pair {
                pair.leaving = !kept;
            }
        }
        Ok(numbered)
    }

    /// All pairs with their ids.
    pub fn pairs(&self) -> impl Iterator<Item = (ServerId, &Pair)> {
        self.pairs
            .iter()
            .enumerate()
            .filter_map(|(index, pair)| Some((ServerId::new(index as u16)?, pair.as_ref()?)))
    }

    /// All services with their numbers.
    pub fn services(&self) -> impl Iterator<Item = (u16, &ServiceIdentity)> {
        self.services
            .iter()
            .enumerate()
            .filter_map(|(index, service)| Some((index as u16, service.as_ref()?)))
    }

    /// Every number by what has it, for those who ask about many.
    #[must_use]
    pub fn directory(&self) -> Directory {
        Directory {
            services: self.services().map(|(number, identity)| (*identity, number)).collect(),
            pairs: self.pairs().map(|(id, pair)| (pair.identity, id)).collect(),
            earlier: self.earlier(),
        }
    }

    /// What is leaving, by whose it was.
    #[must_use]
    pub fn earlier(&self) -> Earlier {
        let mut earlier = Earlier::default();
        for (id, pair) in self.pairs().filter(|(_, pair)| pair.leaving) {
            earlier.0.entry((pair.identity.name_hash, pair.identity.address)).or_default().push(id);
        }
        earlier
    }

    /// Gives a pair's number back. The caller has found it in no table and no entry.
    pub fn free_pair(&mut self, id: ServerId) {
        self.pairs[id.index() as usize] = None;
    }

    /// Gives a service's number back.
    pub fn free_service(&mut self, number: u16) {
        self.services[usize::from(number)] = None;
    }

    fn free_numbers(&self) -> std::vec::IntoIter<u16> {
        let free = self.services.iter().enumerate().filter(|(_, service)| service.is_none());
        free.map(|(number, _)| number as u16).collect::<Vec<_>>().into_iter()
    }

    /// The ids that nobody has. Number 0 is nobody's for ever.
    fn free_ids(&self) -> std::vec::IntoIter<ServerId> {
        let free = self.pairs.iter().enumerate().filter(|(_, pair)| pair.is_none());
        free.filter_map(|(index, _)| ServerId::new(index as u16)).collect::<Vec<_>>().into_iter()
    }
}

/// Who has which number, the other way round.
#[derive(Debug, Clone)]
pub struct Directory {
    services: HashMap<ServiceIdentity, u16>,
    pairs: HashMap<PairIdentity, ServerId>,
    earlier: Earlier,
}

/// Pairs that are leaving, by their servers' names and addresses.
#[derive(Debug, Clone, Default)]
pub struct Earlier(HashMap<(u64, Addr), Vec<ServerId>>);

impl Earlier {
    /// What is left of this server in lanes that its service no longer has: their connections are still on it.
    #[must_use]
    pub fn of(&self, server: &DesiredServer) -> &[ServerId] {
        self.0.get(&(server.name_hash, server.address)).map_or(&[], Vec::as_slice)
    }
}

impl Directory {
    /// [`Earlier::of`].
    #[must_use]
    pub fn earlier(&self, server: &DesiredServer) -> &[ServerId] {
        self.earlier.of(server)
    }

    /// The number of this lane, once it has one.
    #[must_use]
    pub fn lane(&self, service: &DesiredService) -> Option<u16> {
        self.services.get(&service.identity).copied()
    }

    /// The id of this server in this lane, once it has one.
    #[must_use]
    pub fn pair(&self, service: &DesiredService, server: &DesiredServer) -> Option<ServerId> {
        let number = *self.services.get(&service.identity)?;
        self.pairs.get(&PairIdentity::of(number, service, server)).copied()
    }
}

impl PairIdentity {
    #[must_use]
    pub fn of(service: u16, wanted: &DesiredService, server: &DesiredServer) -> Self {
        Self {
            service,
            name_hash: server.name_hash,
            address: server.address,
            port: server.port,
            vip: wanted.identity.vip,
            vip_port: wanted.identity.port,
            protocol: wanted.identity.protocol,
            mode: wanted.identity.mode,
        }
    }
}

const fn mode_number(mode: Mode) -> u64 {
    match mode {
        Mode::Dr => 0,
        Mode::Nat => 1,
        Mode::Tunnel => 2,
        Mode::FullNat => 3,
    }
}

/// What [`mode_number`] gave.
const fn mode_of(number: u64) -> Mode {
    match number {
        1 => Mode::Nat,
        2 => Mode::Tunnel,
        3 => Mode::FullNat,
        _ => Mode::Dr,
    }
}

const fn pair_mode(state: ServerState) -> Mode {
    if state.has(ServerState::NAT) {
        Mode::Nat
    } else if state.has(ServerState::TUNNEL) {
        Mode::Tunnel
    } else if state.has(ServerState::FULL_NAT) {
        Mode::FullNat
    } else {
        Mode::Dr
    }
}

/// The `listener` word of a service entry.
#[must_use]
pub fn listener_word(identity: &ServiceIdentity) -> u64 {
    u64::from(identity.port.raw()) << 16 | mode_number(identity.mode) << 8 | identity.protocol as u64
}

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Services(room) => write!(
                f,
                "the maps have room for {room} listeners (a service has one for each VIP, port and protocol, ranges of ports \
                 counting once), those still leaving included; replace fewer at once, or 'xlvs down' and 'xlvs up' make them \
                 anew, larger"
            ),
            Self::Pairs(room) => write!(
                f,
                "the maps have room for {room} pairs of service and server, those still leaving included; raise \
                 [datapath] server_slots, then 'xlvs down' and 'xlvs up'"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(servers: &[(&str, u8)]) -> Vec<DesiredService> {
        let hash = |name: &str| lb_common::identity::name_hash(1, name.as_bytes());
        let server = |&(name, last): &(&str, u8)| {
            DesiredServer::plain(name, hash(name), Addr::v4([10, 0, 0, last]), Port::from_host(80))
        };
        vec![DesiredService {
            name: "web".into(),
            identity: ServiceIdentity {
                name_hash: hash("web"),
                vip: Addr::v4([192, 0, 2, 1]),
                port: Port::from_host(80),
                protocol: Protocol::Tcp,
                mode: Mode::Nat,
            },
            tunnel: None,
            ports: vec![Port::from_host(80)],
            reject: true,
            access: std::sync::Arc::default(),
            limits: crate::config::Limits::default(),
            quic: None,
            scheduler: lb_common::entry::Scheduler::Maglev,
            weighted_turns: false,
            affinity: None,
            told: crate::config::Replicate::None,
            table_size: 101,
            servers: servers.iter().map(server).collect(),
        }]
    }

    #[test]
    fn numbers_survive_reordering_and_are_not_reused_while_leaving() {
        let mut ledger = Ledger::empty(4, 4);
        let first = ledger.assign(&wanted(&[("a", 1), ("b", 2)])).unwrap();
        let turned = ledger.assign(&wanted(&[("b", 2), ("a", 1)])).unwrap();
        assert_eq!(first[0].servers[0], turned[0].servers[1]);
        let without = ledger.assign(&wanted(&[("b", 2), ("c", 3)])).unwrap();
        assert!(!without[0].servers.contains(&first[0].servers[0]));
        assert_eq!(ledger.pairs().filter(|(_, pair)| pair.leaving).count(), 1);
        assert_eq!(ledger.clone().assign(&wanted(&[("b", 2), ("c", 3), ("d", 4)])), Err(Full::Pairs(3)));
        ledger.free_pair(first[0].servers[0]);
        ledger.assign(&wanted(&[("b", 2), ("c", 3), ("d", 4)])).unwrap();
    }

    #[test]
    fn what_leaves_with_a_lane_is_still_known_to_be_the_servers() {
        let mut ledger = Ledger::empty(4, 8);
        let old = wanted(&[("a", 1)]);
        let id = ledger.assign(&old).unwrap()[0].servers[0];
        let mut new = wanted(&[("a", 1)]);
        new[0].identity.port = Port::from_host(81);
        ledger.assign(&new).unwrap();
        let directory = ledger.directory();
        assert_eq!(directory.earlier(&new[0].servers[0]), [id]);
        assert_eq!(directory.pair(&old[0], &old[0].servers[0]), Some(id));
        assert_ne!(directory.pair(&new[0], &new[0].servers[0]), Some(id));
        let mut elsewhere = wanted(&[("a", 2)]);
        assert_eq!(directory.earlier(&elsewhere.remove(0).servers[0]), []);
    }

    #[test]
    fn another_address_under_the_same_name_is_another_pair() {
        let mut ledger = Ledger::empty(4, 8);
        let before = ledger.assign(&wanted(&[("a", 1)])).unwrap();
        let after = ledger.assign(&wanted(&[("a", 9)])).unwrap();
        assert_ne!(before[0].servers, after[0].servers);
        let back = ledger.assign(&wanted(&[("a", 1)])).unwrap();
        assert_eq!(before, back, "a pair that comes back before it has left has its number still");
    }
}

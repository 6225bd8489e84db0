//! What is known about a server besides its configuration: health, and what an operator ordered. Kept by name over reloads,
//! and over restarts in the pinned entries. Pure.
//!
//! An order is for a server in a service; health is found at an address. So each address has a standing, and the orders
//! are alike in those of one server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use lb_common::entry::{Admin, HealthMemo, Memo};
use lb_common::identity::name_hash;

use crate::config::{self, Family, Model};
use crate::health::advice::Order;
use crate::health::{
    AgentSpec, Ask, CheckSpec, Path, Question, Rhythm, Share, Subject, Thresholds, Verdict, Wanted,
};

/// A server in a service, by name: what an operator's order is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairName {
    pub service: Arc<str>,
    pub server: Arc<str>,
}

/// One address of a server in a service: what is checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressName {
    pub pair: PairName,
    pub family: Family,
}

/// What is known about an address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    pub admin: Admin,
    pub health: HealthMemo,
    /// Not checked at all: as good as up.
    pub unchecked: bool,
    pub weight: Option<u16>,
    /// Unix seconds of the last change.
    pub since: u32,
    /// Unix seconds of its return to those that take new connections; 0: none that this agent has seen.
    pub risen: u32,
    /// What its own agent says. The pins do not remember it: the agent is asked again.
    pub advised: Advised,
}

/// What of a server's own words decides on its traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Advised {
    /// Whether it has been asked at all.
    pub heard: bool,
    pub share: Share,
    pub order: Order,
    pub down: bool,
    /// The most connections it takes at once; 0: it does not say.
    pub most: u32,
}

/// The standings of a configuration.
pub type Standings = HashMap<AddressName, Standing>;

/// An address of a configuration, with all that it belongs to.
#[derive(Debug, Clone)]
pub struct Configured<'a> {
    pub name: AddressName,
    pub service: &'a config::Service,
    pub server: &'a config::Server,
    pub address: config::ServerAddress,
}

impl Standing {
    /// Whether it is healthy and wanted, whatever its weight.
    fn is_standing(&self) -> bool {
        !self.is_unknown() && !self.is_down() && self.ordered() == Admin::Enabled
    }

    /// Notes that it was `before` until now (Unix seconds).
    pub fn changed_from(&mut self, before: &Self, now: u32) {
        self.since = now;
        if self.is_standing() && !before.is_standing() {
            self.risen = now;
        }
    }

    /// Whether it is not to be relied on: it fails its check, or says so itself.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.advised.down || (!self.unchecked && self.health == HealthMemo::Down)
    }

    /// Whether nothing is known of it yet.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        !self.unchecked && self.health == HealthMemo::Unknown
    }

    /// What is ordered, by an operator or by its own agent: whichever allows less.
    #[must_use]
    pub fn ordered(&self) -> Admin {
        match (self.admin, self.advised.order) {
            (Admin::Disabled, _) | (_, Order::Maint) => Admin::Disabled,
            (Admin::Draining, _) | (_, Order::Drain) => Admin::Draining,
            (Admin::Enabled, Order::Ready) => Admin::Enabled,
        }
    }

    /// Its part of new connections, given the weight in the file. A weight set by hand is meant as it is, whatever the server's
    /// own agent says.
    #[must_use]
    pub fn share(&self, configured: u16) -> u32 {
        let (weight, share) = match self.weight {
            Some(weight) => (weight, Share::WHOLE),
            None => (configured, self.advised.share),
        };
        u32::from(weight) * u32::from(share.eighths())
    }
}

impl Standing {
    /// The most connections it takes at once, given the file's limit: whichever is less. 0: any number.
    #[must_use]
    pub fn most(&self, configured: Option<NonZeroU32>) -> u32 {
        configured.into_iter().chain(NonZeroU32::new(self.advised.most)).min().map_or(0, NonZeroU32::get)
    }
}

impl PairName {
    #[must_use]
    pub fn of(service: &config::Service, server: &config::Server) -> Self {
        Self { service: service.name.shared(), server: server.name.shared() }
    }

    /// The names of its addresses, whether it has them or not.
    #[must_use]
    pub fn addresses(&self) -> [AddressName; 2] {
        [Family::V4, Family::V6].map(|family| AddressName { pair: self.clone(), family })
    }
}

impl std::fmt::Display for PairName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.service, self.server)
    }
}

impl Configured<'_> {
    /// As people are told of it: with its address, where the server has another.
    #[must_use]
    pub fn told(&self) -> String {
        match self.server.addresses[..] {
            [_] => self.name.pair.to_string(),
            _ => format!("{} ({})", self.name.pair, self.address),
        }
    }
}

/// Every server's addresses, in the order of the configuration.
pub fn configured(model: &Model) -> impl Iterator<Item = Configured<'_>> {
    model.services.iter().flat_map(|service| {
        service.servers.iter().flat_map(move |server| {
            server.addresses.iter().map(move |address| Configured {
                name: AddressName { pair: PairName::of(service, server), family: address.family() },
                service,
                server,
                address: *address,
            })
        })
    })
}

/// Standings of exactly the addresses of this configuration: old ones kept, new ones blank but for the orders that their
/// server has got already.
#[must_use]
pub fn prepared(model: &Model, known: &Standings) -> Standings {
    let ordered = |pair: &PairName| pair.addresses().iter().find_map(|name| known.get(name));
    let of_sibling = |pair: &PairName| {
        let sibling = ordered(pair).copied().unwrap_or_default();
        Standing { health: HealthMemo::Unknown, advised: Advised::default(), ..sibling }
    };
    let standings = configured(model).map(|Configured { name, service, server, address }| {
        let mut standing = known.get(&name).copied().unwrap_or_else(|| of_sibling(&name.pair));
        if service.agent_check.is_none() {
            standing.advised = Advised::default();
        }
        standing.unchecked = service.check_target(server, address).is_none();
        (name, standing)
    });
    sized(model, standings)
}

/// Standings that pinned entries remember, for the addresses of this configuration. `memos` are by name hash and family.
#[must_use]
pub fn remembered(model: &Model, memos: &HashMap<(u64, Family), Memo>) -> Standings {
    let known = |Configured { name, .. }: Configured<'_>| {
        let scope = name_hash(0, name.pair.service.as_bytes());
        let hash = name_hash(scope, name.pair.server.as_bytes());
        let Memo { admin, health, weight, since, .. } = *memos.get(&(hash, name.family))?;
        let advised = Advised::default();
        Some((name, Standing { admin, health, unchecked: false, weight, since, risen: 0, advised }))
    };
    configured(model).filter_map(known).collect()
}

/// The checks of a configuration: one for each address.
#[must_use]
pub fn checks(model: &Model, standings: &Standings) -> HashMap<AddressName, Wanted> {
    let checks = configured(model).map(|Configured { name, service, server, address }| {
        let standing = standings.get(&name).copied().unwrap_or_default();
        let wanted = Wanted {
            check: spec(service, server, address),
            agent: agent_spec(service, address),
            paused: standing.admin == Admin::Disabled,
            restored: match standing.health {
                HealthMemo::Up => Some(Verdict::Up),
                HealthMemo::Down => Some(Verdict::Down),
                HealthMemo::Unknown => None,
            },
        };
        (name, wanted)
    });
    sized(model, checks)
}

/// A map with room for every address from the start: growing as it is filled takes as long as filling it.
fn sized<T>(model: &Model, all: impl Iterator<Item = (AddressName, T)>) -> HashMap<AddressName, T> {
    let servers = model.services.iter().flat_map(|service| &service.servers);
    let mut map = HashMap::with_capacity(servers.map(|server| server.addresses.len()).sum());
    map.extend(all);
    map
}

fn spec(
    service: &config::Service,
    server: &config::Server,
    address: config::ServerAddress,
) -> Option<CheckSpec> {
    let target = service.check_target(server, address)?;
    let config::Health::Checked(check) = &service.health else { return None };
    let ask = match &check.probe {
        config::Probe::Exec(exec) => {
            let subject = Subject { service: service.name.to_string(), server: server.name.to_string() };
            Ask::Program { command: exec.command.clone(), subject }
        }
        probe => Ask::Health(probe.clone()),
    };
    Some(CheckSpec {
        question: Question { target, ask, path: path(service, server, address), timeout: check.timeout },
        rhythm: Rhythm { up: check.interval, down: check.interval_down },
        thresholds: Thresholds::new(check.rise, check.fall)?,
    })
}

fn path(service: &config::Service, server: &config::Server, address: config::ServerAddress) -> Option<Path> {
    let (knock, vips) = service.knocks(server, address)?;
    Some(Path { vips, knock, tunnel: service.tunnel.clone() })
}

fn agent_spec(service: &config::Service, address: config::ServerAddress) -> Option<AgentSpec> {
    let config::AgentCheck { port, interval, timeout, send } = service.agent_check.as_ref()?;
    let target = SocketAddr::new(address.ip(), port.get());
    let question = Question { target, ask: Ask::Agent(send.clone()), path: None, timeout: *timeout };
    Some(AgentSpec { question, interval: *interval })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &str = r#"
        [[service]]
        name = "web"
        vip = ["192.0.2.1", "2001:db8::1"]
        port = [80, 443]
        health = { port = 80 }
        [[service.server]]
        name = "rs1"
        address = "198.51.100.1"
        [[service.server]]
        name = "rs2"
        address = ["198.51.100.2", "2001:db8:2::2"]
    "#;

    fn model() -> Model {
        config::load_str("t.toml", SERVICE).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn name(server: &str, family: Family) -> AddressName {
        AddressName { pair: PairName { service: "web".into(), server: server.into() }, family }
    }

    #[test]
    fn each_address_is_checked_once_whatever_the_number_of_listeners() {
        let checks = checks(&model(), &Standings::new());
        let target =
            |family| checks[&name("rs2", family)].check.as_ref().unwrap().question.target.to_string();
        assert_eq!(checks.len(), 3);
        assert_eq!(target(Family::V4), "198.51.100.2:80");
        assert_eq!(target(Family::V6), "[2001:db8:2::2]:80");
    }

    #[test]
    fn an_address_that_comes_inherits_the_orders_but_not_the_health() {
        let old = Standing {
            admin: Admin::Draining,
            health: HealthMemo::Up,
            weight: Some(7),
            since: 9,
            unchecked: false,
            risen: 0,
            advised: Advised { heard: true, order: Order::Drain, ..Advised::default() },
        };
        let known = Standings::from([(name("rs2", Family::V4), old)]);
        let prepared = prepared(&model(), &known);
        let unadvised = Standing { advised: Advised::default(), ..old };
        assert_eq!(prepared[&name("rs2", Family::V4)], unadvised, "nobody is asked any more");
        assert_eq!(
            prepared[&name("rs2", Family::V6)],
            Standing { health: HealthMemo::Unknown, advised: Advised::default(), ..old },
            "an order is for the server"
        );
        assert_eq!(prepared[&name("rs1", Family::V4)], Standing::default());
        assert_eq!(prepared.len(), 3);
    }

    #[test]
    fn what_is_pinned_is_remembered_by_name_and_family() {
        let hash = name_hash(name_hash(0, b"web"), b"rs2");
        let memo = Memo { health: HealthMemo::Down, ..Memo::default() };
        let standings = remembered(&model(), &HashMap::from([((hash, Family::V6), memo)]));
        assert_eq!(standings.keys().collect::<Vec<_>>(), [&name("rs2", Family::V6)]);
    }
}

//! What records call the servers that have an id here, and which of their connections are told. Ids are local; names are the
//! cluster's.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lb_common::net::{Port, Protocol};
use lb_common::slot::ServerId;

use crate::agent::desired::{DesiredService, ServiceIdentity};
use crate::agent::ledger::Ledger;
use crate::config::{Mode, Model, Replicate};
use crate::replication::record::{Class, Connection, Pair, Target};

/// The names of all ids, both ways.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Naming {
    named: HashMap<ServerId, Named>,
    servers: HashMap<Target, ServerId>,
}

/// What records say of the connections of one id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    pair: Pair,
    target: Target,
    /// How old a connection must be; `None`: none is told.
    after: Option<Duration>,
    /// Seconds of silence after which a connection is over, as here: of a live one, and of a closing one.
    idle: u32,
    closing: u32,
}

impl Naming {
    /// The names of what is wanted. Ids that are leaving keep those they had before.
    pub fn of(model: &Model, wanted: &[DesiredService], ledger: &Ledger, before: &Self) -> Self {
        let leaving = ledger.pairs().filter(|(_, pair)| pair.leaving);
        let mut named: HashMap<ServerId, Named> =
            leaving.filter_map(|(id, _)| Some((id, before.named.get(&id)?.clone()))).collect();
        let directory = ledger.directory();
        let rules: HashMap<&str, _> =
            model.services.iter().map(|service| (service.name.as_str(), service.replication)).collect();
        let timeouts = &model.datapath.timeouts;
        for lane in wanted {
            let Some(rule) = rules.get(&*lane.name) else { continue };
            let idle = match lane.identity.protocol {
                Protocol::Tcp => timeouts.established,
                Protocol::Udp => timeouts.udp,
            };
            for server in &lane.servers {
                let Some(id) = directory.pair(lane, server) else { continue };
                let pair = Pair {
                    service: lane.name.to_string(),
                    server: server.name.to_string(),
                    lane: lane_name(&lane.identity),
                };
                let target = pair.target();
                let after = (rule.which != Replicate::None).then_some(rule.after);
                let (idle, closing) = (seconds(idle), seconds(timeouts.closing));
                named.insert(id, Named { pair, target, after, idle, closing });
            }
        }
        // What is leaving keeps its connections, those that others tell of, too; but whoever is wanted has the name for himself.
        let is_leaving: HashSet<ServerId> =
            ledger.pairs().filter(|(_, pair)| pair.leaving).map(|(id, _)| id).collect();
        let (leaving, wanted): (Vec<_>, Vec<_>) = named.iter().partition(|(id, _)| is_leaving.contains(id));
        let servers = leaving.into_iter().chain(wanted);
        let servers = servers.map(|(id, named)| (named.target, *id)).collect();
        Self { named, servers }
    }

    /// The same, told of all connections however young they are.
    #[must_use]
    pub fn telling_all(mut self) -> Self {
        self.named.values_mut().for_each(|named| named.after = Some(Duration::ZERO));
        self
    }

    /// All that there is a name for, for [`crate::replication::replicator::Replicator::configure`].
    pub fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.servers.values().filter_map(|id| Some(self.named.get(id)?.pair.clone()))
    }

    /// All that have a name.
    pub fn ids(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.named.keys().copied()
    }

    /// The service of this one.
    pub fn service(&self, id: ServerId) -> Option<&str> {
        self.named.get(&id).map(|named| named.pair.service.as_str())
    }

    /// The record of such a connection, and how old it must be to be told; `None` if it is not told at all.
    pub fn record(&self, id: ServerId, class: Class) -> Option<(Connection, Duration)> {
        let Named { target, after, idle, closing, .. } = self.named.get(&id)?;
        let idle = if class.is_closing() { *closing } else { *idle };
        Some((Connection { target: *target, class, idle }, (*after)?))
    }

    /// The record of a client's seat at this server, kept for so many seconds; `None` if none is told of its service.
    pub fn seat(&self, id: ServerId, class: Class, idle: u32) -> Option<Connection> {
        let Named { target, after, .. } = self.named.get(&id)?;
        after.map(|_| Connection { target: *target, class, idle })
    }

    /// Who is called so here.
    pub fn server(&self, target: Target) -> Option<ServerId> {
        self.servers.get(&target).copied()
    }
}

/// The same on all directors that have the same service: how it forwards is in it, because a connection cannot change that.
pub fn lane_name(identity: &ServiceIdentity) -> String {
    let how = match identity.mode {
        Mode::Dr => "dr",
        Mode::Nat => "nat",
        Mode::Tunnel => "tunnel",
        Mode::FullNat => "fullnat",
    };
    let protocol = match identity.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    let vip = IpAddr::from(identity.vip);
    let end = if identity.port == Port::ANY {
        format!("{vip} any")
    } else {
        SocketAddr::new(vip, identity.port.to_host()).to_string()
    };
    format!("{how} {protocol} {end}")
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs().max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::desired;
    use crate::agent::eligible::Circumstances;
    use crate::agent::standing::Standings;
    use crate::config;

    fn model(services: &str) -> Model {
        config::load_str("t.toml", services).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn service(lines: &str, servers: &[&str]) -> String {
        let server = |name: &&str| {
            let last = name.bytes().last().unwrap_or_default();
            format!("[[service.server]]\nname = \"{name}\"\naddress = \"198.51.100.{last}\"\n")
        };
        let servers: String = servers.iter().map(server).collect();
        format!(
            "[[service]]\nname = \"web\"\nvip = [\"192.0.2.1\", \"192.0.2.2\"]\nport = [80, 443]\nhealth = {{ kind = \"none\" }}\n\
             {lines}\n{servers}"
        )
    }

    /// What the file comes to, after `before`.
    fn named(model: &Model, ledger: &mut Ledger, before: &Naming) -> Naming {
        let wanted = desired::services(model, &Standings::new(), &Circumstances::default());
        ledger.assign(&wanted).unwrap();
        Naming::of(model, &wanted, ledger, before)
    }

    #[test]
    fn a_server_has_a_name_in_each_lane_which_leads_back_to_its_id() {
        let mut ledger = Ledger::empty(64, 64);
        let naming = named(&model(&service("", &["a", "b"])), &mut ledger, &Naming::default());
        let mut lanes: Vec<String> =
            naming.pairs().map(|pair| format!("{}@{}", pair.server, pair.lane)).collect();
        lanes.sort();
        assert_eq!(lanes.len(), 8, "{lanes:?}");
        assert!(
            lanes[0].starts_with("a@nat tcp 192.0.2.1:") || lanes[0].starts_with("a@dr tcp 192.0.2.1:"),
            "{lanes:?}"
        );
        for (id, _) in ledger.pairs() {
            let (connection, _) = naming.record(id, Class::Established).unwrap();
            assert_eq!(naming.server(connection.target), Some(id));
        }
    }

    #[test]
    fn two_directors_with_other_ids_use_the_same_names() {
        let (mut one, mut other) = (Ledger::empty(64, 64), Ledger::empty(64, 64));
        let here = named(&model(&service("", &["a", "b"])), &mut one, &Naming::default());
        named(&model(&service("", &["c", "d"])), &mut other, &Naming::default());
        let there = named(&model(&service("", &["b", "a"])), &mut other, &Naming::default());
        let names = |naming: &Naming| {
            naming.pairs().map(|pair| pair.target()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(&here), names(&there));
        let differs = |target: &Target| here.server(*target) != there.server(*target);
        assert!(names(&here).iter().any(differs), "ids are local");
    }

    #[test]
    fn who_is_leaving_is_still_told_of_and_keeps_what_others_tell() {
        let mut ledger = Ledger::empty(64, 64);
        let before = named(&model(&service("", &["a", "b"])), &mut ledger, &Naming::default());
        let after = named(&model(&service("", &["a"])), &mut ledger, &before);
        let (id, _) = ledger.pairs().find(|(_, pair)| pair.leaving).unwrap();
        let (connection, _) = after.record(id, Class::Established).unwrap();
        assert_eq!(after.server(connection.target), Some(id));
        assert_eq!(before.server(connection.target), Some(id));
        // When it has left, nobody is called so: its number may be another one's.
        ledger.free_pair(id);
        let free = named(&model(&service("", &["a"])), &mut ledger, &after);
        assert_eq!((free.server(connection.target), free.record(id, Class::Established)), (None, None));
    }

    #[test]
    fn who_is_wanted_has_the_name_of_one_who_is_leaving() {
        let mut ledger = Ledger::empty(64, 64);
        let at = |last: char| model(&service("", &["a"]).replace("100.97", &format!("100.{last}")));
        let before = named(&at('1'), &mut ledger, &Naming::default());
        let after = named(&at('2'), &mut ledger, &before);
        assert!(ledger.pairs().any(|(_, pair)| pair.leaving), "it has another address");
        for (wanted, _) in ledger.pairs().filter(|(_, pair)| !pair.leaving) {
            let (connection, _) = after.record(wanted, Class::Established).unwrap();
            assert_eq!(after.server(connection.target), Some(wanted));
        }
    }

    #[test]
    fn what_is_told_follows_the_service_and_the_timeouts() {
        let told = |lines: &str, rest: &str| {
            let mut ledger = Ledger::empty(64, 64);
            let model = model(&format!("{rest}\n{}", service(lines, &["a"])));
            let naming = named(&model, &mut ledger, &Naming::default());
            let (id, _) = ledger.pairs().next().unwrap();
            [Class::Established, Class::HalfClosed, Class::Closing]
                .map(|class| naming.record(id, class).map(|(it, after)| (it.idle, after.as_secs())))
        };
        assert_eq!(told("replicate = \"none\"", ""), [None; 3]);
        let timeouts = "[datapath]\ntimeouts = { established = \"10m\", closing = \"1m\" }";
        assert_eq!(told("replicate_after = \"5s\"", timeouts), [(600, 5), (600, 5), (60, 5)].map(Some));
    }
}

//! What distinguishes two configurations, for `check --diff` and for the answer to a reload.
//!
//! Services and servers are told apart by their names: their order means nothing, and a new name is a new
//! thing.

use std::collections::{HashMap, HashSet};
use std::fmt;

use lb_common::entry::{QuicFormat, Rule};
use serde::Serialize;

use super::choice::Choice as _;
use super::duration::show;
use super::listener::joined;
use super::model::{
    Agent, Cluster, Datapath, FullNat, Health, InterfaceName, MaglevTableSize, Model, Peer, Probe, Server,
    Service,
};

/// One difference. Displayed as a line for people; serialised with the kind in `change`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// A key of `[agent]`, `[datapath]`, `[fullnat]` or `[cluster]` has another value.
    SettingChanged {
        /// `agent`, `datapath`, `fullnat` or `cluster`.
        table: &'static str,
        #[serde(flatten)]
        #[expect(missing_docs, reason = "the type says it")]
        value: Field,
        /// Whether a reload is enough.
        effect: Effect,
    },
    /// A service that was not there.
    ServiceAdded {
        /// Its name.
        service: String,
        /// Where it listens, such as `192.0.2.1:80 tcp` or `192.0.2.1, 2001:db8::1 port 80, 8000-8099 tcp`.
        listener: String,
        /// How many servers it has.
        servers: usize,
    },
    /// A service that is gone.
    ServiceRemoved {
        /// Its name.
        service: String,
        /// Where it listened.
        listener: String,
    },
    /// A key of a service that stays has another value.
    ServiceChanged {
        /// The service's name.
        service: String,
        #[serde(flatten)]
        #[expect(missing_docs, reason = "the type says it")]
        value: Field,
    },
    /// A server that was not in this service.
    ServerAdded {
        /// The service's name.
        service: String,
        /// The server's name.
        server: String,
        /// Its addresses, and its port if it has one of its own.
        address: String,
        /// Its weight.
        weight: u16,
    },
    /// A server that is gone from this service.
    ServerRemoved {
        /// The service's name.
        service: String,
        /// The server's name.
        server: String,
        /// Its addresses, and its port if it had one of its own.
        address: String,
    },
    /// A key of a server that stays has another value.
    ServerChanged {
        /// The service's name.
        service: String,
        /// The server's name.
        server: String,
        #[serde(flatten)]
        #[expect(missing_docs, reason = "the type says it")]
        value: Field,
    },
}

/// A key and its two values, as the configuration writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// The key, with its table if that is nested: `health.interval`.
    pub key: &'static str,
    /// The old value.
    pub from: String,
    /// The new value.
    pub to: String,
}

/// When a changed setting comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// With the reload.
    Reload,
    /// When the agent is started anew: the maps, their pins or the socket are made once.
    Restart,
}

/// The settings that are used once, when the agent starts and makes or adopts the maps.
const FIXED_AT_START: [&str; 20] = [
    "xdp_mode",
    "socket",
    "pin_dir",
    "state_dir",
    "flow_table_size",
    "client_addresses",
    "server_slots",
    "list_slots",
    "source_slots",
    "affinity_slots",
    "node",
    "listen",
    "peers",
    "credentials",
    "scope",
    "send",
    "join_timeout",
    "on_timeout",
    "addresses",
    "ports",
];

/// Everything that makes `new` different from `old`: settings first, then the services in the order of
/// `new`, then those that are gone.
pub fn diff(old: &Model, new: &Model) -> Vec<Change> {
    let mut changes = Vec::new();
    settings("agent", &agent_fields(&old.agent), &agent_fields(&new.agent), &mut changes);
    settings("datapath", &datapath_fields(&old.datapath), &datapath_fields(&new.datapath), &mut changes);
    settings("fullnat", &fullnat_fields(&old.fullnat), &fullnat_fields(&new.fullnat), &mut changes);
    settings("cluster", &cluster_fields(&old.cluster), &cluster_fields(&new.cluster), &mut changes);
    let before: HashMap<_, _> = old.services.iter().map(|service| (&service.name, service)).collect();
    for service in &new.services {
        match before.get(&service.name) {
            // To put thousands of services into words costs more than to compare them.
            Some(before) if *before == service => {}
            Some(before) => compare_services(before, service, &mut changes),
            None => changes.push(Change::ServiceAdded {
                service: service.name.to_string(),
                listener: service.listening.to_string(),
                servers: service.servers.len(),
            }),
        }
    }
    let staying: HashSet<_> = new.services.iter().map(|service| &service.name).collect();
    let gone = old.services.iter().filter(|service| !staying.contains(&service.name));
    changes.extend(gone.map(|service| Change::ServiceRemoved {
        service: service.name.to_string(),
        listener: service.listening.to_string(),
    }));
    changes
}

fn settings(table: &'static str, old: &Fields, new: &Fields, changes: &mut Vec<Change>) {
    changes.extend(differing(old, new).into_iter().map(|value| {
        let effect = if FIXED_AT_START.contains(&value.key) { Effect::Restart } else { Effect::Reload };
        Change::SettingChanged { table, value, effect }
    }));
}

fn compare_services(old: &Service, new: &Service, changes: &mut Vec<Change>) {
    let service = || new.name.to_string();
    let mut fields = differing(&service_fields(old), &service_fields(new));
    let one_is_off = old.health == Health::Off || new.health == Health::Off;
    // Without checks the details of a check have no value to compare with.
    let health = differing(&health_fields(&old.health), &health_fields(&new.health));
    fields.extend(health.into_iter().take(if one_is_off { 1 } else { usize::MAX }));
    changes.extend(fields.into_iter().map(|value| Change::ServiceChanged { service: service(), value }));
    let before: HashMap<_, _> = old.servers.iter().map(|server| (&server.name, server)).collect();
    for server in &new.servers {
        let name = server.name.to_string();
        match before.get(&server.name) {
            Some(before) => changes.extend(
                differing(&server_fields(before), &server_fields(server))
                    .into_iter()
                    .map(|value| Change::ServerChanged { service: service(), server: name.clone(), value }),
            ),
            None => changes.push(Change::ServerAdded {
                service: service(),
                server: name,
                address: target(server),
                weight: server.weight.get(),
            }),
        }
    }
    let staying: HashSet<_> = new.servers.iter().map(|server| &server.name).collect();
    let gone = old.servers.iter().filter(|server| !staying.contains(&server.name));
    changes.extend(gone.map(|server| Change::ServerRemoved {
        service: service(),
        server: server.name.to_string(),
        address: target(server),
    }));
}

/// The keys of a table with their values as text. Two tables of one kind have the same keys in the same
/// order.
type Fields = Vec<(&'static str, String)>;

fn differing(old: &Fields, new: &Fields) -> Vec<Field> {
    std::iter::zip(old, new)
        .filter(|(old, new)| old != new)
        .map(|((key, from), (_, to))| Field { key, from: from.clone(), to: to.clone() })
        .collect()
}

fn agent_fields(agent: &Agent) -> Fields {
    let Agent {
        interfaces,
        xdp_mode,
        vip_owner,
        socket,
        pin_dir,
        state_dir,
        on_stop,
        snapshot,
        reload,
        node,
        log,
    } = agent;
    let interfaces: Vec<&str> = interfaces.iter().map(InterfaceName::as_str).collect();
    vec![
        ("interfaces", format!("[{}]", interfaces.join(", "))),
        ("xdp_mode", xdp_mode.to_string()),
        ("vip_owner", vip_owner.to_string()),
        ("socket", socket.display().to_string()),
        ("pin_dir", pin_dir.display().to_string()),
        ("state_dir", state_dir.display().to_string()),
        ("on_stop", on_stop.to_string()),
        ("snapshot", snapshot.to_string()),
        ("reload", reload.to_string()),
        ("node", or_none(node.as_ref(), "the host's name")),
        ("log", log.to_string()),
    ]
}

fn datapath_fields(datapath: &Datapath) -> Fields {
    let Datapath {
        flow_table_size,
        client_addresses,
        maglev_table_size,
        server_slots,
        list_slots,
        source_slots,
        affinity_slots,
        timeouts,
    } = datapath;
    let maglev_table_size = match maglev_table_size {
        MaglevTableSize::Auto => "auto".to_owned(),
        MaglevTableSize::Prime(size) => size.to_string(),
    };
    vec![
        ("flow_table_size", flow_table_size.to_string()),
        ("client_addresses", client_addresses.to_string()),
        ("maglev_table_size", maglev_table_size),
        ("server_slots", server_slots.to_string()),
        ("list_slots", list_slots.to_string()),
        ("source_slots", source_slots.to_string()),
        ("affinity_slots", affinity_slots.to_string()),
        ("timeouts.new", show(timeouts.new)),
        ("timeouts.established", show(timeouts.established)),
        ("timeouts.closing", show(timeouts.closing)),
        ("timeouts.udp", show(timeouts.udp)),
    ]
}

fn fullnat_fields(fullnat: &FullNat) -> Fields {
    let FullNat { addresses, ports } = fullnat;
    vec![("addresses", format!("[{}]", joined(addresses))), ("ports", ports.to_string())]
}

fn cluster_fields(cluster: &Cluster) -> Fields {
    let Cluster { domain, mesh } = cluster;
    let mesh = mesh.as_ref();
    let peer = |Peer { name, address }: &Peer| format!("{name} {address}");
    let peers = mesh.map(|mesh| mesh.peers.iter().map(peer).collect::<Vec<_>>().join(", "));
    vec![
        ("domain", or_none(domain.as_ref(), "-")),
        ("node", or_none(mesh.map(|mesh| &mesh.node), "-")),
        ("listen", or_none(mesh.map(|mesh| mesh.listen), "-")),
        ("peers", or_none(peers, "-")),
        ("credentials", or_none(mesh.map(|mesh| mesh.credentials.display()), "-")),
        ("scope", or_none(mesh.map(|mesh| mesh.scope.word()), "-")),
        ("send", or_none(mesh.map(|mesh| mesh.send.word()), "-")),
        ("join_timeout", or_none(mesh.map(|mesh| show(mesh.patience.whole)), "-")),
        ("on_timeout", or_none(mesh.map(|mesh| mesh.patience.on_timeout.word()), "-")),
    ]
}

fn service_fields(service: &Service) -> Fields {
    let Service {
        name: _,
        listening,
        mode,
        tunnel,
        scheduler,
        on_no_server,
        partings,
        quorum,
        slow_start,
        access,
        limits,
        affinity,
        quic_lb,
        health: _,
        agent_check,
        replication,
        servers: _,
    } = service;
    let affinity = affinity.as_ref();
    vec![
        ("vip", joined(&listening.vips)),
        ("port", joined(&listening.ports)),
        ("protocol", joined(&listening.protocols)),
        ("mode", mode.to_string()),
        ("tunnel", or_none(tunnel.as_ref(), "-")),
        ("scheduler", scheduler.to_string()),
        ("on_no_server", on_no_server.to_string()),
        ("on_server_down", partings.down.to_string()),
        ("on_drain", partings.drained.to_string()),
        ("on_remove", partings.removed.to_string()),
        ("quorum", or_none(quorum.as_ref(), "-")),
        ("slow_start", show(*slow_start)),
        ("allow", access.told(Rule::Allow)),
        ("deny", access.told(Rule::Deny)),
        ("limits.connections_per_second", or_none(limits.connections, "-")),
        ("limits.source_connections_per_second", or_none(limits.source_connections, "-")),
        ("limits.source_packets_per_second", or_none(limits.source_packets, "-")),
        ("limits.prefix_v4", limits.prefix_v4.to_string()),
        ("limits.prefix_v6", limits.prefix_v6.to_string()),
        ("affinity", affinity.map_or("none", |_| "by source").to_owned()),
        ("affinity.group", or_none(affinity.and_then(|affinity| affinity.group.as_ref()), "-")),
        ("affinity.prefix_v4", or_none(affinity.map(|affinity| affinity.prefix_v4), "-")),
        ("affinity.prefix_v6", or_none(affinity.map(|affinity| affinity.prefix_v6), "-")),
        ("affinity.timeout", or_none(affinity.map(|affinity| show(affinity.timeout)), "-")),
        ("affinity.on_server_down", or_none(affinity.map(|affinity| affinity.on_server_down), "-")),
        ("quic_lb.config_id", or_none(quic_lb.map(QuicFormat::config), "-")),
        ("quic_lb.server_id_length", or_none(quic_lb.map(QuicFormat::length), "-")),
        ("agent_check.port", or_none(agent_check.as_ref().map(|check| check.port), "-")),
        ("agent_check.interval", or_none(agent_check.as_ref().map(|check| show(check.interval)), "-")),
        ("agent_check.timeout", or_none(agent_check.as_ref().map(|check| show(check.timeout)), "-")),
        ("agent_check.send", or_none(agent_check.as_ref().map(|check| format!("{:?}", check.send)), "-")),
        ("replicate", replication.which.to_string()),
        ("replicate_after", show(replication.after)),
    ]
}

/// The kind first.
fn health_fields(health: &Health) -> Fields {
    let check = match health {
        Health::Off => None,
        Health::Checked(check) => Some(check),
    };
    let told = check.map(|check| check.probe.told()).unwrap_or_default();
    let of_kind = Probe::TOLD.map(|key| {
        let value = told.iter().find(|(told, _)| *told == key).map(|(_, value)| value);
        (key, or_none(value, "-"))
    });
    let mut fields = vec![
        ("health.kind", check.map_or("none", |check| check.probe.kind()).to_owned()),
        ("health.port", or_none(check.and_then(|check| check.port), "the server's")),
    ];
    fields.push(("health.via", or_none(check.map(|check| check.via), "-")));
    fields.extend(of_kind);
    fields.extend([
        ("health.interval", or_none(check.map(|check| show(check.interval)), "-")),
        ("health.interval_down", or_none(check.map(|check| show(check.interval_down)), "-")),
        ("health.timeout", or_none(check.map(|check| show(check.timeout)), "-")),
        ("health.rise", or_none(check.map(|check| check.rise), "-")),
        ("health.fall", or_none(check.map(|check| check.fall), "-")),
    ]);
    fields
}

fn server_fields(server: &Server) -> Fields {
    let Server { name: _, addresses, port, weight, max_connections, server_id, tier, domain } = server;
    vec![
        ("address", joined(addresses)),
        ("port", or_none(*port, "the port that was hit")),
        ("weight", weight.to_string()),
        ("max_connections", or_none(*max_connections, "-")),
        ("server_id", or_none(server_id.as_ref(), "-")),
        ("backup", tier.to_string()),
        ("domain", or_none(domain.as_ref(), "-")),
    ]
}

fn or_none(value: Option<impl fmt::Display>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| value.to_string())
}

fn target(server: &Server) -> String {
    match (server.port, &server.addresses[..]) {
        (None, addresses) => joined(addresses),
        (Some(port), [address]) => std::net::SocketAddr::new(address.ip(), port.get()).to_string(),
        (Some(port), addresses) => format!("{} port {port}", joined(addresses)),
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.key, self.from, self.to)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SettingChanged { table, value, effect: Effect::Reload } => write!(f, "~ [{table}] {value}"),
            Self::SettingChanged { table, value, effect: Effect::Restart } => {
                write!(f, "~ [{table}] {value} (takes effect when the agent is started anew)")
            }
            Self::ServiceAdded { service, listener, servers } => {
                write!(f, "+ service {service} {listener}, servers: {servers}")
            }
            Self::ServiceRemoved { service, listener } => write!(f, "- service {service} {listener}"),
            Self::ServiceChanged { service, value } => write!(f, "~ service {service} {value}"),
            Self::ServerAdded { service, server, address, weight } => {
                write!(f, "+ server {service}/{server} {address} weight {weight}")
            }
            Self::ServerRemoved { service, server, address } => {
                write!(f, "- server {service}/{server} {address}")
            }
            Self::ServerChanged { service, server, value } => {
                write!(f, "~ server {service}/{server} {value}")
            }
        }
    }
}

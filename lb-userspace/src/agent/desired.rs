//! What the maps ought to say: configuration × health × the operator's overrides. Pure.

use std::collections::HashMap;

use lb_common::clock::{COARSE_TICKS, TICK_NS};
use lb_common::entry::{Admin, HealthMemo, Memo, ServerState};
use lb_common::identity::name_hash;
use lb_common::maglev;
use lb_common::net::{Addr, Port, Protocol};
use lb_common::slot::Limits;

use crate::config::{self, ListenPort, MaglevTableSize, Mode, Model, OnNoServer};

/// One (service, server) pair, by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairName {
    pub service: String,
    pub server: String,
}

/// What is known about a pair besides its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    pub admin: Admin,
    pub health: HealthMemo,
    /// Not checked at all: as good as up.
    pub unchecked: bool,
    pub weight: Option<u16>,
    /// Unix seconds of the last change.
    pub since: u32,
}

/// A service as it ought to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredService {
    pub name: String,
    pub identity: ServiceIdentity,
    pub reject: bool,
    pub table_size: u32,
    pub servers: Vec<DesiredServer>,
}

/// What makes a service the same in the data path: change any of it and it is another one, whose predecessor's
/// connections go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServiceIdentity {
    pub name_hash: u64,
    pub vip: Addr,
    pub port: Port,
    pub protocol: Protocol,
    pub nat: bool,
}

/// A server as it ought to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredServer {
    pub name: String,
    pub name_hash: u64,
    pub address: Addr,
    pub port: Port,
    /// In force: the override's or the file's.
    pub weight: u16,
    pub standing: Standing,
}

impl DesiredServer {
    /// Whether new connections may be given to it.
    #[must_use]
    pub fn takes_new(&self) -> bool {
        let healthy = self.standing.unchecked || self.standing.health == HealthMemo::Up;
        healthy && self.standing.admin == Admin::Enabled && self.weight > 0
    }

    /// The flags of its entry, apart from what depends on other entries.
    #[must_use]
    pub fn flags(&self, service: &ServiceIdentity) -> u16 {
        let mut flags = ServerState::IN_USE;
        let mut set = |flag, on| flags |= if on { flag } else { 0 };
        set(ServerState::DOWN, !self.standing.unchecked && self.standing.health == HealthMemo::Down);
        set(ServerState::DRAINED, self.standing.admin != Admin::Enabled || self.weight == 0);
        set(ServerState::NAT, service.nat);
        set(ServerState::UDP, service.protocol == Protocol::Udp);
        flags
    }

    #[must_use]
    pub fn memo(&self) -> Memo {
        let Standing { admin, health, weight, since, .. } = self.standing;
        Memo { admin, health, weight, since }
    }
}

/// The services that this configuration wants, given what is known about their servers.
#[must_use]
pub fn services(model: &Model, standings: &HashMap<PairName, Standing>) -> Vec<DesiredService> {
    model.services.iter().map(|service| desired(model, service, standings)).collect()
}

fn desired(
    model: &Model,
    service: &config::Service,
    standings: &HashMap<PairName, Standing>,
) -> DesiredService {
    let service_hash = name_hash(0, service.name.as_str().as_bytes());
    let servers = service.servers.iter().map(|server| {
        let name =
            PairName { service: service.name.as_str().to_owned(), server: server.name.as_str().to_owned() };
        let standing = standings.get(&name).copied().unwrap_or_default();
        DesiredServer {
            name: name.server,
            name_hash: name_hash(service_hash, server.name.as_str().as_bytes()),
            address: server.address.ip().into(),
            // "The port that was hit" is one port unless the service listens on all.
            port: server
                .port
                .or(service.listener.port.fixed())
                .map_or(Port::ANY, |port| Port::from_host(port.get())),
            weight: standing.weight.unwrap_or(server.weight.get()),
            standing,
        }
    });
    DesiredService {
        name: service.name.as_str().to_owned(),
        identity: ServiceIdentity {
            name_hash: service_hash,
            vip: service.listener.vip.ip().into(),
            port: match service.listener.port {
                ListenPort::Any => Port::ANY,
                ListenPort::Fixed(port) => Port::from_host(port.get()),
            },
            protocol: protocol(service.listener.protocol),
            nat: service.mode == Mode::Nat,
        },
        reject: service.on_no_server == OnNoServer::Reject,
        table_size: match model.datapath.maglev_table_size {
            MaglevTableSize::Auto => maglev::size_for(service.servers.len()),
            MaglevTableSize::Prime(size) => size,
        },
        servers: servers.collect(),
    }
}

/// The configuration's protocol in the data path's words.
#[must_use]
pub fn protocol(protocol: config::Protocol) -> Protocol {
    match protocol {
        config::Protocol::Tcp => Protocol::Tcp,
        config::Protocol::Udp => Protocol::Udp,
    }
}

/// The limits of silence, in ticks, rounded up. The table cannot tell UDP from TCP, so its own limit is the longer of the
/// two; the sweep, which can, keeps to each.
#[must_use]
pub fn limits(timeouts: &config::Timeouts) -> Limits {
    let fine = |time: std::time::Duration| time.as_nanos().div_ceil(u128::from(TICK_NS)).min(127) as u8;
    Limits {
        new: fine(timeouts.new).min(63),
        closing: fine(timeouts.closing),
        established: coarse(timeouts.established).max(coarse(timeouts.udp)),
    }
}

/// A time in coarse ticks, rounded up.
#[must_use]
pub fn coarse(time: std::time::Duration) -> u8 {
    time.as_nanos().div_ceil(u128::from(TICK_NS) * u128::from(COARSE_TICKS)).clamp(1, 127) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[service]]
        name = "web"
        vip = "192.0.2.1"
        port = 80
        mode = "nat"
        [[service.server]]
        name = "rs1"
        address = "198.51.100.1"
        weight = 3
    "#;

    fn with(standing: Standing) -> DesiredServer {
        let model = config::load_str("t.toml", TEXT).unwrap();
        let name = PairName { service: "web".into(), server: "rs1".into() };
        services(&model, &HashMap::from([(name, standing)])).remove(0).servers.remove(0)
    }

    #[test]
    fn only_a_healthy_enabled_server_with_weight_takes_new_connections() {
        let up = Standing { health: HealthMemo::Up, ..Standing::default() };
        assert!(with(up).takes_new());
        assert!(with(Standing { unchecked: true, ..Standing::default() }).takes_new());
        for standing in [
            Standing::default(),
            Standing { health: HealthMemo::Down, ..up },
            Standing { admin: Admin::Draining, ..up },
            Standing { admin: Admin::Disabled, ..up },
            Standing { weight: Some(0), ..up },
        ] {
            assert!(!with(standing).takes_new(), "{standing:?}");
        }
    }

    #[test]
    fn an_override_outranks_the_file_and_is_remembered() {
        let server = with(Standing { weight: Some(7), ..Standing::default() });
        assert_eq!(server.weight, 7);
        assert_eq!(server.memo().weight, Some(7));
        assert_eq!(with(Standing::default()).weight, 3);
    }

    #[test]
    fn a_server_without_a_port_has_the_listeners() {
        assert_eq!(with(Standing::default()).port, Port::from_host(80));
        let any = TEXT
            .replace("port = 80", "port = \"any\"")
            .replace("[[service.server]]", "[service.health]\nkind = \"none\"\n[[service.server]]");
        let model = config::load_str("t.toml", &any).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(services(&model, &HashMap::new())[0].servers[0].port, Port::ANY);
    }

    #[test]
    fn identity_is_by_name_and_service() {
        let model = config::load_str(
            "t.toml",
            &format!(
                "{TEXT}\n{}",
                TEXT.replace("\"web\"", "\"api\"").replace(".1\"\n        port", ".2\"\n        port")
            ),
        )
        .unwrap();
        let both = services(&model, &HashMap::new());
        assert_ne!(both[0].identity.name_hash, both[1].identity.name_hash);
        assert_ne!(both[0].servers[0].name_hash, both[1].servers[0].name_hash);
    }
}

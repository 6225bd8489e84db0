//! What the maps ought to say: configuration × health × the operator's overrides. Pure.
//!
//! A service of the configuration is one of the maps for each of its lanes ([`config::Lane`]): a VIP, a protocol, and a port
//! or all those that keep the port that was hit. It has a number, a table and pairs for each; people see them as one.

use std::sync::Arc;

use lb_common::clock::{COARSE_TICKS, TICK_NS};
use lb_common::entry::{QuicFormat, Scheduler, Terms};
use lb_common::identity::name_hash;
use lb_common::maglev;
use lb_common::net::{Addr, Port, Protocol};
use lb_common::slot::Limits;

use super::eligible::{self, Candidate, Circumstances};
use super::parting;
use super::standing::{AddressName, PairName, Standings};
use crate::config::{
    self, Access, Lane, Limits as ServiceLimits, MaglevTableSize, Mode, Model, OnNoServer, Replicate,
};

mod server;

pub use server::DesiredServer;

/// A lane of a service as it ought to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredService {
    /// The service's; its other lanes have the same.
    pub name: Arc<str>,
    pub identity: ServiceIdentity,
    /// The ports of the VIP that lead here.
    pub ports: Vec<Port>,
    pub reject: bool,
    /// In tunnel mode alone. Another tunnel is no other lane: connections go on through it.
    pub tunnel: Option<config::Tunnel>,
    /// Whom the service admits.
    pub access: Arc<Access>,
    /// How much the service takes in a second.
    pub limits: ServiceLimits,
    /// Of the connection ids that name its servers, if they do.
    pub quic: Option<QuicFormat>,
    /// What names the candidates of its new connections; and whether they take turns by weight, if they do.
    pub scheduler: Scheduler,
    pub weighted_turns: bool,
    pub affinity: Option<DesiredAffinity>,
    /// Which of its connections other directors are told of; none where there are none.
    pub told: Replicate,
    pub table_size: u32,
    pub servers: Vec<DesiredServer>,
}

/// How clients of a service come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredAffinity {
    /// Of the group's name; or of the service's, which then has a group to itself.
    pub group_hash: u64,
    pub prefix_v4: u32,
    pub prefix_v6: u32,
    pub terms: Terms,
}

/// What makes a lane the same in the data path: change any of it and it is another one, whose predecessor's connections
/// go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServiceIdentity {
    /// The service's; its other lanes have the same.
    pub name_hash: u64,
    pub vip: Addr,
    /// [`Port::ANY`] if the port that was hit is kept, whichever ports these are: so a range that grows stays the same.
    pub port: Port,
    pub protocol: Protocol,
    pub mode: Mode,
}

/// The lanes that this configuration wants, those of a service in a row, given what is known about its servers.
#[must_use]
pub fn services(model: &Model, standings: &Standings, circumstances: &Circumstances) -> Vec<DesiredService> {
    model.services.iter().flat_map(|service| lanes(model, service, standings, circumstances)).collect()
}

/// The lanes of one service.
pub fn lanes<'a>(
    model: &'a Model,
    service: &'a config::Service,
    standings: &'a Standings,
    circumstances: &'a Circumstances,
) -> impl Iterator<Item = DesiredService> + 'a {
    service.listening.lanes().map(move |lane| desired(model, service, lane, standings, circumstances))
}

fn desired(
    model: &Model,
    service: &config::Service,
    lane: Lane,
    standings: &Standings,
    circumstances: &Circumstances,
) -> DesiredService {
    let (mut servers, candidates): (Vec<DesiredServer>, Vec<Candidate<'_>>) = service
        .servers
        .iter()
        .filter_map(|server| of_lane(model, service, server, &lane, standings, circumstances))
        .unzip();
    let shares = eligible::shares(service, model.cluster.domain.as_ref(), &candidates, circumstances);
    for (server, share) in servers.iter_mut().zip(shares) {
        server.share = share;
    }
    DesiredService {
        name: service.name.shared(),
        identity: ServiceIdentity {
            name_hash: service_hash(service),
            vip: lane.vip.ip().into(),
            port: lane.port.map_or(Port::ANY, |port| Port::from_host(port.get())),
            protocol: protocol(lane.protocol),
            mode: service.mode,
        },
        tunnel: service.tunnel.clone(),
        ports: service.listening.ports_of(lane).map(Port::from_host).collect(),
        reject: service.on_no_server != OnNoServer::Drop,
        access: service.access.clone(),
        limits: service.limits,
        quic: service.quic_lb,
        scheduler: scheduler(service.scheduler),
        weighted_turns: service.scheduler == config::Scheduler::Wrr,
        affinity: service.affinity.as_ref().map(|affinity| desired_affinity(service_hash(service), affinity)),
        // The walk over the ports finds what full NAT has lent.
        told: match model.cluster.mesh {
            Some(_) if service.mode != Mode::FullNat => service.replication.which,
            _ => Replicate::None,
        },
        table_size: match model.datapath.maglev_table_size {
            MaglevTableSize::Auto => maglev::size_for(servers.len()),
            MaglevTableSize::Prime(size) => size,
        },
        servers,
    }
}

/// A server as a lane has it, if it has an address there.
fn of_lane<'m>(
    model: &Model,
    service: &'m config::Service,
    server: &'m config::Server,
    lane: &Lane,
    standings: &Standings,
    circumstances: &Circumstances,
) -> Option<(DesiredServer, Candidate<'m>)> {
    let address = service.address(server, lane.vip.family())?;
    let name = AddressName { pair: PairName::of(service, server), family: address.family() };
    let standing = standings.get(&name).copied().unwrap_or_default();
    let weight = standing.weight.unwrap_or(server.weight.get());
    let part = standing.share(server.weight.get());
    let candidate = Candidate { tier: server.tier, domain: server.domain.as_ref(), part, standing };
    let desired = DesiredServer {
        name: name.pair.server,
        // Of the names alone: all listeners, and all directors, pick alike.
        name_hash: name_hash(service_hash(service), server.name.as_str().as_bytes()),
        address: address.ip().into(),
        // "The port that was hit" is one port unless the lane has several.
        port: server.port.or(lane.port).map_or(Port::ANY, |port| Port::from_host(port.get())),
        weight,
        // Without a flow table nobody counts connections.
        max_connections: if model.datapath.flow_table_size == 0 {
            0
        } else {
            standing.most(server.max_connections)
        },
        share: 0,
        slow_start: service.slow_start,
        tier: server.tier,
        removal: service.partings.removed,
        parting: parting::in_force(&standing, part, &service.partings),
        now: circumstances.now,
        quic_id: server.server_id.clone(),
        standing,
    };
    Some((desired, candidate))
}

fn service_hash(service: &config::Service) -> u64 {
    name_hash(0, service.name.as_str().as_bytes())
}

const fn scheduler(wanted: config::Scheduler) -> Scheduler {
    match wanted {
        config::Scheduler::Maglev => Scheduler::Maglev,
        config::Scheduler::Least => Scheduler::Least,
        config::Scheduler::Wrr | config::Scheduler::Rr => Scheduler::Rotation,
        config::Scheduler::Source => Scheduler::Source,
        config::Scheduler::Random => Scheduler::Random,
    }
}

fn desired_affinity(service_hash: u64, affinity: &config::Affinity) -> DesiredAffinity {
    // Groups have names of their own: one may be called as a service is.
    const GROUPS: u64 = 0x6772_6f75_7073;
    let fine = affinity.timeout.as_nanos().div_ceil(u128::from(TICK_NS));
    let is_coarse = fine > 127;
    DesiredAffinity {
        group_hash: affinity
            .group
            .as_ref()
            .map_or(service_hash, |group| name_hash(GROUPS, group.as_str().as_bytes())),
        prefix_v4: affinity.prefix_v4,
        prefix_v6: affinity.prefix_v6,
        terms: Terms {
            ticks: if is_coarse { coarse(affinity.timeout) } else { fine as u8 },
            coarse: is_coarse,
            on_down: affinity.on_server_down.into(),
        },
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
    use lb_common::entry::{Admin, HealthMemo, ServerState};

    use super::*;
    use crate::agent::heard::Heard;
    use crate::agent::standing::{Advised, Standing};
    use crate::health;

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
        let pair = PairName { service: "web".into(), server: "rs1".into() };
        let name = AddressName { pair, family: config::Family::V4 };
        services(&model, &Standings::from([(name, standing)]), &Circumstances::default())
            .remove(0)
            .servers
            .remove(0)
    }

    #[test]
    fn only_a_healthy_enabled_server_with_weight_takes_new_connections() {
        let up = Standing { health: HealthMemo::Up, ..Standing::default() };
        let says = |share: &str| {
            let mut advice = health::Advice::default();
            assert_eq!(advice.hear(share.as_bytes()), []);
            let mut heard = Heard::default();
            heard.said = Some(health::Said { advice, trouble: None });
            Standing { advised: heard.advised(), ..up }
        };
        assert!(with(up).takes_new());
        assert!(with(Standing { unchecked: true, ..Standing::default() }).takes_new());
        for standing in [
            Standing::default(),
            Standing { health: HealthMemo::Down, ..up },
            Standing { admin: Admin::Draining, ..up },
            Standing { admin: Admin::Disabled, ..up },
            Standing { weight: Some(0), ..up },
            says("0%"),
            says("drain"),
            says("maint"),
            says("down # out of order"),
            Standing { admin: Admin::Draining, ..says("ready up 100%") },
        ] {
            assert!(!with(standing).takes_new(), "{standing:?}");
        }
    }

    #[test]
    fn of_the_files_limit_and_the_servers_own_the_lesser_holds() {
        let most = |file: &str, says: u32| {
            let text = TEXT.replace("weight = 3", file);
            let model = config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
            let pair = PairName { service: "web".into(), server: "rs1".into() };
            let name = AddressName { pair, family: config::Family::V4 };
            let advised = Advised { heard: true, most: says, ..Advised::default() };
            let standings = Standings::from([(name, Standing { advised, ..Standing::default() })]);
            let lane = services(&model, &standings, &Circumstances::default()).remove(0);
            assert_eq!(
                lane.scheduling().has(lb_common::entry::Scheduling::COUNTED),
                lane.servers[0].max_connections > 0
            );
            lane.servers[0].max_connections
        };
        assert_eq!(most("", 0), 0);
        assert_eq!(most("", 30), 30);
        assert_eq!(most("max_connections = 20", 30), 20);
        assert_eq!(most("max_connections = 40", 30), 30);
        assert_eq!(most("max_connections = 40", 0), 40);
    }

    #[test]
    fn a_server_that_fails_its_check_is_down_and_not_drained() {
        let flags = |standing| {
            let model = config::load_str("t.toml", TEXT).unwrap_or_else(|problems| panic!("{problems}"));
            let identity = services(&model, &Standings::new(), &Circumstances::default())[0].identity;
            with(standing).flags(&identity) & (ServerState::DOWN | ServerState::DRAINED)
        };
        let up = Standing { health: HealthMemo::Up, ..Standing::default() };
        assert_eq!(flags(up), 0);
        assert_eq!(flags(Standing { health: HealthMemo::Down, ..up }), ServerState::DOWN);
        assert_eq!(flags(Standing { admin: Admin::Draining, ..up }), ServerState::DRAINED);
        assert_eq!(flags(Standing { weight: Some(0), ..up }), ServerState::DRAINED);
    }

    #[test]
    fn connections_are_ended_only_of_a_failed_server_and_only_where_the_file_says_so() {
        let flags = |policy: &str, health| {
            let text = TEXT.replace("mode = \"nat\"", &format!("mode = \"nat\"\n{policy}"));
            let model = config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
            let pair = PairName { service: "web".into(), server: "rs1".into() };
            let name = AddressName { pair, family: config::Family::V4 };
            let standing = Standing { health, ..Standing::default() };
            let lane =
                services(&model, &Standings::from([(name, standing)]), &Circumstances::default()).remove(0);
            lane.servers[0].flags(&lane.identity) & ServerState::RESETS
        };
        assert_eq!(flags("on_server_down = \"reset\"", HealthMemo::Down), ServerState::RESETS);
        assert_eq!(flags("on_server_down = \"reset\"", HealthMemo::Up), 0);
        assert_eq!(flags("on_server_down = \"keep\"", HealthMemo::Down), 0);
        assert_eq!(flags("", HealthMemo::Down), 0);
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
        assert_eq!(
            services(&model, &Standings::new(), &Circumstances::default())[0].servers[0].port,
            Port::ANY
        );
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
        let both = services(&model, &Standings::new(), &Circumstances::default());
        assert_ne!(both[0].identity.name_hash, both[1].identity.name_hash);
        assert_ne!(both[0].servers[0].name_hash, both[1].servers[0].name_hash);
    }

    /// VIP, port (0: the one that was hit), ports that lead there, and the servers' addresses and ports.
    fn told(lane: &DesiredService) -> String {
        let ip = |addr: Addr| std::net::IpAddr::from(addr);
        let ports: Vec<u16> = lane.ports.iter().map(|port| port.to_host()).collect();
        let servers: Vec<String> =
            lane.servers.iter().map(|s| format!("{} {}", ip(s.address), s.port.to_host())).collect();
        let ServiceIdentity { vip, port, protocol, .. } = lane.identity;
        format!("{} {} {protocol:?} {ports:?}: {}", ip(vip), port.to_host(), servers.join(", "))
    }

    #[test]
    fn a_service_has_a_lane_for_each_vip_and_port_with_the_servers_of_its_family() {
        let text = TEXT
            .replace("\"192.0.2.1\"", "[\"192.0.2.1\", \"2001:db8::1\"]")
            .replace(
                "port = 80",
                "port = [80, \"8000-8001\", \"9000-9001\"]\n[service.health]\nkind = \"none\"",
            )
            .replace("mode = \"nat\"", "")
            + "[[service.server]]\nname = \"rs2\"\naddress = [\"2001:db8:2::2\", \"198.51.100.2\"]\n";
        let model = config::load_str("t.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let lanes = services(&model, &Standings::new(), &Circumstances::default());
        assert_eq!(
            lanes.iter().map(told).collect::<Vec<_>>(),
            [
                "192.0.2.1 0 Tcp [8000, 8001, 9000, 9001]: 198.51.100.1 0, 198.51.100.2 0",
                "192.0.2.1 80 Tcp [80]: 198.51.100.1 80, 198.51.100.2 80",
                "2001:db8::1 0 Tcp [8000, 8001, 9000, 9001]: 2001:db8:2::2 0",
                "2001:db8::1 80 Tcp [80]: 2001:db8:2::2 80",
            ]
        );
        let share = |lane: &DesiredService| lane.servers.last().map(|server| server.name_hash);
        assert!(lanes.iter().all(|lane| share(lane) == share(&lanes[0])), "all listeners pick alike");
        assert!(lanes.iter().all(|lane| lane.identity.name_hash == lanes[0].identity.name_hash));
    }
}

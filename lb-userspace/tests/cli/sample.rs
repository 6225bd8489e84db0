//! Reports of an imaginary director, with something in every field.

use lb_userspace::api::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

fn at(time: &str) -> Time {
    time.parse().expect("a time")
}

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

fn counters<const N: usize>(counters: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counters.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

fn server(name: &str, address: &str, port: Option<u16>) -> ServerStatus {
    ServerStatus {
        name: name.to_owned(),
        address: ip(address),
        port,
        weight: 1,
        weight_configured: 1,
        weight_override: None,
        server_id: None,
        max_connections: None,
        backup: false,
        share: 0.25,
        connections_end_at: None,
        state: ServerState::Up,
        admin: Admin::Enabled,
        health: Health::Up,
        reason: Some("HTTP 200 in 3 ms".to_owned()),
        since: Some(at("2026-09-21T11:00:00Z")),
        history: Vec::new(),
        agent: None,
        next_hop: Some(NextHop { interface: "eth0".to_owned(), mac: "02:00:00:00:00:21".to_owned() }),
        connections_active: 402,
        unanswered: Some(0),
        connections_total: 120_400,
        packets: 4_800_000,
        bytes: 312_000_000,
        reply_packets: Some(6_100_000),
        reply_bytes: Some(8_400_000_000),
        rates: Some(Rates {
            connections_per_second: 120.4,
            packets_per_second: 4800.0,
            bytes_per_second: 312_000.0,
            reply_packets_per_second: Some(6100.0),
            reply_bytes_per_second: Some(8_400_000.0),
        }),
    }
}

fn changed(when: &str, from: Health, to: Health, reason: &str) -> Transition {
    Transition { at: at(when), from, to, reason: reason.to_owned() }
}

fn web() -> ServiceStatus {
    let rs2 = ServerStatus {
        weight: 5,
        weight_override: Some(5),
        connections_active: 1997,
        agent: Some(AgentStatus {
            percent: 75,
            order: AgentOrder::Ready,
            fault: None,
            max_connections: Some(2000),
            trouble: None,
        }),
        ..server("rs2", "10.77.2.22", Some(80))
    };
    let rs3 = ServerStatus {
        state: ServerState::Down,
        health: Health::Down,
        reason: Some("connection refused, 3 times".to_owned()),
        since: Some(at("2026-09-21T14:10:00Z")),
        history: vec![
            changed("2026-09-21T11:00:00Z", Health::Unknown, Health::Up, "connect 10.77.2.23:8080: accepted"),
            changed(
                "2026-09-21T13:57:41Z",
                Health::Up,
                Health::Down,
                "connect 10.77.2.23:8080: no answer within 1s",
            ),
            changed("2026-09-21T13:57:55Z", Health::Down, Health::Up, "connect 10.77.2.23:8080: accepted"),
            changed("2026-09-21T14:10:00Z", Health::Up, Health::Down, "connection refused, 3 times"),
        ],
        connections_active: 12,
        rates: None,
        next_hop: None,
        ..server("rs3", "10.77.2.23", Some(8080))
    };
    let rs4 = ServerStatus {
        state: ServerState::Draining,
        admin: Admin::Draining,
        reason: Some("drained by hand".to_owned()),
        connections_active: 7,
        server_id: Some("0a1b".into()),
        max_connections: Some(10_000),
        backup: true,
        ..server("rs4", "10.77.2.24", Some(80))
    };
    ServiceStatus {
        name: "web".to_owned(),
        mode: ForwardMode::Nat,
        encapsulation: None,
        scheduler: "maglev".to_owned(),
        quorum: Some(Quorum { weight_up: 3, weight_configured: 4, percent: 50, held: true }),
        listeners: vec![Listener {
            vip: ip("10.77.1.100"),
            port: ListenerPort::Number(80),
            port_end: None,
            protocol: Protocol::Tcp,
        }],
        connections_active: 2418,
        connections_total: 361_200,
        packets: 14_400_000,
        bytes: 936_000_000,
        reply_packets: Some(18_300_000),
        reply_bytes: Some(25_200_000_000),
        quic_lb: None,
        affinity: None,
        refused: Refused { denied: 12, rate_source: 0, rate_service: 0 },
        missed: 3,
        adopted: 0,
        rates: server("", "10.77.2.21", None).rates,
        servers: vec![server("rs1", "10.77.2.21", Some(80)), rs2, rs3, rs4],
    }
}

fn dns() -> ServiceStatus {
    let ns1 = ServerStatus {
        reply_packets: None,
        reply_bytes: None,
        rates: None,
        since: None,
        health: Health::Off,
        reason: None,
        connections_active: 31,
        ..server("ns1", "10.77.2.53", None)
    };
    let ns1_v6 = ServerStatus { address: ip("2001:db8:2::53"), connections_active: 4, ..ns1.clone() };
    let listener = |port| Listener { vip: ip("10.77.1.53"), port, port_end: None, protocol: Protocol::Udp };
    ServiceStatus {
        name: "dns".to_owned(),
        mode: ForwardMode::Dr,
        encapsulation: None,
        scheduler: "maglev".to_owned(),
        quorum: None,
        listeners: vec![
            listener(ListenerPort::Number(53)),
            listener(ListenerPort::Number(5353)),
            Listener { port_end: Some(8099), ..listener(ListenerPort::Number(8053)) },
            listener(ListenerPort::Any),
            Listener { vip: ip("2001:db8::53"), ..listener(ListenerPort::Number(53)) },
        ],
        connections_active: 35,
        connections_total: 900,
        packets: 1800,
        bytes: 126_000,
        reply_packets: None,
        reply_bytes: None,
        quic_lb: Some(QuicLb { config_id: 2, server_id_length: 2 }),
        affinity: Some(ServiceAffinity {
            group: Some("shop".to_owned()),
            prefix_v4: 24,
            prefix_v6: 64,
            timeout_seconds: 300,
            on_server_down: "rehash".to_owned(),
        }),
        refused: Refused::default(),
        missed: 0,
        adopted: 41,
        rates: None,
        servers: vec![ns1, ns1_v6],
    }
}

pub(crate) fn status() -> StatusReport {
    StatusReport {
        schema: Schema,
        at: at("2026-09-21T14:13:20Z"),
        ready: true,
        not_ready: Vec::new(),
        warnings: vec![
            "10.77.1.53 is not on this host; 'ip address add 10.77.1.53/32 dev eth0' adds it".to_owned(),
        ],
        pid: 4711,
        version: "0.1.0".to_owned(),
        node: Some("lb1".to_owned()),
        since: at("2026-09-21T11:01:00Z"),
        config: ConfigStatus {
            path: "/etc/xlvs/xlvs.toml".into(),
            generation: 8,
            last_reload: Some(LastReload { at: at("2026-09-21T14:00:00Z"), ok: true, error: None }),
        },
        data_path: DataPathStatus {
            abi: 1,
            program_tag: Some("3f2a91c04d5e6f70".to_owned()),
            pin_dir: "/sys/fs/bpf/xlvs".into(),
            since: Some(at("2026-09-19T10:13:20Z")),
            adopted: true,
        },
        interfaces: vec![InterfaceStatus {
            name: "eth0".to_owned(),
            index: Some(2),
            device: "eth0".to_owned(),
            mode: Some(XdpMode::Native),
            reason: None,
        }],
        flow_table: Some(FlowTableStatus { size: 1_048_576, connections_active: 2449, homeless_total: 0 }),
        cluster: Some(cluster()),
        fullnat: Some(FullNatStatus {
            addresses: vec![ip("10.77.2.200")],
            ports: 64_512,
            ports_lent: 1200,
            refused_total: 3,
        }),
        services: vec![web(), dns()],
        verdicts: counters([
            ("forwarded_dr", 1800),
            ("forwarded_nat", 14_400_000),
            ("forwarded_nat_reply", 18_300_000),
            ("passed_not_ip", 311),
            ("passed_not_ours", 91_020),
            ("dropped_no_server", 17),
        ]),
        events: counters([("stored", 362_100), ("homeless", 0)]),
        losses: counters([("redirect_error", 0), ("driver_tx_error", 3)]),
    }
}

/// The same director `later`, with more traffic.
pub(crate) fn status_two_seconds_later() -> StatusReport {
    let mut status = status();
    status.at = at("2026-09-21T14:13:22Z");
    for service in &mut status.services {
        service.connections_total += 240;
        service.packets += 9600;
        service.bytes += 624_000;
        service.reply_packets = service.reply_packets.map(|packets| packets + 12_200);
        service.reply_bytes = service.reply_bytes.map(|bytes| bytes + 16_800_000);
    }
    status.services[0].servers[0].connections_total += 240;
    status.services[0].servers[0].packets += 9600;
    status.services[0].servers[0].bytes += 624_000;
    // A server that was taken out and put back under the same name, with new counters.
    status.services[0].servers[1].packets = 0;
    *status.verdicts.get_mut("forwarded_nat").expect("it is there") += 9600;
    status
}

pub(crate) fn affinity(clear: bool) -> AffinityReport {
    let source = |source, prefix_length, idle_seconds| AffineSource {
        source: ip(source),
        prefix_length,
        group: Some("shop".to_owned()),
        services: vec!["web".to_owned(), "tls".to_owned()],
        server: Some("rs1".to_owned()),
        idle_seconds,
        timeout_seconds: 300,
    };
    let sources = vec![
        source("10.77.1.0", 24, 12),
        AffineSource {
            group: None,
            services: vec!["dns".to_owned()],
            server: None,
            ..source("2001:db8:1::", 64, 136)
        },
    ];
    AffinityReport {
        schema: Schema,
        at: at("2026-09-21T14:13:20Z"),
        matching: 2,
        cleared: if clear { 2 } else { 0 },
        capacity: 131_072,
        sources: if clear { Vec::new() } else { sources },
    }
}

pub(crate) fn connections() -> ConnectionsReport {
    let connection = |port, class, idle_seconds| Connection {
        client: Some(ip("10.77.1.7")),
        client_port: Some(port),
        vip: Some(ip("10.77.1.100")),
        port: Some(80),
        protocol: Protocol::Tcp,
        sent_from: None,
        service: Some("web".to_owned()),
        server: Some("rs1".to_owned()),
        class,
        idle_seconds,
        diverged: false,
    };
    ConnectionsReport {
        schema: Schema,
        at: at("2026-09-21T14:13:20Z"),
        matching: 2449,
        addresses: true,
        connections: vec![
            connection(40_001, ConnectionClass::Established, 3),
            Connection {
                sent_from: Some("10.77.2.200:50000".parse().unwrap()),
                ..connection(40_005, ConnectionClass::Established, 2)
            },
            Connection { diverged: true, ..connection(40_002, ConnectionClass::HalfClosed, 64) },
            Connection {
                client: None,
                client_port: None,
                vip: None,
                port: None,
                server: None,
                service: None,
                ..connection(0, ConnectionClass::New, 12)
            },
            Connection {
                client: Some(ip("2001:db8::7")),
                ..connection(40_003, ConnectionClass::Closing, 119)
            },
        ],
    }
}

pub(crate) fn cluster() -> ClusterStatus {
    ClusterStatus {
        node: "lb1".to_owned(),
        standing: ClusterStanding::Serving,
        leader: Some("lb1".to_owned()),
        peers: 2,
        peers_connected: 1,
        peers_late: 0,
        records_told: 2399,
        records_spared: 18_211,
        ports_told: 120,
        ports_held: 7,
        ports_lent_otherwise: 1,
        ports_of_other_pools: 0,
        seats_told: 310,
        seats_held: 5,
        records_held: 12,
        records_waiting: 2,
        replicas: 10,
        replicas_without_room_total: 0,
    }
}

fn traffic(records: u64, bytes: u64, snapshots: u64, rates: Option<(f64, f64)>) -> PeerTraffic {
    PeerTraffic {
        records_total: records,
        bytes_total: bytes,
        snapshots_total: snapshots,
        records_per_second: rates.map(|(records, _)| records),
        bytes_per_second: rates.map(|(_, bytes)| bytes),
    }
}

pub(crate) fn peers() -> PeersReport {
    let lb2 = PeerStatus {
        name: "lb2".to_owned(),
        address: "192.0.2.3:7467".parse().expect("an address"),
        connected: true,
        since: Some(at("2026-09-21T11:00:00Z")),
        absence: None,
        absent_since: None,
        standing: Some(ClusterStanding::Ready),
        told: Some(true),
        in_sync: Some(false),
        late: None,
        in_step: Some(true),
        records_held: 12,
        untold: Some(3),
        stale: Some(false),
        oldest_unacknowledged_seconds: Some(0.012),
        divergent_buckets: Some(0),
        loss_window: LossWindow {
            p50_seconds: Some(0.005),
            p99_seconds: Some(0.01),
            buckets: vec![
                LossBucket { up_to_seconds: Some(0.005), connections_total: 1650 },
                LossBucket { up_to_seconds: Some(0.01), connections_total: 840 },
                LossBucket { up_to_seconds: None, connections_total: 0 },
            ],
        },
        sent: traffic(2502, 71_204, 1, Some((210.4, 5890.2))),
        received: traffic(14, 3120, 1, Some((0.0, 12.8))),
        refusals: counters([("counter_out_of_range", 1)]),
    };
    let lb3 = PeerStatus {
        name: "lb3".to_owned(),
        address: "[2001:db8::4]:7467".parse().expect("an address"),
        connected: false,
        since: None,
        absence: Some(PeerAbsence::Silent),
        absent_since: Some(at("2026-09-21T14:13:08Z")),
        standing: None,
        told: None,
        in_sync: None,
        late: None,
        in_step: None,
        records_held: 0,
        untold: None,
        stale: None,
        oldest_unacknowledged_seconds: None,
        divergent_buckets: None,
        loss_window: LossWindow { p50_seconds: None, p99_seconds: None, buckets: Vec::new() },
        sent: traffic(0, 0, 0, None),
        received: traffic(0, 0, 0, None),
        refusals: counters([]),
    };
    PeersReport {
        schema: Schema,
        at: at("2026-09-21T14:13:20Z"),
        cluster: Some(cluster()),
        peers: vec![lb2, lb3],
        services: vec![
            ServiceRecords {
                name: "dns".to_owned(),
                records_told: 0,
                records_spared: 18_211,
                records_held: 0,
                replicas: 0,
            },
            ServiceRecords {
                name: "web".to_owned(),
                records_told: 2399,
                records_spared: 0,
                records_held: 12,
                replicas: 10,
            },
        ],
        refusals: counters([("counter_out_of_range", 1), ("undefined_name", 2)]),
        strangers_total: 4,
    }
}

pub(crate) fn drops() -> DropsReport {
    let counted = |reason: &str, packets, meaning: &str| Counted {
        reason: reason.to_owned(),
        packets,
        meaning: meaning.to_owned(),
    };
    DropsReport {
        schema: Schema,
        at: at("2026-09-21T14:13:20Z"),
        since: Some(at("2026-09-19T10:13:20Z")),
        received: 32_793_148,
        drops: vec![
            counted("dropped_ttl", 0, "Time to live ran out at the director."),
            counted(
                "dropped_fragment",
                4,
                "A fragment to a VIP whose datagram's first one was not seen, or is too small to tell its connection.",
            ),
            counted("dropped_no_server", 13_017, "The service has no usable server."),
        ],
        losses: vec![counted("driver_tx_error", 3, "The driver's ring was full.")],
    }
}

fn told(text: &str, bytes: &[u8]) -> ExplainedFrame {
    ExplainedFrame { text: format!("tcp {text} SYN, 54 bytes"), bytes: Hex(bytes.to_vec()) }
}

pub(crate) fn explain() -> ExplainReport {
    ExplainReport {
        schema: Schema,
        protocol: Some(Protocol::Tcp),
        source: Some("10.77.1.7:40001".parse().expect("an endpoint")),
        destination: Some("10.77.1.100:80".parse().expect("an endpoint")),
        interface: "eth0".to_owned(),
        service: Some("web".to_owned()),
        decision: Decision::Entry,
        server: Some("rs1".to_owned()),
        server_address: Some(ip("10.77.2.21")),
        server_port: Some(80),
        verdict: "forwarded_nat".to_owned(),
        stage: "entry".to_owned(),
        events: vec!["next_hop_by_fib".to_owned()],
        why: vec![
            "the connection table has its entry".to_owned(),
            "the entry names server id 1".to_owned(),
            "forwarded_nat: Client to real server, destination rewritten.".to_owned(),
        ],
        candidates: Vec::new(),
        assumed: Vec::new(),
        before: told("10.77.1.7:40001 > 10.77.1.100:80", &[2, 0, 0, 0, 0, 1]),
        after: Some(told("10.77.1.7:40001 > 10.77.2.21:80", &[2, 0, 0, 0, 0, 0x21])),
    }
}

/// Two frames, of which the second is not sent.
pub(crate) fn capture() -> CaptureReport {
    let bytes = |text: &str, bytes: &[u8]| CapturedBytes {
        text: text.to_owned(),
        length: bytes.len() as u64,
        bytes: Hex(bytes.to_vec()),
    };
    let frame = CapturedFrame {
        schema: Schema,
        at: "2026-09-21T14:13:20.123456789Z".parse().expect("a time"),
        interface: Some("eth0".to_owned()),
        verdict: "forwarded_nat".to_owned(),
        stage: "arrival".to_owned(),
        events: vec!["stored".to_owned()],
        service: Some("web".to_owned()),
        server: Some("rs1".to_owned()),
        before: bytes("10.77.1.7:40001 > 10.77.1.100:80", &[1; 60]),
        after: Some(bytes("10.77.1.7:40001 > 10.77.2.21:80", &[2; 60])),
    };
    let dropped = CapturedFrame {
        verdict: "dropped_ttl".to_owned(),
        stage: "entry".to_owned(),
        events: Vec::new(),
        service: None,
        server: None,
        after: None,
        ..frame.clone()
    };
    CaptureReport { schema: Schema, capture: 1, frames: vec![frame, dropped], lost: 0 }
}

pub(crate) fn changes() -> Vec<Change> {
    vec![
        Change {
            change: ChangeKind::Changed,
            what: "[agent] xdp_mode".to_owned(),
            from: Some("auto".to_owned()),
            to: Some("native".to_owned()),
            effect: Effect::Restart,
        },
        Change {
            change: ChangeKind::Added,
            what: "server web/rs4".to_owned(),
            from: None,
            to: Some("10.77.2.24:80 weight 1".to_owned()),
            effect: Effect::Reload,
        },
        Change {
            change: ChangeKind::Removed,
            what: "service old".to_owned(),
            from: Some("10.77.1.99:80 tcp".to_owned()),
            to: None,
            effect: Effect::Reload,
        },
    ]
}

pub(crate) fn reload() -> ReloadReport {
    ReloadReport {
        schema: Schema,
        path: "/etc/xlvs/xlvs.toml".into(),
        generation: 9,
        changes: changes(),
        warnings: vec!["service dns has one server".to_owned()],
    }
}

/// `web/rs4` after an order, with so many connections left on it.
pub(crate) fn overridden(action: OverrideAction, state: ServerState, remaining: u64) -> OverrideReport {
    let weight_override = (action == OverrideAction::Weight).then_some(5);
    let admin = match action {
        OverrideAction::Drain => Admin::Draining,
        OverrideAction::Disable => Admin::Disabled,
        _ => Admin::Enabled,
    };
    OverrideReport {
        schema: Schema,
        action,
        servers: vec![OverriddenServer {
            service: "web".to_owned(),
            server: "rs4".to_owned(),
            changed: true,
            admin,
            state,
            weight: weight_override.unwrap_or(1),
            weight_configured: 1,
            weight_override,
            connections_remaining: remaining,
        }],
    }
}

//! The keys of every table: those in force, those of a later version, and the words by which other
//! load balancers call the same thing.

/// What may stand in a table.
pub(super) struct Vocabulary {
    /// The table as a message names it.
    pub(super) table: &'static str,
    pub(super) keys: &'static [&'static str],
    /// Keys that a later version will know, and what to do until then.
    pub(super) later: &'static [(&'static str, &'static str)],
    /// Keys of LVS, keepalived and HAProxy, and what to write instead.
    pub(super) foreign: &'static [(&'static str, &'static str)],
}

impl Vocabulary {
    /// Every table there is.
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        [
            &ROOT,
            &AGENT,
            &DATAPATH,
            &TIMEOUTS,
            &FULLNAT,
            &CLUSTER,
            &SERVICE,
            &TUNNEL,
            &LIMITS,
            &PARTING,
            &QUORUM,
            &AFFINITY,
            &QUIC_LB,
            &HEALTH,
            &AGENT_CHECK,
            &SERVER,
            &DEFAULTS,
            &PEER,
        ]
        .into_iter()
    }
}

pub(super) const ROOT: Vocabulary = Vocabulary {
    table: "the file",
    keys: &["include", "agent", "datapath", "fullnat", "cluster", "defaults", "service"],
    later: &[],
    foreign: &[
        ("virtual_server", "write [[service]] with name, vip and port"),
        ("frontend", "write [[service]] with name, vip and port"),
        ("listen", "write [[service]] with name, vip and port"),
        ("backend", "write its servers as [[service.server]]"),
        ("server", "write [[service.server]] below its [[service]]"),
        ("real_server", "write [[service.server]] below its [[service]]"),
        ("health", "write [service.health], or [defaults.health] for all services"),
        ("global_defs", "write [agent], and [defaults] for what all services share"),
        ("global", "write [agent], and [defaults] for what all services share"),
        ("vrrp_instance", "remove it, the VIP is moved by keepalived itself (vip_owner = \"external\")"),
    ],
};

/// What may stand in a file that another one includes.
pub(super) const INCLUDED: Vocabulary = Vocabulary {
    table: "an included file",
    keys: &["service"],
    later: ROOT.later,
    foreign: &[
        ("agent", "move it to the including file"),
        ("datapath", "move it to the including file"),
        ("fullnat", "move it to the including file"),
        ("cluster", "move it to the including file"),
        ("defaults", "move it to the including file"),
        ("include", "name those files in the including file"),
    ],
};

pub(super) const AGENT: Vocabulary = Vocabulary {
    table: "[agent]",
    keys: &[
        "interfaces",
        "xdp_mode",
        "vip_owner",
        "socket",
        "pin_dir",
        "state_dir",
        "on_stop",
        "snapshot",
        "reload",
        "node",
        "log",
    ],
    later: &[("http", "remove it, `xlvs status -o json` gives the same figures")],
    foreign: &[
        ("interface", "write interfaces = [\"eth0\"]"),
        ("iface", "write interfaces = [\"eth0\"]"),
        ("router_id", "write node = \"lb1\""),
        ("stats", "remove it, ask `xlvs stats`"),
    ],
};

pub(super) const DATAPATH: Vocabulary = Vocabulary {
    table: "[datapath]",
    keys: &[
        "flow_table_size",
        "client_addresses",
        "maglev_table_size",
        "server_slots",
        "list_slots",
        "source_slots",
        "affinity_slots",
        "timeouts",
    ],
    later: &[],
    foreign: &[
        ("conn_tab_bits", "write flow_table_size = 1048576, the number of connections held"),
        ("maxconn", "write flow_table_size = 1048576, the number of connections held"),
    ],
};

pub(super) const TIMEOUTS: Vocabulary = Vocabulary {
    table: "[datapath] timeouts",
    keys: &["new", "established", "closing", "udp"],
    later: &[],
    foreign: &[
        ("tcp", "write established = \"15m\""),
        ("tcpfin", "write closing = \"2m\""),
        ("syn", "write new = \"30s\""),
    ],
};

pub(super) const FULLNAT: Vocabulary = Vocabulary {
    table: "[fullnat]",
    keys: &["addresses", "ports"],
    later: &[],
    foreign: &[
        ("laddr", "write addresses = [\"10.77.2.200\"]"),
        ("local_address_group", "write addresses = [\"10.77.2.200\"]"),
    ],
};

pub(super) const CLUSTER: Vocabulary = Vocabulary {
    table: "[cluster]",
    keys: &[
        "node",
        "domain",
        "listen",
        "peers",
        "peer",
        "credentials",
        "replicate",
        "replicate_after",
        "scope",
        "send",
        "join_timeout",
        "on_timeout",
        "ready_file",
    ],
    later: &[],
    foreign: &[
        ("zone", "write domain = \"a\""),
        ("site", "write domain = \"a\""),
        ("rack", "write domain = \"a\""),
        ("members", "write [[cluster.peer]] with name and address"),
        ("nodes", "write [[cluster.peer]] with name and address"),
        ("bind", "write listen = \"192.0.2.2:7467\""),
        ("port", "write listen = \"192.0.2.2:7467\""),
        ("ca_file", "write credentials = \"/etc/xlvs/cluster\", the folder that `xlvs cluster` makes"),
        ("cert_file", "write credentials = \"/etc/xlvs/cluster\", the folder that `xlvs cluster` makes"),
        ("key_file", "write credentials = \"/etc/xlvs/cluster\", the folder that `xlvs cluster` makes"),
        ("insecure", "remove it, directors speak with certificates alone: `xlvs cluster init` makes them"),
    ],
};

pub(super) const PEER: Vocabulary = Vocabulary {
    table: "[[cluster.peer]]",
    keys: &["name", "address"],
    later: &[],
    foreign: &[
        ("node", "write name = \"lb2\""),
        ("host", "write address = \"192.0.2.3:7467\""),
        ("ip", "write address = \"192.0.2.3:7467\""),
        ("port", "write address = \"192.0.2.3:7467\""),
    ],
};

pub(super) const DEFAULTS: Vocabulary = Vocabulary {
    table: "[defaults]",
    keys: &[
        "vip",
        "port",
        "protocol",
        "mode",
        "tunnel",
        "scheduler",
        "on_no_server",
        "on_server_down",
        "on_drain",
        "on_remove",
        "quorum",
        "slow_start",
        "allow",
        "deny",
        "limits",
        "affinity",
        "health",
        "agent_check",
        "replicate",
        "replicate_after",
        "server",
    ],
    later: SERVICE.later,
    foreign: SERVICE.foreign,
};

pub(super) const SERVICE: Vocabulary = Vocabulary {
    table: "[[service]]",
    keys: &[
        "name",
        "vip",
        "port",
        "protocol",
        "mode",
        "tunnel",
        "scheduler",
        "on_no_server",
        "on_server_down",
        "on_drain",
        "on_remove",
        "quorum",
        "slow_start",
        "allow",
        "deny",
        "limits",
        "affinity",
        "quic_lb",
        "health",
        "agent_check",
        "replicate",
        "replicate_after",
        "server",
    ],
    later: &[],
    foreign: &[
        ("lvs_method", "write mode = \"nat\", \"dr\" or \"tunnel\""),
        ("lb_kind", "write mode = \"nat\", \"dr\" or \"tunnel\""),
        ("forwarding", "write mode = \"nat\", \"dr\" or \"tunnel\""),
        ("lvs_sched", "write scheduler = \"least\""),
        ("lb_algo", "write scheduler = \"least\""),
        ("balance", "write scheduler = \"least\""),
        ("persistence_timeout", "write affinity = { by = \"source\", timeout = \"300s\" }"),
        ("persistent", "write affinity = { by = \"source\", timeout = \"300s\" }"),
        ("sorry_server", "write backup = \"sorry\" at a [[service.server]]"),
        ("hysteresis", "write quorum = { percent = 50, hysteresis = 10 }"),
        ("slowstart", "write slow_start = \"30s\""),
        ("on_server_removed", "write on_remove = \"keep\""),
        ("nofailover", "write on_server_down = \"reset\""),
        ("virtual_ipaddress", "write vip = \"192.0.2.1\""),
        ("address", "write vip = \"192.0.2.1\""),
        ("ip", "write vip = \"192.0.2.1\""),
        ("bind", "write vip = \"192.0.2.1\" and port = 80"),
        ("ports", "write port = [80, 443]"),
        ("real_server", "write [[service.server]]"),
        ("servers", "write [[service.server]]"),
        ("backend", "write [[service.server]]"),
        ("delay_loop", "write interval = \"2s\" in [service.health]"),
        ("check", "write [service.health]"),
        ("agent-check", "write [service.agent_check]"),
        ("healthcheck", "write [service.health]"),
        ("health_check", "write [service.health]"),
        ("allow_from", "write allow = [\"192.0.2.0/24\"]"),
        ("whitelist", "write allow = [\"192.0.2.0/24\"]"),
        ("deny_from", "write deny = [\"192.0.2.0/24\"]"),
        ("blacklist", "write deny = [\"192.0.2.0/24\"]"),
        ("acl", "write allow = [\"192.0.2.0/24\"] or deny = [\"192.0.2.0/24\"]"),
        ("rate_limit", "write limits = { source_connections_per_second = 20 }"),
        ("quic", "write quic_lb = { config_id = 0, server_id_length = 2 }"),
    ],
};

pub(super) const TUNNEL: Vocabulary = Vocabulary {
    table: "[[service]] tunnel",
    keys: &["kind", "port", "source"],
    later: &[],
    foreign: &[
        ("type", "write kind = \"gue\""),
        ("local", "write source = \"192.0.2.2\""),
        ("remote", "remove it, a tunnel leads to each server's address"),
        ("encap", "write kind = \"gue\""),
        ("dport", "write port = 6080"),
        ("mtu", "remove it, the MTU is that of the route to the server"),
    ],
};

pub(super) const LIMITS: Vocabulary = Vocabulary {
    table: "[service.limits]",
    keys: &[
        "connections_per_second",
        "source_connections_per_second",
        "source_packets_per_second",
        "prefix_v4",
        "prefix_v6",
    ],
    later: &[],
    foreign: &[
        ("rate", "write connections_per_second = 1000, or source_connections_per_second = 20"),
        ("burst", "remove it, a second's worth may come at once"),
        ("maxconn", "write max_connections = 1000 in [[service.server]]"),
    ],
};

pub(super) const AFFINITY: Vocabulary = Vocabulary {
    table: "[service.affinity]",
    keys: &["by", "group", "prefix_v4", "prefix_v6", "timeout", "on_server_down"],
    later: &[],
    foreign: &[
        ("persistence_timeout", "write timeout = \"300s\""),
        ("expire", "write timeout = \"300s\""),
        ("persistence_granularity", "write prefix_v4 = 24"),
        ("netmask", "write prefix_v4 = 24"),
        ("fwmark", "write group = \"web\" in the affinity of each service that shares it"),
        ("nofailover", "write on_server_down = \"reset\""),
        ("sticky_session_force", "write on_server_down = \"reset\""),
    ],
};

pub(super) const PARTING: Vocabulary = Vocabulary {
    table: "the policy",
    keys: &["then", "after"],
    later: &[],
    foreign: &[
        ("action", "write then = \"reset\""),
        ("deadline", "write after = \"10m\""),
        ("timeout", "write after = \"10m\""),
    ],
};

pub(super) const QUORUM: Vocabulary = Vocabulary {
    table: "[service.quorum]",
    keys: &["percent", "hysteresis", "below"],
    later: &[],
    foreign: &[("weight", "write percent = 50, of the configured weight")],
};

pub(super) const QUIC_LB: Vocabulary = Vocabulary {
    table: "[service.quic_lb]",
    keys: &["config_id", "server_id_length"],
    later: &[],
    foreign: &[
        ("cid_key", "remove it, connection ids are read in the plaintext form alone"),
        ("key", "remove it, connection ids are read in the plaintext form alone"),
        ("nonce_length", "remove it, what follows the server's id is for the servers alone"),
        ("first_octet_encodes_cid_length", "remove it, the last five bits of the first octet may be any"),
    ],
};

pub(super) const HEALTH: Vocabulary = Vocabulary {
    table: "[service.health]",
    keys: &[
        "kind",
        "port",
        "via",
        "interval",
        "interval_down",
        "timeout",
        "rise",
        "fall",
        "path",
        "host",
        "method",
        "headers",
        "expect",
        "body",
        "server_name",
        "verify",
        "ca_file",
        "cert_file",
        "key_file",
        "send",
        "send_hex",
        "receive",
        "receive_hex",
        "query",
        "record",
        "grpc_service",
        "tls",
        "command",
    ],
    later: &[],
    foreign: &[
        ("type", "write kind = \"http\""),
        ("url", "write path = \"/healthz\""),
        ("uri", "write path = \"/healthz\""),
        ("status_code", "write expect = \"200-399\""),
        ("status", "write expect = \"200-399\""),
        ("virtualhost", "write host = \"www.example.org\""),
        ("delay_loop", "write interval = \"2s\""),
        ("inter", "write interval = \"2s\""),
        ("connect_timeout", "write timeout = \"1s\""),
        ("connect_port", "write port = 80"),
        ("retry", "write fall = 3"),
        ("retries", "write fall = 3"),
        ("jitter", "remove it, checks are spread over their interval anyhow"),
        ("warmup", "remove it, checks are spread over their interval anyhow"),
        ("downinter", "write interval_down = \"10s\""),
        ("sni", "write server_name = \"www.example.org\""),
        ("ca_certs", "write ca_file = \"/etc/xlvs/ca.pem\""),
        ("crt", "write cert_file and key_file"),
        ("misc_path", "write command = [\"/usr/local/bin/check-web\"]"),
        ("misc_timeout", "write timeout = \"1s\""),
        ("payload", "write send = \"ping\", or send_hex = \"00 ff\""),
        ("require_reply", "write receive = \"pong\"; an answer is always required"),
        ("agent_port", "write [service.agent_check] with port = 9777"),
    ],
};

pub(super) const AGENT_CHECK: Vocabulary = Vocabulary {
    table: "[service.agent_check]",
    keys: &["port", "interval", "timeout", "send"],
    later: &[],
    foreign: &[
        ("agent-port", "write port = 9777"),
        ("agent-inter", "write interval = \"2s\""),
        ("inter", "write interval = \"2s\""),
        ("agent-send", "write send = \"web\\n\""),
        ("agent-addr", "remove it, the agent is asked at the server's address"),
    ],
};

pub(super) const SERVER: Vocabulary = Vocabulary {
    table: "[[service.server]]",
    keys: &["name", "address", "port", "weight", "max_connections", "server_id", "backup", "domain"],
    later: &[],
    foreign: &[
        ("ip", "write address = \"192.0.2.11\""),
        ("host", "write address = \"192.0.2.11\""),
        ("rip", "write address = \"192.0.2.11\""),
        ("inhibit_on_failure", "remove it, [service.health] decides when a server is down"),
        ("maxconn", "write max_connections = 1000"),
        ("uthreshold", "write max_connections = 1000"),
        ("disabled", "write weight = 0, or run `xlvs disable SERVICE SERVER`"),
        ("id", "write name = \"rs1\""),
    ],
};

/// `[defaults.server]`: what is a server's own cannot be shared.
pub(super) const SERVER_DEFAULTS: Vocabulary = Vocabulary {
    table: "[defaults.server]",
    keys: &["port", "weight", "max_connections", "backup", "domain"],
    ..SERVER
};

/// `[defaults.health]`.
pub(super) const HEALTH_DEFAULTS: Vocabulary = Vocabulary { table: "[defaults.health]", ..HEALTH };

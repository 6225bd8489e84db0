//! What a health check asks: the keys of `[service.health]` that depend on its kind.

mod dns;
mod exec;
mod http;
mod payload;
mod tls;

use super::choice::{Choice as _, HealthKind};
use super::source::Reported;
use super::table::{Entry, Layered, quoted};

pub use dns::{DnsProbe, RecordType};
pub use exec::ExecProbe;
pub use http::HttpProbe;
pub use payload::UdpProbe;
pub use tls::{Identity, Tls, Trust};

/// What a check tries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A TCP connection opens.
    Tcp,
    /// An HTTP request, within TLS or not, is answered as expected.
    Http(HttpProbe),
    /// A datagram is answered as expected.
    Udp(UdpProbe),
    /// A DNS server knows a name.
    Dns(DnsProbe),
    /// The health service of gRPC (`grpc.health.v1`) says `SERVING`.
    Grpc(GrpcProbe),
    /// An ICMP echo is answered.
    Ping,
    /// A program of the operator's exits with 0.
    Exec(ExecProbe),
}

/// A call of `grpc.health.v1.Health/Check`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GrpcProbe {
    /// The service asked about; empty: the server as a whole.
    pub service: String,
    /// `None`: HTTP/2 without TLS ("prior knowledge").
    pub tls: Option<Tls>,
}

/// Which keys belong to which kinds; the first kind is the one to suggest.
const KEYS: &[(&[&str], &[HealthKind])] = &[
    (&["path", "host", "method", "headers", "expect", "body"], &[HealthKind::Http, HealthKind::Https]),
    (&["server_name", "verify", "ca_file", "cert_file", "key_file"], &[HealthKind::Https, HealthKind::Grpc]),
    (&["send", "send_hex", "receive", "receive_hex"], &[HealthKind::Udp]),
    (&["query", "record"], &[HealthKind::Dns]),
    (&["grpc_service", "tls"], &[HealthKind::Grpc]),
    (&["command"], &[HealthKind::Exec]),
];

/// Reads what a check of this kind asks; `None` for no check, whose other keys need only be right.
pub(super) fn read(table: &Layered<'_>, kind: HealthKind) -> Result<Option<Probe>, Reported> {
    let fitting = refuse_keys_of_others(table, kind);
    let probe = match kind {
        HealthKind::None => http::read(table, None).map(|_| None),
        HealthKind::Tcp => Ok(Some(Probe::Tcp)),
        HealthKind::Http => http::read(table, None).map(|http| Some(Probe::Http(http))),
        HealthKind::Https => {
            let tls = tls::read(table);
            let http = http::read(table, None);
            tls.and_then(|tls| Ok(Some(Probe::Http(HttpProbe { tls: Some(tls), ..http? }))))
        }
        HealthKind::Udp => payload::read(table).map(|udp| Some(Probe::Udp(udp))),
        HealthKind::Dns => dns::read(table).map(|dns| Some(Probe::Dns(dns))),
        HealthKind::Grpc => read_grpc(table).map(|grpc| Some(Probe::Grpc(grpc))),
        HealthKind::Ping => Ok(Some(Probe::Ping)),
        HealthKind::Exec => exec::read(table).map(|exec| Some(Probe::Exec(exec))),
    };
    fitting.and(probe)
}

/// Inherited keys are left alone: `[defaults.health]` may serve services of several kinds.
fn refuse_keys_of_others(table: &Layered<'_>, kind: HealthKind) -> Result<(), Reported> {
    if kind == HealthKind::None {
        return Ok(());
    }
    let mut result = Ok(());
    let others = KEYS.iter().filter(|(_, kinds)| !kinds.contains(&kind));
    let meaningless = others.flat_map(|(keys, kinds)| keys.iter().map(|key| (*key, kinds[0])));
    for (key, its) in meaningless {
        if let Some(entry) = table.get_own(key) {
            let what = format!("{key} has no meaning for kind = {}", quoted(kind.word()));
            result = Err(entry.problem(what, format!("remove it, or write kind = {}", quoted(its.word()))));
        }
    }
    result
}

fn read_grpc(table: &Layered<'_>) -> Result<GrpcProbe, Reported> {
    let service = table.read_or("grpc_service", String::new(), |entry| {
        let text = entry.text("grpc_service = \"helloworld.Greeter\"")?;
        http::visible_ascii(entry, text, "write the service's full name in the .proto file")
    });
    let wanted = table.read_or("tls", false, Entry::boolean);
    let tls = match wanted {
        Ok(true) => tls::read(table).map(Some),
        Ok(false) => tls::refuse_without(table).map(|()| None),
        Err(reported) => Err(reported),
    };
    Ok(GrpcProbe { service: service?, tls: tls? })
}

impl Probe {
    /// Its kind, as the file writes it.
    pub fn kind(&self) -> &'static str {
        let kind = match self {
            Self::Tcp => HealthKind::Tcp,
            Self::Http(HttpProbe { tls: None, .. }) => HealthKind::Http,
            Self::Http(_) => HealthKind::Https,
            Self::Udp(_) => HealthKind::Udp,
            Self::Dns(_) => HealthKind::Dns,
            Self::Grpc(_) => HealthKind::Grpc,
            Self::Ping => HealthKind::Ping,
            Self::Exec(_) => HealthKind::Exec,
        };
        kind.word()
    }

    /// How the server is spoken to within TLS, if it is.
    pub fn tls(&self) -> Option<&Tls> {
        match self {
            Self::Http(HttpProbe { tls, .. }) | Self::Grpc(GrpcProbe { tls, .. }) => tls.as_ref(),
            _ => None,
        }
    }

    /// The keys of its kind with their values, to tell a difference.
    pub(super) fn told(&self) -> Vec<(&'static str, String)> {
        let of_kind = match self {
            Self::Tcp | Self::Ping => Vec::new(),
            Self::Http(http) => http.told(),
            Self::Udp(udp) => udp.told(),
            Self::Dns(dns) => {
                vec![("health.query", dns.name.clone()), ("health.record", dns.record.to_string())]
            }
            Self::Grpc(grpc) => vec![("health.grpc_service", grpc.service.clone())],
            Self::Exec(exec) => vec![("health.command", exec.command.join(" "))],
        };
        of_kind.into_iter().chain(self.tls().map(Tls::told).unwrap_or_default()).collect()
    }

    /// Every key that [`Probe::told`] may tell.
    pub(super) const TOLD: [&'static str; 17] = [
        "health.path",
        "health.host",
        "health.method",
        "health.headers",
        "health.expect",
        "health.body",
        "health.server_name",
        "health.verify",
        "health.ca_file",
        "health.cert_file",
        "health.key_file",
        "health.send",
        "health.receive",
        "health.query",
        "health.record",
        "health.grpc_service",
        "health.command",
    ];
}

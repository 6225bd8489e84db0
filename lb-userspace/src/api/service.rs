//! Services: what listens where, and its servers.

use super::{ForwardMode, Protocol, Rates, Schema, ServerStatus, StatusReport, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;

/// One service with its servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// How packets reach its servers.
    pub mode: ForwardMode,
    /// What is put around packets in tunnel mode (`ipip`, `gue port 6080`); null in the others.
    #[serde(default)]
    pub encapsulation: Option<String>,
    /// What picks a server, as in the file (`maglev`).
    pub scheduler: String,
    /// How connection ids of QUIC name its servers; null: they do not.
    #[serde(default)]
    pub quic_lb: Option<QuicLb>,
    /// How much of its servers must be there; null: it does not matter.
    #[serde(default)]
    pub quorum: Option<Quorum>,
    /// Whether and how clients come back to their servers; null: they do not.
    #[serde(default)]
    pub affinity: Option<ServiceAffinity>,
    /// Where it listens: the product of the configured VIPs, ports and protocols.
    pub listeners: Vec<Listener>,
    /// Connections stored for it now.
    pub connections_active: u64,
    /// Connections ever accepted for it.
    pub connections_total: u64,
    /// Packets from clients that matched it.
    pub packets: u64,
    /// Bytes of those packets, by their IP length.
    pub bytes: u64,
    /// Replies seen on their way back; null where replies do not pass (DR, tunnel).
    pub reply_packets: Option<u64>,
    /// Bytes of those replies, by their IP length.
    pub reply_bytes: Option<u64>,
    /// Packets that it turned away by its own rules, by reason; each is counted under its verdict, too.
    #[serde(default)]
    pub refused: Refused,
    /// Packets amid a connection that was in no table, here or by another director's word: the miss table named their server, or
    /// they did themselves. The first one makes an entry, if there is room.
    #[serde(default)]
    pub missed: u64,
    /// Connections that another director held and this one carries on.
    #[serde(default)]
    pub adopted: u64,
    /// Rates over the agent's last sampling interval; null before there are two samples.
    pub rates: Option<Rates>,
    /// Its real servers, in the order of the configuration: one entry for each address of a server.
    pub servers: Vec<ServerStatus>,
}

/// How much of a service's primary servers must be there, and how much is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// The configured weight of those that are up.
    pub weight_up: u64,
    /// The configured weight of all.
    pub weight_configured: u64,
    /// Of it, what must be up, in percent.
    pub percent: u8,
    /// Whether it is, or was not lost long enough to be regained yet.
    pub held: bool,
}

/// How clients come back to their servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAffinity {
    /// The group of services that share it; null: the service has it to itself.
    pub group: Option<String>,
    /// IPv4 clients with so many common bits are one source.
    pub prefix_v4: u32,
    /// IPv6 clients with so many common bits are one source.
    pub prefix_v6: u32,
    /// So long after its last new connection a source is forgotten.
    pub timeout_seconds: u64,
    /// What becomes of a source whose server is down: `rehash`, `reset` or `keep`.
    pub on_server_down: String,
}

impl From<&crate::config::Affinity> for ServiceAffinity {
    fn from(affinity: &crate::config::Affinity) -> Self {
        Self {
            group: affinity.group.as_ref().map(ToString::to_string),
            prefix_v4: affinity.prefix_v4,
            prefix_v6: affinity.prefix_v6,
            timeout_seconds: affinity.timeout.as_secs(),
            on_server_down: affinity.on_server_down.to_string(),
        }
    }
}

/// How connection ids of QUIC name servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuicLb {
    /// The number of the configuration, in the first three bits of each.
    pub config_id: u8,
    /// Of the servers' ids in them, octets.
    pub server_id_length: u8,
}

impl From<lb_common::entry::QuicFormat> for QuicLb {
    fn from(format: lb_common::entry::QuicFormat) -> Self {
        Self { config_id: format.config(), server_id_length: format.length() as u8 }
    }
}

/// Packets that a service turned away by its own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refused {
    /// From sources that its lists do not admit.
    pub denied: u64,
    /// From sources that had used up what each may have in a second.
    pub rate_source: u64,
    /// New connections beyond those it takes in a second.
    pub rate_service: u64,
}

impl From<lb_common::entry::Incidents> for Refused {
    fn from(incidents: lb_common::entry::Incidents) -> Self {
        let lb_common::entry::Incidents { denied, rate_source, rate_service, .. } = incidents;
        Self { denied, rate_source, rate_service }
    }
}

impl ServiceStatus {
    /// How packets reach its servers, in words for people.
    #[must_use]
    pub fn way(&self) -> String {
        match &self.encapsulation {
            Some(encapsulation) => format!("{} {encapsulation}", self.mode),
            None => self.mode.to_string(),
        }
    }

    /// How many servers it has, whatever the number of their addresses.
    #[must_use]
    pub fn servers_configured(&self) -> usize {
        self.by_server().count()
    }

    /// How many of its servers take new connections at each of their addresses.
    #[must_use]
    pub fn servers_up(&self) -> usize {
        self.by_server().filter(|addresses| addresses.iter().all(ServerStatus::is_up)).count()
    }

    fn by_server(&self) -> impl Iterator<Item = &[ServerStatus]> {
        self.servers.chunk_by(|one, next| one.name == next.name)
    }
}

/// One address, port and protocol a service answers on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The virtual address clients see.
    pub vip: IpAddr,
    /// The port, the first of a range, or every port.
    pub port: ListenerPort,
    /// The last port of the range; not there unless it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_end: Option<u16>,
    /// The protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vip {
            IpAddr::V4(vip) => write!(f, "{vip}:{}", self.port)?,
            IpAddr::V6(vip) => write!(f, "[{vip}]:{}", self.port)?,
        }
        if let Some(end) = self.port_end {
            write!(f, "-{end}")?;
        }
        write!(f, "/{}", self.protocol)
    }
}

/// A listener's port: in JSON a number, or `"any"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerPort {
    /// This port.
    Number(u16),
    /// Every port of the VIP that no other service names.
    Any,
}

impl fmt::Display for ListenerPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(port) => write!(f, "{port}"),
            Self::Any => f.write_str("any"),
        }
    }
}

impl Serialize for ListenerPort {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(port) => serializer.serialize_u16(*port),
            Self::Any => serializer.serialize_str("any"),
        }
    }
}

impl<'de> Deserialize<'de> for ListenerPort {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Number(u16),
            Word(String),
        }
        match Wire::deserialize(deserializer)? {
            Wire::Number(port) => Ok(Self::Number(port)),
            Wire::Word(word) if word == "any" => Ok(Self::Any),
            Wire::Word(word) => {
                Err(serde::de::Error::custom(format!("port \"{word}\" is neither a number nor \"any\"")))
            }
        }
    }
}

/// What `xlvs services` prints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServicesReport {
    /// Always 1.
    pub schema: Schema,
    /// When the agent read the counters.
    pub at: Time,
    /// Every service, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
}

impl From<&StatusReport> for ServicesReport {
    fn from(status: &StatusReport) -> Self {
        Self { schema: Schema, at: status.at, services: status.services.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Listener, ListenerPort};

    #[test]
    fn a_port_is_a_number_or_any() {
        for (json, port) in [("80", ListenerPort::Number(80)), ("\"any\"", ListenerPort::Any)] {
            assert_eq!(serde_json::from_str::<ListenerPort>(json).unwrap(), port);
            assert_eq!(serde_json::to_string(&port).unwrap(), json);
        }
        assert!(serde_json::from_str::<ListenerPort>("70000").is_err());
        assert!(serde_json::from_str::<ListenerPort>("\"all\"").is_err());
    }

    #[test]
    fn a_listener_reads_as_people_write_it() {
        let text = |json| serde_json::from_str::<Listener>(json).unwrap().to_string();
        assert_eq!(text(r#"{"vip":"10.77.1.100","port":80,"protocol":"tcp"}"#), "10.77.1.100:80/tcp");
        assert_eq!(text(r#"{"vip":"fd00::1","port":"any","protocol":"udp"}"#), "[fd00::1]:any/udp");
        let range = r#"{"vip":"fd00::1","port":8000,"port_end":8099,"protocol":"tcp"}"#;
        assert_eq!(text(range), "[fd00::1]:8000-8099/tcp");
        assert_eq!(serde_json::to_string(&serde_json::from_str::<Listener>(range).unwrap()).unwrap(), range);
    }
}

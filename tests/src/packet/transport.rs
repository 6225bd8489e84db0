//! TCP, UDP and ICMP, and bytes that are none of them.

use std::net::Ipv6Addr;

use super::checksum::{Checksum, internet_checksum};

/// What an IP packet carries.
#[derive(Clone, Debug)]
pub enum Transport {
    Tcp(Tcp),
    Udp(Udp),
    Icmp(Icmp),
    /// Any protocol number and any bytes: later fragments, truncated headers, foreign protocols.
    Raw {
        protocol: u8,
        bytes: Vec<u8>,
    },
}

impl Transport {
    /// IPv6's "no next header" (RFC 8200 section 4.7).
    pub fn nothing() -> Self {
        Self::Raw { protocol: 59, bytes: Vec::new() }
    }

    pub fn protocol(&self) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp(_) => 17,
            Self::Icmp(icmp) => {
                if icmp.version_6 {
                    58
                } else {
                    1
                }
            }
            Self::Raw { protocol, .. } => *protocol,
        }
    }

    /// The bytes, with a checksum over the pseudo-header that `pseudo` makes for a length.
    pub(super) fn bytes(&self, pseudo: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
        match self {
            Self::Tcp(tcp) => tcp.bytes(pseudo),
            Self::Udp(udp) => udp.bytes(pseudo),
            Self::Icmp(icmp) => icmp.bytes(pseudo),
            Self::Raw { bytes, .. } => bytes.clone(),
        }
    }
}

impl From<Tcp> for Transport {
    fn from(tcp: Tcp) -> Self {
        Self::Tcp(tcp)
    }
}

impl From<Udp> for Transport {
    fn from(udp: Udp) -> Self {
        Self::Udp(udp)
    }
}

impl From<Icmp> for Transport {
    fn from(icmp: Icmp) -> Self {
        Self::Icmp(icmp)
    }
}

/// The flag bits of a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    pub const FIN: Self = Self(0x01);
    pub const SYN: Self = Self(0x02);
    pub const RST: Self = Self(0x04);
    pub const PSH: Self = Self(0x08);
    pub const ACK: Self = Self(0x10);
    pub const URG: Self = Self(0x20);
    pub const ECE: Self = Self(0x40);
    pub const CWR: Self = Self(0x80);

    const NAMES: [(Self, &'static str); 8] = [
        (Self::FIN, "FIN"),
        (Self::SYN, "SYN"),
        (Self::RST, "RST"),
        (Self::PSH, "PSH"),
        (Self::ACK, "ACK"),
        (Self::URG, "URG"),
        (Self::ECE, "ECE"),
        (Self::CWR, "CWR"),
    ];
}

impl std::ops::BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::fmt::Display for TcpFlags {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = Self::NAMES.iter().filter(|(flag, _)| self.0 & flag.0 != 0).map(|(_, name)| *name);
        let names: Vec<&str> = set.collect();
        formatter.write_str(if names.is_empty() { "none".to_owned() } else { names.join("+") }.as_str())
    }
}

/// A TCP segment (RFC 9293).
#[derive(Clone, Debug)]
pub struct Tcp {
    pub source_port: u16,
    pub destination_port: u16,
    pub sequence: u32,
    pub acknowledgement: u32,
    pub flags: TcpFlags,
    pub window: u16,
    /// Padded with end-of-list bytes to a multiple of 4.
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
    pub checksum: Checksum,
    /// In 32-bit words; None: what the options make it.
    pub data_offset: Option<u8>,
}

impl Tcp {
    pub fn new(source_port: u16, destination_port: u16, flags: TcpFlags) -> Self {
        Self {
            source_port,
            destination_port,
            sequence: 0,
            acknowledgement: 0,
            flags,
            window: 64_240,
            options: Vec::new(),
            payload: Vec::new(),
            checksum: Checksum::Right,
            data_offset: None,
        }
    }

    /// A SYN with an MSS option, as every real one has.
    pub fn syn(source_port: u16, destination_port: u16, sequence: u32) -> Self {
        let mss = vec![2, 4, 0x05, 0xb4];
        Self { sequence, options: mss, ..Self::new(source_port, destination_port, TcpFlags::SYN) }
    }

    /// A segment of an open connection.
    pub fn ack(source_port: u16, destination_port: u16, sequence: u32, acknowledgement: u32) -> Self {
        Self { sequence, acknowledgement, ..Self::new(source_port, destination_port, TcpFlags::ACK) }
    }

    #[must_use]
    pub fn payload(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { payload: bytes.into(), ..self }
    }

    #[must_use]
    pub fn options(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { options: bytes.into(), ..self }
    }

    #[must_use]
    pub fn checksum(self, checksum: Checksum) -> Self {
        Self { checksum, ..self }
    }

    fn bytes(&self, pseudo: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let words = self.data_offset.unwrap_or((5 + options.len() / 4) as u8);
        let mut bytes = Vec::with_capacity(20 + options.len() + self.payload.len());
        bytes.extend_from_slice(&self.source_port.to_be_bytes());
        bytes.extend_from_slice(&self.destination_port.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes.extend_from_slice(&self.acknowledgement.to_be_bytes());
        bytes.extend_from_slice(&[words << 4, self.flags.0]);
        bytes.extend_from_slice(&self.window.to_be_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&options);
        bytes.extend_from_slice(&self.payload);
        let right = internet_checksum(&[&pseudo(bytes.len()), &bytes]);
        bytes[16..18].copy_from_slice(&self.checksum.resolve(right).to_be_bytes());
        bytes
    }
}

/// A UDP datagram (RFC 768).
#[derive(Clone, Debug)]
pub struct Udp {
    pub source_port: u16,
    pub destination_port: u16,
    pub payload: Vec<u8>,
    pub checksum: Checksum,
    /// None: the true one.
    pub length: Option<u16>,
}

impl Udp {
    pub fn new(source_port: u16, destination_port: u16, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            source_port,
            destination_port,
            payload: payload.into(),
            checksum: Checksum::Right,
            length: None,
        }
    }

    /// Without a checksum, which IPv4 allows.
    #[must_use]
    pub fn without_checksum(self) -> Self {
        self.checksum(Checksum::Value(0))
    }

    #[must_use]
    pub fn checksum(self, checksum: Checksum) -> Self {
        Self { checksum, ..self }
    }

    fn bytes(&self, pseudo: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
        let length = self.length.unwrap_or((8 + self.payload.len()) as u16);
        let mut bytes = Vec::with_capacity(8 + self.payload.len());
        bytes.extend_from_slice(&self.source_port.to_be_bytes());
        bytes.extend_from_slice(&self.destination_port.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.payload);
        // A computed 0 is sent as 0xffff, for 0 says that there is none.
        let right = match internet_checksum(&[&pseudo(bytes.len()), &bytes]) {
            0 => 0xffff,
            right => right,
        };
        bytes[6..8].copy_from_slice(&self.checksum.resolve(right).to_be_bytes());
        bytes
    }
}

/// An ICMP message (RFC 792) or an ICMPv6 one (RFC 4443).
#[derive(Clone, Debug)]
pub struct Icmp {
    pub version_6: bool,
    pub kind: u8,
    pub code: u8,
    /// The second word: identifier and sequence, or unused and next-hop MTU.
    pub rest: [u8; 4],
    pub body: Vec<u8>,
    pub checksum: Checksum,
}

impl Icmp {
    pub fn new(kind: u8, code: u8, rest: [u8; 4], body: impl Into<Vec<u8>>) -> Self {
        Self { version_6: false, kind, code, rest, body: body.into(), checksum: Checksum::Right }
    }

    /// An echo request.
    pub fn ping(identifier: u16, sequence: u16, body: impl Into<Vec<u8>>) -> Self {
        let ([a, b], [c, d]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
        Self::new(8, 0, [a, b, c, d], body)
    }

    /// "Fragmentation needed" for the packet whose IP header and first 8 bytes are in `about`.
    pub fn fragmentation_needed(mtu: u16, about: &[u8]) -> Self {
        let [high, low] = mtu.to_be_bytes();
        Self::new(3, 4, [0, 0, high, low], about)
    }

    /// The ICMPv6 message of this type and code.
    #[must_use]
    pub fn version_6(self) -> Self {
        Self { version_6: true, ..self }
    }

    /// An ICMPv6 echo request.
    pub fn ping_v6(identifier: u16, sequence: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { kind: 128, ..Self::ping(identifier, sequence, body) }.version_6()
    }

    /// "Who has `target`?", asked by the owner of `mac` (RFC 4861 section 4.3).
    pub fn solicitation(target: Ipv6Addr, mac: [u8; 6]) -> Self {
        Self::new(135, 0, [0; 4], [&target.octets()[..], &[1, 1], &mac].concat()).version_6()
    }

    /// "`target` is at `mac`", asked by nobody and in place of what was known (RFC 4861 section 4.4, override set).
    pub fn advertisement(target: Ipv6Addr, mac: [u8; 6]) -> Self {
        Self::new(136, 0, [0x20, 0, 0, 0], [&target.octets()[..], &[2, 1], &mac].concat()).version_6()
    }

    fn bytes(&self, pseudo: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
        let mut bytes = vec![self.kind, self.code, 0, 0];
        bytes.extend_from_slice(&self.rest);
        bytes.extend_from_slice(&self.body);
        // Only ICMPv6 covers a pseudo-header.
        let covered = if self.version_6 { pseudo(bytes.len()) } else { Vec::new() };
        let right = internet_checksum(&[&covered, &bytes]);
        bytes[2..4].copy_from_slice(&self.checksum.resolve(right).to_be_bytes());
        bytes
    }
}

//! IPv6 packets, well-formed unless asked otherwise.

use std::net::Ipv6Addr;

use super::checksum::pseudo_header_v6;
use super::extension::Extension;
use super::transport::Transport;

/// An IPv6 packet (RFC 8200).
#[derive(Clone, Debug)]
pub struct Ipv6 {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    /// DSCP and ECN.
    pub traffic_class: u8,
    pub flow_label: u32,
    pub hop_limit: u8,
    /// Outermost first.
    pub extensions: Vec<Extension>,
    pub transport: Transport,
    /// None: 6.
    pub version: Option<u8>,
    /// None: the true one.
    pub payload_length: Option<u16>,
}

impl Ipv6 {
    /// Hop limit 64, no extension headers.
    pub fn new(
        source: impl Into<Ipv6Addr>,
        destination: impl Into<Ipv6Addr>,
        transport: impl Into<Transport>,
    ) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            traffic_class: 0,
            flow_label: 0,
            hop_limit: 64,
            extensions: Vec::new(),
            transport: transport.into(),
            version: None,
            payload_length: None,
        }
    }

    #[must_use]
    pub fn hop_limit(self, hop_limit: u8) -> Self {
        Self { hop_limit, ..self }
    }

    #[must_use]
    pub fn traffic_class(self, traffic_class: u8) -> Self {
        Self { traffic_class, ..self }
    }

    /// 20 bits.
    #[must_use]
    pub fn flow_label(self, flow_label: u32) -> Self {
        Self { flow_label, ..self }
    }

    /// Adds a header inside those already there.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// The packet without any link header.
    pub fn bytes(&self) -> Vec<u8> {
        let protocol = self.transport.protocol();
        // RFC 8200, section 8.1: with a routing header, the pseudo-header has the final destination.
        let destination =
            self.extensions.iter().rev().find_map(Extension::final_destination).unwrap_or(self.destination);
        let pseudo = |length| pseudo_header_v6(self.source, destination, protocol, length);
        let mut body = Vec::new();
        for (index, extension) in self.extensions.iter().enumerate() {
            let next = self.extensions.get(index + 1).map_or(protocol, Extension::protocol);
            body.append(&mut extension.bytes(next));
        }
        body.append(&mut self.transport.bytes(pseudo));
        let first = self.extensions.first().map_or(protocol, Extension::protocol);
        let version = u32::from(self.version.unwrap_or(6)) << 28;
        let word = version | u32::from(self.traffic_class) << 20 | (self.flow_label & 0x000f_ffff);
        let mut bytes = word.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.payload_length.unwrap_or(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&[first, self.hop_limit]);
        bytes.extend_from_slice(&self.source.octets());
        bytes.extend_from_slice(&self.destination.octets());
        bytes.append(&mut body);
        bytes
    }
}

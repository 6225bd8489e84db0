//! IPv4 packets, well-formed unless asked otherwise.

use std::net::Ipv4Addr;

use super::checksum::{Checksum, internet_checksum, pseudo_header_v4};
use super::transport::Transport;

/// An IPv4 packet (RFC 791).
#[derive(Clone, Debug)]
pub struct Ipv4 {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    /// The byte that was type of service: DSCP and ECN.
    pub traffic_class: u8,
    pub identification: u16,
    pub dont_fragment: bool,
    pub more_fragments: bool,
    /// In units of 8 bytes.
    pub fragment_offset: u16,
    pub ttl: u8,
    /// Padded with end-of-list bytes to a multiple of 4; at most 40 bytes fit.
    pub options: Vec<u8>,
    pub transport: Transport,
    pub checksum: Checksum,
    /// None: 4.
    pub version: Option<u8>,
    /// In 32-bit words; None: what the options make it.
    pub header_length: Option<u8>,
    /// None: the true one.
    pub total_length: Option<u16>,
}

impl Ipv4 {
    /// TTL 64, don't-fragment, no options.
    pub fn new(
        source: impl Into<Ipv4Addr>,
        destination: impl Into<Ipv4Addr>,
        transport: impl Into<Transport>,
    ) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            traffic_class: 0,
            identification: 0x4711,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            options: Vec::new(),
            transport: transport.into(),
            checksum: Checksum::Right,
            version: None,
            header_length: None,
            total_length: None,
        }
    }

    #[must_use]
    pub fn ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    #[must_use]
    pub fn options(self, options: impl Into<Vec<u8>>) -> Self {
        Self { options: options.into(), ..self }
    }

    /// One fragment, `offset` in units of 8 bytes. The transport's bytes are taken as they are: a later fragment wants
    /// [`Transport::Raw`].
    #[must_use]
    pub fn fragment(self, offset: u16, more: bool) -> Self {
        Self { fragment_offset: offset, more_fragments: more, dont_fragment: false, ..self }
    }

    /// The fragments a router would make of this packet, each with at most `piece` bytes (a multiple of 8) of payload.
    pub fn split(&self, piece: usize) -> Vec<Self> {
        let protocol = self.transport.protocol();
        let whole =
            self.transport.bytes(|length| pseudo_header_v4(self.source, self.destination, protocol, length));
        let pieces = whole.chunks(piece.next_multiple_of(8));
        let last = pieces.len().saturating_sub(1);
        let fragment = |(index, bytes): (usize, &[u8])| {
            let offset = index * piece.next_multiple_of(8) / 8;
            let transport = Transport::Raw { protocol, bytes: bytes.to_vec() };
            Self { transport, ..self.clone() }.fragment(offset as u16, index < last)
        };
        pieces.enumerate().map(fragment).collect()
    }

    /// The packet without any link header, as an ICMP error quotes it.
    pub fn bytes(&self) -> Vec<u8> {
        let protocol = self.transport.protocol();
        let payload =
            self.transport.bytes(|length| pseudo_header_v4(self.source, self.destination, protocol, length));
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let words = self.header_length.unwrap_or((5 + options.len() / 4) as u8);
        let length = self.total_length.unwrap_or((20 + options.len() + payload.len()) as u16);
        let flags = u16::from(self.dont_fragment) << 14 | u16::from(self.more_fragments) << 13;
        let mut bytes = vec![self.version.unwrap_or(4) << 4 | (words & 15), self.traffic_class];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&self.identification.to_be_bytes());
        bytes.extend_from_slice(&(flags | (self.fragment_offset & 0x1fff)).to_be_bytes());
        bytes.extend_from_slice(&[self.ttl, protocol, 0, 0]);
        bytes.extend_from_slice(&self.source.octets());
        bytes.extend_from_slice(&self.destination.octets());
        bytes.extend_from_slice(&options);
        let right = internet_checksum(&[&bytes]);
        bytes[10..12].copy_from_slice(&self.checksum.resolve(right).to_be_bytes());
        bytes.extend_from_slice(&payload);
        bytes
    }
}

//! Ethernet frames, VLAN tags, ARP.

use std::net::{IpAddr, Ipv4Addr};

use super::ipv4::Ipv4;
use super::ipv6::Ipv6;

/// An Ethernet address.
pub type Mac = [u8; 6];

/// What a frame carries.
#[derive(Clone, Debug)]
pub enum Network {
    Ipv4(Ipv4),
    Ipv6(Ipv6),
    Arp(Arp),
    /// Any EtherType and any bytes.
    Raw {
        ether_type: u16,
        bytes: Vec<u8>,
    },
}

impl Network {
    /// The address of whoever sent this, where it has one.
    pub fn source(&self) -> Option<IpAddr> {
        match self {
            Self::Ipv4(packet) => Some(packet.source.into()),
            Self::Ipv6(packet) => Some(packet.source.into()),
            Self::Arp(packet) => Some(packet.sender.1.into()),
            Self::Raw { .. } => None,
        }
    }
}

impl From<Ipv4> for Network {
    fn from(packet: Ipv4) -> Self {
        Self::Ipv4(packet)
    }
}

impl From<Ipv6> for Network {
    fn from(packet: Ipv6) -> Self {
        Self::Ipv6(packet)
    }
}

impl From<Arp> for Network {
    fn from(packet: Arp) -> Self {
        Self::Arp(packet)
    }
}

/// An ARP packet for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Debug)]
pub struct Arp {
    /// 1 request, 2 reply.
    pub operation: u16,
    pub sender: (Mac, Ipv4Addr),
    pub target: (Mac, Ipv4Addr),
}

impl Arp {
    /// "Who has `target`? Tell `sender`."
    pub fn request(sender: (Mac, Ipv4Addr), target: Ipv4Addr) -> Self {
        Self { operation: 1, sender, target: ([0; 6], target) }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0x08, 0, 6, 4];
        bytes.extend_from_slice(&self.operation.to_be_bytes());
        for (mac, address) in [self.sender, self.target] {
            bytes.extend_from_slice(&mac);
            bytes.extend_from_slice(&address.octets());
        }
        bytes
    }
}

/// An Ethernet frame without its check sequence.
#[derive(Clone, Debug)]
pub struct Frame {
    pub source: Mac,
    pub destination: Mac,
    /// Outermost first: the tag's EtherType (0x8100, or 0x88a8 outside) and its control information.
    pub vlans: Vec<(u16, u16)>,
    pub network: Network,
    /// Filled up with 0 to this length, as short frames are on a wire.
    pub at_least: usize,
    /// Cut off after so many bytes.
    pub at_most: usize,
}

impl Frame {
    pub fn new(source: Mac, destination: Mac, network: impl Into<Network>) -> Self {
        let network = network.into();
        Self { source, destination, vlans: Vec::new(), network, at_least: 0, at_most: usize::MAX }
    }

    /// Adds an 802.1Q tag inside those already there; `control` is priority, DEI and the 12 bits of VLAN id.
    #[must_use]
    pub fn vlan(mut self, control: u16) -> Self {
        self.vlans.push((0x8100, control));
        self
    }

    /// The same with an 802.1ad service tag.
    #[must_use]
    pub fn service_vlan(mut self, control: u16) -> Self {
        self.vlans.push((0x88a8, control));
        self
    }

    /// Filled up to the 60 bytes every Ethernet frame has.
    #[must_use]
    pub fn padded(self) -> Self {
        Self { at_least: 60, ..self }
    }

    /// Cut off after `length` bytes.
    #[must_use]
    pub fn truncated(self, length: usize) -> Self {
        Self { at_most: length, ..self }
    }

    /// The frame as it is on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let (ether_type, body) = match &self.network {
            Network::Ipv4(packet) => (0x0800, packet.bytes()),
            Network::Ipv6(packet) => (0x86dd, packet.bytes()),
            Network::Arp(packet) => (0x0806, packet.bytes()),
            Network::Raw { ether_type, bytes } => (*ether_type, bytes.clone()),
        };
        let mut bytes = [self.destination, self.source].concat();
        for (tag, control) in &self.vlans {
            bytes.extend_from_slice(&tag.to_be_bytes());
            bytes.extend_from_slice(&control.to_be_bytes());
        }
        bytes.extend_from_slice(&u16::to_be_bytes(ether_type));
        bytes.extend_from_slice(&body);
        bytes.resize(bytes.len().max(self.at_least), 0);
        bytes.truncate(self.at_most);
        bytes
    }
}

//! Who takes part, and the frames between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::wire::{Tag, Tags};

use crate::datapath::world::{Server, Service, Side, World, mac_of};
use crate::fixture::Output;
use crate::packet::{Frame, Icmp, Ipv4, Ipv6, Mac, Network, Tcp, TcpFlags, Transport};

pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 10);
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 100);
pub const OTHER_VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 101);
pub const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 1);
pub const RS1: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 21);
pub const RS2: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 22);
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x10);
pub const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x100);
pub const OTHER_VIP6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x101);
pub const DIRECTOR6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 1);
pub const RS1_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 0x21);
pub const RS2_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 2, 0, 0, 0, 0, 0, 0x22);
/// The client's port.
pub const PORT: u16 = 40_000;

/// A NAT service on port 80 with one server, which serves on port 8080 behind the director.
pub fn one_server() -> World {
    World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 8080)])
}

/// The same over IPv6.
pub fn one_server6() -> World {
    World::of(Service::tcp("web", VIP6, 80), [Server::at("rs1", RS1_6, 8080)])
}

/// One customer tag.
pub fn vlan(id: u16) -> Tags {
    Tags::of(tag(id, false), Tag::NONE)
}

/// A service tag, and a customer tag within.
pub fn vlan_in(outer: u16, inner: u16) -> Tags {
    Tags::of(tag(outer, true), tag(inner, false))
}

fn tag(id: u16, service: bool) -> Tag {
    Tag::new(id, service).unwrap_or_else(|| panic!("{id} is no VLAN"))
}

/// A frame from the client to the director.
pub fn from_client(to: Ipv4Addr, transport: impl Into<Transport>) -> Vec<u8> {
    client_frame(Ipv4::new(CLIENT, to, transport))
}

/// The same over IPv6.
pub fn from_client6(to: Ipv6Addr, transport: impl Into<Transport>) -> Vec<u8> {
    client_frame(Ipv6::new(CLIENT6, to, transport))
}

pub fn client_frame(packet: impl Into<Network>) -> Vec<u8> {
    let packet = packet.into();
    Frame::new(client_mac(&packet), Side::Front.mac(), packet).bytes()
}

/// A frame from the director to the client.
pub fn at_client(packet: impl Into<Network>) -> Vec<u8> {
    let packet = packet.into();
    Frame::new(Side::Front.mac(), client_mac(&packet), packet).bytes()
}

/// A frame from a server to the director.
pub fn from_server(packet: impl Into<Network>) -> Vec<u8> {
    let packet = packet.into();
    let mac = packet.source().map_or([0; 6], mac_of);
    Frame::new(mac, Side::Back.mac(), packet).bytes()
}

/// A frame from the director to a server behind it.
pub fn at_server(server: impl Into<IpAddr>, packet: impl Into<Network>) -> Vec<u8> {
    Frame::new(Side::Back.mac(), mac_of(server), packet).bytes()
}

/// Whatever address the client gives itself, its frames of one family come from one MAC.
fn client_mac(packet: &Network) -> Mac {
    match packet {
        Network::Ipv6(_) => mac_of(CLIENT6),
        _ => mac_of(CLIENT),
    }
}

pub fn syn(port: u16) -> Tcp {
    Tcp::syn(PORT, port, 1000)
}

pub fn data(port: u16) -> Tcp {
    Tcp::ack(PORT, port, 1001, 5001).payload(*b"GET / HTTP/1.0\r\n\r\n")
}

/// The server's answer to a SYN.
pub fn syn_ack(from: u16) -> Tcp {
    let flags = TcpFlags::SYN | TcpFlags::ACK;
    Tcp { sequence: 5000, acknowledgement: 1001, ..Tcp::new(from, PORT, flags) }
}

pub fn answer(from: u16) -> Tcp {
    Tcp::ack(from, PORT, 5001, 1019).payload(*b"HTTP/1.0 200 OK\r\n\r\n!")
}

pub fn flagged(from: u16, to: u16, flags: TcpFlags) -> Tcp {
    Tcp { sequence: 1019, acknowledgement: 5020, ..Tcp::new(from, to, flags) }
}

/// An IP packet of either family.
pub fn ip(source: IpAddr, destination: IpAddr, hops: u8, transport: impl Into<Transport>) -> Network {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Ipv4::new(source, destination, transport).ttl(hops).into()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Ipv6::new(source, destination, transport).hop_limit(hops).into()
        }
        _ => unreachable!("both ends are of one family"),
    }
}

/// What a client may be told of its packet: ICMP's type and code, ICMPv6's, and what follows the checksum.
pub struct Notice([u8; 2], [u8; 2], [u8; 4]);

impl Notice {
    pub const TIME_EXCEEDED: Self = Self([11, 0], [3, 0], [0; 4]);
    pub const PORT_UNREACHABLE: Self = Self([3, 3], [1, 4], [0; 4]);

    pub fn too_big(mtu: usize) -> Self {
        Self([3, 4], [2, 0], (mtu as u32).to_be_bytes())
    }

    pub fn about(self, packet: impl Into<Network>) -> Output {
        Output::Back(self.frame(&client_frame(packet)[14..]))
    }

    /// The frame that tells the sender of this packet: from whom it was sent to, with 512 bytes of it or, if it is shorter, the
    /// IP header and the 8 bytes that follow.
    pub fn frame(self, packet: &[u8]) -> Vec<u8> {
        let Self(v4, v6, rest) = self;
        let quote = |little: usize| &packet[..if packet.len() < 512 { little } else { 512 }];
        if packet[0] >> 4 == 4 {
            let [source, destination] =
                [12, 16].map(|at| Ipv4Addr::from(*packet[at..].first_chunk().unwrap()));
            let icmp = Icmp::new(v4[0], v4[1], rest, quote(28));
            at_client(Ipv4 { identification: 0, ..Ipv4::new(destination, source, icmp) })
        } else {
            let [source, destination] =
                [8, 24].map(|at| Ipv6Addr::from(*packet[at..].first_chunk().unwrap()));
            let icmp = Icmp::new(v6[0], v6[1], rest, quote(48)).version_6();
            at_client(Ipv6::new(destination, source, icmp))
        }
    }
}

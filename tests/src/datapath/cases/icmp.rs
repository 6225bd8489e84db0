//! ICMP of both families: errors follow the packet they quote, pings of a VIP are answered.

mod echo;
mod from_behind;
mod to_vip;

use std::net::IpAddr;

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, Side, World};
use crate::packet::{Frame, Icmp, Mac, Network, Transport};

/// All cases about ICMP. Their names differ from all others.
#[must_use]
pub fn cases() -> Vec<Case> {
    let of =
        |people: &People| [to_vip::cases(people), from_behind::cases(people), echo::cases(people)].concat();
    let of_ipv4 = [to_vip::cases_of_ipv4(), from_behind::cases_of_ipv4(), echo::cases_of_ipv4()].concat();
    let of_ipv6 = [to_vip::cases_of_ipv6(), from_behind::cases_of_ipv6()].concat();
    [of(&V4), of(&V6), of_ipv4, of_ipv6].concat()
}

/// Who takes part, in one family.
struct People {
    family: &'static str,
    client: IpAddr,
    vip: IpAddr,
    other_vip: IpAddr,
    rs1: IpAddr,
    rs2: IpAddr,
    /// On some way between any of them.
    router: IpAddr,
    director: IpAddr,
}

const V4: People = People {
    family: "IPv4",
    client: IpAddr::V4(CLIENT),
    vip: IpAddr::V4(VIP),
    other_vip: IpAddr::V4(OTHER_VIP),
    rs1: IpAddr::V4(RS1),
    rs2: IpAddr::V4(RS2),
    router: IpAddr::V4(std::net::Ipv4Addr::new(10, 9, 9, 9)),
    director: IpAddr::V4(DIRECTOR),
};

const V6: People = People {
    family: "IPv6",
    client: IpAddr::V6(CLIENT6),
    vip: IpAddr::V6(VIP6),
    other_vip: IpAddr::V6(OTHER_VIP6),
    rs1: IpAddr::V6(RS1_6),
    rs2: IpAddr::V6(RS2_6),
    router: IpAddr::V6(std::net::Ipv6Addr::new(0xfd09, 9, 0, 0, 0, 0, 0, 9)),
    director: IpAddr::V6(DIRECTOR6),
};

const ROUTER_MAC: Mac = [2, 9, 9, 9, 9, 9];

impl People {
    /// A case in this family.
    fn case(&self, name: &str, world: World) -> Case {
        // Names of cases live for ever.
        Case::new(format!("ICMP over {}: {name}", self.family).leak(), world)
    }

    fn web(&self) -> World {
        World::of(Service::tcp("web", self.vip, 80), [Server::at("rs1", self.rs1, 8080)])
    }

    fn dns(&self) -> World {
        World::of(Service::tcp("dns", self.vip, 53).udp(), [Server::at("rs1", self.rs1, 5353)])
    }

    /// An error of each kind and code that matters: what it is about is left to be said.
    fn errors(&self) -> Vec<Icmp> {
        let of = |kind, code, rest| Icmp::new(kind, code, rest, []);
        if self.client.is_ipv4() {
            let mtu = Icmp::fragmentation_needed(1400, &[]);
            let pointer = of(12, 0, [20, 0, 0, 0]);
            vec![of(3, 0, [0; 4]), of(3, 3, [0; 4]), mtu, of(11, 0, [0; 4]), pointer]
        } else {
            let (mtu, pointer) = (of(2, 0, [0, 0, 5, 120]), of(4, 1, [0, 0, 0, 40]));
            let all = [of(1, 4, [0; 4]), mtu, of(3, 0, [0; 4]), pointer];
            all.map(Icmp::version_6).to_vec()
        }
    }

    /// "Port unreachable" about this packet, or the part of it that was quoted.
    fn unreachable(&self, about: &[u8]) -> Icmp {
        let error = if self.client.is_ipv4() {
            Icmp::new(3, 3, [0; 4], [])
        } else {
            Icmp::new(1, 4, [0; 4], []).version_6()
        };
        Icmp { body: about.to_vec(), ..error }
    }

    fn ping(&self, body: &[u8]) -> Icmp {
        if self.client.is_ipv4() { Icmp::ping(7, 1, body) } else { Icmp::ping_v6(7, 1, body) }
    }

    /// Where the transport header of a quote begins.
    fn header(&self) -> usize {
        if self.client.is_ipv4() { 20 } else { 40 }
    }

    /// The client's SYN to the service `web`, and at its server.
    fn opening(&self) -> (Vec<u8>, Vec<u8>) {
        let at = at_server(self.rs1, ip(self.client, self.rs1, 63, syn(8080)));
        (client_frame(ip(self.client, self.vip, 64, syn(80))), at)
    }
}

/// A packet as an error quotes it: as it was when it could not go on.
fn quoted(source: IpAddr, destination: IpAddr, transport: impl Into<Transport>) -> Vec<u8> {
    match ip(source, destination, 61, transport) {
        Network::Ipv4(packet) => packet.bytes(),
        Network::Ipv6(packet) => packet.bytes(),
        _ => Vec::new(),
    }
}

/// So much of a TCP packet as it ought to be quoted. Of a checksum that is cut in two the half stays as it came.
fn cut_off(people: &People, ought: &[u8], came: &[u8], length: usize) -> Vec<u8> {
    let mut quote = ought[..length].to_vec();
    let half = people.header() + 16;
    if length == half + 1 {
        quote[half] = came[half];
    }
    quote
}

/// The error about this packet.
fn about(error: &Icmp, packet: &[u8]) -> Icmp {
    Icmp { body: packet.to_vec(), ..error.clone() }
}

/// From a router on the clients' side to the director.
fn from_router(packet: Network) -> Vec<u8> {
    Frame::new(ROUTER_MAC, Side::Front.mac(), packet).bytes()
}

/// From a router between director and servers to the director.
fn from_router_behind(packet: Network) -> Vec<u8> {
    Frame::new(ROUTER_MAC, Side::Back.mac(), packet).bytes()
}

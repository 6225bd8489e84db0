//! Random traffic over a busy little world, the same for the same seed: what properties and engines are compared on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use lb_common::entry::{OnDown, Scheduler};
use lb_common::slot::Slot;
use lb_common::word::Word;

use super::world::{Hop, Lost, Server, Service, Side, Tunnel, World, mac_of};
use crate::packet::quic::{connection_id, long, short};
use crate::packet::{Extension, Frame, Icmp, Ipv4, Ipv6, Network, Tcp, TcpFlags, Transport, Udp};
use crate::random::Random;

/// What happens next.
#[derive(Clone, Debug)]
pub enum Act {
    Frame(Side, Vec<u8>),
    Pass(u32),
    Change(World),
}

/// The three VIPs.
const VIPS: [u8; 3] = [100, 101, 102];
/// Where QUIC is served, and the configuration of its connection ids.
const QUIC: u16 = 8443;
const QUIC_CONFIG: u8 = 3;
/// The director among the servers.
const DIRECTOR: u8 = 1;

/// The ports of the services that are reached through tunnels: of one family, and of both.
const TUNNEL: u16 = 444;
const MIXED: u16 = 445;

/// The ports of services that pick by more than their tables; each engine the same, so neither by chance nor by a CPU's turns.
const LEAST: u16 = 81;
const SOURCE: u16 = 82;

/// Who somebody is by number, in the clients' network (1) or the servers' (2).
type Addresses = fn(u8, u8) -> IpAddr;

fn v4(network: u8, host: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, network, host).into()
}

fn v6(network: u8, host: u8) -> IpAddr {
    Ipv6Addr::new(0xfd77, network.into(), 0, 0, 0, 0, 0, host.into()).into()
}

/// Services of every kind on three VIPs; servers are shared among them. One tunnel is of the other family.
#[must_use]
pub fn busy_world() -> World {
    world_of(v4, v6)
}

/// The busy world and its twin over IPv6, side by side; what is named `web` here is `web-6` there.
#[must_use]
pub fn busy_world_of_both_families() -> World {
    // Made once, for names of worlds live for ever.
    static TWIN: LazyLock<World> = LazyLock::new(|| {
        world_of(v6, v4).with(|world| {
            let services = world.services.iter_mut().map(|service| &mut service.name);
            let servers = world.servers.iter_mut().map(|(_, server)| &mut server.name);
            for name in services.chain(servers) {
                *name = format!("{name}-6").leak();
            }
        })
    });
    busy_world().beside(TWIN.clone())
}

fn world_of(address: Addresses, other: Addresses) -> World {
    let rs = |last: u8| address(2, 20 + last);
    let vip = |index: usize| address(1, VIPS[index]);
    World::of(
        Service::tcp("web", vip(0), 80),
        [
            Server::at("web1", rs(1), 8080).weight(3),
            Server::at("web2", rs(2), 8080),
            Server::at("web3", rs(3), 8080),
        ],
    )
    .and(
        Service::tcp("twin", vip(1), 80),
        [Server::at("twin1", rs(1), 8080), Server::at("twin2", rs(2), 8080).weight(2)],
    )
    .and(
        Service::tcp("dns", vip(0), 53).udp(),
        [Server::at("dns1", rs(1), 53), Server::at("dns2", rs(2), 5353)],
    )
    .and(
        Service::tcp("all", vip(2), 0).silent(),
        [Server::at("all4", rs(4), 0), Server::at("all5", rs(5), 0)],
    )
    .and(
        Service::tcp("direct", vip(0), 443).direct(),
        [Server::at("direct6", rs(6), 443).in_front(), Server::at("direct7", rs(7), 443)],
    )
    .and(
        Service::tcp("quic", vip(0), QUIC).quic(QUIC_CONFIG, 1),
        [Server::at("quic8", rs(8), 4433).called(&[8]), Server::at("quic9", rs(9), 4433).called(&[9])],
    )
    .and(
        Service::tcp("tunnel", vip(1), TUNNEL).tunnelled(address(2, DIRECTOR)),
        [Server::at("tunnel8", rs(8), TUNNEL), Server::at("tunnel9", rs(9), TUNNEL).in_front()],
    )
    .and(
        Service::tcp("gue", vip(1), MIXED).through(Tunnel {
            source: other(2, DIRECTOR),
            gue: Some(6080),
            mtu: 1500,
        }),
        [Server::at("gue8", other(2, 28), MIXED), Server::at("gue9", other(2, 29), MIXED).weight(2)],
    )
    .and(
        Service::tcp("least", vip(0), LEAST).scheduled(Scheduler::Least),
        [Server::at("least4", rs(4), 8081), Server::at("least5", rs(5), 8081).weight(2)],
    )
    .and(
        Service::tcp("source", vip(0), SOURCE)
            .direct()
            .scheduled(Scheduler::Source)
            .affine("source", OnDown::Rehash),
        [Server::at("source6", rs(6), SOURCE), Server::at("source7", rs(7), SOURCE)],
    )
    .with(|world| {
        world.local(address(2, DIRECTOR));
        for client in [address(1, 1), address(1, 2)] {
            world.route(client, Hop { side: Side::Front, mac: mac_of(client) });
        }
        world.route(rs(2), Hop { side: Side::Back, mac: mac_of(rs(2)) });
    })
}

/// Fills every place, so that each newcomer must find one to give way. Half the buckets are of one class each, for a
/// bucket of everything always has somebody who has expired.
pub fn crowd(seed: u64, servers: u64, slots: &[Word]) {
    let mut random = Random::from_seed(seed);
    // Class and age as the tick at which engines begin has them: nobody is old.
    let young = [(0_u64, 1000 & 0x7f), (1, 1000 / 64), (2, 1000 / 64), (3, 1000 & 0xff)];
    for bucket in slots.chunks(8) {
        let (class, age) = young[random.below(4) as usize];
        let mixed = random.below(2) == 0;
        for slot in bucket {
            let word = (1 + random.below(servers)) << Slot::SERVER_SHIFT | random.next() >> 16;
            let (kept, parts) = (!(0x3ff << 38), class << 46 | age << 38);
            slot.store(if mixed { word } else { word & kept | parts });
        }
    }
}

/// So many acts in the busy world. Clients and ports are few, so that connections are met again.
#[must_use]
pub fn random(seed: u64, acts: usize) -> Vec<Act> {
    acts_in(busy_world(), &[v4], seed, acts)
}

/// So many acts in the busy world of both families, of each about half.
#[must_use]
pub fn random_of_both_families(seed: u64, acts: usize) -> Vec<Act> {
    acts_in(busy_world_of_both_families(), &[v4, v6], seed, acts)
}

fn acts_in(mut world: World, families: &[Addresses], seed: u64, acts: usize) -> Vec<Act> {
    let mut random = Random::from_seed(seed);
    (0..acts)
        .map(|_| match random.below(40) {
            0 => Act::Pass(1 + random.below(3) as u32),
            1 if random.below(10) == 0 => Act::Pass(20 + random.below(1000) as u32),
            2 if random.below(4) == 0 => {
                change(&mut random, &mut world);
                Act::Change(world.clone())
            }
            _ => {
                let address = families[random.below(families.len() as u64) as usize];
                frame(&mut random, address)
            }
        })
        .collect()
}

fn change(random: &mut Random, world: &mut World) {
    match random.below(10) {
        0 => world.derive_udp = !world.derive_udp,
        1 => world.serving = !world.serving,
        2 => world.flows = random.below(4) != 0,
        3 => world.agent_lives = !world.agent_lives,
        4 => {
            // All servers of a service fall, or rise.
            let services = world.services.len() as u64;
            let (service, weight) = (random.below(services) as usize, random.below(2) as u32);
            for (_, server) in world.servers.iter_mut().filter(|(number, _)| number.0 == service) {
                (server.weight, server.miss_weight, server.down) = (weight, Some(weight), weight == 0);
            }
        }
        _ => {
            let index = random.below(world.servers.len() as u64) as usize;
            let server = &mut world.servers[index].1;
            match random.below(8) {
                0 => server.down = !server.down,
                1 => server.drained = !server.drained,
                2 => server.removed = !server.removed,
                3 => server.freed = !server.freed,
                4 => server.weight = random.below(4) as u32,
                5 => server.next_hop = None,
                6 => {
                    let lost = [Lost::Kept, Lost::Reset, Lost::Rehashed][random.below(3) as usize];
                    let service = world.servers[index].0.0;
                    world.services[service].lost = lost;
                }
                _ => server.miss_weight = Some(random.below(3) as u32),
            }
        }
    }
}

fn frame(random: &mut Random, address: Addresses) -> Act {
    let client = match random.below(60) {
        0 => impossible(random, address),
        _ => address(1, 1 + random.below(4) as u8),
    };
    let client_port = 40_000 + random.below(6) as u16;
    let from_client = random.below(5) < 3;
    let (source, destination, transport, side, port) = if from_client {
        // Mostly where a service listens.
        let (vip, port) = match random.below(10) {
            9 => (VIPS[0], [LEAST, SOURCE][random.below(2) as usize]),
            0 => (VIPS[random.below(3) as usize], 22 + random.below(80) as u16),
            1 | 2 => (VIPS[2], [80, 8080, 22][random.below(3) as usize]),
            3 => (VIPS[0], 53),
            4 => (VIPS[0], 443),
            5 => (VIPS[1], [80, 80, TUNNEL, MIXED][random.below(4) as usize]),
            6 => (VIPS[0], QUIC),
            _ => (VIPS[0], 80),
        };
        let transport = match port {
            53 => datagram(random, client_port, port),
            QUIC => quic(random, client_port, port),
            TUNNEL | MIXED if random.below(3) == 0 => large(random, client_port, port),
            _ => transport(random, client_port, port),
        };
        (client, address(1, vip), transport, Side::Front, port)
    } else {
        let server = address(2, 21 + random.below(9) as u8);
        let port = [8080, 8080, 53, 5353, 80, 443, 22, 4433, 8081][random.below(9) as usize];
        let to = if random.below(12) == 0 { address(2, DIRECTOR) } else { client };
        let transport = if port % 100 == 53 || port == 4433 {
            datagram(random, port, client_port)
        } else {
            transport(random, port, client_port)
        };
        (server, to, transport, Side::Back, port)
    };
    // Now and then an error about a packet the other way, which may have been sent.
    let transport = if random.below(12) == 0 {
        let (here, there) = if from_client { (port, client_port) } else { (client_port, port) };
        let about = quote(random, destination, source, here, there);
        error(random, source.is_ipv6(), about)
    } else {
        transport
    };
    let packet: Network = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            unusual(random, Ipv4::new(source, destination, transport)).into()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            unusual6(random, Ipv6::new(source, destination, transport)).into()
        }
        _ => unreachable!("both addresses are of one family"),
    };
    let mut frame = Frame::new(mac_of(source), side.mac(), packet);
    if random.below(10) == 0 {
        // A priority alone, or a VLAN that the director has not.
        frame = frame.vlan([random.below(8) << 13, random.below(4096)][random.below(2) as usize] as u16);
    }
    let mut bytes = frame.bytes();
    if random.below(10) == 0 {
        spoil(random, &mut bytes);
    }
    // Now and then from the other side: a server may be a client's neighbour.
    let side = match (random.below(10), side) {
        (0, Side::Back) => Side::Front,
        _ => side,
    };
    Act::Frame(side, bytes)
}

/// Who cannot be a client: a VIP, or nobody at all.
fn impossible(random: &mut Random, address: Addresses) -> IpAddr {
    let vip = address(1, VIPS[random.below(3) as usize]);
    match (vip, random.below(3)) {
        (_, 0) => vip,
        (IpAddr::V4(_), 1) => Ipv4Addr::LOCALHOST.into(),
        (IpAddr::V4(_), _) => Ipv4Addr::BROADCAST.into(),
        (IpAddr::V6(_), 1) => Ipv6Addr::LOCALHOST.into(),
        (IpAddr::V6(_), _) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

/// Now and then what a packet may be as well.
fn unusual(random: &mut Random, packet: Ipv4) -> Ipv4 {
    match random.below(12) {
        0 => packet.ttl(random.below(3) as u8),
        1 => packet.options(vec![1; 4 * (1 + random.below(10) as usize)]),
        2 => packet.fragment(random.below(3) as u16, random.below(2) == 0),
        _ => packet,
    }
}

fn unusual6(random: &mut Random, packet: Ipv6) -> Ipv6 {
    match random.below(12) {
        0 => packet.hop_limit(random.below(3) as u8),
        1 => (0..=random.below(5)).fold(packet, |packet, _| packet.extension(extension(random))),
        2 => packet.traffic_class(random.below(256) as u8).flow_label(random.below(1 << 20) as u32),
        _ => packet,
    }
}

fn extension(random: &mut Random) -> Extension {
    let options = vec![0; random.below(20) as usize];
    match random.below(8) {
        0..=2 => Extension::HopByHop(options),
        3 | 4 => Extension::DestinationOptions(options),
        5 => Extension::fragment(random.below(3) as u16 / 2, random.below(3) == 0),
        6 => {
            let somewhere = Ipv6Addr::from(u128::from(random.next()));
            Extension::Routing { segments_left: random.below(2) as u8, addresses: vec![somewhere] }
        }
        _ => Extension::Authentication { spi: 1, sequence: 2 },
    }
}

/// A packet that somebody may quote, mostly whole.
fn quote(random: &mut Random, from: IpAddr, to: IpAddr, port: u16, to_port: u16) -> Vec<u8> {
    let inner =
        if random.below(3) == 0 { datagram(random, port, to_port) } else { transport(random, port, to_port) };
    let mut bytes = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => unusual(random, Ipv4::new(from, to, inner)).bytes(),
        (IpAddr::V6(from), IpAddr::V6(to)) => unusual6(random, Ipv6::new(from, to, inner)).bytes(),
        _ => Vec::new(),
    };
    if random.below(3) == 0 {
        bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
    }
    bytes
}

fn error(random: &mut Random, version_6: bool, about: Vec<u8>) -> Transport {
    let kind = if version_6 { [1, 2, 3, 4, 5] } else { [3, 4, 5, 11, 12] }[random.below(5) as usize];
    let icmp = Icmp::new(kind, random.below(6) as u8, [0, 0, 5, 120], about);
    Icmp { version_6, ..icmp }.into()
}

fn datagram(random: &mut Random, source: u16, destination: u16) -> Transport {
    let udp = Udp::new(source, destination, vec![random.below(256) as u8; random.below(40) as usize]);
    if random.below(3) == 0 { udp.without_checksum().into() } else { udp.into() }
}

/// Mostly with an id that names one of two servers.
fn quic(random: &mut Random, source: u16, destination: u16) -> Transport {
    let config = if random.below(6) == 0 { random.below(8) as u8 } else { QUIC_CONFIG };
    let server = if random.below(6) == 0 { random.below(256) as u8 } else { 8 + random.below(2) as u8 };
    let id = connection_id(config, &[server]);
    let mut payload = if random.below(2) == 0 { short(&id) } else { long(&id) };
    match random.below(6) {
        0 => payload.truncate(random.below(12) as usize),
        1 => payload[5] = random.below(9) as u8,
        _ => {}
    }
    Udp::new(source, destination, payload).into()
}

fn transport(random: &mut Random, source: u16, destination: u16) -> Transport {
    let payload = vec![random.below(256) as u8; random.below(40) as usize];
    match random.below(20) {
        0 => Icmp::ping(source, destination, payload).into(),
        1 => datagram(random, source, destination),
        _ => {
            let flags = match random.below(10) {
                0..=2 => TcpFlags::SYN,
                3 => TcpFlags::SYN | TcpFlags::ACK,
                4 => TcpFlags::FIN | TcpFlags::ACK,
                5 => TcpFlags::RST,
                6 => TcpFlags(random.below(256) as u8),
                _ => TcpFlags::ACK | TcpFlags::PSH,
            };
            let (sequence, acknowledgement) = (random.next() as u32, random.next() as u32);
            Tcp { sequence, acknowledgement, payload, ..Tcp::new(source, destination, flags) }.into()
        }
    }
}

/// A segment that may be too big for a tunnel.
fn large(random: &mut Random, source: u16, destination: u16) -> Transport {
    let payload = vec![random.below(256) as u8; 1250 + random.below(190) as usize];
    Tcp { payload, ..Tcp::ack(source, destination, 1, 1) }.into()
}

/// Any bit may be wrong, and any end may be missing; an Ethernet header always remains, as in the kernel.
fn spoil(random: &mut Random, bytes: &mut Vec<u8>) {
    if random.below(2) == 0 {
        for _ in 0..=random.below(3) {
            let bit = random.below(bytes.len() as u64 * 8);
            bytes[bit as usize / 8] ^= 1 << (bit % 8);
        }
    } else {
        bytes.truncate(14.max(random.below(bytes.len() as u64) as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::world::Mode;

    fn frames(acts: Vec<Act>) -> Vec<Vec<u8>> {
        let frame = |act| match act {
            Act::Frame(_, frame) => Some(frame),
            _ => None,
        };
        acts.into_iter().filter_map(frame).collect()
    }

    #[test]
    fn about_half_of_the_traffic_of_both_families_is_ipv6() {
        let of_both = frames(random_of_both_families(7, 2000));
        let v6 = of_both.iter().filter(|frame| frame[12..14] == [0x86, 0xdd]).count();
        assert!((of_both.len() * 2 / 5..of_both.len() * 3 / 5).contains(&v6), "{v6} of {}", of_both.len());
        assert_eq!(of_both, frames(random_of_both_families(7, 2000)), "the seed decides everything");
    }

    #[test]
    fn the_twins_of_a_busy_world_have_names_of_their_own() {
        let (one, both) = (busy_world(), busy_world_of_both_families());
        let mut names: Vec<&str> = both.servers.iter().map(|(_, server)| server.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), both.services.len()), (2 * one.servers.len(), 2 * one.services.len()));
        assert!(both.servers.iter().all(|(number, server)| {
            let service = &both.services[number.0];
            matches!(service.mode, Mode::Tunnel(_)) || service.vip.is_ipv4() == server.address.is_ipv4()
        }));
    }
}

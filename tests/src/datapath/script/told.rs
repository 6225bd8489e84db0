//! What another director says of its connections, as the agent writes it down and takes it back.

use lb_common::slot::Class;

use super::people::{Addresses, v4, v6};
use crate::datapath::world::{Number, Replica, World};
use crate::random::Random;

/// So many at a time, for few of them are asked about before they are stored here.
const SAID: usize = 40;

/// More is told, or some of it or everything is withdrawn.
pub(super) fn tell(random: &mut Random, world: &mut World) {
    match random.below(6) {
        0 => world.replicas.clear(),
        1 => world.replicas.retain(|_| random.below(2) == 0),
        _ => (0..SAID).for_each(|_| {
            let replica = replica(random, world);
            world.replicas.push(replica);
        }),
    }
}

/// Of a connection that the random traffic may be about, mostly at one of its service's servers.
pub(super) fn replica(random: &mut Random, world: &World) -> Replica {
    let number = random.below(world.services.len() as u64) as usize;
    let service = &world.services[number];
    let address: Addresses = if service.vip.is_ipv4() { v4 } else { v6 };
    let vip_port = match service.port {
        0 => [80, 8080, 22][random.below(3) as usize],
        port => port,
    };
    let strays = random.below(10) == 0;
    let servers = world.servers.iter().enumerate();
    let servers: Vec<usize> =
        servers.filter(|(_, (of, _))| strays || of.0 == number).map(|(index, _)| index).collect();
    let class = [Class::New, Class::Answered, Class::Established, Class::HalfClosed, Class::Closing];
    Replica {
        client: (address(1, 1 + random.below(4) as u8), 40_000 + random.below(6) as u16),
        vip: (service.vip, vip_port),
        protocol: service.protocol,
        server: Number(servers[random.below(servers.len() as u64) as usize]),
        class: class[random.below(5) as usize],
    }
}

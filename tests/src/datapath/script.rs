//! Random traffic over a busy little world, the same for the same seed: what properties and engines are compared on.

mod busy;
mod frames;
mod people;
mod told;

use lb_common::slot::Slot;
use lb_common::word::Word;

pub use busy::{busy_world, busy_world_of_both_families, world_of_seed};
use frames::frame;
use people::{Addresses, v4, v6};

use super::world::{Lost, Replica, Side, World};
use crate::random::Random;

/// What happens next.
#[derive(Clone, Debug)]
pub enum Act {
    Frame(Side, Vec<u8>),
    Pass(u32),
    Change(World),
}

/// So many acts in the busy world. Clients and ports are few, so that connections are met again.
#[must_use]
pub fn random(seed: u64, acts: usize) -> Vec<Act> {
    acts_in(busy_world(), &[v4], seed, acts)
}

/// So many acts in the world of this seed, of each family about half.
#[must_use]
pub fn random_of_both_families(seed: u64, acts: usize) -> Vec<Act> {
    acts_in(world_of_seed(seed), &[v4, v6], seed, acts)
}

fn acts_in(mut world: World, families: &[Addresses], seed: u64, acts: usize) -> Vec<Act> {
    let mut random = Random::from_seed(seed);
    (0..acts)
        .map(|_| match random.below(40) {
            0 => Act::Pass(1 + random.below(3) as u32),
            1 if random.below(10) == 0 => Act::Pass(20 + random.below(1000) as u32),
            2 if random.below(2) == 0 => {
                change(&mut random, &mut world);
                Act::Change(world.clone())
            }
            3 if random.below(3) != 0 => {
                told::tell(&mut random, &mut world);
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
    match random.below(12) {
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
        5 | 6 => {
            // Or all of them are drained, or none.
            let (service, drained) =
                (random.below(world.services.len() as u64) as usize, random.below(3) != 0);
            for (_, server) in world.servers.iter_mut().filter(|(number, _)| number.0 == service) {
                server.drained = drained;
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

/// What may be told in this world: so many connections that the random traffic may be about.
#[must_use]
pub fn told_of(seed: u64, world: &World, count: usize) -> Vec<Replica> {
    let mut random = Random::from_seed(seed);
    (0..count).map(|_| told::replica(&mut random, world)).collect()
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

//! The copy of the program that explains packets writes to no map; the one that serves does, given the same frames.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use lb_common::entry::Scheduler;
use lb_common::purpose::Purpose;
use xlvs_tests::datapath::Engine as _;
use xlvs_tests::datapath::program::Program;
use xlvs_tests::datapath::script::{Act, busy_world_of_both_families, crowd, random_of_both_families};
use xlvs_tests::datapath::world::{Limits, Side, World};
use xlvs_tests::random::fresh_seed;

const FRAMES: usize = 10_000;

/// What the same frames change when they are served: without these, equality would say nothing.
const WRITTEN: [&str; 17] = [
    "CLOCK",
    "FLOWS",
    "ADDRESSES",
    "LEASES",
    "TENANTS",
    "PATHS",
    "FRAGMENTS",
    "LIMITS",
    "SOURCES",
    "LOADS",
    "TURNS",
    "SEATS",
    "SITTERS",
    "VERDICTS",
    "EVENTS",
    "SERVER_COUNTERS",
    "REFUSALS",
];

#[test]
fn explaining_leaves_every_map_as_it_was() -> Result<()> {
    let seed = fresh_seed();
    println!("XLVS_SEED={seed}");
    let changed = changed_by(seed, Purpose::Explain)?;
    ensure!(changed.is_empty(), "explaining has changed {changed:?}");
    let changed = changed_by(seed, Purpose::Serve)?;
    println!("serving the same frames has changed {changed:?}");
    let untouched: Vec<_> = WRITTEN.into_iter().filter(|name| !changed.contains_key(name)).collect();
    ensure!(untouched.is_empty(), "the frames would not have changed {untouched:?}: they prove too little");
    Ok(())
}

/// How many words of each map a run of random traffic changes. Half of the connections meet entries of every class and age.
fn changed_by(seed: u64, purpose: Purpose) -> Result<BTreeMap<&'static str, usize>> {
    let world = with_full_nat(limited(busy_world_of_both_families()));
    let mut program = Program::load_to(purpose)?;
    crowd(seed, world.servers.len() as u64, program.arrays.flows.words());
    program.install(&world)?;
    let frames: Vec<(Side, Vec<u8>)> = random_of_both_families(seed, FRAMES * 2)
        .into_iter()
        .filter_map(|act| if let Act::Frame(side, frame) = act { Some((side, frame)) } else { None })
        .take(FRAMES)
        .collect();
    ensure!(frames.len() == FRAMES, "the script gave {} frames", frames.len());
    // The machine's clock has moved on since, as far as the data path knows.
    program.arrays.set_ticks(program.arrays.ticks(), 0);
    let before = program.dump()?;
    for (side, frame) in &frames {
        program.put(*side, frame)?;
    }
    let after = program.dump()?;
    let differing = |name: &str| {
        let pairs = before[name].iter().zip(&after[name]);
        pairs.filter(|(before, after)| before != after).count()
    };
    let counts = before.keys().map(|name| (*name, differing(name)));
    Ok(counts.filter(|(_, count)| *count > 0).collect())
}

/// One service by full NAT. What the servers send to the director, goes to a pool of few ports, among them the clients' own.
fn with_full_nat(world: World) -> World {
    let pool = ["10.77.2.1", "fd77:2::1"].map(|addr| addr.parse::<IpAddr>().expect("an address"));
    let world = world.with(|world| {
        for service in world.services.iter_mut().filter(|service| service.name.starts_with("dns")) {
            *service = service.clone().full_nat();
        }
    });
    world.sending_from(&pool, (40_000, 8))
}

/// Services that count who comes to them and what each sends, and turn some away.
fn limited(world: World) -> World {
    world.with(|world| {
        for service in &mut world.services {
            match service.name.trim_end_matches("-6") {
                // So much that most of it passes.
                "web" => {
                    service.limits =
                        Limits { connections: 500, source_connections: 300, ..Limits::default() };
                }
                // Also by turns, which only tests of one engine may have.
                "source" => service.scheduler = Scheduler::Rotation,
                "twin" => service.limits = Limits { source_packets: 50, ..Limits::default() },
                "all" => {
                    let (networks, length) =
                        if service.vip.is_ipv4() { ("10.77.1.2", 31) } else { ("fd77:1::2", 127) };
                    *service = service.clone().deny(networks.parse::<IpAddr>().expect("an address"), length);
                }
                _ => (),
            }
        }
    })
}

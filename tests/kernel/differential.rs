//! The program in the kernel and the library do the same with any traffic: same verdicts, bytes, counters and entries.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use xlvs_tests::datapath::program::Program;
use xlvs_tests::datapath::script::{Act, busy_world, crowd, random, random_of_both_families, world_of_seed};
use xlvs_tests::datapath::world::World;
use xlvs_tests::datapath::{Engine as _, Native};
use xlvs_tests::fixture::Observation;
use xlvs_tests::oracle::trial::{Reached, first_seed, run, sequences};
use xlvs_tests::packet::{difference, faults};
use xlvs_tests::random::{Random, fresh_seed};

const SEQUENCES: u64 = 20;
const ACTS: usize = 1000;

/// What the traffic must bring about somewhere, or the comparison would say little.
const REACHED: [&str; 34] = [
    "forwarded_nat",
    "forwarded_nat_reply",
    "forwarded_dr",
    "replied_reset",
    "passed_not_ours",
    "passed_no_service",
    "passed_not_balanced",
    "passed_malformed",
    "passed_local",
    "passed_unexplained",
    "dropped_fragment",
    "dropped_ttl",
    "dropped_no_server",
    "dropped_no_next_hop",
    "dropped_not_serving",
    "stored",
    "evicted_new",
    "evicted_closing",
    "evicted_established",
    "homeless",
    "miss_not_syn",
    "miss_table_dead",
    "reselected",
    "derived_reply",
    "next_hop_by_fib",
    "path_learned",
    "fragment_noted",
    "fragment_followed",
    "fragment_unknown",
    "forwarded_fullnat",
    "forwarded_fullnat_reply",
    "dropped_no_port",
    "by_replica",
    "adopted",
];

/// The world of a seed, and its traffic.
struct Scene {
    world: fn(u64) -> World,
    traffic: fn(u64, usize) -> Vec<Act>,
}

#[test]
fn program_and_library_agree_on_random_traffic() -> Result<()> {
    agree(&Scene { world: |_| busy_world(), traffic: random })
}

#[test]
fn program_and_library_agree_on_random_traffic_of_both_families() -> Result<()> {
    agree(&Scene { world: world_of_seed, traffic: random_of_both_families })
}

/// The plain model of the balancer has nothing against what either of them does.
#[test]
fn program_library_and_oracle_agree() -> Result<()> {
    let seed = first_seed();
    println!("XLVS_SEED={seed}");
    let mut seeds = Random::from_seed(seed);
    let (mut program, mut library, mut reached) = (Program::load()?, Native::new()?, Reached::new());
    for _ in 0..sequences(SEQUENCES) {
        run(seeds.next(), &mut [&mut program, &mut library], &mut reached)?;
    }
    println!("{reached:?}");
    Ok(())
}

fn agree(scene: &Scene) -> Result<()> {
    let seed = fresh_seed();
    println!("XLVS_SEED={seed}");
    let mut seeds = Random::from_seed(seed);
    let (mut program, mut library) = (Program::load()?, Native::new()?);
    let mut reached = BTreeMap::new();
    let mut missing = REACHED.to_vec();
    // Twenty say much, but what is rare may need some more.
    for sequence in 0..5 * SEQUENCES {
        if sequence >= SEQUENCES && missing.is_empty() {
            break;
        }
        let crowded = sequence % 2 == 1;
        compare(scene, seeds.next(), crowded, &mut program, &mut library, &mut reached)?;
        missing.retain(|name| !reached.contains_key(*name));
    }
    println!("{reached:?}");
    ensure!(
        missing.is_empty(),
        "the traffic brought about no {missing:?}: the comparison is about too little"
    );
    Ok(())
}

/// `crowded`: the flow table is full of other connections, of every class and age.
fn compare(
    scene: &Scene,
    seed: u64,
    crowded: bool,
    program: &mut Program,
    library: &mut Native,
    reached: &mut BTreeMap<String, i64>,
) -> Result<()> {
    program.reset()?;
    library.reset()?;
    let world = (scene.world)(seed);
    if crowded {
        let servers = world.servers.len() as u64;
        crowd(seed, servers, program.arrays.flows.words());
        crowd(seed, servers, library.arrays.flows.words());
    }
    program.install(&world)?;
    library.install(&world)?;
    for (number, act) in (scene.traffic)(seed, ACTS).into_iter().enumerate() {
        match act {
            Act::Pass(ticks) => {
                program.pass(ticks)?;
                library.pass(ticks)?;
            }
            Act::Change(world) => {
                program.install(&world)?;
                library.install(&world)?;
            }
            Act::Frame(side, frame) => {
                let (kernel, native) = (program.run(side, &frame)?, library.run(side, &frame)?);
                let told = deviations(&kernel, &native);
                ensure!(
                    told.is_empty(),
                    "sequence {seed}, act {number}: the program deviates from the library: {}; the frame has {:?}",
                    told.join("; "),
                    faults(&frame)
                );
                for (name, growth) in kernel.verdicts.into_iter().chain(kernel.counters) {
                    if growth != 0 {
                        *reached.entry(name).or_default() += growth;
                    }
                }
            }
        }
    }
    let (one, other) = (&program.arrays, &library.arrays);
    for (what, kernel, native) in [
        ("slots of the flow table", one.flows.words(), other.flows.words()),
        ("ports of full NAT", one.leases.words(), other.leases.words()),
        ("their tenants", one.tenants.words(), other.tenants.words()),
        ("notes about datagrams", one.fragments.words(), other.fragments.words()),
    ] {
        let differing = kernel.iter().zip(native).filter(|(a, b)| a.load() != b.load()).count();
        ensure!(differing == 0, "sequence {seed}: {differing} {what} differ");
    }
    Ok(())
}

fn deviations(kernel: &Observation, native: &Observation) -> Vec<String> {
    let mut told = Vec::new();
    if kernel.action != native.action {
        told.push(format!("action {} instead of {}", kernel.action, native.action));
    }
    let counters = kernel.verdicts.iter().chain(&kernel.counters);
    let others = native.verdicts.iter().chain(&native.counters);
    for ((name, one), (_, other)) in counters.zip(others) {
        if one != other {
            told.push(format!("{name} {one:+} instead of {other:+}"));
        }
    }
    // What a dropped frame looks like is nobody's business.
    if kernel.action > 1 {
        told.extend(difference(&native.output, &kernel.output));
    }
    told
}

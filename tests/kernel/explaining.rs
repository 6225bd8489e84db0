//! The copy of the program that explains packets writes to no map; the one that serves does, given the same frames.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Result, ensure};
use lb_common::entry::Scheduler;
use lb_common::purpose::Purpose;
use lb_common::word::Word;
use xlvs_tests::datapath::Engine as _;
use xlvs_tests::datapath::cases::{self, Case, Step};
use xlvs_tests::datapath::program::Program;
use xlvs_tests::datapath::script::{Act, busy_world_of_both_families, crowd, random_of_both_families};
use xlvs_tests::datapath::world::{Limits, Side, Told, World};
use xlvs_tests::random::fresh_seed;

const FRAMES: usize = 10_000;

/// What the same frames change when they are served: without these, equality would say nothing.
const WRITTEN: [&str; 20] = [
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
    "SETTLED",
    "UNREACHED",
    "VERDICTS",
    "EVENTS",
    "SERVER_COUNTERS",
    "INCIDENTS",
    "PULSE",
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

/// Random frames quote no stored connection's tunnel, so each kind of tunnel is tried by its case: whatever a router's word
/// changes where it is served, the copy that holds the same connections leaves as it was.
#[test]
fn what_a_router_says_of_a_tunnel_is_not_learned_by_the_copy() -> Result<()> {
    let cases = cases::all();
    let told: Vec<_> = cases.iter().filter_map(|case| Some((case, error_of(case)?))).collect();
    ensure!(told.len() >= 8, "only {} cases have a router speak of a tunnel", told.len());
    let mut serving = Program::load()?;
    let mut flows = Vec::new();
    for (case, number) in &told {
        Case { steps: case.steps[..*number].to_vec(), ..(*case).clone() }.run(&mut serving)?;
        let held: Vec<u64> = serving.arrays.flows.words().iter().map(Word::load).collect();
        let changed = changed_in(&mut serving, [frame(case, *number)])?;
        ensure!(changed.contains_key("TUNNELS"), "'{}' has changed {changed:?} alone", case.name);
        flows.push(held);
    }
    let mut explaining = Program::load_to(Purpose::Explain)?;
    for ((case, number), held) in told.iter().zip(&flows) {
        explaining.reset()?;
        explaining.install(&case.world)?;
        for (place, word) in explaining.arrays.flows.words().iter().zip(held) {
            place.store(*word);
        }
        let changed = changed_in(&mut explaining, [frame(case, *number)])?;
        ensure!(changed.is_empty(), "explaining '{}' has changed {changed:?}", case.name);
    }
    Ok(())
}

/// At which step of the case a router's word is first taken.
fn error_of(case: &Case) -> Option<usize> {
    let is_told =
        |step: &Step| matches!(step, Step::Frame(_, fixture) if fixture.verdict == "passed_path_mtu");
    case.steps.iter().position(is_told)
}

fn frame(case: &Case, number: usize) -> (Side, Vec<u8>) {
    match &case.steps[number] {
        Step::Frame(side, fixture) => (*side, fixture.input.clone()),
        Step::Pass(_) | Step::Change(_) => unreachable!("it is a frame that was looked for"),
    }
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
    changed_in(&mut program, frames)
}

/// How many words of each map these frames change.
fn changed_in(
    program: &mut Program,
    frames: impl IntoIterator<Item = (Side, Vec<u8>)>,
) -> Result<BTreeMap<&'static str, usize>> {
    let before = program.dump()?;
    for (side, frame) in frames {
        program.put(side, &frame)?;
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

/// Services that count who comes to them and what each sends, turn some away, and of which other directors are told.
fn limited(world: World) -> World {
    world.with(|world| {
        for service in &mut world.services {
            service.told = Told::All;
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

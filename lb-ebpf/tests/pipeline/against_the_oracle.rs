//! The pipeline as a library against the plain model of the balancer, on random traffic of both families.

use anyhow::{Context as _, Result, ensure};
use xlvs_tests::datapath::world::{Side, World};
use xlvs_tests::datapath::{Engine, Native};
use xlvs_tests::fixture::Observation;
use xlvs_tests::oracle::trial::{Reached, first_seed, run, sequences};
use xlvs_tests::random::Random;

#[test]
fn the_library_does_nothing_that_the_oracle_would_not() -> Result<()> {
    let seed = first_seed();
    println!("XLVS_SEED={seed}");
    let (mut seeds, mut native, mut reached) = (Random::from_seed(seed), Native::new()?, Reached::new());
    let mut stored = 0;
    let count = sequences(USUAL);
    for _ in 0..count {
        stored += run(seeds.next(), &mut [&mut native], &mut reached)?;
    }
    ensure!(stored > 0, "no connection was ever stored");
    println!("{reached:?}");
    let missing: Vec<&str> = REACHED.into_iter().filter(|name| !reached.contains_key(*name)).collect();
    ensure!(
        missing.is_empty() || count < USUAL,
        "the traffic brought about no {missing:?}: the comparison is about too little"
    );
    Ok(())
}

/// So many sequences, if nobody asks for fewer or more.
const USUAL: u64 = 60;

/// What the traffic must bring about somewhere.
const REACHED: [&str; 22] = [
    "forwarded_nat",
    "forwarded_nat_reply",
    "forwarded_dr",
    "forwarded_tunnel",
    "forwarded_fullnat",
    "forwarded_fullnat_reply",
    "forwarded_icmp",
    "forwarded_icmp_reply",
    "replied_echo",
    "replied_reset",
    "replied_time_exceeded",
    "replied_too_big",
    "dropped_fragment",
    "dropped_no_port",
    "dropped_no_server",
    "dropped_not_serving",
    "passed_local",
    "passed_unexplained",
    "adopted",
    "derived_reply",
    "evicted_new",
    "reselected",
];

/// What may be wrong with a data path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    ForgetsConnections,
    KeepsTheHop,
    WrongChecksum,
    OtherPayload,
    OtherNeighbour,
    OtherTunnel,
    OtherVerdict,
    PassesWhatIsDropped,
}

/// A data path with one fault.
struct Faulty {
    native: Native,
    fault: Fault,
}

impl Engine for Faulty {
    fn reset(&mut self) -> Result<()> {
        self.native.reset()
    }

    fn install(&mut self, world: &World) -> Result<()> {
        if self.fault == Fault::ForgetsConnections {
            self.native.arrays.flows.clear();
        }
        self.native.install(world)
    }

    fn pass(&mut self, ticks: u32) -> Result<()> {
        self.native.pass(ticks)
    }

    fn run(&mut self, from: Side, frame: &[u8]) -> Result<Observation> {
        let mut seen = self.native.run(from, frame)?;
        let is = |name: &str| seen.verdicts.get(name) == Some(&1);
        let forwarded = is("forwarded_nat") && seen.output[12..15] == [8, 0, 0x45];
        match self.fault {
            Fault::KeepsTheHop if forwarded => seen.output[22] = frame[22],
            Fault::WrongChecksum if forwarded => seen.output[51] ^= 1,
            Fault::OtherPayload if forwarded => {
                if let Some(last) = seen.output.get_mut(60) {
                    *last ^= 1;
                }
            }
            Fault::OtherNeighbour if forwarded => seen.output[5] ^= 1,
            // An address, of either family.
            Fault::OtherTunnel if is("forwarded_tunnel") => seen.output[33] ^= 1,
            Fault::OtherVerdict if is("dropped_ttl") => {
                seen.verdicts = [("dropped_no_server".to_owned(), 1)].into();
            }
            Fault::PassesWhatIsDropped if is("dropped_no_server") => seen.action = 2,
            _ => {}
        }
        Ok(seen)
    }
}

/// The negative controls: each fault is found, and the healthy data path is not blamed.
#[test]
fn the_oracle_finds_what_is_wrong() -> Result<()> {
    use Fault::{
        ForgetsConnections, KeepsTheHop, OtherNeighbour, OtherPayload, OtherTunnel, OtherVerdict,
        PassesWhatIsDropped, WrongChecksum,
    };
    let faults = [
        ForgetsConnections,
        KeepsTheHop,
        WrongChecksum,
        OtherPayload,
        OtherNeighbour,
        OtherTunnel,
        OtherVerdict,
        PassesWhatIsDropped,
    ];
    for fault in faults {
        let mut faulty = Faulty { native: Native::new()?, fault };
        let blamed = (0..20).find_map(|seed| run(seed, &mut [&mut faulty], &mut Reached::new()).err());
        let blamed = blamed.with_context(|| format!("{fault:?} was not found"))?;
        println!("{fault:?}: {blamed:#}");
    }
    Ok(())
}

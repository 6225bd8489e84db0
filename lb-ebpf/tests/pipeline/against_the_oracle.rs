//! The pipeline as a library against the plain model of the balancer, on random traffic of both families.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use lb_common::slot::{Class, Slot};
use xlvs_tests::datapath::world::{Number, Side, World};
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
    /// Full NAT: a port is given to a newcomer while its connection lives.
    LendsWhatIsLent,
    /// Full NAT: sent from a port that is not the connection's, with a right checksum.
    OtherPort,
    /// What another director holds goes to another server of the service,
    AdoptsElsewhere,
    /// or is stored in another class,
    AdoptsInOtherClass,
    /// or goes on at a server that is down, which may not keep it.
    AdoptsAtTheDead,
}

impl Fault {
    const ALL: [Self; 13] = [
        Self::ForgetsConnections,
        Self::KeepsTheHop,
        Self::WrongChecksum,
        Self::OtherPayload,
        Self::OtherNeighbour,
        Self::OtherTunnel,
        Self::OtherVerdict,
        Self::PassesWhatIsDropped,
        Self::LendsWhatIsLent,
        Self::OtherPort,
        Self::AdoptsElsewhere,
        Self::AdoptsInOtherClass,
        Self::AdoptsAtTheDead,
    ];

    /// An event of the frame that must be blamed, where the fault brings about other ones as well.
    const fn event(self) -> Option<&'static str> {
        match self {
            Self::LendsWhatIsLent => Some("evicted_new"),
            Self::AdoptsElsewhere | Self::AdoptsAtTheDead => Some("adopted"),
            _ => None,
        }
    }
}

/// A data path with one fault.
struct Faulty {
    native: Native,
    fault: Fault,
    /// What the last frame counted.
    counters: BTreeMap<String, i64>,
}

impl Faulty {
    fn new(fault: Fault) -> Result<Self> {
        Ok(Self { native: Native::new()?, fault, counters: BTreeMap::new() })
    }

    /// The world as it is seen with this fault.
    fn seen(&self, mut world: World) -> World {
        let dead: Vec<usize> = world.replicas.iter().map(|replica| replica.server.0).collect();
        for replica in &mut world.replicas {
            let (own, _) = world.servers[replica.server.0];
            match self.fault {
                Fault::AdoptsElsewhere => {
                    let others = world.servers.iter().position(|(service, other)| {
                        *service == own && other.name != world.servers[replica.server.0].1.name
                    });
                    replica.server = others.map_or(replica.server, Number);
                }
                Fault::AdoptsInOtherClass => {
                    replica.class = match replica.class {
                        Class::Established | Class::HalfClosed => Class::Closing,
                        _ => Class::Established,
                    }
                }
                _ => {}
            }
        }
        if self.fault == Fault::AdoptsAtTheDead {
            dead.into_iter().for_each(|number| world.servers[number].1.down = false);
        }
        world
    }
}

impl Engine for Faulty {
    fn reset(&mut self) -> Result<()> {
        self.native.reset()
    }

    fn install(&mut self, world: &World) -> Result<()> {
        if self.fault == Fault::ForgetsConnections {
            self.native.arrays.flows.clear();
        }
        self.native.install(&self.seen(world.clone()))
    }

    fn pass(&mut self, ticks: u32) -> Result<()> {
        self.native.pass(ticks)
    }

    fn run(&mut self, from: Side, frame: &[u8]) -> Result<Observation> {
        if self.fault == Fault::LendsWhatIsLent {
            let now = self.native.arrays.clock.all()[0].now();
            for word in self.native.arrays.leases.words() {
                let lent = Slot::from_word(word.load()).filter(|slot| slot.class() == Class::Established);
                lent.into_iter().for_each(|slot| word.store(slot.with_class(Class::New, now).word()));
            }
        }
        let mut seen = self.native.run(from, frame)?;
        self.counters = seen.counters.clone();
        let is = |name: &str| seen.verdicts.get(name) == Some(&1);
        let bare_v4 = seen.output.get(12..15) == Some(&[8, 0, 0x45]);
        let forwarded = is("forwarded_nat") && bare_v4;
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
            // The same sum: what the port has more, the checksum has less.
            Fault::OtherPort if is("forwarded_fullnat") && bare_v4 && seen.output[23] == 6 => {
                let even = seen.output[35] & 1 == 0;
                if even && seen.output[51] != 0 {
                    seen.output[35] += 1;
                    seen.output[51] -= 1;
                }
            }
            _ => {}
        }
        Ok(seen)
    }
}

/// The negative controls: each fault is found, and the healthy data path is not blamed.
#[test]
fn the_oracle_finds_what_is_wrong() -> Result<()> {
    for fault in Fault::ALL {
        let mut faulty = Faulty::new(fault)?;
        let blamed = (0..40).find_map(|seed| {
            let blamed = run(seed, &mut [&mut faulty], &mut Reached::new()).err()?;
            let is_it = fault.event().is_none_or(|event| faulty.counters.get(event) == Some(&1));
            is_it.then_some(blamed)
        });
        let blamed = blamed.with_context(|| format!("{fault:?} was not found"))?;
        println!("{fault:?}: {blamed:#}");
    }
    Ok(())
}

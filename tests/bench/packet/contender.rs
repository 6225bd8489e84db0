//! Whoever takes part: a floor, xlvs in one of its modes, or a peer.

use anyhow::{Result, bail};
use aya::Ebpf;
use aya::maps::Array;
use lb_common::verdict::Verdict;

use super::driver::{self, Buffers, Driver, Ran};
use super::ours::{BUCKET_BITS, Loaded, Mode, Ours};
use super::scenario::{Scenario, Sends};
use xlvs_tests::family::Family;

/// What a row is compared as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Nothing,
    Swap,
    Bucket,
    /// The same program again: what differs is noise.
    BucketAgain,
    Ipip,
    Ours,
}

pub struct Contender {
    pub name: String,
    pub driver: Driver,
    what: What,
}

enum What {
    /// With the object that it is of.
    Floor(Kind, #[expect(dead_code, reason = "its maps live as long as it")] Ebpf),
    Ours(Ours),
}

const FLOORS: [(Kind, &str, &str); 5] = [
    (Kind::Nothing, "floor_nothing", "the driver alone"),
    (Kind::Swap, "floor_swap", "floor: swap MACs"),
    (Kind::Bucket, "floor_bucket", "floor: swap MACs, load a bucket"),
    (Kind::Ipip, "floor_ipip", "floor: IPIP without a map"),
    (Kind::BucketAgain, "floor_bucket", "the same as load a bucket, again"),
];

/// The floors, nothing first.
pub fn floors(loaded: &Loaded) -> Result<Vec<Contender>> {
    let made = FLOORS.iter().map(|(kind, program, name)| {
        let buckets = if *program == "floor_bucket" { 1 << BUCKET_BITS } else { 1 };
        let mut ebpf = driver::open(buckets)?;
        if let Some(map) = ebpf.map_mut("BUCKET_MASK") {
            Array::<_, u64>::try_from(map)?.set(0, u64::from(buckets) - 1, 0)?;
        }
        let program = driver::floor(&mut ebpf, program)?;
        let driver = Driver::of(program.fd()?, Buffers::Several, loaded.interface())?;
        Ok(Contender { name: (*name).to_owned(), driver, what: What::Floor(*kind, ebpf) })
    });
    made.collect()
}

impl Contender {
    pub fn ours(ours: Ours) -> Result<Self> {
        Ok(Self { name: ours.name(), driver: ours.driver()?, what: What::Ours(ours) })
    }

    pub const fn is_ours(&self) -> bool {
        matches!(self.what, What::Ours(_))
    }

    pub const fn kind(&self) -> Kind {
        match &self.what {
            What::Floor(kind, _) => *kind,
            What::Ours(_) => Kind::Ours,
        }
    }

    pub fn can(&self, scenario: &Scenario) -> bool {
        match &self.what {
            What::Floor(Kind::Ipip, _) => {
                scenario.family == Family::V4 && !matches!(scenario.sends, Sends::Stranger | Sends::Replies(_))
            }
            What::Floor(..) => true,
            What::Ours(ours) => ours.can(scenario),
        }
    }

    /// Whether frames grow, so that the driver must give back the room.
    pub const fn undoes(&self) -> bool {
        match &self.what {
            What::Floor(kind, _) => matches!(kind, Kind::Ipip),
            What::Ours(ours) => matches!(ours.mode, Mode::Tunnel),
        }
    }

    pub fn prepare(&mut self, scenario: &Scenario) -> Result<()> {
        match &self.what {
            What::Floor(..) => Ok(()),
            What::Ours(ours) => ours.prepare(&mut self.driver, scenario),
        }
    }

    /// Its own counters, if it has any.
    pub fn verdicts(&self) -> Result<Vec<u64>> {
        match &self.what {
            What::Floor(..) => Ok(Vec::new()),
            What::Ours(ours) => ours.verdicts(),
        }
    }

    /// What became of the packets, or an error if it is not what the scenario is about.
    pub fn judge(&self, scenario: &Scenario, before: &[u64], ran: &Ran, packets: u32) -> Result<String> {
        let What::Ours(ours) = &self.what else { return self.sent_all(ran, packets) };
        let expected = ours.expected(scenario);
        let now = self.verdicts()?;
        let counted = now.iter().zip(before).zip(Verdict::ALL);
        let grown: Vec<(&str, u64)> = counted
            .filter(|((now, before), _)| now > before)
            .map(|((now, before), verdict)| (verdict.name(), now - before))
            .collect();
        if grown != [(expected.name(), u64::from(packets))] {
            bail!(
                "{}, {}: verdicts {grown:?}, expected {packets} × {}",
                self.name, scenario.name(), expected.name()
            );
        }
        Ok(format!("{} × {packets}", expected.name()))
    }

    fn sent_all(&self, ran: &Ran, packets: u32) -> Result<String> {
        const XDP_TX: usize = 3;
        if ran.actions[XDP_TX] != u64::from(packets) {
            bail!("{}: actions {:?}, expected {packets} sent back", self.name, ran.actions);
        }
        Ok(format!("sent × {packets}"))
    }
}

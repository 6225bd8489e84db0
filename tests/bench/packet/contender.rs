//! Whoever takes part: a floor, xlvs in one of its modes, or a peer.

use anyhow::{Result, bail};
use aya::Ebpf;
use lb_common::verdict::Verdict;

use super::katran::{Katran, MOST_NEW};
use super::ours::{Loaded, Mode, Ours};
use super::scenario::{Scenario, Sends};
use xlvs_tests::datapath::driver::{Buffers, Driver, Ran};
use xlvs_tests::datapath::floors;
use xlvs_tests::datapath::plan::Plan;
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
    Katran,
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
    Katran(Box<Katran>),
}

const FLOORS: [(Kind, &str, &str); 5] = [
    (Kind::Nothing, "floor_nothing", "the driver alone"),
    (Kind::Swap, "floor_swap", "floor: swap MACs"),
    (Kind::Bucket, "floor_bucket", "floor: swap MACs, load a bucket"),
    (Kind::Ipip, "floor_ipip", "floor: IPIP without a map"),
    (Kind::BucketAgain, "floor_bucket", "the same as load a bucket, again"),
];

/// The floors, nothing first; with a table of so many buckets, as a power of two.
pub fn floors(loaded: &Loaded, bucket_bits: u32) -> Result<Vec<Contender>> {
    let made = FLOORS.iter().map(|(kind, program, name)| {
        let buckets = if *program == "floor_bucket" { 1 << bucket_bits } else { 1 };
        let mut ebpf = floors::with_table(buckets)?;
        let program = floors::program(&mut ebpf, program)?;
        let driver = Driver::of(program.fd()?, Buffers::Several, loaded.interface())?;
        Ok(Contender { name: (*name).to_owned(), driver, what: What::Floor(*kind, ebpf) })
    });
    made.collect()
}

impl Contender {
    pub fn ours(ours: Ours) -> Result<Self> {
        Ok(Self { name: ours.name(), driver: ours.driver()?, what: What::Ours(ours) })
    }

    pub fn katran(katran: Katran, driver: Driver) -> Self {
        Self { name: "Katran (IPIP)".to_owned(), driver, what: What::Katran(Box::new(katran)) }
    }

    /// How many packets a measurement has, if nothing speaks against that many.
    pub fn packets(&self, scenario: &Scenario, wished: u32) -> u32 {
        let opens = matches!(scenario.sends, Sends::Opens | Sends::OpensInFlood);
        // With those that warm the caches.
        if opens && self.kind() == Kind::Katran { wished.min(MOST_NEW * 8 / 9) } else { wished }
    }

    pub const fn is_ours(&self) -> bool {
        matches!(self.what, What::Ours(_))
    }

    pub const fn kind(&self) -> Kind {
        match &self.what {
            What::Floor(kind, _) => *kind,
            What::Ours(_) => Kind::Ours,
            What::Katran(_) => Kind::Katran,
        }
    }

    pub fn can(&self, scenario: &Scenario) -> bool {
        match &self.what {
            What::Floor(Kind::Ipip, _) => {
                scenario.family == Family::V4
                    && !matches!(scenario.sends, Sends::Stranger | Sends::Replies(_))
            }
            What::Floor(..) => true,
            What::Ours(ours) => ours.can(scenario),
            What::Katran(_) => Katran::can(scenario),
        }
    }

    /// Whether frames grow, so that the driver must give back the room.
    pub fn undoes(&self, scenario: &Scenario) -> bool {
        match &self.what {
            What::Floor(kind, _) => *kind == Kind::Ipip,
            What::Ours(ours) => ours.mode == Mode::Tunnel && scenario.sends != Sends::Stranger,
            What::Katran(_) => scenario.sends != Sends::Stranger,
        }
    }

    pub fn prepare(&mut self, scenario: &Scenario) -> Result<()> {
        match &mut self.what {
            What::Floor(..) => Ok(()),
            What::Ours(ours) => ours.prepare(&mut self.driver, scenario),
            What::Katran(katran) => katran.prepare(scenario),
        }
    }

    /// Lets it know that somebody is there: nothing that is stored changes.
    pub fn go_on(&mut self) -> Result<()> {
        match &mut self.what {
            What::Floor(..) | What::Katran(_) => Ok(()),
            What::Ours(ours) => ours.go_on(),
        }
    }

    /// Its own counters, if it has any.
    pub fn verdicts(&self) -> Result<Vec<u64>> {
        match &self.what {
            What::Floor(..) | What::Katran(_) => Ok(Vec::new()),
            What::Ours(ours) => ours.verdicts(),
        }
    }

    /// What became of the packets, or an error if it is not what the scenario is about.
    pub fn judge(
        &self,
        scenario: &Scenario,
        before: &[u64],
        ran: &Ran,
        plan: &Plan,
        packets: u32,
    ) -> Result<String> {
        match &self.what {
            What::Floor(..) => self.all_did(XDP_TX, ran, packets),
            What::Katran(_) if scenario.sends == Sends::Stranger => self.all_did(XDP_PASS, ran, packets),
            What::Katran(katran) => {
                let last = plan.state.wrapping_add(packets.into()) & plan.mask;
                if plan.in_order != 0 && !katran.has(scenario, last) {
                    bail!("{}, {}: the last connection was not stored", self.name, scenario.name());
                }
                self.all_did(XDP_TX, ran, packets)
            }
            What::Ours(ours) => self.all_ended(ours.expected(scenario), scenario, before, packets),
        }
    }

    fn all_ended(
        &self,
        expected: Verdict,
        scenario: &Scenario,
        before: &[u64],
        packets: u32,
    ) -> Result<String> {
        let now = self.verdicts()?;
        let counted = now.iter().zip(before).zip(Verdict::ALL);
        let grown: Vec<(&str, u64)> = counted
            .filter(|((now, before), _)| now > before)
            .map(|((now, before), verdict)| (verdict.name(), now - before))
            .collect();
        let wanted = (expected.name(), u64::from(packets));
        if grown != [wanted] {
            bail!("{}, {}: verdicts {grown:?}, expected {wanted:?}", self.name, scenario.name());
        }
        Ok(format!("{} × {packets}", expected.name()))
    }

    fn all_did(&self, action: usize, ran: &Ran, packets: u32) -> Result<String> {
        if ran.actions[action] != u64::from(packets) {
            bail!("{}: actions {:?}, expected {packets} × {action}", self.name, ran.actions);
        }
        Ok(format!("{} × {packets}", if action == XDP_TX { "sent" } else { "passed" }))
    }
}

const XDP_PASS: usize = 2;
const XDP_TX: usize = 3;

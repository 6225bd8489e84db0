//! Packets a second through a driver: a veth polls them, the program under test sends them back, and whatever came back counts.

mod cable;

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};
use lb_common::verdict::Verdict;
use xlvs_tests::datapath::program::xdp;
use xlvs_tests::family::Family;

use crate::packet::ours::{BUCKET_BITS, Extra, Loaded, Mode, Ours};
use crate::packet::scenario::{Scenario, Sends};
use crate::progress::tell;
use crate::report::{Cell, Report, Section};
use crate::series::Series;
use cable::{Cable, Carried, FRONT};
use xlvs_tests::datapath::driver::Driver;
use xlvs_tests::datapath::floors;

/// Of the floor's packets a second, at least.
const GOAL: f64 = 0.90;
/// A program against itself: beyond this part the machine is too noisy to judge.
const NOISE: f64 = 0.03;
/// Frames that may be lost on the way before a measurement says nothing.
const LOSS: f64 = 0.02;

struct Contender {
    name: &'static str,
    what: What,
}

enum What {
    /// A program of the bench's object.
    Floor(&'static str, Ebpf),
    Ours {
        ours: Ours,
        driver: Driver,
    },
}

/// Measurements of a contender, one a round.
#[derive(Default)]
struct Row {
    /// Millions a second.
    rate: Series,
    lost: Series,
    verdict: String,
}

pub fn run(rounds: usize, frames: u32) -> Result<Report> {
    let loaded = Loaded::load()?;
    let mut cable = Cable::lay()?;
    let mut contenders = contenders(&loaded)?;
    let mut sections = Vec::new();
    let mut remarks = vec![format!(
        "{rounds} rounds of {frames} frames a processor, 60 bytes each (64 with the checksum of a cable), in turns; sending and counting is in every figure."
    )];
    let all = cable.processors();
    let counts: Vec<usize> = if all > 1 { vec![1, all] } else { vec![1] };
    for sends in [Sends::Established(0), Sends::Established(16)] {
        let scenario = Scenario::new(Family::V4, sends);
        for &processors in &counts {
            let name = format!("{}, {processors} of {all} processors", scenario.name());
            let mut rows: Vec<Row> = contenders.iter().map(|_| Row::default()).collect();
            for round in 0..rounds {
                tell(&format!("{name}: round {} of {rounds}", round + 1));
                let plan = scenario.smallest(round as u64);
                for (contender, row) in contenders.iter_mut().zip(&mut rows) {
                    contender.prepare(&scenario)?;
                    contender.attached(&loaded, |ours| {
                        cable.carry(&plan, frames / 8, processors)?;
                        let before = ours.map_or(Ok(Vec::new()), Ours::verdicts)?;
                        let carried = cable.carry(&plan, frames, processors)?;
                        let after = ours.map_or(Ok(Vec::new()), Ours::verdicts)?;
                        row.add(&carried);
                        row.verdict = verdict(ours, &scenario, &carried, &before, &after)?;
                        Ok(())
                    })?;
                }
            }
            let (section, noise) = section(&name, processors, &contenders, &rows);
            sections.push(section);
            remarks.extend(noise);
        }
    }
    Ok(Report { bench: "live", sections, remarks })
}

fn contenders(loaded: &Rc<RefCell<Loaded>>) -> Result<Vec<Contender>> {
    let floor = |name, program| -> Result<Contender> {
        let mut ebpf = floors::with_table(1 << BUCKET_BITS)?;
        floors::program(&mut ebpf, program)?;
        Ok(Contender { name, what: What::Floor(program, ebpf) })
    };
    let ours = |name, mode| -> Result<Contender> {
        let ours = Ours::new(loaded.clone(), mode, Extra::None);
        Ok(Contender { name, what: What::Ours { driver: ours.driver()?, ours } })
    };
    Ok(vec![
        floor("floor: swap MACs", "floor_swap")?,
        floor("floor: swap MACs, load a bucket", "floor_bucket")?,
        ours("xlvs DR", Mode::Dr)?,
        ours("xlvs NAT", Mode::Nat)?,
        // What differs from the first is noise.
        floor("floor: swap MACs, again", "floor_swap")?,
    ])
}

impl Contender {
    fn prepare(&mut self, scenario: &Scenario) -> Result<()> {
        match &mut self.what {
            What::Floor(..) => Ok(()),
            What::Ours { ours, driver } => ours.prepare(driver, scenario),
        }
    }

    /// Does something while the contender's program is behind the interface.
    fn attached(
        &mut self,
        loaded: &RefCell<Loaded>,
        work: impl FnOnce(Option<&Ours>) -> Result<()>,
    ) -> Result<()> {
        let attach =
            |program: &mut Xdp| program.attach(FRONT, XdpMode::Driver).context("cannot attach a program");
        match &mut self.what {
            What::Floor(name, ebpf) => {
                let link = attach(xdp(ebpf, name)?)?;
                let done = work(None);
                xdp(ebpf, name)?.detach(link)?;
                done
            }
            What::Ours { ours, .. } => {
                let link = attach(loaded.borrow_mut().first()?)?;
                let done = work(Some(ours));
                loaded.borrow_mut().first()?.detach(link)?;
                done
            }
        }
    }
}

impl Row {
    fn add(&mut self, carried: &Carried) {
        self.rate.push(carried.arrived as f64 / carried.took.as_secs_f64() / 1e6);
        self.lost.push(1.0 - carried.arrived as f64 / carried.sent as f64);
    }
}

/// What xlvs counted, or an error: all that came back, and nothing that the scenario is not about.
fn verdict(
    ours: Option<&Ours>,
    scenario: &Scenario,
    carried: &Carried,
    before: &[u64],
    after: &[u64],
) -> Result<String> {
    let lost = 1.0 - carried.arrived as f64 / carried.sent as f64;
    ensure!(lost < LOSS, "{} of {} frames came back", carried.arrived, carried.sent);
    let Some(ours) = ours else { return Ok("came back".to_owned()) };
    let expected = ours.expected(scenario);
    let mut counted = 0;
    for ((verdict, before), after) in Verdict::ALL.iter().zip(before).zip(after) {
        let grown = after - before;
        if *verdict == expected {
            counted = grown;
        } else {
            ensure!(grown == 0, "{}: {grown} frames were {}", ours.name(), verdict.name());
        }
    }
    ensure!(
        (carried.arrived..=carried.sent).contains(&counted),
        "{}: {counted} verdicts on {} frames, of which {} came back",
        ours.name(),
        carried.sent,
        carried.arrived
    );
    Ok(expected.name().to_owned())
}

fn section(
    name: &str,
    processors: usize,
    contenders: &[Contender],
    rows: &[Row],
) -> (Section, Option<String>) {
    // As `contenders` has them.
    let (floor, bucket, again) = (&rows[0], &rows[1], &rows[rows.len() - 1]);
    let itself = again.rate.over(&floor.rate);
    let columns = vec![
        "program",
        "M packets/s",
        "best",
        "spread",
        "× floor",
        "goal",
        "× with a bucket",
        "ns a packet",
        "ns beyond the floor",
        "lost %",
        "verdict",
    ];
    // Of a processor's time: all of them work at once.
    let nanoseconds = |row: &Row| 1e3 * processors as f64 / row.rate.median();
    let rows = contenders.iter().zip(rows).map(|(contender, row)| {
        let is_ours = matches!(contender.what, What::Ours { .. });
        let of_ours = |cell| if is_ours { cell } else { Cell::Nothing };
        vec![
            Cell::Text(contender.name.to_owned()),
            Cell::Number(row.rate.median(), 3),
            Cell::Number(row.rate.maximum(), 3),
            Cell::Number(row.rate.spread(), 3),
            Cell::Number(row.rate.over(&floor.rate).median(), 3),
            of_ours(Cell::Number(GOAL, 2)),
            of_ours(Cell::Number(row.rate.over(&bucket.rate).median(), 3)),
            Cell::Number(nanoseconds(row), 1),
            of_ours(Cell::Number(nanoseconds(row) - nanoseconds(floor), 1)),
            Cell::Number(row.lost.median() * 100.0, 3),
            Cell::Text(row.verdict.clone()),
        ]
    });
    let title = format!("{name} (the floor against itself: {:.3})", itself.median());
    let noisy = (itself.median() - 1.0).abs() > NOISE;
    let told = format!(
        "{name}: too noisy to judge: the floor is {:.3} times itself (half of the rounds within {:.3})",
        itself.median(),
        itself.spread()
    );
    (Section { title, columns, rows: rows.collect() }, noisy.then_some(told))
}

//! Nanoseconds a packet: floors, xlvs and peers in the same rounds, the driver's own cost subtracted.

pub mod contender;
mod katran;
pub mod ours;
pub mod scenario;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use xlvs_tests::datapath::driver::Driver;
use xlvs_tests::datapath::plan::Plan;
use xlvs_tests::family::Family;

use crate::progress::tell;
use crate::report::{Cell, Report, Section};
use crate::series::Series;
use contender::{Contender, Kind};
use katran::Katran;
use ours::{BUCKET_BITS, Extra, Loaded, Mode, Ours};
use scenario::{Scenario, Sends};

/// What is asked for.
pub struct Wish<'a> {
    pub rounds: usize,
    /// In each measurement.
    pub packets: u32,
    pub only: &'a [String],
    pub peers: &'a [String],
}

/// Differences of a program from itself beyond which the machine is too noisy: a part of what is measured, and ns.
const NOISE: (f64, f64) = (0.1, 4.0);

pub fn run(wish: &Wish<'_>) -> Result<Report> {
    let mut contenders = contenders(wish)?;
    let mut sections = Vec::new();
    let mut remarks = vec![format!(
        "Net of the driver, which is measured in each round as a program that does nothing; medians and minima of {} rounds of {} packets, in ns of the thread's processor time.",
        wish.rounds, wish.packets
    )];
    let scenarios: Vec<Scenario> =
        scenarios().into_iter().filter(|one| wanted(wish, one, &contenders)).collect();
    for (number, scenario) in scenarios.iter().enumerate() {
        tell(&format!("{}/{} {}", number + 1, scenarios.len(), scenario.name()));
        let measured = measure(scenario, &mut contenders, wish)?;
        let noise = measured.noise();
        if noise.is_too_loud() {
            remarks.push(format!(
                "{}: too noisy to judge: a program differs from itself by {:.1} ns (median), {:.1} ns (half of the rounds)",
                scenario.name(), noise.median, noise.spread
            ));
        }
        sections.push(measured.section(scenario, &noise));
    }
    if sections.is_empty() {
        bail!("no scenario has {:?} in its name", wish.only);
    }
    Ok(Report { bench: "packet", sections, remarks })
}

fn scenarios() -> Vec<Scenario> {
    let sends = [
        Sends::Established(0),
        Sends::Established(16),
        Sends::Established(19),
        Sends::Replies(0),
        Sends::Replies(16),
        Sends::Opens,
        Sends::OpensInFlood,
        Sends::Stranger,
    ];
    let both = sends.into_iter().flat_map(|sends| Family::BOTH.map(|family| Scenario::new(family, sends)));
    both.collect()
}

fn contenders(wish: &Wish<'_>) -> Result<Vec<Contender>> {
    let loaded = Loaded::load()?;
    let mut all = contender::floors(&loaded.borrow(), BUCKET_BITS)?;
    for mode in [Mode::Dr, Mode::Nat, Mode::Tunnel, Mode::FullNat] {
        all.push(Contender::ours(Ours::new(loaded.clone(), mode, Extra::None))?);
    }
    for extra in [Extra::Affinity, Extra::AllowList, Extra::ConnectionLimit, Extra::PacketLimit] {
        all.push(Contender::ours(Ours::new(loaded.clone(), Mode::Dr, extra))?);
    }
    for peer in wish.peers {
        match peer.split_once('=') {
            Some(("katran", path)) => {
                let interface = loaded.borrow().interface();
                let (katran, driver) = Katran::load(Path::new(path), interface)?;
                all.push(Contender::katran(katran, driver));
            }
            _ => bail!("--peer {peer}: it is NAME=PATH, and the name is katran"),
        }
    }
    Ok(all)
}

/// Whether a scenario, or somebody who takes part in it, is asked for by name.
fn wanted(wish: &Wish<'_>, scenario: &Scenario, contenders: &[Contender]) -> bool {
    let name = scenario.name();
    wish.only.iter().all(|part| {
        name.contains(part) || contenders.iter().any(|one| one.name.contains(part) && one.can(scenario))
    })
}

/// Contenders that may run: the floors always.
fn chosen(wish: &Wish<'_>, scenario: &Scenario, contender: &Contender) -> bool {
    let name = scenario.name();
    let by_name = |part: &String| name.contains(part) || contender.name.contains(part);
    contender.can(scenario) && (!contender.is_ours() || wish.only.iter().all(by_name))
}

struct Measured {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    kind: Kind,
    gross: Series,
    /// Of the driver, as this contender needs it, in the same rounds.
    driver: Series,
    verdict: String,
    hash: u64,
}

fn measure(scenario: &Scenario, contenders: &mut [Contender], wish: &Wish<'_>) -> Result<Measured> {
    let mut taking_part: Vec<&mut Contender> =
        contenders.iter_mut().filter(|one| chosen(wish, scenario, one)).collect();
    let mut rows: Vec<Row> = taking_part
        .iter()
        .map(|one| Row {
            name: one.name.clone(),
            kind: one.kind(),
            gross: Series::default(),
            driver: Series::default(),
            verdict: String::new(),
            hash: 0,
        })
        .collect();
    for round in 0..wish.rounds as u64 {
        let plan = scenario.plan(round);
        let mut idle: Option<Idle> = None;
        for (contender, row) in taking_part.iter_mut().zip(&mut rows) {
            contender.prepare(scenario)?;
            let undoes = contender.undoes(scenario);
            let plan = Plan { always_undoes: u64::from(undoes), ..plan };
            let packets = contender.packets(scenario, wish.packets);
            // What warms the caches ends where what is measured begins; new flows stay new.
            let warm = packets / 8;
            contender.driver.run(&Plan { state: plan.state.wrapping_sub(u64::from(warm)), ..plan }, warm)?;
            let before = contender.verdicts()?;
            let ran = contender.driver.run(&plan, packets)?;
            row.verdict = contender.judge(scenario, &before, &ran, &plan, packets)?;
            row.gross.push(ran.nanoseconds);
            if row.kind == Kind::Nothing {
                idle = Some(Idle::measure(&mut contender.driver, &plan, packets, ran.nanoseconds)?);
            }
            let idle = idle.as_ref().context("the program that does nothing comes first")?;
            row.driver.push(if undoes { idle.undoing } else { idle.plain });
        }
    }
    for (contender, row) in taking_part.iter_mut().zip(&mut rows) {
        contender.prepare(scenario)?;
        row.hash = hash(&contender.driver.outputs(&scenario.plan(0), 64)?);
    }
    Ok(Measured { rows })
}

/// The driver alone: with frames as they are, and where it gives back room in front of them.
struct Idle {
    plain: f64,
    undoing: f64,
}

impl Idle {
    fn measure(driver: &mut Driver, plan: &Plan, packets: u32, plain: f64) -> Result<Self> {
        let undoing = driver.run(&Plan { always_undoes: 1, ..*plan }, packets)?.nanoseconds;
        Ok(Self { plain, undoing })
    }
}

/// FNV-1a over what the first frames became: two builds that differ in it do not do the same.
fn hash(frames: &[(u32, Vec<u8>)]) -> u64 {
    let bytes = frames
        .iter()
        .flat_map(|(action, frame)| action.to_le_bytes().into_iter().chain(frame.iter().copied()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// How far a program is from itself.
struct Noise {
    median: f64,
    spread: f64,
    of: f64,
}

impl Noise {
    fn is_too_loud(&self) -> bool {
        let bound = NOISE.1.max(self.of * NOISE.0);
        self.median.abs() > bound
    }
}

impl Measured {
    fn net(&self, kind: Kind) -> Option<Series> {
        self.rows.iter().find(|row| row.kind == kind).map(|row| row.gross.less(&row.driver))
    }

    fn noise(&self) -> Noise {
        let gross = |kind| self.rows.iter().find(|row| row.kind == kind).map(|row| row.gross.clone());
        let (first, again) =
            (gross(Kind::Bucket).unwrap_or_default(), gross(Kind::BucketAgain).unwrap_or_default());
        let difference = again.less(&first);
        Noise { median: difference.median(), spread: difference.spread(), of: first.median() }
    }

    fn section(&self, scenario: &Scenario, noise: &Noise) -> Section {
        let columns = vec![
            "program",
            "median",
            "minimum",
            "spread",
            "less swap",
            "less bucket",
            "× Katran",
            "verdict",
            "frames",
        ];
        let katran = self.net(Kind::Katran).map_or(f64::NAN, |series| series.median());
        let base = |kind| self.net(kind).map_or(f64::NAN, |series| series.median());
        let (swap, bucket) = (base(Kind::Swap), base(Kind::Bucket));
        let rows = self.rows.iter().map(|row| {
            let net = row.gross.less(&row.driver);
            let net = if row.kind == Kind::Nothing { row.gross.clone() } else { net };
            let beyond = |floor: f64| match row.kind {
                Kind::Ours | Kind::Ipip | Kind::Katran => Cell::Number(net.median() - floor, 1),
                _ => Cell::Nothing,
            };
            vec![
                Cell::Text(row.name.clone()),
                Cell::Number(net.median(), 1),
                Cell::Number(net.minimum(), 1),
                Cell::Number(net.spread(), 1),
                beyond(swap),
                beyond(bucket),
                if row.kind == Kind::Ours { Cell::Number(net.median() / katran, 2) } else { Cell::Nothing },
                Cell::Text(row.verdict.clone()),
                Cell::Text(format!("{:016x}", row.hash)),
            ]
        });
        let title = format!("{} (a program against itself: {:+.1} ns)", scenario.name(), noise.median);
        Section { title, columns, rows: rows.collect() }
    }
}

//! Requests through a whole system: client, director and server are namespaces of this machine, wrk asks and nginx answers. All share
//! the processors, so that requests a second are what a request costs all of them together.

mod floor;
mod processors;
mod proxies;
mod way;

use std::thread;
use std::time::Duration;

use anyhow::Result;
use xlvs_tests::topology::Wiring;

use crate::progress::tell;
use crate::report::{Cell, Report, Section};
use crate::series::Series;
use processors::Processors;
use way::{Kind, Way};

/// Of the floor's requests a second, at least: xlvs DR and NAT.
const GOALS: (f64, f64) = (0.95, 0.95 * 0.90);
/// A way against itself, and what the machine does when it is idle: beyond these parts it is too noisy to judge.
const NOISE: f64 = 0.03;
/// Idle time to see what else the machine does.
const REST: Duration = Duration::from_millis(200);

/// Measurements of a way, one a round.
#[derive(Default)]
struct Row {
    rate: Series,
    median: Series,
    p99: Series,
    /// Of all processors, µs a request.
    work: Series,
}

pub fn run(rounds: usize, seconds: u64, wiring: Wiring) -> Result<Report> {
    let mut ways = Vec::new();
    let mut remarks = vec![format!(
        "{rounds} rounds of {seconds} s a way and kind, in turns; 64 connections; CPU is of the whole machine: client, director and server."
    )];
    for kind in Kind::ALL {
        tell(&format!("sets up: {}", kind.name()));
        match Way::build(kind, wiring) {
            Ok(way) => ways.push(way),
            // What is not on this machine cannot take part; what it is about must.
            Err(error) if kind.is_a_peer() => {
                remarks.push(format!("Without {}: {error:#}", kind.name()));
            }
            Err(error) => return Err(error),
        }
    }
    // The floor again at the end of each round: what differs is noise.
    let again = ways.iter().filter(|way| way.kind == Kind::Floor);
    let turns: Vec<&Way> = ways.iter().chain(again).collect();
    let mut sections = Vec::new();
    for (keep_alive, name) in [(true, "keep-alive"), (false, "a connection a request")] {
        let (rows, idle) = measure(&turns, rounds, seconds, (keep_alive, name))?;
        let (title, noise) = judge(&turns, &rows, &idle, name);
        remarks.extend(noise);
        sections.push(section(&turns, &rows, title));
    }
    Ok(Report { bench: "system", sections, remarks })
}

/// A row for each turn, and how busy the machine was between them.
fn measure(turns: &[&Way], rounds: usize, seconds: u64, how: (bool, &str)) -> Result<(Vec<Row>, Series)> {
    let (keep_alive, name) = how;
    let mut rows: Vec<Row> = turns.iter().map(|_| Row::default()).collect();
    let mut idle = Series::default();
    // What is set up when first used, neighbours and caches, is not what is measured.
    for way in turns {
        way.load(Duration::from_secs(1), keep_alive)?;
    }
    for round in 0..rounds {
        tell(&format!("{name}: round {} of {rounds}", round + 1));
        for (way, row) in turns.iter().zip(&mut rows) {
            let before = Processors::now()?;
            thread::sleep(REST);
            idle.push(before.worked()?.share);
            let before = Processors::now()?;
            let report = way.load(Duration::from_secs(seconds), keep_alive)?;
            let worked = before.worked()?;
            row.rate.push(report.requests_per_second);
            row.median.push(report.median.as_secs_f64() * 1e6);
            row.p99.push(report.p99.as_secs_f64() * 1e6);
            row.work.push(worked.busy * 1e6 / report.requests as f64);
        }
    }
    Ok((rows, idle))
}

fn floors<'r>(turns: &[&Way], rows: &'r [Row]) -> impl Iterator<Item = &'r Row> {
    let kinds: Vec<Kind> = turns.iter().map(|way| way.kind).collect();
    rows.iter().zip(kinds).filter(|(_, kind)| *kind == Kind::Floor).map(|(row, _)| row)
}

/// The title, and what to say where the machine is too noisy.
fn judge(turns: &[&Way], rows: &[Row], idle: &Series, name: &str) -> (String, Option<String>) {
    let mut floors = floors(turns, rows);
    let (Some(first), Some(again)) = (floors.next(), floors.next()) else { return (name.to_owned(), None) };
    let ratio = again.rate.over(&first.rate);
    let title = format!(
        "{name} (the floor against itself: {:.3}; the machine was busy by {:.0} % between measurements)",
        ratio.median(),
        idle.median() * 100.0
    );
    let noisy = (ratio.median() - 1.0).abs() > NOISE || idle.median() > NOISE;
    let told = format!(
        "{name}: too noisy to judge: the floor is {:.3} times itself (half of the rounds within {:.3}), the machine is busy by {:.0} % before anybody asks",
        ratio.median(),
        ratio.spread(),
        idle.median() * 100.0
    );
    (title, noisy.then_some(told))
}

fn section(turns: &[&Way], rows: &[Row], title: String) -> Section {
    let columns = vec![
        "way",
        "requests/s",
        "best",
        "spread",
        "× floor",
        "goal",
        "p50 µs",
        "p99 µs",
        "CPU µs/request",
        "least",
        "CPU × floor",
    ];
    let floor = floors(turns, rows).next();
    let mut seen = Vec::new();
    let rows = turns.iter().zip(rows).map(|(way, row)| {
        let again = if seen.contains(&way.kind) { ", again" } else { "" };
        seen.push(way.kind);
        let of_floor = |of: fn(&Row) -> &Series| {
            floor.map_or(Cell::Nothing, |floor| Cell::Number(of(row).over(of(floor)).median(), 3))
        };
        let goal = match way.kind {
            Kind::XlvsDr => Cell::Number(GOALS.0, 3),
            Kind::XlvsNat => Cell::Number(GOALS.1, 3),
            _ => Cell::Nothing,
        };
        vec![
            Cell::Text(format!("{}{again}", way.kind.name())),
            Cell::Number(row.rate.median(), 0),
            Cell::Number(row.rate.maximum(), 0),
            Cell::Number(row.rate.spread(), 0),
            of_floor(|row| &row.rate),
            goal,
            Cell::Number(row.median.median(), 0),
            Cell::Number(row.p99.median(), 0),
            Cell::Number(row.work.median(), 1),
            Cell::Number(row.work.minimum(), 1),
            of_floor(|row| &row.work),
        ]
    });
    let rows = rows.collect();
    Section { title, columns, rows }
}

//! What a packet costs as services and connections become more: points of curves, each beside a floor that loads a bucket of a table
//! as large as the one that the connections are in.

use anyhow::{Context as _, Result};
use lb_common::slot::{Geometry, MAX_BUCKET_BITS};
use xlvs_tests::datapath::maps::Room;
use xlvs_tests::datapath::plan::Plan;
use xlvs_tests::family::Family;

use crate::packet::contender::{self, Contender, Kind};
use crate::packet::ours::{Extra, Loaded, Mode, Ours};
use crate::packet::scenario::{Scenario, Sends};
use crate::progress::tell;
use crate::report::{Cell, Report, Section};
use crate::series::Series;

/// A program's difference from itself beyond which the machine is too noisy: a part of what is measured, and ns.
const NOISE: (f64, f64) = (0.1, 4.0);

/// Most services.
const SERVICES: u16 = 1024;

/// A point of both curves: services, and connections as a power of two.
#[derive(Clone, Copy)]
struct Point {
    services: u16,
    connections: u32,
}

/// What a point measured: net of the driver, ns, one a round.
#[derive(Default)]
struct Measured {
    bucket: Series,
    again: Series,
    ours: Series,
}

pub fn run(quick: bool) -> Result<Report> {
    let (rounds, packets) = if quick { (3, 50_000) } else { (11, 300_000) };
    let bits = if quick { MAX_BUCKET_BITS - 3 } else { MAX_BUCKET_BITS };
    let room = Room {
        geometry: Geometry::nearest(bits),
        lease_buckets: 1 << 13,
        services: u32::from(SERVICES),
        ..Room::SMALL
    };
    let loaded = Loaded::load_with(room)?;
    let mut floors = contender::floors(&loaded.borrow(), bits)?;
    floors.retain(|one| matches!(one.kind(), Kind::Nothing | Kind::Bucket | Kind::BucketAgain));
    let mut ours = Vec::new();
    for mode in [Mode::Dr, Mode::Nat] {
        ours.push(Contender::ours(Ours::new(loaded.clone(), mode, Extra::None))?);
    }

    let services = [1, 16, 128, SERVICES].map(|services| Point { services, connections: 16 });
    // As many as half of the places.
    let most = bits + 2;
    let connections = [10, 13, 16, 18, 20, 22, 23].into_iter().filter(|bits| *bits <= most);
    let connections: Vec<_> = connections.map(|connections| Point { services: 1, connections }).collect();
    let mut sections = Vec::new();
    let mut remarks = vec![format!(
        "Net of the driver; medians and minima of {rounds} rounds of {packets} packets in random order, in ns of the thread's processor time. Room for {} connections.",
        room.geometry.slots()
    )];
    let curves = [("services", services.to_vec()), ("connections", connections)];
    for (what, points) in curves {
        let mut rows = Vec::new();
        for point in points {
            for contender in &mut ours {
                let scenario = Scenario {
                    services: point.services,
                    ..Scenario::new(Family::V4, Sends::Established(point.connections))
                };
                let number =
                    if what == "services" { u64::from(point.services) } else { 1 << point.connections };
                tell(&format!("{number} {what}: {}", contender.name));
                let measured = measure(&scenario, contender, &mut floors, rounds, packets)?;
                remarks.extend(
                    measured.noise().map(|noise| format!("{number} {what}, {}: {noise}", contender.name)),
                );
                rows.push(measured.row(number, &contender.name));
            }
        }
        sections.push(Section {
            title: format!("IPv4: established, by {what}"),
            columns: columns(what),
            rows,
        });
    }
    Ok(Report { bench: "growth", sections, remarks })
}

/// What is stored stays over all rounds: in large tables it takes longer to store than to measure.
fn measure(
    scenario: &Scenario,
    ours: &mut Contender,
    floors: &mut [Contender],
    rounds: u64,
    packets: u32,
) -> Result<Measured> {
    ours.prepare(scenario)?;
    let mut measured = Measured::default();
    for round in 0..rounds {
        let plan = scenario.plan(round);
        let mut idle = None;
        for contender in floors.iter_mut().chain(std::iter::once(&mut *ours)) {
            let warm = packets / 8;
            contender.go_on()?;
            contender.driver.run(&Plan { state: plan.state.wrapping_add(2), ..plan }, warm)?;
            let before = contender.verdicts()?;
            let ran = contender.driver.run(&plan, packets)?;
            contender.judge(scenario, &before, &ran, &plan, packets)?;
            if contender.kind() == Kind::Nothing {
                idle = Some(ran.nanoseconds);
            }
            let net = ran.nanoseconds - idle.context("the program that does nothing comes first")?;
            match contender.kind() {
                Kind::Bucket => measured.bucket.push(net),
                Kind::BucketAgain => measured.again.push(net),
                Kind::Ours => measured.ours.push(net),
                _ => {}
            }
        }
    }
    Ok(measured)
}

fn columns(what: &'static str) -> Vec<&'static str> {
    vec![what, "program", "median", "minimum", "spread", "load a bucket", "less bucket"]
}

impl Measured {
    fn row(&self, number: u64, name: &str) -> Vec<Cell> {
        vec![
            Cell::Number(number as f64, 0),
            Cell::Text(name.to_owned()),
            Cell::Number(self.ours.median(), 1),
            Cell::Number(self.ours.minimum(), 1),
            Cell::Number(self.ours.spread(), 1),
            Cell::Number(self.bucket.median(), 1),
            Cell::Number(self.ours.less(&self.bucket).median(), 1),
        ]
    }

    /// What to say if the floor is too far from itself.
    fn noise(&self) -> Option<String> {
        let difference = self.again.less(&self.bucket);
        let bound = NOISE.1.max(self.bucket.median() * NOISE.0);
        (difference.median().abs() > bound).then(|| {
            format!(
                "too noisy to judge: the floor differs from itself by {:.1} ns (median)",
                difference.median()
            )
        })
    }
}

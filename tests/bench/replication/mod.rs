//! How far directors are behind each other: under load, when one joins, and when one takes over. Real replicators over the real
//! mesh on loopback; the agent's scan and the data path are not in it.

mod cluster;
mod load;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lb_userspace::replication::join::Standing;

use crate::report::{Cell, Report, Section};
use cluster::{Cluster, Director, memory};
use load::{Load, Waiting};
use xlvs_tests::stopwatch::Stopwatch;

/// New connections a second.
const RATES: [u64; 3] = [1_000, 10_000, 100_000];
/// Connections that live at a time while they come and go.
const ALIVE: u64 = 100_000;
const RECORDS: u64 = 1_000_000;
/// New connections a second while a director joins, and as many that end: 10,000 changes.
const RATE_AT_JOIN: u64 = 5_000;
/// A change is acknowledged within this, ms, at the greatest rate; a director has joined within this, s.
const GOALS: (f64, f64) = (100.0, 10.0);

pub fn run(quick: bool) -> Result<Report> {
    let records = if quick { RECORDS / 10 } else { RECORDS };
    let time = Duration::from_secs(if quick { 3 } else { 20 });
    // First, as long as the process has no memory left over from anything else.
    eprintln!("  measure  a director joins one with {records} records");
    let join = join(records)?;
    let mut lags = Vec::new();
    for rate in RATES {
        eprintln!("  measure  the lag at {rate} new connections a second");
        lags.push(lag(rate, time)?);
    }
    eprintln!("  measure  {records} records are taken over");
    let takeover = take_over(records)?;
    let columns = vec![
        "new a second",
        "reached",
        "p50 ms",
        "p99 ms",
        "max ms",
        "goal p99",
        "kB/s",
        "kB/s back",
        "bytes a change",
        "teller %",
        "listener %",
        "by digest",
    ];
    let lag = Section {
        title: format!(
            "Until a change is acknowledged; each connection comes, and ends when {ALIVE} came after it"
        ),
        columns,
        rows: lags,
    };
    let facts =
        |title: String, rows| Section { title, columns: vec!["what", "measured", "unit", "goal"], rows };
    let join = facts(
        format!("A director joins one with {records} records and {} changes a second", 2 * RATE_AT_JOIN),
        join,
    );
    let takeover =
        facts(format!("A director takes over {records} records, and a third one is told"), takeover);
    let remarks = vec![
        "Both directors, and who publishes for the teller, on this one machine: processors are shared, and a share is of one.".to_owned(),
    ];
    Ok(Report { bench: "replication", sections: vec![lag, join, takeover], remarks })
}

fn lag(rate: u64, time: Duration) -> Result<Vec<Cell>> {
    let cluster = Cluster::create(2)?;
    let (teller, listener) = (cluster.start(0)?, cluster.start(1)?);
    teller.publish(0..ALIVE)?;
    teller.wait_for(&listener)?;
    listener.wait_for(&teller)?;

    let (begun, publisher) = (Instant::now(), Stopwatch::start()?);
    let before = [teller.processor_time()?, listener.processor_time()?];
    let bytes = [teller.bytes_sent(), listener.bytes_sent()];
    let (mut load, mut waiting, mut new) = (Load::new(&teller, rate, 0..ALIVE), Waiting::default(), 0);
    while begun.elapsed() < time {
        let (at, count) = load.step(&[&listener])?;
        new += count;
        waiting.sent(at, 2 * count);
        look(&teller, &listener, &mut waiting)?;
    }
    let took = begun.elapsed().as_secs_f64();
    while !look(&teller, &listener, &mut waiting)? {
        std::thread::sleep(Duration::from_millis(1));
    }
    let share = |time: Duration| time.as_secs_f64() * 100.0 / took;
    let published = Duration::from_nanos(publisher.nanoseconds()? as u64);
    let shares = [
        share(teller.processor_time()? - before[0] + published),
        share(listener.processor_time()? - before[1]),
    ];
    let sent = [teller.bytes_sent() - bytes[0], listener.bytes_sent() - bytes[1]];
    teller.wait_for(&listener)?;
    teller.is_copied_by(&listener, ALIVE as usize)?;
    let goal = if rate == RATES[2] { Cell::Number(GOALS.0, 0) } else { Cell::Nothing };
    Ok(vec![
        Cell::Number(rate as f64, 0),
        Cell::Number(new as f64 / took, 0),
        Cell::Number(waiting.quantile(0.5), 1),
        Cell::Number(waiting.quantile(0.99), 1),
        Cell::Number(waiting.quantile(1.0), 1),
        goal,
        Cell::Number(sent[0] as f64 / took / 1e3, 0),
        Cell::Number(sent[1] as f64 / took / 1e3, 0),
        Cell::Number(sent[0] as f64 / (2 * new) as f64, 1),
        Cell::Number(shares[0], 0),
        Cell::Number(shares[1], 0),
        Cell::Number(f64::from(waiting.overflows), 0),
    ])
}

/// Whether all is acknowledged.
fn look(teller: &Director, listener: &Director, waiting: &mut Waiting) -> Result<bool> {
    let now = Instant::now();
    let found = teller.desk.with(|it| Some((it.lag(listener.node, now)?, it.in_sync(listener.node)?)));
    let (lag, level) = found.context("the session ended under load")?;
    waiting.look(now, lag.oldest, lag.stale, level);
    Ok(waiting.none())
}

fn join(records: u64) -> Result<Vec<Vec<Cell>>> {
    let cluster = Cluster::create(2)?;
    let old = cluster.start(0)?;
    // Alone it waits for its peer, and serves then: the newcomer has somebody to learn from.
    old.wait("the first director", |it| it.standing() == Standing::Ready)?;
    let empty = memory()?;
    old.publish(0..records)?;
    let full = memory()?;

    let (begun, bytes) = (Instant::now(), old.bytes_sent());
    let mut load = Load::new(&old, RATE_AT_JOIN, 0..records);
    let new = cluster.start(1)?;
    while new.desk.with(|it| it.standing()) != Standing::Ready {
        load.step(&[&new])?;
        ensure!(begun.elapsed() < Duration::from_secs(60), "the director does not get ready");
    }
    let ready = begun.elapsed();
    ensure!(new.desk.with(|it| it.store().live()) as u64 > records * 9 / 10, "ready without the records");
    old.wait_for(&new)?;
    let level = begun.elapsed();
    old.is_copied_by(&new, records as usize)?;
    let sent = old.bytes_sent() - bytes;
    let each = |bytes: u64| bytes as f64 / records as f64;
    Ok(vec![
        fact("until it may serve", ready.as_secs_f64(), 2, "s", Cell::Number(GOALS.1, 0)),
        fact(
            "until the other has every acknowledgement and the records are equal",
            level.as_secs_f64(),
            2,
            "s",
            Cell::Number(GOALS.1, 0),
        ),
        fact("sent", sent as f64 / 1e6, 1, "MB", Cell::Nothing),
        fact("sent a record", each(sent), 1, "bytes", Cell::Nothing),
        fact("memory a record, at the one who publishes", each(full - empty), 0, "bytes", Cell::Nothing),
    ])
}

fn take_over(records: u64) -> Result<Vec<Vec<Cell>>> {
    let cluster = Cluster::create(3)?;
    let dead = cluster.start(0)?;
    let (heir, third) = (cluster.start(1)?, cluster.start(2)?);
    for director in [&heir, &third] {
        dead.wait_for(director)?;
        heir.wait("a session", |it| it.in_sync(third.node) == Some(true))?;
    }
    dead.publish(0..records)?;
    for director in [&heir, &third] {
        dead.wait_for(director)?;
        dead.is_copied_by(director, records as usize)?;
        director.forget_changes();
    }
    let (origin, gone) = (dead.node, dead.node);
    drop(dead);
    for director in [&heir, &third] {
        director.wait("the end of the dead one's session", |it| it.in_sync(gone).is_none())?;
    }
    heir.wait_for(&third)?;

    let (begun, bytes) = (Instant::now(), heir.bytes_sent());
    let origin = lb_userspace::replication::version::Origin { node: origin, life: 1 };
    heir.desk.with(|it| it.take_over(origin, Instant::now()));
    let own = begun.elapsed();
    heir.wait_for(&third)?;
    let told = begun.elapsed();
    heir.is_copied_by(&third, records as usize)?;
    let sent = heir.bytes_sent() - bytes;
    Ok(vec![
        fact("until the records are its own", own.as_secs_f64(), 2, "s", Cell::Nothing),
        fact("until the third has acknowledged them", told.as_secs_f64(), 2, "s", Cell::Nothing),
        fact("sent to the third", sent as f64 / 1e6, 1, "MB", Cell::Nothing),
    ])
}

fn fact(what: &str, value: f64, decimals: usize, unit: &str, goal: Cell) -> Vec<Cell> {
    vec![Cell::Text(what.to_owned()), Cell::Number(value, decimals), Cell::Text(unit.to_owned()), goal]
}

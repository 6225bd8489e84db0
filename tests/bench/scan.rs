//! Ten million connections in sixteen million places: who finds none, what a look-up costs, and how long the agent's walk over
//! all of them takes. The connection table of the data path and the walk of the agent, over ordinary memory.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use anyhow::{Context as _, Result, ensure};
use lb_common::clock::{COARSE_TICKS, Now};
use lb_common::flow_table::{Admission, BUCKET_SLOTS, FlowTable, Memory, Place};
use lb_common::identity::FlowId;
use lb_common::net::{Addr, Port, Protocol, Tuple};
use lb_common::slot::{Class, Geometry, MAX_BUCKET_BITS, ServerId, Slot};
use lb_common::word::Word;
use lb_userspace::agent::sweep::{Ground, Sweep, SweepLimits};
use lb_userspace::dataplane::Site;
use xlvs_tests::datapath::maps::{LIMITS, test_key};
use xlvs_tests::datapath::region::Region;
use xlvs_tests::random::Random;

use crate::report::{Cell, Report, Section};
use crate::series::Series;
use xlvs_tests::stopwatch::Stopwatch;

const CONNECTIONS: u64 = 10_000_000;
const SERVERS: u16 = 100;
const FIRST_TICK: u32 = 1000;
/// Of connections without a place, per cent; and of a whole walk, ms.
const GOALS: (f64, f64) = (0.01, 100.0);

struct Table {
    buckets: Region<[Word; BUCKET_SLOTS]>,
    geometry: Geometry,
    now: Now,
}

impl Memory for Table {
    type Cell = Word;
    fn bucket(&self, number: u32) -> Option<&[Word; BUCKET_SLOTS]> {
        self.buckets.get(number)
    }
}

impl Ground for Table {
    fn now(&self) -> Now {
        self.now
    }
    fn buckets(&self) -> usize {
        self.geometry.buckets() as usize
    }
    fn places(&self, buckets: Range<usize>) -> impl Iterator<Item = (Site, &Word)> {
        let first = buckets.start as u32;
        (first..).zip(&self.buckets.all()[buckets]).flat_map(|(bucket, slots)| {
            (0..).zip(slots).map(move |(index, word)| (Site::Flow(Place { bucket, index }), word))
        })
    }
    fn protocol(&self, _: Slot) -> Protocol {
        Protocol::Tcp
    }
}

pub fn run(quick: bool) -> Result<Report> {
    let connections = if quick { CONNECTIONS / 10 } else { CONNECTIONS };
    let geometry = Geometry::nearest(if quick { MAX_BUCKET_BITS - 3 } else { MAX_BUCKET_BITS });
    let buckets = Region::private(geometry.buckets())?;
    let mut table = Table { buckets, geometry, now: Now::at_tick(FIRST_TICK) };
    eprintln!("  measure  {connections} connections find their places");
    let (homeless, insert) = fill(&table, connections)?;
    eprintln!("  measure  look-ups in random order");
    let look_up = look_up(&table, connections, homeless)?;
    eprintln!("  measure  walks over all");
    establish(&table);
    let idle = walk(&table, connections - homeless, if quick { 3 } else { 11 })?;
    // All have been silent for too long: each is cleared.
    table.now = Now::at_tick(FIRST_TICK + (u32::from(LIMITS.established) + 2) * COARSE_TICKS);
    let ageing = walk(&table, 0, 1)?;

    let share = homeless as f64 * 100.0 / connections as f64;
    let row = |what: &str, unit: &str, value: f64, decimals, goal: Cell| {
        vec![Cell::Text(what.to_owned()), Cell::Number(value, decimals), Cell::Text(unit.to_owned()), goal]
    };
    let of_goal = |goal: f64, decimals| Cell::Number(goal, decimals);
    let rows = vec![
        row("connections", "", connections as f64, 0, Cell::Nothing),
        row("places", "", f64::from(geometry.slots()), 0, Cell::Nothing),
        row("memory a place", "bytes", 8.0, 0, Cell::Nothing),
        row("without a place", "%", share, 4, of_goal(GOALS.0, 2)),
        row("a place is found in", "ns", insert, 0, Cell::Nothing),
        row("looked up at random in", "ns", look_up, 0, Cell::Nothing),
        row("a whole walk, nobody expired: median", "ms", idle.median(), 1, of_goal(GOALS.1, 0)),
        row("a whole walk, nobody expired: minimum", "ms", idle.minimum(), 1, of_goal(GOALS.1, 0)),
        row("a whole walk that clears all", "ms", ageing.median(), 1, of_goal(GOALS.1, 0)),
    ];
    let columns = vec!["what", "measured", "unit", "goal"];
    let title = "One core, ordinary memory, of the thread's processor time".to_owned();
    Ok(Report { bench: "scan", sections: vec![Section { title, columns, rows }], remarks: Vec::new() })
}

/// How many found no place, and ns for each that asked, hashing included.
fn fill(table: &Table, connections: u64) -> Result<(u64, f64)> {
    let flows = FlowTable { memory: table, geometry: table.geometry };
    let begun = Stopwatch::start()?;
    let mut homeless = 0;
    for number in 0..connections {
        let server = ServerId::new(1 + (number % u64::from(SERVERS)) as u16).context("ids begin with 1")?;
        // Nobody gives way: the question is how many find room.
        let admission = flows.admit(flow(number), server, false, table.now, LIMITS, |_, _| false);
        homeless += u64::from(matches!(admission, Admission::Homeless));
    }
    Ok((homeless, begun.nanoseconds()? / connections as f64))
}

/// Net of the hashing that names the flow.
fn look_up(table: &Table, connections: u64, homeless: u64) -> Result<f64> {
    const LOOK_UPS: u32 = 2_000_000;
    let flows = FlowTable { memory: table, geometry: table.geometry };
    let mut random = Random::from_seed(7);
    let begun = Stopwatch::start()?;
    for _ in 0..LOOK_UPS {
        black_box(flow(random.below(connections)));
    }
    let hashing = begun.nanoseconds()?;
    let mut found = 0;
    let begun = Stopwatch::start()?;
    for _ in 0..LOOK_UPS {
        found += u64::from(flows.find(flow(random.below(connections))).is_some());
    }
    let all = begun.nanoseconds()?;
    ensure!(found + homeless >= u64::from(LOOK_UPS) * 999 / 1000, "only {found} of {LOOK_UPS} were found");
    Ok((all - hashing) / f64::from(LOOK_UPS))
}

/// As if both sides had spoken on all.
fn establish(table: &Table) {
    for word in table.buckets.words() {
        if let Some(slot) = Slot::from_word(word.load()) {
            word.store(slot.with_class(Class::Established, table.now).word());
        }
    }
}

/// Whole walks, ms; this many must be left.
fn walk(table: &Table, left: u64, rounds: usize) -> Result<Series> {
    let limits = SweepLimits { tcp: LIMITS, udp: LIMITS };
    let mut took = Series::default();
    let mut sweep = Sweep::new(usize::from(SERVERS) + 1);
    for _ in 0..rounds {
        let begun = Stopwatch::start()?;
        while !sweep.step(table, &limits, true, |_, _| false) {}
        took.push(begun.milliseconds()?);
        let counted = sweep.census().total();
        ensure!(counted == left, "{counted} connections were counted, {left} are there");
    }
    Ok(took)
}

/// The connection of this number.
fn flow(number: u64) -> FlowId {
    let client = IpAddr::V4(Ipv4Addr::from(0x0ac8_0000 + (number >> 15) as u32));
    test_key().flow_id(&Tuple {
        client: Addr::from(client),
        vip: Addr::from(IpAddr::from([10, 77, 1, 100])),
        client_port: Port::from_host((number as u16) | 0x8000),
        vip_port: Port::from_host(80),
        protocol: Protocol::Tcp,
    })
}

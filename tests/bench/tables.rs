//! How long it takes to say which client goes to which server: Maglev's tables, as the agent builds them.

use anyhow::{Context as _, Result};
use lb_common::identity::name_hash;
use lb_common::maglev::{Share, size_for, table};
use lb_common::pick::{IDS_PER_WORD, word_of_ids};
use lb_common::word::Word;
use xlvs_tests::datapath::region::Region;

use crate::report::{Cell, Report, Section};
use crate::series::Series;
use xlvs_tests::stopwatch::Stopwatch;

/// So many services with so many servers each, and the places in the table of each.
struct Load {
    services: u16,
    servers: u16,
    size: u32,
}

const SLOTS: u32 = 65_537;
/// What the goals name, ms.
const GOAL_ONE: f64 = 2.0;
const GOAL_ALL: f64 = 2000.0;

pub fn run(quick: bool) -> Result<Report> {
    let loads = [
        Load { services: 1, servers: 10, size: SLOTS },
        Load { services: 1, servers: 100, size: SLOTS },
        Load { services: 1, servers: 1000, size: SLOTS },
        Load { services: 10, servers: 20, size: size_for(20) },
        Load { services: 100, servers: 20, size: size_for(20) },
        Load { services: 1000, servers: 20, size: size_for(20) },
    ];
    let mut rows = Vec::new();
    for load in &loads {
        eprintln!("  measure  {} services with {} servers each", load.services, load.servers);
        let rounds = if load.services > 100 || quick { 3 } else { 11 };
        let took = measure(load, rounds)?;
        let goal = match (load.services, load.servers) {
            (1, 1000) => Cell::Number(GOAL_ONE, 0),
            (1000, _) => Cell::Number(GOAL_ALL, 0),
            _ => Cell::Nothing,
        };
        let all = f64::from(load.services);
        rows.push(vec![
            Cell::Number(all, 0),
            Cell::Number(f64::from(load.servers), 0),
            Cell::Number(f64::from(load.size), 0),
            Cell::Number(took.median(), 2),
            Cell::Number(took.minimum(), 2),
            Cell::Number(took.median() / all, 3),
            goal,
            Cell::Number(all * f64::from(load.size) * 2.0 / 1e6, 1),
        ]);
    }
    let columns =
        vec!["services", "servers each", "places", "median ms", "minimum ms", "ms a table", "goal ms", "MB"];
    let title = "Tables built and written, word by word, into memory as the arena is".to_owned();
    Ok(Report {
        bench: "tables",
        sections: vec![Section { title, columns, rows }],
        remarks: vec!["On one core, of the thread's processor time.".to_owned()],
    })
}

fn measure(load: &Load, rounds: usize) -> Result<Series> {
    let words = load.size.div_ceil(IDS_PER_WORD);
    let arena: Region<Word> = Region::private(words * u32::from(load.services))?;
    let mut took = Series::default();
    for _ in 0..rounds {
        let begun = Stopwatch::start()?;
        for service in 0..load.services {
            let scope = name_hash(0, &service.to_le_bytes());
            let shares = (1..=load.servers).map(|server| Share {
                name_hash: name_hash(scope, &server.to_le_bytes()),
                weight: 1,
                id: server,
            });
            let ids = table(&shares.collect::<Vec<_>>(), load.size);
            let own =
                arena.all().chunks_exact(words as usize).nth(service.into()).context("room for each")?;
            for (word, four) in own.iter().zip(ids.chunks(IDS_PER_WORD as usize)) {
                word.store(word_of_ids(std::array::from_fn(|i| four.get(i).copied().unwrap_or(0))));
            }
        }
        took.push(begun.milliseconds()?);
    }
    Ok(took)
}

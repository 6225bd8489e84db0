//! `[datapath]`: sizes of the maps, timeouts of the flow table.

use std::time::Duration;

use lb_common::maglev;

use super::duration;
use super::model::{Datapath, MaglevTableSize, Timeouts};
use super::source::Reported;
use super::table::{Entry, Layered};
use super::vocabulary::TIMEOUTS;

/// 2²⁴ slots at a load of three quarters.
const LARGEST_FLOW_TABLE: u32 = 12_582_912;
const LARGEST_MAGLEV_TABLE: u32 = 65_537;
/// A pair of service and server has an id of 16 bits.
const MOST_SLOTS: u32 = 65_536;
/// About 100 MB of the kernel's memory once they are there.
const MOST_PREFIXES: u32 = 1_048_576;
/// 128 MiB.
const MOST_SOURCES: u32 = 16_777_216;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// One tick of the coarse clock by which established connections age: nothing shorter can be told.
const COARSE_TICK: Duration = Duration::from_secs(64);
/// 127 ticks are as much as an age of eight bits can tell; rounded down to what one can remember.
const LONGEST_COARSE: Duration = Duration::from_secs(2 * 60 * 60);
const LONGEST_FINE: Duration = Duration::from_secs(120);

pub(super) fn read(table: Layered<'_>) -> Result<Datapath, Reported> {
    let flow_table_size = table.read_or("flow_table_size", 1_048_576, |entry| {
        entry.integer(0, LARGEST_FLOW_TABLE, "flow_table_size = 1048576")
    });
    let client_addresses = table.read_or("client_addresses", true, Entry::boolean);
    let maglev_table_size = table.read_or("maglev_table_size", MaglevTableSize::Auto, maglev_table_size);
    let server_slots =
        table.read_or("server_slots", 16_384, |entry| entry.integer(256, MOST_SLOTS, "server_slots = 16384"));
    let list_slots =
        table.read_or("list_slots", 65_536, |entry| entry.integer(1, MOST_PREFIXES, "list_slots = 65536"));
    let source_slots = table
        .read_or("source_slots", 131_072, |entry| entry.integer(8, MOST_SOURCES, "source_slots = 131072"));
    let affinity_slots = table.read_or("affinity_slots", 98_304, |entry| {
        entry.integer(1, LARGEST_FLOW_TABLE, "affinity_slots = 98304")
    });
    let timeouts = table.read("timeouts", |entry| entry.table(&TIMEOUTS));
    let timeouts = timeouts.and_then(|own| read_timeouts(Layered::new(table.spot, own, None)));
    Ok(Datapath {
        flow_table_size: flow_table_size?,
        client_addresses: client_addresses?,
        maglev_table_size: maglev_table_size?,
        server_slots: server_slots?,
        list_slots: list_slots?,
        source_slots: source_slots?,
        affinity_slots: affinity_slots?,
        timeouts: timeouts?,
    })
}

fn read_timeouts(table: Layered<'_>) -> Result<Timeouts, Reported> {
    let fine = |longest| move |entry: &Entry<'_>| duration::read(entry, SECOND..=longest);
    let coarse = |entry: &Entry<'_>| duration::read(entry, COARSE_TICK..=LONGEST_COARSE);
    let new = table.read_or("new", Duration::from_secs(30), fine(MINUTE));
    let established = table.read_or("established", Duration::from_secs(15 * 60), coarse);
    let closing = table.read_or("closing", Duration::from_secs(2 * 60), fine(LONGEST_FINE));
    let udp = table.read_or("udp", Duration::from_secs(5 * 60), coarse);
    Ok(Timeouts { new: new?, established: established?, closing: closing?, udp: udp? })
}

fn maglev_table_size(entry: &Entry<'_>) -> Result<MaglevTableSize, Reported> {
    if entry.as_text() == Some("auto") {
        return Ok(MaglevTableSize::Auto);
    }
    if entry.as_integer().is_none() {
        return Err(entry.wrong_type("\"auto\" or a prime", "maglev_table_size = \"auto\""));
    }
    let size = entry.integer(2, LARGEST_MAGLEV_TABLE, "maglev_table_size = \"auto\"")?;
    if maglev::is_size(size) {
        return Ok(MaglevTableSize::Prime(size));
    }
    // The upper bound is itself a prime, so there always is one above.
    let next =
        (size..=LARGEST_MAGLEV_TABLE).find(|above| maglev::is_size(*above)).unwrap_or(LARGEST_MAGLEV_TABLE);
    let what =
        format!("maglev_table_size = {size} is not a prime, so not every server could reach every slot");
    Err(entry.problem(what, format!("write {next}, the next one, or \"auto\"")))
}

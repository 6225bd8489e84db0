//! The programs behind the first, and the array through which it reaches them.
//!
//! Each loading of the object has an array of its own, so that a program and its successor never mix. The kernel empties an
//! array that no process and no pin holds (`prog_array_map_clear`), so it is pinned, under its id, before the program that
//! needs it takes over; those of its predecessors go afterwards.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aya::Ebpf;
use aya::maps::{Map, MapData, ProgramArray};
use lb_common::purpose::{ENTRY_INDEX, SEEN, SEEN_INDEX, WATCH};
use lb_common::stage::{ENTRY, Stage};

use super::Pins;
use super::attach::xdp;

const ARRAY: &str = "STAGES";

/// For packets that are still on their way through the program that was exchanged.
const GRACE: Duration = Duration::from_millis(20);

/// Loads every stage and enters it.
///
/// # Errors
/// What the kernel says, with the program.
pub fn load(ebpf: &mut Ebpf) -> Result<()> {
    for stage in Stage::ALL {
        xdp(ebpf, stage.program())?
            .load()
            .with_context(|| format!("loading the XDP program '{}'", stage.program()))?;
        enter(ebpf, stage.program(), *stage as u32)?;
    }
    Ok(())
}

/// Loads the two programs around the others, for a copy that captures.
///
/// # Errors
/// What the kernel says, with the program.
pub fn surround(ebpf: &mut Ebpf) -> Result<()> {
    for name in [WATCH, SEEN] {
        xdp(ebpf, name)?.load().with_context(|| format!("loading the XDP program '{name}'"))?;
    }
    enter(ebpf, ENTRY, ENTRY_INDEX)?;
    enter(ebpf, SEEN, SEEN_INDEX)
}

fn enter(ebpf: &mut Ebpf, name: &str, index: u32) -> Result<()> {
    let program = xdp(ebpf, name)?.fd()?.try_clone()?;
    let map = ebpf.map_mut(ARRAY).with_context(|| format!("the eBPF object has no map {ARRAY}"))?;
    let mut array = ProgramArray::try_from(map)?;
    array.set(index, &program, 0).with_context(|| format!("entering the program '{name}'"))
}

/// Pins the array of this loading, besides those of others.
///
/// # Errors
/// What the kernel says, with the pin.
pub fn pin(ebpf: &Ebpf, pins: &Pins) -> Result<()> {
    let array = array(ebpf)?;
    let path = pins.stages().join(name(array)?);
    array.pin(&path).with_context(|| format!("pinning {}", path.display()))
}

/// Removes the pins of all other loadings, once no program needs them.
///
/// # Errors
/// What the file system says, with the pin.
pub fn leave_alone(ebpf: &Ebpf, pins: &Pins) -> Result<()> {
    let own = name(array(ebpf)?)?;
    let dir = pins.stages();
    let entries = fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
    let others: Vec<_> = entries.filter_map(Result::ok).filter(|entry| entry.file_name() != *own).collect();
    if !others.is_empty() {
        sleep(GRACE);
    }
    for other in others {
        let path = other.path();
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    Ok(())
}

fn array(ebpf: &Ebpf) -> Result<&MapData> {
    match ebpf.map(ARRAY) {
        Some(Map::ProgramArray(data)) => Ok(data),
        _ => Err(anyhow!("the eBPF object has no array of programs {ARRAY}")),
    }
}

fn name(array: &MapData) -> Result<String> {
    Ok(array.info().with_context(|| format!("map {ARRAY}"))?.id().to_string())
}

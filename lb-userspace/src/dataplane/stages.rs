//! The programs behind the first, and the array through which it reaches them.
//!
//! Each loading of the object has an array of its own, so that a program and its successor never mix. The kernel empties an
//! array that no process and no pin holds (`prog_array_map_clear`), so it is pinned, under its id, before the program that
//! needs it takes over; those of its predecessors go afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::sync::Mutex;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use aya::Ebpf;
use aya::maps::{Map, MapData, ProgramArray};
use aya::programs::Xdp;
use lb_common::purpose::{ENTRY_INDEX, Purpose, SEEN, SEEN_INDEX, WATCH};
use lb_common::stage::{ENTRY, Stage};

use super::Pins;
use super::attach::xdp;

const ARRAY: &str = "STAGES";

/// For packets that are still on their way through the program that was exchanged.
const GRACE: Duration = Duration::from_millis(20);

/// Loads what is needed for this purpose, the first program and all behind it, and enters those that others reach.
///
/// # Errors
/// What the kernel says, with the program.
pub fn load(ebpf: &mut Ebpf, purpose: Purpose) -> Result<()> {
    let mut reached: Vec<(&str, u32)> =
        Stage::ALL.iter().map(|stage| (stage.program(), *stage as u32)).collect();
    let first = if purpose == Purpose::Capture {
        reached.extend([(ENTRY, ENTRY_INDEX), (SEEN, SEEN_INDEX)]);
        WATCH
    } else {
        ENTRY
    };
    verify(ebpf, reached.iter().map(|(name, _)| *name).chain([first]).collect())?;
    reached.into_iter().try_for_each(|(name, index)| enter(ebpf, name, index))
}

/// Has the kernel verify and compile these, one on each processor at a time: it is most of an agent's start, and the kernel
/// takes no lock for it from who may load any program (`bpf_check`).
fn verify(ebpf: &mut Ebpf, mut wanted: BTreeSet<&str>) -> Result<()> {
    let mut waiting = Vec::new();
    for (name, program) in ebpf.programs_mut().filter(|(name, _)| wanted.remove::<str>(name)) {
        let program = <&mut Xdp>::try_from(program).with_context(|| format!("program '{name}'"))?;
        waiting.push((name.to_owned(), program));
    }
    if let Some(name) = wanted.first() {
        bail!("the eBPF object has no program '{name}'");
    }
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let waiting = Mutex::new(waiting);
    // Not in the loop's head, where it would stay locked meanwhile.
    let next = || waiting.lock().ok()?.pop();
    let work = || {
        while let Some((name, program)) = next() {
            let what = || format!("loading the XDP program '{name}' (the kernel's verifier must accept it)");
            program.load().with_context(what)?;
        }
        anyhow::Ok(())
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..processors).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined =
            others.into_iter().map(|other| other.join().map_err(|_| anyhow!("a loading thread panicked"))?);
        joined.fold(own, Result::and)
    })
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

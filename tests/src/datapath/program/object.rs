//! The object under test, its maps and its programs.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::maps::{Map, ProgramArray};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use lb_common::purpose::{ENTRY_INDEX, Purpose, SEEN, SEEN_INDEX, WATCH};
use lb_common::stage::{ENTRY, Stage};

use crate::datapath::maps::{Room, SERVERS, SOURCE_SETS};
use crate::datapath::region::{Region, Value};

/// Names the object under test.
pub const OBJECT_VARIABLE: &str = "XLVS_EBPF_OBJECT";

/// The bytes of the object under test.
pub fn object() -> Result<Vec<u8>> {
    let path = std::env::var_os(OBJECT_VARIABLE).map(PathBuf::from).with_context(|| {
        format!("{OBJECT_VARIABLE} names no object; run this suite with 'cargo xtask test --only kernel'")
    })?;
    fs::read(&path).with_context(|| format!("cannot read {OBJECT_VARIABLE}={}", path.display()))
}

/// The object, its maps made and its programs not yet loaded. Maps whose size the agent sets are small.
pub fn open() -> Result<Ebpf> {
    open_to(Purpose::Serve, Room::SMALL)
}

pub(super) fn open_to(purpose: Purpose, room: Room) -> Result<Ebpf> {
    let sizes = [
        ("FLOWS", room.geometry.buckets()),
        ("ADDRESSES", room.geometry.slots()),
        ("SERVERS", room.servers()),
        ("SERVER_COUNTERS", room.servers()),
        ("TUNNELS", room.servers()),
        ("LOADS", room.servers()),
        ("MEMBERS", room.servers() * SERVERS),
        ("TURNS", room.services),
        ("AFFINITIES", room.services),
        ("SEATS", room.geometry.buckets()),
        ("REPLICAS", room.geometry.buckets()),
        ("SITTERS", room.geometry.slots()),
        ("BACKENDS", room.servers()),
        ("QUIC_SERVERS", room.servers()),
        ("SERVICES", room.services),
        ("INCIDENTS", room.services),
        ("LIMITS", room.services),
        ("SOURCES", SOURCE_SETS),
        ("LEASES", room.lease_buckets),
        ("TENANTS", room.lease_buckets * 8),
        ("LISTENERS", room.services * 2),
        ("TABLES", room.table_words()),
    ];
    let constant = purpose as u8;
    let mut loader = EbpfLoader::new();
    loader.override_global(Purpose::CONSTANT, &constant, true);
    if purpose != Purpose::Serve {
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| error).context("cannot count CPUs")?;
        loader.map_max_entries("TRAIL", cpus as u32);
    }
    if purpose == Purpose::Capture {
        loader.map_max_entries("RING", 1 << 20);
    }
    for (map, entries) in sizes {
        loader.map_max_entries(map, entries);
    }
    loader.load(&object()?).context("the kernel refuses the maps of the object; this suite needs root")
}

/// An XDP program of the object.
pub fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = ebpf.program_mut(name).ok_or_else(|| anyhow!("the object has no program {name}"))?;
    program.try_into().with_context(|| format!("program {name} is not an XDP program"))
}

/// The kernel's verifier takes every program of the object, and each finds those it hands over to.
pub fn load(ebpf: &mut Ebpf) -> Result<()> {
    xdp(ebpf, ENTRY)?.load().with_context(|| format!("the kernel refuses {ENTRY}"))?;
    for stage in Stage::ALL {
        let name = stage.program();
        xdp(ebpf, name)?.load().with_context(|| format!("the kernel refuses {name}"))?;
        enter(ebpf, name, *stage as u32)?;
    }
    Ok(())
}

/// Likewise the programs around the others, for a copy that captures.
pub(super) fn surround(ebpf: &mut Ebpf) -> Result<()> {
    for name in [WATCH, SEEN] {
        xdp(ebpf, name)?.load().with_context(|| format!("the kernel refuses {name}"))?;
    }
    enter(ebpf, ENTRY, ENTRY_INDEX)?;
    enter(ebpf, SEEN, SEEN_INDEX)
}

fn enter(ebpf: &mut Ebpf, name: &str, index: u32) -> Result<()> {
    let program = xdp(ebpf, name)?.fd()?.try_clone()?;
    let mut stages = ProgramArray::try_from(ebpf.map_mut("STAGES").context("the object has no map STAGES")?)?;
    stages.set(index, &program, 0).with_context(|| format!("cannot enter {name}"))
}

pub(super) fn array<T: Value>(ebpf: &mut Ebpf, name: &str, entries: u32) -> Result<Region<T>> {
    let Some(Map::Array(data)) = ebpf.map(name) else { bail!("the object has no array {name}") };
    Region::of_map(data.fd().as_fd(), entries).with_context(|| format!("map {name}"))
}

pub(super) fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> Result<M>
where
    M::Error: std::error::Error + Send + Sync + 'static,
{
    let map = ebpf.take_map(name).with_context(|| format!("the object has no map {name}"))?;
    M::try_from(map).with_context(|| format!("map {name}"))
}

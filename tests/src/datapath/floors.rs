//! The object with the floors and the driver of benches, as `cargo xtask` builds it.

use std::path::PathBuf;

use super::program::xdp;
use anyhow::{Context as _, Result};
use aya::maps::Array;
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

/// Names the object.
pub const OBJECT_VARIABLE: &str = "XLVS_BENCH_OBJECT";

/// The object of driver and floors, its maps made; tables of floors with so many buckets.
pub fn open(buckets: u32) -> Result<Ebpf> {
    let path = std::env::var_os(OBJECT_VARIABLE)
        .map(PathBuf::from)
        .with_context(|| format!("{OBJECT_VARIABLE} names no object; start this with `cargo xtask`"))?;
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("BUCKETS", buckets);
    loader.load(&bytes).context("the kernel refuses the maps of the bench; it needs root")
}

/// The same, and those that load a bucket know how many there are, a power of two.
pub fn with_table(buckets: u32) -> Result<Ebpf> {
    let mut ebpf = open(buckets)?;
    let mask = ebpf.map_mut("BUCKET_MASK").context("the bench's object has no map BUCKET_MASK")?;
    Array::<_, u64>::try_from(mask)?.set(0, u64::from(buckets) - 1, 0)?;
    Ok(ebpf)
}

/// A program of the object, loaded.
pub fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    let program = xdp(ebpf, name)?;
    program.load().with_context(|| format!("the kernel refuses {name}"))?;
    Ok(program)
}

//! The data path on the workbench: a director as data, and two engines that put a frame through it.
//!
//! | engine | runs | where |
//! | --- | --- | --- |
//! | [`Native`] | the pipeline as a plain library, over ordinary memory, with a clock that tests set | everywhere |
//! | [`Program`](program::Program) | the object as the kernel verified and compiled it, by BPF_PROG_TEST_RUN | as root |
//!
//! Both are filled from the same `World` and run the same [`cases`].

pub mod cases;
pub mod conformance;
#[cfg(feature = "rig")]
pub mod driver;
#[cfg(feature = "rig")]
pub mod floors;
pub mod maps;
pub mod native;
#[cfg(feature = "rig")]
#[path = "../../../lb-ebpf/bench/plan.rs"]
pub mod plan;
#[cfg(feature = "rig")]
pub mod program;
pub mod region;
pub mod script;
pub mod world;

use anyhow::Result;
use lb_common::entry::{Counters, Incidents};

pub use native::Native;

use crate::fixture::Observation;
use world::{Side, World};

/// Something that runs frames through a data path.
pub trait Engine {
    /// Forgets connections, paths and counters' past; the clock stands at tick 1000.
    fn reset(&mut self) -> Result<()>;

    /// Makes this the world; what was stored stays.
    fn install(&mut self, world: &World) -> Result<()>;

    /// Lets so many fine ticks pass.
    fn pass(&mut self, ticks: u32) -> Result<()>;

    /// One frame comes in on this side.
    fn run(&mut self, from: Side, frame: &[u8]) -> Result<Observation>;
}

/// Where the clocks of engines begin.
pub const FIRST_TICK: u32 = 1000;

/// A server's counters under the names that fixtures use.
fn named(server: &str, counters: Counters) -> impl Iterator<Item = (String, i64)> {
    let fields = ["connections", "packets_in", "bytes_in", "packets_out", "bytes_out"];
    fields.into_iter().zip(counters.to_array()).map(move |(field, n)| (format!("{server}.{field}"), n as i64))
}

/// What befell a service, likewise.
fn befallen(service: &str, incidents: Incidents) -> impl Iterator<Item = (String, i64)> {
    let fields = ["denied", "rate_source", "rate_service", "missed", "adopted"];
    fields
        .into_iter()
        .zip(incidents.to_array())
        .map(move |(field, n)| (format!("{service}.{field}"), n as i64))
}

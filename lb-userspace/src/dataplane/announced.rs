//! Connections that the data path announces as they settle. It wakes nobody and drops what finds no room, which it counts
//! ([`Event::Unannounced`](lb_common::verdict::Event::Unannounced)); the connection table is the truth.

use std::time::Duration;

use anyhow::Result;
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use lb_common::identity::FlowId;
use lb_common::settled::Settled;

use super::capturer::monotonic_ns;
use super::maps::typed;

/// The agent's end of the ring. None where no program announces anything.
#[derive(Default)]
pub struct Announced(Option<RingBuf<MapData>>);

impl Announced {
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self> {
        typed(ebpf, "SETTLED").map(Some).map(Self)
    }

    /// The next ones, at most so many, and how long ago each settled. An agent before this one may have left some.
    pub fn take(&mut self, most: usize) -> Vec<(FlowId, Duration)> {
        let Some(ring) = &mut self.0 else { return Vec::new() };
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(record) = ring.next()
        {
            taken.extend(Settled::read(&record));
        }
        let now = if taken.is_empty() { 0 } else { monotonic_ns() };
        let age = |settled: Settled| (settled.flow, Duration::from_nanos(now.saturating_sub(settled.at)));
        taken.into_iter().map(age).collect()
    }
}

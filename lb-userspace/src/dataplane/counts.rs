//! What the program has counted, on all CPUs together.

use std::ops::Add;

use anyhow::{Context, Result};
use aya::maps::{MapData, PerCpuArray, PerCpuValues};
use aya::{Ebpf, Pod};
use lb_common::entry::{Counters, Incidents, Tally};
use lb_common::slot::ServerId;
use lb_common::verdict::{Event, Verdict};

use super::maps::{cpus, typed};

/// The counters.
#[derive(Default)]
pub struct Counts {
    verdicts: PerCpu<Tally>,
    events: PerCpu<u64>,
    servers: PerCpu<Counters>,
    incidents: PerCpu<Incidents>,
}

/// One map of them. None where no program counts.
struct PerCpu<V: Pod>(Option<PerCpuArray<MapData, V>>);

impl Counts {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            verdicts: PerCpu::take(ebpf, "VERDICTS")?,
            events: PerCpu::take(ebpf, "EVENTS")?,
            servers: PerCpu::take(ebpf, "SERVER_COUNTERS")?,
            incidents: PerCpu::take(ebpf, "INCIDENTS")?,
        })
    }

    /// # Errors
    /// What the kernel says about the look-up.
    pub fn verdict(&self, verdict: Verdict) -> Result<Tally> {
        self.verdicts.sum(verdict as u32).context("reading the verdict counters")
    }

    /// # Errors
    /// What the kernel says about the look-up.
    pub fn event(&self, event: Event) -> Result<u64> {
        self.events.sum(event as u32).context("reading the event counters")
    }

    /// Of a pair.
    ///
    /// # Errors
    /// What the kernel says about the look-up.
    pub fn server(&self, id: ServerId) -> Result<Counters> {
        self.servers.sum(id.index()).with_context(|| format!("reading the counters of id {}", id.get()))
    }

    /// What befell the service with this number.
    ///
    /// # Errors
    /// What the kernel says about the look-up.
    pub fn incidents(&self, service: u16) -> Result<Incidents> {
        self.incidents
            .sum(u32::from(service))
            .with_context(|| format!("reading what befell service {service}"))
    }

    /// Before the number is used again.
    ///
    /// # Errors
    /// What the kernel says about the update.
    pub fn clear_incidents(&mut self, service: u16) -> Result<()> {
        self.incidents
            .clear(u32::from(service))
            .with_context(|| format!("clearing what befell service {service}"))
    }

    /// Before a pair's id is used again.
    ///
    /// # Errors
    /// What the kernel says about the update.
    pub fn clear_server(&mut self, id: ServerId) -> Result<()> {
        self.servers.clear(id.index()).with_context(|| format!("clearing the counters of id {}", id.get()))
    }
}

impl<V: Pod + Default + Add<Output = V>> PerCpu<V> {
    fn take(ebpf: &mut Ebpf, name: &str) -> Result<Self> {
        typed(ebpf, name).map(Some).map(Self)
    }

    fn sum(&self, index: u32) -> Result<V> {
        let Some(map) = &self.0 else { return Ok(V::default()) };
        Ok(map.get(&index, 0)?.iter().fold(V::default(), |sum, one| sum + *one))
    }

    fn clear(&mut self, index: u32) -> Result<()> {
        let Some(map) = &mut self.0 else { return Ok(()) };
        let zero = PerCpuValues::try_from(vec![V::default(); cpus()?])?;
        Ok(map.set(index, zero, 0)?)
    }
}

impl<V: Pod> Default for PerCpu<V> {
    fn default() -> Self {
        Self(None)
    }
}

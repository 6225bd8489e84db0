//! The third loading of the object, which forwards like the first and tells of the frames that a filter lets through.
//!
//! It stands over the same pinned maps and takes the serving program's place behind the links while a capture runs, so that
//! who captures nothing pays nothing. Its filter has a deadline: past it the copy only serves, whatever has become of the
//! agent; the next agent puts its own program there.

use std::time::Duration;

use anyhow::{Context, Result};
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use lb_common::capture::{Captured, Filter};
use lb_common::net::{Addr, Port};
use lb_common::purpose::{Purpose, WATCH};
use lb_common::verdict::Verdict;

use super::attach::{Unverified, put_behind};
use super::maps::{mapped, typed};
use super::{MapSizes, Mapped, Object, Pins, stages};

/// The capturing copy of the program.
pub struct Capturer {
    ebpf: Ebpf,
    filter: Mapped<Filter>,
    ring: RingBuf<MapData>,
}

/// What frames are captured. `None`: whatever it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub client: Option<(Addr, Option<Port>)>,
    pub vip: Option<(Addr, Option<Port>)>,
    pub verdict: Option<Verdict>,
    /// Service numbers.
    pub services: Option<Vec<u16>>,
}

impl Capturer {
    /// Opens the maps of the copy; the pins must be there. What is returned loads it, and may do so on another thread.
    ///
    /// # Errors
    /// What the kernel or the checks say.
    pub fn loading(
        object: &Object,
        sizes: &MapSizes,
        pins: &Pins,
    ) -> Result<impl FnOnce() -> Result<Self> + Send + use<>> {
        let unverified = Unverified::open(object, sizes, Some(pins), Purpose::Capture)?;
        Ok(move || Self::of(unverified.verified()?))
    }

    fn of(mut ebpf: Ebpf) -> Result<Self> {
        let filter = mapped(&mut ebpf, "FILTER")?;
        let ring = typed(&mut ebpf, "RING")?;
        Ok(Self { ebpf, filter, ring })
    }

    /// Puts the copy behind the pinned links of these interfaces.
    ///
    /// # Errors
    /// What the kernel says, with the interface. Whoever serves is to be put back then.
    pub fn take_over<'i>(
        &mut self,
        pins: &Pins,
        interfaces: impl IntoIterator<Item = &'i str>,
    ) -> Result<()> {
        stages::pin(&self.ebpf, pins)?;
        for interface in interfaces {
            put_behind(&mut self.ebpf, WATCH, &pins.link(interface))
                .with_context(|| format!("putting the capturing copy behind {interface}"))?;
        }
        Ok(())
    }

    /// Sets what is captured.
    pub fn set(&self, wanted: &Wanted) {
        let filter = self.filter.only();
        filter.verdicts.store(wanted.verdict.map_or(u64::MAX, |verdict| 1 << verdict as u8));
        filter.client.set(wanted.client);
        filter.vip.set(wanted.vip);
        let bits = |word: usize| {
            let numbers =
                wanted.services.iter().flatten().filter(|number| usize::from(**number) / 64 == word);
            numbers.fold(0, |bits, number| bits | 1_u64 << (number % 64))
        };
        for (index, word) in filter.services.iter().enumerate() {
            word.store(bits(index));
        }
        filter.by_service.store(u64::from(wanted.services.is_some()));
    }

    /// Captures for so long from now, unless told otherwise by then. Zero ends it.
    pub fn lease(&self, time: Duration) {
        let until = if time.is_zero() { 0 } else { monotonic_ns() + time.as_nanos() as u64 };
        self.filter.only().until.store(until);
    }

    /// Hands over what was captured, up to so many frames, and forgets it.
    pub fn take(&mut self, most: usize, mut tell: impl FnMut(Captured<'_>)) {
        for _ in 0..most {
            let Some(record) = self.ring.next() else { return };
            if let Some(captured) = Captured::read(&record) {
                tell(captured);
            }
        }
    }

    /// Frames that found no room, ever.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.filter.only().lost.load()
    }
}

/// The clock by which frames are captured, ns.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

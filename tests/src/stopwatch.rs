//! Time that this thread had a processor: what others take of a busy machine does not count.

use anyhow::{Context as _, Result};
use nix::time::{ClockId, clock_gettime};

#[derive(Clone, Copy)]
pub struct Stopwatch(i64);

impl Stopwatch {
    pub fn start() -> Result<Self> {
        Ok(Self(now()?))
    }

    /// Nanoseconds since the start.
    pub fn nanoseconds(self) -> Result<f64> {
        Ok((now()? - self.0) as f64)
    }

    pub fn milliseconds(self) -> Result<f64> {
        Ok(self.nanoseconds()? / 1e6)
    }
}

fn now() -> Result<i64> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("cannot read the thread's clock")?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

//! How long this machine's processors worked, whoever for: forwarding is charged to whom it interrupts, so nothing smaller
//! tells what a request has cost.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// A moment in the machine's accounts.
pub struct Processors {
    busy: f64,
    at: Instant,
}

/// What they did since a moment.
#[derive(Clone, Copy)]
pub struct Worked {
    /// Processor time, seconds.
    pub busy: f64,
    /// Part of all processors' time.
    pub share: f64,
}

impl Processors {
    pub fn now() -> Result<Self> {
        Ok(Self { busy: busy()?, at: Instant::now() })
    }

    pub fn worked(&self) -> Result<Worked> {
        let (busy, took) = (busy()? - self.busy, self.at.elapsed().as_secs_f64());
        let processors = std::thread::available_parallelism().context("cannot count processors")?.get();
        Ok(Worked { busy, share: busy / (took * processors as f64) })
    }
}

/// Seconds since the machine started.
fn busy() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let ticks = busy_ticks(&text).context("cannot understand /proc/stat")?;
    let second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("no clock tick")?;
    Ok(ticks as f64 / second as f64)
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal, and guests', which user has already. Stolen time
/// went to another machine.
fn busy_ticks(text: &str) -> Option<u64> {
    let mut fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let mut next = || fields.next()?.parse::<u64>().ok();
    let (user, nice, system) = (next()?, next()?, next()?);
    let (_idle, _waiting) = (next()?, next()?);
    Some(user + nice + system + next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waiting_and_stolen_time_is_not_work() {
        assert_eq!(
            busy_ticks("cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\ncpu0 1 1\n"),
            Some(7_600_321)
        );
        assert_eq!(busy_ticks("intr 1 2 3\n"), None);
    }
}

//! Coarse time for the flow table: one word that the program advances by itself, so that ages move on without the agent.
//!
//! A *tick* is 2^30 ns (about 1.07 s). The clock is not the machine's: it moves at most one tick per advance and resumes
//! from its stored value, so neither a frozen machine nor a dead agent nor a restart can make entries look old at once.

use crate::word::Word;

/// Nanoseconds of one fine tick, a power of two so that no division is needed.
pub const TICK_NS: u64 = 1 << 30;
/// Fine ticks in one coarse tick (established connections): about 69 s.
pub const COARSE_TICKS: u32 = 64;
/// The agent counts as alive while its heartbeat is at most this many ticks behind the machine's clock.
pub const HEARTBEAT_LIMIT: u32 = 5;
/// The program looks at the machine's clock on each miss, and on every packet whose count is a multiple of this.
pub const LOOK_EVERY: u64 = 64;

/// The map value: written by program and agent.
#[repr(C)]
#[derive(Debug)]
pub struct Clock {
    /// Ticks so far (upper half) and the machine's tick at the last advance (lower half).
    time: Word,
    /// The machine's tick at the agent's last sign of life.
    heartbeat: Word,
    /// Wall clock (Unix seconds) of the same moment, for "since when has nobody looked".
    heartbeat_unix: Word,
    /// The tick in which the data path last wrote a line to the log.
    logged: Word,
}

/// A reading of the clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    ticks: u32,
    machine: u32,
}

impl Clock {
    #[must_use]
    pub const fn new() -> Self {
        Self {
            time: Word::new(0),
            heartbeat: Word::new(0),
            heartbeat_unix: Word::new(0),
            logged: Word::new(0),
        }
    }

    #[must_use]
    #[inline(always)]
    pub fn now(&self) -> Now {
        let word = self.time.load();
        Now { ticks: (word >> 32) as u32, machine: word as u32 }
    }

    /// Moves the clock on by one tick if the machine's clock (monotonic, ns) shows another tick than at the last advance.
    /// Of several CPUs that try at once, one succeeds. Says whether this call moved it.
    #[inline(always)]
    pub fn advance(&self, machine_ns: u64) -> bool {
        let seen = self.time.load();
        let machine = (machine_ns / TICK_NS) as u32;
        if machine == seen as u32 {
            return false;
        }
        let ticks = ((seen >> 32) as u32).wrapping_add(1);
        self.time.replace(seen, (u64::from(ticks) << 32) | u64::from(machine))
    }

    /// The agent's sign of life.
    pub fn beat(&self, machine_ns: u64, unix_seconds: u64) {
        self.heartbeat.store(machine_ns / TICK_NS);
        self.heartbeat_unix.store(unix_seconds);
    }

    /// Whether the agent has lately shown that it lives, as far as the clock knows the time.
    #[must_use]
    #[inline(always)]
    pub fn agent_lives(&self, now: Now) -> bool {
        now.machine.wrapping_sub(self.heartbeat.load() as u32) as i32 <= HEARTBEAT_LIMIT as i32
    }

    /// Whether the data path may write to the log now: one line a tick, whatever happens.
    #[inline(always)]
    pub fn may_log(&self) -> bool {
        let tick = self.time.load() >> 32;
        let seen = self.logged.load();
        seen != tick + 1 && self.logged.replace(seen, tick + 1)
    }

    /// Unix seconds of the agent's last sign of life; `None` if there never was one.
    #[must_use]
    pub fn last_beat(&self) -> Option<u64> {
        Some(self.heartbeat_unix.load()).filter(|seconds| *seconds != 0)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Now {
    #[must_use]
    pub const fn at_tick(ticks: u32) -> Self {
        Self { ticks, machine: 0 }
    }

    /// Fine ticks so far, for stamps that are packed by their owner.
    #[must_use]
    #[inline(always)]
    pub const fn ticks(self) -> u64 {
        self.ticks as u64
    }

    /// Age stamp of *new* and *answered* entries: seven bits of fine ticks.
    #[must_use]
    #[inline(always)]
    pub const fn fine7(self) -> u8 {
        (self.ticks & 0x7f) as u8
    }

    /// Age stamp of *closing* entries: eight bits of fine ticks.
    #[must_use]
    #[inline(always)]
    pub const fn fine(self) -> u8 {
        self.ticks as u8
    }

    /// Age stamp of *established* and *half-closed* entries: eight bits of coarse ticks.
    #[must_use]
    #[inline(always)]
    pub const fn coarse(self) -> u8 {
        (self.ticks / COARSE_TICKS) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_tick_goes_to_the_log() {
        let clock = Clock::new();
        assert_eq!([clock.may_log(), clock.may_log(), clock.may_log()], [true, false, false]);
        assert!(clock.advance(TICK_NS));
        assert_eq!([clock.may_log(), clock.may_log()], [true, false]);
    }

    #[test]
    fn one_step_at_a_time_however_long_the_pause() {
        let clock = Clock::new();
        assert!(clock.advance(1_000 * TICK_NS));
        assert!(!clock.advance(1_000 * TICK_NS + 5));
        assert!(clock.advance(5_000 * TICK_NS));
        assert_eq!(clock.now().fine(), 2);
    }

    #[test]
    fn a_heartbeat_grows_old_only_when_the_clock_sees_it() {
        let clock = Clock::new();
        clock.beat(100 * TICK_NS, 1);
        clock.advance(103 * TICK_NS);
        assert!(clock.agent_lives(clock.now()));
        clock.advance(110 * TICK_NS);
        assert!(!clock.agent_lives(clock.now()));
    }
}

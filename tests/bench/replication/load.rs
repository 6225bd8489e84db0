//! Connections that come and go at a steady rate, and how long each stays unknown to a peer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::cluster::{Director, flow};

/// Between two batches.
const BEAT: Duration = Duration::from_millis(1);
/// The agent writes what changed to the data path so often.
const AGENT: Duration = Duration::from_millis(10);

/// So many new connections a second, and as many that end.
pub struct Load<'a> {
    director: &'a Director,
    rate: u64,
    /// Connections with these numbers are alive.
    oldest: u64,
    next: u64,
    begun: Instant,
    published: u64,
    cleared: Instant,
}

impl<'a> Load<'a> {
    /// The director has published the connections `alive`.
    pub fn new(director: &'a Director, rate: u64, alive: std::ops::Range<u64>) -> Self {
        let begun = Instant::now();
        Self { director, rate, oldest: alive.start, next: alive.end, begun, published: 0, cleared: begun }
    }

    /// Waits a moment, then does what has fallen due since; when, and how many were new.
    pub fn step(&mut self, others: &[&Director]) -> Result<(Instant, u64)> {
        std::thread::sleep(BEAT);
        let now = Instant::now();
        let due = (self.begun.elapsed().as_secs_f64() * self.rate as f64) as u64 - self.published;
        let (oldest, next) = (self.oldest, self.next);
        self.director.desk.with(|it| {
            (oldest..oldest + due).for_each(|number| it.withdraw(flow(number), now));
            (next..next + due)
                .try_for_each(|number| it.publish(flow(number), super::cluster::connection(number), now))
        })?;
        self.oldest += due;
        self.next += due;
        self.published += due;
        if self.cleared.elapsed() >= AGENT {
            self.cleared = now;
            others.iter().chain([&self.director]).for_each(|director| director.forget_changes());
        }
        Ok((now, due))
    }
}

/// Batches without an acknowledgement, and how long the others waited for theirs.
#[derive(Default)]
pub struct Waiting {
    pending: VecDeque<(Instant, u64)>,
    waited: Vec<(Duration, u64)>,
    /// More had changed than is kept for a peer, and it has not got yet what differs.
    overflown: bool,
    /// How often.
    pub overflows: u32,
}

impl Waiting {
    pub fn sent(&mut self, at: Instant, count: u64) {
        self.pending.push_back((at, count));
    }

    pub fn none(&self) -> bool {
        self.pending.is_empty()
    }

    /// `oldest` is the age of the oldest change that is not acknowledged; `stale`, that so much has changed that the peer will be
    /// told what differs, after which only `level` says that it has everything.
    pub fn look(&mut self, now: Instant, oldest: Option<Duration>, stale: bool, level: bool) {
        self.overflows += u32::from(stale && !self.overflown);
        self.overflown = stale || (self.overflown && !level);
        if self.overflown {
            return;
        }
        while let Some(&(at, count)) = self.pending.front()
            && oldest.is_none_or(|age| at + age < now)
        {
            self.pending.pop_front();
            self.waited.push((now - at, count));
        }
    }

    /// The time within which this part of all changes was acknowledged, ms.
    pub fn quantile(&mut self, part: f64) -> f64 {
        self.waited.sort_unstable();
        let all: u64 = self.waited.iter().map(|(_, count)| count).sum();
        let mut seen = 0;
        let reached = self.waited.iter().find(|(_, count)| {
            seen += count;
            seen as f64 >= all as f64 * part
        });
        reached.map_or(f64::NAN, |(waited, _)| waited.as_secs_f64() * 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_older_than_the_oldest_unacknowledged_has_been_acknowledged() {
        let (begun, ms) = (Instant::now(), Duration::from_millis);
        let mut waiting = Waiting::default();
        for (at, count) in [(0, 98), (10, 1), (20, 1)] {
            waiting.sent(begun + ms(at), count);
        }
        waiting.look(begun + ms(20), Some(ms(10)), false, false);
        assert_eq!((waiting.pending.len(), waiting.quantile(0.5)), (2, 20.0));
        // After too much has changed, nothing is on its way and nothing is known either.
        waiting.look(begun + ms(25), None, true, false);
        waiting.look(begun + ms(26), None, false, false);
        assert_eq!((waiting.pending.len(), waiting.overflows), (2, 1));
        waiting.look(begun + ms(30), None, false, true);
        assert_eq!((waiting.quantile(0.99), waiting.quantile(1.0)), (20.0, 20.0));
        assert_eq!(waiting.quantile(0.0), 10.0);
    }
}

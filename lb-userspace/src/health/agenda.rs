//! When each check is due: spreading first probes, jitter between later ones, and the queue in order of time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;

/// First probes start this far apart: 20 servers begin within 10 ms, and 2,000 within a second without a burst of SYNs.
const SPACING: Duration = Duration::from_micros(500);

/// Later probes are this much early or late, so that checks that began together do not stay together.
const JITTER: f64 = 0.1;

/// How long after the first the `nth` of `total` new checks starts; all of them within half their interval.
pub(super) fn first_offset(nth: usize, total: usize, interval: Duration) -> Duration {
    let spacing = SPACING.min(interval / 2 / u32::try_from(total.max(1)).unwrap_or(u32::MAX));
    spacing * u32::try_from(nth).unwrap_or(u32::MAX)
}

/// The wait from one probe's start to the next; `chance` is uniform in 0..1.
pub(super) fn jittered(interval: Duration, chance: f64) -> Duration {
    interval.mul_f64(1.0 + JITTER * (2.0 * chance - 1.0))
}

/// Appointments in order of time. One that was moved or cancelled stays in the queue with an outdated ticket, which
/// its owner recognises when it comes up.
#[derive(Debug)]
pub(super) struct Agenda<K> {
    queue: BinaryHeap<Appointment<K>>,
}

/// A due check. `ticket` tells whether it is still the owner's latest.
#[derive(Debug)]
pub(super) struct Appointment<K> {
    pub(super) due: Instant,
    pub(super) ticket: u64,
    pub(super) key: K,
}

impl<K> Agenda<K> {
    pub(super) fn new() -> Self {
        Self { queue: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, due: Instant, ticket: u64, key: K) {
        self.queue.push(Appointment { due, ticket, key });
    }

    /// When the next appointment is.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.peek().map(|first| first.due)
    }

    /// Takes the first appointment if its time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Appointment<K>> {
        if self.next_due()? <= now { self.queue.pop() } else { None }
    }
}

// Earliest first: BinaryHeap gives out the greatest.
impl<K> Ord for Appointment<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.due, other.ticket).cmp(&(self.due, self.ticket))
    }
}

impl<K> PartialOrd for Appointment<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> PartialEq for Appointment<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K> Eq for Appointment<K> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_few_start_at_once_and_thousands_within_half_an_interval() {
        let interval = Duration::from_secs(2);
        assert_eq!(first_offset(0, 1, interval), Duration::ZERO);
        assert!(first_offset(19, 20, interval) < Duration::from_millis(10));
        assert!(first_offset(9_999, 10_000, interval) < interval / 2);
        assert!(first_offset(9_999, 10_000, interval) > interval / 4, "spread, not bunched");
    }

    proptest! {
        #[test]
        fn jitter_stays_within_a_tenth(millis in 1u64..100_000, chance in 0.0f64..1.0) {
            let interval = Duration::from_millis(millis);
            let wait = jittered(interval, chance);
            prop_assert!(wait >= interval.mul_f64(0.899) && wait <= interval.mul_f64(1.101), "{wait:?}");
        }

        #[test]
        fn appointments_come_in_order_and_not_early(delays in prop::collection::vec(0u64..1000, 0..50), at in 0u64..1000) {
            let start = Instant::now();
            let mut agenda = Agenda::new();
            for (ticket, &delay) in delays.iter().enumerate() {
                agenda.add(start + Duration::from_millis(delay), ticket as u64, delay);
            }
            let now = start + Duration::from_millis(at);
            let taken: Vec<u64> = std::iter::from_fn(|| agenda.take_due(now)).map(|due| due.key).collect();
            let mut expected: Vec<u64> = delays.into_iter().filter(|&delay| delay <= at).collect();
            expected.sort_unstable();
            prop_assert_eq!(taken, expected);
        }
    }
}

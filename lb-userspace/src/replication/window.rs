//! For how long a peer does not know of a connection that has settled here: what it would lose if this director died meanwhile.

use std::time::Duration;

/// The longest time of each bucket but the last, which has no bound, ms.
const BOUNDS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/// How many connections had to wait so long until the peer had acknowledged them, since the agent started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Window {
    counts: [u64; BOUNDS.len() + 1],
}

impl Window {
    pub(super) fn note(&mut self, time: Duration) {
        self.counts[BOUNDS.partition_point(|bound| Duration::from_millis(*bound) < time)] += 1;
    }

    /// Of each bucket, its bound and how many there were.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        BOUNDS.into_iter().map(Duration::from_millis).map(Some).chain([None]).zip(self.counts)
    }

    /// The bound that so many of a hundred kept to; `None` where there were none, or that bucket has no bound.
    pub fn percentile(&self, percent: u64) -> Option<Duration> {
        let all: u64 = self.counts.iter().sum();
        let mut below = 0;
        let reached = |(_, count): &(Option<Duration>, u64)| {
            below += count;
            below * 100 >= all * percent
        };
        self.buckets().find(reached).filter(|_| all > 0)?.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(milliseconds: impl IntoIterator<Item = u64>) -> Window {
        let mut window = Window::default();
        milliseconds.into_iter().for_each(|time| window.note(Duration::from_millis(time)));
        window
    }

    #[test]
    fn a_time_is_in_the_first_bucket_whose_bound_it_keeps_to() {
        let counted: Vec<_> =
            of([0, 1, 2, 3, 1000, 1001, 9000]).buckets().filter(|(_, count)| *count > 0).collect();
        let bound = |milliseconds| Some(Duration::from_millis(milliseconds));
        assert_eq!(counted, [(bound(1), 2), (bound(2), 1), (bound(5), 1), (bound(1000), 1), (None, 2)]);
    }

    #[test]
    fn a_percentile_is_the_bound_that_so_many_kept_to() {
        let percentiles = |window: Window| [50, 99].map(|percent| window.percentile(percent));
        let bound = |milliseconds| Some(Duration::from_millis(milliseconds));
        assert_eq!(percentiles(of([])), [None; 2]);
        assert_eq!(percentiles(of([7])), [bound(10); 2]);
        // Of a hundred, one may be late; the second shows.
        assert_eq!(percentiles(of((0..99).map(|_| 4).chain([300]))), [bound(5); 2]);
        assert_eq!(percentiles(of((0..98).map(|_| 4).chain([300, 300]))), [bound(5), bound(500)]);
        assert_eq!(percentiles(of((0..98).map(|_| 4).chain([5000, 5000]))), [bound(5), None]);
    }
}

//! How much goes between this director and each other one in a second, from what has gone in all.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::replication::traffic::Traffic;
use crate::replication::version::NodeId;

/// Intervals of a second over which a rate is taken.
const INTERVALS: usize = 5;

/// The last readings of each peer's counters.
#[derive(Debug, Default)]
pub struct Pace(BTreeMap<NodeId, VecDeque<(Instant, Traffic)>>);

/// Two readings, and the seconds between them.
pub struct Span {
    pub earlier: Traffic,
    pub later: Traffic,
    pub seconds: f64,
}

impl Pace {
    /// The counters stand so now; to be said each second.
    pub fn read(&mut self, peer: NodeId, traffic: Traffic, now: Instant) {
        let readings = self.0.entry(peer).or_default();
        readings.push_back((now, traffic));
        if readings.len() > INTERVALS + 1 {
            readings.pop_front();
        }
    }

    /// The last seconds of this peer; `None` before there are two readings.
    pub fn of(&self, peer: NodeId) -> Option<Span> {
        let readings = self.0.get(&peer)?;
        let ((since, earlier), (until, later)) = (*readings.front()?, *readings.back()?);
        let seconds = until.saturating_duration_since(since).as_secs_f64();
        (seconds > 0.0).then_some(Span { earlier, later, seconds })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_is_of_the_last_seconds_alone() {
        let (mut pace, peer, begun) = (Pace::default(), NodeId::of("lb2"), Instant::now());
        let mut traffic = Traffic::default();
        let mut read = |second: u64, records| {
            traffic.sent.records += records;
            pace.read(peer, traffic, begun + Duration::from_secs(second));
            pace.of(peer).map(|span| (span.later.sent.records - span.earlier.sent.records, span.seconds))
        };
        assert_eq!(read(0, 7), None, "what went before it was looked at has no time");
        assert_eq!(read(1, 100), Some((100, 1.0)));
        assert_eq!(read(2, 100), Some((200, 2.0)));
        for second in 3..10 {
            read(second, 0);
        }
        assert_eq!(read(10, 0), Some((0, 5.0)));
    }
}

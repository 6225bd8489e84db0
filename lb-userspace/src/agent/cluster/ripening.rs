//! Connections that are too young to be told of (`replicate_after`), and since when each has been there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lb_common::identity::FlowId;

/// By the place in the table, which is looked at once a round.
#[derive(Debug, Default)]
pub struct Ripening {
    since: HashMap<u32, Young>,
    round: u64,
}

#[derive(Debug)]
struct Young {
    flow: FlowId,
    since: Instant,
    /// When it was seen last.
    round: u64,
}

impl Ripening {
    /// Whether the connection in this place has been there for so long; it is then forgotten.
    pub fn is_ripe(&mut self, place: u32, flow: FlowId, after: Duration, now: Instant) -> bool {
        if after.is_zero() {
            return true;
        }
        let round = self.round;
        let young = self.since.entry(place).or_insert(Young { flow, since: now, round });
        if young.flow != flow {
            (young.flow, young.since) = (flow, now);
        }
        young.round = round;
        let ripe = now.saturating_duration_since(young.since) >= after;
        if ripe {
            self.since.remove(&place);
        }
        ripe
    }

    /// The whole table has been looked at: what was not there is forgotten.
    pub fn end_round(&mut self) {
        let round = self.round;
        self.since.retain(|_, young| young.round == round);
        self.round += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_ripens_where_it_stands_and_another_one_begins_anew() {
        let (start, after) = (Instant::now(), Duration::from_secs(3));
        let at = |seconds| start + Duration::from_secs(seconds);
        let [one, other] = [1, 2].map(FlowId::from_bits);
        let mut ripening = Ripening::default();
        assert!(ripening.is_ripe(7, one, Duration::ZERO, at(0)), "nothing is waited for");
        assert!(!ripening.is_ripe(7, one, after, at(0)));
        assert!(!ripening.is_ripe(7, one, after, at(2)));
        assert!(!ripening.is_ripe(7, other, after, at(3)), "its place was given away");
        assert!(ripening.is_ripe(7, other, after, at(6)));
        assert!(ripening.since.is_empty());
    }

    #[test]
    fn who_is_gone_for_a_round_is_forgotten() {
        let (now, after) = (Instant::now(), Duration::from_secs(3));
        let mut ripening = Ripening::default();
        assert!(!ripening.is_ripe(7, FlowId::from_bits(1), after, now));
        ripening.end_round();
        ripening.end_round();
        assert!(!ripening.is_ripe(7, FlowId::from_bits(1), after, now + after), "it is another one");
    }
}

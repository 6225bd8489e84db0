//! Which own records a peer has yet to be told of.

use std::collections::BTreeSet;
use std::time::Instant;

use lb_common::identity::FlowId;

/// Told round by round: what changes during a round waits for the next one, or else the last in order would never have their turn
/// while the first keep changing.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    round: Round,
    next: Round,
}

#[derive(Debug, Default)]
struct Round {
    flows: BTreeSet<FlowId>,
    /// When the first of them changed.
    since: Option<Instant>,
}

impl Dirty {
    /// This record has changed. One whose turn is still to come is told as it will be then.
    pub fn mark(&mut self, flow: FlowId, now: Instant) {
        if !self.round.flows.contains(&flow) && self.next.flows.insert(flow) {
            self.next.since.get_or_insert(now);
        }
    }

    /// Whether this record has changed and is not told.
    pub fn has(&self, flow: FlowId) -> bool {
        self.round.flows.contains(&flow) || self.next.flows.contains(&flow)
    }

    /// The next one to be told.
    pub fn pop(&mut self) -> Option<FlowId> {
        if self.round.flows.is_empty() {
            self.round = std::mem::take(&mut self.next);
        }
        self.round.flows.pop_first()
    }

    /// When the oldest change happened, at the latest.
    pub fn since(&self) -> Option<Instant> {
        if self.round.flows.is_empty() { self.next.since } else { self.round.since }
    }

    pub fn len(&self) -> usize {
        self.round.flows.len() + self.next.flows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.round.flows.is_empty() && self.next.flows.is_empty()
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_last_in_order_has_a_turn_while_the_first_keep_changing() {
        let (mut dirty, begun) = (Dirty::default(), Instant::now());
        let flow = FlowId::from_bits;
        dirty.mark(flow(9), begun);
        for (round, number) in (1..).zip([1, 2, 3]) {
            dirty.mark(flow(number), begun + Duration::from_secs(round));
        }
        assert_eq!((dirty.pop(), dirty.since()), (Some(flow(1)), Some(begun)));
        let again = begun + Duration::from_secs(10);
        // The one that was told is for the next round, the one that was not is told as it is now.
        dirty.mark(flow(1), again);
        dirty.mark(flow(2), again);
        let told: Vec<_> = std::iter::from_fn(|| dirty.pop()).take(3).collect();
        assert_eq!(told, [2, 3, 9].map(flow));
        assert_eq!((dirty.len(), dirty.since()), (1, Some(again)));
        assert_eq!((dirty.pop(), dirty.pop(), dirty.since()), (Some(flow(1)), None, None));
    }
}

//! Equal or not, in 4096 numbers: a sum of fingerprints for each bucket of flow ids.

use std::time::Instant;

use lb_common::identity::{FLOW_ID_BITS, FlowId};

use super::record::{ByKind, Kind};

/// Buckets of a digest.
pub const BUCKETS: usize = 4096;
const SHIFT: u32 = FLOW_ID_BITS - BUCKETS.trailing_zeros();

/// The bucket of a flow id: its top bits, so that a bucket is a range.
pub fn bucket_of(flow: FlowId) -> u16 {
    (flow.bits() >> SHIFT) as u16
}

/// First and last flow id of a bucket.
pub fn range_of(bucket: u16) -> (FlowId, FlowId) {
    let first = u64::from(bucket) << SHIFT;
    (FlowId::from_bits(first), FlowId::from_bits(first + (1 << SHIFT) - 1))
}

/// What a director holds of one origin, kept up to date record by record.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// Live records in all buckets.
    pub live: ByKind,
    sums: Box<[u64]>,
    vouched: Box<[Option<Instant>]>,
}

impl Ledger {
    pub fn new() -> Self {
        Self { live: ByKind::NONE, sums: vec![0; BUCKETS].into(), vouched: vec![None; BUCKETS].into() }
    }

    /// The sums that are not zero, by bucket.
    pub fn sums(&self) -> Vec<(u16, u64)> {
        (0..).zip(&*self.sums).filter(|(_, sum)| **sum != 0).map(|(bucket, sum)| (bucket, *sum)).collect()
    }

    pub fn add(&mut self, kind: Kind, bucket: u16, fingerprint: u64) {
        *self.live.of_mut(kind) += 1;
        self.sums[usize::from(bucket)] = self.sums[usize::from(bucket)].wrapping_add(fingerprint);
    }

    pub fn remove(&mut self, kind: Kind, bucket: u16, fingerprint: u64) {
        *self.live.of_mut(kind) -= 1;
        self.sums[usize::from(bucket)] = self.sums[usize::from(bucket)].wrapping_sub(fingerprint);
    }

    /// When the origin last showed that it holds just these records of the bucket.
    pub fn vouched(&self, bucket: u16) -> Option<Instant> {
        self.vouched[usize::from(bucket)]
    }

    /// The origin vouches for all buckets but these, which ascend.
    pub fn vouch(&mut self, differing: &[u16], now: Instant) {
        let mut differing = differing.iter().peekable();
        for (bucket, vouched) in (0..).zip(&mut self.vouched) {
            if differing.next_if_eq(&&bucket).is_none() {
                *vouched = Some(now);
            }
        }
    }

    pub fn forget_vouching(&mut self, bucket: u16) {
        self.vouched[usize::from(bucket)] = None;
    }
}

/// The buckets in which two digests differ; nothing held is a digest of zeros. `None` if theirs is none: its buckets ascend.
pub(super) fn divergent(mine: Option<&Ledger>, theirs: &[(u16, u64)]) -> Option<Vec<u16>> {
    let in_range = theirs.last().is_none_or(|(bucket, _)| usize::from(*bucket) < BUCKETS);
    if !in_range || !theirs.is_sorted_by(|(a, _), (b, _)| a < b) {
        return None;
    }
    let mut theirs = theirs.iter().peekable();
    let mut differ = Vec::new();
    for bucket in 0..BUCKETS as u16 {
        let theirs = theirs.next_if(|(at, _)| *at == bucket).map_or(0, |(_, sum)| *sum);
        if theirs != mine.map_or(0, |ledger| ledger.sums[usize::from(bucket)]) {
            differ.push(bucket);
        }
    }
    Some(differ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_ranges_without_gaps() {
        let mut expected = 0;
        for bucket in 0..BUCKETS as u16 {
            let (first, last) = range_of(bucket);
            assert_eq!(first.bits(), expected);
            assert_eq!((bucket_of(first), bucket_of(last)), (bucket, bucket));
            expected = last.bits() + 1;
        }
        assert_eq!(expected, 1 << FLOW_ID_BITS);
    }

    #[test]
    fn just_the_buckets_that_differ_are_named() {
        let (mut mine, mut theirs) = (Ledger::new(), Ledger::new());
        for (bucket, fingerprint) in [(0, 5), (7, 6), (7, 8), (4095, 9)] {
            mine.add(Kind::Connection, bucket, fingerprint);
            theirs.add(Kind::Connection, bucket, fingerprint);
        }
        assert_eq!(divergent(Some(&mine), &theirs.sums()), Some(vec![]));
        theirs.remove(Kind::Connection, 7, 6);
        mine.remove(Kind::Connection, 4095, 9);
        assert_eq!(divergent(Some(&mine), &theirs.sums()), Some(vec![7, 4095]));
        assert_eq!(divergent(None, &theirs.sums()), Some(vec![0, 7, 4095]));
        assert_eq!(divergent(None, &[(4096, 1)]), None);
        assert_eq!(divergent(None, &[(2, 1), (1, 1)]), None);
    }
}

//! The turns of a weighted rotation: who is next, and next, and so on round and round.
//!
//! Each server's turns are spread evenly over the round: the k-th of a server of weight w comes at (k + 1/2) / w of it. So of
//! any stretch of the round each server has its share, give or take one turn for each that is among them.

use alloc::vec::Vec;

use crate::maglev::Share;

/// One round for servers with these weights, in at most so many turns; empty if nobody has weight. The weights are first
/// divided by what they have in common. If their sum is still too large, the turns of all are scaled down, but nobody's to none.
#[must_use]
pub fn turns(shares: &[Share], most: usize) -> Vec<u16> {
    let weights = || shares.iter().map(|share| u64::from(share.weight)).filter(|weight| *weight > 0);
    let Some(common) = weights().reduce(common_divisor) else { return Vec::new() };
    let sum = weights().sum::<u64>() / common;
    let scaled = |weight: u32| match u64::from(weight) / common {
        0 => 0,
        whole if sum <= most as u64 => whole,
        whole => (whole * most as u64 / sum).max(1),
    };
    let mut turns: Vec<(u64, u64, u16)> = Vec::new();
    for share in shares {
        let own = scaled(share.weight);
        // Where a turn is in the round, in parts of 2^40; ties go by name, so that every director has the same round.
        turns.extend((0..own).map(|turn| (((2 * turn + 1) << 40) / (2 * own), share.name_hash, share.id)));
    }
    turns.sort_unstable();
    turns.truncate(most);
    turns.into_iter().map(|(.., id)| id).collect()
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use proptest::prelude::*;

    use super::*;

    fn shares(weights: &[u32]) -> Vec<Share> {
        let share =
            |(i, weight): (usize, &u32)| Share { name_hash: i as u64, weight: *weight, id: i as u16 + 1 };
        weights.iter().enumerate().map(share).collect()
    }

    #[test]
    fn equal_weights_take_turns_one_by_one() {
        assert_eq!(turns(&shares(&[7, 7, 7]), 100), vec![1, 2, 3]);
        assert_eq!(turns(&shares(&[0, 0]), 100), vec![]);
        assert_eq!(turns(&shares(&[2, 0, 1]), 100), vec![1, 3, 1]);
    }

    #[test]
    fn rounds_that_are_too_long_are_scaled() {
        let turns = turns(&shares(&[1000, 999, 1]), 100);
        let count = |id| turns.iter().filter(|turn| **turn == id).count();
        assert!(turns.len() <= 100 && count(1) >= 49 && count(2) >= 48 && count(3) == 1, "{turns:?}");
    }

    proptest! {
        #[test]
        fn any_stretch_gives_each_its_share(weights in proptest::collection::vec(0u32..20, 1..8), from: usize, length in 1usize..200) {
            let round = turns(&shares(&weights), 1000);
            prop_assume!(!round.is_empty());
            let sum: u32 = weights.iter().sum();
            for (i, weight) in weights.iter().enumerate() {
                let had = (0..length).filter(|turn| round[(from % round.len() + turn) % round.len()] == i as u16 + 1).count();
                let share = length as f64 * f64::from(*weight) / f64::from(sum);
                prop_assert!((had as f64 - share).abs() <= 2.0 + weights.len() as f64, "{i}: {had} of {share}");
            }
        }
    }
}

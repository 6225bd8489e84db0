//! Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4), weighted, over names.
//!
//! Each server walks its own permutation of the table, given by its name alone, and takes the next free place when it
//! has saved up enough weight. The result depends on the set of (name hash, weight) and the size, never on the order in
//! which servers are given, so every director builds the same table.

use alloc::{vec, vec::Vec};

use crate::identity::mix;

/// Table sizes, all prime, far apart so that a size rarely changes: at least 1,000 places a server up to 65,537 places,
/// then at least 100.
pub const SIZES: [u32; 4] = [16_381, 65_537, 262_147, 1_048_573];

/// The size for so many configured servers.
#[must_use]
pub const fn size_for(servers: usize) -> u32 {
    match servers {
        0..=16 => SIZES[0],
        17..=655 => SIZES[1],
        656..=2621 => SIZES[2],
        _ => SIZES[3],
    }
}

/// Whether a table may be so large: a prime, or a server's walk would not come to every place.
#[must_use]
pub fn is_size(size: u32) -> bool {
    (2..=SIZES[3]).contains(&size)
        && (2..).take_while(|by| by * by <= size).all(|by| !size.is_multiple_of(by))
}

/// One server that wants its share.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// Cluster identity; two servers of one service must differ in it.
    pub name_hash: u64,
    /// 0 takes no place.
    pub weight: u32,
    /// What is written into the table.
    pub id: u16,
}

/// The table: `size` ids, or all zero if nobody has weight. `size` must be prime.
#[must_use]
pub fn table(shares: &[Share], size: u32) -> Vec<u16> {
    let mut table = vec![0; size as usize];
    let mut walkers: Vec<Walker> =
        shares.iter().filter(|share| share.weight > 0).map(|share| Walker::new(*share, size)).collect();
    walkers.sort_unstable_by_key(|walker| walker.name_hash);
    let Some(heaviest) = walkers.iter().map(|walker| walker.weight).max() else { return table };

    let mut free = size;
    while free > 0 {
        for walker in &mut walkers {
            walker.saved += walker.weight;
            if walker.saved < heaviest {
                continue;
            }
            walker.saved -= heaviest;
            walker.take(&mut table);
            free -= 1;
            if free == 0 {
                break;
            }
        }
    }
    table
}

struct Walker {
    name_hash: u64,
    id: u16,
    weight: u64,
    saved: u64,
    next: u32,
    skip: u32,
    size: u32,
}

impl Walker {
    fn new(share: Share, size: u32) -> Self {
        let offset = mix(share.name_hash ^ 0x6f66_6673_6574);
        let skip = mix(share.name_hash ^ 0x736b_6970);
        Self {
            name_hash: share.name_hash,
            id: share.id,
            weight: u64::from(share.weight),
            saved: 0,
            next: (offset % u64::from(size)) as u32,
            skip: (skip % u64::from(size - 1)) as u32 + 1,
            size,
        }
    }

    /// Takes the next free place of its permutation; the caller knows that there is one.
    fn take(&mut self, table: &mut [u16]) {
        loop {
            let place = self.next as usize;
            self.next += self.skip;
            if self.next >= self.size {
                self.next -= self.size;
            }
            if table[place] == 0 {
                table[place] = self.id;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::name_hash;

    fn shares(weights: &[u32]) -> Vec<Share> {
        let name = |i: usize| name_hash(1, &[b'r', b's', b'0' + (i / 10) as u8, b'0' + (i % 10) as u8]);
        weights
            .iter()
            .enumerate()
            .map(|(i, weight)| Share { name_hash: name(i), weight: *weight, id: i as u16 + 1 })
            .collect()
    }

    fn count(table: &[u16], id: u16) -> usize {
        table.iter().filter(|entry| **entry == id).count()
    }

    #[test]
    fn sizes_are_prime() {
        assert!(SIZES.into_iter().all(is_size));
        let few: Vec<u32> = (0..30).filter(|size| is_size(*size)).collect();
        assert_eq!(few, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(!is_size(65_535) && !is_size(1_048_583) && !is_size(u32::MAX));
    }

    #[test]
    fn weights_hold_within_one_percent() {
        let shares = shares(&[3, 2, 1]);
        let table = table(&shares, size_for(3));
        for share in &shares {
            let wanted = table.len() as f64 * f64::from(share.weight) / 6.0;
            let got = count(&table, share.id) as f64;
            assert!((got / wanted - 1.0).abs() < 0.01, "id {}: {got} of {wanted}", share.id);
        }
    }

    #[test]
    fn losing_one_of_five_moves_few_others() {
        let all = shares(&[1; 5]);
        let before = table(&all, size_for(5));
        for lost in 0..5 {
            let mut rest = all.clone();
            rest.remove(lost);
            let after = table(&rest, size_for(4));
            let moved =
                before.iter().zip(&after).filter(|(a, b)| a != b).count() as f64 / before.len() as f64;
            assert!(moved <= 0.22, "without {lost}: {moved}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn the_order_of_servers_does_not_matter(mut weights in proptest::collection::vec(0u32..100, 1..12), swap: usize) {
            weights[0] += 1;
            let shares = shares(&weights);
            let mut turned = shares.clone();
            turned.rotate_left(swap % weights.len());
            prop_assert_eq!(table(&shares, SIZES[0]), table(&turned, SIZES[0]));
        }

        #[test]
        fn every_place_is_taken_by_somebody_with_weight(weights in proptest::collection::vec(0u32..20, 1..12)) {
            let shares = shares(&weights);
            let built = table(&shares, SIZES[0]);
            if weights.iter().all(|w| *w == 0) {
                prop_assert!(built.iter().all(|id| *id == 0));
            } else {
                prop_assert!(built.iter().all(|id| *id != 0 && weights[*id as usize - 1] > 0));
            }
        }
    }
}

//! The way back to a client: a cache in sets, learned from the wire.

use crate::{net::Addr, word::Word};

/// Cell of `paths`: the way back to a client, as its own packets came. Two words that are written apart: a reader that
/// sees them torn sends one packet astray, which the layer above repairs.
#[repr(C)]
#[derive(Debug)]
pub struct Path {
    client: Word,
    next_hop: Word,
}

impl Path {
    /// Sets; a client belongs to one of them.
    pub const SETS: u32 = 16_384;
    /// Clients in a set: one cache line.
    pub const WAYS: usize = 4;

    #[must_use]
    #[inline(always)]
    pub const fn set_of(client: Addr) -> u32 {
        let w = client.words();
        (w[3] ^ w[2].rotate_left(7) ^ w[1].rotate_left(13) ^ w[0].rotate_left(19)).wrapping_mul(0x9e37_79b1)
            >> 18
    }

    /// The next hop to this client, if it was heard.
    #[must_use]
    #[inline(always)]
    pub fn find(set: &[Self; Self::WAYS], client: Addr) -> Option<u64> {
        let key = Self::key(client);
        for path in set {
            if path.client.load() == key {
                return Some(path.next_hop.load());
            }
        }
        None
    }

    /// Remembers a client's next hop, in its own cell, a free one, or one that the client's address names. Says whether
    /// anything was new.
    #[inline(always)]
    pub fn learn(set: &[Self; Self::WAYS], client: Addr, next_hop: u64) -> bool {
        let key = Self::key(client);
        let mut place = (key >> 2) as usize % Self::WAYS;
        for (i, path) in set.iter().enumerate() {
            let held = path.client.load();
            if held == key {
                if path.next_hop.load() == next_hop {
                    return false;
                }
                path.next_hop.store(next_hop);
                return true;
            }
            if held == 0 {
                place = i;
            }
        }
        set[place % Self::WAYS].next_hop.store(next_hop);
        set[place % Self::WAYS].client.store(key);
        true
    }

    /// Nobody's way any more.
    pub fn clear(&self) {
        self.client.store(0);
        self.next_hop.store(0);
    }

    #[inline(always)]
    const fn key(client: Addr) -> u64 {
        let w = client.words();
        let high = w[0].wrapping_mul(0x85eb_ca6b) ^ w[1].wrapping_mul(0xc2b2_ae35) ^ w[2];
        ((high as u64) << 32) | w[3] as u64
    }
}

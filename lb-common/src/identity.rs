//! Who a connection is: the flow id, a fixed number of bits of a keyed hash of its tuple.
//!
//! The hash is multilinear (Lemire and Kaser, "Strongly universal string hashing is fast", 2014): each 32-bit word of
//! the tuple times its own random 64-bit key word, summed modulo 2^64, then a keyed finish, because the low bits of the
//! sum are weak. It is *not* a pseudo-random function: who sees many flow ids can learn the key. Nobody outside does.

use crate::net::Tuple;

/// Bits of a flow id. The bucket is its top bits, the slot's tag the rest; with 2^21 buckets, 29 bits of tag remain.
pub const FLOW_ID_BITS: u32 = 50;

/// Words of key: a constant, one for each word of an IPv6 tuple, two for the finish.
pub const KEY_WORDS: usize = 13;

/// The secret key of the hash. Made once, kept over restarts, shared within a cluster; never logged.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey(pub [u64; KEY_WORDS]);

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

/// A connection's identity on every director that holds the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowId(u64);

impl FlowId {
    /// # Panics
    /// Never; bits above [`FLOW_ID_BITS`] are cut off.
    #[must_use]
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & ((1 << FLOW_ID_BITS) - 1))
    }

    #[must_use]
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl HashKey {
    /// The identity of the connection with this tuple.
    #[must_use]
    pub fn flow_id(&self, tuple: &Tuple) -> FlowId {
        FlowId::of(tuple, |i| self.0[i])
    }
}

impl FlowId {
    /// The identity of the connection with this tuple, under the key whose words `key` gives.
    #[must_use]
    #[inline(always)]
    pub fn of(tuple: &Tuple, key: impl Fn(usize) -> u64) -> Self {
        let ports = u32::from(tuple.client_port.raw()) | (u32::from(tuple.vip_port.raw()) << 16);
        let client = tuple.client.words();
        let vip = tuple.vip.words();
        let mut sum = key(0)
            .wrapping_add(key(1).wrapping_mul(u64::from(client[3])))
            .wrapping_add(key(2).wrapping_mul(u64::from(vip[3])))
            .wrapping_add(key(3).wrapping_mul(u64::from(ports)))
            .wrapping_add(key(4).wrapping_mul(tuple.protocol as u64));
        // A mapped IPv4 address says nothing in its other words; an IPv6 one says something in all of them.
        if tuple.vip.as_v4().is_none() || tuple.client.as_v4().is_none() {
            sum = sum
                .wrapping_add(key(5).wrapping_mul(u64::from(client[0])))
                .wrapping_add(key(6).wrapping_mul(u64::from(client[1])))
                .wrapping_add(key(7).wrapping_mul(u64::from(client[2])))
                .wrapping_add(key(8).wrapping_mul(u64::from(vip[0])))
                .wrapping_add(key(9).wrapping_mul(u64::from(vip[1])))
                .wrapping_add(key(10).wrapping_mul(u64::from(vip[2])));
        }
        sum ^= sum >> 32;
        sum = sum.wrapping_mul(key(11) | 1);
        sum ^= sum >> 29;
        sum = sum.wrapping_mul(key(12) | 1);
        Self(sum >> (64 - FLOW_ID_BITS))
    }
}

/// Cluster-wide identity of a service or server: a 64-bit hash of its name (FNV-1a with a final mix, so that it is the
/// same in every version and on every machine). Not secret, not keyed.
#[must_use]
pub const fn name_hash(scope: u64, name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ scope;
    let mut i = 0;
    while i < name.len() {
        hash = (hash ^ name[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    mix(hash)
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
#[must_use]
pub const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::{Addr, Port, Protocol};

    fn tuple(client: u32, client_port: u16) -> Tuple {
        Tuple {
            client: Addr::v4(client.to_be_bytes()),
            vip: Addr::v4([192, 0, 2, 1]),
            client_port: Port::from_host(client_port),
            vip_port: Port::from_host(80),
            protocol: Protocol::Tcp,
        }
    }

    proptest! {
        /// Each step of the finish must be a bijection, whatever the key: if a multiplier were even, bits of the sum would be lost,
        /// and more flows than two of 2^50 would share an id.
        #[test]
        fn the_last_bits_of_both_finishing_words_do_not_matter(
            words: [u64; KEY_WORDS], client: u32, port: u16, which in 0_usize..2,
        ) {
            let at = |bit: u64| {
                let mut words = words;
                words[KEY_WORDS - 1 - which] = words[KEY_WORDS - 1 - which] & !1 | bit;
                HashKey(words).flow_id(&tuple(client, port))
            };
            prop_assert_eq!(at(0), at(1));
        }
    }
}

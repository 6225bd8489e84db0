//! What the whole data path goes by, and what the identity of a connection depends on.

use crate::{
    flow_table::Replicas,
    identity::{FlowId, HashKey, KEY_WORDS},
    net::Tuple,
    slot::{Geometry, Limits},
    word::Word,
};

/// What the whole data path goes by: the only entry of `settings`.
#[repr(C)]
#[derive(Debug)]
pub struct Settings {
    key: [Word; KEY_WORDS],
    pub flags: Word,
    limits: Word,
    /// How many bits number the buckets: of the connection table (lowest octet), and above it of the table of replicas, while
    /// that holds anything. One word, so that all of this lies in two cache lines.
    bucket_bits: Word,
}

impl Settings {
    /// Connections are looked up and stored. Off: every packet goes by the tables alone.
    pub const FLOWS: u64 = 1;
    /// This director answers for its VIPs.
    pub const SERVING: u64 = 2;
    /// Unexplained UDP packets of a real server may be derived, as TCP's are.
    pub const DERIVE_UDP: u64 = 4;
    /// A stored connection's client is noted in `addresses`.
    pub const ADDRESSES: u64 = 8;

    /// Sets everything that is fixed for the life of the maps.
    pub fn found(&self, key: &HashKey, geometry: Geometry) {
        for (word, value) in self.key.iter().zip(key.0) {
            word.store(value);
        }
        self.bucket_bits.store(u64::from(geometry.bucket_bits()));
    }

    pub fn set_limits(&self, limits: Limits) {
        let (new, closing, established) =
            (u64::from(limits.new), u64::from(limits.closing), u64::from(limits.established));
        self.limits.store(new | closing << 8 | established << 16);
    }

    /// The identity of the connection with this tuple, under the data path's key.
    #[must_use]
    #[inline(always)]
    pub fn flow_id(&self, tuple: &Tuple) -> FlowId {
        FlowId::of(tuple, |i| self.key[i].load())
    }

    /// The key itself, for the agent to keep in its state folder.
    #[must_use]
    pub fn key(&self) -> HashKey {
        HashKey(core::array::from_fn(|i| self.key[i].load()))
    }

    #[must_use]
    #[inline(always)]
    pub fn limits(&self) -> Limits {
        let word = self.limits.load();
        Limits { new: word as u8, closing: (word >> 8) as u8, established: (word >> 16) as u8 }
    }

    /// Says whether the table of replicas, of this shape, holds anything: while it does not, nobody looks there.
    pub fn set_replicas(&self, held: Option<Replicas>) {
        let bits = held.map_or(0, |Replicas(geometry)| u64::from(geometry.bucket_bits()));
        self.bucket_bits.store(self.bucket_bits.load() & 0xff | bits << 8);
    }

    /// The table of replicas, if it holds anything.
    #[must_use]
    #[inline(always)]
    pub fn replicas(&self) -> Option<Replicas> {
        let bits = self.bucket_bits.load() >> 8;
        if bits == 0 { None } else { Some(Replicas(Geometry::nearest(bits as u32))) }
    }

    #[must_use]
    #[inline(always)]
    pub fn geometry(&self) -> Geometry {
        Geometry::in_force(u32::from(self.bucket_bits.load() as u8))
    }
}

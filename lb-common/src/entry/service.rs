//! A service: from which tables it picks, and what it has counted.

use super::{Counters, Incidents, Load, SharedAddr};
use crate::word::Word;

/// Entry of `services`, by service number.
#[repr(C)]
#[derive(Debug)]
pub struct Service {
    /// [`Extent`](crate::pick::Extent) that picks for a SYN.
    pub select: Word,
    /// [`Extent`](crate::pick::Extent) that picks for a packet amid a connection without an entry.
    pub miss: Word,
    pub flags: Word,
    /// Listener: VIP port (upper 16 bits of the low half), protocol (lowest byte).
    pub listener: Word,
    pub vip: SharedAddr,
    pub name_hash: Word,
    /// What servers that are no longer there had counted, so that a service's totals only grow.
    pub retired: [Word; Counters::FIELDS],
    /// The number of the list that says who may come ([`AccessKey`](super::AccessKey)); 0: everybody may.
    pub access: Word,
    /// The number of the entry of `limits` that it goes by, plus one; 0: none.
    pub limits: Word,
    /// What befell lanes of the same service that are no longer there; likewise.
    pub incidents: [Word; Incidents::FIELDS],
    /// [`QuicFormat`](super::QuicFormat) of the connection ids that name its servers; 0: none do.
    pub quic: Word,
    /// [`Scheduling`](super::Scheduling).
    pub scheduling: Word,
    /// [`Extent`](crate::pick::Extent) of the turns: by the weights where they are the scheduler, else each server once.
    pub turns: Word,
    /// Of all its servers in all its lanes, where they are counted. Its home is a service number.
    pub total: Load,
}

impl Service {
    pub const IN_USE: u64 = 1;
    /// Without a usable server, a SYN is answered with RST.
    pub const REJECT: u64 = 2;
    /// Its connections are kept in the pool's ports.
    pub const FULL_NAT: u64 = 4;
}

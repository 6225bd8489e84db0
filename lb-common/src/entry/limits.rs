//! How much a service takes in a second.

use super::SharedAddr;
use crate::word::Word;

/// Entry of `limits`, by the number of a lane of the service: all of its lanes go by it. Intervals are those of
/// [`rate`](crate::rate); 0: no limit.
#[repr(C)]
#[derive(Debug)]
pub struct ServiceLimits {
    /// New connections of the service.
    pub connections: Word,
    /// New connections of a source.
    pub source_connections: Word,
    /// Packets of a source.
    pub source_packets: Word,
    /// What the service has used up: the cell of [`rate`](crate::rate) that belongs to `connections`.
    pub used: Word,
    /// The bits of an IPv4 client (in its mapped form) that make a source.
    pub mask_v4: SharedAddr,
    /// Likewise of an IPv6 client.
    pub mask_v6: SharedAddr,
    /// The number of sets of `sources`, less one.
    pub set_mask: Word,
    reserved: Word,
}

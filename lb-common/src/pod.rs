//! Which types may cross into the kernel as plain bytes.
#![expect(unsafe_code, reason = "aya asks for a promise about layout")]

use crate::{
    entry::{Counters, EndpointKey, Incidents, QuicKey, Sharers, Tally},
    net::Addr,
    wire::Wire,
};

// SAFETY: for all of these, `repr(C)`, integers only, padding spelled out as fields, any bit pattern valid.
unsafe impl aya::Pod for Addr {}
// SAFETY: as above.
unsafe impl aya::Pod for EndpointKey {}
// SAFETY: as above.
unsafe impl aya::Pod for Sharers {}
// SAFETY: as above.
unsafe impl aya::Pod for Counters {}
// SAFETY: as above.
unsafe impl aya::Pod for Tally {}
// SAFETY: as above.
unsafe impl aya::Pod for Wire {}
// SAFETY: as above.
unsafe impl aya::Pod for Incidents {}
// SAFETY: as above.
unsafe impl aya::Pod for QuicKey {}

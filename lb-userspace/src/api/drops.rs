//! `xlvs drops`: packets that were not forwarded, by reason, and what was lost after the verdict.

use super::{Schema, Time};
use serde::{Deserialize, Serialize};

/// What `xlvs drops` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropsReport {
    /// Always 1.
    pub schema: Schema,
    /// When the counters were read.
    pub at: Time,
    /// Since when they have been counting.
    pub since: Option<Time>,
    /// Packets that got any verdict.
    pub received: u64,
    /// Packets that were dropped or rejected, by verdict; reasons that never occurred are at 0.
    pub drops: Vec<Counted>,
    /// What failed after the verdict: redirect and driver transmit errors, as in `status`; not counted from `since`, but as
    /// long as there is the interface.
    pub losses: Vec<Counted>,
}

/// A reason, how often, and what it means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The verdict's or loss's name, as in `status`.
    pub reason: String,
    /// Packets.
    pub packets: u64,
    /// What it means and what to do about it, in a line.
    pub meaning: String,
}

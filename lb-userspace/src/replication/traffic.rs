//! How much has gone between this director and a peer since the agent started, over all sessions.

use super::window::Window;

/// One direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Records, tombstones and repetitions included.
    pub records: u64,
    /// Bytes of messages, without what frames and TLS add.
    pub bytes: u64,
    /// Sessions in which everything that differed at their beginning was told.
    pub snapshots: u64,
}

/// Both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    pub sent: Tally,
    pub received: Tally,
    pub window: Window,
}

impl Tally {
    /// A message of so many bytes; `completes`: with it the snapshot has been told.
    pub(super) fn count(&mut self, bytes: usize, records: usize, completes: bool) {
        self.bytes += bytes as u64;
        self.records += records as u64;
        self.snapshots += u64::from(completes);
    }
}

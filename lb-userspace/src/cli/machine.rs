//! What the command line needs of the machine it runs on, as opposed to a running agent.

use crate::agent::{DownOptions, UpOptions};
use crate::api::{Failure, Problem};
use crate::config::Model;
use std::io;
use std::path::Path;
use std::time::SystemTime;

/// The machine: its kernel, its pins, its interfaces.
pub trait Machine {
    /// `xlvs up`: becomes the agent, and returns when it ends; with `detach`, once it is ready.
    ///
    /// # Errors
    /// What was refused or failed; nothing is left attached that was not before. A
    /// [`FailureKind::TimedOut`](crate::api::FailureKind::TimedOut) becomes exit code 4.
    fn up(&self, options: UpOptions) -> Result<(), Failure>;

    /// `xlvs down`: detaches and unpins; tells on stderr what it did.
    ///
    /// # Errors
    /// What could not be removed, and why.
    fn down(&self, options: DownOptions) -> Result<(), Failure>;

    /// What is pinned in `pin_dir`; `None`: nothing.
    ///
    /// # Errors
    /// When the folder cannot be looked at, as by a user without rights to it.
    fn pinned(&self, pin_dir: &Path) -> io::Result<Option<PinnedSummary>>;

    /// `xlvs check --host`: what of this configuration does not fit this host.
    fn host_problems(&self, config: &Path, model: &Model) -> Vec<Problem>;
}

/// A data path that outlives its agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedSummary {
    /// The interfaces it is attached to; empty: pinned but attached nowhere.
    pub interfaces: Vec<String>,
    /// When an agent last showed a sign of life; `None`: not known.
    pub last_heartbeat: Option<SystemTime>,
}

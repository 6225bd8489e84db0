//! What the command line may say about an agent.

use std::path::PathBuf;

/// `xlvs up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// The interfaces to attach to instead of the file's; empty: the file's.
    pub ifaces: Vec<String>,
    /// The network namespace to work in; pins and socket stay with the host.
    pub netns: Option<PathBuf>,
    /// Return once ready, instead of staying in the foreground.
    pub detach: bool,
    /// The control socket instead of the file's.
    pub socket: Option<PathBuf>,
}

/// `xlvs down`. The file need not exist: its agent may be long gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownOptions {
    /// The configuration file, if it can be read.
    pub config: PathBuf,
    /// The control socket of the agent to stop, if one lives.
    pub socket: PathBuf,
    /// The pins to remove.
    pub pin_dir: PathBuf,
}

//! The machine the binary runs on: where the command line meets agent and kernel.

use lb_userspace::agent::{self, DownOptions, UpOptions};
use lb_userspace::api::{Failure, Problem};
use lb_userspace::cli::{Machine, PinnedSummary};
use lb_userspace::config::Model;
use std::io;
use std::path::Path;

/// The real one.
pub(crate) struct ThisMachine;

impl Machine for ThisMachine {
    fn up(&self, options: UpOptions) -> Result<(), Failure> {
        agent::up(options)
    }

    fn down(&self, options: DownOptions) -> Result<(), Failure> {
        agent::down(&options)
    }

    fn pinned(&self, pin_dir: &Path) -> io::Result<Option<PinnedSummary>> {
        agent::pinned(pin_dir)
    }

    fn host_problems(&self, config: &Path, model: &Model) -> Vec<Problem> {
        agent::host_problems(config, model)
    }
}

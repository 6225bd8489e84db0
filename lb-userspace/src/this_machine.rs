//! The machine the binary runs on: where the command line meets agent and kernel.

use lb_userspace::agent::{DownOptions, UpOptions};
use lb_userspace::api::{Failure, FailureKind, Problem};
use lb_userspace::cli::{Machine, PinnedSummary};
use lb_userspace::config::Model;
use std::io;
use std::path::Path;

/// The real one.
pub(crate) struct ThisMachine;

impl Machine for ThisMachine {
    fn up(&self, _options: UpOptions) -> Result<(), Failure> {
        Err(Failure::new(FailureKind::Refused, "this build has no data path"))
    }

    fn down(&self, _options: DownOptions) -> Result<(), Failure> {
        Err(Failure::new(FailureKind::Refused, "this build has no data path"))
    }

    fn pinned(&self, pin_dir: &Path) -> io::Result<Option<PinnedSummary>> {
        match std::fs::read_dir(pin_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("this build cannot read pins")),
        }
    }

    fn host_problems(&self, _config: &Path, _model: &Model) -> Vec<Problem> {
        Vec::new()
    }
}

//! How to get root for a single command, and only for that.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::step;

const BPFFS: &str = "/sys/fs/bpf";

/// The way this process may act as root.
pub(crate) enum Privilege {
    /// It is root.
    Root,
    /// `sudo -n` works: no password is asked, or it was given a moment ago.
    Sudo,
}

impl Privilege {
    /// The way there is, or why there is none.
    pub(crate) fn find() -> std::result::Result<Self, String> {
        if effective_user() == Some(0) {
            return Ok(Self::Root);
        }
        let tried =
            Command::new("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match tried {
            Ok(status) if status.success() => Ok(Self::Sudo),
            Ok(_) => Err("needs root, and sudo wants a password: run `sudo -v` first".to_owned()),
            Err(_) => Err("needs root, and there is no sudo".to_owned()),
        }
    }

    /// `program` as root, with these variables; sudo would drop them from its environment.
    pub(crate) fn command(&self, program: &str, variables: &[(&str, &Path)]) -> Command {
        match self {
            Self::Root => {
                let mut command = Command::new(program);
                command.envs(variables.iter().copied());
                command
            }
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", "env"]);
                for (name, value) in variables {
                    command.arg(format!("{name}={}", value.display()));
                }
                command.arg(program);
                command
            }
        }
    }

    /// Mounts the BPF file system where everyone expects it, if nobody did.
    pub(crate) fn mount_bpffs(&self) -> Result<()> {
        let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
        if is_mounted(&mounts) {
            return Ok(());
        }
        let mut command = self.command("mount", &[]);
        step::output(command.args(["-t", "bpf", "bpf", BPFFS]))
            .with_context(|| format!("mounting {BPFFS}"))?;
        step::note("mount", &format!("bpffs on {BPFFS} (it stays)"));
        Ok(())
    }
}

fn is_mounted(mounts: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(BPFFS) && words.next() == Some("bpf")
    })
}

/// From /proc: the effective user id is the second number.
fn effective_user() -> Option<u32> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bpffs_elsewhere_does_not_count() {
        assert!(is_mounted("sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf bpf rw 0 0\n"));
        assert!(!is_mounted("bpf /run/bpf bpf rw 0 0\ntmpfs /sys/fs/bpf tmpfs rw 0 0\n"));
    }
}

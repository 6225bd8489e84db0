//! Runs the binary, away from this machine's own configuration and terminal.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command with a clean environment and a fixed width for help.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xlvs"));
    command.args(args).env_clear().env("COLUMNS", "100").stdin(Stdio::null());
    command
}

pub(crate) fn xlvs(args: &[&str]) -> Run {
    finish(command(args))
}

/// The same, calling the agent behind this socket.
pub(crate) fn xlvs_at(socket: &Path, args: &[&str]) -> Run {
    let mut command = command(args);
    command.arg("--socket").arg(socket);
    finish(command)
}

pub(crate) fn finish(mut command: Command) -> Run {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    Run {
        exit: status.code().expect("no signal ended it"),
        stdout: String::from_utf8(stdout).expect("UTF-8"),
        stderr: String::from_utf8(stderr).expect("UTF-8"),
    }
}

//! Where the programs come from that the rig runs: a folder of the caller's choice, then PATH.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Names a folder whose `bin/` has programs that run as they are: `cargo xtask` makes one.
pub const TOOLS_VARIABLE: &str = "XLVS_TOOLS";

/// The path of `program`: `$XLVS_TOOLS/bin`, then PATH, then the system folders a user's PATH may lack.
pub fn find(program: &str) -> Result<PathBuf> {
    if program.contains('/') {
        return Ok(PathBuf::from(program));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::var_os(TOOLS_VARIABLE)
        .map(|folder| PathBuf::from(folder).join("bin"))
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    for folder in folders {
        let candidate = folder.join(program);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!(
        "{program} is neither in ${TOOLS_VARIABLE}/bin nor in PATH: install it, or let `cargo xtask` bring it"
    )
}

/// A command for `program`, found as [`find`] says.
pub fn command(program: &str) -> Result<Command> {
    find(program).map(Command::new)
}

/// Runs `command` to its end and returns its standard output; an exit other than 0 is an error with stderr in it.
///
/// In a process group of its own: Ctrl-C on the terminal is for us, who then undo things in order.
pub fn output(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command
        .process_group(0)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", display(command)))?;
    if !status.success() {
        bail!("{} ended with {status}: {}", display(command), String::from_utf8_lossy(&stderr).trim());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// The command as one would type it.
pub fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

//! bpf-linker, built from crates.io once with the user's own cargo, under target/tools.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::step;
use crate::workspace::Workspace;

/// The last release that reads LLVM 22 with its default features; later ones want LLVM 23.
const VERSION: &str = "0.10.3";
const BUILD_LIMIT: Duration = Duration::from_secs(1200);

/// The linker's program. The tools lock must be held.
pub(super) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.tools().join(format!("bpf-linker-{VERSION}"));
    let program = root.join("bin/bpf-linker");
    if program.exists() {
        return Ok(program);
    }
    let mut cargo = workspace.cargo();
    cargo.args(["install", "bpf-linker", "--version", VERSION, "--locked", "--root"]).arg(&root);
    let what = format!("bpf-linker {VERSION} from its crate (once, 1 to 2 minutes)");
    step::run("build", &what, &mut cargo, &workspace.log("bpf-linker"), Some(BUILD_LIMIT))?;
    Ok(program)
}

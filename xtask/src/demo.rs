//! `cargo xtask demo`: sets up, builds, and becomes the demo, the program `xlvs-demo` of the crate xlvs-tests.

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};

use crate::build;
use crate::privilege::Privilege;
use crate::programs;
use crate::step;
use crate::workspace::Workspace;

/// Returns only when the demo could not be started: this process becomes it, so that a signal to us reaches the one
/// that can tidy up, and its exit code is ours.
pub(crate) fn run(workspace: &Workspace, hold: bool) -> Result<()> {
    match become_demo(workspace, hold)? {}
}

fn become_demo(workspace: &Workspace, hold: bool) -> Result<Infallible> {
    // Before the build: nobody should wait minutes to hear that.
    let privilege = Privilege::find().map_err(|why| anyhow!("the demo {why}"))?;
    let built = build::everything(workspace, None)?;
    let demo = program(workspace)?;
    let tools = programs::ensure(workspace)?;
    privilege.mount_bpffs()?;
    let variables = [("XLVS_BIN", built.agent.as_path()), ("XLVS_TOOLS", tools.as_path())];
    let mut command = privilege.command(&demo.display().to_string(), &variables);
    if hold {
        command.arg("--hold");
    }
    let error = command.exec();
    Err(error).with_context(|| format!("starting {}", step::shown(&command)))
}

fn program(workspace: &Workspace) -> Result<PathBuf> {
    let name = "xlvs-demo";
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked", "-p", "xlvs-tests", "--bin", name, "--target-dir"]);
    cargo.arg(workspace.target());
    step::run_openly("building the demo", &mut cargo)?;
    Ok(workspace.target().join("release").join(name))
}

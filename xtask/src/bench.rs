//! `cargo xtask bench`: builds, and becomes the bench, the program `xlvs-bench` of the crate xlvs-tests.

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use crate::build;
use crate::privilege::Privilege;
use crate::programs;
use crate::step;
use crate::workspace::Workspace;

/// Returns only when the bench could not be started: this process becomes it, so that a signal reaches the one that can tidy up.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    match become_bench(workspace, arguments)? {}
}

fn become_bench(workspace: &Workspace, arguments: &[String]) -> Result<Infallible> {
    let privilege = Privilege::find().map_err(|why| anyhow!("the bench {why}"))?;
    let built = build::everything(workspace, None)?;
    let floors = build::bench_object(workspace)?;
    let bench = program(workspace, &built.object)?;
    let tools = programs::ensure(workspace)?;
    privilege.mount_bpffs()?;
    let variables = [
        ("XLVS_BIN", built.agent.as_path()),
        ("XLVS_EBPF_OBJECT", built.object.as_path()),
        ("XLVS_BENCH_OBJECT", floors.as_path()),
        ("XLVS_TOOLS", tools.as_path()),
    ];
    let mut command = privilege.command(&bench.display().to_string(), &variables);
    command.args(arguments);
    let error = command.exec();
    Err(error).with_context(|| format!("starting {}", step::shown(&command)))
}

/// Builds the bench, with the object in the agent that it may start.
pub(crate) fn program(workspace: &Workspace, object: &Path) -> Result<PathBuf> {
    let name = "xlvs-bench";
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked", "-p", "xlvs-tests", "--bin", name, "--features", "bench"]);
    cargo.arg("--target-dir").arg(workspace.target());
    // The same object as in the agent, or the two builds would keep undoing each other.
    cargo.env("XLVS_EBPF_OBJECT", object);
    step::run_openly("building the bench", &mut cargo)?;
    Ok(workspace.target().join("release").join(name))
}

//! `cargo xtask mutants`: the data path with one thing changed at a time; the native tests should notice each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::step;
use crate::workspace::Workspace;

/// cargo-mutants, built from its crate once, under target/tools.
const VERSION: &str = "27.1.0";
const BUILD_LIMIT: Duration = Duration::from_secs(1800);
/// A mutant that runs for so long is caught by that, seconds.
const TEST_LIMIT: &str = "60";
/// Enough traffic to notice what is wrong on every packet of a kind.
const SEQUENCES: &str = "6";
/// Tests that take most of the time and notice little that no other does. What the others notice is noticed; what they do not
/// is to be looked into anyhow.
const LEFT_OUT: [&str; 4] = ["flood::", "hostile::", "behind_vlan", "no_port_is_ever"];
/// By the package that is changed: whose tests can notice, and which of them.
const JUDGES: [(&str, &str, &[&str]); 2] = [
    ("lb-common", "lb-common,lb-ebpf", &["--lib", "--test", "pipeline"]),
    ("lb-ebpf", "lb-ebpf", &["--test", "pipeline"]),
];
/// The same traffic for every mutant, so that a survivor can be looked into.
const SEED: &str = "1";
/// Exit codes of cargo-mutants that say that all went well apart from mutants that survived or took too long.
const SOME_SURVIVED: [i32; 2] = [2, 3];

/// Which mutants.
#[derive(clap::Args)]
pub(crate) struct Wish {
    /// Only this package: lb-common or lb-ebpf
    #[arg(long, value_name = "NAME", value_parser = JUDGES.map(|(package, ..)| package))]
    package: Option<String>,
    /// Only files that match, such as lb-ebpf/src/parse.rs; may be repeated
    #[arg(long, value_name = "GLOB")]
    file: Vec<String>,
    /// One part of so many, such as 0/40: every fortieth mutant
    #[arg(long, value_name = "PART/PARTS")]
    shard: Option<String>,
}

/// Tries them; survivors are listed, and no error by themselves.
pub(crate) fn run(workspace: &Workspace, wish: &Wish) -> Result<()> {
    let program = ensure(workspace)?;
    let wanted =
        JUDGES.iter().filter(|(package, ..)| wish.package.as_deref().is_none_or(|it| it == *package));
    for (package, judges, tests) in wanted {
        change(workspace, wish, &program, package, judges, tests)?;
    }
    Ok(())
}

fn change(
    workspace: &Workspace,
    wish: &Wish,
    program: &Path,
    package: &str,
    judges: &str,
    tests: &[&str],
) -> Result<()> {
    hold(workspace, judges, tests)?;
    let mut cargo = workspace.cargo();
    // Outside the copies, so that what they depend on is compiled once.
    cargo.env("CARGO_TARGET_DIR", workspace.target().join("mutants"));
    cargo.env("XLVS_SEQUENCES", SEQUENCES).env("XLVS_SEED", SEED);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = program.parent().map(PathBuf::from).into_iter().chain(std::env::split_paths(&path));
    cargo.env("PATH", std::env::join_paths(folders).context("putting PATH together")?);
    let found = workspace.target().join("mutants.found").join(package);
    std::fs::create_dir_all(&found).with_context(|| format!("making {}", found.display()))?;
    cargo.args([
        "mutants",
        "--baseline=skip",
        "--jobs=1",
        "--no-shuffle",
        "--profile=mutants",
        "--timeout",
        TEST_LIMIT,
    ]);
    cargo.args(["--package", package, "--test-package", judges, "--output"]).arg(&found);
    for file in &wish.file {
        cargo.args(["--file", file]);
    }
    if let Some(shard) = &wish.shard {
        cargo.args(["--sharding=round-robin", "--shard", shard]);
    }
    cargo.arg("--").args(tests).arg("--");
    cargo.args(LEFT_OUT.map(|test| format!("--skip={test}")));
    let shown = step::shown(&cargo);
    step::note("mutants", &shown);
    let status = cargo.status().with_context(|| format!("starting {shown}"))?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) if SOME_SURVIVED.contains(&code) => {
            step::note("mutants", &format!("survivors: {}/mutants.out/missed.txt", found.display()));
            Ok(())
        }
        _ => bail!("{shown} ended with {status}"),
    }
}

/// The tests hold on the tree as it is, or every mutant would seem to be noticed. cargo-mutants' own look at it would ask the changed
/// package alone. Built apart from the mutants: of two trees with one history cargo would take a program of the one for the other's.
fn hold(workspace: &Workspace, judges: &str, tests: &[&str]) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo.env("XLVS_SEQUENCES", SEQUENCES).env("XLVS_SEED", SEED).arg("test");
    cargo.args(judges.split(',').flat_map(|package| ["--package", package])).args(tests).arg("--");
    cargo.args(LEFT_OUT.map(|test| format!("--skip={test}")));
    step::run("test", "the tree as it is", &mut cargo, &workspace.log("mutants"), None)
}

fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    let _lock = workspace.lock_tools()?;
    let root = workspace.tools().join(format!("cargo-mutants-{VERSION}"));
    let program = root.join("bin/cargo-mutants");
    if program.exists() {
        return Ok(program);
    }
    let mut cargo = workspace.cargo();
    cargo.args(["install", "cargo-mutants", "--version", VERSION, "--locked", "--root"]).arg(&root);
    let what = format!("cargo-mutants {VERSION} from its crate (once, some minutes)");
    step::run("build", &what, &mut cargo, &workspace.log("cargo-mutants"), Some(BUILD_LIMIT))?;
    Ok(program)
}

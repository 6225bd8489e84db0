//! `cargo xtask lint` and `ci`: format, clippy, documentation; then a short fuzz, and everything `test` does.

use anyhow::Result;

use crate::build;
use crate::fuzz;
use crate::step;
use crate::test::{self, Selection, suites};
use crate::workspace::Workspace;

/// Format, clippy on every target, and documentation, warnings being errors.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    step::note("lint", "cargo fmt --check");
    step::run_openly(
        "checking the format (mend: cargo fmt)",
        workspace.cargo().args(["fmt", "--all", "--check"]),
    )?;

    // With the tests that need root, which are held to the same.
    // lb-ebpf's feature `kernel` has no host to be checked on: the compiler that builds the program checks it.
    let mut cargo = workspace.cargo();
    cargo
        .args(["clippy", "--locked", "--workspace", "--all-targets", "--target-dir"])
        .arg(workspace.target());
    cargo.args(suites::features(&suites::targets(workspace)?)).args(["--", "-D", "warnings"]);
    step::note("lint", &step::shown(&cargo));
    step::run_openly("clippy", &mut cargo)?;

    step::note("lint", "clippy on the eBPF program");
    build::lint_object(workspace)?;

    let mut cargo = workspace.cargo();
    cargo.args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items", "--target-dir"]);
    cargo.arg(workspace.target()).env("RUSTDOCFLAGS", "-D warnings");
    step::note("lint", &step::shown(&cargo));
    step::run_openly("building the documentation", &mut cargo)
}

/// What a change must pass: lint, a short fuzz, then all tests.
pub(crate) fn ci(workspace: &Workspace) -> Result<()> {
    run(workspace)?;
    for target in fuzz::Target::ALL {
        fuzz::run(workspace, &fuzz::Wish::short(target))?;
    }
    test::run(workspace, &Selection { only: &[], arguments: &[] })
}

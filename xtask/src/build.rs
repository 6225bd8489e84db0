//! `cargo xtask build`: the eBPF object, then the agent with the object inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::step;
use crate::toolchain::{self, Route, Toolchain};
use crate::workspace::Workspace;

const TARGET: &str = "bpfel-unknown-none";
const OBJECT: &str = "xlvs-ebpf";
const VARIANT: &str = "xlvs-ebpf-variant";
const BENCH: &str = "xlvs-ebpf-bench";

/// What a build leaves.
pub(crate) struct Built {
    pub(crate) agent: PathBuf,
    pub(crate) object: PathBuf,
}

/// Builds both and says where they are.
pub(crate) fn everything(workspace: &Workspace, route: Option<Route>) -> Result<Built> {
    let begun = Instant::now();
    let object = object(workspace, route)?;
    let agent = agent(workspace, &object)?;
    let size = fs::metadata(&agent).with_context(|| format!("reading {}", agent.display()))?.len();
    let place = agent.strip_prefix(workspace.root()).unwrap_or(&agent).display();
    step::note(
        "built",
        &format!("{place}, {}, in {:.1} s", step::megabytes(size), begun.elapsed().as_secs_f64()),
    );
    Ok(Built { agent, object })
}

/// Builds the eBPF object alone.
pub(crate) fn object(workspace: &Workspace, route: Option<Route>) -> Result<PathBuf> {
    let toolchain = toolchain::ensure(workspace, route)?;
    step::run_openly("building the eBPF program", &mut bpf_cargo(workspace, &toolchain, "build", OBJECT))?;
    let object = target_dir(workspace).join(TARGET).join("release").join(OBJECT);
    check_types(&object)?;
    Ok(object)
}

/// Builds the programs that benches measure with and against.
pub(crate) fn bench_object(workspace: &Workspace) -> Result<PathBuf> {
    let toolchain = toolchain::ensure(workspace, None)?;
    step::run_openly("building the bench's programs", &mut bpf_cargo(workspace, &toolchain, "build", BENCH))?;
    let object = target_dir(workspace).join(TARGET).join("release").join(BENCH);
    check_types(&object)?;
    Ok(object)
}

/// Builds the same program with another tag, for tests that exchange programs. Before [`object`], whose place it takes for
/// a moment.
pub(crate) fn variant(workspace: &Workspace) -> Result<PathBuf> {
    let toolchain = toolchain::ensure(workspace, None)?;
    let mut cargo = bpf_cargo(workspace, &toolchain, "build", OBJECT);
    step::run_openly("building the eBPF program's variant", cargo.args(["--features", "variant"]))?;
    let built = target_dir(workspace).join(TARGET).join("release").join(OBJECT);
    check_types(&built)?;
    let kept = target_dir(workspace).join(VARIANT);
    fs::copy(&built, &kept).with_context(|| format!("copying {} to {}", built.display(), kept.display()))?;
    Ok(kept)
}

/// Runs clippy on the eBPF program, warnings being errors, with the clippy of the compiler that builds it.
pub(crate) fn lint_object(workspace: &Workspace) -> Result<()> {
    let toolchain = toolchain::ensure(workspace, None)?;
    let Some(clippy) = &toolchain.clippy else {
        bail!("linting the eBPF program: its toolchain has no clippy; add it (rustup component add clippy)");
    };
    let mut cargo = bpf_cargo(workspace, &toolchain, "check", OBJECT);
    cargo.args(["--bin", BENCH]);
    // What `cargo clippy -- -D warnings` sets; cargo-clippy itself would take the clippy of the host's compiler.
    cargo.env("RUSTC_WORKSPACE_WRAPPER", clippy);
    cargo.env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
    step::run_openly("clippy on the eBPF program", &mut cargo)
}

/// Its own target folder: another compiler would evict the host's artefacts, and the reverse.
fn target_dir(workspace: &Workspace) -> PathBuf {
    workspace.target().join("ebpf")
}

fn bpf_cargo(workspace: &Workspace, toolchain: &Toolchain, verb: &str, program: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo.args([verb, "--release", "--locked", "-p", "lb-ebpf", "--bin", program, "--features", "kernel"]);
    cargo.args(["--target", TARGET, "--target-dir"]).arg(target_dir(workspace));
    if toolchain.build_std {
        cargo.args(["-Z", "build-std=core"]);
    }
    cargo
        .env("RUSTC", &toolchain.rustc)
        // Unstable features on a stable compiler: aya-ebpf needs them, and there is no other way on this target.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain).join("\x1f"))
        // The kernel wants the types (BTF comes from debug info), and bpf-linker optimises the whole program itself.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    cargo
}

fn flags(toolchain: &Toolchain) -> Vec<String> {
    vec![
        format!("-Clinker={}", toolchain.linker.display()),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        "-Ctarget-cpu=v3".to_owned(),
        // Headers lie at any alignment: one load instead of one a byte, and no pointer taken apart into bytes, which the
        // verifier would refuse.
        "-Ctarget-feature=+allows-misaligned-mem-access".to_owned(),
    ]
}

/// An object without BTF would be refused at load time, far from its cause.
fn check_types(object: &Path) -> Result<()> {
    let bytes = fs::read(object).with_context(|| format!("reading {}", object.display()))?;
    if !bytes.windows(5).any(|window| window == b".BTF\0") {
        bail!("{} carries no BTF section: debug info was lost on the way to bpf-linker", object.display());
    }
    Ok(())
}

fn agent(workspace: &Workspace, object: &Path) -> Result<PathBuf> {
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--locked", "-p", "lb-userspace", "--bin", "xlvs", "--target-dir"]);
    cargo.arg(workspace.target()).env("XLVS_EBPF_OBJECT", object);
    step::run_openly("building the agent", &mut cargo)?;
    Ok(workspace.target().join("release/xlvs"))
}

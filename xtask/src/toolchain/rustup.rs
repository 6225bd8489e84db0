//! The route over rustup: a toolchain with rust-src, whose `core` is built along with the program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Compiler, LLVM_MAJOR, Version};
use crate::step;
use crate::workspace::Workspace;

/// One compiler for both halves; installing it moves no default.
pub(super) const PINNED: &str = "1.95.0";
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// A toolchain already there that serves: the active one, else the pinned one.
pub(super) fn present() -> Result<Option<Compiler>> {
    let active = usable(&mut || Command::new("rustc"), "the active rustc");
    match active {
        Ok(Some(compiler)) => Ok(Some(compiler)),
        // Without any rustc cargo could not have run us; whatever is wrong with it is not this route's to report.
        Ok(None) | Err(_) => Ok(pinned().unwrap_or_default()),
    }
}

/// Has rustup fetch the pinned toolchain with rust-src; bounded, since it may have no network.
pub(super) fn install(workspace: &Workspace) -> Result<Compiler> {
    let mut rustup = Command::new("rustup");
    rustup.args([
        "toolchain",
        "install",
        PINNED,
        "--profile",
        "minimal",
        "-c",
        "rust-src",
        "--no-self-update",
    ]);
    let what = format!("toolchain {PINNED} with rust-src from rustup, about 110 MB");
    step::run("fetch", &what, &mut rustup, &workspace.log("rustup"), Some(INSTALL_LIMIT))?;
    pinned()?.with_context(|| format!("rustup installed {PINNED}, which lacks rust-src or LLVM {LLVM_MAJOR}"))
}

fn pinned() -> Result<Option<Compiler>> {
    let mut command = || {
        let mut rustup = Command::new("rustup");
        rustup.args(["run", PINNED, "rustc"]).env("RUSTUP_AUTO_INSTALL", "0");
        rustup
    };
    usable(&mut command, "rustup's pinned rustc")
}

fn usable(rustc: &mut dyn FnMut() -> Command, name: &str) -> Result<Option<Compiler>> {
    let version = Version::of(&mut rustc())?;
    let sysroot = PathBuf::from(step::output(rustc().args(["--print", "sysroot"]))?.trim());
    if version.llvm_major != LLVM_MAJOR || !sysroot.join("lib/rustlib/src/rust/library/core").is_dir() {
        return Ok(None);
    }
    let program = sysroot.join("bin/rustc");
    if !program.exists() {
        bail!("looking for {}: the sysroot has no compiler in it", program.display());
    }
    Ok(Some(Compiler {
        rustc: program,
        library_path: String::new(),
        llvm_folder: llvm_folder(&sysroot),
        build_std: true,
        description: format!("{name} {}, core built from its rust-src", version.release),
    }))
}

/// rustup keeps its libLLVM in lib, a distribution's compiler in lib/MULTIARCH.
fn llvm_folder(sysroot: &Path) -> PathBuf {
    let multiarch = sysroot.join(format!("lib/{}-linux-gnu", std::env::consts::ARCH));
    if multiarch.is_dir() { multiarch } else { sysroot.join("lib") }
}

//! The route over Debian's packages: rustc-web and its prebuilt `core` for BPF, relocatable, unpacked without root.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Compiler, LLVM_MAJOR, Version};
use crate::apt::Apt;
use crate::packages::{Extent, Set, Unpacked};
use crate::workspace::Workspace;

/// The first release whose package of `core` for BPF goes with LLVM 22; Debian 12's main suite has an older one.
const MINIMUM: (u32, u32) = (1, 96);

/// The compiler, fetched and unpacked if need be. The tools lock must be held.
pub(super) fn ensure(workspace: &Workspace) -> Result<Compiler> {
    let set = Set {
        name: "rustc-web",
        packages: vec![
            "rustc-web".to_owned(),
            "rust-web-clippy".to_owned(),
            "libstd-rust-web-dev-bpf".to_owned(),
            format!("libllvm{LLVM_MAJOR}"),
        ],
        // The compiler finds its libraries beside itself; and Debian's packages conflict with rustup's and rustc's.
        together: &["rust", "cargo", "libstd-rust", "librust-"],
        extent: Extent::Closure,
    };
    let (unpacked, origin) = match set.cached(workspace) {
        Some(unpacked) => (unpacked, "cached under target/tools"),
        None => {
            let apt = Apt::prepare(workspace)?;
            check_candidate(&apt)?;
            (set.ensure(workspace)?, "unpacked under target/tools, nothing installed")
        }
    };
    compiler(&unpacked, origin)
}

fn check_candidate(apt: &Apt) -> Result<()> {
    let Some(version) = apt.candidate("rustc-web")? else {
        bail!("looking for rustc-web in the package lists: this release does not have it");
    };
    if major_minor(&version).is_none_or(|found| found < MINIMUM) {
        bail!(
            "looking for rustc-web {}.{} in the package lists: they offer {version}; \
             the security suite of Debian 12 has it",
            MINIMUM.0,
            MINIMUM.1
        );
    }
    Ok(())
}

fn compiler(unpacked: &Unpacked, origin: &str) -> Result<Compiler> {
    let rustc = unpacked.program("rustc").context("looking for rustc in the unpacked rustc-web")?;
    let library_path = unpacked.library_path();
    let version = Version::of(Command::new(&rustc).env("LD_LIBRARY_PATH", &library_path))
        .context("trying the unpacked rustc-web")?;
    if version.llvm_major != LLVM_MAJOR {
        bail!("the unpacked rustc-web is built on LLVM {}, not {LLVM_MAJOR}", version.llvm_major);
    }
    let core = unpacked.root().join("usr/lib/rustlib/bpfel-unknown-none/lib");
    if !core.is_dir() {
        bail!("looking for a prebuilt core in {}: it is not there", core.display());
    }
    Ok(Compiler {
        llvm_folder: unpacked.root().join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)),
        rustc,
        library_path,
        build_std: false,
        description: format!("Debian's rustc {} with a prebuilt core for BPF, {origin}", version.release),
    })
}

/// `1.96.0+dfsg1-1~deb12u2` is (1, 96).
fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_version_starts_with_the_compilers() {
        assert_eq!(major_minor("1.96.0+dfsg1-1~deb12u2"), Some((1, 96)));
        assert!(major_minor("1.85.0+dfsg3-1~deb12u3").is_some_and(|found| found < MINIMUM));
        assert_eq!(major_minor("unknown"), None);
    }
}

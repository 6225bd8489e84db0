//! Taking a dynamically linked program along with the libraries it names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::step;

/// Copies `program` to `bin/<name>` of `root`, and its libraries to where the dynamic linker looks without being told.
/// A wrapper script of `target/tools` stands for the program it names.
pub(super) fn install(program: &Path, name: &str, root: &Path) -> Result<()> {
    let (program, library_path) = behind_wrapper(program)?;
    let mut ldd = Command::new("ldd");
    ldd.arg(&program).env("LC_ALL", "C");
    if let Some(path) = library_path {
        ldd.env("LD_LIBRARY_PATH", path);
    }
    let text =
        step::output(&mut ldd).with_context(|| format!("listing the libraries of {}", program.display()))?;
    copy(&program, &root.join("bin").join(name))?;
    for library in text.lines().filter_map(library) {
        let file = library.file_name().with_context(|| format!("no file name in {}", library.display()))?;
        // The dynamic linker itself is named by its whole path, /lib64/…; all others by their file name.
        let folder = if library.starts_with("/lib64") { "lib64" } else { "lib/x86_64-linux-gnu" };
        let folder = root.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let to = folder.join(file);
        if !to.exists() {
            copy(&library, &to)?;
        }
    }
    Ok(())
}

/// The file a line of ldd names: `name => /path (0x…)` or `/path (0x…)`; the kernel's vdso has none.
fn library(line: &str) -> Option<PathBuf> {
    let place = line.split_once("=>").map_or(line, |(_, place)| place).trim();
    let path = place.split(" (").next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// The program and library path a wrapper of ours holds; any other file stands for itself.
fn behind_wrapper(path: &Path) -> Result<(PathBuf, Option<String>)> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let Some(script) = std::str::from_utf8(&bytes).ok().filter(|text| text.starts_with("#!/bin/sh\n")) else {
        return Ok((path.to_owned(), None));
    };
    let quoted = |after: &str| script.split_once(after)?.1.split_once('\'').map(|(text, _)| text.to_owned());
    let program =
        quoted("exec '").with_context(|| format!("{} is a script, and no wrapper", path.display()))?;
    Ok((PathBuf::from(program), quoted("LD_LIBRARY_PATH='")))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(|_| ()).with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_names_libraries_in_two_ways_and_the_vdso_in_a_third() {
        assert_eq!(
            library("\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)"),
            Some("/lib/x86_64-linux-gnu/libc.so.6".into())
        );
        assert_eq!(
            library("\t/lib64/ld-linux-x86-64.so.2 (0x7f)"),
            Some("/lib64/ld-linux-x86-64.so.2".into())
        );
        assert_eq!(library("\tlinux-vdso.so.1 (0x7ffe)"), None);
    }
}

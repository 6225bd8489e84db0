//! Sets of Debian packages, unpacked under target/tools/debian/SET and never installed: no root, no service started,
//! nothing for the system's package manager to know.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::step;
use crate::workspace::Workspace;

/// A set of packages to have, with what they need beyond what the system has installed.
pub(crate) struct Set {
    /// Names the folder.
    pub(crate) name: &'static str,
    pub(crate) packages: Vec<String>,
    /// Prefixes of package names to fetch even if the system has them, because their files must lie in one tree.
    pub(crate) together: &'static [&'static str],
    pub(crate) extent: Extent,
}

/// How much comes with the packages of a set.
pub(crate) enum Extent {
    /// What they depend on, beyond what the system has installed.
    Closure,
    /// Only what these metapackages stand for (a kernel), and nothing that depends on.
    Behind,
}

/// A set on disk.
#[derive(Clone)]
pub(crate) struct Unpacked {
    root: PathBuf,
}

impl Unpacked {
    /// The folder that stands for `/`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The program of that name, if the set has it.
    pub(crate) fn program(&self, name: &str) -> Option<PathBuf> {
        ["usr/sbin", "usr/bin", "sbin", "bin"]
            .iter()
            .map(|folder| self.root.join(folder).join(name))
            .find(|path| path.exists())
    }

    /// Folders with shared libraries: what LD_LIBRARY_PATH must name for the set's programs.
    pub(crate) fn library_path(&self) -> String {
        let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
        let folders = [
            format!("usr/lib/{multiarch}"),
            format!("lib/{multiarch}"),
            "usr/lib".to_owned(),
            format!("usr/lib/{multiarch}/pulseaudio"),
        ];
        let present: Vec<String> = folders
            .iter()
            .map(|folder| self.root.join(folder))
            .filter(|folder| folder.is_dir())
            .map(|folder| folder.display().to_string())
            .collect();
        present.join(":")
    }
}

impl Set {
    fn key(&self) -> String {
        let mut key = self.packages.join("\n");
        key.push('\n');
        key
    }

    /// The set if it is complete on disk already.
    pub(crate) fn cached(&self, workspace: &Workspace) -> Option<Unpacked> {
        let root = workspace.tools().join("debian").join(self.name);
        // The marker lies inside the tree and comes with the rename, so it is there only if everything is.
        let marker = fs::read_to_string(root.join(".packages")).ok()?;
        marker.starts_with(&self.key()).then_some(Unpacked { root })
    }

    /// The set, fetched and unpacked if need be. The tools lock must be held.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> Result<Unpacked> {
        if let Some(unpacked) = self.cached(workspace) {
            return Ok(unpacked);
        }
        let apt = Apt::prepare(workspace)?;
        self.fetch(workspace, &apt).with_context(|| format!("fetching the package set {}", self.name))
    }

    fn fetch(&self, workspace: &Workspace, apt: &Apt) -> Result<Unpacked> {
        let home = workspace.tools().join("debian");
        let archives = home.join(format!("{}.archives", self.name));
        let fresh = home.join(format!("{}.unpacking", self.name));
        let root = home.join(self.name);
        for leftover in [&archives, &fresh, &root] {
            remove_tree(leftover)?;
        }
        fs::create_dir_all(&fresh).with_context(|| format!("creating {}", fresh.display()))?;
        fs::create_dir_all(&archives).with_context(|| format!("creating {}", archives.display()))?;

        let names: Vec<&str> = self.packages.iter().map(String::as_str).collect();
        match self.extent {
            Extent::Closure => {
                let downloads = apt.closure(&names, self.together)?;
                if downloads.is_empty() {
                    bail!("apt offers nothing to fetch for {}", names.join(", "));
                }
                let bytes = downloads.iter().map(|download| download.bytes).sum();
                let what =
                    format!("{}: {} Debian packages, {}", self.name, downloads.len(), step::megabytes(bytes));
                apt.download(&names, self.together, &archives, &what)?;
            }
            Extent::Behind => {
                let behind =
                    names.iter().map(|name| apt.dependencies(name)).collect::<Result<Vec<_>>>()?.concat();
                let bytes = apt.download_alone(&behind, &archives)?;
                step::note(
                    "fetched",
                    &format!("{}: {}, {}", self.name, behind.join(", "), step::megabytes(bytes)),
                );
            }
        }
        let unpacked = self.unpack(workspace, &archives, &fresh)?;
        let marker = format!("{}\n{}\n", self.key(), unpacked.join("\n"));
        fs::write(fresh.join(".packages"), marker)
            .with_context(|| format!("writing {}/.packages", fresh.display()))?;
        fs::rename(&fresh, &root)
            .with_context(|| format!("renaming {} to {}", fresh.display(), root.display()))?;
        remove_tree(&archives)?;
        Ok(Unpacked { root })
    }

    fn unpack(&self, workspace: &Workspace, archives: &Path, root: &Path) -> Result<Vec<String>> {
        let mut files: Vec<PathBuf> = fs::read_dir(archives)
            .with_context(|| format!("listing {}", archives.display()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .collect();
        files.sort();
        if files.is_empty() {
            bail!("apt-get succeeded and left no package in {}", archives.display());
        }
        let script = r#"set -eu; for package; do dpkg -x "$package" "$0"; done"#;
        let what = format!("{} ({} packages)", self.name, files.len());
        let log = workspace.log("unpack");
        step::run(
            "unpack",
            &what,
            Command::new("sh").args(["-c", script]).arg(root).args(&files),
            &log,
            None,
        )?;
        Ok(files
            .iter()
            .filter_map(|file| file.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("removing {}", path.display())),
    }
}

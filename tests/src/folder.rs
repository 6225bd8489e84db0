//! A temporary folder that a signal removes too.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cleanup::{self, Undo};

/// A new folder under the system's place for temporary files; removed with all that is in it when dropped.
pub struct Folder {
    path: PathBuf,
    _undo: Undo,
}

impl Folder {
    /// Creates one whose name begins with `prefix`.
    pub fn create(prefix: &str) -> Result<Self> {
        let (path, undo) = cleanup::making(|| {
            let path = tempfile::Builder::new().prefix(prefix).tempdir()?.keep();
            let doomed = path.clone();
            std::io::Result::Ok((path, Undo::new(move || remove(&doomed))))
        })
        .with_context(|| format!("cannot create a folder {prefix}… in {}", std::env::temp_dir().display()))?;
        Ok(Self { path, _undo: undo })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        eprintln!("warning: {} is left behind: {error}", path.display());
    }
}

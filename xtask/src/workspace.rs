//! Where things are: the checkout, its target folder, the tools fetched into it, and the lock over those.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The checkout this xtask belongs to.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The folder above xtask's own manifest: cargo names it when it runs us, the compile-time value serves a
    /// binary started by hand.
    pub(crate) fn locate() -> Result<Self> {
        let manifest_dir =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest_dir)
            .parent()
            .with_context(|| format!("no folder above {}", manifest_dir.display()))?
            .to_path_buf();
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// `target/` of the checkout, whatever `CARGO_TARGET_DIR` says: the README promises `target/release/xlvs`.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// What was fetched or built for the builds' own use; may be deleted at any time.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target().join("tools")
    }

    /// Output of the long steps, named after the step.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.tools().join("log").join(format!("{name}.log"))
    }

    /// The cargo that runs us, to be run in the checkout's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            // `cargo run` describes xtask to us in these; passed on, they would describe xtask to other crates.
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_")
                || text.starts_with("CARGO_MANIFEST_")
                || text == "CARGO_TARGET_DIR"
            {
                cargo.env_remove(&name);
            }
        }
        cargo
    }

    /// Keeps a second xtask from unpacking over this one; released when the value is dropped, or with the process.
    pub(crate) fn lock_tools(&self) -> Result<ToolsLock> {
        let folder = self.tools();
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let path = folder.join("lock");
        let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
        if file.try_lock().is_err() {
            crate::step::note("wait", "another cargo xtask is setting up target/tools");
            file.lock().with_context(|| format!("locking {}", path.display()))?;
        }
        Ok(ToolsLock { _file: file })
    }
}

/// Held while target/tools is written.
pub(crate) struct ToolsLock {
    _file: File,
}

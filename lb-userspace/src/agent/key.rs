//! The secret key of the flow hash: made once, kept in the state folder, so that it outlives pins and restarts. Directors of a
//! cluster have one together, which lies with their credentials.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lb_common::identity::{HashKey, KEY_WORDS};

use crate::config::Model;

/// A director's own key, in its state folder.
const FILE: &str = "flow-hash.key";
/// The key of a cluster, beside the credentials.
pub const OF_CLUSTER: &str = "hash-key";

/// Where the key of a director with this configuration lies: the cluster's if it has peers, else its own.
#[must_use]
pub fn place(model: &Model) -> PathBuf {
    match &model.cluster.mesh {
        Some(mesh) => mesh.credentials.join(OF_CLUSTER),
        None => own(&model.agent.state_dir),
    }
}

/// Where a director without peers has its key.
#[must_use]
pub fn own(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

/// The key in this folder; a new one, stored there, if there is none.
///
/// # Errors
/// What the file system says; a file that is not a key.
pub fn load_or_make(state_dir: &Path) -> Result<HashKey> {
    let path = own(state_dir);
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    let key = make()?;
    store(&path, &bytes(&key))?;
    Ok(key)
}

/// A key that nobody knows.
///
/// # Errors
/// When the kernel has no randomness.
pub fn make() -> Result<HashKey> {
    let mut bytes = [0; KEY_WORDS * 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("asking the kernel for randomness: {error}"))?;
    parse(&bytes).context("a key of the right length parses")
}

/// The key as its file holds it.
#[must_use]
pub fn bytes(key: &HashKey) -> Vec<u8> {
    key.0.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The key in this file; `None` if there is none.
///
/// # Errors
/// What the file system says; a file that is not a key.
pub fn read(path: &Path) -> Result<Option<HashKey>> {
    match fs::read(path) {
        Ok(bytes) => match parse(&bytes) {
            Some(key) => Ok(Some(key)),
            None => bail!(
                "{} is not a key of the flow hash ({} bytes instead of {}); get it back, or remove it to have a new one made",
                path.display(),
                bytes.len(),
                KEY_WORDS * 8
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Writes beside and renames, so that nobody ever reads half of it.
///
/// # Errors
/// What the file system says.
pub(super) fn store(path: &Path, bytes: &[u8]) -> Result<()> {
    let aside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

fn parse(bytes: &[u8]) -> Option<HashKey> {
    let words: Vec<u64> =
        bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default())).collect();
    (bytes.len() == KEY_WORDS * 8).then(|| words.try_into().ok().map(HashKey))?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let key = load_or_make(dir.path()).unwrap();
        assert_eq!(load_or_make(dir.path()).unwrap(), key);
        assert_eq!(fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(key.0.iter().all(|word| *word != 0));
    }

    #[test]
    fn a_damaged_key_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), b"short").unwrap();
        assert!(load_or_make(dir.path()).unwrap_err().to_string().contains(FILE));
    }
}

//! The secret key of the flow hash: made once, kept in the state folder, so that it outlives pins and restarts.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use lb_common::identity::{HashKey, KEY_WORDS};

const FILE: &str = "flow-hash.key";

/// The key in this folder; a new one, stored there, if there is none.
///
/// # Errors
/// What the file system says; a file that is not a key.
pub fn load_or_make(state_dir: &Path) -> Result<HashKey> {
    if let Some(key) = load(state_dir)? {
        return Ok(key);
    }
    let mut bytes = [0; KEY_WORDS * 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("asking the kernel for randomness: {error}"))?;
    store(&state_dir.join(FILE), &bytes)?;
    parse(&bytes).context("a key of the right length parses")
}

/// The key in this folder; `None` if there is none yet.
///
/// # Errors
/// What the file system says; a file that is not a key.
pub fn load(state_dir: &Path) -> Result<Option<HashKey>> {
    let path = state_dir.join(FILE);
    match fs::read(&path) {
        Ok(bytes) => match parse(&bytes) {
            Some(key) => Ok(Some(key)),
            None => bail!(
                "{} is not a key ({} bytes instead of {}); remove it to have a new one made",
                path.display(),
                bytes.len(),
                KEY_WORDS * 8
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Writes beside and renames, so that nobody ever reads half a key.
fn store(path: &Path, bytes: &[u8]) -> Result<()> {
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

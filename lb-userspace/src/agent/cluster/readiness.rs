//! Whether this director may have the VIPs, for the engine that gives them: a file with a number, as keepalived's `track_file`
//! takes it.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// The file, and what it says.
#[derive(Debug)]
pub struct Readiness {
    path: PathBuf,
    said: Option<bool>,
}

impl Readiness {
    /// The director is not ready.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin(path: PathBuf) -> io::Result<Self> {
        let mut readiness = Self { path, said: None };
        readiness.say(false)?;
        Ok(readiness)
    }

    /// `0` if it is ready, `1` if not: what is not 0 is a fault to keepalived. Written beside and renamed, so that nobody reads
    /// half of it; only when it changes.
    ///
    /// # Errors
    /// What the file system says; it is said again the next time.
    pub fn say(&mut self, ready: bool) -> io::Result<()> {
        if self.said == Some(ready) {
            return Ok(());
        }
        let mut aside = self.path.clone().into_os_string();
        aside.push(".new");
        let mut file = fs::File::create(&aside)?;
        file.write_all(if ready { b"0\n" } else { b"1\n" })?;
        fs::rename(&aside, &self.path)?;
        self.said = Some(ready);
        Ok(())
    }

    /// Where it is said.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_with_not_ready_and_is_written_only_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        fs::write(&path, "0\n").unwrap();
        let mut readiness = Readiness::begin(path.clone()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n", "what an earlier agent left does not count");
        readiness.say(true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n");
        fs::remove_file(&path).unwrap();
        readiness.say(true).unwrap();
        assert!(!path.exists(), "nothing new was said");
        readiness.say(false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

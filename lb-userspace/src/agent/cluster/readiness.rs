//! Whether this director may have the VIPs, for the engine that gives them: a file with a number, as keepalived's `track_file`
//! takes it.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;

/// What a director says that may have the VIPs.
const READY: &[u8] = b"0\n";
const NOT_READY: &[u8] = b"1\n";

/// The file, and what it says.
#[derive(Debug)]
pub struct Readiness {
    path: PathBuf,
    said: Option<bool>,
    /// Until when, at the latest, it stands by what an earlier agent said.
    inherited: Option<Instant>,
}

impl Readiness {
    /// The director is not ready; unless it was, and its maps have forwarded on without an agent: then it is `until` it is so
    /// again by itself, for nothing has changed that would be a reason to move the VIPs.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin(path: PathBuf, until: Option<Instant>) -> io::Result<Self> {
        let inherited = until.filter(|_| fs::read(&path).is_ok_and(|said| said == READY));
        let mut readiness = Self { path, said: inherited.map(|_| true), inherited };
        readiness.say(false, Instant::now())?;
        Ok(readiness)
    }

    /// The director leaves.
    ///
    /// # Errors
    /// What the file system says.
    pub fn leave(&mut self, now: Instant) -> io::Result<()> {
        self.inherited = None;
        self.say(false, now)
    }

    /// `0` if it is ready, `1` if not: what is not 0 is a fault to keepalived. Written beside and renamed, so that nobody reads
    /// half of it; only when it changes.
    ///
    /// # Errors
    /// What the file system says; it is said again the next time.
    pub fn say(&mut self, ready: bool, now: Instant) -> io::Result<()> {
        self.inherited = self.inherited.filter(|until| !ready && now < *until);
        let ready = ready || self.inherited.is_some();
        if self.said == Some(ready) {
            return Ok(());
        }
        let mut aside = self.path.clone().into_os_string();
        aside.push(".new");
        let mut file = fs::File::create(&aside)?;
        file.write_all(if ready { READY } else { NOT_READY })?;
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
    use std::time::Duration;

    use super::*;

    /// The file of a director, as an earlier agent left it.
    fn left(said: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ready");
        fs::write(&path, said).unwrap();
        (folder, path)
    }

    #[test]
    fn it_begins_with_not_ready_and_is_written_only_when_it_changes() {
        let (folder, path) = left("0\n");
        let now = Instant::now();
        let mut readiness = Readiness::begin(path.clone(), None).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n", "what was said of other maps does not count");
        readiness.say(true, now).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "0\n");
        fs::remove_file(&path).unwrap();
        readiness.say(true, now).unwrap();
        assert!(!path.exists(), "nothing new was said");
        readiness.say(false, now).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_agent_on_the_same_maps_stands_by_what_the_last_one_said() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let begin = |path: &PathBuf| Readiness::begin(path.clone(), Some(later)).unwrap();
        let said = |path: &PathBuf| fs::read_to_string(path).unwrap();

        let (_folder, path) = left("1\n");
        begin(&path);
        assert_eq!(said(&path), "1\n", "it was not ready");

        let (_folder, path) = left("0\n");
        begin(&path).say(false, now).unwrap();
        assert_eq!(said(&path), "0\n", "it joins again");
        begin(&path).say(false, later).unwrap();
        assert_eq!(said(&path), "1\n", "that takes too long");

        let (_folder, path) = left("0\n");
        let mut readiness = begin(&path);
        readiness.say(true, now).unwrap();
        readiness.say(false, now).unwrap();
        assert_eq!(said(&path), "1\n", "it had joined, and is out of step");

        let (_folder, path) = left("0\n");
        begin(&path).leave(now).unwrap();
        assert_eq!(said(&path), "1\n", "it leaves");
    }
}

//! Whether the file, or one that it includes, is another than the one that was last read.
//!
//! Looked at each second rather than by notices of the kernel: these miss what is mounted elsewhere or reached by a link that
//! is turned over, and a file that is written in several strokes must be waited for in any case.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::config;

/// What tells two states of the files apart.
#[derive(Debug, PartialEq, Eq)]
struct Stamps(Vec<(PathBuf, Option<[i64; 4]>)>);

impl Stamps {
    fn of(path: &Path) -> Self {
        let stamp = |file: &PathBuf| {
            let now = std::fs::metadata(file).ok()?;
            Some([now.ino() as i64, now.size() as i64, now.mtime(), now.mtime_nsec()])
        };
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self(config::files(&path).into_iter().map(|file| (file.clone(), stamp(&file))).collect())
    }
}

/// What was last read, and what has been seen since.
#[derive(Debug)]
pub(super) struct Watch {
    read: Stamps,
    seen: Option<Stamps>,
}

impl Watch {
    /// For files that are about to be read.
    pub(super) fn of(path: &Path) -> Self {
        Self { read: Stamps::of(path), seen: None }
    }

    /// Whether they are others than those that were read, and are as they were at the last look.
    pub(super) fn has_settled_anew(&mut self, path: &Path) -> bool {
        let now = Stamps::of(path);
        if now == self.read {
            self.seen = None;
            return false;
        }
        let settled = self.seen.as_ref() == Some(&now);
        self.seen = Some(now);
        settled
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_changes_is_read_once_it_stands_still() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("xlvs.toml");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("xlvs.toml", "include = [\"*.inc\"]\n");
        write("one.inc", "1");
        let mut watch = Watch::of(&main);
        assert!(!watch.has_settled_anew(&main));
        let mut settles = |what: &str| {
            assert!(!watch.has_settled_anew(&main), "{what}: seen for the first time");
            assert!(watch.has_settled_anew(&main), "{what}: stands still");
            watch = Watch::of(&main);
            assert!(!watch.has_settled_anew(&main), "{what}: was read");
        };
        write("one.inc", "1, and more");
        settles("an included file");
        write("two.inc", "2");
        settles("another one");
        fs::remove_file(folder.path().join("one.inc")).unwrap();
        settles("one less");
        write("new", "include = [\"*.inc\"]\n# the same size would do\n");
        fs::rename(folder.path().join("new"), &main).unwrap();
        settles("the file replaced as editors do");
        fs::remove_file(&main).unwrap();
        settles("the file removed");

        write("xlvs.toml", "a");
        assert!(!watch.has_settled_anew(&main));
        write("xlvs.toml", "a, b");
        assert!(!watch.has_settled_anew(&main), "still being written");
    }
}

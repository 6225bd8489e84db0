//! Network namespaces: the one this process is in, and going to another.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

const OWN: &str = "/proc/thread-self/ns/net";
/// Where iproute2 keeps the named ones.
const NAMED: &str = "/run/netns";

/// Moves this thread, and all that it starts, into a network namespace. The mounts stay the host's, pins included.
///
/// # Errors
/// If it is not there or may not be entered.
pub fn enter(netns: &Path) -> Result<()> {
    let file =
        File::open(netns).with_context(|| format!("opening the network namespace {}", netns.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("entering the network namespace {}", netns.display()))
}

/// The inode number of this thread's; 0 if /proc does not tell.
#[must_use]
pub fn own() -> u64 {
    inode(Path::new(OWN)).unwrap_or(0)
}

/// A path to the one with this inode number: this thread's own, or a named one.
#[must_use]
pub fn find(number: u64) -> Option<PathBuf> {
    let named = fs::read_dir(NAMED).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    std::iter::once(PathBuf::from(OWN)).chain(named).find(|path| inode(path) == Some(number))
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|about| about.ino())
}

//! The pin folder: who may use it, and whether what lies in it is ours.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{fmt, io};

use aya::maps::MapInfo;
use lb_common::ABI_VERSION;
use lb_common::entry::About;

/// A folder of pins that this process has locked.
#[derive(Debug)]
pub struct Pins {
    dir: PathBuf,
    /// Held as long as this lives; the kernel lets go of it when the process ends, however it ends.
    _lock: File,
}

/// Why a pin folder cannot be used.
#[derive(Debug)]
pub enum PinsError {
    /// Another agent holds it.
    Held(PathBuf),
    /// It lies on no bpffs.
    NotBpffs(PathBuf),
    /// It lies on a mount that dies with this process.
    Private(PathBuf),
    /// It was made by an agent of another ABI.
    OtherAbi {
        dir: PathBuf,
        found: u64,
    },
    /// A map in it is not what our object has.
    Mismatch {
        dir: PathBuf,
        map: String,
        what: String,
    },
    Io(PathBuf, io::Error),
}

/// `BPF_FS_MAGIC` (linux/magic.h).
const BPFFS: i64 = 0xcafe_4a11;

impl Pins {
    /// Locks the folder, which is made if need be. The lock file lies in the state folder, since bpffs holds no files.
    ///
    /// # Errors
    /// See [`PinsError`].
    pub fn lock(dir: &Path, state_dir: &Path) -> Result<Self, PinsError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error| PinsError::Io(path, error)
        };
        let parent = dir.parent().unwrap_or(Path::new("/"));
        shared_bpffs(parent)?;
        let make =
            |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path));
        make(dir)?;
        make(&dir.join("maps"))?;
        make(&dir.join("stages"))?;
        make(&dir.join("links"))?;
        make(state_dir)?;
        let name = dir.to_string_lossy().trim_matches('/').replace('/', "-");
        let path = state_dir.join(format!("{name}.lock"));
        let lock = File::create(&path).map_err(io(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(PinsError::Held(dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(PinsError::Io(path, error)),
        }
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.dir.join("maps").join(name)
    }

    #[must_use]
    pub fn stages(&self) -> PathBuf {
        self.dir.join("stages")
    }

    #[must_use]
    pub fn link(&self, interface: &str) -> PathBuf {
        self.dir.join("links").join(interface)
    }

    /// The interfaces with a pinned link.
    #[must_use]
    pub fn linked(&self) -> Vec<String> {
        linked(&self.dir)
    }

    /// Compares what is pinned with what our object would create. `sizes` gives, by map, key and value size and type
    /// number.
    ///
    /// # Errors
    /// [`PinsError::OtherAbi`] or [`PinsError::Mismatch`].
    pub fn check_map(
        &self,
        name: &str,
        kind: u32,
        key: u32,
        value: u32,
    ) -> Result<Option<MapInfo>, PinsError> {
        let path = self.map(name);
        if !path.exists() {
            return Ok(None);
        }
        let mismatch =
            |what: String| PinsError::Mismatch { dir: self.dir.clone(), map: name.to_owned(), what };
        let info = MapInfo::from_pin(&path).map_err(|error| mismatch(error.to_string()))?;
        let found_kind = info.map_type().map(|kind| kind as u32).unwrap_or_default();
        if found_kind != kind {
            return Err(mismatch(format!("type {found_kind} instead of {kind}")));
        }
        if (info.key_size(), info.value_size()) != (key, value) {
            return Err(mismatch(format!(
                "keys and values of {} and {} bytes instead of {key} and {value}",
                info.key_size(),
                info.value_size()
            )));
        }
        Ok(Some(info))
    }

    /// Whether pins that say this about themselves are ours; a folder that says nothing yet is new.
    ///
    /// # Errors
    /// [`PinsError::OtherAbi`].
    pub fn check_abi(&self, about: &About) -> Result<bool, PinsError> {
        match (about.magic.load(), about.abi.load()) {
            (0, 0) => Ok(false),
            (About::MAGIC, ABI_VERSION) => Ok(true),
            (_, found) => Err(PinsError::OtherAbi { dir: self.dir.clone(), found }),
        }
    }
}

/// The interfaces with a pinned link in this folder.
#[must_use]
pub fn linked(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.join("links"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Refuses a folder that is on no bpffs, or on one that belongs to a mount namespace that may die with us.
fn shared_bpffs(dir: &Path) -> Result<(), PinsError> {
    let io = |error| PinsError::Io(dir.to_owned(), error);
    let is_bpffs = rustix::fs::statfs(dir).map_err(|error| io(error.into()))?.f_type == BPFFS;
    let device = fs::metadata(dir).map_err(io)?.dev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    // Who may not look at PID 1 has nothing to compare with, and is believed.
    let mounts = fs::read_to_string("/proc/1/mountinfo").ok();
    let seen_by_init: Option<Vec<Mount>> =
        mounts.as_ref().map(|text| text.lines().filter_map(bpffs_of_line).collect());
    match (is_bpffs, seen_by_init) {
        (true, Some(seen)) if !seen.iter().any(|mount| mount.device == device) => {
            Err(PinsError::Private(dir.to_owned()))
        }
        (true, _) => Ok(()),
        // It is mounted, only not where we are: another mount here would not outlive us.
        (false, Some(seen)) if seen.iter().any(|mount| Path::new(mount.point) == dir) => {
            Err(PinsError::Private(dir.to_owned()))
        }
        (false, _) => Err(PinsError::NotBpffs(dir.to_owned())),
    }
}

/// A bpffs in a list of mounts.
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    /// `major:minor`
    device: &'a str,
    point: &'a str,
}

/// A line of proc_pid_mountinfo(5): id, parent, device, root, mount point, options, tags, a hyphen, type, source, options.
fn bpffs_of_line(line: &str) -> Option<Mount<'_>> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(2);
    let mount = Mount { device: fields.next()?, point: fields.nth(1)? };
    (after.split(' ').next() == Some("bpf")).then_some(mount)
}

impl fmt::Display for PinsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(dir) => write!(
                f,
                "another agent holds the pins in {}; stop it first, or give this one its own [agent] pin_dir",
                dir.display()
            ),
            Self::NotBpffs(dir) => write!(
                f,
                "{} is not on a BPF file system; mount one with 'mount -t bpf bpf /sys/fs/bpf'",
                dir.display()
            ),
            Self::Private(dir) => write!(
                f,
                "{} is on a mount that PID 1 does not see, so the pins would die with this process ('ip netns exec' makes \
                 such a mount); enter the namespace with 'xlvs up --netns NAME' or 'nsenter --net=/run/netns/NAME'",
                dir.display()
            ),
            Self::OtherAbi { dir, found } => write!(
                f,
                "the pins in {} have ABI {found}, this agent has ABI {ABI_VERSION}; run the version that made them, or \
                 'xlvs down' (which ends its connections) and start anew",
                dir.display()
            ),
            Self::Mismatch { dir, map, what } => write!(
                f,
                "map {map} pinned in {} is not this agent's ({what}); 'xlvs down' removes the pins",
                dir.display()
            ),
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for PinsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bpffs_is_found_in_a_list_of_mounts() {
        let line = "36 23 0:39 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700";
        assert_eq!(bpffs_of_line(line), Some(Mount { device: "0:39", point: "/sys/fs/bpf" }));
        assert_eq!(bpffs_of_line("23 27 0:22 / /sys rw,relatime - sysfs sysfs rw"), None);
        assert_eq!(bpffs_of_line("no mount at all"), None);
    }
}

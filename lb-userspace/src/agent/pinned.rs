//! What can be said about a data path whose agent does not answer.

use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::cli::PinnedSummary;
use crate::dataplane::last_heartbeat;

/// What is pinned in this folder; `None`: nothing.
///
/// # Errors
/// When the folder cannot be looked at.
pub fn pinned(dir: &Path) -> io::Result<Option<PinnedSummary>> {
    let links = match std::fs::read_dir(dir.join("links")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut interfaces: Vec<String> =
        links.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    interfaces.sort();
    let last_heartbeat = last_heartbeat(dir).map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    Ok(Some(PinnedSummary { interfaces, last_heartbeat }))
}

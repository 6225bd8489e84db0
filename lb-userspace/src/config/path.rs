//! Paths of files and folders.

use std::path::{Path, PathBuf};

use super::source::Reported;
use super::table::{Entry, quoted};

/// A path that means the same wherever the agent was started. `example` is what to write instead of a wrong one.
pub(super) fn absolute(entry: &Entry<'_>, example: &str) -> Result<PathBuf, Reported> {
    let remedy = format!("{} = {}", entry.key, quoted(example));
    let text = entry.text(&remedy)?;
    if !Path::new(text).is_absolute() || text.contains('\0') {
        let what = format!("{} = {} is not an absolute path", entry.key, quoted(text));
        return Err(entry.problem(what, format!("begin it with /, such as {remedy}")));
    }
    Ok(text.into())
}

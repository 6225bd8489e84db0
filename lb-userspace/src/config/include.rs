//! Reads configuration files from disk, with those they include.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::source::{Reported, Source};
use super::table::{Entry, quoted};

/// No configuration is as large as this; a device or a disk image is.
const LARGEST_FILE: u64 = 16 << 20;
const EXAMPLE: &str = "include = [\"services.d/*.toml\"]";

/// Reads a file. What is wrong with it is in the source, under the name by which the user knows it.
pub(super) fn read_file(path: &Path) -> Source {
    let name = path.display().to_string();
    match read_bytes(path) {
        Ok(bytes) => Source::from_bytes(&name, &bytes),
        Err(error) => {
            let (what, remedy) = explain(&error);
            Source::unreadable(&name, what, remedy)
        }
    }
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE { Err(ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

fn explain(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        ErrorKind::NotFound => ("no such file".to_owned(), "name another one with -c FILE or XLVS_CONFIG"),
        ErrorKind::PermissionDenied => (
            "cannot read the file: permission denied".to_owned(),
            "make it readable to this user, or run as root",
        ),
        ErrorKind::IsADirectory => ("is a directory".to_owned(), "name a file in it, such as xlvs.toml"),
        ErrorKind::FileTooLarge => ("the file is larger than 16 MiB".to_owned(), "name a configuration file"),
        _ => (format!("cannot read the file: {error}"), "mend the cause, or name another file"),
    }
}

/// Reads every file that `include` names.
pub(super) fn follow(including: &Path, entry: &Entry<'_>) -> Vec<Source> {
    named(including, entry).iter().map(|path| read_file(path)).collect()
}

/// Every file that the patterns of `include` match, each once, in the order of the patterns and then of the names. Patterns are
/// relative to the including file.
pub(super) fn named(including: &Path, entry: &Entry<'_>) -> Vec<PathBuf> {
    let mut known: BTreeSet<PathBuf> = including.canonicalize().into_iter().collect();
    let patterns = entry.items(EXAMPLE).unwrap_or_default();
    let paths = patterns.iter().filter_map(|pattern| matches(including, pattern).ok()).flatten();
    paths.filter(|path| known.insert(path.canonicalize().unwrap_or_else(|_| path.clone()))).collect()
}

fn matches(including: &Path, item: &Entry<'_>) -> Result<Vec<PathBuf>, Reported> {
    let text = item.text(EXAMPLE)?;
    let folder = including.parent().unwrap_or(Path::new(""));
    let pattern = match Path::new(text).is_absolute() || folder.as_os_str().is_empty() {
        true => text.to_owned(),
        false => format!("{}/{text}", glob::Pattern::escape(&folder.display().to_string())),
    };
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let paths = glob::glob_with(&pattern, options).map_err(|error| {
        let what = format!("{} is not a pattern: {}", quoted(text), error.msg);
        item.problem(what, "write one such as \"services.d/*.toml\"")
    })?;
    // A folder that cannot be read is a problem, not a folder without files.
    let paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(|error| {
        let what = format!("cannot read {}: {}", quoted(&error.path().display().to_string()), error.error());
        item.problem(what, "make it readable to this user, or run as root")
    })?;
    if paths.is_empty() {
        return Err(
            item.problem(format!("{} matches no file", quoted(text)), "correct the pattern or remove it")
        );
    }
    Ok(paths)
}

//! Whole configurations: what they mean, how the wrong ones are answered.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Model, load_str};

mod cluster;
mod differences;
mod files;
mod includes;
mod inheritance;
mod properties;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in a folder of the repository")
}

fn files_in(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = repository().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("list the folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn model(text: &str) -> Model {
    load_str("test.toml", text).unwrap_or_else(|problems| panic!("{problems}\nin:\n{text}"))
}

/// A service with nothing but what must be given, and these lines.
fn bare_service(service: &str, server: &str) -> String {
    format!(
        "[[service]]\nname = \"web\"\nvip = \"10.77.1.100\"\nport = 80\n{service}\n\
         [[service.server]]\nname = \"rs1\"\naddress = \"10.77.2.21\"\n{server}\n"
    )
}

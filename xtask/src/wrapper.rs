//! Small scripts that stand for a program and give it the library path it needs, so that no caller has to know it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes `path` as a script that becomes `program`, with `library_path` as LD_LIBRARY_PATH unless it is empty. A
/// script that is right already keeps its time: cargo rebuilds everything when its compiler's file is newer.
pub(crate) fn write(path: &Path, program: &Path, library_path: &str) -> Result<()> {
    let text = script(program, library_path);
    if fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let folder = path.parent().with_context(|| format!("no folder above {}", path.display()))?;
    fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    // Aside and renamed: the old script may be running.
    let fresh = path.with_extension("new");
    fs::write(&fresh, &text).with_context(|| format!("writing {}", fresh.display()))?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", fresh.display()))?;
    fs::rename(&fresh, path).with_context(|| format!("renaming {} to {}", fresh.display(), path.display()))
}

fn script(program: &Path, library_path: &str) -> String {
    let environment = if library_path.is_empty() {
        String::new()
    } else {
        format!("LD_LIBRARY_PATH={} ", quoted(library_path))
    };
    format!("#!/bin/sh\n{environment}exec {} \"$@\"\n", quoted(&program.display().to_string()))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_path_stays_a_quote() {
        let script = script(Path::new("/it's/here"), "/a:/b");
        assert_eq!(script, "#!/bin/sh\nLD_LIBRARY_PATH='/a:/b' exec '/it'\\''s/here' \"$@\"\n");
    }
}

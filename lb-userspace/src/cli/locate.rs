//! Which file, which socket, which pins: the order in which they are looked for.

use toml::de::DeTable;

use crate::config::{self, CREDENTIALS};
use crate::control::DEFAULT_SOCKET;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The configuration file if nothing names another.
pub(super) const DEFAULT_CONFIG: &str = "/etc/xlvs/xlvs.toml";

/// The state folder if the file does not name another.
const DEFAULT_STATE_DIR: &str = "/var/lib/xlvs";

/// The pins if the file does not name others.
pub(super) const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/xlvs";

/// What the file says about where its agent is to be found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hints {
    pub(super) socket: Option<PathBuf>,
    pub(super) pin_dir: Option<PathBuf>,
}

/// Where a director keeps what outlives its pins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) state_dir: PathBuf,
    /// What it shows of itself to others.
    pub(super) credentials: PathBuf,
}

/// Reads the hints.
///
/// On purpose less strict than the configuration's reader: while somebody edits the file and it is
/// wrong, `xlvs status` must still find the agent that runs.
pub(super) fn hints(file: &Path) -> io::Result<Hints> {
    Ok(hints_in(&fs::read_to_string(file)?))
}

fn hints_in(text: &str) -> Hints {
    // A table is given once: whoever has it need not read on.
    let table = config::head(text).filter(|head| head.contains_key("agent")).unwrap_or_else(|| whole(text));
    Hints { socket: path_in(&table, "agent", "socket"), pin_dir: path_in(&table, "agent", "pin_dir") }
}

/// Reads where the director of the file keeps what it has.
pub(super) fn places(file: &Path) -> io::Result<Places> {
    Ok(places_in(&fs::read_to_string(file)?))
}

fn places_in(text: &str) -> Places {
    let table = whole(text);
    let default = Places::default();
    Places {
        state_dir: path_in(&table, "agent", "state_dir").unwrap_or(default.state_dir),
        credentials: path_in(&table, "cluster", "credentials").unwrap_or(default.credentials),
    }
}

impl Default for Places {
    fn default() -> Self {
        Self { state_dir: PathBuf::from(DEFAULT_STATE_DIR), credentials: PathBuf::from(CREDENTIALS) }
    }
}

fn whole(text: &str) -> DeTable<'_> {
    DeTable::parse_recoverable(text).0.into_inner()
}

fn path_in(table: &DeTable<'_>, section: &str, key: &str) -> Option<PathBuf> {
    let text = table.get(section)?.get_ref().get(key)?.get_ref().as_str()?;
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// `--socket` or `XLVS_SOCKET`, the file's, the default.
pub(super) fn socket(named: Option<PathBuf>, hints: &Hints) -> PathBuf {
    named.or_else(|| hints.socket.clone()).unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET))
}

/// A namespace's path, from its path or its name in `/run/netns`.
pub(super) fn netns(name_or_path: &str) -> PathBuf {
    if name_or_path.contains('/') {
        PathBuf::from(name_or_path)
    } else {
        Path::new("/run/netns").join(name_or_path)
    }
}

#[cfg(test)]
mod tests {
    use super::{Hints, Places, hints_in, netns, places_in, socket};
    use std::path::{Path, PathBuf};

    #[test]
    fn the_file_is_asked_after_the_command_line() {
        let hints = hints_in("[agent]\nsocket = \"/run/a\"\npin_dir = \"/sys/fs/bpf/a\"\nunknown = 1\n");
        assert_eq!(hints.pin_dir.as_deref(), Some(Path::new("/sys/fs/bpf/a")));
        assert_eq!(socket(None, &hints), PathBuf::from("/run/a"));
        assert_eq!(socket(Some("/run/b".into()), &hints), PathBuf::from("/run/b"));
        assert_eq!(socket(None, &Hints::default()), PathBuf::from("/run/xlvs/xlvs.sock"));
    }

    #[test]
    fn what_a_director_keeps_is_where_the_file_says_or_where_it_is_by_default() {
        let places = |text: &str| {
            let Places { state_dir, credentials } = places_in(text);
            [state_dir, credentials].map(|path| path.display().to_string())
        };
        assert_eq!(places(""), ["/var/lib/xlvs", "/etc/xlvs/cluster"]);
        let text = "[agent]\nstate_dir = \"/a\"\n[cluster]\ncredentials = \"/b\"\n";
        assert_eq!(places(text), ["/a", "/b"]);
    }

    #[test]
    fn what_the_file_does_not_say_rightly_is_not_said() {
        for text in
            ["", "[agent]\n", "[agent]\nsocket = 7\n", "[agent]\nsocket = \"\"\n", "agent = 1\n", "[agent\n"]
        {
            assert_eq!(hints_in(text), Hints::default(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_elsewhere_in_the_file_does_not_hide_the_agent() {
        for wrong in ["nonsense", "[service", "x = ", "[[service]]\nname = \"web"] {
            let text = format!("[agent]\nsocket = \"/run/a\"\n{wrong}");
            assert_eq!(hints_in(&text).socket.as_deref(), Some(Path::new("/run/a")), "{wrong}");
        }
    }

    #[test]
    fn a_namespace_has_a_name_or_a_path() {
        assert_eq!(netns("lb"), PathBuf::from("/run/netns/lb"));
        assert_eq!(netns("/proc/7/ns/net"), PathBuf::from("/proc/7/ns/net"));
    }
}

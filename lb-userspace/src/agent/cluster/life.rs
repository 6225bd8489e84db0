//! Which life of this director's connection table it is, and how far its records' counter may have come. Kept in the state
//! folder, because both outlive the agent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::Inherited;
use crate::agent::key;
use crate::replication::version::{NodeId, Origin};

const FILE: &str = "cluster-origin";

/// What is kept, and where.
#[derive(Debug)]
pub struct Life {
    path: PathBuf,
    origin: Origin,
    /// When the connection table was made, in Unix seconds, as the pins have it.
    table: u64,
    mark: u64,
    /// What the file says.
    kept: Option<Kept>,
}

/// As the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    life: u64,
    table: u64,
    mark: u64,
}

impl Life {
    /// Goes on with the life that is kept, if it is that of the connections which are in the table that was made at `table`; says
    /// whether it does. Else another life begins; the counter goes on in any case.
    ///
    /// # Errors
    /// What the file system says; a file that holds something else.
    pub fn settle(state_dir: &Path, node: NodeId, table: u64, inherited: Inherited) -> Result<(Self, bool)> {
        let path = state_dir.join(FILE);
        let kept = read(&path)?;
        let lived_in = match inherited {
            Inherited::Nobodys => None,
            Inherited::Maps => Some(table),
            Inherited::Snapshot(table) => Some(table),
        };
        let same = kept.filter(|kept| lived_in == Some(kept.table));
        let life = match same {
            Some(kept) => kept.life,
            None => getrandom::u64()
                .map_err(|error| anyhow::anyhow!("asking the kernel for randomness: {error}"))?,
        };
        let mark = kept.map_or(0, |kept| kept.mark);
        Ok((Self { path, origin: Origin { node, life }, table, mark, kept }, same.is_some()))
    }

    /// Who this director is.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Where the counter begins.
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// Keeps the mark, if it is another one; it is on the disk when this returns.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&mut self, mark: u64) -> Result<()> {
        self.mark = mark;
        let Self { origin: Origin { life, .. }, table, .. } = *self;
        let kept = Some(Kept { life, table, mark });
        if self.kept != kept {
            key::store(&self.path, format!("life {life:016x}\ntable {table}\nmark {mark}\n").as_bytes())?;
            self.kept = kept;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<Kept>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    match parse(&text) {
        Some(kept) => Ok(Some(kept)),
        None => bail!(
            "{} does not say which life of this director it is; remove it, and another one begins",
            path.display()
        ),
    }
}

fn parse(text: &str) -> Option<Kept> {
    let mut lines = text.lines();
    let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
    let life = u64::from_str_radix(&value("life")?, 16).ok()?;
    Some(Kept { life, table: value("table")?.parse().ok()?, mark: value("mark")?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);

    #[test]
    fn an_agent_that_restarts_on_its_table_is_the_same_and_counts_on() {
        let folder = tempfile::tempdir().unwrap();
        let settle = |table, inherited| Life::settle(folder.path(), NODE, table, inherited).unwrap();
        let (mut first, recovering) = settle(100, Inherited::Nobodys);
        assert!(!recovering);
        first.keep(4096).unwrap();
        let (again, recovering) = settle(100, Inherited::Maps);
        assert!(recovering);
        assert_eq!((again.origin(), again.mark()), (first.origin(), 4096));

        let (mut restored, recovering) = settle(300, Inherited::Snapshot(100));
        assert!(recovering, "another table with the same connections");
        assert_eq!((restored.origin(), restored.mark()), (first.origin(), 4096));
        restored.keep(4096).unwrap();
        assert!(settle(300, Inherited::Maps).1, "from then on it is that one's life");
        first.keep(8192).unwrap();

        for (table, inherited, what) in [
            (100, Inherited::Nobodys, "new maps in the same second"),
            (200, Inherited::Maps, "another table"),
            (100, Inherited::Snapshot(200), "a snapshot of another table"),
        ] {
            let (other, recovering) = settle(table, inherited);
            assert!(!recovering, "{what}");
            assert_ne!(other.origin(), first.origin(), "{what}");
            assert_eq!(other.mark(), 8192, "{what}");
        }
    }

    #[test]
    fn what_is_no_life_is_not_guessed_at() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "life 12\n", "life x\ntable 1\nmark 2\n", "life 1\nmark 2\ntable 1\n"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let error = Life::settle(folder.path(), NODE, 1, Inherited::Maps).unwrap_err().to_string();
            assert!(error.contains("remove it"), "{error}");
        }
    }
}

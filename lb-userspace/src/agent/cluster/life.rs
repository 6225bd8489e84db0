//! Which life of this director's connection table it is, and how far its records' counter may have come. Kept in the state
//! folder, because both outlive the agent.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

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
}

/// As the file has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kept {
    life: u64,
    table: u64,
    mark: u64,
}

impl Life {
    /// Goes on with the life that is kept, if it is that of the table which was made at `table` and is pinned still
    /// (`adopted`); says whether it does. Else another life begins; the counter goes on in any case.
    ///
    /// # Errors
    /// What the file system says; a file that holds something else.
    pub fn settle(state_dir: &Path, node: NodeId, table: u64, adopted: bool) -> Result<(Self, bool)> {
        let path = state_dir.join(FILE);
        let kept = read(&path)?;
        let same = kept.filter(|kept| adopted && kept.table == table);
        let life = match same {
            Some(kept) => kept.life,
            None => getrandom::u64()
                .map_err(|error| anyhow::anyhow!("asking the kernel for randomness: {error}"))?,
        };
        let mark = kept.map_or(0, |kept| kept.mark);
        Ok((Self { path, origin: Origin { node, life }, table, mark }, same.is_some()))
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
        if self.mark == mark {
            return Ok(());
        }
        let Self { origin: Origin { life, .. }, table, .. } = self;
        key::store(&self.path, format!("life {life:016x}\ntable {table}\nmark {mark}\n").as_bytes())?;
        self.mark = mark;
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
        let settle = |table, adopted| Life::settle(folder.path(), NODE, table, adopted).unwrap();
        let (mut first, recovering) = settle(100, false);
        assert!(!recovering);
        first.keep(4096).unwrap();
        let (again, recovering) = settle(100, true);
        assert!(recovering);
        assert_eq!((again.origin(), again.mark()), (first.origin(), 4096));

        for (table, adopted, what) in
            [(100, false, "new maps in the same second"), (200, true, "another table")]
        {
            let (other, recovering) = settle(table, adopted);
            assert!(!recovering, "{what}");
            assert_ne!(other.origin(), first.origin(), "{what}");
            assert_eq!(other.mark(), 4096, "{what}");
        }
    }

    #[test]
    fn what_is_no_life_is_not_guessed_at() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "life 12\n", "life x\ntable 1\nmark 2\n", "life 1\nmark 2\ntable 1\n"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let error = Life::settle(folder.path(), NODE, 1, true).unwrap_err().to_string();
            assert!(error.contains("remove it"), "{error}");
        }
    }
}

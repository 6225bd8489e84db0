//! A program that checks.

use crate::config::source::Reported;
use crate::config::table::{Layered, quoted};

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExecProbe {
    /// The program's absolute path, then its arguments as they are: no shell reads them. None holds a NUL.
    pub command: Vec<String>,
}

const EXAMPLE: &str = "command = [\"/usr/local/bin/check-web\", \"--deep\"]";

pub(super) fn read(table: &Layered<'_>) -> Result<ExecProbe, Reported> {
    table.require("command", EXAMPLE, |entry| {
        if entry.as_text().is_some() {
            let what = "command is one text, but no shell divides it into words";
            return Err(entry.problem(what, format!("write {EXAMPLE}")));
        }
        let words: Vec<_> = entry.items(EXAMPLE)?.iter().map(|word| word.text(EXAMPLE)).collect();
        let words = words.into_iter().collect::<Result<Vec<_>, _>>()?;
        if let Some(word) = words.iter().find(|word| word.contains('\0')) {
            return Err(entry.problem(format!("{} holds a NUL", quoted(word)), "remove it"));
        }
        match words.first() {
            Some(program) if program.starts_with('/') => {
                Ok(ExecProbe { command: words.into_iter().map(ToOwned::to_owned).collect() })
            }
            Some(program) => {
                let what = format!("the program {} is not an absolute path", quoted(program));
                Err(entry.problem(what, format!("write {EXAMPLE}")))
            }
            None => Err(entry.problem("command is empty", format!("write {EXAMPLE}"))),
        }
    })
}

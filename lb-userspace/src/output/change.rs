//! `xlvs reload` and the changes of `xlvs check --diff` for people.

use super::Render;
use super::units::plural;
use crate::api::{Change, DiffReport, ReloadReport};

impl Render for ReloadReport {
    fn table(&self) -> String {
        let changed = match self.changes.len() as u64 {
            0 => "nothing changed".to_owned(),
            changes => plural(changes, "change"),
        };
        let mut text =
            format!("{}: generation {} in force, {changed}\n", self.path.display(), self.generation);
        text += &lines(&self.changes);
        for warning in &self.warnings {
            text += &format!("warning: {warning}\n");
        }
        text
    }
}

impl Render for DiffReport {
    fn table(&self) -> String {
        match self.changes.len() as u64 {
            0 => "a reload would change nothing\n".to_owned(),
            changes => {
                format!("a reload would make {}:\n{}", plural(changes, "change"), lines(&self.changes))
            }
        }
    }
}

/// One change a line.
pub(super) fn lines(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("  {change}\n")).collect()
}

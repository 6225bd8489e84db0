//! `xlvs check` for people.

use super::Render;
use super::change::lines;
use super::units::plural;
use crate::api::CheckReport;

impl Render for CheckReport {
    /// `FILE: ok, N services, M servers`, or each problem on a line of its own.
    fn table(&self) -> String {
        let mut text: String = self.problems.iter().map(|problem| format!("{problem}\n")).collect();
        if self.ok {
            text += &format!(
                "{}: ok{}{}\n",
                self.path.display(),
                amount(self.services, "service"),
                amount(self.servers, "server")
            );
        }
        match self.changes.as_deref() {
            None => {}
            Some([]) => text += "a reload would change nothing\n",
            Some(changes) => {
                text += &format!("a reload would make {}:\n", plural(changes.len() as u64, "change"));
                text += &lines(changes);
            }
        }
        text
    }
}

fn amount(number: Option<u64>, noun: &str) -> String {
    number.map(|number| format!(", {}", plural(number, noun))).unwrap_or_default()
}

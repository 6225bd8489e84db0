//! The table at the end, and the verdict over it.

use std::fmt;

use anyhow::{Result, bail};

use crate::outcome::Outcome;

/// All suites, in the order they were added.
#[derive(Default)]
pub(super) struct Report {
    suites: Vec<(String, Outcome)>,
}

impl Report {
    pub(super) fn add(&mut self, suite: &str, outcome: Outcome) {
        self.suites.push((suite.to_owned(), outcome));
    }

    /// An error that names the suites which failed or did not run.
    pub(super) fn verdict(&self) -> Result<()> {
        let names = |wanted: fn(&Outcome) -> bool| -> Vec<&str> {
            let chosen = self.suites.iter().filter(|(_, outcome)| wanted(outcome));
            chosen.map(|(name, _)| name.as_str()).collect()
        };
        let failed = names(|outcome| !outcome.is_good() && outcome.not_run.is_none());
        let not_run = names(|outcome| outcome.not_run.is_some());
        match (failed.is_empty(), not_run.is_empty()) {
            (true, true) => Ok(()),
            (false, true) => bail!("failed: {}", failed.join(", ")),
            (true, false) => bail!("NOT RUN: {}", not_run.join(", ")),
            (false, false) => bail!("failed: {}; NOT RUN: {}", failed.join(", "), not_run.join(", ")),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        writeln!(out, "suite      tests  passed  failed  ignored  seconds")?;
        for (name, outcome) in &self.suites {
            if let Some(why) = &outcome.not_run {
                writeln!(out, "{name:<10} NOT RUN: {why}")?;
                continue;
            }
            let Outcome { passed, failed, ignored, seconds, .. } = outcome;
            let tests = outcome.ran() + ignored;
            write!(out, "{name:<10} {tests:>5}  {passed:>6}  {failed:>6}  {ignored:>7}  {seconds:>7.1}")?;
            match &outcome.failure {
                Some(why) => writeln!(out, "  FAILED: {why}")?,
                None => writeln!(out)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_is_listed_and_is_no_success() {
        let mut report = Report::default();
        report.add("native", Outcome { passed: 3, ..Outcome::default() });
        assert!(report.verdict().is_ok());
        report.add("netns", Outcome::not_run("needs root"));
        assert!(report.to_string().contains("netns      NOT RUN: needs root"));
        assert_eq!(report.verdict().expect_err("not all ran").to_string(), "NOT RUN: netns");
    }
}

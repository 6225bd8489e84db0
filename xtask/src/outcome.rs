//! Running a test program and counting what it says.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// What became of one suite.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) ignored: u32,
    pub(crate) seconds: f64,
    /// Why it failed, beyond single tests.
    pub(crate) failure: Option<String>,
    /// Why it did not run at all.
    pub(crate) not_run: Option<String>,
}

impl Outcome {
    pub(crate) fn not_run(why: &str) -> Self {
        Self { not_run: Some(why.to_owned()), ..Self::default() }
    }

    /// Tests that ran.
    pub(crate) fn ran(&self) -> u32 {
        self.passed + self.failed
    }

    pub(crate) fn fail(&mut self, why: &str) {
        self.failure.get_or_insert_with(|| why.to_owned());
    }

    pub(crate) fn is_good(&self) -> bool {
        self.failed == 0 && self.failure.is_none() && self.not_run.is_none()
    }

    /// Adds what a `test result:` line of libtest says; other lines say nothing.
    fn count(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        for part in counts.split(['.', ';']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u32>() else { continue };
            match kind {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Runs a test command, passes its output on line by line, and counts the results in it; `see` gets each line too.
pub(crate) fn observe(command: &mut Command, see: &mut dyn FnMut(&str)) -> Result<Outcome> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting it")?;
    let stdout = child.stdout.take().context("taking its output")?;
    let mut outcome = Outcome::default();
    let mut here = std::io::stdout().lock();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("reading its output")?;
        here.write_all(&line).and_then(|()| here.write_all(b"\n")).context("passing its output on")?;
        let line = String::from_utf8_lossy(&line);
        outcome.count(&line);
        see(line.trim_end());
    }
    let status = child.wait().context("waiting for it")?;
    if !status.success() && outcome.failed == 0 {
        // A build that broke, a crash, a time-out: no count shows those.
        outcome.fail(&match status.code() {
            Some(124) => "stopped: it took too long".to_owned(),
            _ => format!("ended with {status}"),
        });
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_result_lines_add_up() {
        let mut outcome = Outcome::default();
        outcome.count(
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        );
        outcome.count("test frames::passed ... ok");
        outcome.count("test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s");
        assert_eq!((outcome.passed, outcome.failed, outcome.ignored), (7, 1, 1));
    }

    #[test]
    fn a_program_that_dies_without_a_result_has_failed() {
        let mut lines = 0;
        let mut command = Command::new("sh");
        let outcome = observe(command.args(["-c", "echo one; echo two; exit 3"]), &mut |_| lines += 1);
        assert!(!outcome.expect("sh runs").is_good());
        assert_eq!(lines, 2);
    }
}

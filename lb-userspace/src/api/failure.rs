//! What went wrong, in a form for people and for programs.

use super::{FailureKind, Schema};
use crate::config;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// What a verb prints with `-o json` when it fails; the same words go to stderr for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReport {
    /// Always 1.
    pub schema: Schema,
    /// What failed.
    pub error: Failure,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind; the exit code follows from it.
    pub kind: FailureKind,
    /// What was attempted on which object, why it failed, and the remedy.
    pub message: String,
    /// Each problem of a configuration that was refused; empty for other failures.
    #[serde(default)]
    pub problems: Vec<Problem>,
}

/// One problem of a configuration, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The file it is in.
    pub file: PathBuf,
    /// Its line, from 1; null: it has no place in the file (a file that cannot be read).
    pub line: Option<u32>,
    /// Its column, from 1, in characters.
    pub column: Option<u32>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Failure {
    /// A failure without a list of problems.
    #[must_use]
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), problems: Vec::new() }
    }

    /// A configuration that was refused, with everything that is wrong with it.
    #[must_use]
    pub fn invalid_config(message: impl Into<String>, problems: Vec<Problem>) -> Self {
        Self { kind: FailureKind::InvalidConfig, message: message.into(), problems }
    }
}

impl From<&config::Problem> for Problem {
    fn from(problem: &config::Problem) -> Self {
        Self {
            file: PathBuf::from(&*problem.place.file),
            line: Some(problem.place.line),
            column: Some(problem.place.column),
            what: problem.what.clone(),
            remedy: problem.remedy.clone(),
        }
    }
}

impl fmt::Display for Failure {
    /// The problems, one a line, then the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{problem}")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Problem {
    /// `FILE:LINE:COL: what; remedy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}; {}", self.what, self.remedy)
    }
}

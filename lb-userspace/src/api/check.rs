//! `xlvs check`: whether a file is a valid configuration.

use super::{Change, Problem, Schema};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What `xlvs check -o json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Always 1.
    pub schema: Schema,
    /// The file.
    pub path: PathBuf,
    /// Whether it may be put in force.
    pub ok: bool,
    /// Services in it; null: not valid, so not counted.
    pub services: Option<u64>,
    /// Real servers in all of them; null: not valid, so not counted.
    pub servers: Option<u64>,
    /// Every problem, not the first alone.
    pub problems: Vec<Problem>,
    /// What a reload would change; null: not asked (`--diff`).
    pub changes: Option<Vec<Change>>,
}

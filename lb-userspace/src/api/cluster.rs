//! `xlvs cluster`: the folders by which directors know each other.

use super::{ClusterAction, Schema};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What `xlvs cluster VERB -o json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterReport {
    /// Always 1.
    pub schema: Schema,
    /// What was done.
    pub action: ClusterAction,
    /// The director it was done for.
    pub node: String,
    /// The folder with its credentials and the cluster's key.
    pub folder: PathBuf,
    /// The files that were made.
    pub files: Vec<PathBuf>,
    /// Where the key was taken from; null: it was made anew.
    pub hash_key: Option<PathBuf>,
    /// The command that brings the folder to that director; null: it is there.
    pub copy: Option<String>,
    /// What to write in that director's file, with its addresses still to be filled in.
    pub configuration: String,
}

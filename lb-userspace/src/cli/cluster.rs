//! `xlvs cluster`: credentials for the directors of a cluster. Asks no agent, and needs no privilege but to write the folder.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::exit::Exit;
use super::session::Session;
use super::values::node_name;
use super::verb_args::Output;
use crate::agent::{self, Admission, Founding};
use crate::api::Failure;
use crate::config::NodeName;

/// `xlvs cluster`.
#[derive(Debug, Args)]
#[command(subcommand_value_name = "ACTION", subcommand_help_heading = "Actions")]
pub struct Cluster {
    /// What is to be done.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done for a cluster.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Found a cluster: its authority, its hash key, the credentials of its first director
    ///
    /// The hash key is the one that this director has in its state folder, if it has one, so that the connections it holds are
    /// found by the others too. Replaces nothing.
    Init(Init),

    /// Make the credentials of another director, in a folder to be copied to it
    ///
    /// Where the cluster was founded. Says how to copy the folder, and what to write in the other director's file.
    AddNode(AddNode),
}

/// `xlvs cluster init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Name of this director
    #[arg(long, value_name = "NAME", value_parser = node_name)]
    pub node: NodeName,

    /// Folder to make [default: the credentials of the file, else /etc/xlvs/cluster]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Hash key to take over [default: flow-hash.key of the state folder, else a new one]
    #[arg(long, value_name = "FILE")]
    pub hash_key: Option<PathBuf>,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

/// `xlvs cluster add-node`.
#[derive(Debug, Args)]
pub struct AddNode {
    /// Name of the other director
    #[arg(value_name = "NAME", value_parser = node_name)]
    pub node: NodeName,

    /// Folder in which the cluster was founded [default: the credentials of the file, else /etc/xlvs/cluster]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Folder to make
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,

    /// Form of the report.
    #[command(flatten)]
    pub output: Output,
}

impl Cluster {
    pub(super) fn output(&self) -> &Output {
        match &self.action {
            Action::Init(Init { output, .. }) | Action::AddNode(AddNode { output, .. }) => output,
        }
    }
}

pub(super) fn run(verb: Cluster, session: &Session<'_>) -> Result<Exit, Failure> {
    let places = session.places()?;
    let report = match verb.action {
        Action::Init(Init { node, dir, hash_key, .. }) => {
            let folder = dir.unwrap_or(places.credentials);
            agent::found(&Founding { node, folder, hash_key, state_dir: places.state_dir })
        }
        Action::AddNode(AddNode { node, dir, out, .. }) => {
            agent::admit(&Admission { node, folder: dir.unwrap_or(places.credentials), out })
        }
    }?;
    session.print(&report)
}

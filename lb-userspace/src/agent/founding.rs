//! `xlvs cluster`: a cluster is founded, and directors are admitted to it. Both make a folder, whole or not at all, and replace
//! nothing.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::actor::refused;
use super::key;
use crate::api::{ClusterAction, ClusterReport, Failure, Schema};
use crate::config::{CREDENTIALS, NodeName};
use crate::replication::transport::credentials::{self, Authority, write_new};
use crate::replication::version::NodeId;

/// The directors that have been given a certificate, one a line. Beside the authority's key.
const ADMITTED: &str = "nodes";

/// What every director of a cluster has.
const PAPERS: [&str; 4] = [credentials::AUTHORITY, credentials::NODE, credentials::NODE_KEY, key::OF_CLUSTER];

/// A new cluster.
#[derive(Debug, Clone)]
pub struct Founding {
    /// Its first director.
    pub node: NodeName,
    /// Where its credentials go.
    pub folder: PathBuf,
    /// The key of the flow hash to take over; without it, the one that this director has in its state folder.
    pub hash_key: Option<PathBuf>,
    pub state_dir: PathBuf,
}

/// Another director for a cluster.
#[derive(Debug, Clone)]
pub struct Admission {
    pub node: NodeName,
    /// Where the cluster was founded.
    pub folder: PathBuf,
    /// Where the other director's credentials go.
    pub out: PathBuf,
}

/// Makes the authority of a cluster, the credentials of its first director, and its key: that director's own if it has one, so
/// that the connections it holds are found.
///
/// # Errors
/// What is in the way; nothing has changed then.
pub fn found(founding: &Founding) -> Result<ClusterReport, Failure> {
    let Founding { node, folder, .. } = founding;
    let (secret, hash_key) = adopted(founding).map_err(refused)?;
    let files = PAPERS.into_iter().chain([credentials::AUTHORITY_KEY, ADMITTED]).collect();
    make_whole(folder, files, || {
        Authority::create(folder)?.issue(node.as_str(), folder)?;
        write_new(&folder.join(key::OF_CLUSTER), &key::bytes(&secret))?;
        write_new(&folder.join(ADMITTED), format!("{node}\n").as_bytes())
    })
    .map(|files| ClusterReport {
        schema: Schema,
        action: ClusterAction::Init,
        node: node.to_string(),
        folder: folder.clone(),
        files,
        hash_key,
        copy: None,
        configuration: format!("[cluster]\nnode = \"{node}\"\n"),
    })
    .map_err(refused)
}

/// The key to begin with, and the file it was taken from, if it was.
fn adopted(founding: &Founding) -> Result<(lb_common::identity::HashKey, Option<PathBuf>)> {
    let path = founding.hash_key.clone().unwrap_or_else(|| key::own(&founding.state_dir));
    let held = key::read(&path).context(
        "the cluster's key would be this director's own; see to it as root, or name it by --hash-key",
    )?;
    match held {
        Some(secret) => Ok((secret, Some(path))),
        None if founding.hash_key.is_some() => bail!("there is no {}", path.display()),
        None => Ok((key::make()?, None)),
    }
}

/// Makes a folder that is complete for another director.
///
/// # Errors
/// What is in the way; nothing has changed then.
pub fn admit(admission: &Admission) -> Result<ClusterReport, Failure> {
    let Admission { node, folder, out } = admission;
    let nodes = admitted_with(node, folder).map_err(refused)?;
    let place = folder.join(key::OF_CLUSTER);
    let make = || {
        let authority = Authority::open(folder).context(
            "admitting a director needs the folder in which its cluster was founded, whole (--dir)",
        )?;
        let Some(secret) = key::read(&place)? else { bail!("there is no {}", place.display()) };
        make_whole(out, PAPERS.to_vec(), || {
            authority.issue(node.as_str(), out)?;
            write_new(&out.join(key::OF_CLUSTER), &key::bytes(&secret))?;
            // Last: whoever is in the list has got something.
            let list: String = nodes.iter().map(|node| format!("{node}\n")).collect();
            fs::write(folder.join(ADMITTED), list)
                .with_context(|| format!("writing {}", folder.join(ADMITTED).display()))
        })
    };
    let files = make().map_err(refused)?;
    let from = std::path::absolute(out).unwrap_or_else(|_| out.clone());
    Ok(ClusterReport {
        schema: Schema,
        action: ClusterAction::AddNode,
        node: node.to_string(),
        folder: out.clone(),
        files,
        hash_key: Some(place),
        copy: Some(format!("scp -rp {} root@{node}:{CREDENTIALS}", one_word(&from))),
        configuration: configuration(node, &nodes),
    })
}

/// The directors of a cluster with this one, which none of them may be taken for.
fn admitted_with(node: &NodeName, folder: &Path) -> Result<Vec<String>> {
    let path = folder.join(ADMITTED);
    let list = fs::read_to_string(&path).with_context(|| {
        format!(
            "reading {}; a director is admitted where its cluster was founded, name that folder by --dir",
            path.display()
        )
    })?;
    let mut nodes: Vec<String> = list.lines().map(ToOwned::to_owned).collect();
    let is_taken_for =
        |other: &&String| other.as_str() != node.as_str() && NodeId::of(other) == NodeId::of(node.as_str());
    if let Some(other) = nodes.iter().find(is_taken_for) {
        bail!(
            "the names {node} and {other} have one hash, by which directors know each other; choose another name"
        );
    }
    // One that is given its papers again is there already.
    if nodes.iter().all(|other| other != node.as_str()) {
        nodes.push(node.to_string());
    }
    Ok(nodes)
}

/// What the other director's file says of the cluster.
fn configuration(node: &NodeName, nodes: &[String]) -> String {
    let peer =
        |name: &String| format!("[[cluster.peer]]\nname = \"{name}\"\naddress = \"ADDRESS OF {name}\"\n");
    format!("[cluster]\nnode = \"{node}\"\n{}", nodes.iter().map(peer).collect::<String>())
}

/// Has these files made in a folder of the owner's own, which is made if need be; if that fails, none of them is left.
fn make_whole(folder: &Path, files: Vec<&str>, make: impl FnOnce() -> Result<()>) -> Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = files.into_iter().map(|file| folder.join(file)).collect();
    if let Some(there) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        bail!("{} is there already and is not replaced; name another folder", there.display());
    }
    let is_new = !folder.exists();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("making the folder {}", folder.display()))?;
    match make() {
        Ok(()) => Ok(paths),
        Err(error) => {
            for path in &paths {
                // Not all of them have been made.
                let _ = fs::remove_file(path);
            }
            if is_new {
                let _ = fs::remove_dir(folder);
            }
            Err(error)
        }
    }
}

/// A path as a shell takes it for one word.
fn one_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+,=@%".contains(letter);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests;

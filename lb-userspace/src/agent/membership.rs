//! What a director needs to be one of its cluster: a folder with credentials and the cluster's key, and no connections that the
//! others could not find by that key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use lb_common::identity::HashKey;

use super::key;
use super::preflight::Finding;
use crate::config::{CREDENTIALS, Mesh, Model};
use crate::dataplane::pinned_key;
use crate::replication::transport::credentials::{self, Credentials, Unfit};
use crate::replication::version::NodeId;

/// Who may read a file besides its owner.
const OTHERS: u32 = 0o077;

/// The key of the cluster that this director is one of; `None`: it has no peers.
///
/// # Errors
/// The first thing that keeps it from being one.
pub fn key(model: &Model) -> Result<Option<HashKey>, Finding> {
    let Some(mesh) = &model.cluster.mesh else { return Ok(None) };
    let key = belong(mesh, &model.agent.pin_dir).map_err(|mut findings| findings.swap_remove(0))?;
    Ok(Some(key))
}

/// All that keeps a director with this configuration from being one of its cluster on this host.
#[must_use]
pub fn findings(model: &Model) -> Vec<Finding> {
    let Some(mesh) = &model.cluster.mesh else { return Vec::new() };
    belong(mesh, &model.agent.pin_dir).err().unwrap_or_default()
}

/// The cluster's key; else what is in the way, at least one thing.
fn belong(mesh: &Mesh, pins: &Path) -> Result<HashKey, Vec<Finding>> {
    let key = folder(mesh)?;
    finds(&key, pinned_key(pins).as_ref(), pins).map_err(|finding| vec![finding])?;
    Ok(key)
}

/// The key in the folder, if all that has to be there is, and is fit and private; else what is not, at least one thing.
fn folder(mesh: &Mesh) -> Result<HashKey, Vec<Finding>> {
    let folder = &mesh.credentials;
    match folder.try_exists() {
        Ok(true) => {}
        Ok(false) => {
            return Err(vec![Finding::new(format!("there is no folder {}", folder.display()), bring(mesh))]);
        }
        Err(error) => return Err(vec![unreadable(folder, &error)]),
    }
    let public = [credentials::AUTHORITY, credentials::NODE].map(|name| (name, false));
    let secret = [credentials::NODE_KEY, key::OF_CLUSTER].map(|name| (name, true));
    let look = |(name, is_secret): &(&str, bool)| unusable(&folder.join(name), *is_secret, mesh);
    let mut faults: Vec<Finding> = public.iter().chain(&secret).filter_map(look).collect();
    // Most directors do not have it.
    let authority = folder.join(credentials::AUTHORITY_KEY);
    faults.extend(authority.exists().then(|| open_to_others(&authority)).flatten());
    if !faults.is_empty() {
        return Err(faults);
    }
    let damaged = |error: anyhow::Error| vec![Finding::new(format!("{error:#}"), bring(mesh))];
    let papers = Credentials::load(folder).map_err(damaged)?;
    papers.fit(NodeId::of(mesh.node.as_str())).map_err(|Unfit { file, why }| {
        let what = format!("{} {why} ({} is wanted)", folder.join(file).display(), mesh.node);
        vec![Finding::new(what, bring(mesh))]
    })?;
    let path = folder.join(key::OF_CLUSTER);
    let key = key::read(&path).map_err(damaged)?;
    key.ok_or_else(|| vec![Finding::new(format!("{} has just gone", path.display()), bring(mesh))])
}

/// Why a file of the folder cannot be used.
fn unusable(path: &Path, is_secret: bool, mesh: &Mesh) -> Option<Finding> {
    match fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Some(Finding::new(format!("there is no {}", path.display()), bring(mesh)))
        }
        Err(error) => Some(unreadable(path, &error)),
        Ok(_) if is_secret => open_to_others(path),
        Ok(_) => None,
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Finding {
    let what = format!("{} cannot be read: {error}", path.display());
    Finding::new(what, "look as root, or let this user read it")
}

fn open_to_others(path: &Path) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let what = || format!("{} is secret, and may be read by others (mode {mode:04o})", path.display());
    (mode & OTHERS != 0).then(|| Finding::new(what(), format!("'chmod 600 {}'", path.display())))
}

/// How the folder comes about.
fn bring(mesh: &Mesh) -> String {
    let Mesh { node, credentials: folder, .. } = mesh;
    let dir =
        if folder == Path::new(CREDENTIALS) { String::new() } else { format!(" --dir {}", folder.display()) };
    format!(
        "found a cluster with 'xlvs cluster init --node {node}{dir}', or say 'xlvs cluster add-node {node} --out FOLDER' where one was \
         founded and copy that folder to {}",
        folder.display()
    )
}

/// Refuses connections that were stored under another key, because neither this director nor its peers would find them.
fn finds(key: &HashKey, pinned: Option<&HashKey>, pins: &Path) -> Result<(), Finding> {
    if pinned.is_none_or(|pinned| pinned == key) {
        return Ok(());
    }
    let what = format!(
        "the connections pinned in {} are stored by another key than the cluster's, by which nobody would find them",
        pins.display()
    );
    Err(Finding::new(what, "'xlvs down' first, which ends them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_another_key_are_not_taken_into_a_cluster() {
        let [ours, other] = [0, 1].map(|_| key::make().unwrap());
        let finds = |pinned| finds(&ours, pinned, Path::new("/pins"));
        assert_eq!(finds(None), Ok(()), "nothing is pinned");
        assert_eq!(finds(Some(&ours)), Ok(()), "those of the director whose key became the cluster's");
        let refused = finds(Some(&other)).unwrap_err().to_string();
        assert!(refused.contains("/pins") && refused.contains("'xlvs down' first"), "{refused}");
    }
}

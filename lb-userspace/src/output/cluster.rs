//! `xlvs cluster` for people.

use super::Render;
use crate::api::{ClusterAction, ClusterReport};

impl Render for ClusterReport {
    /// What was done, and what is left to do.
    fn table(&self) -> String {
        let folder = self.folder.display();
        let key = self.hash_key.as_ref();
        let mut text = match self.action {
            ClusterAction::Init => {
                let key = key.map_or("a new hash key".to_owned(), |from| {
                    format!("the hash key of {}", from.display())
                });
                format!("{folder}: a cluster with {key}, and the credentials of {}\n", self.node)
            }
            _ => format!("{folder}: the credentials of {}\n", self.node),
        };
        if let Some(copy) = &self.copy {
            text += &format!("\ncopy them:\n  {copy}\n");
        }
        text += "\nwrite in its file:\n";
        for line in self.configuration.lines() {
            text += &format!("  {line}\n");
        }
        text
    }
}

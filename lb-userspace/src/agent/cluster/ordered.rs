//! The orders of the cluster as they stand on the disk: when each was given decides between directors, and the pins do not
//! remember that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::agent::key;
use crate::replication::board::{Board, Given, Order, ServerKey};
use crate::replication::version::{NodeId, Origin, Version};

const FILE: &str = "cluster-orders";

/// The file, and what it says.
#[derive(Debug)]
pub struct Ordered {
    path: PathBuf,
    text: String,
}

impl Ordered {
    /// What stands in this folder.
    ///
    /// # Errors
    /// What the file system says; a file that holds something else.
    pub fn read(state_dir: &Path) -> Result<(Self, Vec<(ServerKey, Given)>)> {
        let path = state_dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        match text.lines().map(parse).collect() {
            Some(given) => Ok((Self { path, text }, given)),
            None => bail!(
                "{} does not say what was ordered of servers by hand; remove it, and what the other directors know holds",
                path.display()
            ),
        }
    }

    /// Keeps all that holds, if it is something else than before; it is on the disk when this returns.
    ///
    /// # Errors
    /// What the file system says.
    pub fn keep(&mut self, board: &Board) -> Result<()> {
        let text: String = board.orders().map(|(server, given)| line(server, &given)).collect();
        if text != self.text {
            key::store(&self.path, text.as_bytes())?;
            self.text = text;
        }
        Ok(())
    }
}

fn line(ServerKey(server): ServerKey, given: &Given) -> String {
    let Version { counter, origin: Origin { node: NodeId(node), life } } = given.version;
    let word = match given.order {
        Order::Enabled => "enabled".to_owned(),
        Order::Draining => "draining".to_owned(),
        Order::Disabled => "disabled".to_owned(),
        Order::Weight(weight) => format!("weight {weight}"),
        Order::ConfiguredWeight => "weight configured".to_owned(),
    };
    format!("{server:016x} {counter} {node:016x} {life:016x} {word}\n")
}

fn parse(line: &str) -> Option<(ServerKey, Given)> {
    let mut words = line.splitn(5, ' ');
    let mut number = |radix| u64::from_str_radix(words.next()?, radix).ok();
    let (server, counter, node, life) = (number(16)?, number(10)?, number(16)?, number(16)?);
    let order = match words.next()? {
        "enabled" => Order::Enabled,
        "draining" => Order::Draining,
        "disabled" => Order::Disabled,
        "weight configured" => Order::ConfiguredWeight,
        weight => Order::Weight(weight.strip_prefix("weight ")?.parse().ok()?),
    };
    let version = Version { counter, origin: Origin { node: NodeId(node), life } };
    Some((ServerKey(server), Given { order, version }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again_and_garbage_is_refused() {
        let origin = Origin { node: NodeId::of("lb1"), life: 7 };
        let given = |counter, order| Given { order, version: Version { counter, origin } };
        let all = [
            (ServerKey(1), given(5, Order::Draining)),
            (ServerKey(1), given(6, Order::Weight(7))),
            (ServerKey(2), given(7, Order::Disabled)),
            (ServerKey(3), given(8, Order::Enabled)),
            (ServerKey(3), given(9, Order::ConfiguredWeight)),
        ];
        assert!(
            all.iter()
                .all(|(server, given)| parse(line(*server, given).trim_end()) == Some((*server, *given)))
        );
        let folder = tempfile::tempdir().unwrap();
        for garbage in ["x", "1 2 3 4\n", "1 2 3 4 weight\n", "1 2 3 4 weight 70000\n"] {
            fs::write(folder.path().join(FILE), garbage).unwrap();
            let error = Ordered::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains("remove it"), "{error}");
        }
    }
}

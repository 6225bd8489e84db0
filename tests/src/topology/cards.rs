//! Network cards of this machine instead of cables: each machine of the topology gets one. What joins them is outside, wires of
//! three cards each, which who made the machine has laid.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::addresses::Pair;
use crate::namespace::Namespace;
use crate::tools;

const CARDS: &str = "/sys/class/net";
/// Cards that a virtual machine is given; a real machine's own, by which it is reached, are never taken.
const DRIVER: &str = "virtio_net";

/// What the kernel says of an address that nobody has set.
const ORIGINAL: &str = "0";

/// Moves the next card that nobody has into `namespace`, as `device`. It comes back, used, when the namespace ends.
pub(super) fn give(namespace: &Namespace, device: &str, own: Pair) -> Result<()> {
    let card = next().context("listing network cards")?.with_context(|| {
        format!("no card of {DRIVER} is left for {}: give the machine three a wire", namespace.name())
    })?;
    tools::output(tools::command("ip")?.args(["link", "set", "dev", &card, "netns", namespace.name()]))?;
    namespace.ip(&format!("link set dev {card} name {device}\nlink set dev {device} address {}\n", own.mac()))
}

/// The one with the lowest address: whoever laid the wires counted in addresses. A card that came back from another topology still has that
/// one's address, and is not of the next wire.
fn next() -> Result<Option<String>> {
    let mut cards = Vec::new();
    for entry in fs::read_dir(CARDS)? {
        let path = entry?.path();
        let driver = fs::read_link(path.join("device/driver")).unwrap_or_default();
        let is_free =
            || fs::read_to_string(path.join("addr_assign_type")).map(|kind| kind.trim() == ORIGINAL);
        if driver.file_name() == Some(DRIVER.as_ref()) && is_free()? {
            cards.push((fs::read_to_string(path.join("address"))?, name(&path)));
        }
    }
    Ok(cards.into_iter().min().map(|(_, name)| name))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

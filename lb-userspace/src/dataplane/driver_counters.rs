//! What the driver lost after the verdict: its own counters of failed XDP transmissions and redirects.

use std::collections::BTreeMap;
use std::io;

use super::ethtool::counters;

/// The driver's counters (`ethtool -S`) that tell of XDP frames it could not send or redirect, by name; only grows.
///
/// # Errors
/// What the kernel says; `EOPNOTSUPP` where the driver has no counters.
pub fn driver_losses(interface: &str) -> io::Result<BTreeMap<String, u64>> {
    let losses = counters(interface)?.into_iter().filter(|(name, _)| tells_of_loss(name));
    Ok(losses.collect())
}

/// Drivers name these freely: `rx_queue_0_xdp_tx_errors` (veth), `rx_xdp_tx_full` (mlx5), `xdp_tx_err`, `..._redirect_fail`.
fn tells_of_loss(name: &str) -> bool {
    let failed = ["err", "drop", "fail", "full"].iter().any(|word| name.contains(word));
    // "xdp_drops" is our own verdict, not a loss.
    (name.contains("xdp") && failed && !name.ends_with("xdp_drops") && !name.ends_with("xdp_drop"))
        || (name.starts_with("rx_queue_") && name.ends_with("_drops") && !name.contains("xdp"))
}

//! After start the agent needs three capabilities: to change routes' neighbours and VIPs, to use its maps, and to ping. The rest
//! goes.

use anyhow::{Context, Result};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Keeps `CAP_NET_ADMIN` (neighbours, VIPs), `CAP_BPF` (maps) and `CAP_NET_RAW` (pings); gives the others up for good.
///
/// # Errors
/// What the kernel says.
pub fn drop_all_but_needed() -> Result<()> {
    let needed = CapabilitySet::NET_ADMIN | CapabilitySet::BPF | CapabilitySet::NET_RAW;
    rustix::thread::set_no_new_privs(true).context("forbidding new privileges")?;
    let sets = CapabilitySets { effective: needed, permitted: needed, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("giving up capabilities")
}

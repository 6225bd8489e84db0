//! After start the agent needs two capabilities: to change routes' neighbours and VIPs, and to use its maps. The rest goes.

use anyhow::{Context, Result};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// Keeps `CAP_NET_ADMIN` (neighbours, VIPs) and `CAP_BPF` (maps); gives the others up for good.
///
/// # Errors
/// What the kernel says.
pub fn drop_all_but_needed() -> Result<()> {
    let needed = CapabilitySet::NET_ADMIN | CapabilitySet::BPF;
    rustix::thread::set_no_new_privs(true).context("forbidding new privileges")?;
    let sets = CapabilitySets { effective: needed, permitted: needed, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("giving up capabilities")
}

//! The far end of tunnels as real servers have it: the kernel's own devices (ipip, sit, ip6tnl) and its GUE port (fou).
//!
//! Not every kernel has them; where they lack, the [decapsulator](crate::decapsulator) stands in.

use std::fs;
use std::net::IpAddr;

use anyhow::{Context as _, Result};

use crate::decapsulator::{GUE, Wrapping};
use crate::family::Family;
use crate::namespace::Namespace;

const DEVICE: &str = "untun";

/// A tunnel device of a machine; it goes with the machine.
pub struct KernelTunnel<'a> {
    namespace: &'a Namespace,
}

impl<'a> KernelTunnel<'a> {
    /// Gives a machine a device for what comes to `address` wrapped like this, from whomever.
    ///
    /// # Errors
    /// The kernel has no such device.
    pub fn open(namespace: &'a Namespace, address: IpAddr, wrapping: Wrapping) -> Result<Self> {
        let kind = match (wrapping.outer, wrapping.inner) {
            (Family::V4, Family::V4) => "ipip",
            (Family::V4, Family::V6) => "sit",
            (Family::V6, Family::V4) => "ip6tnl mode ipip6",
            (Family::V6, Family::V6) => "ip6tnl mode ip6ip6",
        };
        let (kind, mode) = kind.split_once(' ').unwrap_or((kind, ""));
        namespace.ip(&format!(
            "link add {DEVICE} type {kind} local {address} remote any {mode}\nlink set {DEVICE} up\n"
        ))?;
        // The way back does not lead through the tunnel.
        namespace.sysctl(&[("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/untun/rp_filter", "0")])?;
        if wrapping.gue {
            namespace
                .ip_of(wrapping.outer, &format!("fou add port {GUE} gue\n"))
                .context("the kernel does not take GUE")?;
        }
        Ok(Self { namespace })
    }

    /// How many packets came out of the tunnel so far.
    ///
    /// # Errors
    /// The device is gone.
    pub fn unwrapped(&self) -> Result<u64> {
        let path = "/proc/thread-self/net/dev";
        let text =
            self.namespace.enter(|| fs::read_to_string(path))?.with_context(|| format!("reading {path}"))?;
        received(&text).with_context(|| format!("{DEVICE} is not in {path}"))
    }
}

/// Lines of `device: bytes packets …` received, then the same sent.
fn received(text: &str) -> Option<u64> {
    let counters = text.lines().find_map(|line| line.trim().strip_prefix(DEVICE)?.strip_prefix(':'))?;
    counters.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn packets_are_the_second_counter() {
        let text = "Inter-| Receive\n face |bytes packets\n    lo: 9 8 0\n untun: 4200 42 0 0 0 0 0 0 1 1\n";
        assert_eq!(super::received(text), Some(42));
        assert_eq!(super::received("untunnel: 1 2"), None);
    }
}

//! What is done to a single machine, and asked of it.

use anyhow::{Context, Result};

use crate::namespace::Namespace;

/// What a test with many connections needs of a client or a server.
pub(super) fn tune(namespace: &Namespace) -> Result<()> {
    namespace.sysctl(&[
        ("net/ipv4/ip_local_port_range", "10000 65000"),
        ("net/ipv4/tcp_max_syn_backlog", "16384"),
        ("net/core/somaxconn", "16384"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/eth0/rp_filter", "0"),
        // Both subnets share the wire in one-arm; a redirect would teach the ends a way round the director.
        ("net/ipv4/conf/all/accept_redirects", "0"),
        ("net/ipv4/conf/eth0/accept_redirects", "0"),
    ])
}

/// The MAC address of an interface.
pub(super) fn mac(namespace: &Namespace, interface: &str) -> Result<[u8; 6]> {
    let links = namespace.ip_json(&["link", "show", "dev", interface])?;
    let text = links[0]["address"].as_str().context("ip shows no MAC address")?;
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    <[u8; 6]>::try_from(bytes.as_slice()).with_context(|| format!("{text} is no MAC address"))
}

//! Directors reach each other at addresses that stay where they are.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::config::service::Draft;
use crate::config::source::Placed;

/// Reports each of these endpoints that is a VIP: it moves, and what comes there is balanced.
pub(in crate::config) fn check(services: &[Draft<'_>], endpoints: &[Placed<'_, SocketAddr>]) {
    let vips: BTreeSet<IpAddr> =
        services.iter().flat_map(|service| service.vips.iter().flatten()).map(|vip| vip.value.ip()).collect();
    for endpoint in endpoints {
        let ip = endpoint.value.ip();
        if vips.contains(&ip) {
            let what = format!("{ip} is a VIP, so that directors would not reach each other there");
            endpoint.spot.problem(what, "write an address the director has to itself");
        }
    }
}

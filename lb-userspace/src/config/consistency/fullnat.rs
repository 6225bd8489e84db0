//! What full NAT needs beside its service: somewhere to send from, and time for ports to rest.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::address::Family;
use crate::config::fullnat;
use crate::config::model::{Datapath, Mode};
use crate::config::service::Draft;

/// As long as Linux remembers a connection that has ended (TIME-WAIT); RFC 9293 section 3.4.2 would have four minutes.
const REST: Duration = Duration::from_secs(60);

pub(super) fn check(services: &[Draft<'_>], pool: &fullnat::Draft<'_>, datapath: Option<&Datapath>) {
    let Ok(addresses) = &pool.addresses else { return };
    let families: BTreeSet<Family> = addresses.iter().map(|address| address.value.family()).collect();
    for service in services.iter().filter(|service| matches!(service.mode, Ok(Mode::FullNat))) {
        let mut told = BTreeSet::new();
        for vip in service.vips.iter().flatten() {
            let family = vip.value.family();
            if !families.contains(&family) && told.insert(family) {
                let what = format!("mode = \"fullnat\" has no {family} address to send from");
                vip.spot.problem(
                    what,
                    "name one of the host's own that nothing else uses: [fullnat] addresses = [\"…\"]",
                );
            }
        }
        if datapath.is_some_and(|datapath| datapath.timeouts.closing < REST) {
            let what = "with mode = \"fullnat\" a port would be lent again while servers still remember its last connection";
            service.spot.problem(what, "write closing = \"60s\" or more in [datapath] timeouts");
        }
    }
    let vips: BTreeSet<IpAddr> =
        services.iter().flat_map(|service| service.vips.iter().flatten()).map(|vip| vip.value.ip()).collect();
    let servers = services.iter().flat_map(|service| &service.servers);
    let servers: BTreeSet<IpAddr> = servers
        .filter_map(|server| server.addresses.as_ref().ok())
        .flatten()
        .map(|address| address.value.ip())
        .collect();
    for address in addresses {
        let ip = address.value.ip();
        if vips.contains(&ip) || servers.contains(&ip) {
            let whose = if vips.contains(&ip) { "a VIP" } else { "a server's" };
            let what = format!("the address {ip} that full NAT sends from is {whose}");
            address.spot.problem(what, "write an address that nothing else uses");
        }
    }
}

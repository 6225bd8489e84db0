//! A listener is served by servers of its own family.

use std::collections::BTreeSet;

use crate::config::address::Family;
use crate::config::model::Mode;
use crate::config::service::Draft;

/// Reports each VIP for which the service has no server, and each server's address for which it has no VIP.
pub(super) fn check(service: &Draft<'_>) {
    // Around a packet, the other family will do as well.
    if matches!(service.mode, Ok(Mode::Tunnel)) {
        return;
    }
    let Ok(vips) = &service.vips else { return };
    let listening: BTreeSet<Family> = vips.iter().map(|vip| vip.value.family()).collect();
    let mut served = BTreeSet::new();
    let mut all_known = !service.servers.is_empty();
    for server in &service.servers {
        let Ok(addresses) = &server.addresses else {
            all_known = false;
            continue;
        };
        for address in addresses {
            let family = address.value.family();
            served.insert(family);
            if !listening.contains(&family) {
                let what =
                    format!("the service has no {family} VIP for the server's address {}", address.value);
                let remedy = match addresses.len() {
                    1 => format!(
                        "add an {family} address to its vip, or write the server's address of the VIP's family"
                    ),
                    _ => format!("add an {family} address to its vip, or remove this one"),
                };
                address.spot.problem(what, remedy);
            }
        }
    }
    for vip in vips.iter().filter(|vip| all_known && !served.contains(&vip.value.family())) {
        let family = vip.value.family();
        let what =
            format!("no server of the service has an {family} address, to which {} could lead", vip.value);
        let remedy = format!(
            "give a server one, beside its other: address = [\"{}\", \"{}\"]",
            other(family),
            family.example()
        );
        vip.spot.problem(what, remedy);
    }
}

fn other(family: Family) -> &'static str {
    match family {
        Family::V4 => Family::V6.example(),
        Family::V6 => Family::V4.example(),
    }
}

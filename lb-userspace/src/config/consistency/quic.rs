//! Where connection ids name servers, each server has an id, of the length that the service says, and to itself.

use std::collections::HashMap;

use super::near;
use crate::config::listener::Protocol;
use crate::config::model::Mode;
use crate::config::service::Draft;
use crate::config::source::Spot;

pub(super) fn check(service: &Draft<'_>) {
    let Ok(quic) = &service.quic_lb else { return };
    let Some(quic) = quic else {
        for id in service.servers.iter().filter_map(|server| server.server_id.as_ref().ok()?.as_ref()) {
            let what = "server_id, but the service does not route by connection id";
            id.spot
                .problem(what, "add quic_lb = { config_id = 0, server_id_length = 2 } to it, or remove this");
        }
        return;
    };
    for tcp in service.protocols.iter().flatten().filter(|one| one.value != Protocol::Udp) {
        let what = format!("quic_lb, but the service is on {}", tcp.value);
        quic.spot.problem(what, "write protocol = \"udp\", and a service of its own for TCP");
    }
    if matches!(service.mode, Ok(Mode::FullNat)) {
        let what =
            "quic_lb, but by full NAT a client that moves gets another port, and is a stranger to its server";
        quic.spot.problem(what, "write mode = \"nat\", \"dr\" or \"tunnel\"");
    }
    let wanted = quic.value.length() as usize;
    let mut seen: HashMap<&[u8], Spot<'_>> = HashMap::new();
    for server in &service.servers {
        let (Ok(name), Ok(id)) = (&server.name, &server.server_id) else { continue };
        let Some(id) = id else {
            let what =
                format!("the service routes by connection id, and server {} has no server_id", name.value);
            let id = format!("{:0width$x}", seen.len() + 1, width = wanted * 2);
            name.spot.problem(what, format!("add server_id = \"{id}\", as it is configured at the server"));
            continue;
        };
        let octets = id.value.octets();
        if octets.len() != wanted {
            let what = format!(
                "server_id has {} octets, server_id_length of the service says {wanted}",
                octets.len()
            );
            id.spot.problem(what, "give all servers of the service ids of one length");
        } else if let Some(first) = seen.get(octets) {
            let what = format!("server_id {} is already at {}", id.value, near(*first, id.spot));
            id.spot.problem(what, "give each server of the service an id of its own");
        } else {
            seen.insert(octets, id.spot);
        }
    }
}

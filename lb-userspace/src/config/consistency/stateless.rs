//! What cannot work without a flow table. By NAT the tables alone must then explain every reply: they can for TCP, if the
//! server and the port it comes from stand for one listener.

use crate::config::listener::Protocol;
use crate::config::model::Mode;
use crate::config::service::Draft;

pub(super) const REMEDY: &str = "write a flow_table_size in [datapath] that holds its connections";

/// That a server's port stands for one listener is counted in [`super::room`].
pub(super) fn check(services: &[Draft<'_>]) {
    for service in services.iter().filter(|service| matches!(service.mode, Ok(Mode::Nat))) {
        for port in service.ports.iter().flatten().filter(|port| port.value.fixed().is_none()) {
            let what =
                format!("without a flow table, replies from port {} are not recognised by NAT", port.value);
            port.spot.problem(what, format!("write each port by itself, or {REMEDY}"));
        }
        for udp in service.protocols.iter().flatten().filter(|one| one.value == Protocol::Udp) {
            udp.spot.problem("without a flow table, replies over UDP are not recognised by NAT", REMEDY);
        }
    }
}

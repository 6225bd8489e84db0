//! Connections that other directors hold, as the agent was told. Such a one is no older than the telling of it.

use lb_common::slot::Class;

use super::life::{Connection, Stage};
use super::{Flow, Oracle};
use crate::datapath::world::Mode;

impl Oracle {
    /// What another director holds of this flow. Of full NAT it says too little; and nobody is believed about a server of
    /// another service, or one that is gone.
    pub(super) fn held_elsewhere(&self, flow: &Flow) -> Option<Connection> {
        if !self.world.flows {
            return None;
        }
        // The last word counts.
        let told = self.world.replicas.iter().rev().find(|told| {
            (told.client, told.vip, told.protocol)
                == ((flow.client, flow.client_port), (flow.vip, flow.vip_port), flow.protocol)
        })?;
        let (server, service) = (told.server.0, self.service_of(told.server.0));
        let serves = (service.vip, service.protocol) == (flow.vip, flow.protocol)
            && (service.port == 0 || service.port == flow.vip_port);
        let stage = match told.class {
            Class::New => Stage::Asked,
            Class::Answered => Stage::Answered,
            Class::Established => Stage::Open,
            Class::HalfClosed => Stage::HalfClosed,
            Class::Closing => Stage::Closed,
        };
        (serves && !self.server(server).freed && service.mode != Mode::FullNat).then_some(Connection {
            server,
            stage,
            seen: self.now,
        })
    }
}

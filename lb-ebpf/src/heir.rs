//! Connections that other directors hold (`docs/replication.md`): a packet without an entry goes to the server that the agent
//! was told of, and its connection becomes ours.

use lb_common::{
    entry::{Incident, ServerState, Settings},
    flow_table::FlowTable,
    identity::FlowId,
    lifecycle::{after_client, after_server},
    net::Tuple,
    slot::{Class, ServerId, Slot},
    verdict::{Event, Verdict},
};

use crate::{
    Outcome, admission,
    arrival::{self, Given},
    director::{Chosen, Director},
    frame::Frame,
    inbound, outbound,
    parse::{self, Packet},
    sharing,
    tables::Tables,
};

/// The stage that goes on with what came to a VIP and has no entry. A subprogram, for the sake of the entry's stack.
#[inline(never)]
pub fn or_arrival<T: Tables>(tables: &T) -> Outcome {
    match tables.settings().and_then(Settings::replicas) {
        Some(_) => Outcome::TO_HEIR,
        None => Outcome::TO_ARRIVAL,
    }
}

impl<'t, T: Tables> Director<'t, T> {
    /// What another director holds of this flow.
    #[inline(always)]
    pub fn told(&self, flow: FlowId) -> Option<Slot> {
        if !self.is(Settings::FLOWS) {
            return None;
        }
        FlowTable { memory: self.tables, geometry: self.settings.replicas()? }.told(flow, self.now)
    }

    /// Where another director holds this connection. Not by full NAT: from which port it is sent, nobody was told.
    #[inline(always)]
    pub fn inherited(&self, tuple: &Tuple, flow: FlowId) -> Option<(Chosen<'t>, Slot)> {
        let slot = self.tables.told(flow)?;
        let server = self.server_for(slot.server(), tuple)?;
        if server.state.has(ServerState::FULL_NAT) { None } else { Some((server, slot)) }
    }
}

/// The server of a packet whose connection is not stored here and held by another director, if that server may keep it:
/// judged as by an entry. [`Given::NOTHING`]: it is for the service to decide, as it also is where an entry stands that may not
/// keep the packet, or where lists deny the client. Whom the packet itself has `named`, gets it instead; [`Given::UNREAD`] if
/// it is still to be read.
#[inline(never)]
pub fn holder<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, named: Given) -> Given {
    let Some(director) = Director::again(tables) else { return Given::NOTHING };
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Given::NOTHING };
    let tuple = inbound::tuple(packet, &transport);
    let flow = director.settings.flow_id(&tuple);
    let signal = transport.signal;
    if tables.locate(flow).is_none()
        && let Some((server, slot)) = director.inherited(&tuple, flow)
        && let Some(service) = tables.service(u32::from(server.state.service))
        && admission::admits(&director, service, &tuple.client)
    {
        if named == Given::UNREAD && server.state.has(ServerState::BY_ID) {
            return Given::UNREAD;
        }
        if !inbound::keeps(&director, slot, server, signal.segment()) {
            return Given::NOTHING;
        }
        let is_metered = server.state.has(ServerState::METERED);
        if is_metered && !admission::has_packet_left(tables, server.state.service, &tuple.client) {
            return Given::ended(Verdict::DroppedRateSource);
        }
        if named != Given::NOTHING && named != Given::UNREAD && named != Given::to(server.id) {
            return named.of(flow);
        }
        return Given::to(server.id).of(flow);
    }
    Given::NOTHING
}

/// The connection of this packet to a VIP is ours from now on, if another director holds it at this server. What decides is not
/// what stores, for the sake of the stack.
#[inline(never)]
pub fn adopt<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, id: ServerId) {
    let Some(director) = Director::again(tables) else { return };
    let Ok(transport) = parse::transport(frame, packet, tables) else { return };
    let Some(server) = director.server(id) else { return };
    let (signal, sight) = (transport.signal, inbound::sight(server, transport.signal));
    let tuple = inbound::tuple(packet, &transport);
    settle(&director, &tuple, server, |class| after_client(class, signal.segment(), false, sight));
}

/// The same of a packet that this server has sent to a client.
#[inline(never)]
pub fn adopt_reply<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, id: ServerId) {
    let Some(director) = Director::again(tables) else { return };
    let Ok(transport) = parse::transport(frame, packet, tables) else { return };
    let Some(server) = director.server(id) else { return };
    let client = outbound::tuple(packet, &transport);
    let tuple = sharing::forward_tuple(server.server, server.state, &client, client.vip_port);
    settle(&director, &tuple, server, |class| after_server(class, transport.signal.segment(), false));
}

/// In the class that follows there from the packet at hand. Without a place, the next packet asks again.
#[inline(always)]
fn settle<T: Tables>(
    director: &Director<'_, T>,
    tuple: &Tuple,
    server: Chosen<'_>,
    after: impl FnOnce(Class) -> Class,
) {
    let flow = director.settings.flow_id(tuple);
    let told = director.tables.told(flow).filter(|slot| slot.server() == Some(server.id));
    let Some(slot) = told.filter(|_| director.tables.locate(flow).is_none()) else { return };
    director.tables.count(Event::ByReplica);
    // Not to be evicted: nobody knows whether the tables would find it again.
    if !director.tables.store(flow, server.id, true) {
        return;
    }
    director.tables.count(Event::Adopted);
    director.tables.count_incident(u32::from(server.state.service), Incident::Adopted);
    arrival::note_caller(director, tuple, flow);
    if let Some(entry) = director.tables.locate(flow).and_then(|place| director.flows().at(place)) {
        entry.refresh(after(slot.class()), director.now);
    }
}

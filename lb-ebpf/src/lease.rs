//! Full NAT: a packet to a VIP whose connection has no port. One that opens a connection gets a server and a port; of any
//! other nobody knows, also not the servers.

use lb_common::{
    entry::{ServerState, Service, Settings},
    flow_table::Place,
    identity::FlowId,
    lifecycle::Segment,
    net::Tuple,
    pool::{gives_way, opens},
    slot::{Class, ServerId},
    verdict::Verdict,
};

use crate::{
    Outcome, admission, arrival,
    director::Director,
    frame::Frame,
    full_nat, inbound,
    parse::{self, Packet},
    tables::Tables,
};

impl<T: Tables> Director<'_, T> {
    /// Lends a connection a port, if one of its candidates is free or gives way.
    #[inline(always)]
    pub fn rent(&self, flow: FlowId, server: ServerId, ipv6: bool) -> Option<Place> {
        let table = full_nat::table(self.tables, self.tables.pool()?, ipv6)?;
        let lent = self.admit(&table, flow, server, false, |victim, _| {
            victim
                .server()
                .and_then(|id| self.server(id))
                .is_none_or(|server| gives_way(victim, server.state.protocol()))
        });
        if lent { table.locate(flow) } else { None }
    }
}

/// Sees to it that the packet's connection has an entry: [`Verdict::ForwardedFullNat`], or what becomes of the packet
/// otherwise. [`Verdict::RepliedReset`]: the client is to be told. `Outcome::OPEN`: no service by full NAT listens there.
#[inline(never)]
pub fn admit<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Outcome::OPEN };
    let tuple = inbound::tuple(packet, &transport);
    let number = match arrival::listening(&director, &tuple) {
        Ok(number) => number,
        Err(Verdict::DroppedMartian) => return Verdict::DroppedMartian.into(),
        Err(_) => return Outcome::OPEN,
    };
    let Some(service) = tables.service(number) else { return Verdict::Aborted.into() };
    if service.flags.load() & Service::FULL_NAT == 0 {
        return Outcome::OPEN;
    }
    let segment = transport.signal.segment();
    match give(&director, number, service, &tuple, segment) {
        Ok(()) => Verdict::ForwardedFullNat.into(),
        Err(verdict) => verdict.into(),
    }
}

#[inline(always)]
fn give<T: Tables>(
    director: &Director<'_, T>,
    number: u32,
    service: &Service,
    tuple: &Tuple,
    segment: Segment,
) -> Result<(), Verdict> {
    admission::admit(director, number, service, &tuple.client, segment)?;
    if !opens(segment) {
        return Err(stray(director, tuple, segment));
    }
    let flow = director.settings.flow_id(tuple);
    let Some(pick) = director.pick(service, tuple, flow, segment) else {
        let told = segment.is_syn() && service.flags.load() & Service::REJECT != 0;
        return Err(if told { Verdict::RepliedReset } else { Verdict::DroppedNoServer });
    };
    if !settle(director.tables, tuple, flow, pick.server) {
        return Err(Verdict::DroppedNoPort);
    }
    director.tables.count_connection(pick.server);
    Ok(())
}

/// Amid a connection that is not known here, or whose server is lost: it cannot go on.
#[inline(always)]
fn stray<T: Tables>(director: &Director<'_, T>, tuple: &Tuple, segment: Segment) -> Verdict {
    if !director.is(Settings::SERVING) {
        return Verdict::DroppedNotServing;
    }
    end_lost(director.tables, tuple);
    // A RST is never answered.
    if matches!(segment, Segment::Rst) { Verdict::DroppedNoPort } else { Verdict::RepliedReset }
}

/// Where the server is lost, and the policy is to end what it had, the entry says so from then on: a SYN begins anew.
#[inline(never)]
fn end_lost<T: Tables>(tables: &T, tuple: &Tuple) {
    let Some(director) = Director::again(tables) else { return };
    let Some(pool) = tables.pool() else { return };
    let Some(lease) = full_nat::of(&director, pool, tuple, tuple.vip.as_v4().is_none()) else { return };
    let server = director.server_for(lease.entry.slot().server(), tuple);
    if server.is_some_and(|server| server.state.has(ServerState::RESETS)) {
        lease.entry.refresh(Class::Closing, director.now);
    }
}

/// Gives the connection this server, in the port that it has or in another one; whether there is any.
#[inline(never)]
fn settle<T: Tables>(tables: &T, tuple: &Tuple, flow: FlowId, server: ServerId) -> bool {
    let Some(director) = Director::again(tables) else { return false };
    let Some(pool) = tables.pool() else { return false };
    let ipv6 = tuple.vip.as_v4().is_none();
    if let Some(lease) = full_nat::of(&director, pool, tuple, ipv6) {
        // The same client may use its port again at once: to the server it is one who does so.
        return lease.entry.move_to(server, false, director.now);
    }
    // Two clients of one flow id: the second one waits until the first has gone.
    if full_nat::table(tables, pool, ipv6).is_none_or(|table| table.locate(flow).is_some()) {
        return false;
    }
    let Some(place) = tables.rent(flow, server, ipv6) else { return false };
    if let Some(tenant) = tables.tenant(place) {
        tenant.note(tuple);
    }
    true
}

/// Sends the packet that has got an entry.
#[inline(never)]
pub fn forward<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Verdict::Aborted.into() };
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let Some(pool) = tables.pool() else { return Verdict::Aborted.into() };
    let tuple = inbound::tuple(packet, &transport);
    let Some(lease) = full_nat::of(&director, pool, &tuple, full_nat::is_ipv6(packet)) else {
        return Verdict::DroppedNoPort.into();
    };
    let Some(server) = director.server_for(lease.entry.slot().server(), &tuple) else {
        return Verdict::DroppedNoPort.into();
    };
    let Some(source) = pool.source(lease.place) else { return Verdict::Aborted.into() };
    full_nat::deliver(frame, packet, &transport, source, &server, &director)
}

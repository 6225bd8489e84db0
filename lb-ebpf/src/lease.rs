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
    admission,
    arrival::{self, Given},
    director::Director,
    frame::Frame,
    full_nat, inbound,
    parse::{self, Packet},
    schedule,
    tables::Tables,
};

impl<T: Tables> Director<'_, T> {
    /// Lends a connection a port, if one of its candidates is free or gives way.
    #[inline(always)]
    pub fn rent(&self, flow: FlowId, server: ServerId, ipv6: bool) -> Option<Place> {
        let table = full_nat::table(self.tables, self.tables.pool()?, ipv6)?;
        self.admit(&table, flow, server, false, |victim, _| {
            victim
                .server()
                .and_then(|id| self.server(id))
                .is_none_or(|server| gives_way(victim, server.state.protocol()))
        })
    }
}

/// A server, and a port to be sent from, for the packet's connection. [`Given::NOTHING`]: no service by full NAT listens
/// there.
#[inline(never)]
pub fn admit<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Given {
    let Some(director) = Director::again(tables) else { return Given::ended(Verdict::Aborted) };
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Given::NOTHING };
    let tuple = inbound::tuple(packet, &transport);
    let number = match arrival::listening(&director, &tuple) {
        Ok(number) => number,
        Err(Verdict::DroppedMartian) => return Given::ended(Verdict::DroppedMartian),
        Err(_) => return Given::NOTHING,
    };
    let Some(service) = tables.service(number) else { return Given::ended(Verdict::Aborted) };
    if service.flags.load() & Service::FULL_NAT == 0 {
        return Given::NOTHING;
    }
    match give(&director, number, service, &tuple, transport.signal.segment()) {
        Ok(given) => given,
        Err(verdict) => Given::ended(verdict),
    }
}

#[inline(always)]
fn give<T: Tables>(
    director: &Director<'_, T>,
    number: u32,
    service: &Service,
    tuple: &Tuple,
    segment: Segment,
) -> Result<Given, Verdict> {
    admission::admit(director, number, service, &tuple.client, segment)?;
    if !opens(segment) {
        return Err(stray(director, tuple, segment));
    }
    let flow = director.settings.flow_id(tuple);
    let chosen = schedule::chosen(director.tables, number, service, tuple, segment)?;
    let pick = director.pick(service, tuple, flow, segment, chosen);
    let server = pick.ok_or_else(|| arrival::without_server(service, segment))?.server;
    Ok(settle(director.tables, tuple, flow, server))
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
    if server.is_some_and(|server| server.state.has(ServerState::LETS_GO)) {
        lease.entry.refresh(Class::Closing, director.now);
    }
}

/// Gives the connection this server, and counts it there.
#[inline(never)]
fn settle<T: Tables>(tables: &T, tuple: &Tuple, flow: FlowId, server: ServerId) -> Given {
    match place(tables, tuple, flow, server) {
        Some(place) => {
            tables.count_connection(server);
            Given::to(server).from(place)
        }
        None => {
            tables.fell_short(server);
            Given::ended(Verdict::DroppedNoPort)
        }
    }
}

/// The place of the port that the connection has, or of another one, if there is any.
#[inline(always)]
fn place<T: Tables>(tables: &T, tuple: &Tuple, flow: FlowId, server: ServerId) -> Option<Place> {
    let director = Director::again(tables)?;
    let pool = tables.pool()?;
    let ipv6 = tuple.vip.as_v4().is_none();
    if let Some(lease) = full_nat::of(&director, pool, tuple, ipv6) {
        // The same client may use its port again at once: to the server it is one who does so.
        return if lease.entry.move_to(server, false, director.now) { Some(lease.place) } else { None };
    }
    // Two clients of one flow id: the second one waits until the first has gone.
    if full_nat::table(tables, pool, ipv6)?.locate(flow).is_some() {
        return None;
    }
    let place = tables.rent(flow, server, ipv6)?;
    if tables.leaves_traces() {
        tables.tenant(place)?.note(tuple);
    }
    Some(place)
}

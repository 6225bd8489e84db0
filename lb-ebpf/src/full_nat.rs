//! Full NAT: a packet of a stored connection, from the client to the server or back. Both addresses and both ports change, so
//! that the server answers the director, whatever its routes are (`docs/full-nat.md`).
//!
//! A connection has one entry: the slot that stands where its port does. A reply goes there by its destination; a client's
//! packet by its flow id, and is believed only if the whole tuple is that which was noted.

use lb_common::{
    entry::{EndpointKey, Pool, ServerState},
    flow_table::{Entry, FlowTable, Place},
    net::{Addr, Port, Protocol, Tuple},
    pool::{Range, tag},
    slot::ServerId,
    verdict::Verdict,
};

use crate::{
    Outcome, admission,
    arrival::{Given, NOBODY, listener},
    director::{Chosen, Director},
    egress,
    frame::Frame,
    inbound, outbound,
    parse::{self, Family, Packet, Transport},
    rewrite::{self, Ends},
    sharing::vip_port,
    tables::{Direction, Tables},
};

/// A connection, and where it is sent from.
pub struct Lease<'t, T: Tables> {
    pub entry: Entry<'t, T::Cell>,
    pub place: Place,
}

/// The table whose places are the ports for connections of this family.
#[inline(always)]
pub fn table<'t, T: Tables>(tables: &'t T, pool: &Pool, ipv6: bool) -> Option<FlowTable<'t, T, Range>> {
    Some(FlowTable { memory: tables, geometry: pool.range(ipv6)? })
}

#[inline(always)]
pub const fn is_ipv6(packet: &Packet<'_>) -> bool {
    matches!(packet.shape.family(), Family::V6)
}

/// The server and the port of a client's packet, by its entry; [`Given::NOTHING`]: there is none that may keep it, or it has
/// no ports.
#[inline(never)]
pub fn holder<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Given {
    let Some(director) = Director::consult(tables) else { return Given::ended(Verdict::Aborted) };
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Given::NOTHING };
    let Some(pool) = tables.pool() else { return Given::ended(Verdict::Aborted) };
    let tuple = inbound::tuple(packet, &transport);
    let Some(lease) = of(&director, pool, &tuple, is_ipv6(packet)) else { return Given::NOTHING };
    let Some(server) = inbound::keeper(&director, &tuple, lease.entry.slot(), transport.signal) else {
        return Given::NOTHING;
    };
    let is_metered = server.state.has(ServerState::METERED);
    if is_metered && !admission::has_packet_left(tables, server.state.service, &tuple.client) {
        return Given::ended(Verdict::DroppedRateSource);
    }
    inbound::refresh(&director, &lease.entry, server, transport.signal);
    Given::to(server.id).from(lease.place)
}

/// The entry of the connection with this tuple.
#[inline(always)]
pub fn of<'t, T: Tables>(
    director: &Director<'t, T>,
    pool: &Pool,
    tuple: &Tuple,
    ipv6: bool,
) -> Option<Lease<'t, T>> {
    let table = table(director.tables, pool, ipv6)?;
    let place = table.locate(director.settings.flow_id(tuple))?;
    let noted = director.tables.tenant(place)?.tuple(tuple.vip, tuple.protocol);
    if noted.client != tuple.client || noted.ports() != tuple.ports() {
        return None;
    }
    Some(Lease { entry: table.at(place)?, place })
}

/// Sends a client's packet to the server and from the port that it was given.
#[inline(never)]
pub fn to_server<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, given: Given) -> Outcome {
    let id = match given.server() {
        Ok(id) => id,
        Err(outcome) => return outcome,
    };
    let sent = translate(frame, packet, tables, id, given.place());
    tables.book(id, Direction::In, packet.shape.length(), sent)
}

#[inline(always)]
fn translate<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    tables: &T,
    id: ServerId,
    place: Place,
) -> Result<Outcome, Outcome> {
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Err(Verdict::Aborted.into()) };
    let director = Director::again(tables).ok_or(Verdict::Aborted)?;
    let server = director.server(id).ok_or(Verdict::Aborted)?;
    let source = tables.pool().and_then(|pool| pool.source(place)).ok_or(Verdict::Aborted)?;
    rewrite::has_hops_to_server(frame, packet.shape.network())?;
    let way = egress::to_server(packet, &source.0, server.server, &director)?;
    egress::learn_path(packet, &director);
    let port = if server.state.port.is_any() { transport.destination } else { server.state.port };
    let to = Ends { source, destination: (server.server.address.load(), port) };
    rewrite::change_ends(frame, packet, &transport, to).ok_or(Verdict::Aborted)?;
    Ok(rewrite::send(packet, way, Verdict::ForwardedFullNat))
}

/// A packet to an address that full NAT sends from. `Outcome::OPEN`: it is to another one, or has no ports.
#[inline(always)]
pub fn to_client<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Outcome::OPEN };
    let transport = &transport;
    let number = listener(tables, &packet.destination, Port::ANY, EndpointKey::POOL_MARKER);
    if number == NOBODY {
        return Outcome::OPEN;
    }
    let Some(director) = Director::consult(tables) else { return Verdict::Aborted.into() };
    let Some(pool) = tables.pool() else { return Verdict::Aborted.into() };
    let place = pool.place(number as u32, transport.destination);
    let here = Endpoint { addr: packet.source, port: transport.source, protocol: transport.protocol };
    let known = place.and_then(|place| at(&director, pool, place, &here));
    let Some((entry, server, tuple)) = known else {
        return outbound::unexplained(packet, &director).into();
    };
    outbound::hear(&entry, transport.signal, director.now);
    let sent = translate_back(frame, packet, transport, &tuple, &server, &director);
    tables.book(server.id, Direction::Out, packet.shape.length(), sent)
}

#[inline(always)]
fn translate_back<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    tuple: &Tuple,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
) -> Result<Outcome, Outcome> {
    rewrite::has_hops_left(frame, packet.shape.network())?;
    let way = egress::to_client(packet, tuple.client, tuple.vip, director)?;
    let vip = (tuple.vip, vip_port(server.state, transport.source));
    let to = Ends { source: vip, destination: (tuple.client, tuple.client_port) };
    rewrite::change_ends(frame, packet, transport, to).ok_or(Verdict::Aborted)?;
    Ok(rewrite::send(packet, way, Verdict::ForwardedFullNatReply))
}

/// Where a server serves.
pub struct Endpoint {
    pub addr: Addr,
    pub port: Port,
    pub protocol: Protocol,
}

/// The connection that is sent from the port at this place, if it is with this server. What is noted of it is believed only
/// if it hashes to the slot.
#[inline(always)]
pub fn at<'t, T: Tables>(
    director: &Director<'t, T>,
    pool: &Pool,
    place: Place,
    server_at: &Endpoint,
) -> Option<(Entry<'t, T::Cell>, Chosen<'t>, Tuple)> {
    let entry = table(director.tables, pool, server_at.addr.as_v4().is_none())?.at(place)?;
    let server = director.server(entry.slot().server()?)?;
    let noted = director.tables.tenant(place)?;
    let tuple = noted.tuple(server.server.vip.load(), server.state.protocol());
    let port = if server.state.port.is_any() { tuple.vip_port } else { server.state.port };
    let is_its = server.server.address.load() == server_at.addr && port == server_at.port;
    let is_its = is_its && tuple.protocol == server_at.protocol;
    if !is_its || tag(director.settings.flow_id(&tuple)) != entry.slot().tag() {
        return None;
    }
    Some((entry, server, tuple))
}

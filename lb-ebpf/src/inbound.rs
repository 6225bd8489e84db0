//! A packet to a VIP whose connection is stored: refreshed, rewritten and sent. What has no entry goes to
//! [`arrival`](crate::arrival).

use lb_common::{
    checksum::Delta,
    entry::{ServerState, Settings},
    flow_table::{Cell, Entry},
    lifecycle::{Segment, Sight, after_client, settles},
    net::Tuple,
    slot::{Class, ServerId, Slot},
    verdict::Verdict,
};

use crate::{
    Outcome, admission,
    arrival::Given,
    director::{Chosen, Director},
    frame::Frame,
    ip::End,
    parse::{self, Network, NoTransport, Packet, Signal, Transport},
    rewrite,
    tables::{Direction, Tables},
    tunnel::{self, Parcel},
};

/// The way of an established connection. `Outcome::OPEN`: there is no entry that may keep the packet, or it has no ports.
/// Services that limit packets have theirs metered in a stage of its own; so have those whose packets name their server.
#[inline(always)]
pub fn forward<'a, T: Tables>(
    frame: &Frame<'a>,
    packet: &Packet<'a>,
    network: Network,
    transport: &Transport<'a>,
    tables: &T,
) -> Outcome {
    let Some(director) = Director::consult(tables) else { return Verdict::Aborted.into() };
    let director = &director;
    if !director.is(Settings::FLOWS) {
        return Outcome::OPEN;
    }
    let tuple = tuple(packet, transport);
    let flow = director.settings.flow_id(&tuple);
    let Some(entry) = director.flows().find(flow) else { return Outcome::OPEN };
    let slot = entry.slot();
    let Some(server) = director.server_for(slot.server(), &tuple) else { return Outcome::OPEN };
    let goes_on = goes_on(director, slot, server, transport.signal);
    if !goes_on && !keeps(director, slot, server, transport.signal.segment()) {
        return Outcome::OPEN;
    }
    if server.state.has(ServerState::METERED | ServerState::BY_ID) {
        return if server.state.has(ServerState::BY_ID) { Outcome::TO_QUIC } else { Outcome::TO_METER };
    }
    if !goes_on && refresh(director, &entry, server, transport.signal) {
        director.settled(flow, slot, server);
    }
    if server.state.has(ServerState::TUNNEL) {
        let (server, entropy) = (server.id, tunnel::entropy(flow));
        return tables.encapsulate(frame, Parcel { server, shape: packet.shape, entropy });
    }
    deliver(frame, packet, network, transport, &server, director)
}

/// Sends a packet, or a later part of one, to the server that it was given. `entropy`: [`Parcel::entropy`].
#[inline(always)]
pub fn forward_to<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    tables: &T,
    server: ServerId,
    entropy: u32,
) -> Outcome {
    if tunnel::leads_to(tables, server) {
        return tables.encapsulate(frame, Parcel { server, shape: packet.shape, entropy });
    }
    rewrite_for(frame, packet, tables, server)
}

/// By NAT or DR.
#[inline(never)]
fn rewrite_for<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, id: ServerId) -> Outcome {
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let Some(server) = director.server(id) else { return Verdict::Aborted.into() };
    let network = packet.shape.network();
    match parse::transport(frame, packet, tables) {
        Ok(transport) => deliver(frame, packet, network, &transport, &server, &director),
        Err(NoTransport::Fragment) => send(frame, packet, network, &server, &director, |_| ()),
        Err(_) => Verdict::Aborted.into(),
    }
}

/// The server of a packet's entry, if it may keep the packet, for those whose way does not begin with the entry;
/// [`Given::NOTHING`] if there is none. Whom the packet itself has `named`, gets it instead; the entry of another server then
/// stays as it is, so that nobody moves a connection by sending ids in another's name, and ends when nothing else uses it.
#[inline(never)]
pub fn holder<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, named: Given) -> Given {
    let Some(director) = Director::again(tables) else { return Given::NOTHING };
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Given::NOTHING };
    let tuple = tuple(packet, &transport);
    let flow = director.settings.flow_id(&tuple);
    if director.is(Settings::FLOWS)
        && let Some(place) = tables.locate(flow)
        && let Some(entry) = director.flows().at(place)
        && let Some(server) = keeper(&director, &tuple, entry.slot(), transport.signal)
    {
        let is_metered = server.state.has(ServerState::METERED);
        if is_metered && !admission::has_packet_left(tables, server.state.service, &tuple.client) {
            return Given::ended(Verdict::DroppedRateSource);
        }
        if named == Given::NOTHING || named == Given::to(server.id) {
            if refresh(&director, &entry, server, transport.signal) {
                director.settled(flow, entry.slot(), server);
            }
            return Given::to(server.id).of(flow);
        }
        return named.of(flow);
    }
    Given::NOTHING
}

/// What identifies a packet to a VIP.
#[inline(always)]
pub fn tuple(packet: &Packet<'_>, transport: &Transport<'_>) -> Tuple {
    Tuple {
        client: packet.source,
        vip: packet.destination,
        client_port: transport.source,
        vip_port: transport.destination,
        protocol: transport.protocol,
    }
}

#[inline(always)]
fn deliver<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    network: Network,
    transport: &Transport<'_>,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
) -> Outcome {
    send(frame, packet, network, server, director, |address| {
        let port = if server.state.port.is_any() { transport.destination } else { server.state.port };
        rewrite::change_port(transport, End::Destination, port, address);
    })
}

/// Sends a packet to its server, and counts it there. `change_port`: see [`rewrite::towards_server`].
#[inline(always)]
fn send<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    network: Network,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
    change_port: impl FnOnce(Delta),
) -> Outcome {
    let sent = rewrite::towards_server(frame, packet, network, server, director, change_port);
    director.tables.book(server.id, Direction::In, packet.shape.length(), sent)
}

/// The server of a stored connection, if it may keep this packet.
#[inline(always)]
pub fn keeper<'t, T: Tables>(
    director: &Director<'t, T>,
    tuple: &Tuple,
    slot: Slot,
    signal: Signal,
) -> Option<Chosen<'t>> {
    let server = director.server_for(slot.server(), tuple)?;
    if keeps(director, slot, server, signal.segment()) { Some(server) } else { None }
}

/// Nearly always: a connection that stays where it is, and of which there is nothing to note.
#[inline(always)]
fn goes_on<T: Tables>(director: &Director<'_, T>, slot: Slot, server: Chosen<'_>, signal: Signal) -> bool {
    signal.is_amid_connection() && server.state.alive() && slot.is_live(director.now)
}

/// Notes that the client has sent this. Says whether the connection has settled by it.
#[inline(always)]
pub fn refresh<T: Tables, C: Cell>(
    director: &Director<'_, T>,
    entry: &Entry<'_, C>,
    server: Chosen<'_>,
    signal: Signal,
) -> bool {
    let (before, later) = (entry.slot().class(), entry.slot().idle(director.now) > 0);
    let class = after_client(before, signal.segment(), later, sight(server, signal));
    entry.refresh(class, director.now) && settles(before, class)
}

/// Which directions of a connection at this server pass here.
#[inline(always)]
pub fn sight(server: Chosen<'_>, signal: Signal) -> Sight {
    let both = server.state.has(ServerState::NAT | ServerState::FULL_NAT) && !signal.is_datagram();
    if both { Sight::Both } else { Sight::ClientOnly }
}

/// A new connection takes the place of one that was closed: the first SYN does, the next one finds it new.
#[inline(always)]
fn begins_anew<T: Tables>(director: &Director<'_, T>, server: Chosen<'_>) -> bool {
    director.tables.count_connection(server.id);
    true
}

/// Whether a handshake that seems to be under way goes on where it began. Where the server's answers are not seen, one that was
/// over in a moment looks the same, and its client may have taken the same port again: a server that is drained gets no such.
#[inline(always)]
fn keeps_handshake(server: Chosen<'_>) -> bool {
    let is_seen = server.state.has(ServerState::NAT | ServerState::FULL_NAT);
    if is_seen { server.state.alive() } else { server.state.takes_new() && server.state.alive() }
}

/// Whether a stored connection stays where it is. A live one always does, whatever is sent (RFC 5961), unless its server is
/// gone and the policy is to end what it had, or to let it go: then only a RST still goes there. UDP has no connection to
/// lose and leaves a dead server.
#[inline(always)]
pub fn keeps<T: Tables>(
    director: &Director<'_, T>,
    slot: Slot,
    server: Chosen<'_>,
    segment: Segment,
) -> bool {
    match segment {
        Segment::Datagram => server.state.alive(),
        Segment::Syn if slot.expired(director.now, director.settings.limits()) => false,
        Segment::Syn => match slot.class() {
            Class::New | Class::Answered => keeps_handshake(server),
            Class::Closing => server.state.takes_new() && begins_anew(director, server),
            Class::Established | Class::HalfClosed => !server.state.has(ServerState::LETS_GO),
        },
        Segment::Rst => true,
        _ => !server.state.has(ServerState::LETS_GO),
    }
}

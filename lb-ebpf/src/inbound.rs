//! A packet to a VIP whose connection is stored: refreshed, rewritten and sent. What has no entry goes to
//! [`arrival`](crate::arrival).

use lb_common::{
    entry::{ServerState, Settings},
    flow_table::{Cell, Entry},
    lifecycle::{Segment, Sight, after_client},
    net::Tuple,
    slot::{Class, ServerId},
    verdict::Verdict,
};

use crate::{
    Outcome,
    director::{Chosen, Director},
    frame::Frame,
    parse::{self, Packet, Signal, Transport},
    rewrite,
    tables::{Direction, Tables},
};

/// The way of an established connection. `Outcome::OPEN`: there is no entry that may keep the packet, or it has no ports.
#[inline(always)]
pub fn forward<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    let Some(director) = Director::consult(tables) else { return Verdict::Aborted.into() };
    let director = &director;
    if !director.is(Settings::FLOWS) {
        return Outcome::OPEN;
    }
    let Ok(transport) = parse::transport(frame, packet, director.tables) else { return Outcome::OPEN };
    let tuple = tuple(packet, &transport);
    let Some(entry) = director.flows().find(director.settings.flow_id(&tuple)) else { return Outcome::OPEN };
    match kept(director, &tuple, &entry, transport.signal) {
        Some(server) => deliver(frame, packet, &transport, &server, director),
        None => Outcome::OPEN,
    }
}

/// Sends a packet to the server that it was given.
#[inline(never)]
pub fn forward_to<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, id: ServerId) -> Outcome {
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Verdict::Aborted.into() };
    let Some(server) = director.server(id) else { return Verdict::Aborted.into() };
    deliver(frame, packet, &transport, &server, &director)
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

/// Sends a packet to its server, and counts it there.
#[inline(always)]
fn deliver<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
) -> Outcome {
    match rewrite::towards_server(frame, packet, transport, server, director) {
        Ok(outcome) => {
            director.tables.count_packet(server.id, Direction::In, packet.shape.length());
            outcome
        }
        Err(outcome) => {
            director.tables.fell_short(server.id);
            outcome
        }
    }
}

/// The server of a stored connection, if it may keep this packet.
#[inline(always)]
fn kept<'t, T: Tables>(
    director: &Director<'t, T>,
    tuple: &Tuple,
    entry: &Entry<'t, T::Cell>,
    signal: Signal,
) -> Option<Chosen<'t>> {
    let server = director.server_for(entry.slot().server(), tuple)?;
    let segment = signal.segment();
    if !keeps(director, entry, server, segment) {
        return None;
    }
    let later = entry.slot().idle(director.now) > 0;
    let both = server.state.has(ServerState::NAT) && !signal.is_datagram();
    let sight = if both { Sight::Both } else { Sight::ClientOnly };
    entry.refresh(after_client(entry.slot().class(), segment, later, sight), director.now);
    Some(server)
}

/// Whether a stored connection stays where it is. A live one always does, whatever is sent (RFC 5961); UDP has no
/// connection to lose and leaves a dead server.
#[inline(always)]
fn keeps<T: Tables, C: Cell>(
    director: &Director<'_, T>,
    entry: &Entry<'_, C>,
    server: Chosen<'_>,
    segment: Segment,
) -> bool {
    match segment {
        Segment::Datagram => server.state.alive(),
        Segment::Syn if entry.slot().expired(director.now, director.settings.limits()) => false,
        Segment::Syn => match entry.slot().class() {
            Class::New | Class::Answered => server.state.alive(),
            Class::Closing => server.state.takes_new(),
            Class::Established | Class::HalfClosed => true,
        },
        _ => true,
    }
}

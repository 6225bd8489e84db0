//! A packet from a NAT server: the reply of a balanced connection, translated back; or the server's own traffic, passed.
//!
//! There is no second, reverse entry that could be evicted apart from the first. The forward tuple is put together for
//! each service that leads to this server and port, and looked up in the one flow table.

use lb_common::{
    checksum::Delta,
    clock::Now,
    entry::{EndpointKey, Settings, Sharers},
    flow_table::{Cell, Entry, Place},
    lifecycle::{Segment, after_server, settles},
    net::{Addr, Port, Protocol, Tuple},
    slot::ServerId,
    verdict::{Event, Verdict},
    word::veiled,
};

use crate::{
    Outcome,
    arrival::Given,
    director::{Chosen, Director},
    frame::Frame,
    ip::End,
    parse::{self, NoTransport, Packet, Signal, Transport},
    rewrite,
    sharing::{Tie, vip_port},
    tables::{Direction, Tables},
};

/// `Outcome::OPEN`: the packet has no ports.
#[inline(always)]
pub fn translate<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    let Some(director) = Director::consult(tables) else { return Verdict::Aborted.into() };
    let director = &director;
    let transport = match parse::transport(frame, packet, director.tables) {
        Ok(transport) => transport,
        Err(NoTransport::Fragment) => return Outcome::TO_FRAGMENT,
        Err(_) => return Outcome::OPEN,
    };
    let Some(question) = question(packet, &transport, director) else { return Verdict::PassedNotOurs.into() };
    let mut is_told = false;
    let answered = explain(&question, |entry, place| question.heard(entry, place), || is_told = true);
    if is_told {
        return Outcome::TO_HEIR;
    }
    let Some(server) = answered.and_then(|id| director.server(id)) else {
        return unexplained(packet, director).into();
    };
    deliver_whole(frame, packet, &transport, &server, director)
}

/// Whose connection a packet from a NAT server belongs to, for those that act on it apart.
#[inline(never)]
pub fn whose<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Given {
    let Some(director) = Director::again(tables) else { return Given::ended(Verdict::Aborted) };
    let Ok(transport) = parse::transport(frame, packet, tables) else {
        return Given::ended(Verdict::PassedUnexplained);
    };
    let Some(question) = question(packet, &transport, &director) else {
        return Given::ended(Verdict::PassedNotOurs);
    };
    match explain(&question, |entry, place| question.heard(entry, place), || ()) {
        Some(id) => Given::to(id),
        None => Given::ended(unexplained(packet, &director)),
    }
}

/// Sends a packet to the client whose connection with this server it belongs to.
#[inline(never)]
pub fn return_from<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, id: ServerId) -> Outcome {
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let Ok(transport) = parse::transport(frame, packet, tables) else { return Verdict::Aborted.into() };
    let Some(server) = director.server(id) else { return Verdict::Aborted.into() };
    deliver_whole(frame, packet, &transport, &server, &director)
}

#[inline(always)]
fn question<'d, 't, T: Tables>(
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    director: &'d Director<'t, T>,
) -> Option<Question<'d, 't, T>> {
    let sharers = sharers(director.tables, &packet.source, transport.source, transport.protocol)?;
    Some(Question { director, sharers, client: tuple(packet, transport), signal: transport.signal })
}

#[inline(always)]
fn deliver_whole<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
) -> Outcome {
    deliver(frame, packet, server, director, |address| {
        let port = vip_port(server.state, transport.source);
        rewrite::change_port(transport, End::Source, port, address);
    })
}

/// What identifies a server's packet. VIP and its port stand for the server and its port: they are filled in for each candidate.
#[inline(always)]
pub fn tuple(packet: &Packet<'_>, transport: &Transport<'_>) -> Tuple {
    Tuple {
        client: packet.destination,
        vip: packet.source,
        client_port: transport.destination,
        vip_port: transport.source,
        protocol: transport.protocol,
    }
}

/// Sends a packet to its client, and counts it for the server. `change_port`: see [`rewrite::towards_client`].
#[inline(always)]
pub fn deliver<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
    change_port: impl FnOnce(Delta),
) -> Outcome {
    let sent = rewrite::towards_client(frame, packet, server, director, change_port);
    director.tables.book(server.id, Direction::Out, packet.shape.length(), sent)
}

/// The pairs that lead to this server and port. A subprogram, so that the keys lie on a stack of their own.
#[inline(never)]
pub fn sharers<'t, T: Tables>(
    tables: &'t T,
    server: &Addr,
    port: Port,
    protocol: Protocol,
) -> Option<&'t Sharers> {
    let at = |port| tables.sharers(&EndpointKey::new(*server, port, protocol));
    at(port).or_else(|| at(Port::ANY))
}

/// What is asked about a connection at a real server.
pub struct Question<'d, 't, T: Tables> {
    pub director: &'d Director<'t, T>,
    pub sharers: &'t Sharers,
    /// As it is at the server: its address and port stand for the VIP's.
    pub client: Tuple,
    pub signal: Signal,
}

impl<T: Tables> Question<'_, '_, T> {
    /// The answer is the entry in this place of the connection table: the server spoke.
    #[inline(always)]
    fn heard<C: Cell>(&self, entry: &Entry<'_, C>, place: Place) {
        let (director, slot) = (self.director, entry.slot());
        if hear(entry, self.signal, director.now)
            && let Some(server) = slot.server().and_then(|id| director.server(id))
        {
            director.settled(director.settings.geometry().flow_of(slot, place.bucket), slot, server);
        }
    }
}

/// The connection's entry learns that the server spoke. Says whether the connection has settled by it.
#[inline(always)]
pub fn hear<C: Cell>(entry: &Entry<'_, C>, signal: Signal, now: Now) -> bool {
    let (before, later) = (entry.slot().class(), entry.slot().idle(now) > 0);
    let class = after_server(before, signal.segment(), later);
    entry.refresh(class, now) && settles(before, class)
}

/// The pair whose connection it is: by an entry, by another director's or else by the tables. What becomes of the entry is up to
/// `seen`; `told` is called if another director's said so.
#[inline(always)]
pub fn explain<'t, T: Tables>(
    question: &Question<'_, 't, T>,
    seen: impl Fn(&Entry<'t, T::Cell>, Place),
    told: impl FnOnce(),
) -> Option<ServerId> {
    let Question { director, sharers, ref client, signal } = *question;
    // How many were told and how many could be derived (upper halves), and the sums of their ids (lower halves).
    let (mut inherited, mut derivable) = (0, veiled(0, director.settings.flags.load()));
    for number in sharers.ids {
        let Some(id) = ServerId::new(number) else { break };
        let tie = director.tables.tie(id, client, client.vip_port);
        if let Some(place) = tie.place()
            && let Some(entry) = director.flows().at(place)
        {
            seen(&entry, place);
            return Some(id);
        }
        if tie == Tie::NAMED {
            return Some(id);
        }
        inherited = veiled(inherited + tie.told() * (1 << 32 | u64::from(number)), tie.word());
        derivable = veiled(derivable + tie.derivable() * (1 << 32 | u64::from(number)), tie.word());
    }
    // Of two, nobody knows which: neither is answered for, nor anybody else whom the tables name.
    if inherited >> 32 == 1 {
        told();
        return ServerId::new(inherited as u16);
    }
    let may_derive = match signal.segment() {
        Segment::Datagram => director.is(Settings::DERIVE_UDP),
        // A bare SYN is the server's own connection.
        segment => !segment.is_syn(),
    };
    if inherited != 0 || !may_derive || derivable >> 32 != 1 || director.tables.is_local(client.client) {
        return None;
    }
    director.tables.count(Event::DerivedReply);
    ServerId::new(derivable as u16)
}

/// What becomes of a packet from a server that belongs to no connection.
#[inline(always)]
pub fn unexplained<T: Tables>(packet: &Packet<'_>, director: &Director<'_, T>) -> Verdict {
    if director.tables.is_local(packet.destination) {
        Verdict::PassedLocal
    } else if director.is(Settings::SERVING) {
        Verdict::PassedUnexplained
    } else {
        Verdict::DroppedNotServing
    }
}

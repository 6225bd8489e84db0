//! ICMP errors about what full NAT sent: to the server or the client whose packet they quote, translated at both ends, also in
//! the quote. As with any translator, nobody but the two ends and the routers on their own side is named.

use lb_common::{
    entry::EndpointKey,
    flow_table::Place,
    net::{Addr, Port},
    verdict::Verdict,
};

use crate::{
    Outcome,
    arrival::{self, NOBODY},
    director::Director,
    egress,
    frame::Frame,
    full_nat::{self, Endpoint},
    icmp,
    ip::{self, End},
    parse::Packet,
    quote::{self, Quote},
    rewrite::{self, Ends},
    sharing::vip_port,
    tables::{Direction, Tables},
};

/// No place.
const NOWHERE: u64 = u64::MAX;

/// `Outcome::OPEN`: it is no error, or about nothing that full NAT sent.
#[inline(always)]
pub fn forward<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    if !icmp::is_error(frame, packet) {
        return Outcome::OPEN;
    }
    let quote = quote::find(frame, packet, tables);
    if quote == Quote::NONE {
        return Outcome::OPEN;
    }
    let answered = sent_to_client(frame, packet, tables, quote);
    if answered != NOWHERE {
        return towards_server(frame, packet, tables, quote, answered);
    }
    let sent = sent_to_server(frame, packet, tables, quote);
    if sent == NOWHERE { Outcome::OPEN } else { towards_client(frame, packet, tables, quote, sent) }
}

/// The place of the connection of which a packet to the client is quoted.
#[inline(never)]
fn sent_to_client<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, quote: Quote) -> u64 {
    let Some(director) = Director::again(tables) else { return NOWHERE };
    let Some(pool) = tables.pool() else { return NOWHERE };
    let Some(tuple) = quote::tuple(frame, quote, End::Destination) else { return NOWHERE };
    // Whoever is told of a packet must have sent it.
    if tuple.vip != packet.destination {
        return NOWHERE;
    }
    match full_nat::of(&director, pool, &tuple, full_nat::is_ipv6(packet)) {
        Some(lease) => lease.place.to_word(),
        None => NOWHERE,
    }
}

#[inline(never)]
fn towards_server<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    tables: &T,
    quote: Quote,
    place: u64,
) -> Outcome {
    let place = Place::from_word(place);
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let Some(pool) = tables.pool() else { return Verdict::Aborted.into() };
    let Some(table) = full_nat::table(tables, pool, full_nat::is_ipv6(packet)) else { return Outcome::OPEN };
    let server = table.at(place).and_then(|entry| director.server(entry.slot().server()?));
    let Some(server) = server else { return Outcome::OPEN };
    let Some(source) = pool.source(place) else { return Outcome::OPEN };
    let Some(hit) = quote::port(frame, quote, End::Source) else { return Verdict::Aborted.into() };
    let port = if server.state.port.is_any() { hit } else { server.state.port };
    let here = (server.server.address.load(), port);
    if let Err(verdict) = rewrite::has_hops_left(frame, packet.shape.network()) {
        return verdict.into();
    }
    let way = match egress::to_server(packet, &source.0, server.server, &director) {
        Ok(way) => way,
        Err(verdict) => return verdict.into(),
    };
    // The server has no way to whoever reports it, so that it comes from the director.
    let ends = Ends { source: here, destination: source };
    if translate(frame, packet, quote, ends, source.0, here.0).is_none() {
        return Verdict::Aborted.into();
    }
    tables.count_packet(server.id, Direction::In, packet.shape.length());
    rewrite::send(packet, way, Verdict::ForwardedIcmp)
}

/// The place of the connection of which a packet to the server is quoted, from the address that is told of it. What asks is
/// not what acts, for the sake of the stack.
#[inline(never)]
fn sent_to_server<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, quote: Quote) -> u64 {
    let number = arrival::listener(tables, &packet.destination, Port::ANY, EndpointKey::POOL_MARKER);
    if number == NOBODY {
        return NOWHERE;
    }
    let Some(director) = Director::again(tables) else { return NOWHERE };
    let Some(pool) = tables.pool() else { return NOWHERE };
    let Some(sent) = quote::tuple(frame, quote, End::Source) else { return NOWHERE };
    if sent.client != packet.destination {
        return NOWHERE;
    }
    let Some(place) = pool.place(number as u32, sent.client_port) else { return NOWHERE };
    let there = Endpoint { addr: sent.vip, port: sent.vip_port, protocol: sent.protocol };
    match full_nat::at(&director, pool, place, &there) {
        Some(_) => place.to_word(),
        None => NOWHERE,
    }
}

/// From the server, or a router on the way to it.
#[inline(never)]
fn towards_client<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    tables: &T,
    quote: Quote,
    place: u64,
) -> Outcome {
    let place = Place::from_word(place);
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let Some(pool) = tables.pool() else { return Verdict::Aborted.into() };
    let Some(table) = full_nat::table(tables, pool, full_nat::is_ipv6(packet)) else { return Outcome::OPEN };
    let server = table.at(place).and_then(|entry| director.server(entry.slot().server()?));
    let Some(server) = server else { return Outcome::OPEN };
    let Some(noted) = tables.tenant(place) else { return Outcome::OPEN };
    let tuple = noted.tuple(server.server.vip.load(), server.state.protocol());
    let Some(hit) = quote::port(frame, quote, End::Destination) else { return Verdict::Aborted.into() };
    if let Err(verdict) = rewrite::has_hops_left(frame, packet.shape.network()) {
        return verdict.into();
    }
    let way = match egress::to_client(packet, tuple.client, tuple.vip, &director) {
        Ok(way) => way,
        Err(verdict) => return verdict.into(),
    };
    let vip = (tuple.vip, vip_port(server.state, hit));
    let ends = Ends { source: (tuple.client, tuple.client_port), destination: vip };
    // The server speaks as the VIP; a router on the way stays who it is (RFC 5508 section 4.2, REQ-4).
    let own = packet.source == server.server.address.load();
    let reporter = if own { tuple.vip } else { packet.source };
    if translate(frame, packet, quote, ends, reporter, tuple.client).is_none() {
        return Verdict::Aborted.into();
    }
    tables.count_packet(server.id, Direction::Out, packet.shape.length());
    rewrite::send(packet, way, Verdict::ForwardedIcmpReply)
}

/// Gives the quoted packet these ends, and the one that quotes it these addresses.
#[inline(always)]
fn translate(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    quote: Quote,
    quoted: Ends,
    source: Addr,
    destination: Addr,
) -> Option<()> {
    let message = icmp::header(frame, packet)?;
    let (from, to) = (quoted.source, quoted.destination);
    let at_source = quote::rename(frame, quote, End::Source, from.0, from.1)?;
    let at_destination = quote::rename(frame, quote, End::Destination, to.0, to.1)?;
    let around = ip::forward_between(frame, packet.shape, source, destination)?;
    icmp::change_sum(message, packet, at_source.and(at_destination), around);
    Some(())
}

//! ICMP (RFC 792) and ICMPv6 (RFC 4443): errors go where the packet they quote came from, as RFC 5508 section 4.2 asks of
//! a translator, and a VIP with a usable server answers pings. Neighbour discovery and all the rest are the kernel's.
//!
//! An error leaves no trace: it refreshes no entry, stores none, and is never answered by another.

use lb_common::{
    checksum::Delta,
    entry::{EndpointKey, ServerState},
    gate::{Position, Role},
    net::{Addr, Port},
    verdict::Verdict,
};

use crate::{
    Exit, Outcome, arrival,
    director::{Chosen, Director},
    egress,
    frame::Frame,
    headers::{Icmp, Ipv4},
    ip::{self, Change, End},
    link,
    outbound::{self, Question},
    parse::{Family, Packet, Shape, Signal},
    quote::{self, Quote},
    rewrite,
    sharing::vip_port,
    tables::{Direction, Tables},
    tunnel::{self, Parcel},
};

pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const HOPS: u8 = 64;

/// What a message asks of us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Error,
    Echo,
    Other,
}

/// Whether there may be ICMP in this packet. Behind extension headers it is the kernel's.
#[inline(always)]
pub fn is_carried_by(shape: Shape) -> bool {
    let number = match shape.family() {
        Family::V4 => ICMP,
        Family::V6 => ICMPV6,
    };
    shape.next_header() == number && !shape.is_fragment()
}

#[inline(always)]
pub fn header<'a>(frame: &Frame<'a>, packet: &Packet<'_>) -> Option<&'a Icmp> {
    let shape = packet.shape;
    if u64::from(shape.length()) < shape.header_length() + size_of::<Icmp>() as u64 {
        return None;
    }
    frame.view_at(shape.link_length() + shape.header_length())
}

/// Whether this is an error that quotes a packet.
#[inline(always)]
pub fn is_error(frame: &Frame<'_>, packet: &Packet<'_>) -> bool {
    kind(frame, packet) == Kind::Error
}

/// The MTU that "fragmentation needed" or "packet too big" names; none in any other message.
#[inline(always)]
pub fn told_mtu(frame: &Frame<'_>, packet: &Packet<'_>) -> Option<u32> {
    let icmp = header(frame, packet).filter(|_| is_carried_by(packet.shape))?;
    let mtu = u32::from_be_bytes(icmp.rest.get());
    match (packet.shape.family(), icmp.kind.byte(), icmp.code.byte()) {
        // Only the lower half: RFC 4884 puts a length into the upper.
        (Family::V4, 3, 4) => Some(mtu & 0xffff),
        (Family::V6, 2, _) => Some(mtu),
        _ => None,
    }
}

#[inline(always)]
fn kind(frame: &Frame<'_>, packet: &Packet<'_>) -> Kind {
    let Some(icmp) = header(frame, packet) else { return Kind::Other };
    if !is_carried_by(packet.shape) {
        return Kind::Other;
    }
    match (packet.shape.family(), icmp.kind.byte()) {
        // Unreachable (with "fragmentation needed"), time exceeded, parameter problem. No source quench (RFC 6633).
        (Family::V4, 3 | 11 | 12) => Kind::Error,
        (Family::V4, ECHO) => Kind::Echo,
        // Unreachable, packet too big, time exceeded, parameter problem.
        (Family::V6, 1..=4) => Kind::Error,
        (Family::V6, ECHO_V6) => Kind::Echo,
        _ => Kind::Other,
    }
}

const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// What came to a VIP and has no ports.
#[inline(always)]
pub fn to_vip<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    match kind(frame, packet) {
        Kind::Error => {
            let quote = sent(frame, packet, tables);
            if quote == Quote::NONE {
                return Verdict::PassedIcmpUnmatched.into();
            }
            match quote.server().filter(|id| tunnel::leads_to(tables, *id)) {
                // By the same way for all of them: who quotes knows the connection, the outer headers need not.
                Some(server) => tables.encapsulate(frame, Parcel { server, shape: packet.shape, entropy: 0 }),
                None => towards_server(frame, packet, tables, quote),
            }
        }
        Kind::Echo => echo(frame, packet, tables),
        Kind::Other => Verdict::PassedNotBalanced.into(),
    }
}

/// The quote of a packet that a server sent to a client in the VIP's name, with that server; [`Quote::NONE`] if it cannot
/// be told. What asks is not what acts, here and below, for the sake of the stack.
#[inline(never)]
fn sent<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Quote {
    let Some(director) = Director::again(tables) else { return Quote::NONE };
    let quote = quote::find(frame, packet, tables);
    if quote == Quote::NONE {
        return Quote::NONE;
    }
    let Some(tuple) = quote::tuple(frame, quote, End::Destination) else { return Quote::NONE };
    // Whoever is told of a packet must have sent it.
    if tuple.vip != packet.destination {
        return Quote::NONE;
    }
    arrival::owner(&director, &tuple).map_or(Quote::NONE, |id| quote.of(id))
}

#[inline(never)]
fn towards_server<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, quote: Quote) -> Outcome {
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let Some(server) = quote.server().and_then(|id| director.server(id)) else {
        return Verdict::PassedIcmpUnmatched.into();
    };
    match forward(frame, packet, &director, quote, &server) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

#[inline(always)]
fn forward<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    director: &Director<'_, T>,
    quote: Quote,
    server: &Chosen<'_>,
) -> Result<Outcome, Outcome> {
    rewrite::has_hops_left(frame, packet.shape.network())?;
    let way = egress::to_server(packet, &packet.source, server.server, director)?;
    if server.state.has(ServerState::NAT) {
        let hit = quote::port(frame, quote, End::Source).ok_or(Verdict::Aborted)?;
        let port = if server.state.port.is_any() { hit } else { server.state.port };
        let address = server.server.address.load();
        let rename = Rename { end: End::Source, address, port, outer: Some((End::Destination, address)) };
        translate(frame, packet, quote, rename).ok_or(Verdict::Aborted)?;
    } else {
        ip::forward(frame, packet.shape.network(), None).ok_or(Verdict::Aborted)?;
    }
    director.tables.count_packet(server.id, Direction::In, packet.shape.length());
    Ok(rewrite::send(packet, way, Verdict::ForwardedIcmp))
}

/// What came from a NAT server, or from anybody behind us: an error about a packet that was translated on its way there goes
/// to the client, translated back. `Outcome::OPEN`: it is none.
#[inline(always)]
pub fn from_behind<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    let quote = received(frame, packet, tables);
    if quote == Quote::NONE {
        return Outcome::OPEN;
    }
    towards_client(frame, packet, tables, quote)
}

/// The quote of a client's packet on its way to a NAT server, with the pair by which it came there; [`Quote::NONE`] if no
/// connection explains it.
#[inline(never)]
fn received<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Quote {
    if kind(frame, packet) != Kind::Error {
        return Quote::NONE;
    }
    let quote = quote::find(frame, packet, tables);
    if quote == Quote::NONE {
        return Quote::NONE;
    }
    let Some(client) = quote::tuple(frame, quote, End::Source) else { return Quote::NONE };
    // Of strangers' errors most end here.
    let to = Position::of(client.vip);
    if client.client != packet.destination || !to.may_be(tables.gate(to.word()), Role::NatServer) {
        return Quote::NONE;
    }
    let Some(director) = Director::again(tables) else { return Quote::NONE };
    let sharers = outbound::sharers(tables, &client.vip, client.vip_port, client.protocol);
    let Some(sharers) = sharers else { return Quote::NONE };
    let signal = Signal::amid(quote.protocol());
    let question = Question { director: &director, sharers, client, signal };
    outbound::explain(&question, |_, _| (), || ()).map_or(Quote::NONE, |id| quote.of(id))
}

#[inline(never)]
fn towards_client<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, quote: Quote) -> Outcome {
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let Some(server) = quote.server().and_then(|id| director.server(id)) else { return Outcome::OPEN };
    match return_to(frame, packet, &director, quote, &server) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

#[inline(always)]
fn return_to<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    director: &Director<'_, T>,
    quote: Quote,
    server: &Chosen<'_>,
) -> Result<Outcome, Outcome> {
    rewrite::has_hops_left(frame, packet.shape.network())?;
    let vip = server.server.vip.load();
    let way = egress::to_client(packet, packet.destination, vip, director)?;
    let hit = quote::port(frame, quote, End::Destination).ok_or(Verdict::Aborted)?;
    // The server speaks as the VIP; a router on the way stays who it is (RFC 5508 section 4.2, REQ-4).
    let own = packet.source == server.server.address.load();
    let outer = if own { Some((End::Source, vip)) } else { None };
    let port = vip_port(server.state, hit);
    let rename = Rename { end: End::Destination, address: vip, port, outer };
    translate(frame, packet, quote, rename).ok_or(Verdict::Aborted)?;
    director.tables.count_packet(server.id, Direction::Out, packet.shape.length());
    Ok(rewrite::send(packet, way, Verdict::ForwardedIcmpReply))
}

/// Who is called what else: an end of the quoted packet, and of the one that quotes it.
#[derive(Clone, Copy)]
struct Rename {
    end: End,
    address: Addr,
    port: Port,
    outer: Change,
}

#[inline(always)]
fn translate(frame: &Frame<'_>, packet: &Packet<'_>, quote: Quote, rename: Rename) -> Option<()> {
    let icmp = header(frame, packet)?;
    let Rename { end, address, port, outer } = rename;
    let within = quote::rename(frame, quote, end, address, port)?;
    let around = ip::forward(frame, packet.shape.network(), outer)?;
    change_sum(icmp, packet, within, around);
    Some(())
}

/// What follows for a message's checksum from what changed in it and in the addresses around it.
#[inline(always)]
pub fn change_sum(icmp: &Icmp, packet: &Packet<'_>, within: Delta, around: Delta) {
    // That of ICMPv6 covers the addresses, too (RFC 4443 section 2.3); that of ICMP only the message.
    let delta = match packet.shape.family() {
        Family::V4 => within,
        Family::V6 => within.and(around),
    };
    icmp.checksum.set_raw(delta.apply(icmp.checksum.raw()));
}

/// Answers a ping in the VIP's name while the agent says that a service there has a usable server. Not limited in rate: an
/// answer is as long as its request and costs less than a forwarded packet.
#[inline(never)]
fn echo<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    let vip = packet.destination;
    let has_options =
        packet.shape.family() == Family::V4 && packet.shape.header_length() != size_of::<Ipv4>() as u64;
    let told = arrival::listener(tables, &vip, Port::ANY, EndpointKey::VIP_MARKER);
    let answers = told == u64::from(EndpointKey::ANSWERS_ECHO) && !has_options;
    if !answers || packet.source.is_martian() || arrival::is_vip(tables, packet.source) {
        return Verdict::PassedNotBalanced.into();
    }
    match turn(frame, packet) {
        Some(()) => Outcome::sent(Verdict::RepliedEcho, Exit::Back),
        None => Verdict::Aborted.into(),
    }
}

#[inline(always)]
fn turn(frame: &Frame<'_>, packet: &Packet<'_>) -> Option<()> {
    let icmp = header(frame, packet)?;
    ip::turn(frame, packet.shape, HOPS)?;
    let (asked, reply) = match packet.shape.family() {
        Family::V4 => (ECHO, ECHO_REPLY),
        Family::V6 => (ECHO_V6, ECHO_REPLY_V6),
    };
    let code = icmp.code.byte();
    let (old, new) = (u16::from_ne_bytes([asked, code]), u16::from_ne_bytes([reply, code]));
    icmp.kind.set([reply]);
    // The ends change places, which no pseudo-header notices.
    icmp.checksum.set_raw(Delta::none().half(old, new).apply(icmp.checksum.raw()));
    link::turn(packet.link);
    Some(())
}

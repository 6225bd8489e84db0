//! Which server a packet of QUIC names by its destination connection id (`docs/quic.md`).
//!
//! Of the packet only that is read which no version of QUIC may change (RFC 8999): the form of its header, and where its
//! connection id stands. What the id says is between the servers and us, in the plaintext form of QUIC-LB.

use lb_common::{
    entry::{QuicFormat, QuicKey},
    slot::ServerId,
    verdict::Event,
};

use crate::{
    arrival::{self, Given, NOBODY},
    director::Director,
    frame::Frame,
    headers::{Octet, QuicLong, Sixteen, Udp},
    inbound,
    parse::{self, Packet},
    tables::Tables,
};

/// RFC 8999 section 5: a long header, which says how long its ids are. With a short one, only its receiver knows.
const LONG: u8 = 0x80;

/// The server that the packet names, if it is one of the service and alive; else [`Given::NOTHING`], and the flow decides.
/// Drained and removed servers keep what names them.
#[inline(never)]
pub fn named<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Given {
    let named = look_up(frame, packet, tables);
    tables.count(if named.is_some() { Event::QuicById } else { Event::QuicByFlow });
    named.map_or(Given::NOTHING, Given::to)
}

#[inline(always)]
fn look_up<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Option<ServerId> {
    let director = Director::again(tables)?;
    let transport = parse::transport(frame, packet, tables).ok()?;
    let number = arrival::service_of(&director, &inbound::tuple(packet, &transport));
    if number == NOBODY {
        return None;
    }
    let format = QuicFormat::from_word(tables.service(number as u32)?.quic.load())?;
    let (high, low) = read(frame, packet, transport.at + size_of::<Udp>() as u64, format)?;
    let key = QuicKey::ending(number as u16, format, high, low);
    let server = director.server(ServerId::new(tables.quic_server(&key)? as u16)?)?;
    let is_usable = server.state.alive() && u64::from(server.state.service) == number;
    if is_usable { Some(server.id) } else { None }
}

/// Sixteen octets that end with the server's id in the connection id, if there is one of this format. Headers enough stand
/// before it, so one look reads any length, and nothing beyond it.
#[inline(always)]
fn read(frame: &Frame<'_>, packet: &Packet<'_>, at: u64, format: QuicFormat) -> Option<(u64, u64)> {
    let needed = 1 + format.length();
    let first: &Octet = frame.view_at(at)?;
    let begin = if first.value.byte() & LONG == 0 {
        at + size_of::<Octet>() as u64
    } else {
        let long: &QuicLong = frame.view_at(at)?;
        if u64::from(long.id_length.byte()) < needed {
            return None;
        }
        at + size_of::<QuicLong>() as u64
    };
    let end = begin + needed;
    let id: &Octet = frame.view_at(begin)?;
    // What lies behind the IP packet is the link's padding.
    if end > packet.shape.link_length() + u64::from(packet.shape.length()) || !format.is_of(id.value.byte()) {
        return None;
    }
    let octets: &Sixteen = frame.view_at(end - size_of::<Sixteen>() as u64)?;
    Some((octets.high.number(), octets.low.number()))
}

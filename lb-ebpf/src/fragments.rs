//! The parts of a datagram: the first one has ports and goes their way, the others follow it by a note
//! (`docs/fragments.md`).

use lb_common::{
    fragments::{self, Heading, Note},
    identity::FlowId,
    net::Protocol,
    slot::ServerId,
    verdict::{Event, Verdict},
};

use crate::{
    Outcome, arrival,
    arrival::Given,
    director::{Chosen, Director},
    extensions,
    frame::Frame,
    headers::{Extension, Ipv4},
    heir, inbound, outbound,
    parse::{Family, Packet, SCTP},
    tables::Tables,
};

/// RFC 791: the offset.
const OFFSET_MASK: u16 = 0x1fff;

/// What a fragment says of itself: in one word, as a subprogram may return it.
///
/// ```text
///  63     48 47      40 39      32 31                           0
/// +---------+----------+----------+------------------------------+
/// |  which  | headers  |  number  |              id              |
/// +---------+----------+----------+------------------------------+
/// ```
#[derive(Clone, Copy)]
struct Part(u64);

/// Which part of its datagram it is.
enum Which {
    First,
    Later,
    /// Of a first one that ends before its headers do (RFC 7112), or has more of them than anybody needs.
    Unreadable,
}

impl Part {
    const UNREADABLE: Self = Self(0);
    const LATER: u64 = 1 << 48;
    const FIRST: u64 = 2 << 48;

    /// `headers`: from the IP header to the transport header, bytes.
    #[inline(always)]
    const fn first(id: u32, number: u8, headers: u64) -> Self {
        if headers > 0xff * 4 {
            return Self::UNREADABLE;
        }
        Self(id as u64 | (number as u64) << 32 | (headers / 4) << 40 | Self::FIRST)
    }

    #[inline(always)]
    const fn later(id: u32, number: u8) -> Self {
        Self(id as u64 | (number as u64) << 32 | Self::LATER)
    }

    #[inline(always)]
    const fn which(self) -> Which {
        match self.0 >> 48 {
            0 => Which::Unreadable,
            1 => Which::Later,
            _ => Which::First,
        }
    }

    #[inline(always)]
    const fn id(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    const fn header_words(self) -> u8 {
        (self.0 >> 40) as u8
    }

    #[inline(always)]
    const fn number(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// Whether there may be TCP or UDP in its datagram: in IPv6 also behind further headers, which the first part has.
    #[inline(always)]
    fn may_have_ports(self, family: Family) -> bool {
        let number = self.number();
        Protocol::from_number(number).is_some() || family == Family::V6 && extensions::is_one(number)
    }
}

/// A fragment to a VIP.
#[inline(always)]
pub fn to_vip<T: Tables>(frame: &Frame<'_>, packet: &mut Packet<'_>, tables: &T) -> Outcome {
    let part = read(frame, packet, tables);
    match part.which() {
        Which::Unreadable => Verdict::DroppedFragment.into(),
        _ if part.number() == SCTP => Verdict::PassedSctp.into(),
        _ if !part.may_have_ports(packet.shape.family()) => Verdict::PassedNotBalanced.into(),
        Which::First => lead_to_server(frame, packet, tables, part),
        Which::Later => follow_to_server(frame, packet, tables, part),
    }
}

/// To which server a datagram goes whose first part this is; `None` for any other part, about which nobody is told
/// (RFC 1122 section 3.2.2).
#[inline(always)]
pub fn destination<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Option<ServerId> {
    let part = read(frame, packet, tables);
    match part.which() {
        Which::First => noted(packet, tables, part).server(Heading::ToServer),
        Which::Later | Which::Unreadable => None,
    }
}

/// A fragment from a NAT server.
#[inline(always)]
pub fn from_server<T: Tables>(frame: &Frame<'_>, packet: &mut Packet<'_>, tables: &T) -> Outcome {
    let part = read(frame, packet, tables);
    match part.which() {
        Which::Unreadable => Verdict::PassedUnexplained.into(),
        _ if !part.may_have_ports(packet.shape.family()) => Verdict::PassedUnexplained.into(),
        Which::First => lead_to_client(frame, packet, tables, part),
        Which::Later => follow_to_client(frame, packet, tables, part),
    }
}

/// A first part is read as if it were the whole: all that changes but the addresses, it has.
#[inline(always)]
fn lead_to_server<T: Tables>(frame: &Frame<'_>, packet: &mut Packet<'_>, tables: &T, part: Part) -> Outcome {
    packet.shape = packet.shape.as_whole(part.header_words(), part.number());
    // By the flow, also where packets name their server: QUIC is not sent in parts (RFC 9000 section 14).
    let mut given = inbound::holder(frame, packet, tables, Given::NOTHING);
    if given == Given::NOTHING {
        given = heir::holder(frame, packet, tables, Given::NOTHING);
        if let Ok(id) = given.server() {
            heir::adopt(frame, packet, tables, id);
        }
    }
    if given == Given::NOTHING {
        given = arrival::admit(frame, packet, tables, Given::NOTHING);
    }
    if given == Given::RESET || given == Given::UNREACHABLE {
        // It would have to be made of the whole datagram.
        return Verdict::DroppedNoServer.into();
    }
    match given.server() {
        Ok(id) => {
            note(packet, tables, part, Note::new(id, Heading::ToServer));
            inbound::forward_to(frame, packet, tables, id, given.entropy())
        }
        // Its datagram has a transport header, but it is not in here (RFC 1858).
        Err(outcome) if outcome == Verdict::PassedMalformed.into() => Verdict::DroppedFragment.into(),
        Err(outcome) => outcome,
    }
}

/// Likewise.
#[inline(always)]
fn lead_to_client<T: Tables>(frame: &Frame<'_>, packet: &mut Packet<'_>, tables: &T, part: Part) -> Outcome {
    packet.shape = packet.shape.as_whole(part.header_words(), part.number());
    match outbound::whose(frame, packet, tables).server() {
        Ok(id) => {
            note(packet, tables, part, Note::new(id, Heading::ToClient));
            outbound::return_from(frame, packet, tables, id)
        }
        Err(outcome) => outcome,
    }
}

#[inline(always)]
fn follow_to_server<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, part: Part) -> Outcome {
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let noted = noted(packet, tables, part).server(Heading::ToServer);
    match noted.and_then(|id| director.server(id)) {
        Some(Chosen { id, server, .. }) if server.vip.load() == packet.destination => {
            tables.count(Event::FragmentFollowed);
            // Not all parts know their flow, so those that follow take a way of their datagram's.
            inbound::forward_to(frame, packet, tables, id, part.id())
        }
        _ => {
            tables.count(Event::FragmentUnknown);
            Verdict::DroppedFragment.into()
        }
    }
}

#[inline(never)]
fn follow_to_client<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, part: Part) -> Outcome {
    let Some(director) = Director::again(tables) else { return Verdict::Aborted.into() };
    let noted = noted(packet, tables, part).server(Heading::ToClient);
    match noted.and_then(|id| director.server(id)) {
        Some(server) if server.server.address.load() == packet.source => {
            tables.count(Event::FragmentFollowed);
            outbound::deliver(frame, packet, &server, &director, |_| ())
        }
        _ => {
            tables.count(Event::FragmentUnknown);
            Verdict::PassedUnexplained.into()
        }
    }
}

/// Where the first part of the datagram went.
#[inline(never)]
fn noted<T: Tables>(packet: &Packet<'_>, tables: &T, part: Part) -> Note {
    let Some(director) = Director::again(tables) else { return Note::NONE };
    let hash = hash(packet, &director, part);
    tables.notes(fragments::set_of(hash)).map_or(Note::NONE, |set| fragments::read(set, hash, director.now))
}

/// Remembers where a first part goes, before it does: the next one may be on another CPU.
#[inline(never)]
fn note<T: Tables>(packet: &Packet<'_>, tables: &T, part: Part, note: Note) {
    let Some(director) = Director::again(tables) else { return };
    director.keep_time();
    let hash = hash(packet, &director, part);
    if let Some(set) = tables.notes(fragments::set_of(hash)) {
        if tables.leaves_traces() {
            fragments::write(set, hash, note, director.clock.now());
        }
        tables.count(Event::FragmentNoted);
    }
}

/// What the parts of a datagram have in common (the protocol in IPv4 alone).
#[inline(always)]
fn hash<T: Tables>(packet: &Packet<'_>, director: &Director<'_, T>, part: Part) -> FlowId {
    let protocol = match packet.shape.family() {
        Family::V4 => Protocol::from_number(part.number()),
        Family::V6 => None,
    };
    let datagram = fragments::datagram(packet.source, packet.destination, protocol, part.id());
    director.settings.flow_id(&datagram)
}

#[inline(never)]
fn read<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Part {
    let part = match packet.shape.family() {
        Family::V4 => read_ipv4(frame, packet),
        Family::V6 => read_ipv6(frame, packet, tables),
    };
    part.unwrap_or(Part::UNREADABLE)
}

#[inline(always)]
fn read_ipv4(frame: &Frame<'_>, packet: &Packet<'_>) -> Option<Part> {
    let shape = packet.shape;
    let ip: &Ipv4 = frame.view_at(shape.link_length())?;
    let (id, number) = (u32::from(ip.id.raw()), shape.next_header());
    Some(if ip.fragment.number() & OFFSET_MASK != 0 {
        Part::later(id, number)
    } else {
        Part::first(id, number, shape.header_length())
    })
}

#[inline(always)]
fn read_ipv6<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Option<Part> {
    let shape = packet.shape;
    let begin = shape.link_length();
    let upper = tables.behind_extensions(frame, begin + shape.header_length(), shape.next_header());
    // No header is at the start of a frame: none was found.
    let at = upper.fragment();
    if at == 0 {
        return None;
    }
    let id = frame.view_at::<Extension>(at)?.rest.raw();
    Some(if upper.is_later() {
        Part::later(id, upper.number())
    } else {
        Part::first(id, upper.number(), upper.place() - begin)
    })
}

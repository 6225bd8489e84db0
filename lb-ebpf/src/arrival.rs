//! A packet to a VIP whose connection has no server (any more): it gets one, and a place in the flow table.

use lb_common::{
    entry::{EndpointKey, Incident, ServerState, Service, Settings},
    flow_table::Place,
    gate::{Position, Role},
    identity::FlowId,
    lifecycle::Segment,
    net::{Addr, Port, Tuple},
    slot::{Class, ServerId, Slot},
    verdict::{Event, Verdict},
};

use crate::{
    Outcome, admission,
    director::Director,
    frame::Frame,
    inbound,
    parse::{self, NoTransport, Packet, Signal},
    schedule,
    select::Pick,
    tables::Tables,
    tunnel,
};

/// What an arrival gets, in one word, as a subprogram may return it.
///
/// ```text
///  63                                         32 31   30        15         0
/// +---------------------------------------------+------+--------+-----------+
/// | entropy of a tunnel, or place of a lease    | ends | unread | server, or verdict
/// +---------------------------------------------+------+--------+-----------+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given(u64);

impl Given {
    const ENDS: u64 = 1 << 31;
    /// Nobody has decided.
    pub const NOTHING: Self = Self(0);
    /// Nobody has read yet whom the packet itself names; said in return, where that matters.
    pub const UNREAD: Self = Self(1 << 30);
    /// No server, and the client is to be told: a segment's,
    pub const RESET: Self = Self::ended(Verdict::RepliedReset);
    /// and a datagram's.
    pub const UNREACHABLE: Self = Self::ended(Verdict::RepliedUnreachable);

    #[inline(always)]
    pub const fn to(server: ServerId) -> Self {
        Self(server.index() as u64)
    }

    /// The same with the [entropy](crate::tunnel::Parcel::entropy) of this flow.
    #[inline(always)]
    pub const fn of(self, flow: FlowId) -> Self {
        Self(self.0 | (tunnel::entropy(flow) as u64) << 32)
    }

    #[inline(always)]
    pub const fn ended(verdict: Verdict) -> Self {
        Self(verdict as u64 | Self::ENDS)
    }

    /// The server, or the outcome of a packet that gets none.
    #[inline(always)]
    pub fn server(self) -> Result<ServerId, Outcome> {
        if self.0 & Self::ENDS != 0 {
            return Err(Outcome::ended(self.0 as u32));
        }
        ServerId::new(self.0 as u16).ok_or(Verdict::Aborted.into())
    }

    #[inline(always)]
    pub const fn entropy(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The same with a port to be sent from, for full NAT.
    #[inline(always)]
    pub const fn from(self, place: Place) -> Self {
        Self(self.0 | (place.number() as u64) << 32)
    }

    #[inline(always)]
    pub const fn place(self) -> Place {
        Place::of_number((self.0 >> 32) as u32)
    }
}

/// Service, pick and place for a packet without an entry, at the server that it has `named` itself if there is one.
/// [`Verdict::RepliedReset`]: none, and the client is to be told.
#[inline(never)]
pub fn admit<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T, named: Given) -> Given {
    let Some(director) = Director::again(tables) else { return Given::ended(Verdict::Aborted) };
    let given = match parse::transport(frame, packet, tables) {
        Ok(transport) => give(&director, &inbound::tuple(packet, &transport), transport.signal, named),
        Err(why) => Err(without_ports(packet, &director, why)),
    };
    match given {
        Ok(given) => given,
        Err(verdict) => Given::ended(verdict),
    }
}

/// A server, or the verdict of a packet that gets none; [`Verdict::RepliedReset`] if the client is to be told
/// so.
#[inline(always)]
fn give<T: Tables>(
    director: &Director<'_, T>,
    tuple: &Tuple,
    signal: Signal,
    named: Given,
) -> Result<Given, Verdict> {
    let number = listening(director, tuple)?;
    let service = director.tables.service(number).ok_or(Verdict::Aborted)?;
    if service.flags.load() & Service::FULL_NAT != 0 {
        // Only a fragment gets here: see docs/full-nat.md.
        return Err(Verdict::DroppedFragment);
    }
    let named = match named {
        Given::UNREAD if service.quic.load() != 0 => return Ok(Given::UNREAD),
        Given::UNREAD => None,
        named => ServerId::new(named.0 as u16),
    };
    let segment = signal.segment();
    let flow = director.settings.flow_id(tuple);
    let speaks = !matches!(segment, Segment::Syn | Segment::Rst | Segment::Datagram);
    if speaks && director.is(Settings::FLOWS) && is_lost(director.tables, tuple, flow) {
        return Err(Verdict::RepliedReset);
    }
    admission::admit(director, number, service, &tuple.client, segment)?;
    let pick = match named {
        Some(id) => Some(director.pick_of(service, flow, id)),
        None => {
            let chosen = match director.is(Settings::FLOWS) {
                true => schedule::chosen(director.tables, number, service, tuple, segment)?,
                // Each packet must find its server again.
                false => 0,
            };
            director.pick(service, tuple, flow, segment, chosen)
        }
    };
    let pick = pick.ok_or_else(|| without_server(service, segment))?;
    if matches!(segment, Segment::Syn | Segment::Datagram) {
        director.tables.count_connection(pick.server);
    } else {
        director.tables.count(Event::MissNotSyn);
        director.tables.count_incident(number, Incident::Missed);
    }
    if !director.is(Settings::FLOWS) {
        return Ok(Given::to(pick.server).of(flow));
    }
    Ok(Given(place(director, tuple, flow, pick).into()).of(flow))
}

/// What becomes of a packet to a service that has no usable server: whoever opens a connection is told, if it is to be.
#[inline(always)]
pub fn without_server(service: &Service, segment: Segment) -> Verdict {
    match segment {
        _ if service.flags.load() & Service::REJECT == 0 => Verdict::DroppedNoServer,
        Segment::Syn => Verdict::RepliedReset,
        Segment::Datagram => Verdict::RepliedUnreachable,
        _ => Verdict::DroppedNoServer,
    }
}

/// Whether the connection's server is lost, and the policy is to end what it had. Its entry says so from then on: a SYN begins
/// anew, and whoever speaks nevertheless is told again. What another director holds ends likewise, and is left as it is. A
/// subprogram, for the sake of the stack.
#[inline(never)]
fn is_lost<T: Tables>(tables: &T, tuple: &Tuple, flow: FlowId) -> bool {
    let Some(director) = Director::again(tables) else { return false };
    let ends = |slot: Slot| {
        let server = slot.server().and_then(|id| director.server(id));
        server.is_some_and(|server| server.state.has(ServerState::RESETS) && server.serves(tuple))
    };
    match tables.locate(flow).and_then(|place| director.flows().at(place)) {
        Some(entry) if ends(entry.slot()) => {
            entry.refresh(Class::Closing, director.now);
            true
        }
        Some(_) => false,
        None => tables.told(flow).is_some_and(ends),
    }
}

/// Gives a pick its place. The number of the server that takes this packet: the fallback if there was no place, because
/// the next packets will be forwarded by the miss table.
#[inline(always)]
fn place<T: Tables>(
    director: &Director<'_, T>,
    tuple: &Tuple,
    flow: FlowId,
    Pick { server, diverged, fallback }: Pick,
) -> u32 {
    let old = director.tables.locate(flow).and_then(|place| director.flows().at(place));
    if let Some(entry) = old {
        // The old entry gives way where it stands: a second one beside it would never be found.
        let _ = entry.move_to(server, diverged, director.now);
        director.tables.count(Event::Reselected);
        return server.index();
    }
    if director.tables.store(flow, server, diverged) {
        note_caller(director, tuple, flow);
        return server.index();
    }
    if fallback == 0 { server.index() } else { fallback }
}

/// For people who ask whose connection it is. Looks it up once more, because it is rarely wanted by anything else.
#[inline(always)]
pub fn note_caller<T: Tables>(director: &Director<'_, T>, tuple: &Tuple, flow: FlowId) {
    if director.tables.leaves_traces()
        && director.is(Settings::ADDRESSES)
        && let Some(place) = director.tables.locate(flow)
        && let Some(caller) = director.tables.caller(place)
    {
        caller.note(tuple);
    }
}

/// The number of the service that takes this client's packet, or the verdict of one that none takes.
#[inline(always)]
pub fn listening<T: Tables>(director: &Director<'_, T>, tuple: &Tuple) -> Result<u32, Verdict> {
    let number = service_of(director, tuple);
    if number == NOBODY {
        return Err(if_vip(director, tuple.vip, Verdict::PassedNoService));
    }
    if tuple.client.is_martian() || is_vip(director.tables, tuple.client) {
        return Err(Verdict::DroppedMartian);
    }
    Ok(number as u32)
}

/// Whose a connection is, by its entry, by another director's or else by the miss table, for what must leave no trace.
#[inline(always)]
pub fn owner<T: Tables>(director: &Director<'_, T>, tuple: &Tuple) -> Option<ServerId> {
    let flow = director.settings.flow_id(tuple);
    let entry = if director.is(Settings::FLOWS) { director.tables.locate(flow) } else { None };
    if let Some(entry) = entry.and_then(|place| director.flows().at(place)) {
        if let Some(server) = director.server_for(entry.slot().server(), tuple) {
            return Some(server.id);
        }
    } else if let Some((server, _)) = director.inherited(tuple, flow) {
        // Where an entry stands, nobody else's word counts: as on the packet's own way.
        return Some(server.id);
    }
    let number = service_of(director, tuple);
    if number == NOBODY {
        return None;
    }
    let service = director.tables.service(number as u32)?;
    if service.flags.load() & Service::FULL_NAT != 0 {
        // Nobody knows of its connections but their own entries, which stand elsewhere.
        return None;
    }
    director.derived(service, flow)
}

/// The number of the service on the tuple's VIP and port, or [`NOBODY`].
#[inline(always)]
pub fn service_of<T: Tables>(director: &Director<'_, T>, tuple: &Tuple) -> u64 {
    let number = listener(director.tables, &tuple.vip, tuple.vip_port, tuple.protocol as u16);
    if number != NOBODY {
        return number;
    }
    listener(director.tables, &tuple.vip, Port::ANY, tuple.protocol as u16)
}

/// No service's number.
pub const NOBODY: u64 = u64::MAX;

/// Who listens there, or [`NOBODY`]. A subprogram, so that no key lies on the stack of those who ask several times.
#[inline(never)]
pub fn listener<T: Tables>(tables: &T, vip: &Addr, port: Port, protocol: u16) -> u64 {
    tables.listener(&EndpointKey::numbered(*vip, port, protocol)).map_or(NOBODY, u64::from)
}

#[inline(always)]
fn without_ports<T: Tables>(packet: &Packet<'_>, director: &Director<'_, T>, why: NoTransport) -> Verdict {
    let vip = packet.destination;
    match why {
        NoTransport::Fragment => if_vip(director, vip, Verdict::DroppedFragment),
        NoTransport::Sctp => if_vip(director, vip, Verdict::PassedSctp),
        NoTransport::Other => if_vip(director, vip, Verdict::PassedNotBalanced),
        NoTransport::Malformed => if_vip(director, vip, Verdict::PassedMalformed),
    }
}

/// The gate may let a stranger in; the look-up is exact.
#[inline(always)]
fn if_vip<T: Tables>(director: &Director<'_, T>, addr: Addr, verdict: Verdict) -> Verdict {
    if is_vip(director.tables, addr) { verdict } else { Verdict::PassedNotOurs }
}

#[inline(always)]
pub fn is_vip<T: Tables>(tables: &T, addr: Addr) -> bool {
    let position = Position::of(addr);
    position.may_be(tables.gate(position.word()), Role::Vip)
        && listener(tables, &addr, Port::ANY, EndpointKey::VIP_MARKER) != NOBODY
}

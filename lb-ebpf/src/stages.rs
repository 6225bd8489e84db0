//! The stages of a packet's way: each begins with the frame as it came, and ends with an outcome or names the next.

use lb_common::{
    gate::{Position, Role},
    net::Addr,
    stage::Stage,
    verdict::Verdict,
};

use crate::{
    Outcome,
    arrival::{self, Given},
    fragments,
    frame::Frame,
    full_nat, full_nat_icmp, heir, icmp, inbound, lease, notice, outbound,
    parse::{self, Network, NoTransport, Packet, Transport},
    path_mtu, plain, quic, reset,
    tables::Tables,
    tags,
};

/// The whole way of one frame, as the kernel's tail calls make it.
pub fn process<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    followed(frame, tables, |_| ())
}

/// The same; `see` gets each stage behind the entry as it is handed over to, the last of which comes to the outcome.
pub fn followed<T: Tables>(frame: &Frame<'_>, tables: &T, mut see: impl FnMut(Stage)) -> Outcome {
    let mut outcome = entry(frame, tables);
    while let Some(stage) = outcome.stage() {
        see(stage);
        outcome = match stage {
            Stage::Reply => reply(frame, tables),
            Stage::Arrival => arrival(frame, tables),
            Stage::Icmp => icmp(frame, tables),
            Stage::Fragment => fragment(frame, tables),
            Stage::Meter => meter(frame, tables),
            Stage::Notice => notice(frame, tables),
            Stage::Quic => quic(frame, tables),
            Stage::FullNat => full_nat(frame, tables),
            Stage::FullNatReply => full_nat_reply(frame, tables),
            Stage::Lease => lease(frame, tables),
            Stage::Heir => heir(frame, tables),
            Stage::FullNatIcmp => full_nat_icmp(frame, tables),
        };
    }
    tags::finish(outcome, tables)
}

/// What came to a VIP and belongs to a stored connection; and what is none of ours.
#[inline(always)]
pub fn entry<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    if let Some((packet, transport)) = plain::ipv4(frame) {
        return met(frame, &packet, plain::IPV4, Ok(&transport), tables);
    }
    if let Some((packet, transport)) = plain::ipv6(frame) {
        return met(frame, &packet, plain::IPV6, Ok(&transport), tables);
    }
    match parse::network(frame, tables) {
        Ok(packet) => {
            let transport = parse::transport(frame, &packet, tables);
            met(frame, &packet, packet.shape.network(), transport.as_ref(), tables)
        }
        Err(outcome) => outcome,
    }
}

#[inline(always)]
fn met<'a, T: Tables>(
    frame: &Frame<'a>,
    packet: &Packet<'a>,
    network: Network,
    transport: Result<&Transport<'a>, &NoTransport>,
    tables: &T,
) -> Outcome {
    if !may_be(tables, packet.destination, Role::Vip) {
        return match not_to_a_vip(packet, tables) {
            Outcome::TO_REPLY => Outcome::TO_REPLY,
            _ if is_of_full_nat(tables, position(packet)) => Outcome::TO_FULL_NAT_REPLY,
            outcome => outcome,
        };
    }
    let outcome = transport
        .map_or(Outcome::OPEN, |transport| inbound::forward(frame, packet, network, transport, tables));
    match outcome {
        Outcome::OPEN if is_of_full_nat(tables, position(packet)) => Outcome::TO_FULL_NAT,
        Outcome::OPEN => heir::or_arrival(tables),
        outcome => outcome,
    }
}

/// Where the gate's answers about the packet's destination stand, as a subprogram takes it.
#[inline(always)]
fn position(packet: &Packet<'_>) -> u64 {
    Position::of(packet.destination).number()
}

/// Perhaps to a VIP with full NAT, or to an address that it sends from. A subprogram, for the sake of the entry's stack: only
/// what belongs to no stored connection asks it.
#[inline(never)]
fn is_of_full_nat<T: Tables>(tables: &T, position: u64) -> bool {
    let position = Position::from_number(position);
    position.may_be(tables.gate(position.word()), Role::FullNat)
}

/// What came to a VIP and belongs to a stored connection of a service that limits the packets of each source.
#[inline(always)]
pub fn meter<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let packet = match parse::network(frame, tables) {
        Ok(packet) => packet,
        Err(outcome) => return outcome,
    };
    let given = inbound::holder(frame, &packet, tables, Given::NOTHING);
    if given == Given::NOTHING {
        return Outcome::TO_ARRIVAL;
    }
    match given.server() {
        Ok(id) => inbound::forward_to(frame, &packet, tables, id, given.entropy()),
        Err(outcome) => outcome,
    }
}

/// What came from a NAT server.
#[inline(always)]
pub fn reply<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let packet = match parse::network(frame, tables) {
        Ok(packet) => packet,
        Err(outcome) => return outcome,
    };
    match outbound::translate(frame, &packet, tables) {
        // Nearly all.
        outcome if outcome.number() == Verdict::ForwardedNatReply as u32 => outcome,
        // The server may be one of full NAT, too: the addresses of its pool are the director's own, so that nothing is derived.
        outcome if is_no_reply(outcome) && is_to_pool(&packet, tables) => Outcome::TO_FULL_NAT_REPLY,
        Outcome::OPEN if icmp::is_carried_by(packet.shape) => Outcome::TO_ICMP,
        Outcome::OPEN => Verdict::PassedUnexplained.into(),
        outcome => outcome,
    }
}

#[inline(always)]
fn is_no_reply(outcome: Outcome) -> bool {
    outcome == Outcome::OPEN
        || outcome == Outcome::TO_FRAGMENT
        || outcome == Verdict::PassedLocal.into()
        || outcome == Verdict::PassedNotOurs.into()
}

/// Perhaps to an address that full NAT sends from.
#[inline(always)]
fn is_to_pool<T: Tables>(packet: &Packet<'_>, tables: &T) -> bool {
    // What may be to a VIP has been there.
    may_be(tables, packet.destination, Role::FullNat) && !may_be(tables, packet.destination, Role::Vip)
}

/// What came to a VIP and belongs to a stored connection by full NAT.
#[inline(always)]
pub fn full_nat<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let parsed = parse::network_apart(frame, tables);
    let packet = match &parsed {
        Ok(packet) => packet,
        Err(outcome) => return *outcome,
    };
    let given = full_nat::holder(frame, packet, tables);
    if given == Given::NOTHING {
        let is_icmp = icmp::is_carried_by(packet.shape);
        return if is_icmp { Outcome::TO_FULL_NAT_ICMP } else { Outcome::TO_LEASE };
    }
    full_nat::to_server(frame, packet, tables, given)
}

/// What came to an address that full NAT sends from.
#[inline(always)]
pub fn full_nat_reply<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let packet = match parse::network(frame, tables) {
        Ok(packet) => packet,
        Err(outcome) => return outcome,
    };
    match full_nat::to_client(frame, &packet, tables) {
        Outcome::OPEN if icmp::is_carried_by(packet.shape) => Outcome::TO_FULL_NAT_ICMP,
        // By way of full NAT's stages for VIPs, or the gate took it for ours.
        Outcome::OPEN if may_be(tables, packet.destination, Role::Vip) => heir::or_arrival(tables),
        Outcome::OPEN => Verdict::PassedNotOurs.into(),
        outcome => outcome,
    }
}

/// What came to a VIP with full NAT and belongs to no connection that is stored.
#[inline(always)]
pub fn lease<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let parsed = parse::network_apart(frame, tables);
    let packet = match &parsed {
        Ok(packet) => packet,
        Err(outcome) => return *outcome,
    };
    match lease::admit(frame, packet, tables) {
        // Another service's, or to what the gate took for a VIP: an address of the pool, or a stranger's.
        Given::NOTHING => Outcome::TO_FULL_NAT_REPLY,
        Given::RESET => reset::answer(frame, packet, tables),
        Given::UNREACHABLE => Outcome::TO_NOTICE,
        given => full_nat::to_server(frame, packet, tables, given),
    }
}

/// Errors about what was sent by full NAT, either way.
#[inline(always)]
pub fn full_nat_icmp<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let parsed = parse::network_apart(frame, tables);
    let packet = match &parsed {
        Ok(packet) => packet,
        Err(outcome) => return *outcome,
    };
    match full_nat_icmp::forward(frame, packet, tables) {
        Outcome::OPEN => Outcome::TO_ICMP,
        outcome => outcome,
    }
}

/// What came to a VIP or from a NAT server and belongs to no connection that is stored, while other directors hold some.
#[inline(always)]
pub fn heir<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let parsed = parse::network_apart(frame, tables);
    let packet = match &parsed {
        Ok(packet) => packet,
        Err(outcome) => return *outcome,
    };
    let given = heir::holder(frame, packet, tables, Given::UNREAD);
    if given == Given::UNREAD {
        return Outcome::TO_QUIC;
    }
    if given == Given::NOTHING {
        // The gate may take a client of ours for a VIP.
        let is_reply =
            may_be(tables, packet.source, Role::NatServer) && !arrival::is_vip(tables, packet.destination);
        return if is_reply { heir_reply(frame, packet, tables) } else { Outcome::TO_ARRIVAL };
    }
    match given.server() {
        Ok(id) => {
            heir::adopt(frame, packet, tables, id);
            inbound::forward_to(frame, packet, tables, id, given.entropy())
        }
        Err(outcome) => outcome,
    }
}

#[inline(always)]
fn heir_reply<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Outcome {
    match outbound::whose(frame, packet, tables).server() {
        Ok(id) => {
            heir::adopt_reply(frame, packet, tables, id);
            outbound::return_from(frame, packet, tables, id)
        }
        // Withdrawn meanwhile, or not a reply: by the way of all others.
        Err(_) => Outcome::TO_ARRIVAL,
    }
}

/// What came to a VIP and belongs to no connection that is stored.
#[inline(always)]
pub fn arrival<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let parsed = parse::network_apart(frame, tables);
    // Where it lies: a copy would not fit the stack.
    let packet = match &parsed {
        Ok(packet) => packet,
        Err(outcome) => return *outcome,
    };
    let given = arrival::admit(frame, packet, tables, Given::UNREAD);
    if given == Given::RESET {
        return reset::answer(frame, packet, tables);
    }
    if given == Given::UNREACHABLE {
        return Outcome::TO_NOTICE;
    }
    if given == Given::UNREAD {
        return Outcome::TO_QUIC;
    }
    match given.server() {
        Ok(id) => inbound::forward_to(frame, packet, tables, id, given.entropy()),
        Err(outcome) if outcome == Verdict::PassedNotBalanced.into() => Outcome::TO_ICMP,
        Err(outcome) if outcome == Verdict::DroppedFragment.into() => Outcome::TO_FRAGMENT,
        // The gate took a stranger's address for a VIP: the stranger may still be a client of ours, and this a reply.
        Err(outcome) if outcome == Verdict::PassedNotOurs.into() => not_to_a_vip(packet, tables),
        Err(outcome) => outcome,
    }
}

/// What came to a service whose packets may name their server themselves.
#[inline(always)]
pub fn quic<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let parsed = parse::network_apart(frame, tables);
    let packet = match &parsed {
        Ok(packet) => packet,
        Err(outcome) => return *outcome,
    };
    let named = quic::named(frame, packet, tables);
    let mut given = inbound::holder(frame, packet, tables, named);
    if given == Given::NOTHING {
        given = heir::holder(frame, packet, tables, named);
        if let Ok(id) = given.server() {
            heir::adopt(frame, packet, tables, id);
        }
    }
    if given == Given::NOTHING {
        given = arrival::admit(frame, packet, tables, named);
    }
    if given == Given::UNREACHABLE {
        return Outcome::TO_NOTICE;
    }
    match given.server() {
        Ok(id) => inbound::forward_to(frame, packet, tables, id, given.entropy()),
        Err(outcome) => outcome,
    }
}

/// Errors about what was sent to or from a VIP, and pings of one.
#[inline(always)]
pub fn icmp<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let parsed = parse::network_apart(frame, tables);
    let packet = match &parsed {
        Ok(packet) => packet,
        Err(outcome) => return *outcome,
    };
    if arrival::is_vip(tables, packet.destination) {
        return icmp::to_vip(frame, packet, tables);
    }
    // Also from a router between director and servers, which no gate knows.
    match icmp::from_behind(frame, packet, tables) {
        // Whoever it may be from: the kernel's.
        Outcome::OPEN if path_mtu::learn(frame, packet, tables) => Verdict::PassedPathMtu.into(),
        Outcome::OPEN if may_be(tables, packet.source, Role::NatServer) => Verdict::PassedUnexplained.into(),
        Outcome::OPEN => Verdict::PassedNotOurs.into(),
        outcome => outcome,
    }
}

/// Parts of datagrams, to a VIP or from a NAT server.
#[inline(always)]
pub fn fragment<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let mut parsed = parse::network_apart(frame, tables);
    let packet = match &mut parsed {
        Ok(packet) => packet,
        Err(outcome) => return *outcome,
    };
    if arrival::is_vip(tables, packet.destination) {
        fragments::to_vip(frame, packet, tables)
    } else if may_be(tables, packet.source, Role::NatServer) {
        fragments::from_server(frame, packet, tables)
    } else {
        Verdict::PassedNotOurs.into()
    }
}

/// What goes no further, and whose sender is told.
#[inline(always)]
pub fn notice<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    match parse::network(frame, tables) {
        Ok(packet) => notice::answer(frame, &packet, tables),
        Err(outcome) => outcome,
    }
}

/// Perhaps a reply of a NAT server, or about one.
#[inline(always)]
fn not_to_a_vip<T: Tables>(packet: &Packet<'_>, tables: &T) -> Outcome {
    if may_be(tables, packet.source, Role::NatServer) {
        Outcome::TO_REPLY
    } else if icmp::is_carried_by(packet.shape) {
        Outcome::TO_ICMP
    } else {
        Verdict::PassedNotOurs.into()
    }
}

/// Cheap, and may err in favour.
#[inline(always)]
fn may_be<T: Tables>(tables: &T, addr: Addr, role: Role) -> bool {
    let position = Position::of(addr);
    position.may_be(tables.gate(position.word()), role)
}

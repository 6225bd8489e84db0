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
    frame::Frame,
    icmp, inbound, outbound,
    parse::{self, Packet},
    path_mtu, reset,
    tables::Tables,
    too_big,
    tunnel::{self, Parcel},
};

/// The whole way of one frame, as the kernel's tail calls make it.
pub fn process<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let mut outcome = entry(frame, tables);
    while let Some(stage) = outcome.stage() {
        outcome = match stage {
            Stage::Reply => reply(frame, tables),
            Stage::Arrival => arrival(frame, tables),
            Stage::Icmp => icmp(frame, tables),
            Stage::TooBig => too_big(frame, tables),
        };
    }
    outcome
}

/// What came to a VIP and belongs to a stored connection; and what is none of ours.
#[inline(always)]
pub fn entry<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let packet = match parse::network(frame) {
        Ok(packet) => packet,
        Err(outcome) => return outcome,
    };
    if !may_be(tables, packet.destination, Role::Vip) {
        return not_to_a_vip(&packet, tables);
    }
    match inbound::forward(frame, &packet, tables) {
        Outcome::OPEN => Outcome::TO_ARRIVAL,
        outcome => outcome,
    }
}

/// What came from a NAT server.
#[inline(always)]
pub fn reply<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let packet = match parse::network(frame) {
        Ok(packet) => packet,
        Err(outcome) => return outcome,
    };
    match outbound::translate(frame, &packet, tables) {
        Outcome::OPEN if icmp::is_carried_by(packet.shape) => Outcome::TO_ICMP,
        Outcome::OPEN => Verdict::PassedUnexplained.into(),
        outcome => outcome,
    }
}

/// What came to a VIP and belongs to no connection that is stored.
#[inline(always)]
pub fn arrival<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let packet = match parse::network(frame) {
        Ok(packet) => packet,
        Err(outcome) => return outcome,
    };
    let given = arrival::admit(frame, &packet, tables);
    if given == Given::RESET {
        return reset::answer(frame, &packet, tables);
    }
    match given.server() {
        Ok(server) if tunnel::leads_to(tables, server) => {
            tables.encapsulate(frame, Parcel { server, shape: packet.shape, entropy: given.entropy() })
        }
        Ok(id) => inbound::forward_to(frame, &packet, tables, id),
        Err(outcome) if outcome == Verdict::PassedNotBalanced.into() => Outcome::TO_ICMP,
        // The gate took a stranger's address for a VIP: the stranger may still be a client of ours, and this a reply.
        Err(outcome) if outcome == Verdict::PassedNotOurs.into() => not_to_a_vip(&packet, tables),
        Err(outcome) => outcome,
    }
}

/// Errors about what was sent to or from a VIP, and pings of one.
#[inline(always)]
pub fn icmp<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    let packet = match parse::network(frame) {
        Ok(packet) => packet,
        Err(outcome) => return outcome,
    };
    if arrival::is_vip(tables, packet.destination) {
        return icmp::to_vip(frame, &packet, tables);
    }
    // Also from a router between director and servers, which no gate knows.
    match icmp::from_behind(frame, &packet, tables) {
        // Whoever it may be from: the kernel's.
        Outcome::OPEN if path_mtu::learn(frame, &packet, tables) => Verdict::PassedPathMtu.into(),
        Outcome::OPEN if may_be(tables, packet.source, Role::NatServer) => Verdict::PassedUnexplained.into(),
        Outcome::OPEN => Verdict::PassedNotOurs.into(),
        outcome => outcome,
    }
}

/// What does not fit into the tunnel to its server.
#[inline(always)]
pub fn too_big<T: Tables>(frame: &Frame<'_>, tables: &T) -> Outcome {
    match parse::network(frame) {
        Ok(packet) => too_big::answer(frame, &packet, tables),
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

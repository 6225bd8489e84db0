//! Which way a packet leaves: the next hop's MAC, our own, and the interface.
//!
//! Towards a server the agent has decided beforehand. While it is silent, or knows nothing, the kernel's routing decides;
//! where that does not answer either (a director needs no IP forwarding), what was last known stands.
//! Towards a client the way is the one its own packets came by, learned from the wire, so that it outlives the agent and a
//! flushed neighbour table; the kernel's routing is asked only about a client who was not heard. A director that has taken over
//! has heard nobody: where the kernel does not answer, the agent is asked for the way, and the next packet has one.

use lb_common::{
    entry::{Path, Server, Tunnel},
    net::{Addr, Mac, NextHop},
    verdict::{Event, Verdict},
    wire::{Tags, Wire},
};

use crate::{
    Door,
    director::Director,
    parse::{Packet, Shape},
    tables::Tables,
    tags,
};

/// A decided way.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub next_mac: Mac,
    pub own_mac: Mac,
    pub door: Door,
}

/// To a server, for a packet that is to have this source.
#[inline(always)]
pub fn to_server<T: Tables>(
    packet: &Packet<'_>,
    source: &Addr,
    server: &Server,
    director: &Director<'_, T>,
) -> Result<Way, Verdict> {
    let routed = || routed_to(packet.shape, source.pair(), server, director.tables);
    by(packet.shape, next_hop(server, director, routed), director)
}

/// The way of a packet of this shape once it is in its tunnel.
#[inline(always)]
pub fn through_tunnel<T: Tables>(
    shape: Shape,
    tunnel: &Tunnel,
    server: &Server,
    director: &Director<'_, T>,
) -> Result<Way, Verdict> {
    let routed = || routed_through(shape, tunnel, server, director.tables);
    by(shape, next_hop(server, director, routed), director)
}

/// The server's next hop as its word, or 0: the agent's, unless the kernel must be asked and answers.
#[inline(always)]
fn next_hop<T: Tables>(server: &Server, director: &Director<'_, T>, routed: impl FnOnce() -> u64) -> u64 {
    let told = server.next_hop.load();
    if told != 0 && director.agent_lives() {
        return told;
    }
    let found = routed();
    if found != 0 { found } else { told }
}

#[inline(always)]
pub fn to_client<T: Tables>(
    packet: &Packet<'_>,
    client: Addr,
    vip: Addr,
    director: &Director<'_, T>,
) -> Result<Way, Verdict> {
    let heard = director.tables.paths(Path::set_of(client)).and_then(|set| Path::find(set, client));
    let mut next_hop = heard.unwrap_or(0);
    if next_hop == 0 {
        next_hop = routed_back(packet.shape, vip.pair(), client.pair(), director.tables);
    }
    by(packet.shape, next_hop, director)
}

/// The kernel's word on the way of a packet to a server, as the word of a [`NextHop`]; 0 if it has none. A subprogram, because
/// what the kernel is asked with would lie on the stack of every packet.
#[inline(never)]
fn routed_to<T: Tables>(shape: Shape, source: [u64; 2], server: &Server, tables: &T) -> u64 {
    ask(shape, &Addr::from_pair(source), &server.address.load(), tables)
}

/// Likewise, for the tunnel's own packet.
#[inline(never)]
fn routed_through<T: Tables>(shape: Shape, tunnel: &Tunnel, server: &Server, tables: &T) -> u64 {
    ask(shape, &tunnel.source.load(), &server.address.load(), tables)
}

/// Likewise, of a packet to a client.
#[inline(never)]
fn routed_back<T: Tables>(shape: Shape, vip: [u64; 2], client: [u64; 2], tables: &T) -> u64 {
    let client = Addr::from_pair(client);
    let found = ask(shape, &Addr::from_pair(vip), &client, tables);
    if found == 0 && tables.leaves_traces() {
        tables.ask_the_way(client);
    }
    found
}

#[inline(always)]
fn ask<T: Tables>(shape: Shape, from: &Addr, to: &Addr, tables: &T) -> u64 {
    let Some(found) = tables.route(came_by(shape, tables), from, to) else { return 0 };
    tables.count(Event::NextHopByFib);
    found.to_word()
}

/// Remembers by which neighbour and interface a client's packets come.
#[inline(always)]
pub fn learn_path<T: Tables>(packet: &Packet<'_>, director: &Director<'_, T>) {
    let next_hop = NextHop::word_of(packet.link.source.mac(), tags::port(packet, director.tables));
    if director.tables.leaves_traces()
        && let Some(set) = director.tables.paths(Path::set_of(packet.source))
        && Path::learn(set, packet.source, next_hop)
    {
        director.tables.count(Event::PathLearned);
    }
}

/// The way by this next hop: the word of a [`NextHop`], because the verifier would follow an `Option` of several words
/// apart from here on.
#[inline(always)]
fn by<T: Tables>(shape: Shape, next_hop: u64, director: &Director<'_, T>) -> Result<Way, Verdict> {
    let port = NextHop::from_word(next_hop).ok_or(Verdict::DroppedNoNextHop)?.port;
    let interface = director.tables.interface(port).ok_or(Verdict::Aborted)?;
    let (next_mac, own_mac) = (Mac::in_word(next_hop), interface.mac());
    let (wire, ingress) = (interface.wire(), director.tables.ingress());
    if wire.to_word() == Wire::untagged(ingress).to_word() && !shape.is_tagged() {
        return Ok(Way { next_mac, own_mac, door: Door::BACK });
    }
    if wire.device == 0 {
        return Err(Verdict::DroppedNoNextHop);
    }
    let tagged = shape.is_tagged() | (wire.tags != Tags::NONE);
    Ok(Way { next_mac, own_mac, door: Door::of(port, wire.device == ingress, tagged) })
}

/// The index of the interface by which the packet came, as the kernel's routing knows it.
#[inline(always)]
fn came_by<T: Tables>(shape: Shape, tables: &T) -> u32 {
    if !shape.is_tagged() {
        return tables.ingress();
    }
    tables.interface(shape.port()).map_or(0, |interface| interface.index.load() as u32)
}

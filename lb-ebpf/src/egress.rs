//! Which way a packet leaves: the next hop's MAC, our own, and the interface.
//!
//! Towards a server the agent has decided beforehand. While it is silent, or knows nothing, the kernel's routing decides;
//! where that does not answer either (a director needs no IP forwarding), what was last known stands.
//! Towards a client the way is the one its own packets came by, learned from the wire, so that it outlives the agent and a
//! flushed neighbour table; the kernel's routing is asked only about a client who was not heard.

use lb_common::{
    entry::{Path, Server},
    net::{Addr, NextHop, PortNumber},
    verdict::{Event, Verdict},
};

use crate::{Exit, director::Director, parse::Packet, tables::Tables};

/// A decided way.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub next_hop: NextHop,
    pub own_mac: [u8; 6],
    pub exit: Exit,
}

#[inline(always)]
pub fn to_server<T: Tables>(
    packet: &Packet<'_>,
    server: &Server,
    director: &Director<'_, T>,
) -> Result<Way, Verdict> {
    let mut next_hop = server.next_hop.load();
    if (next_hop == 0 || !director.agent_lives())
        && let Some(found) = director.tables.route(packet.source, server.address.load())
    {
        director.tables.count(Event::NextHopByFib);
        next_hop = found.to_word();
    }
    by(next_hop, director)
}

#[inline(always)]
pub fn to_client<T: Tables>(
    packet: &Packet<'_>,
    vip: Addr,
    director: &Director<'_, T>,
) -> Result<Way, Verdict> {
    let client = packet.destination;
    let heard = director.tables.paths(Path::set_of(client)).and_then(|set| Path::find(set, client));
    let mut next_hop = heard.unwrap_or(0);
    if next_hop == 0
        && let Some(found) = director.tables.route(vip, client)
    {
        director.tables.count(Event::NextHopByFib);
        next_hop = found.to_word();
    }
    by(next_hop, director)
}

/// Remembers by which neighbour and interface a client's packets come.
#[inline(always)]
pub fn learn_path<T: Tables>(packet: &Packet<'_>, director: &Director<'_, T>) {
    let next_hop =
        NextHop { mac: packet.link.source.mac(), port: PortNumber::of_interface(director.tables.ingress()) };
    if director.tables.leaves_traces()
        && let Some(set) = director.tables.paths(Path::set_of(packet.source))
        && Path::learn(set, packet.source, next_hop.to_word())
    {
        director.tables.count(Event::PathLearned);
    }
}

/// The way by this next hop: the word of a [`NextHop`], because the verifier would follow an `Option` of several words
/// apart from here on.
#[inline(always)]
fn by<T: Tables>(next_hop: u64, director: &Director<'_, T>) -> Result<Way, Verdict> {
    let next_hop = NextHop::from_word(next_hop).ok_or(Verdict::DroppedNoNextHop)?;
    let interface = director.tables.interface(next_hop.port).ok_or(Verdict::Aborted)?;
    let ifindex = interface.ifindex.load();
    if ifindex == 0 {
        return Err(Verdict::DroppedNoNextHop);
    }
    let back = ifindex == u64::from(director.tables.ingress());
    let exit = if back { Exit::Back } else { Exit::Through(next_hop.port) };
    Ok(Way { next_hop, own_mac: interface.mac(), exit })
}

//! What a router between director and server says of a tunnel: that less fits through than was known.
//!
//! Its error quotes the director's own packet, and in that the client's. It is believed for ten minutes if the client's
//! connection is stored with the server that the outer packet went to: whoever forges it must know a live connection.
//! Nobody is told at once; the next packet that is too big is answered as all of them are (RFC 2003 section 5.1).

use lb_common::{
    entry::{ServerState, Settings, TunnelWay},
    net::{Addr, Protocol},
    word::veiled,
};

use crate::{
    director::Director,
    frame::Frame,
    headers::{Ipv4, Ipv6, Ports, Udp},
    icmp,
    ip::{End, IpHeader as _},
    parse::{Family, Packet},
    quote::{self, Quote},
    tables::Tables,
    tunnel::{IPV4_INSIDE, IPV6_INSIDE},
};

/// Whether this packet said so.
#[inline(never)]
pub fn learn<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> bool {
    heard(frame, packet, tables).is_some()
}

/// A packet of a tunnel, as far as it is quoted.
struct Quoted {
    source: Addr,
    destination: Addr,
    /// Where the packet inside begins.
    inner_at: u64,
}

#[inline(always)]
fn heard<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, tables: &T) -> Option<()> {
    let mtu = icmp::told_mtu(frame, packet)?;
    let outer = outer(frame, packet)?;
    // Whoever is told of a packet must have sent it.
    if outer.source != packet.destination {
        return None;
    }
    let first: &Ports = frame.view_at(outer.inner_at)?;
    let family = match first.source.get()[0] >> 4 {
        4 => Family::V4,
        6 => Family::V6,
        _ => return None,
    };
    let quote = quote::within(frame, packet.shape, outer.inner_at, family, tables);
    if quote == Quote::NONE {
        return None;
    }
    let tuple = quote::tuple(frame, quote, End::Source)?;
    let director = Director::again(tables)?;
    if !director.is(Settings::FLOWS) {
        return None;
    }
    let place = tables.locate(director.settings.flow_id(&tuple))?;
    let server = director.server_for(director.flows().at(place)?.slot().server(), &tuple)?;
    let tunnel = tables.tunnel(server.id)?;
    let way = TunnelWay::from_word(tunnel.way.load())?;
    let went_there =
        server.state.has(ServerState::TUNNEL) && server.server.address.load() == outer.destination;
    if !went_there || !tunnel.is_news(mtu, way, director.now) {
        return None;
    }
    if tables.leaves_traces() {
        tunnel.learn(mtu, way, director.now);
    }
    Some(())
}

#[inline(always)]
fn outer(frame: &Frame<'_>, packet: &Packet<'_>) -> Option<Quoted> {
    let at = quote::place(packet.shape);
    let (ends, number, header) = match packet.shape.family() {
        Family::V4 => {
            let ip: &Ipv4 = frame.view_at(at)?;
            // Ours have no options.
            if ip.version_ihl.byte() != 0x45 {
                return None;
            }
            (ip.ends()?, ip.protocol.byte(), size_of::<Ipv4>())
        }
        Family::V6 => {
            let ip: &Ipv6 = frame.view_at(at)?;
            (ip.ends()?, ip.next_header.byte(), size_of::<Ipv6>())
        }
    };
    let udp = match number {
        IPV4_INSIDE | IPV6_INSIDE => 0,
        _ if number == Protocol::Udp as u8 => size_of::<Udp>(),
        _ => return None,
    };
    let inner_at = veiled(at + (header + udp) as u64, frame.len() as u64);
    Some(Quoted { source: ends.0, destination: ends.1, inner_at })
}

//! What changes in a packet: addresses and ports with their checksums (NAT), MACs and TTL (every mode). Never the payload.

use lb_common::{
    checksum::Delta,
    entry::ServerState,
    net::{Addr, NextHop, Port},
    verdict::Verdict,
};

use crate::{
    Outcome,
    director::{Chosen, Director},
    egress::{self, Way},
    headers::Ipv4,
    parse::{Packet, Transport},
    tables::Tables,
};

/// Client to real server: by NAT, destination address and port change; by DR, nothing above layer 2 but the TTL.
///
/// # Errors
/// The verdict, with the packet untouched.
#[inline(always)]
pub fn towards_server<T: Tables>(
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
) -> Result<Outcome, Outcome> {
    let ttl = spend_ttl(packet.ip)?;
    let way = egress::to_server(packet, server.server, director)?;
    if server.state.has(ServerState::NAT) {
        egress::learn_path(packet, director);
        let port = if server.state.port.is_any() { transport.destination } else { server.state.port };
        let mut delta = Delta::none().half(transport.destination.raw(), port.raw());
        delta = change_destination(packet.ip, server.server.address.load(), delta, ttl);
        transport.ports.destination.set(port.to_wire());
        change_checksum(transport, delta);
        return Ok(send(packet, way, Verdict::ForwardedNat));
    }
    change_ttl(packet.ip, ttl, Delta::none());
    Ok(send(packet, way, Verdict::ForwardedDr))
}

/// Real server to client, by NAT: the source becomes the VIP.
///
/// # Errors
/// The verdict, with the packet untouched.
#[inline(always)]
pub fn towards_client<T: Tables>(
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    server: &Chosen<'_>,
    vip_port: Port,
    director: &Director<'_, T>,
) -> Result<Outcome, Outcome> {
    let ttl = spend_ttl(packet.ip)?;
    let way = egress::to_client(packet, server.server.vip.load(), director)?;
    let mut delta = Delta::none().half(transport.source.raw(), vip_port.raw());
    delta = change_source(packet.ip, server.server.vip.load(), delta, ttl);
    transport.ports.source.set(vip_port.to_wire());
    change_checksum(transport, delta);
    Ok(send(packet, way, Verdict::ForwardedNatReply))
}

/// A TTL that may still be spent: the word of (TTL, protocol) as it is and as it will be.
#[derive(Clone, Copy)]
struct Ttl {
    old: [u8; 2],
    new: [u8; 2],
}

#[inline(always)]
fn spend_ttl(ip: &Ipv4) -> Result<Ttl, Verdict> {
    let (ttl, protocol) = (ip.ttl.byte(), ip.protocol.byte());
    if ttl <= 1 {
        return Err(Verdict::DroppedTtl);
    }
    Ok(Ttl { old: [ttl, protocol], new: [ttl - 1, protocol] })
}

#[inline(always)]
fn change_ttl(ip: &Ipv4, ttl: Ttl, delta: Delta) {
    let delta = delta.half(u16::from_ne_bytes(ttl.old), u16::from_ne_bytes(ttl.new));
    ip.ttl.set([ttl.new[0]]);
    ip.checksum.set_raw(delta.apply(ip.checksum.raw()));
}

/// Changes address, TTL and the header's checksum; gives back what the transport's checksum must take in.
#[inline(always)]
fn change_destination(ip: &Ipv4, to: Addr, ports: Delta, ttl: Ttl) -> Delta {
    let old = ip.destination.raw();
    ip.destination.set_raw(to.low_word());
    change_ttl(ip, ttl, Delta::none().word(old, to.low_word()));
    ports.word(old, to.low_word())
}

#[inline(always)]
fn change_source(ip: &Ipv4, to: Addr, ports: Delta, ttl: Ttl) -> Delta {
    let old = ip.source.raw();
    ip.source.set_raw(to.low_word());
    change_ttl(ip, ttl, Delta::none().word(old, to.low_word()));
    ports.word(old, to.low_word())
}

/// RFC 768: a zero checksum of UDP means that there is none, so none is made up, and a sum of zero is sent as all ones.
#[inline(always)]
fn change_checksum(transport: &Transport<'_>, delta: Delta) {
    let field = &transport.checksum.value;
    let old = field.raw();
    let udp = transport.signal.is_datagram();
    if udp && old == 0 {
        return;
    }
    let new = delta.apply(old);
    field.set_raw(if udp && new == 0 { 0xffff } else { new });
}

#[inline(always)]
fn send(packet: &Packet<'_>, way: Way, verdict: Verdict) -> Outcome {
    let NextHop { mac, .. } = way.next_hop;
    packet.link.destination.set_mac(mac);
    packet.link.source.set_mac(way.own_mac);
    Outcome::sent(verdict, way.exit)
}

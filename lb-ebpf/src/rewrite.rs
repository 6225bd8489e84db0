//! What changes in a packet: addresses and ports with their checksums (NAT), MACs and TTL (every mode). Never the payload.

use lb_common::{
    checksum::Delta,
    entry::ServerState,
    net::{NextHop, Port},
    verdict::Verdict,
};

use crate::{
    Outcome,
    director::{Chosen, Director},
    egress::{self, Way},
    frame::{Field, Frame},
    ip::{self, End},
    parse::{Packet, Shape, Transport},
    tables::Tables,
};

/// Client to real server: by NAT, destination address and port change; by DR, nothing above layer 2 but the TTL.
///
/// # Errors
/// The verdict, with the packet untouched.
#[inline(always)]
pub fn towards_server<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
) -> Result<Outcome, Outcome> {
    has_hops_left(frame, packet.shape)?;
    let way = egress::to_server(packet.source, server.server, director)?;
    if server.state.has(ServerState::NAT) {
        egress::learn_path(packet, director);
        let port = if server.state.port.is_any() { transport.destination } else { server.state.port };
        let change = (End::Destination, server.server.address.load());
        let delta = ip::forward(frame, packet.shape, Some(change)).ok_or(Verdict::Aborted)?;
        transport.ports.destination.set(port.to_wire());
        change_checksum(&transport.checksum.value, transport.signal.is_datagram(), {
            delta.half(transport.destination.raw(), port.raw())
        });
        return Ok(send(packet, way, Verdict::ForwardedNat));
    }
    ip::forward(frame, packet.shape, None).ok_or(Verdict::Aborted)?;
    Ok(send(packet, way, Verdict::ForwardedDr))
}

/// Real server to client, by NAT: the source becomes the VIP.
///
/// # Errors
/// The verdict, with the packet untouched.
#[inline(always)]
pub fn towards_client<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    server: &Chosen<'_>,
    vip_port: Port,
    director: &Director<'_, T>,
) -> Result<Outcome, Outcome> {
    has_hops_left(frame, packet.shape)?;
    let vip = server.server.vip.load();
    let way = egress::to_client(packet, vip, director)?;
    let delta = ip::forward(frame, packet.shape, Some((End::Source, vip))).ok_or(Verdict::Aborted)?;
    transport.ports.source.set(vip_port.to_wire());
    change_checksum(&transport.checksum.value, transport.signal.is_datagram(), {
        delta.half(transport.source.raw(), vip_port.raw())
    });
    Ok(send(packet, way, Verdict::ForwardedNatReply))
}

/// A router may not send on what it has counted down to zero (RFC 1812 section 5.3.1, RFC 8200 section 3).
#[inline(always)]
pub fn has_hops_left(frame: &Frame<'_>, shape: Shape) -> Result<(), Verdict> {
    match ip::hop_limit(frame, shape) {
        Some(0 | 1) => Err(Verdict::DroppedTtl),
        Some(_) => Ok(()),
        None => Err(Verdict::Aborted),
    }
}

/// RFC 768: a zero checksum of UDP means that there is none, so none is made up, and a sum of zero is sent as all ones.
/// How the field itself changed is the answer, for sums that cover it.
#[inline(always)]
pub fn change_checksum(field: &Field<2>, udp: bool, delta: Delta) -> Delta {
    let old = field.raw();
    if udp && old == 0 {
        return Delta::none();
    }
    let new = delta.apply(old);
    let new = if udp && new == 0 { 0xffff } else { new };
    field.set_raw(new);
    Delta::none().half(old, new)
}

#[inline(always)]
pub fn send(packet: &Packet<'_>, way: Way, verdict: Verdict) -> Outcome {
    let NextHop { mac, .. } = way.next_hop;
    packet.link.destination.set_mac(mac);
    packet.link.source.set_mac(way.own_mac);
    Outcome::sent(verdict, way.exit)
}

//! What changes in a packet: addresses and ports with their checksums (NAT), MACs and TTL (every mode). Never the payload.

use lb_common::{
    checksum::Delta,
    entry::ServerState,
    net::{Addr, Port},
    verdict::Verdict,
};

use crate::{
    Outcome,
    director::{Chosen, Director},
    egress::{self, Way},
    frame::{Field, Frame},
    ip::{self, End},
    parse::{Network, Packet, Transport},
    tables::Tables,
};

/// Client to real server: by NAT, the destination changes; by DR, nothing above layer 2 but the TTL. The port is left to
/// `change_port`, with what the transport's checksum must take in of the address.
///
/// # Errors
/// The verdict, with the packet untouched.
#[inline(always)]
pub fn towards_server<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    network: Network,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
    change_port: impl FnOnce(Delta),
) -> Result<Outcome, Outcome> {
    has_hops_to_server(frame, network)?;
    let way = egress::to_server(packet, &packet.source, server.server, director)?;
    if server.state.has(ServerState::NAT) {
        egress::learn_path(packet, director);
        let change = (End::Destination, server.server.address.load());
        change_port(ip::forward(frame, network, Some(change)).ok_or(Verdict::Aborted)?);
        return Ok(send(packet, way, Verdict::ForwardedNat));
    }
    ip::forward(frame, network, None).ok_or(Verdict::Aborted)?;
    Ok(send(packet, way, Verdict::ForwardedDr))
}

/// Real server to client, by NAT: the source becomes the VIP, the port as above.
///
/// # Errors
/// The verdict, with the packet untouched.
#[inline(always)]
pub fn towards_client<T: Tables>(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    server: &Chosen<'_>,
    director: &Director<'_, T>,
    change_port: impl FnOnce(Delta),
) -> Result<Outcome, Outcome> {
    has_hops_left(frame, packet.shape.network())?;
    let vip = server.server.vip.load();
    let way = egress::to_client(packet, packet.destination, vip, director)?;
    change_port(
        ip::forward(frame, packet.shape.network(), Some((End::Source, vip))).ok_or(Verdict::Aborted)?,
    );
    Ok(send(packet, way, Verdict::ForwardedNatReply))
}

/// What both ends of a packet are to be.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    pub source: (Addr, Port),
    pub destination: (Addr, Port),
}

/// Gives both ends of a packet other addresses and ports, and sends it on this way. `None`, with the packet spoilt, never
/// happens to a packet that was parsed.
#[inline(always)]
pub fn change_ends(
    frame: &Frame<'_>,
    packet: &Packet<'_>,
    transport: &Transport<'_>,
    to: Ends,
) -> Option<()> {
    let (source, destination) = (to.source, to.destination);
    let addresses = ip::forward_between(frame, packet.shape, source.0, destination.0)?;
    let ports = addresses
        .half(transport.source.raw(), source.1.raw())
        .half(transport.destination.raw(), destination.1.raw());
    transport.ports.source.set(source.1.to_wire());
    transport.ports.destination.set(destination.1.to_wire());
    change_checksum(&transport.checksum.value, transport.signal.is_datagram(), ports);
    Some(())
}

/// Gives one end of a packet another port, and its checksum what follows from that and from the other address.
#[inline(always)]
pub fn change_port(transport: &Transport<'_>, end: End, to: Port, address: Delta) {
    let old = end.of(transport.source, transport.destination);
    end.of(&transport.ports.source, &transport.ports.destination).set(to.to_wire());
    let delta = address.half(old.raw(), to.raw());
    change_checksum(&transport.checksum.value, transport.signal.is_datagram(), delta);
}

/// A router may not send on what it has counted down to zero (RFC 1812 section 5.3.1, RFC 8200 section 3).
#[inline(always)]
pub fn has_hops_left(frame: &Frame<'_>, network: Network) -> Result<(), Verdict> {
    match ip::hop_limit(frame, network) {
        Some(0 | 1) => Err(Verdict::DroppedTtl),
        Some(_) => Ok(()),
        None => Err(Verdict::Aborted),
    }
}

/// The same on the way to a server, where the client is told.
#[inline(always)]
pub fn has_hops_to_server(frame: &Frame<'_>, network: Network) -> Result<(), Outcome> {
    match ip::hop_limit(frame, network) {
        Some(0 | 1) => Err(Outcome::TO_NOTICE),
        Some(_) => Ok(()),
        None => Err(Verdict::Aborted.into()),
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
    packet.link.destination.set_mac(way.next_mac);
    packet.link.source.set_mac(way.own_mac);
    Outcome::sent_by(verdict, way.door)
}

//! The answer to a SYN for a service without a usable server: RST from the VIP, made of the SYN itself.
//!
//! RFC 9293 section 3.10.7.1: no RST to a RST (only a bare SYN comes here); sequence number 0, acknowledging the SYN.

use lb_common::{checksum::fold, net::Protocol, verdict::Verdict};

use crate::{
    Exit, Outcome,
    director::Director,
    frame::Frame,
    headers::{Ipv4, Tcp},
    parse::Packet,
    tables::Tables,
};

const FIN: u8 = 1;
const RST_ACK: u8 = 0x14;
const HEADER_WORDS: u8 = 5;
const TTL: u8 = 64;

/// [`Verdict::DroppedNoServer`] for a SYN with IP options, which would have to be cut out.
#[inline(never)]
pub fn answer<T: Tables>(frame: &Frame<'_>, packet: &Packet<'_>, director: &Director<'_, T>) -> Outcome {
    let at = packet.link_length + packet.header_length;
    let Some(tcp) = frame.view_at::<Tcp>(u64::from(at)) else { return Verdict::DroppedNoServer.into() };
    if usize::from(packet.header_length) != size_of::<Ipv4>() {
        return Verdict::DroppedNoServer.into();
    }
    let headers = u32::from(packet.header_length) + u32::from(tcp.offset.byte() >> 4) * 4;
    let Some(payload) = u32::from(packet.length).checked_sub(headers) else {
        return Verdict::DroppedNoServer.into();
    };
    // SYN and FIN are a sequence number each.
    let controls = 1 + u32::from(tcp.flags.byte() & FIN);
    let acknowledged = u32::from_be_bytes(tcp.sequence.get()).wrapping_add(controls).wrapping_add(payload);

    let (client, vip) = (packet.ip.source.get(), packet.ip.destination.get());
    let (client_port, vip_port) = (tcp.source.get(), tcp.destination.get());
    tcp.source.set(vip_port);
    tcp.destination.set(client_port);
    tcp.sequence.set([0; 4]);
    tcp.acknowledgment.set(acknowledged.to_be_bytes());
    tcp.offset.set([HEADER_WORDS << 4]);
    tcp.flags.set([RST_ACK]);
    tcp.window.set([0; 2]);
    tcp.urgent.set([0; 2]);

    let ip = packet.ip;
    let length = (size_of::<Ipv4>() + size_of::<Tcp>()) as u16;
    ip.total_length.set(length.to_be_bytes());
    ip.fragment.set([0x40, 0]);
    ip.ttl.set([TTL]);
    ip.source.set(vip);
    ip.destination.set(client);
    // Both headers are of fixed size, so the sums are a handful of additions, not a loop over the packet.
    let pairs = |bytes: [u8; 4]| u64::from(u32::from_ne_bytes(bytes));
    let addresses = pairs(client) + pairs(vip);
    let first =
        pairs([ip.version_ihl.byte(), ip.tos.byte(), length.to_be_bytes()[0], length.to_be_bytes()[1]]);
    let second = pairs([ip.id.get()[0], ip.id.get()[1], 0x40, 0]);
    let third = pairs([TTL, Protocol::Tcp as u8, 0, 0]);
    ip.checksum.set_raw(!fold(first + second + third + addresses));

    let tcp_length = (size_of::<Tcp>() as u16).to_be_bytes();
    let pseudo = addresses + pairs([0, Protocol::Tcp as u8, tcp_length[0], tcp_length[1]]);
    let ports = pairs([vip_port[0], vip_port[1], client_port[0], client_port[1]]);
    let rest = pairs(acknowledged.to_be_bytes()) + pairs([HEADER_WORDS << 4, RST_ACK, 0, 0]);
    tcp.checksum.set_raw(!fold(pseudo + ports + rest));

    let (from, to) = (packet.link.source.mac(), packet.link.destination.mac());
    packet.link.source.set_mac(to);
    packet.link.destination.set_mac(from);
    director.tables.trim(frame.len() - usize::from(packet.link_length + length));
    Outcome::sent(Verdict::RepliedReset, Exit::Back)
}

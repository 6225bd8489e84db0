//! Parts of datagrams in tunnels: each goes whole into a packet of its own.

use std::net::IpAddr;

use super::super::Case;
use super::super::people::*;
use super::Kind;
use crate::datapath::world::{Server, Service, World};
use crate::fixture::Output::{Back, Dropped, Through};
use crate::packet::{Extension, Ipv4, Ipv6, Network, Transport, Udp};

/// The datagram's id, which is the entropy of the parts that have no ports.
const ID: u16 = 0x4711;

/// Two parts of a query with so many hops left, the first of `first` bytes behind the IP headers.
fn parts(kind: Kind, hops: u8, first: usize) -> [Network; 2] {
    let query = Udp::new(PORT, 80, vec![0x5a; first + 100 - 8]);
    match (kind.client, kind.vip) {
        (IpAddr::V4(client), IpAddr::V4(vip)) => {
            let whole = Ipv4::new(client, vip, query).ttl(hops);
            let mut parts = Ipv4 { identification: ID, ..whole }.split(first).into_iter().map(Network::from);
            [parts.next().expect("a first part"), parts.next().expect("another")]
        }
        (IpAddr::V6(client), IpAddr::V6(vip)) => {
            let whole = Ipv6::new(client, vip, query).hop_limit(hops);
            let bytes = whole.bytes().split_off(40);
            let part = |offset: usize, bytes: &[u8]| {
                let transport = Transport::Raw { protocol: 17, bytes: bytes.to_vec() };
                let fragment = Extension::Fragment {
                    offset: (offset / 8) as u16,
                    more: offset == 0,
                    identification: ID.into(),
                };
                Ipv6 { transport, ..whole.clone() }.extension(fragment).into()
            };
            [part(0, &bytes[..first]), part(first, &bytes[first..])]
        }
        _ => unreachable!("client and VIP are of one family"),
    }
}

/// As it lies in the packet, for the data path only wants it to be the same in all parts.
fn entropy_of_id(kind: Kind) -> u32 {
    if kind.vip.is_ipv4() { u16::from_ne_bytes(ID.to_be_bytes()).into() } else { u32::from(ID).to_be() }
}

pub(super) fn cases(kind: Kind) -> Vec<Case> {
    let world = World::of(kind.service().udp(), [Server::at("rs1", kind.server, 80)]);
    let flow = kind.entropy(lb_common::net::Protocol::Udp, 80);
    let arrived = |part: &Network, entropy| Through(at_server(kind.server, kind.around(part, 0, entropy)));
    let [first, later] = parts(kind, 64, 480);
    let [first_spent, later_spent] = parts(kind, 63, 480);
    // The largest for Ethernet.
    let cut = if kind.vip.is_ipv4() { 1480 } else { 1448 };
    let [large, rest] = parts(kind, 64, cut);
    let [_, rest_spent] = parts(kind, 63, cut);
    let room = 1500 - kind.overhead();
    let sent = |part: &Network| client_frame(part.clone());
    // Of which nothing was seen before.
    let unknown = Case::new(kind.name("a later part alone leads nowhere"), world.clone()).front(
        &sent(&later),
        "dropped_fragment",
        Dropped,
    );
    let both = Case::new(kind.name("the parts of a datagram follow its first one"), world.clone())
        .front(&sent(&first), "forwarded_tunnel", arrived(&first_spent, flow))
        .counting(&[("fragment_noted", 1), ("rs1.packets_in", 1)])
        .front(&sent(&later), "forwarded_tunnel", arrived(&later_spent, entropy_of_id(kind)))
        .counting(&[("fragment_followed", 1), ("rs1.packets_in", 1)]);
    // With the tunnel's headers a full first part does not fit any more.
    let told = Notice::too_big(room).frame(&sent(&large)[14..]);
    let too_big = Case::new(kind.name("a first part that is too big is answered, a later one is not"), world)
        .front(&sent(&large), "replied_too_big", Back(told))
        .counting(&[("fragment_noted", 1), ("rs1.packets_in", 0)])
        .front(&sent(&rest), "forwarded_tunnel", arrived(&rest_spent, entropy_of_id(kind)))
        .change(|world| world.services[0] = narrow(kind))
        .front(&sent(&rest), "dropped_too_big", Dropped);
    vec![unknown, both, too_big]
}

/// The same service by a way through which no part fits.
fn narrow(kind: Kind) -> Service {
    kind.service().udp().through(kind.mode(kind.overhead() as u16 + 68))
}

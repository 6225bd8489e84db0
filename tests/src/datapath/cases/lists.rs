//! Who may come: allow and deny lists of services.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, World};
use crate::fixture::Output::{Dropped, Through};
use crate::packet::{Ipv4, Ipv6, Udp};

/// A client of the same network.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 11);
const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0x11);
/// Of the same networks at all.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 0);
const NETWORK6: Ipv6Addr = Ipv6Addr::new(0xfd77, 1, 0, 0, 0, 0, 0, 0);

fn web(vip: impl Into<IpAddr>, rules: impl FnOnce(Service) -> Service) -> World {
    let vip = vip.into();
    let address: IpAddr = if vip.is_ipv4() { RS1.into() } else { RS1_6.into() };
    World::of(rules(Service::tcp("web", vip, 80)), [Server::at("rs1", address, 8080)])
}

fn direct(vip: impl Into<IpAddr>, rules: impl FnOnce(Service) -> Service) -> World {
    let vip = vip.into();
    let address: IpAddr = if vip.is_ipv4() { RS1.into() } else { RS1_6.into() };
    World::of(rules(Service::tcp("web", vip, 80).direct()), [Server::at("rs1", address, 80)])
}

fn syn_from(client: Ipv4Addr) -> Vec<u8> {
    client_frame(Ipv4::new(client, VIP, syn(80)))
}

fn syn_from6(client: Ipv6Addr) -> Vec<u8> {
    client_frame(Ipv6::new(client, VIP6, syn(80)))
}

fn denied(name: &'static str, world: World, frame: &[u8]) -> Case {
    Case::new(name, world).front(frame, "dropped_denied", Dropped).counting(&[
        ("stored", 0),
        ("rs1.connections", 0),
        ("web.denied", 1),
    ])
}

trait Comes {
    /// The SYN of this client reaches the server.
    fn comes(self, client: Ipv4Addr) -> Self;
    fn comes6(self, client: Ipv6Addr) -> Self;
}

impl Comes for Case {
    fn comes(self, client: Ipv4Addr) -> Self {
        let output = Through(at_server(RS1, Ipv4::new(client, RS1, syn(8080)).ttl(63)));
        self.front(&syn_from(client), "forwarded_nat", output).counting(&[("web.denied", 0)])
    }

    fn comes6(self, client: Ipv6Addr) -> Self {
        let output = Through(at_server(RS1_6, Ipv6::new(client, RS1_6, syn(8080)).hop_limit(63)));
        self.front(&syn_from6(client), "forwarded_nat", output).counting(&[("web.denied", 0)])
    }
}

pub(super) fn cases() -> Vec<Case> {
    let direct_out = |client| Through(at_server(RS1, Ipv4::new(client, VIP, syn(80)).ttl(63)));
    let direct_out6 = |client| Through(at_server(RS1_6, Ipv6::new(client, VIP6, syn(80)).hop_limit(63)));
    let dns = World::of(Service::tcp("web", VIP, 53).udp().deny(CLIENT, 32), [Server::at("rs1", RS1, 53)]);
    vec![
        denied(
            "a source that is denied gets no connection",
            web(VIP, |s| s.deny(CLIENT, 32)),
            &syn_from(CLIENT),
        )
        .comes(NEIGHBOUR),
        denied(
            "IPv6: a source that is denied gets no connection",
            web(VIP6, |s| s.deny(CLIENT6, 128)),
            &syn_from6(CLIENT6),
        )
        .comes6(NEIGHBOUR6),
        denied(
            "by direct routing, a source that is denied gets no connection",
            direct(VIP, |s| s.deny(CLIENT, 32)),
            &syn_from(CLIENT),
        )
        .front(&syn_from(NEIGHBOUR), "forwarded_dr", direct_out(NEIGHBOUR)),
        denied(
            "IPv6: by direct routing, a source that is denied gets no connection",
            direct(VIP6, |s| s.deny(CLIENT6, 128)),
            &syn_from6(CLIENT6),
        )
        .front(&syn_from6(NEIGHBOUR6), "forwarded_dr", direct_out6(NEIGHBOUR6)),
        denied(
            "a list of allowed sources denies all others",
            web(VIP, |s| s.allow(NEIGHBOUR, 32)),
            &syn_from(CLIENT),
        )
        .comes(NEIGHBOUR),
        denied(
            "IPv6: a list of allowed sources denies all others",
            web(VIP6, |s| s.allow(NEIGHBOUR6, 128)),
            &syn_from6(CLIENT6),
        )
        .comes6(NEIGHBOUR6),
        denied(
            "the longest prefix decides: a network is allowed but for one address",
            web(VIP, |s| s.allow(NETWORK, 24).deny(CLIENT, 32)),
            &syn_from(CLIENT),
        )
        .comes(NEIGHBOUR),
        denied(
            "the longest prefix decides: a network is denied but for one address",
            web(VIP, |s| s.deny(NETWORK, 24).allow(NEIGHBOUR, 32)),
            &syn_from(CLIENT),
        )
        .comes(NEIGHBOUR),
        denied(
            "IPv6: the longest prefix decides: a network is denied but for one address",
            web(VIP6, |s| s.deny(NETWORK6, 64).allow(NEIGHBOUR6, 128)),
            &syn_from6(CLIENT6),
        )
        .comes6(NEIGHBOUR6),
        denied(
            "a prefix ends where its length says",
            web(VIP, |s| s.deny(Ipv4Addr::new(10, 77, 1, 10), 31)),
            &syn_from(NEIGHBOUR),
        )
        .comes(Ipv4Addr::new(10, 77, 1, 12)),
        denied(
            "all of IPv4 may be denied",
            web(VIP, |s| s.deny(Ipv4Addr::UNSPECIFIED, 0)),
            &syn_from(CLIENT),
        ),
        Case::new("all of IPv6 is not IPv4", web(VIP, |s| s.deny(Ipv6Addr::UNSPECIFIED, 0))).comes(CLIENT),
        denied(
            "data amid a connection that nobody knows is denied as a SYN is",
            web(VIP, |s| s.deny(CLIENT, 32)),
            &from_client(VIP, data(80)),
        ),
        denied("a datagram from a denied source", dns, &from_client(VIP, Udp::new(PORT, 53, *b"query"))),
        denied(
            "a denied source hears nothing, also where nobody serves",
            web(VIP, |s| s.deny(CLIENT, 32)).with(|world| {
                let rs1 = world.named("rs1");
                rs1.down = true;
                rs1.weight = 0;
            }),
            &syn_from(CLIENT),
        ),
        Case::new(
            "a list of one service is none of another's",
            web(VIP, |s| s.deny(CLIENT, 32))
                .and(Service::tcp("open", OTHER_VIP, 80), [Server::at("rs2", RS2, 8080)]),
        )
        .front(
            &from_client(OTHER_VIP, syn(80)),
            "forwarded_nat",
            Through(at_server(RS2, Ipv4::new(CLIENT, RS2, syn(8080)).ttl(63))),
        ),
        Case::new("a connection that is stored goes on until the agent cuts it", web(VIP, |s| s))
            .comes(CLIENT)
            .change(|world| world.services[0] = world.services[0].clone().deny(CLIENT, 32))
            .front(
                &from_client(VIP, data(80)),
                "forwarded_nat",
                Through(at_server(RS1, Ipv4::new(CLIENT, RS1, data(8080)).ttl(63))),
            ),
        Case::new(
            "without a connection table each packet is asked for its source",
            web(VIP, |s| s).with(|world| world.flows = false),
        )
        .comes(CLIENT)
        .change(|world| world.services[0] = world.services[0].clone().deny(CLIENT, 32))
        .front(&from_client(VIP, data(80)), "dropped_denied", Dropped),
    ]
}

//! Direct routing: only MACs and TTL change.

use super::Case;
use super::people::*;
use crate::datapath::world::{Hop, Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Back, Passed, Through};
use crate::packet::{Frame, Ipv4, Tcp, Udp};

fn world() -> World {
    World::of(Service::tcp("web", VIP, 80).direct(), [Server::at("rs1", RS1, 80).in_front()])
}

fn directed(transport: Tcp) -> Vec<u8> {
    Frame::new(Side::Front.mac(), mac_of(RS1), Ipv4::new(CLIENT, VIP, transport).ttl(63)).bytes()
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("DR changes MACs and TTL, and nothing else", world())
            .front(&from_client(VIP, syn(80)), "forwarded_dr", Back(directed(syn(80))))
            .counting(&[("stored", 1), ("path_learned", 0), ("rs1.connections", 1), ("rs1.bytes_in", 44)])
            .front(&from_client(VIP, data(80)), "forwarded_dr", Back(directed(data(80))))
            .counting(&[("stored", 0), ("rs1.connections", 0), ("rs1.packets_in", 1)]),
        Case::new(
            "DR through another interface",
            World::of(Service::tcp("web", VIP, 80).direct(), [Server::at("rs1", RS1, 80)]),
        )
        .front(
            &from_client(VIP, syn(80)),
            "forwarded_dr",
            Through(at_server(RS1, Ipv4::new(CLIENT, VIP, syn(80)).ttl(63))),
        ),
        Case::new(
            "DR spends the TTL, so that a server without the VIP cannot send a packet round for ever",
            world(),
        )
        .front(
            &client_frame(Ipv4::new(CLIENT, VIP, syn(80)).ttl(1)),
            "replied_time_exceeded",
            Notice::TIME_EXCEEDED.about(Ipv4::new(CLIENT, VIP, syn(80)).ttl(1)),
        )
        .front(
            &client_frame(Ipv4::new(CLIENT, VIP, syn(80)).ttl(2)),
            "forwarded_dr",
            Back(Frame::new(Side::Front.mac(), mac_of(RS1), Ipv4::new(CLIENT, VIP, syn(80)).ttl(1)).bytes()),
        ),
        Case::new("DR on any port", {
            World::of(Service::tcp("all", VIP, 0).direct(), [Server::at("rs1", RS1, 0).in_front()])
        })
        .front(&from_client(VIP, syn(22)), "forwarded_dr", Back(directed(syn(22)))),
        Case::new("DR of UDP leaves its checksum alone", {
            World::of(Service::tcp("dns", VIP, 53).udp().direct(), [Server::at("rs1", RS1, 53).in_front()])
        })
        .front(
            &from_client(VIP, Udp::new(PORT, 53, *b"query").without_checksum()),
            "forwarded_dr",
            Back({
                let udp = Udp::new(PORT, 53, *b"query").without_checksum();
                Frame::new(Side::Front.mac(), mac_of(RS1), Ipv4::new(CLIENT, VIP, udp).ttl(63)).bytes()
            }),
        ),
        Case::new("a DR server's own traffic is none of ours", world()).back(
            &from_server(Ipv4::new(RS1, CLIENT, answer(80))),
            "passed_not_ours",
            Passed,
        ),
        Case::new("DR by the kernel's routing", {
            World::of(Service::tcp("web", VIP, 80).direct(), [Server::at("rs1", RS1, 80).by(None)])
                .with(|world| world.route(RS1, Hop { side: Side::Front, mac: mac_of(RS1) }))
        })
        .front(&from_client(VIP, syn(80)), "forwarded_dr", Back(directed(syn(80))))
        .counting(&[("next_hop_by_fib", 1)]),
    ]
}

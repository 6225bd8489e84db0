//! A service without a usable server.

use super::super::Case;
use super::super::people::*;
use crate::datapath::world::{Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Back, Dropped};
use crate::packet::{Extension, Frame, Ipv6, Tcp, TcpFlags};

fn dead() -> World {
    one_server6().with(|world| {
        let rs1 = world.named("rs1");
        (rs1.down, rs1.weight) = (true, 0);
    })
}

/// The RST that answers a segment of so many sequence numbers, back to where that came from.
fn reset(acknowledgement: u32) -> Frame {
    let flags = TcpFlags::RST | TcpFlags::ACK;
    let tcp = Tcp { acknowledgement, window: 0, ..Tcp::new(80, PORT, flags) };
    Frame::new(Side::Front.mac(), mac_of(CLIENT6), Ipv6::new(VIP6, CLIENT6, tcp))
}

pub(super) fn cases() -> Vec<Case> {
    let dropped = |name, packet: Ipv6| {
        Case::new(name, dead())
            .front(&client_frame(packet), "dropped_no_server", Dropped)
            .counting(&[("stored", 0), ("rs1.connections", 0)])
    };
    let to_vip = |tcp: Tcp| Ipv6::new(CLIENT6, VIP6, tcp);
    vec![
        Case::new("IPv6: a SYN is answered with RST, sequence 0, acknowledging the SYN", dead())
            .front(&from_client6(VIP6, syn(80)), "replied_reset", Back(reset(1001).bytes()))
            .counting(&[("stored", 0), ("path_learned", 0), ("rs1.connections", 0), ("rs1.packets_in", 0)]),
        Case::new("IPv6: a SYN with data is acknowledged to its end, and the RST carries none", dead())
            .front(
                &from_client6(VIP6, syn(80).payload([7; 100])),
                "replied_reset",
                Back(reset(1101).bytes()),
            ),
        Case::new("IPv6: the highest sequence number wraps", dead()).front(
            &from_client6(VIP6, Tcp::syn(PORT, 80, u32::MAX)),
            "replied_reset",
            Back(reset(0).bytes()),
        ),
        Case::new("IPv6: SYN and FIN in one segment are two sequence numbers", dead()).front(
            &from_client6(VIP6, Tcp { flags: TcpFlags::SYN | TcpFlags::FIN, ..syn(80) }),
            "replied_reset",
            Back(reset(1002).bytes()),
        ),
        Case::new("IPv6: a SYN with its last hop is answered: it was meant for the VIP", dead()).front(
            &client_frame(to_vip(syn(80)).hop_limit(1)),
            "replied_reset",
            Back(reset(1001).bytes()),
        ),
        Case::new("IPv6: DR refuses like NAT", {
            let rs1 = Server { down: true, weight: 0, ..Server::at("rs1", RS1_6, 80) };
            World::of(Service::tcp("web", VIP6, 80).direct(), [rs1])
        })
        .front(&from_client6(VIP6, syn(80)), "replied_reset", Back(reset(1001).bytes())),
        dropped(
            "a SYN behind a hop-by-hop header is dropped: the header would have to be cut out",
            to_vip(syn(80)).extension(Extension::HopByHop(vec![])),
        ),
        dropped("IPv6: data amid a connection is dropped, and the client tries again", to_vip(data(80))),
        dropped(
            "IPv6: a RST is never answered with RST",
            to_vip(flagged(PORT, 80, TcpFlags::RST | TcpFlags::SYN)),
        ),
        Case::new("IPv6: where the configuration says so, a SYN is dropped in silence", {
            let rs1 = Server { down: true, weight: 0, ..Server::at("rs1", RS1_6, 8080) };
            World::of(Service::tcp("web", VIP6, 80).silent(), [rs1])
        })
        .front(&from_client6(VIP6, syn(80)), "dropped_no_server", Dropped),
    ]
}

//! A service without a usable server.

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Back, Dropped};
use crate::packet::{Frame, Ipv4, Tcp, TcpFlags};

/// All servers have failed, and both tables know it.
fn dead() -> World {
    one_server().with(|world| {
        let rs1 = world.named("rs1");
        (rs1.down, rs1.weight) = (true, 0);
    })
}

/// The RST that answers a segment of so many sequence numbers.
fn reset(acknowledgement: u32) -> Ipv4 {
    let flags = TcpFlags::RST | TcpFlags::ACK;
    let tcp = Tcp { acknowledgement, window: 0, ..Tcp::new(80, PORT, flags) };
    Ipv4::new(VIP, CLIENT, tcp)
}

/// Back to where it came from.
fn returned(packet: Ipv4) -> Frame {
    Frame::new(Side::Front.mac(), mac_of(CLIENT), packet)
}

pub(super) fn cases() -> Vec<Case> {
    let dropped = |name, tcp: Tcp| {
        Case::new(name, dead())
            .front(&from_client(VIP, tcp), "dropped_no_server", Dropped)
            .counting(&[("stored", 0), ("rs1.connections", 0)])
    };
    vec![
        Case::new("a SYN is answered with RST, sequence 0, acknowledging the SYN", dead())
            .front(&from_client(VIP, syn(80)), "replied_reset", Back(returned(reset(1001)).bytes()))
            .counting(&[("stored", 0), ("path_learned", 0), ("rs1.connections", 0), ("rs1.packets_in", 0)]),
        Case::new("a SYN with data is acknowledged to its end, and the RST carries none", dead()).front(
            &from_client(VIP, syn(80).payload([7; 100])),
            "replied_reset",
            Back(returned(reset(1101)).bytes()),
        ),
        Case::new("the highest sequence number wraps", dead()).front(
            &from_client(VIP, Tcp::syn(PORT, 80, u32::MAX)),
            "replied_reset",
            Back(returned(reset(0)).bytes()),
        ),
        Case::new("the RST to a padded SYN has no padding of ours", dead()).front(
            &Frame::new(
                mac_of(CLIENT),
                Side::Front.mac(),
                Ipv4::new(CLIENT, VIP, Tcp { options: vec![], ..syn(80) }),
            )
            .padded()
            .bytes(),
            "replied_reset",
            Back(returned(reset(1001)).bytes()),
        ),
        Case::new("SYN and FIN in one segment are two sequence numbers", dead()).front(
            &from_client(VIP, Tcp { flags: TcpFlags::SYN | TcpFlags::FIN, ..syn(80) }),
            "replied_reset",
            Back(returned(reset(1002)).bytes()),
        ),
        Case::new("a SYN with its last TTL is answered: it was meant for the VIP", dead()).front(
            &client_frame(Ipv4::new(CLIENT, VIP, syn(80)).ttl(1)),
            "replied_reset",
            Back(returned(reset(1001)).bytes()),
        ),
        Case::new("a SYN with IP options is dropped: they would have to be cut out", dead()).front(
            &client_frame(Ipv4::new(CLIENT, VIP, syn(80)).options([1, 1, 1, 0])),
            "dropped_no_server",
            Dropped,
        ),
        dropped("data amid a connection is dropped, and the client tries again", data(80)),
        dropped("a RST is never answered with RST", flagged(PORT, 80, TcpFlags::RST)),
        dropped("a RST with a SYN is no SYN", flagged(PORT, 80, TcpFlags::RST | TcpFlags::SYN)),
        dropped("a SYN with ACK is no SYN", flagged(PORT, 80, TcpFlags::SYN | TcpFlags::ACK)),
        dropped("a FIN is dropped", flagged(PORT, 80, TcpFlags::FIN | TcpFlags::ACK)),
        Case::new("where the configuration says so, a SYN is dropped in silence", {
            let rs1 = Server { down: true, weight: 0, ..Server::at("rs1", RS1, 8080) };
            World::of(Service::tcp("web", VIP, 80).silent(), [rs1])
        })
        .front(&from_client(VIP, syn(80)), "dropped_no_server", Dropped),
        Case::new("a service that never had a server refuses", World::of(Service::tcp("web", VIP, 80), []))
            .front(&from_client(VIP, syn(80)), "replied_reset", Back(returned(reset(1001)).bytes())),
        Case::new("a connection outlives the fall of all servers, a new one is refused", one_server())
            .front(&from_client(VIP, syn(80)), "forwarded_nat", through_syn())
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, answer(8080))),
                "forwarded_nat_reply",
                crate::fixture::Output::Through(at_client(Ipv4::new(VIP, CLIENT, answer(80)).ttl(63))),
            )
            .change(|world| {
                let rs1 = world.named("rs1");
                (rs1.down, rs1.weight) = (true, 0);
            })
            .front(
                &from_client(VIP, data(80)),
                "forwarded_nat",
                crate::fixture::Output::Through(at_server(RS1, Ipv4::new(CLIENT, RS1, data(8080)).ttl(63))),
            )
            .front(
                &from_client(VIP, Tcp::syn(PORT + 1, 80, 1000)),
                "replied_reset",
                Back({
                    let tcp = Tcp {
                        acknowledgement: 1001,
                        window: 0,
                        ..Tcp::new(80, PORT + 1, TcpFlags::RST | TcpFlags::ACK)
                    };
                    returned(Ipv4::new(VIP, CLIENT, tcp)).bytes()
                }),
            ),
        Case::new("DR refuses like NAT", {
            let rs1 = Server { down: true, weight: 0, ..Server::at("rs1", RS1, 80) };
            World::of(Service::tcp("web", VIP, 80).direct(), [rs1])
        })
        .front(&from_client(VIP, syn(80)), "replied_reset", Back(returned(reset(1001)).bytes())),
    ]
}

fn through_syn() -> crate::fixture::Output {
    crate::fixture::Output::Through(at_server(RS1, Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63)))
}

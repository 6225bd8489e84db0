//! NAT over TCP, from the client to the server.

use super::Case;
use super::people::*;
use crate::datapath::world::{Hop, Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Back, Dropped, Through};
use crate::packet::{Ipv4, Tcp, TcpFlags};

fn nat_syn() -> Vec<u8> {
    at_server(RS1, Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63))
}

fn nat_data() -> Vec<u8> {
    at_server(RS1, Ipv4::new(CLIENT, RS1, data(8080)).ttl(63))
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("a SYN is sent to the server with address, port, MACs and TTL changed", one_server())
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
            .counting(&[("stored", 1), ("path_learned", 1), ("miss_not_syn", 0)])
            .counting(&[("rs1.connections", 1), ("rs1.packets_in", 1), ("rs1.bytes_in", 44)])
            .counting(&[("rs1.packets_out", 0), ("rs1.bytes_out", 0)]),
        Case::new("a retransmitted SYN is no second connection", one_server())
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
            .counting(&[("stored", 0), ("path_learned", 0), ("rs1.connections", 0), ("rs1.packets_in", 1)]),
        Case::new(
            "data of a stored connection follows it, and is counted by the length of the IP packet",
            one_server(),
        )
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .front(&from_client(VIP, data(80)), "forwarded_nat", Through(nat_data()))
        .counting(&[
            ("stored", 0),
            ("miss_not_syn", 0),
            ("rs1.connections", 0),
            ("rs1.bytes_in", 58),
        ]),
        Case::new(
            "data without an entry goes by the miss table and is stored, but is no new connection",
            one_server(),
        )
        .front(&from_client(VIP, data(80)), "forwarded_nat", Through(nat_data()))
        .counting(&[
            ("stored", 1),
            ("miss_not_syn", 1),
            ("rs1.connections", 0),
            ("rs1.packets_in", 1),
        ]),
        Case::new(
            "one-arm: what leaves by the interface it came in through is sent back",
            World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 80).in_front()]),
        )
        .front(
            &from_client(VIP, syn(80)),
            "forwarded_nat",
            Back(front_to_server(Ipv4::new(CLIENT, RS1, syn(80)).ttl(63))),
        ),
        Case::new(
            "a server without a port of its own is reached on the port that was hit",
            World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 0)]),
        )
        .front(
            &from_client(VIP, syn(80)),
            "forwarded_nat",
            Through(at_server(RS1, Ipv4::new(CLIENT, RS1, syn(80)).ttl(63))),
        ),
        Case::new(
            "a service on any port takes each, and keeps the port",
            World::of(Service::tcp("all", VIP, 0), [Server::at("rs1", RS1, 0)]),
        )
        .front(
            &from_client(VIP, syn(12_345)),
            "forwarded_nat",
            Through(at_server(RS1, Ipv4::new(CLIENT, RS1, syn(12_345)).ttl(63))),
        )
        .front(
            &from_client(VIP, syn(80)),
            "forwarded_nat",
            Through(at_server(RS1, Ipv4::new(CLIENT, RS1, syn(80)).ttl(63))),
        )
        .counting(&[("stored", 1), ("rs1.connections", 1)]),
        Case::new(
            "the service of the exact port wins over that of any port",
            World::of(Service::tcp("all", VIP, 0), [Server::at("rs2", RS2, 0)])
                .and(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 8080)]),
        )
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("rs1.connections", 1), ("rs2.connections", 0)])
        .front(
            &from_client(VIP, syn(81)),
            "forwarded_nat",
            Through(at_server(RS2, Ipv4::new(CLIENT, RS2, syn(81)).ttl(63))),
        ),
        Case::new("with the flow table off, nothing is stored and every packet goes by the tables", {
            one_server().with(|world| world.flows = false)
        })
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("stored", 0)])
        .front(&from_client(VIP, data(80)), "forwarded_nat", Through(nat_data()))
        .counting(&[("stored", 0), ("miss_not_syn", 1)]),
        Case::new("a connection stays with a server that was drained, and with one that fails", one_server())
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
            .change(|world| {
                world.named("rs1").drained = true;
                world.named("rs1").weight = 0;
            })
            .front(&from_client(VIP, data(80)), "forwarded_nat", Through(nat_data()))
            .change(|world| world.named("rs1").down = true)
            .front(&from_client(VIP, data(80)), "forwarded_nat", Through(nat_data()))
            .counting(&[("reselected", 0), ("stored", 0)]),
        Case::new("a connection whose server has gone gets another", {
            one_server().with(|world| {
                let rs2 = Server { weight: 0, ..Server::at("rs2", RS2, 8080) };
                world.servers.push((crate::datapath::world::Number(0), rs2));
            })
        })
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .change(|world| {
            world.named("rs1").freed = true;
            world.named("rs1").weight = 0;
            world.named("rs2").weight = 1;
        })
        .front(
            &from_client(VIP, data(80)),
            "forwarded_nat",
            Through(at_server(RS2, Ipv4::new(CLIENT, RS2, data(8080)).ttl(63))),
        )
        .counting(&[("reselected", 1), ("stored", 0)])
        .front(
            &from_client(VIP, data(80)),
            "forwarded_nat",
            Through(at_server(RS2, Ipv4::new(CLIENT, RS2, data(8080)).ttl(63))),
        )
        .counting(&[("reselected", 0), ("stored", 0)]),
        Case::new("a SYN on a connection that was silent for too long begins a new one", {
            one_server().with(|world| {
                let rs2 = Server { weight: 0, ..Server::at("rs2", RS2, 8080) };
                world.servers.push((crate::datapath::world::Number(0), rs2));
            })
        })
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .change(|world| {
            world.named("rs1").weight = 0;
            world.named("rs2").weight = 1;
        })
        .pass(28)
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("rs1.connections", 0)])
        .pass(29)
        .front(
            &from_client(VIP, syn(80)),
            "forwarded_nat",
            Through(at_server(RS2, Ipv4::new(CLIENT, RS2, syn(8080)).ttl(63))),
        )
        .counting(&[("rs2.connections", 1)]),
        Case::new(
            "a client port that is used again after the connection closed is a connection more",
            one_server(),
        )
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("rs1.connections", 1)])
        .back(
            &from_server(Ipv4::new(RS1, CLIENT, answer(8080))),
            "forwarded_nat_reply",
            Through(at_client(Ipv4::new(VIP, CLIENT, answer(80)).ttl(63))),
        )
        .front(
            &from_client(VIP, data(80)),
            "forwarded_nat",
            Through(at_server(RS1, Ipv4::new(CLIENT, RS1, data(8080)).ttl(63))),
        )
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("rs1.connections", 0)])
        .front(
            &from_client(VIP, flagged(PORT, 80, TcpFlags::RST)),
            "forwarded_nat",
            Through(at_server(RS1, Ipv4::new(CLIENT, RS1, flagged(PORT, 8080, TcpFlags::RST)).ttl(63))),
        )
        .counting(&[("rs1.connections", 0)])
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("rs1.connections", 1), ("stored", 0)])
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("rs1.connections", 0)]),
        Case::new("a RST and a FIN of the client are forwarded like any segment", one_server())
            .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
            .front(
                &from_client(VIP, flagged(PORT, 80, TcpFlags::FIN | TcpFlags::ACK)),
                "forwarded_nat",
                Through(at_server(
                    RS1,
                    Ipv4::new(CLIENT, RS1, flagged(PORT, 8080, TcpFlags::FIN | TcpFlags::ACK)).ttl(63),
                )),
            )
            .front(
                &from_client(VIP, flagged(PORT, 80, TcpFlags::RST)),
                "forwarded_nat",
                Through(at_server(RS1, Ipv4::new(CLIENT, RS1, flagged(PORT, 8080, TcpFlags::RST)).ttl(63))),
            ),
        Case::new("a checksum that was wrong stays wrong: nothing is hidden from the server", one_server())
            .front(
                &from_client(VIP, wrong(80)),
                "forwarded_nat",
                Through({
                    // What the incremental update must give: the same error as before.
                    let right = at_server(RS1, Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63));
                    let mut frame = right;
                    let [high, low] = off_by(
                        &from_client(VIP, syn(80)),
                        &from_client(VIP, wrong(80)),
                        [frame[50], frame[51]],
                    );
                    (frame[50], frame[51]) = (high, low);
                    frame
                }),
            ),
        Case::new("the largest frame is rewritten without a look at its payload", one_server()).front(
            &from_client(VIP, Tcp::ack(PORT, 80, 1, 1).payload(vec![0xa5; 1460])),
            "forwarded_nat",
            Through(at_server(
                RS1,
                Ipv4::new(CLIENT, RS1, Tcp::ack(PORT, 8080, 1, 1).payload(vec![0xa5; 1460])).ttl(63),
            )),
        ),
        Case::new("without a next hop, and without a route, the packet is dropped by name", {
            World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 80).by(None)])
        })
        .front(&from_client(VIP, syn(80)), "dropped_no_next_hop", Dropped)
        .counting(&[("rs1.packets_in", 0), ("next_hop_by_fib", 0)]),
        Case::new("without a next hop from the agent, the kernel's routing decides", {
            World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 8080).by(None)])
                .with(|world| world.route(RS1, Hop { side: Side::Back, mac: mac_of(RS1) }))
        })
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("next_hop_by_fib", 1)]),
        Case::new("while the agent is silent, the kernel's routing decides", {
            let stale = Some(Hop { side: Side::Back, mac: [0xee; 6] });
            World::of(Service::tcp("web", VIP, 80), [Server::at("rs1", RS1, 8080).by(stale)]).with(|world| {
                world.route(RS1, Hop { side: Side::Back, mac: mac_of(RS1) });
                world.agent_lives = false;
            })
        })
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("next_hop_by_fib", 1)]),
        Case::new("while the agent is silent and the kernel knows no route, the agent's last word stands", {
            one_server().with(|world| world.agent_lives = false)
        })
        .front(&from_client(VIP, syn(80)), "forwarded_nat", Through(nat_syn()))
        .counting(&[("next_hop_by_fib", 0)]),
    ]
}

fn front_to_server(packet: Ipv4) -> Vec<u8> {
    crate::packet::Frame::new(Side::Front.mac(), mac_of(packet.destination), packet).bytes()
}

fn wrong(port: u16) -> Tcp {
    syn(port).checksum(crate::packet::Checksum::Wrong)
}

/// The TCP checksum that is as far from `right` as that of `bad` is from that of `good`, in ones' complement.
fn off_by(good: &[u8], bad: &[u8], right: [u8; 2]) -> [u8; 2] {
    let number = |bytes: &[u8]| u32::from(u16::from_be_bytes([bytes[0], bytes[1]]));
    let sum = number(&right) + number(&bad[50..]) + (0xffff - number(&good[50..]));
    let folded = (sum & 0xffff) + (sum >> 16);
    ((folded & 0xffff) + (folded >> 16)).to_be_bytes()[2..].try_into().unwrap_or_default()
}

//! ICMP errors about what full NAT sent, either way.

use std::net::IpAddr;

use super::super::Case;
use super::super::people::*;
use super::{FIRST, People, between};
use crate::datapath::world::Side;
use crate::fixture::Output::{Passed, Through};
use crate::packet::{Frame, Icmp, Mac, Network, Transport, Udp};

const ROUTER_MAC: Mac = [2, 9, 9, 9, 9, 9];

impl People {
    fn unreachable(&self, about: Vec<u8>) -> Icmp {
        if self.client.is_ipv4() {
            Icmp::new(3, 3, [0; 4], about)
        } else {
            Icmp::new(1, 4, [0; 4], about).version_6()
        }
    }

    fn too_big(&self, about: &[u8]) -> Icmp {
        if self.client.is_ipv4() {
            Icmp::fragmentation_needed(1400, about)
        } else {
            Icmp::new(2, 0, [0, 0, 5, 120], about).version_6()
        }
    }
}

/// A packet as an error quotes it.
fn quoted(source: IpAddr, destination: IpAddr, transport: impl Into<Transport>) -> Vec<u8> {
    match ip(source, destination, 61, transport) {
        Network::Ipv4(packet) => packet.bytes(),
        Network::Ipv6(packet) => packet.bytes(),
        _ => Vec::new(),
    }
}

pub(super) fn cases(people: &People) -> Vec<Case> {
    let &People { client, vip, rs1, pool, router, .. } = people;
    let router_frame = |side: Side, packet: Network| Frame::new(ROUTER_MAC, side.mac(), packet).bytes();
    let opened = |name: &str| people.opens(people.case(name, people.web()), PORT, FIRST);
    let answered = quoted(vip, client, between(&answer(80), 80, PORT));
    let answered_within = quoted(rs1, pool, between(&answer(8080), 8080, FIRST));
    let sent_within = quoted(pool, rs1, between(&data(8080), FIRST, 8080));
    let sent = quoted(client, vip, data(80));

    let mut to_server =
        opened("an error of the client's side reaches the server as the director's, quote and all");
    for error in [People::unreachable, |people: &People, about: Vec<u8>| people.too_big(&about)] {
        let (input, output) = (error(people, answered.clone()), error(people, answered_within.clone()));
        let arrives = Through(at_server(rs1, ip(pool, rs1, 63, output)));
        to_server = to_server
            .front(&client_frame(ip(client, vip, 64, input.clone())), "forwarded_icmp", arrives.clone())
            .front(&router_frame(Side::Front, ip(router, vip, 64, input)), "forwarded_icmp", arrives)
            .counting(&[("rs1.packets_in", 1), ("stored", 0)]);
    }

    let mut to_client =
        opened("an error of the servers' side reaches the client, about the VIP, from whom it concerns");
    for error in [People::unreachable, |people: &People, about: Vec<u8>| people.too_big(&about)] {
        let (input, output) = (error(people, sent_within.clone()), error(people, sent.clone()));
        to_client = to_client
            .back(
                &from_server(ip(rs1, pool, 64, input.clone())),
                "forwarded_icmp_reply",
                Through(at_client(ip(vip, client, 63, output.clone()))),
            )
            .back(
                &router_frame(Side::Back, ip(router, pool, 64, input)),
                "forwarded_icmp_reply",
                Through(at_client(ip(router, client, 63, output))),
            )
            .counting(&[("rs1.packets_out", 1), ("stored", 0)]);
    }

    let mut cut = opened("of a quote only the ports are needed");
    let header = if client.is_ipv4() { 20 } else { 40 };
    for length in [header + 7, header + 8, header + 16] {
        let input = people.at_pool(people.unreachable(sent_within[..length].to_vec()));
        cut = if length < header + 8 {
            cut.back(&input, "passed_not_ours", Passed)
        } else {
            let output = people.unreachable(sent[..length].to_vec());
            cut.back(&input, "forwarded_icmp_reply", Through(at_client(ip(vip, client, 63, output))))
        };
    }

    let mut forged = opened("an error that nothing of ours caused is the kernel's");
    for about in [
        quoted(pool, rs1, between(&data(8080), FIRST + 1, 8080)),
        quoted(pool, rs1, between(&data(8080), FIRST, 8081)),
        quoted(pool, people.rs2, between(&data(8080), FIRST, 8080)),
        quoted(pool, rs1, Udp::new(FIRST, 8080, *b"udp")),
        quoted(client, rs1, between(&data(8080), FIRST, 8080)),
        vec![0; 60],
    ] {
        forged = forged.back(&people.at_pool(people.unreachable(about)), "passed_not_ours", Passed);
    }
    for about in [
        quoted(vip, client, between(&answer(80), 80, PORT + 1)),
        quoted(people.other_vip, client, between(&answer(80), 80, PORT)),
        quoted(client, vip, data(80)),
    ] {
        let input = people.at_vip(people.unreachable(about));
        forged = forged.front(&input, "passed_icmp_unmatched", Passed);
    }
    vec![to_server, to_client, cut, forged]
}

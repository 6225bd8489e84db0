//! What is not ours: to the kernel, untouched.

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, Side, World, mac_of};
use crate::fixture::Output::Passed;
use crate::packet::{Arp, Frame, Icmp, Ipv4, Ipv6, Network, Tcp};

pub(super) fn cases() -> Vec<Case> {
    let passed =
        |name, frame: Vec<u8>, verdict: &str| Case::new(name, one_server()).front(&frame, verdict, Passed);
    let from = |network: Network| Frame::new(mac_of(CLIENT), Side::Front.mac(), network).bytes();
    let (v6_client, v6_vip) = ([0xfd00, 0, 0, 0, 0, 0, 0, 1], [0xfd00, 0, 0, 0, 0, 0, 0, 2]);
    vec![
        passed("ARP", from(Network::Arp(Arp::request((mac_of(CLIENT), CLIENT), VIP))), "passed_not_ip"),
        passed(
            "LLDP",
            from(Network::Raw { ether_type: 0x88cc, bytes: vec![2, 7, 4, 0, 0, 0] }),
            "passed_not_ip",
        ),
        passed(
            "IPv6 of TCP",
            from(Network::Ipv6(Ipv6::new(v6_client, v6_vip, Tcp::syn(PORT, 80, 1)))),
            "passed_not_ours",
        ),
        passed(
            "IPv6 neighbour discovery",
            from(Network::Ipv6(Ipv6::new(v6_client, v6_vip, Icmp::new(135, 0, [0; 4], [0; 16]).version_6()))),
            "passed_not_ours",
        ),
        passed("an Ethernet header and nothing more", [&[2; 12][..], &[8, 0]].concat(), "passed_malformed"),
        passed("a connection to the director itself", from_client(DIRECTOR, syn(22)), "passed_not_ours"),
        passed(
            "a packet on its way through",
            from_client([192, 0, 2, 7].into(), data(80)),
            "passed_not_ours",
        ),
        Case::new("a port of the VIP on which no service listens", one_server())
            .front(&from_client(VIP, syn(22)), "passed_no_service", Passed)
            .counting(&[("stored", 0), ("rs1.connections", 0)]),
        passed(
            "a datagram to the port of a TCP service",
            from_client(VIP, crate::packet::Udp::new(PORT, 80, *b"x")),
            "passed_no_service",
        ),
        Case::new("without any service, everything", World::default())
            .front(&from_client(VIP, syn(80)), "passed_not_ours", Passed)
            .front(&from_client(VIP, data(80)), "passed_not_ours", Passed)
            .back(&from_server(Ipv4::new(RS1, CLIENT, answer(8080))), "passed_not_ours", Passed),
        Case::new("a stranger whose address falls on a VIP's place in the gate", one_server()).front(
            &from_client(alias_of_vip(), syn(80)),
            "passed_not_ours",
            Passed,
        ),
        Case::new(
            "a client whose address falls on a VIP's place in the gate still gets its replies",
            one_server(),
        )
        .front(
            &client_frame(Ipv4::new(alias_of_vip(), VIP, syn(80))),
            "forwarded_nat",
            crate::fixture::Output::Through(at_server(
                RS1,
                Ipv4::new(alias_of_vip(), RS1, syn(8080)).ttl(63),
            )),
        )
        .back(
            &from_server(Ipv4::new(RS1, alias_of_vip(), syn_ack(8080))),
            "forwarded_nat_reply",
            crate::fixture::Output::Through(
                Frame::new(
                    Side::Front.mac(),
                    mac_of(CLIENT),
                    Ipv4::new(VIP, alias_of_vip(), syn_ack(80)).ttl(63),
                )
                .bytes(),
            ),
        ),
        Case::new("a server of a DR service is no NAT server", {
            World::of(Service::tcp("web", VIP, 80).direct(), [Server::at("rs1", RS1, 80)])
        })
        .back(&from_server(Ipv4::new(RS1, CLIENT, answer(80))), "passed_not_ours", Passed),
    ]
}

/// An address that is no VIP, but that the gate cannot tell from one.
fn alias_of_vip() -> std::net::Ipv4Addr {
    use lb_common::gate::Position;
    use lb_common::net::Addr;
    let place = Position::of(Addr::v4(VIP.octets()));
    let strangers = (0..=u16::MAX).map(|low| std::net::Ipv4Addr::from(0xc633_0000 | u32::from(low)));
    let mut aliases = strangers.filter(|one| Position::of(Addr::v4(one.octets())) == place);
    // 65,536 addresses on 32,768 places: there is one, or another network must be searched.
    aliases.next().unwrap_or_else(|| unreachable!("no address of 198.51.0.0/16 falls on the place of {VIP}"))
}

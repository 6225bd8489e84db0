//! What is not ours: to the kernel, untouched.

use super::super::Case;
use super::super::people::*;
use super::from_rs1;
use crate::datapath::world::{Server, Service, World};
use crate::fixture::Output::Passed;
use crate::packet::{Ipv6, Udp};

pub(super) fn cases() -> Vec<Case> {
    let passed = |name, frame: Vec<u8>, verdict: &str| {
        Case::new(name, one_server6()).front(&frame, verdict, Passed).counting(&[("stored", 0)])
    };
    vec![
        passed(
            "IPv6: a connection to the director itself",
            from_client6(DIRECTOR6, syn(22)),
            "passed_not_ours",
        ),
        passed(
            "IPv6: a packet on its way through",
            from_client6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into(), data(80)),
            "passed_not_ours",
        ),
        passed(
            "IPv6: a port of the VIP on which no service listens",
            from_client6(VIP6, syn(22)),
            "passed_no_service",
        ),
        passed(
            "IPv6: a datagram to the port of a TCP service",
            from_client6(VIP6, Udp::new(PORT, 80, *b"x")),
            "passed_no_service",
        ),
        Case::new("IPv6 to a director that balances IPv4 alone", one_server())
            .front(&from_client6(VIP6, syn(80)), "passed_not_ours", Passed)
            .back(&from_rs1(answer(8080)), "passed_not_ours", Passed),
        Case::new("a mapped IPv4 address in an IPv6 header is not that IPv4 address", one_server())
            .front(&from_client6(VIP.to_ipv6_mapped(), syn(80)), "passed_not_ours", Passed)
            .counting(&[("stored", 0), ("rs1.connections", 0)])
            .back(
                &from_server(Ipv6::new(RS1.to_ipv6_mapped(), CLIENT6, answer(8080))),
                "passed_not_ours",
                Passed,
            ),
        Case::new("IPv6: without any service, everything", World::default())
            .front(&from_client6(VIP6, syn(80)), "passed_not_ours", Passed)
            .back(&from_rs1(answer(8080)), "passed_not_ours", Passed),
        Case::new("IPv6: a server of a DR service is no NAT server", {
            World::of(Service::tcp("web", VIP6, 80).direct(), [Server::at("rs1", RS1_6, 80)])
        })
        .back(&from_rs1(answer(80)), "passed_not_ours", Passed),
    ]
}

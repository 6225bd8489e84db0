//! Packets to a service from addresses that no client can have (RFC 6890, RFC 4291): none gets a connection.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, World};
use crate::fixture::Output::{Dropped, Passed, Through};
use crate::packet::{Ipv4, Ipv6, Udp};

const LAND: &str = "a segment from the VIP to itself (LAND)";
const LAND6: &str = "IPv6: a segment from the VIP to itself (LAND)";

pub(super) fn cases() -> Vec<Case> {
    let v4 = [
        (LAND, VIP),
        ("a SYN from 127.0.0.1", Ipv4Addr::LOCALHOST),
        ("a SYN from 0.0.0.0", Ipv4Addr::UNSPECIFIED),
        ("a SYN from a multicast group", Ipv4Addr::new(224, 0, 0, 1)),
        ("a SYN from the broadcast address", Ipv4Addr::BROADCAST),
        ("a SYN from the reserved block 240.0.0.0/4", Ipv4Addr::new(240, 1, 2, 3)),
    ];
    let v6 = [
        (LAND6, VIP6),
        ("IPv6: a SYN from ::1", Ipv6Addr::LOCALHOST),
        ("IPv6: a SYN from ::", Ipv6Addr::UNSPECIFIED),
        ("IPv6: a SYN from a multicast group", Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1)),
    ];
    let dropped = |name, world, frame: Vec<u8>| {
        Case::new(name, world)
            .front(&frame, "dropped_martian", Dropped)
            .counting(&[("stored", 0), ("rs1.connections", 0)])
    };
    let direct = || World::of(Service::tcp("web", VIP, 80).direct(), [Server::at("rs1", RS1, 80)]);
    let direct6 = || World::of(Service::tcp("web", VIP6, 80).direct(), [Server::at("rs1", RS1_6, 80)]);
    let two_vips = || one_server().and(Service::tcp("twin", OTHER_VIP, 80), [Server::at("rs2", RS2, 8080)]);
    let dns = || World::of(Service::tcp("dns", VIP, 53).udp(), [Server::at("rs1", RS1, 53)]);
    let mut cases: Vec<Case> = Vec::new();
    cases.extend(
        v4.map(|(name, from)| dropped(name, one_server(), client_frame(Ipv4::new(from, VIP, syn(80))))),
    );
    cases.extend(
        v6.map(|(name, from)| dropped(name, one_server6(), client_frame(Ipv6::new(from, VIP6, syn(80))))),
    );
    cases.extend([
        dropped("LAND by direct routing", direct(), client_frame(Ipv4::new(VIP, VIP, syn(80)))),
        dropped("IPv6: LAND by direct routing", direct6(), client_frame(Ipv6::new(VIP6, VIP6, syn(80)))),
        dropped("a segment from another VIP", two_vips(), client_frame(Ipv4::new(OTHER_VIP, VIP, syn(80)))),
        dropped(
            "data from 127.0.0.1",
            one_server(),
            client_frame(Ipv4::new(Ipv4Addr::LOCALHOST, VIP, data(80))),
        ),
        dropped(
            "a datagram from the VIP to itself",
            dns(),
            client_frame(Ipv4::new(VIP, VIP, Udp::new(53, 53, *b"x"))),
        ),
        Case::new("where no service listens, a martian is the kernel's to judge", one_server()).front(
            &client_frame(Ipv4::new(Ipv4Addr::LOCALHOST, VIP, syn(22))),
            "passed_no_service",
            Passed,
        ),
        Case::new("the last address before the multicast block is a client's", one_server()).front(
            &client_frame(Ipv4::new(Ipv4Addr::new(223, 255, 255, 254), VIP, syn(80))),
            "forwarded_nat",
            Through(at_server(RS1, Ipv4::new(Ipv4Addr::new(223, 255, 255, 254), RS1, syn(8080)).ttl(63))),
        ),
        Case::new("IPv6: a link-local address is a client's", one_server6()).front(
            &client_frame(Ipv6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10), VIP6, syn(80))),
            "forwarded_nat",
            Through(at_server(
                RS1_6,
                Ipv6::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10), RS1_6, syn(8080)).hop_limit(63),
            )),
        ),
    ]);
    cases
}

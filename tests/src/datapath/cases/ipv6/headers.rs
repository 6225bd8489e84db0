//! The IPv6 header itself: hops, classes, labels, lengths that lie, frames that end too early.

use super::super::Case;
use super::super::people::*;
use super::at_rs1;
use crate::datapath::world::{Side, mac_of};
use crate::fixture::Output::{Passed, Through};
use crate::packet::{Extension, Frame, Icmp, Ipv6, Network, Transport};

fn to_vip(transport: impl Into<Transport>) -> Ipv6 {
    Ipv6::new(CLIENT6, VIP6, transport)
}

pub(super) fn cases() -> Vec<Case> {
    let passed = |name, packet: Ipv6, verdict: &str| {
        Case::new(name, one_server6())
            .front(&client_frame(packet), verdict, Passed)
            .counting(&[("stored", 0)])
    };
    vec![
        Case::new("IPv6: what follows the packet in its frame is neither counted nor touched", one_server6())
            .front(
                &[client_frame(to_vip(syn(80))), vec![0; 6]].concat(),
                "forwarded_nat",
                Through([at_rs1(syn(8080)), vec![0; 6]].concat()),
            )
            .counting(&[("rs1.bytes_in", 64)]),
        Case::new("IPv6: hop limit 2 is enough", one_server6()).front(
            &client_frame(to_vip(syn(80)).hop_limit(2)),
            "forwarded_nat",
            Through(at_server(RS1_6, Ipv6::new(CLIENT6, RS1_6, syn(8080)).hop_limit(1))),
        ),
        Case::new("IPv6: traffic class and flow label are kept", one_server6()).front(
            &client_frame(to_vip(syn(80)).traffic_class(0xb9).flow_label(0xf_1234)),
            "forwarded_nat",
            Through({
                let packet = Ipv6::new(CLIENT6, RS1_6, syn(8080)).hop_limit(63);
                at_server(RS1_6, packet.traffic_class(0xb9).flow_label(0xf_1234))
            }),
        ),
        truncated(),
        passed(
            "IPv6: a payload length beyond the frame is the kernel's to judge",
            Ipv6 { payload_length: Some(25), ..to_vip(syn(80)) },
            "passed_malformed",
        ),
        passed(
            "IPv6: a payload length of which nothing is left for TCP is the kernel's to judge",
            Ipv6 { payload_length: Some(19), ..to_vip(syn(80)) },
            "passed_malformed",
        ),
        passed(
            "IPv6: a payload length of 0, as jumbograms have it, is the kernel's to judge",
            Ipv6 { payload_length: Some(0), ..to_vip(syn(80)) }
                .extension(Extension::HopByHop(vec![0xc2, 4, 0, 0, 0, 32])),
            "passed_malformed",
        ),
        passed(
            "IPv6: a payload length of 0 without any header for it is the kernel's to judge",
            Ipv6 { payload_length: Some(0), ..to_vip(syn(80)) },
            "passed_malformed",
        ),
        passed(
            "IPv6: a version that the EtherType denies is the kernel's to judge",
            Ipv6 { version: Some(4), ..to_vip(syn(80)) },
            "passed_malformed",
        ),
        passed(
            "IPv6: a UDP header that does not fit the packet is the kernel's to judge",
            to_vip(Transport::Raw { protocol: 17, bytes: vec![0x9c, 0x40, 0, 80, 0, 0, 0] }),
            "passed_malformed",
        ),
        passed(
            "IPv6: a neighbour that looks whether the VIP is still there asks the kernel",
            to_vip(Icmp::solicitation(VIP6, mac_of(CLIENT6))).hop_limit(255),
            "passed_not_balanced",
        ),
        passed(
            "IPv6: a neighbour that looks for the VIP asks everybody",
            Ipv6::new(CLIENT6, SOLICITED, Icmp::solicitation(VIP6, mac_of(CLIENT6))).hop_limit(255),
            "passed_not_ours",
        ),
        passed(
            "IPv6: a protocol nobody knows is the kernel's",
            to_vip(Transport::Raw { protocol: 254, bytes: vec![0; 40] }),
            "passed_not_balanced",
        ),
        passed(
            "IPv6: the ICMP of IPv4 is a protocol nobody knows",
            to_vip(Icmp::ping(1, 1, *b"abcdefgh")),
            "passed_not_balanced",
        ),
        Case::new("IPv6 behind the EtherType of IPv4 is the kernel's to judge", one_server6()).front(
            &client_frame(Network::Raw { ether_type: 0x0800, bytes: to_vip(syn(80)).bytes() }),
            "passed_malformed",
            Passed,
        ),
    ]
}

/// The group that the VIP's owner listens to (RFC 4291 section 2.7.1).
const SOLICITED: [u16; 8] = [0xff02, 0, 0, 0, 0, 1, 0xff00, 0x100];

/// Amid each header, and one byte before its end.
fn truncated() -> Case {
    let packet = to_vip(syn(80)).extension(Extension::HopByHop(vec![]));
    let whole = Frame::new(mac_of(CLIENT6), Side::Front.mac(), packet);
    let case =
        Case::new("IPv6: a frame that ends before its packet does is the kernel's to judge", one_server6());
    [15, 14 + 8, 14 + 39, 14 + 40, 14 + 41, 14 + 47, 14 + 48, 14 + 52, 14 + 67, 14 + 71].into_iter().fold(
        case,
        |case, length| {
            let frame = whole.clone().truncated(length).bytes();
            case.front(&frame, "passed_malformed", Passed).counting(&[("stored", 0)])
        },
    )
}

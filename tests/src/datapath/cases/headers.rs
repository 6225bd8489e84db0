//! Frames of unusual shape: tags, options, fragments, last hops, contradictions.

use super::Case;
use super::people::*;
use crate::datapath::world::{Server, Service, Side, World, mac_of};
use crate::fixture::Output::{Dropped, Passed, Through};
use crate::packet::{Checksum, Frame, Ipv4, Tcp, Transport, Udp};

fn tagged(source: [u8; 6], destination: [u8; 6], packet: Ipv4) -> Vec<u8> {
    Frame::new(source, destination, packet).vlan(0x2005).bytes()
}

/// A record-route option, as `ping -R` sends it, of the largest size there is.
fn options() -> Vec<u8> {
    let mut options = vec![7, 39, 4];
    options.resize(40, 0);
    options
}

/// More than a page of payload: BPF_PROG_TEST_RUN puts what does not fit the first buffer into others, as drivers do.
fn jumbo(segment: Tcp) -> Tcp {
    segment.payload((0..8500).map(|at| at as u8).collect::<Vec<_>>())
}

pub(super) fn cases() -> Vec<Case> {
    let passed = |name, frame: Vec<u8>, verdict: &str| {
        Case::new(name, one_server()).front(&frame, verdict, Passed).counting(&[("stored", 0)])
    };
    vec![
        Case::new("IP options are looked through, and kept", one_server())
            .front(
                &client_frame(Ipv4::new(CLIENT, VIP, syn(80)).options([1, 1, 1, 0])),
                "forwarded_nat",
                Through(at_server(RS1, Ipv4::new(CLIENT, RS1, syn(8080)).options([1, 1, 1, 0]).ttl(63))),
            )
            .counting(&[("rs1.bytes_in", 48)])
            .front(
                &client_frame(Ipv4::new(CLIENT, VIP, data(80)).options(options())),
                "forwarded_nat",
                Through(at_server(RS1, Ipv4::new(CLIENT, RS1, data(8080)).options(options()).ttl(63))),
            )
            .counting(&[("stored", 0)])
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, syn_ack(8080)).options(options())),
                "forwarded_nat_reply",
                Through(at_client(Ipv4::new(VIP, CLIENT, syn_ack(80)).options(options()).ttl(63))),
            ),
        Case::new("options, a tag and UDP together", {
            World::of(Service::tcp("dns", VIP, 53).udp(), [Server::at("rs1", RS1, 5353).in_vlan(vlan(5))])
                .with_vlans(Side::Front, &[vlan(5)])
                .with_vlans(Side::Back, &[vlan(5)])
        })
        .front(
            &tagged(
                mac_of(CLIENT),
                Side::Front.mac(),
                Ipv4::new(CLIENT, VIP, Udp::new(PORT, 53, *b"q")).options(options()),
            ),
            "forwarded_nat",
            Through(tagged(
                Side::Back.mac(),
                mac_of(RS1),
                Ipv4::new(CLIENT, RS1, Udp::new(PORT, 5353, *b"q")).options(options()).ttl(63),
            )),
        ),
        Case::new("a short frame's padding is neither counted nor touched", one_server())
            .front(
                &Frame::new(mac_of(CLIENT), Side::Front.mac(), Ipv4::new(CLIENT, VIP, short(80)))
                    .padded()
                    .bytes(),
                "forwarded_nat",
                Through(
                    Frame::new(Side::Back.mac(), mac_of(RS1), Ipv4::new(CLIENT, RS1, short(8080)).ttl(63))
                        .padded()
                        .bytes(),
                ),
            )
            .counting(&[("rs1.bytes_in", 40)]),
        Case::new("a jumbo frame is one, wherever the driver puts its payload", one_server())
            .front(
                &client_frame(Ipv4::new(CLIENT, VIP, jumbo(Tcp::ack(PORT, 80, 1001, 5001)))),
                "forwarded_nat",
                Through(at_server(
                    RS1,
                    Ipv4::new(CLIENT, RS1, jumbo(Tcp::ack(PORT, 8080, 1001, 5001))).ttl(63),
                )),
            )
            .counting(&[("rs1.bytes_in", 8540), ("stored", 1)])
            .front(
                &client_frame(Ipv4::new(CLIENT, VIP, jumbo(Tcp::ack(PORT, 80, 1001, 5001)))),
                "forwarded_nat",
                Through(at_server(
                    RS1,
                    Ipv4::new(CLIENT, RS1, jumbo(Tcp::ack(PORT, 8080, 1001, 5001))).ttl(63),
                )),
            )
            .counting(&[("rs1.bytes_in", 8540), ("stored", 0)])
            .back(
                &from_server(Ipv4::new(RS1, CLIENT, jumbo(Tcp::ack(8080, PORT, 5001, 1001)))),
                "forwarded_nat_reply",
                Through(at_client(Ipv4::new(VIP, CLIENT, jumbo(Tcp::ack(80, PORT, 5001, 1001))).ttl(63))),
            ),
        Case::new("TTL 2 is enough", one_server()).front(
            &client_frame(Ipv4::new(CLIENT, VIP, syn(80)).ttl(2)),
            "forwarded_nat",
            Through(at_server(RS1, Ipv4::new(CLIENT, RS1, syn(8080)).ttl(1))),
        ),
        Case::new("the class of service is kept", one_server()).front(
            &client_frame(Ipv4 { traffic_class: 0xb9, ..Ipv4::new(CLIENT, VIP, syn(80)) }),
            "forwarded_nat",
            Through(at_server(
                RS1,
                Ipv4 { traffic_class: 0xb9, ..Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63) },
            )),
        ),
        Case::new("a later fragment to a VIP is dropped by name", one_server()).front(
            &client_frame(Ipv4::new(CLIENT, VIP, data(80)).fragment(3, false)),
            "dropped_fragment",
            Dropped,
        ),
        Case::new("a fragment to somebody else is none of ours", one_server()).front(
            &client_frame(Ipv4::new(CLIENT, DIRECTOR, data(80)).fragment(3, true)),
            "passed_not_ours",
            Passed,
        ),
        passed(
            "a protocol nobody knows is the kernel's",
            from_client(VIP, Transport::Raw { protocol: 254, bytes: vec![0; 40] }),
            "passed_not_balanced",
        ),
        passed(
            "SCTP to a VIP is the kernel's",
            from_client(VIP, Transport::Raw { protocol: 132, bytes: vec![0; 40] }),
            "passed_sctp",
        ),
        passed(
            "SCTP to somebody else is none of ours",
            from_client(DIRECTOR, Transport::Raw { protocol: 132, bytes: vec![0; 40] }),
            "passed_not_ours",
        ),
        Case::new("SCTP over IPv6, too", one_server6()).front(
            &from_client6(VIP6, Transport::Raw { protocol: 132, bytes: vec![0; 40] }),
            "passed_sctp",
            Passed,
        ),
        passed(
            "a TCP header that does not fit the packet is the kernel's to judge",
            from_client(VIP, Transport::Raw { protocol: 6, bytes: vec![0x9c, 0x40, 0, 80, 0, 0, 0, 1] }),
            "passed_malformed",
        ),
        passed(
            "a UDP header that does not fit the packet is the kernel's to judge",
            from_client(VIP, Transport::Raw { protocol: 17, bytes: vec![0x9c, 0x40, 0, 80, 0, 0, 0] }),
            "passed_malformed",
        ),
        passed(
            "a total length beyond the frame is the kernel's to judge",
            client_frame(Ipv4 { total_length: Some(200), ..Ipv4::new(CLIENT, VIP, syn(80)) }),
            "passed_malformed",
        ),
        passed(
            "a total length below the header is the kernel's to judge",
            client_frame(Ipv4 { total_length: Some(19), ..Ipv4::new(CLIENT, VIP, syn(80)) }),
            "passed_malformed",
        ),
        passed(
            "a header length below 20 is the kernel's to judge",
            client_frame(Ipv4 { header_length: Some(4), ..Ipv4::new(CLIENT, VIP, syn(80)) }),
            "passed_malformed",
        ),
        passed(
            "a version that the EtherType denies is the kernel's to judge",
            client_frame(Ipv4 { version: Some(6), ..Ipv4::new(CLIENT, VIP, syn(80)) }),
            "passed_malformed",
        ),
        passed(
            "a header length beyond the packet is the kernel's to judge",
            client_frame(Ipv4 {
                header_length: Some(15),
                total_length: Some(44),
                ..Ipv4::new(CLIENT, VIP, syn(80))
            }),
            "passed_malformed",
        ),
        passed(
            "half an IP header is the kernel's to judge",
            Frame::new(mac_of(CLIENT), Side::Front.mac(), Ipv4::new(CLIENT, VIP, syn(80)))
                .truncated(24)
                .bytes(),
            "passed_malformed",
        ),
        passed(
            "nothing after a VLAN tag's first byte is the kernel's to judge",
            Frame::new(mac_of(CLIENT), Side::Front.mac(), Ipv4::new(CLIENT, VIP, syn(80)))
                .vlan(1)
                .truncated(15)
                .bytes(),
            "passed_malformed",
        ),
        Case::new("an IP checksum that was wrong stays wrong", one_server()).front(
            &client_frame(Ipv4 { checksum: Checksum::Wrong, ..Ipv4::new(CLIENT, VIP, syn(80)) }),
            "forwarded_nat",
            Through({
                let number = |frame: &[u8]| u32::from(u16::from_be_bytes([frame[24], frame[25]]));
                let good = client_frame(Ipv4::new(CLIENT, VIP, syn(80)));
                let bad = client_frame(Ipv4 { checksum: Checksum::Wrong, ..Ipv4::new(CLIENT, VIP, syn(80)) });
                let right = at_server(RS1, Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63));
                let sum = number(&right) + number(&bad) + (0xffff - number(&good));
                let folded = ((sum & 0xffff) + (sum >> 16)) as u16;
                let checksum = Checksum::Value(folded);
                at_server(RS1, Ipv4 { checksum, ..Ipv4::new(CLIENT, RS1, syn(8080)).ttl(63) })
            }),
        ),
    ]
}

/// A segment so short that the frame is padded.
fn short(port: u16) -> Tcp {
    Tcp::ack(PORT, port, 1001, 5001)
}

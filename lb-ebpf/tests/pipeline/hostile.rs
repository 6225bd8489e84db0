//! Packets that lie about themselves: cut short at every byte, with every header length, version and total length there is.
//! The verdict of each follows from a rule, and nothing is forwarded that does not have all its headers.

use xlvs_tests::datapath::Native;
use xlvs_tests::datapath::cases::people::*;
use xlvs_tests::datapath::world::{Server, Service, Side, World};
use xlvs_tests::packet::{Extension, Icmp, Ipv4, Ipv6, Transport, Udp};

use super::seen::run;

const ETHERNET: usize = 14;

/// A kind of packet, and what becomes of it when it ends so many bytes after its IP header.
struct Kind {
    name: &'static str,
    frame: Vec<u8>,
    /// Verdicts, each from so many bytes on.
    by_length: Vec<(usize, &'static str)>,
}

impl Kind {
    fn new(name: &'static str, frame: Vec<u8>, by_length: &[(usize, &'static str)]) -> Self {
        Self { name, frame, by_length: by_length.to_vec() }
    }

    fn is_ipv4(&self) -> bool {
        self.frame[12..14] == [8, 0]
    }

    /// Bytes of the link's and the fixed IP header.
    fn headers(&self) -> usize {
        if self.is_ipv4() { ETHERNET + usize::from(self.frame[ETHERNET] & 15) * 4 } else { ETHERNET + 40 }
    }

    /// The frame cut here, as if the packet had never been longer.
    fn shortened(&self, length: usize) -> Vec<u8> {
        let mut frame = self.frame[..length].to_vec();
        let told = if self.is_ipv4() { length - ETHERNET } else { length - self.headers() };
        let at = if self.is_ipv4() { ETHERNET + 2 } else { ETHERNET + 4 };
        frame[at..at + 2].copy_from_slice(&(told as u16).to_be_bytes());
        frame
    }

    fn verdict(&self, bytes: usize) -> &'static str {
        self.by_length.iter().rev().find(|(from, _)| bytes >= *from).unwrap().1
    }
}

fn world() -> World {
    let web = |vip, rs1| (Service::tcp("web", vip, 80), Server::at("rs1", rs1, 8080));
    let (web4, rs4) = web(std::net::IpAddr::from(VIP), std::net::IpAddr::from(RS1));
    let (web6, rs6) = web(VIP6.into(), RS1_6.into());
    World::of(web4, [rs4])
        .and(web6, [Server { name: "rs1-6", ..rs6 }])
        .and(Service::tcp("dns", VIP, 53).udp(), [Server::at("ns1", RS1, 5353)])
        .and(Service::tcp("dns6", VIP6, 53).udp(), [Server::at("ns1-6", RS1_6, 5353)])
}

fn kinds() -> Vec<Kind> {
    const MALFORMED: &str = "passed_malformed";
    const FORWARDED: &str = "forwarded_nat";
    const NOT_BALANCED: &str = "passed_not_balanced";
    let query = || Udp::new(PORT, 53, *b"who is it");
    let sent = Ipv4::new(VIP, CLIENT, answer(80)).bytes();
    let sent6 = Ipv6::new(VIP6, CLIENT6, answer(80)).bytes();
    let bytes = |length: usize| Transport::Raw { protocol: 17, bytes: vec![0x11; length] };
    let first = |transport: Transport| {
        let protocol = transport.protocol();
        let bytes = Ipv4::new(CLIENT, VIP, transport).bytes()[20..].to_vec();
        Ipv4::new(CLIENT, VIP, Transport::Raw { protocol, bytes }).fragment(0, true)
    };
    vec![
        Kind::new("a SYN", from_client(VIP, syn(80)), &[(0, MALFORMED), (20, FORWARDED)]),
        Kind::new("data", from_client(VIP, data(80)), &[(0, MALFORMED), (20, FORWARDED)]),
        Kind::new("a datagram", from_client(VIP, query()), &[(0, MALFORMED), (8, FORWARDED)]),
        Kind::new(
            "data behind IP options",
            client_frame(Ipv4::new(CLIENT, VIP, data(80)).options([1; 12])),
            &[(0, MALFORMED), (20, FORWARDED)],
        ),
        Kind::new(
            "a ping",
            from_client(VIP, Icmp::ping(7, 1, b"abcdefgh")),
            &[(0, NOT_BALANCED), (8, "replied_echo")],
        ),
        Kind::new(
            "an error",
            from_client(VIP, Icmp::new(3, 3, [0; 4], sent)),
            &[(0, NOT_BALANCED), (8, "passed_icmp_unmatched"), (8 + 20 + 8, "forwarded_icmp")],
        ),
        Kind::new(
            "a first part of a datagram",
            client_frame(first(query().into())),
            &[(0, "dropped_fragment"), (8, FORWARDED)],
        ),
        Kind::new(
            "a later part of a datagram nobody knows",
            client_frame(Ipv4::new(CLIENT, VIP, bytes(24)).fragment(3, false)),
            &[(0, "dropped_fragment")],
        ),
        Kind::new("IPv6: a SYN", from_client6(VIP6, syn(80)), &[(0, MALFORMED), (20, FORWARDED)]),
        Kind::new("IPv6: data", from_client6(VIP6, data(80)), &[(0, MALFORMED), (20, FORWARDED)]),
        Kind::new("IPv6: a datagram", from_client6(VIP6, query()), &[(0, MALFORMED), (8, FORWARDED)]),
        Kind::new(
            "IPv6: data behind another header",
            client_frame(Ipv6::new(CLIENT6, VIP6, data(80)).extension(Extension::HopByHop(vec![]))),
            &[(0, MALFORMED), (8 + 20, FORWARDED)],
        ),
        Kind::new(
            "IPv6: a ping",
            from_client6(VIP6, Icmp::ping_v6(7, 1, b"abcdefgh")),
            &[(0, MALFORMED), (1, NOT_BALANCED), (8, "replied_echo")],
        ),
        Kind::new(
            "IPv6: an error",
            from_client6(VIP6, Icmp::new(1, 4, [0; 4], sent6).version_6()),
            &[
                (0, MALFORMED),
                (1, NOT_BALANCED),
                (8, "passed_icmp_unmatched"),
                (8 + 40 + 8, "forwarded_icmp"),
            ],
        ),
        Kind::new(
            "IPv6: a later part of a datagram nobody knows",
            client_frame(Ipv6::new(CLIENT6, VIP6, bytes(24)).extension(Extension::fragment(3, false))),
            &[(0, MALFORMED), (8, "dropped_fragment")],
        ),
    ]
}

/// What a packet's verdict must be, whatever was before it.
fn judged(frame: &[u8]) -> &'static str {
    let mut native = Native::with(&world()).unwrap();
    run(&mut native, Side::Front, frame).0
}

#[test]
fn what_the_wire_cut_short_is_the_kernels_to_judge() {
    for kind in kinds() {
        for length in 0..kind.frame.len() {
            assert_eq!(judged(&kind.frame[..length]), "passed_malformed", "{} of {length} bytes", kind.name);
        }
    }
}

#[test]
fn what_was_sent_too_short_has_the_verdict_of_what_it_lacks() {
    for kind in kinds() {
        for length in kind.headers()..=kind.frame.len() {
            let (bytes, frame) = (length - kind.headers(), kind.shortened(length));
            assert_eq!(judged(&frame), kind.verdict(bytes), "{} with {bytes} bytes of payload", kind.name);
        }
    }
}

#[test]
fn a_tag_that_is_cut_is_no_tag() {
    let mut frame = from_client(VIP, syn(80));
    // Of a priority alone, so that it is nobody's VLAN.
    frame.splice(12..12, [0x81, 0, 0xa0, 0]);
    assert_eq!(judged(&frame), "forwarded_nat");
    for length in 0..frame.len() {
        assert_eq!(judged(&frame[..length]), "passed_malformed", "{length} bytes");
    }
}

#[test]
fn every_version_and_header_length() {
    for first in 0..=255_u8 {
        let mut frame = from_client(VIP, data(80));
        frame[ETHERNET] = first;
        let header = usize::from(first & 15) * 4;
        // Behind the longer ones there are no ports of ours, and in the end none at all.
        let has_transport = ETHERNET + header + 20 <= frame.len();
        let expected = match (first >> 4, header) {
            (4, 20) => "forwarded_nat",
            (4, 24..) if has_transport => "passed_no_service",
            _ => "passed_malformed",
        };
        assert_eq!(judged(&frame), expected, "first byte {first:#04x}");
        let mut frame = from_client6(VIP6, data(80));
        frame[ETHERNET] = first;
        let expected = if first >> 4 == 6 { "forwarded_nat" } else { "passed_malformed" };
        assert_eq!(judged(&frame), expected, "IPv6, first byte {first:#04x}");
    }
}

#[test]
fn every_total_length() {
    for (frame, at, least) in [(from_client(VIP, data(80)), 2, 40), (from_client6(VIP6, data(80)), 4, 20)] {
        let real = u16::from_be_bytes([frame[ETHERNET + at], frame[ETHERNET + at + 1]]);
        for length in 0..=u16::MAX {
            let mut frame = frame.clone();
            frame[ETHERNET + at..ETHERNET + at + 2].copy_from_slice(&length.to_be_bytes());
            let expected =
                if (least..=real).contains(&length) { "forwarded_nat" } else { "passed_malformed" };
            if length <= real + 2 || length % 509 == 0 || length > u16::MAX - 60 {
                assert_eq!(judged(&frame), expected, "length {length}");
            }
        }
    }
}

//! Frames of the packet builder before a judge who has not read it: the kernel answers what is right, and nothing else.

use std::net::{SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike as _};
use xlvs_tests::namespace::Namespace;
use xlvs_tests::packet::{Checksum, Extension, Frame, Icmp, Ipv6, Tcp, TcpFlags, Transport, Udp};
use xlvs_tests::packet_socket::PacketSocket;
use xlvs_tests::topology::{DIRECTOR_OUTSIDE6, Delivery, Layout, Plan, Topology, client_address6};
use xlvs_tests::traffic::{EchoServer, Greeting, UdpEchoServer};

const PORT: u16 = 80;
const ISN: u32 = 0x1234_5678;

fn topology() -> Topology {
    // No stubs: here the director is a machine like any other.
    Topology::build(&Plan { ready_for_xdp: false, ..Plan::new(Layout::OneArm, Delivery::Nat, 0) }).unwrap()
}

fn here() -> SocketAddr {
    SocketAddrV6::new(DIRECTOR_OUTSIDE6, PORT, 0, 0).into()
}

/// From the client to the director.
fn packet(transport: impl Into<Transport>) -> Ipv6 {
    Ipv6::new(client_address6(0), DIRECTOR_OUTSIDE6, transport)
}

fn send(topology: &Topology, packet: Ipv6) {
    let mac = topology.director_mac("eth0").unwrap();
    let frame = Frame::new([2, 0x77, 0, 0, 1, 10], mac, packet).bytes();
    let sent = topology.client().enter(|| PacketSocket::open("eth0").unwrap().send(&[frame])).unwrap();
    assert_eq!(sent.unwrap(), 1);
}

/// Every kind of header that a kernel looks through, alone and together.
fn chains() -> Vec<Vec<Extension>> {
    let hop_by_hop = || Extension::HopByHop(vec![]);
    let options = || Extension::DestinationOptions(vec![30, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let routing = || Extension::Routing { segments_left: 0, addresses: vec![client_address6(7)] };
    vec![
        vec![],
        vec![hop_by_hop()],
        vec![options()],
        vec![routing()],
        vec![Extension::atomic_fragment()],
        vec![hop_by_hop(), options(), routing(), Extension::atomic_fragment(), options()],
    ]
}

fn behind(packet: Ipv6, chain: &[Extension]) -> Ipv6 {
    chain.iter().cloned().fold(packet, Ipv6::extension)
}

/// The flags and the acknowledgement of the first segment that comes to `port` of the client within `limit`, while
/// `work` is done.
fn answer(client: &Namespace, port: u16, limit: Duration, work: impl Fn()) -> Option<(TcpFlags, u32)> {
    let listening = || {
        let protocol = SockProtocol::Tcp;
        socket(AddressFamily::Inet6, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap()
    };
    let segments = client.enter(listening).unwrap();
    setsockopt(&segments, ReceiveTimeout, &TimeVal::milliseconds(100)).unwrap();
    work();
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        let mut segment = [0; 128];
        match recv(segments.as_raw_fd(), &mut segment, MsgFlags::empty()) {
            Ok(20..) if segment[2..4] == port.to_be_bytes() => {
                let acknowledged = [segment[8], segment[9], segment[10], segment[11]];
                return Some((TcpFlags(segment[13]), u32::from_be_bytes(acknowledged)));
            }
            _ => {}
        }
    }
    None
}

#[test]
fn a_syn_over_ipv6_is_answered_by_a_real_listener_behind_any_chain_of_headers() {
    let topology = topology();
    let _server = EchoServer::start(topology.director(), "dir", here(), Greeting::OnRequest).unwrap();
    for (port, chain) in (41_000..).zip(chains()) {
        let syn = || send(&topology, behind(packet(Tcp::syn(port, PORT, ISN)), &chain));
        let answered = answer(topology.client(), port, Duration::from_secs(3), syn);
        assert_eq!(answered, Some((TcpFlags::SYN | TcpFlags::ACK, ISN + 1)), "{chain:?}");
    }
    assert_eq!(topology.director().counter("Tcp", "InCsumErrors").unwrap(), 0);
    // The counter-example: the kernel is one that looks.
    let wrong = packet(Tcp::syn(42_000, PORT, ISN).checksum(Checksum::Wrong));
    let answered =
        answer(topology.client(), 42_000, Duration::from_millis(500), || send(&topology, wrong.clone()));
    assert_eq!(answered, None);
    assert_eq!(topology.director().counter("Tcp", "InCsumErrors").unwrap(), 1);
}

#[test]
fn a_datagram_over_ipv6_is_answered_behind_any_chain_of_headers_and_in_pieces() {
    let topology = topology();
    let _server = UdpEchoServer::start(topology.director(), "dir", here()).unwrap();
    let own = SocketAddrV6::new(client_address6(0), 43_000, 0, 0);
    let socket = topology.client().enter(|| UdpSocket::bind(own).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let answered = |payload: &[u8], what: &str| {
        let mut answer = [0; 512];
        let (length, from) = socket.recv_from(&mut answer).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(from, here(), "{what}");
        assert_eq!(&answer[..length], [b"\x03dir", payload].concat(), "{what}");
    };
    for chain in chains() {
        send(&topology, behind(packet(Udp::new(own.port(), PORT, *b"odd")), &chain));
        answered(b"odd", &format!("{chain:?}"));
    }
    let payload = [7; 100];
    let whole = packet(Udp::new(own.port(), PORT, payload)).bytes()[40..].to_vec();
    for (offset, piece) in [(0, &whole[..48]), (6, &whole[48..96]), (12, &whole[96..])] {
        let piece = packet(Transport::Raw { protocol: 17, bytes: piece.to_vec() });
        send(&topology, piece.extension(Extension::fragment(offset, offset < 12)));
    }
    answered(&payload, "in pieces");
    assert_eq!(topology.director().counter("Udp6", "InCsumErrors").unwrap(), 0);
    assert_eq!(topology.director().counter("Ip6", "InHdrErrors").unwrap(), 0);
}

#[test]
fn pings_and_solicitations_over_ipv6_are_understood() {
    let topology = topology();
    let director = topology.director();
    let seen = |name| director.counter("Icmp6", name).unwrap();
    let before = (seen("OutEchoReplies"), seen("OutNeighborAdvertisements"));
    send(&topology, packet(Icmp::ping_v6(1, 2, *b"abc")));
    let solicitation = Icmp::solicitation(DIRECTOR_OUTSIDE6, [2, 0x77, 0, 0, 1, 10]);
    send(&topology, packet(solicitation).hop_limit(255));
    let deadline = Instant::now() + Duration::from_secs(3);
    while (seen("OutEchoReplies"), seen("OutNeighborAdvertisements")) != (before.0 + 1, before.1 + 1) {
        assert!(Instant::now() < deadline, "no answer");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(seen("InCsumErrors"), 0);
}

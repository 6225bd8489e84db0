//! ICMP among real kernels: a narrow link is discovered, a client learns that nobody listens, a VIP answers pings.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recv, sendto, setsockopt,
    socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use xlvs_tests::family::Family;
use xlvs_tests::namespace::{Group, Namespace};
use xlvs_tests::packet::{Icmp, Ipv4, Ipv6};
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout, client_address, client_address6, vip};
use xlvs_tests::traffic::{Download, UdpEchoServer};

use crate::dead_server::{HEALTH, wait_for};
use crate::run::Run;
use crate::site::Site;

fn site(family: Family, layout: Layout, delivery: Delivery) -> Site {
    Site { family, ..Site::build(layout, delivery, 1) }
}

/// A machine behind the client, which is its router by a link of 1400 bytes; it believes its own end to have 1500, so that
/// nobody's MSS tells.
fn behind_a_narrow_link(client: &Namespace) -> Namespace {
    let far = Namespace::create(Group::next(), "far").unwrap();
    far.speak_ipv6().unwrap();
    client
        .sysctl(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/send_redirects", "0"),
        ])
        .unwrap();
    client
        .ip(&format!(
            "link add far0 mtu 1400 type veth peer name eth0 mtu 1500 netns {}\n\
             link set far0 up\n\
             addr add 10.78.0.1/24 dev far0\n\
             addr add fd78::1/64 dev far0 nodad",
            far.name()
        ))
        .unwrap();
    far.ip("link set eth0 up\n\
         addr add 10.78.0.2/24 dev eth0\n\
         addr add fd78::2/64 dev eth0 nodad\n\
         route add default via 10.78.0.1\n\
         route add default via fd78::1")
        .unwrap();
    far
}

/// Without the router's word the server would send segments of 1500 bytes for ever.
fn a_narrow_link_is_discovered(site: &Site) {
    let far = behind_a_narrow_link(site.client());
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0]));
    let run = Run::start(site);
    let download = Download::start(&far, site.target(), 2_000_000, 0).unwrap();
    println!("{}", download.finish(Duration::from_secs(20)).unwrap());
    let told = run.verdict("forwarded_icmp");
    println!("{told} errors reached the server");
    assert!((1..100).contains(&told), "{told}");
    let server = &site.servers()[0].namespace;
    let heard = match site.family {
        Family::V4 => server.counter("Icmp", "InDestUnreachs"),
        Family::V6 => server.counter("Icmp6", "InPktTooBigs"),
    };
    assert_eq!(heard.unwrap(), told, "the server's kernel believes each");
    for (protocol, name) in [("Icmp", "InCsumErrors"), ("Icmp6", "InCsumErrors")] {
        assert_eq!(server.counter(protocol, name).unwrap(), 0, "{protocol}");
    }
    assert_eq!(run.verdict("passed_icmp_unmatched"), 0);
}

#[test]
fn a_narrow_link_is_discovered_through_nat() {
    for family in Family::BOTH {
        a_narrow_link_is_discovered(&site(family, Layout::TwoArm, Delivery::Nat));
    }
}

#[test]
fn a_narrow_link_is_discovered_through_full_nat() {
    for family in Family::BOTH {
        a_narrow_link_is_discovered(&site(family, Layout::TwoArm, Delivery::FullNat));
    }
}

#[test]
fn a_narrow_link_is_discovered_by_direct_routing() {
    // In two-arm, answers go past the director by the other router, which knows no way to a machine behind the client; on
    // one wire the server's default route leads there.
    for family in Family::BOTH {
        a_narrow_link_is_discovered(&site(family, Layout::OneArm, Delivery::DirectRouting));
    }
}

#[test]
fn a_client_learns_that_a_datagram_server_has_ended() {
    let each = |family| [Delivery::Nat, Delivery::FullNat].map(|delivery| (family, delivery));
    for (family, delivery) in Family::BOTH.into_iter().flat_map(each) {
        let site = site(family, Layout::TwoArm, delivery);
        let server = &site.servers()[0];
        let echo = UdpEchoServer::start(&server.namespace, &server.name, site.listen(0)).unwrap();
        site.configure(ServiceText { protocol: "udp".to_owned(), ..site.web_of(&[0]) });
        let run = Run::start(&site);
        let target = site.target();
        let socket = site
            .client()
            .enter(|| {
                let socket = UdpSocket::bind(SocketAddr::new(family.unspecified(), 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
                socket.connect(target).unwrap();
                socket
            })
            .unwrap();
        let asked = || {
            socket.send(b"are you there?").unwrap();
            socket.recv(&mut [0; 100]).map_err(|error| error.kind())
        };
        assert!(asked().is_ok());
        drop(echo);
        // Datagrams and errors about them may be lost on the way, and a kernel sends no more errors than it likes.
        let refused = (0..3).any(|_| asked() == Err(ErrorKind::ConnectionRefused));
        assert!(refused, "{family:?}, {delivery:?}: {}", run.status()["verdicts"]);
        assert!(run.verdict("forwarded_icmp_reply") >= 1, "{family:?}");
    }
}

/// Whether the VIP answers a ping of this many bytes.
fn ping(site: &Site, sequence: u16, length: usize) -> bool {
    let body = vec![0xa5; length];
    // The kernel adds the IP header, and over IPv6 the same checksum.
    let (request, family, protocol, reply, to): (_, _, _, _, SockaddrStorage) = match vip(site.family) {
        IpAddr::V4(vip) => {
            let bytes = Ipv4::new(client_address(0), vip, Icmp::ping(7, sequence, body)).bytes();
            let to = SocketAddrV4::new(vip, 0).into();
            (bytes[20..].to_vec(), AddressFamily::Inet, SockProtocol::Icmp, 0, to)
        }
        IpAddr::V6(vip) => {
            let bytes = Ipv6::new(client_address6(0), vip, Icmp::ping_v6(7, sequence, body)).bytes();
            let to = SocketAddrV6::new(vip, 0, 0, 0).into();
            (bytes[40..].to_vec(), AddressFamily::Inet6, SockProtocol::IcmpV6, 129, to)
        }
    };
    let raw =
        site.client().enter(|| socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)).unwrap();
    let raw = raw.unwrap();
    setsockopt(&raw, ReceiveTimeout, &TimeVal::milliseconds(100)).unwrap();
    sendto(raw.as_raw_fd(), &request, &to, MsgFlags::empty()).unwrap();
    let wanted = [&[reply, 0][..], &request[4..]].concat();
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        let mut bytes = [0; 2000];
        let Ok(received) = recv(raw.as_raw_fd(), &mut bytes, MsgFlags::empty()) else { continue };
        // Only IPv4 shows its header.
        let message = &bytes[if site.family == Family::V4 { 20 } else { 0 }..received];
        if message.len() > 4 && [&message[..2], &message[4..]].concat() == wanted {
            return true;
        }
    }
    false
}

#[test]
fn a_vip_answers_pings_while_a_server_is_up() {
    for family in Family::BOTH {
        let site = site(family, Layout::TwoArm, Delivery::Nat);
        let servers = site.serve_all();
        site.configure(site.web_of(&[0]).health(HEALTH));
        let run = Run::start(&site);
        wait_for(&run, "rs1", "up");
        for (sequence, length) in (1..).zip([0, 1, 56, 1400]) {
            assert!(ping(&site, sequence, length), "{family:?}, {length} bytes");
        }
        assert_eq!(run.verdict("replied_echo"), 4, "{family:?}");
        drop(servers);
        wait_for(&run, "rs1", "down");
        let passed = run.verdict("passed_not_balanced");
        // Here the director's kernel has the VIP and answers; elsewhere the VIP goes with the service.
        assert!(ping(&site, 9, 56), "{family:?}");
        assert_eq!(run.verdict("replied_echo"), 4, "{family:?}");
        assert!(run.verdict("passed_not_balanced") > passed, "{family:?}");
    }
}

//! What clients' kernels make of the director's own messages: a last hop, a service of datagrams without a server.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use xlvs_tests::family::Family;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout};

use crate::run::Run;
use crate::site::Site;

/// Long enough for a busy machine.
const AT_ONCE: Duration = Duration::from_millis(700);
/// TCP gives up after two minutes. Its first SYN goes out while the call that opens the connection holds the socket, and on a
/// veth the answer is there before it lets go, so the kernel drops that (LockDroppedIcmps); the next SYN follows in a second.
const SOON: Duration = Duration::from_secs(10);

fn sites() -> impl Iterator<Item = Site> {
    let modes = [(Layout::TwoArm, Delivery::Nat), (Layout::OneArm, Delivery::DirectRouting)];
    Family::BOTH.into_iter().flat_map(move |family| {
        modes.map(|(layout, delivery)| Site { family, ..Site::build(layout, delivery, 1) })
    })
}

/// No message that the client's kernel found wrong.
fn assert_sound(site: &Site) {
    for protocol in ["Icmp", "Icmp6"] {
        for counter in ["InErrors", "InCsumErrors"] {
            assert_eq!(site.client().counter(protocol, counter).unwrap(), 0, "{protocol} {counter}");
        }
    }
}

#[test]
fn who_has_no_hop_left_is_told() {
    for site in sites() {
        let _servers = site.serve_all();
        site.configure(site.web_of(&[0]));
        let run = Run::start(&site);
        let connect = || site.client().enter(|| TcpStream::connect_timeout(&site.target(), SOON)).unwrap();
        assert!(connect().is_ok());
        let hops = [("net/ipv4/ip_default_ttl", "1"), ("net/ipv6/conf/eth0/hop_limit", "1")];
        site.client().sysctl(&hops).unwrap();
        let error = connect().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnreachable, "{error}");
        assert!(run.verdict("replied_time_exceeded") > 0);
        assert_sound(&site);
    }
}

#[test]
fn who_sends_datagrams_to_a_service_without_a_server_is_told_if_so_configured() {
    for site in sites() {
        let dns = ServiceText { protocol: "udp".to_owned(), ..site.web(&[(0, 0)]) };
        site.configure(&dns);
        let run = Run::start(&site);
        let target = site.target();
        let socket = site.client().enter(|| UdpSocket::bind(SocketAddr::new(site.family.unspecified(), 0)));
        let socket = socket.unwrap().unwrap();
        socket.set_read_timeout(Some(AT_ONCE)).unwrap();
        socket.connect(target).unwrap();
        let asked = || {
            let began = Instant::now();
            socket.send(b"are you there?").unwrap();
            (socket.recv(&mut [0; 100]).unwrap_err().kind(), began.elapsed() < AT_ONCE)
        };
        assert_eq!(asked(), (ErrorKind::ConnectionRefused, true));
        assert_eq!(run.verdict("replied_unreachable"), 1);
        site.reload(dns.lines("on_no_server = \"drop\""));
        assert_eq!(asked(), (ErrorKind::WouldBlock, false), "the control: nobody is told");
        assert_eq!(run.verdict("replied_unreachable"), 1);
        assert_sound(&site);
    }
}

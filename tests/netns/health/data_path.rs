//! Checks that travel the data path: a server that lacks the VIP, or the tunnel, is found out.

use std::any::Any;
use std::net::SocketAddr;
use std::time::Duration;

use xlvs_tests::decapsulator::{Decapsulator, Wrapping};
use xlvs_tests::family::Family;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{self, Delivery, Layout, vip};
use xlvs_tests::traffic::{EchoServer, Greeting, HandshakePlan, UdpEchoServer, handshakes, udp_flows};

use super::peers::Dnsmasq;
use super::{QUICK, wait_for};
use crate::run::Run;
use crate::site::Site;

/// What is served, and how a check asks for it.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tcp,
    Udp,
}

impl Kind {
    fn serve(self, server: &topology::Server, listen: SocketAddr) -> Box<dyn Any> {
        let topology::Server { namespace, name, .. } = server;
        match self {
            Self::Tcp => Box::new(EchoServer::start(namespace, name, listen, Greeting::OnRequest).unwrap()),
            Self::Udp => Box::new(UdpEchoServer::start(namespace, name, listen).unwrap()),
        }
    }

    fn check(self) -> String {
        let asked = match self {
            Self::Tcp => "kind = \"tcp\"\n",
            Self::Udp => "kind = \"udp\"\nsend = \"ping\"\nreceive = \"ping\"\n",
        };
        format!("{QUICK}{asked}")
    }

    fn protocol(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Tcp => "SYN to ",
            Self::Udp => "UDP to ",
        }
    }

    /// How many of 60 clients are served, and by how many servers.
    fn served(self, site: &Site) -> (usize, usize) {
        let limit = Duration::from_millis(200);
        match self {
            Self::Tcp => {
                let plan = HandshakePlan { limit, ..HandshakePlan::new(site.target(), 60) };
                let report = handshakes(site.client(), &plan).unwrap();
                println!("{report}");
                (report.opened(), report.by_server.len())
            }
            Self::Udp => {
                let report = udp_flows(site.client(), site.target(), 60, 1, 100, limit).unwrap();
                println!("{report}");
                (report.answered, report.by_server.len())
            }
        }
    }
}

/// Two servers of which the second, once `broken`, does not take what is sent to the VIP, though it answers at its own address.
/// It is found out, and found well again once `mended`.
fn found_out(
    (site, kind): (&Site, Kind),
    own: Family,
    service: &ServiceText,
    lacks: &str,
    broken: impl FnOnce(),
    mended: impl FnOnce(),
) {
    let port = site.target().port();
    let _at_the_vip: Vec<_> = site.servers().iter().map(|server| kind.serve(server, site.target())).collect();
    let at_its_own =
        |server: &topology::Server| kind.serve(server, SocketAddr::new(server.address_in(own), port));
    let _at_their_own: Vec<_> = site.servers().iter().map(at_its_own).collect();
    broken();
    site.configure(service.clone().health(&kind.check()));
    let run = Run::start(site);
    let bad = wait_for(&run, "rs2", |server| server["health"] == "down");
    assert!(bad["reason"].as_str().unwrap().contains(lacks), "{bad}");
    let good = wait_for(&run, "rs1", |server| server["health"] == "up");
    assert!(good["reason"].as_str().unwrap().starts_with(kind.word()), "{good}");
    assert!(good["reason"].as_str().unwrap().contains(&site.target().to_string()), "{good}");
    assert_eq!(kind.served(site), (60, 1));

    // The control: asked at its own address it seems well, and swallows its share.
    site.reload(service.clone().health(&format!("{}via = \"address\"", kind.check())));
    wait_for(&run, "rs2", |server| server["health"] == "up");
    if kind == Kind::Tcp {
        let swallowed = 60 - kind.served(site).0;
        assert!((10..=50).contains(&swallowed), "{swallowed} of 60");
    }

    site.reload(service.clone().health(&kind.check()));
    wait_for(&run, "rs2", |server| server["health"] == "down");
    mended();
    wait_for(&run, "rs2", |server| server["health"] == "up");
    // Datagrams go by the table that follows ten seconds later.
    if kind == Kind::Tcp {
        assert_eq!(kind.served(site), (60, 2));
    }
}

#[test]
fn a_server_without_the_vip_is_found_out_by_direct_routing() {
    for (kind, family) in
        [(Kind::Tcp, Family::V4), (Kind::Tcp, Family::V6), (Kind::Udp, Family::V4), (Kind::Udp, Family::V6)]
    {
        let site = Site { family, ..Site::direct(2) };
        let second = &site.servers()[1].namespace;
        let vip = vip(family);
        let length = if vip.is_ipv4() { 32 } else { 128 };
        let state = if vip.is_ipv4() { "" } else { " nodad preferred_lft 0" };
        let on_loopback = |verb: &str, state: &str| {
            second.ip_of(family, &format!("address {verb} {vip}/{length} dev lo{state}")).unwrap();
        };
        let lacks = "lacks the VIP on its loopback device";
        let (broken, mended) = (|| on_loopback("del", ""), || on_loopback("add", state));
        let service = ServiceText { protocol: kind.protocol().to_owned(), ..site.web_of(&[0, 1]) };
        found_out((&site, kind), family, &service, lacks, broken, mended);
    }
}

#[test]
fn a_udp_server_that_answers_from_its_own_address_is_found_out() {
    let site = Site::direct(1);
    let port = site.target().port();
    let everywhere = SocketAddr::new(Family::V4.unspecified(), port);
    let _server = Kind::Udp.serve(&site.servers()[0], everywhere);
    let service = ServiceText { protocol: "udp".to_owned(), ..site.web_of(&[0]) };
    site.configure(service.health(&Kind::Udp.check()));
    let run = Run::start(&site);
    let found = wait_for(&run, "rs1", |server| server["health"] == "down");
    assert!(found["reason"].as_str().unwrap().ends_with("or answers from another address"), "{found}");
    assert_eq!(Kind::Udp.served(&site), (0, 0), "no client takes such answers either");
}

#[test]
fn a_dns_server_is_asked_through_the_vip() {
    let site = Site::direct(1);
    let _dnsmasq = Dnsmasq::start(&site.servers()[0].namespace);
    let dns = |name: &str| {
        let service = ServiceText { protocol: "udp".to_owned(), ports: "53".to_owned(), ..site.web_of(&[0]) };
        service.health(&format!("{QUICK}kind = \"dns\"\nquery = \"{name}\"\n"))
    };
    site.configure(dns("up.example"));
    let run = Run::start(&site);
    let reason = format!("DNS A up.example at {}:53 by direct routing: 1 records", vip(Family::V4));
    wait_for(&run, "rs1", |server| server["health"] == "up" && server["reason"] == *reason);
    site.reload(dns("down.example"));
    let found = wait_for(&run, "rs1", |server| server["health"] == "down");
    assert!(found["reason"].as_str().unwrap().ends_with("answered with NXDOMAIN"), "{found}");
}

#[test]
fn a_server_without_the_tunnel_is_found_out() {
    for (gue, kind) in [(false, Kind::Tcp), (true, Kind::Udp)] {
        for (outer, inner) in [(Family::V4, Family::V4), (Family::V6, Family::V4), (Family::V4, Family::V6)] {
            let wrapping = Wrapping { outer, inner, gue };
            println!("{wrapping:?}");
            let built = Site::build(Layout::TwoArm, Delivery::DirectRouting, 2);
            let site = Site { family: inner, ..built };
            let far_end =
                |index: usize| Decapsulator::start(&site.servers()[index].namespace, wrapping).unwrap();
            let _first = far_end(0);
            let mut second = None;
            let mut web = site.web_of(&[0, 1]);
            "tunnel".clone_into(&mut web.mode);
            kind.protocol().clone_into(&mut web.protocol);
            for server in &mut web.servers {
                server.addresses.retain(|address| Family::of(*address) == outer);
            }
            let tunnel = if gue { "gue" } else { "ipip" };
            let web = web.lines(&format!("tunnel = {{ kind = \"{tunnel}\" }}\n"));
            found_out((&site, kind), outer, &web, "lacks the tunnel", || (), || second = Some(far_end(1)));
        }
    }
}

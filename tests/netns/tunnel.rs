//! Tunnels under real TCP: every pair of families, by IP in IP and by GUE, and a path whose MTU the tunnel makes smaller.
//!
//! Real servers unwrap by their kernel's devices, which not every kernel has: those tests are `cargo xtask kernels`'.

use std::time::Duration;

use xlvs_tests::decapsulator::{Decapsulator, Wrapping};
use xlvs_tests::family::Family;
use xlvs_tests::kernel_tunnel::KernelTunnel;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::stub::{Instruction, attach_program};
use xlvs_tests::topology::{Delivery, Layout, Server};
use xlvs_tests::traffic::{Activity, Swarm, SwarmPlan, UdpEchoServer, udp_flows};

use crate::run::Run;
use crate::site::Site;
use crate::smoke;

/// Servers that unwrap and answer by their own way.
fn site(wrapping: Wrapping, layout: Layout) -> (Site, Vec<Decapsulator>) {
    let built = Site::build(layout, Delivery::DirectRouting, 2);
    let start = |server: &Server| Decapsulator::start(&server.namespace, wrapping).unwrap();
    let far_ends = built.servers().iter().map(start).collect();
    (Site { family: wrapping.inner, ..built }, far_ends)
}

/// The service `web`, its servers by their addresses of the outer family alone.
fn web(site: &Site, wrapping: Wrapping) -> ServiceText {
    let mut web = site.web_of(&[0, 1]);
    "tunnel".clone_into(&mut web.mode);
    for server in &mut web.servers {
        server.addresses.retain(|address| Family::of(*address) == wrapping.outer);
    }
    let kind = if wrapping.gue { "gue" } else { "ipip" };
    web.lines(&format!("tunnel = {{ kind = \"{kind}\" }}\n"))
}

/// Requests of several segments, each as large as the client believes to be possible: they arrive only after it has been
/// told what the tunnel takes.
fn tcp(wrapping: Wrapping, layout: Layout) {
    let (site, far_ends) = site(wrapping, layout);
    tcp_at(&site, wrapping);
    assert!(far_ends.iter().all(|end| end.unwrapped() > 50));
}

/// The same, unwrapped by the servers' kernels.
fn tcp_to_kernels(gue: bool, outer: Family, inner: Family) {
    let wrapping = Wrapping { outer, inner, gue };
    let site = Site { family: inner, ..Site::build(Layout::TwoArm, Delivery::DirectRouting, 2) };
    let mut devices = Vec::new();
    for server in site.servers() {
        let address = server.address_in(outer);
        devices.push(KernelTunnel::open(&server.namespace, address, wrapping).unwrap());
    }
    tcp_at(&site, wrapping);
    assert!(devices.iter().all(|device| device.unwrapped().unwrap() > 50));
}

fn tcp_at(site: &Site, wrapping: Wrapping) {
    println!("{wrapping:?}");
    smoke::tcp_as(site, web(site, wrapping), &["forwarded_tunnel"]);
    let client = site.client();
    let told = match wrapping.inner {
        Family::V4 => client.counter("Icmp", "InDestUnreachs"),
        Family::V6 => client.counter("Icmp6", "InPktTooBigs"),
    };
    assert!(told.unwrap() > 0, "the client's kernel has believed what it was told");
    for protocol in ["Icmp", "Icmp6"] {
        assert_eq!(client.counter(protocol, "InCsumErrors").unwrap(), 0, "{protocol}");
    }
}

fn each(gue: bool, inner: Family) {
    for outer in Family::BOTH {
        tcp(Wrapping { outer, inner, gue }, Layout::TwoArm);
    }
}

#[test]
fn tcp_over_ipv4_by_ip_in_ip() {
    each(false, Family::V4);
}

#[test]
fn tcp_over_ipv6_by_ip_in_ip() {
    each(false, Family::V6);
}

#[test]
fn tcp_over_ipv4_by_gue() {
    each(true, Family::V4);
}

#[test]
fn tcp_over_ipv6_by_gue() {
    each(true, Family::V6);
}

#[test]
fn tcp_through_one_interface_by_ip_in_ip() {
    for family in Family::BOTH {
        tcp(Wrapping { outer: family, inner: family, gue: false }, Layout::OneArm);
    }
}

#[test]
#[ignore = "needs tunnel devices"]
fn tcp_by_ip_in_ip_to_the_kernels_of_the_servers() {
    for outer in Family::BOTH {
        for inner in Family::BOTH {
            tcp_to_kernels(false, outer, inner);
        }
    }
}

#[test]
#[ignore = "needs tunnel devices"]
fn tcp_by_gue_to_the_kernels_of_the_servers() {
    for outer in Family::BOTH {
        for inner in Family::BOTH {
            tcp_to_kernels(true, outer, inner);
        }
    }
}

/// Drops "destination unreachable" of IPv4 without options, and passes everything else.
static DEAF: [Instruction; 13] = [
    Instruction(0x61, 0x12, 0, 0),  // r2 = data
    Instruction(0x61, 0x13, 4, 0),  // r3 = data_end
    Instruction(0xbf, 0x24, 0, 0),  // r4 = r2
    Instruction(0x07, 0x04, 0, 35), // r4 += Ethernet + IPv4 + a byte
    Instruction(0x2d, 0x34, 6, 0),  // too short: pass
    Instruction(0x71, 0x25, 23, 0), // r5 = protocol
    Instruction(0x55, 0x05, 4, 1),  // not ICMP: pass
    Instruction(0x71, 0x25, 34, 0), // r5 = type
    Instruction(0x55, 0x05, 2, 3),  // not "unreachable": pass
    Instruction(0xb7, 0, 0, 1),     // r0 = XDP_DROP
    Instruction(0x95, 0, 0, 0),
    Instruction(0xb7, 0, 0, 2), // r0 = XDP_PASS
    Instruction(0x95, 0, 0, 0),
];

/// The control: a client that does not hear what the director says sends its large segments for ever, in vain.
#[test]
fn a_client_that_is_not_told_stalls() {
    let wrapping = Wrapping { outer: Family::V4, inner: Family::V4, gue: false };
    let (site, _far_ends) = site(wrapping, Layout::TwoArm);
    let _servers = site.serve_all();
    site.configure(web(&site, wrapping));
    let run = Run::start(&site);
    // It neither probes for black holes nor takes in what it is told.
    site.client().sysctl(&[("net/ipv4/ip_no_pmtu_disc", "0"), ("net/ipv4/tcp_mtu_probing", "0")]).unwrap();
    let _deaf = attach_program(site.client(), "eth0", &DEAF).unwrap();
    let every = Activity::Echo { every: Duration::from_millis(50) };
    let small = SwarmPlan { payload: 400, ..SwarmPlan::new(site.target(), 4, every) };
    let small = Swarm::open(site.client(), &small).unwrap();
    let large = SwarmPlan { payload: 4000, ..SwarmPlan::new(site.target(), 4, every) };
    let large = Swarm::open(site.client(), &large).unwrap();
    let (small, large) = (small.verify_all(Duration::from_secs(4)), large.verify_all(Duration::from_secs(4)));
    println!("small: {small}\nlarge: {large}");
    assert!(small.all_alive(), "what fits goes through");
    assert!(!large.all_alive(), "what does not fit does not");
    assert!(run.verdict("replied_too_big") > 0);
}

/// Each datagram is answered, by the server of its flow.
#[test]
fn udp_by_ip_in_ip_and_gue() {
    for gue in [false, true] {
        let wrapping = Wrapping { outer: Family::V4, inner: Family::V4, gue };
        let (site, _far_ends) = site(wrapping, Layout::TwoArm);
        let start = |index: usize| {
            let server = &site.servers()[index];
            UdpEchoServer::start(&server.namespace, &server.name, site.listen(index)).unwrap()
        };
        let _servers = [start(0), start(1)];
        site.configure(ServiceText { protocol: "udp".to_owned(), ..web(&site, wrapping) });
        let run = Run::start(&site);
        let report = udp_flows(site.client(), site.target(), 50, 4, 700, Duration::from_secs(1)).unwrap();
        println!("{report}");
        assert_eq!((report.answered, report.misrouted, report.garbled), (200, 0, 0));
        assert_eq!(report.by_server.len(), 2, "both servers are used");
        assert_eq!(run.verdict("forwarded_tunnel"), 200);
    }
}

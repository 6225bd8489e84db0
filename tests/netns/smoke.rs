//! One short test for each way a packet can take: the ones that also run on the oldest supported kernel.

use std::time::Duration;

use xlvs_tests::family::Family;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout};
use xlvs_tests::traffic::{Activity, Download, Swarm, SwarmPlan, UdpEchoServer, udp_flows};

use crate::run::Run;
use crate::site::Site;

/// Echoes of several segments on some connections, and a download: bytes are compared, checksums verified at both ends.
pub fn tcp(site: &Site, verdicts: &[&str]) {
    tcp_as(site, site.web_of(&[0, 1]), verdicts);
}

/// The same with a service of one's own.
pub fn tcp_as(site: &Site, web: ServiceText, verdicts: &[&str]) {
    let _servers = site.serve_all();
    site.configure(web);
    let run = Run::start(site);
    let every = Activity::Echo { every: Duration::from_millis(50) };
    let plan = SwarmPlan { payload: 4000, ..SwarmPlan::new(site.target(), 40, every) };
    let swarm = Swarm::open(site.client(), &plan).unwrap();
    let download = Download::start(site.client(), site.target(), 5_000_000, 0).unwrap();
    println!("{}", download.finish(Duration::from_secs(20)).unwrap());
    let report = swarm.verify_all(Duration::from_secs(5));
    println!("{report}, {:?}", report.by_server());
    assert!(report.all_alive());
    assert_eq!(report.by_server().len(), 2, "both servers are used");
    swarm.close();
    for machine in [site.client()].into_iter().chain(site.servers().iter().map(|server| &server.namespace)) {
        assert_eq!(machine.counter("Tcp", "InCsumErrors").unwrap(), 0, "{}", machine.name());
    }
    let status = run.status();
    println!("{}\nlosses {}", status["verdicts"], status["losses"]);
    for verdict in verdicts {
        assert!(run.verdict(verdict) > 300, "{verdict} in {}", status["verdicts"]);
    }
    assert_eq!(crate::site::service(&status, "web")["connections_total"], 41, "{status}");
}

#[test]
fn tcp_by_nat_through_two_interfaces() {
    tcp(&Site::build(Layout::TwoArm, Delivery::Nat, 2), &["forwarded_nat", "forwarded_nat_reply"]);
}

#[test]
fn tcp_by_nat_through_one_interface() {
    tcp(&Site::build(Layout::OneArm, Delivery::Nat, 2), &["forwarded_nat", "forwarded_nat_reply"]);
}

#[test]
fn tcp_by_direct_routing_through_one_interface() {
    tcp(&Site::build(Layout::OneArm, Delivery::DirectRouting, 2), &["forwarded_dr"]);
}

/// Each datagram is answered, by the server of its flow.
pub fn udp(site: &Site, verdicts: [&str; 2]) {
    let start = |index: usize| {
        let server = &site.servers()[index];
        UdpEchoServer::start(&server.namespace, &server.name, site.listen(index)).unwrap()
    };
    let _servers = [start(0), start(1)];
    let dns = ServiceText { protocol: "udp".to_owned(), ..site.web_of(&[0, 1]) };
    site.configure(dns);
    let run = Run::start(site);
    let report = udp_flows(site.client(), site.target(), 50, 4, 700, Duration::from_secs(1)).unwrap();
    println!("{report}");
    assert_eq!((report.answered, report.misrouted, report.garbled), (200, 0, 0));
    assert_eq!(report.by_server.len(), 2, "both servers are used");
    let counters = match site.family {
        Family::V4 => "Udp",
        Family::V6 => "Udp6",
    };
    for machine in [site.client()].into_iter().chain(site.servers().iter().map(|server| &server.namespace)) {
        assert_eq!(machine.counter(counters, "InCsumErrors").unwrap(), 0, "{}", machine.name());
    }
    assert_eq!(verdicts.map(|verdict| run.verdict(verdict)), [200, 200]);
}

#[test]
fn udp_by_nat_through_two_interfaces() {
    udp(&Site::nat(2), ["forwarded_nat", "forwarded_nat_reply"]);
}

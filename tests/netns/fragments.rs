//! Datagrams that are larger than any frame, and floods of pieces of none.

use std::thread;
use std::time::Duration;

use xlvs_tests::family::Family;
use xlvs_tests::flood::Barrage;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::{Delivery, Layout};
use xlvs_tests::traffic::{UdpEchoServer, udp_flows};

use crate::flood::{TABLE, besieged, flood};
use crate::length::short_or_long;
use crate::run::Run;
use crate::site::Site;

/// Three and seven fragments of 1,500 bytes.
const SIZES: [usize; 2] = [4000, 9000];
const FLOWS: usize = 20;
const DATAGRAMS: usize = 4;

/// Every datagram comes back as it was sent, cut by the machines at both ends and put together there.
fn echoes(layout: Layout, delivery: Delivery, family: Family) {
    let site = Site { family, ..Site::build(layout, delivery, 2) };
    let start = |index: usize| {
        let server = &site.servers()[index];
        UdpEchoServer::start(&server.namespace, &server.name, site.listen(index)).unwrap()
    };
    let _servers = [start(0), start(1)];
    site.configure(ServiceText { protocol: "udp".to_owned(), ..site.web_of(&[0, 1]) });
    let run = Run::start(&site);
    for size in SIZES {
        let second = Duration::from_secs(1);
        let report = udp_flows(site.client(), site.target(), FLOWS, DATAGRAMS, size, second).unwrap();
        println!("{size} bytes: {report}; events {}", run.status()["events"]);
        assert_eq!((report.answered, report.misrouted, report.garbled), (FLOWS * DATAGRAMS, 0, 0));
        assert_eq!(report.by_server.len(), 2, "both servers are used");
    }
    let counters = match family {
        Family::V4 => "Udp",
        Family::V6 => "Udp6",
    };
    for machine in [site.client()].into_iter().chain(site.servers().iter().map(|server| &server.namespace)) {
        assert_eq!(machine.counter(counters, "InCsumErrors").unwrap(), 0, "{}", machine.name());
    }
    assert_eq!(run.verdict("dropped_fragment"), 0);
}

#[test]
fn large_datagrams_by_nat() {
    echoes(Layout::TwoArm, Delivery::Nat, Family::V4);
}

#[test]
fn large_datagrams_by_nat_over_ipv6() {
    echoes(Layout::TwoArm, Delivery::Nat, Family::V6);
}

#[test]
fn large_datagrams_by_direct_routing() {
    echoes(Layout::OneArm, Delivery::DirectRouting, Family::V4);
}

#[test]
fn large_datagrams_by_direct_routing_over_ipv6() {
    echoes(Layout::OneArm, Delivery::DirectRouting, Family::V6);
}

/// Neither connections whose servers the tables no longer name, nor new ones, nor datagrams in pieces of other clients. Of the
/// first, `flood::without_a_flow_table_the_besieged_break` is the control.
#[test]
fn a_flood_of_fragments_harms_nobody_else() {
    let site = Site::nat(4);
    let _servers = site.serve_all();
    let _echoes: Vec<_> = site
        .servers()
        .iter()
        .enumerate()
        .map(|(index, server)| {
            UdpEchoServer::start(&server.namespace, &server.name, site.listen(index)).unwrap()
        })
        .collect();
    let dns = ServiceText { name: "dns".to_owned(), protocol: "udp".to_owned(), ..site.web_of(&[0, 1]) };
    let table = format!("{TABLE}{dns}");
    site.configure(format!("{table}{}", site.web_of(&[0, 1, 2])));
    let run = Run::start(&site);
    let crowd = besieged(&site, &table);
    // What the flood's first pieces do to a server's memory for reassembly is between its kernel and them.
    let shields = site.topology.shield_servers().unwrap();
    let frames = short_or_long(50_000, 500_000);
    let asked = thread::scope(|scope| {
        let flooding = scope.spawn(|| flood(&site, Barrage::Fragments, frames, None));
        let mut all = (0, 0);
        while !flooding.is_finished() {
            let report =
                udp_flows(site.client(), site.target(), 5, DATAGRAMS, SIZES[0], Duration::from_secs(1));
            let report = report.unwrap();
            assert_eq!((report.misrouted, report.garbled), (0, 0), "{report}");
            all = (all.0 + 5 * DATAGRAMS, all.1 + report.answered);
        }
        flooding.join().unwrap();
        all
    });
    println!("large datagrams in its midst: {asked:?} (asked, answered); events {}", run.status()["events"]);
    assert!(asked.1 * 100 >= asked.0 * 95, "{asked:?}");
    drop(shields);
    crowd.unbroken("flooded with fragments");
    // The later ones were dropped by name: without a note, that is what becomes of any. The wire may lose a few, and a large datagram
    // whose note the flood pushed out adds its own later pieces, of the question or of the answer.
    let dropped = run.verdict("dropped_fragment");
    let sent = frames as u64;
    let unanswered = (asked.0 - asked.1) as u64 * 2 * (SIZES[0] / 1480) as u64;
    assert!((sent * 99 / 100..=sent + unanswered).contains(&dropped), "{dropped} of {sent} and {unanswered}");
}

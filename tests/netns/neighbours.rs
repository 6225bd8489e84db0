//! The director forgets its neighbours and its routes change, under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::client_address;
use xlvs_tests::traffic::{Download, UdpEchoServer, udp_flows};

use crate::crowd::Crowd;
use crate::run::Run;
use crate::site::{Site, WEB};
use crate::survival::newcomers;

/// Enough for the datagrams to go on for as long as the network is in turmoil.
const DATAGRAMS: usize = 2000;

#[test]
fn flushed_neighbours_and_replaced_routes_lose_nothing() {
    for site in [Site::nat(3), Site::direct(3)] {
        let _servers = site.serve_all();
        let datagrams = |index: usize| {
            let server = &site.servers()[index];
            UdpEchoServer::start(&server.namespace, &server.name, site.listen(index)).unwrap()
        };
        let _datagram_servers = [datagrams(0), datagrams(1), datagrams(2)];
        let web = site.web_of(&[0, 1, 2]);
        let udp = ServiceText { name: "dns".to_owned(), protocol: "udp".to_owned(), ..web.clone() };
        site.configure(format!("{web}{udp}"));
        let run = Run::start(&site);
        let crowd = Crowd::open(&site, WEB, 400);
        let download = Download::start(site.client(), WEB, 20_000_000, 5_000_000).unwrap();

        let done = AtomicBool::new(false);
        let rounds = thread::scope(|scope| {
            let turmoil = scope.spawn(|| turmoil(&site, &done));
            // TCP would mend a loss in silence; a datagram that is lost stays unanswered.
            let report = udp_flows(site.client(), WEB, 10, DATAGRAMS, 100, Duration::from_secs(1)).unwrap();
            newcomers(&site);
            done.store(true, Ordering::Relaxed);
            println!("{report}");
            assert_eq!((report.answered, report.misrouted, report.garbled), (10 * DATAGRAMS, 0, 0));
            turmoil.join().unwrap()
        });
        println!("{rounds} rounds; {}", download.finish(Duration::from_secs(20)).unwrap());
        assert!(rounds > 20, "{rounds} rounds are no turmoil");
        crowd.survived("neighbours flushed, routes replaced");
        for (name, count) in run.status()["verdicts"].as_object().unwrap() {
            assert!(!name.starts_with("dropped_") || *count == 0, "{name}: {count}");
        }
    }
}

/// Again and again: no neighbour is known, and the routes to the servers and back are other ones. Says how often.
fn turmoil(site: &Site, done: &AtomicBool) -> u32 {
    let inside = *site.topology.director_interfaces().last().unwrap();
    let client = client_address(0);
    let mut rounds = 0;
    while !done.load(Ordering::Relaxed) {
        let batch = format!(
            "neigh flush all\n\
             route replace 10.77.2.0/24 dev {inside} proto static metric 5\n\
             neigh flush all\n\
             route del 10.77.2.0/24 dev {inside} proto static metric 5\n\
             route del default\n\
             route add default via {client}"
        );
        site.director().ip(&batch).unwrap();
        rounds += 1;
    }
    rounds
}

//! The director forgets its neighbours and its routes change, under load.

use std::time::{Duration, Instant};

use xlvs_tests::traffic::Download;

use crate::crowd::Crowd;
use crate::run::Run;
use crate::site::{Site, WEB};
use crate::survival::newcomers;

#[test]
fn flushed_neighbours_and_replaced_routes_lose_nothing() {
    for site in [Site::nat(3), Site::direct(3)] {
        let _servers = site.serve_all();
        site.configure(site.web_of(&[0, 1, 2]));
        let run = Run::start(&site);
        let crowd = Crowd::open(&site, WEB, 400);
        let download = Download::start(site.client(), WEB, 20_000_000, 5_000_000).unwrap();
        let retransmitted = || -> u64 {
            let machines = [site.client()].into_iter().chain(site.servers().iter().map(|server| &server.namespace));
            machines.map(|machine| machine.counter("Tcp", "RetransSegs").unwrap()).sum()
        };
        let inside = *site.topology.director_interfaces().last().unwrap();
        let (before, began, mut rounds) = (retransmitted(), Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(4) {
            site.director()
                .ip(&format!(
                    "neigh flush all\n\
                     route replace 10.77.2.0/24 dev {inside} proto static metric 5\n\
                     neigh flush all\n\
                     route del 10.77.2.0/24 dev {inside} proto static metric 5\n\
                     route del default\n\
                     route add default via 10.77.1.10"
                ))
                .unwrap();
            rounds += 1;
            if rounds % 20 == 0 {
                newcomers(&site);
            }
        }
        println!("{}", download.finish(Duration::from_secs(20)).unwrap());
        crowd.survived("neighbours flushed");
        let (again, verdicts) = (retransmitted() - before, run.status()["verdicts"].clone());
        println!("{rounds} rounds, {again} segments sent again; {verdicts}");
        for (name, count) in verdicts.as_object().unwrap() {
            assert!(!name.starts_with("dropped_") || *count == 0, "{name}: {count}");
        }
        assert_eq!(again, 0, "segments were lost");
    }
}

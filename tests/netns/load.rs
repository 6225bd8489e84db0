//! wrk through the VIP: no error, and the verdicts account for every request.

use std::time::Duration;

use xlvs_tests::curl;
use xlvs_tests::nginx::{Nginx, NginxPlan};
use xlvs_tests::topology::VIP;
use xlvs_tests::wrk::{WrkPlan, wrk};

use crate::length::short_or_long;
use crate::run::Run;
use crate::site::Site;

/// Both kinds of connections; `towards` is the verdict of packets to the servers.
fn load(site: &Site, towards: &str) {
    let start = |index: usize| {
        let server = &site.servers()[index];
        let plan = NginxPlan { big_file: 1 << 20, ..NginxPlan::new(&server.name) };
        Nginx::start(&server.namespace, &plan).unwrap()
    };
    let _servers: Vec<_> = (0..site.servers().len()).map(start).collect();
    site.configure(
        site.web_of(&[0, 1, 2]).health("kind = \"http\"\npath = \"/healthz\"\ninterval = \"500ms\""),
    );
    let run = Run::start(site);
    for keep_alive in [true, false] {
        let plan = WrkPlan {
            url: curl::url(VIP, 80, ""),
            connections: 64,
            duration: Duration::from_secs(short_or_long(3, 10)),
            keep_alive,
        };
        let before = run.verdict(towards);
        let report = wrk(site.client(), &plan).unwrap();
        let packets = run.verdict(towards) - before;
        println!("keep-alive {keep_alive}: {report}; {packets} packets to the servers");
        assert_eq!(report.errors(), 0);
        assert!(report.requests > 1000);
        // A request each, or SYN, ACK, request and FIN as well.
        let at_least = if keep_alive { report.requests } else { 4 * report.requests };
        assert!(packets >= at_least, "{packets} packets cannot carry {} requests", report.requests);
    }
    let drops = site.installation.json(&["drops"]).unwrap();
    let dropped = drops["drops"].as_array().unwrap().iter();
    let dropped: Vec<_> =
        dropped.filter(|drop| drop["reason"].as_str().unwrap().starts_with("dropped_")).collect();
    assert!(dropped.is_empty(), "{dropped:?}");
}

#[test]
fn wrk_by_nat() {
    load(&Site::nat(3), "forwarded_nat");
}

#[test]
fn wrk_by_direct_routing() {
    load(&Site::direct(3), "forwarded_dr");
}

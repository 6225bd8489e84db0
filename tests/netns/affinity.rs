//! A client comes back to its server: over reloads, agents and other servers' drains, and by policy no longer when it dies.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use serde_json::Value;
use xlvs_tests::service_text::ServiceText;
use xlvs_tests::topology::VIP;
use xlvs_tests::traffic::{HandshakePlan, HandshakeReport, handshakes};

use crate::dead_server::{HEALTH, wait_for};
use crate::run::Run;
use crate::site::{Site, WEB};

pub const AFFINITY: &str = "affinity = { by = \"source\", timeout = \"300s\" }";

/// Thirty new connections of the one client there is.
pub fn newcomers(site: &Site, to: SocketAddrV4) -> HandshakeReport {
    let plan = HandshakePlan { limit: Duration::from_millis(900), ..HandshakePlan::new(to, 30) };
    let report = handshakes(site.client(), &plan).unwrap();
    println!("{to}: {report}");
    report
}

/// The server that all of them reach.
pub fn home(site: &Site, to: SocketAddrV4) -> String {
    let report = newcomers(site, to);
    assert_eq!((report.opened(), report.by_server.len()), (30, 1), "{report}");
    report.by_server.into_keys().next().unwrap()
}

fn sources(site: &Site) -> Vec<Value> {
    site.installation.json(&["affinity"]).unwrap()["sources"].as_array().unwrap().clone()
}

pub fn index(name: &str) -> usize {
    name.trim_start_matches("rs").parse::<usize>().unwrap() - 1
}

#[test]
fn a_client_keeps_its_server_over_reload_restart_and_anothers_drain() {
    for site in [Site::nat(3), Site::direct(3)] {
        let _servers = site.serve_all();
        site.configure(site.web_of(&[0, 1, 2]).lines(AFFINITY));
        let mut run = Run::start(&site);
        let first = home(&site, WEB);
        let known = sources(&site);
        assert_eq!((known.len(), known[0]["server"].as_str()), (1, Some(first.as_str())), "{known:?}");

        // The weights would have nearly all of them elsewhere.
        let weights: Vec<_> = (0..3).map(|i| (i, if i == index(&first) { 1 } else { 1000 })).collect();
        site.reload(site.web(&weights).lines(AFFINITY));
        assert_eq!(home(&site, WEB), first, "after a reload");
        run.kill();
        assert_eq!(home(&site, WEB), first, "without an agent");
        run.up();
        assert_eq!(home(&site, WEB), first, "with a new agent");
        let other = format!("rs{}", (index(&first) + 1) % 3 + 1);
        site.installation.ok(&["drain", "web", &other]).unwrap();
        assert_eq!(home(&site, WEB), first, "another one drained");

        site.installation.ok(&["drain", "web", &first]).unwrap();
        let second = home(&site, WEB);
        assert!(second != first && second != other, "{second}");
        site.installation.ok(&["enable", "-", &first]).unwrap();
        assert_eq!(home(&site, WEB), second, "it has settled there");

        let told = site.installation.ok(&["affinity", "clear", "--server", &second]).unwrap();
        println!("{told:?}");
        assert_eq!(sources(&site), Vec::<Value>::new());
        home(&site, WEB);
    }
}

/// The control: without affinity the same client's connections are spread, and move with the weights.
#[test]
fn without_affinity_a_client_is_spread() {
    let site = Site::nat(3);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let _run = Run::start(&site);
    assert_eq!(newcomers(&site, WEB).by_server.len(), 3);
    site.reload(site.web(&[(0, 0), (1, 1), (2, 0)]));
    assert_eq!(newcomers(&site, WEB).by_server, BTreeMap::from([("rs2".to_owned(), 30)]));
    assert_eq!(sources(&site), Vec::<Value>::new());
}

#[test]
fn who_loses_its_server_gets_another_is_refused_or_waits_as_the_policy_says() {
    for policy in ["rehash", "reset", "keep"] {
        let site = Site::nat(3);
        let mut servers: Vec<_> = site.serve_all().into_iter().map(Some).collect();
        let affinity = format!("affinity = {{ by = \"source\", on_server_down = \"{policy}\" }}");
        site.configure(site.web_of(&[0, 1, 2]).health(HEALTH).lines(&affinity));
        let run = Run::start(&site);
        let first = home(&site, WEB);
        servers[index(&first)] = None;
        wait_for(&run, &first, "down");
        let before = run.verdict("replied_reset");
        let lost = newcomers(&site, WEB);
        let told = run.verdict("replied_reset") - before;
        match policy {
            "rehash" => assert_eq!((lost.opened(), lost.by_server.len(), told), (30, 1, 0), "{lost}"),
            "reset" => assert_eq!((lost.opened(), told), (0, 30), "{lost}"),
            // Its own kernel refuses.
            _ => assert_eq!((lost.opened(), told), (0, 0), "{lost}"),
        }
        servers[index(&first)] = Some(site.serve(index(&first)));
        wait_for(&run, &first, "up");
        let stays = home(&site, WEB) == first;
        assert_eq!(stays, policy != "rehash", "{policy}");
    }
}

#[test]
fn services_of_a_group_share_their_clients_servers() {
    let site = Site::nat(3);
    let _servers = site.serve_all();
    let tls = SocketAddrV4::new(VIP, 443);
    let both = |group: &str| {
        let line = |group: &str| format!("affinity = {{ by = \"source\", group = \"{group}\" }}");
        let mut second = ServiceText::new("tls", 443, site.delivery).lines(&line(group));
        for (server, weight) in site.servers().iter().zip([1, 1, 1000]) {
            second = second.server(server, weight);
        }
        second.servers.iter_mut().for_each(|server| server.lines = "port = 80".to_owned());
        // What they share would be elsewhere by the other's weights.
        format!("{}\n{second}", site.web(&[(0, 1000), (1, 1), (2, 1)]).lines(&line("shop")))
    };
    site.configure(both("shop"));
    let _run = Run::start(&site);
    let first = home(&site, WEB);
    assert_eq!(home(&site, tls), first, "shared");
    let known = sources(&site);
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!(known[0]["services"], serde_json::json!(["web", "tls"]));
    // The control: in groups of their own each has its own.
    site.reload(both("other"));
    assert_eq!((home(&site, WEB), home(&site, tls)), (first, "rs3".to_owned()));
    assert_eq!(sources(&site).len(), 2);
}

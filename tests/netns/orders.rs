//! What an operator orders by hand, and that it outlives reloads and agents.

use std::time::Instant;

use serde_json::Value;

use crate::crowd::Crowd;
use crate::run::Run;
use crate::site::{Site, WEB, server};
use crate::survival::newcomers;

fn order(site: &Site, words: &[&str]) -> Value {
    site.installation.json(words).unwrap()["servers"][0].clone()
}

/// Checks the same through a reload and through an agent's death.
fn lasts(site: &Site, run: &mut Run<'_>, holds: impl Fn(&Value)) {
    holds(&run.status());
    site.installation.reload().unwrap();
    holds(&run.status());
    run.kill();
    run.up();
    holds(&run.status());
}

#[test]
fn a_drained_server_keeps_its_connections_and_gets_no_new_ones() {
    let site = Site::nat(3);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let mut run = Run::start(&site);
    let crowd = Crowd::open(&site, WEB, 90);
    let held = crowd.at("rs2") as u64;
    assert!(held > 0);

    let drained = order(&site, &["drain", "web", "rs2"]);
    assert_eq!(
        (drained["state"].as_str(), drained["connections_remaining"].as_u64()),
        (Some("draining"), Some(held))
    );
    lasts(&site, &mut run, |status| {
        let rs2 = server(status, "rs2");
        assert_eq!(
            (rs2["state"].as_str(), rs2["admin"].as_str()),
            (Some("draining"), Some("draining")),
            "{rs2}"
        );
        assert_eq!(rs2["connections_active"], held, "{rs2}");
    });
    assert_eq!(newcomers(&site).by_server.get("rs2"), None);
    crowd.survived("rs2 drained");

    let began = Instant::now();
    let said = site.installation.run(&["drain", "web", "rs2", "--wait", "300ms"]).unwrap();
    assert_eq!(said.code, 4, "connections are left: {said:?}");
    assert!((300..1500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    drop(crowd);
    let began = Instant::now();
    site.installation.ok(&["drain", "web", "rs2", "--wait", "10s"]).unwrap();
    println!("drained {} ms after the last connection closed", began.elapsed().as_millis());
    assert_eq!(server(&run.status(), "rs2")["state"], "drained");

    site.installation.ok(&["enable", "-", "rs2", "--wait", "5s"]).unwrap();
    assert!(newcomers(&site).by_server["rs2"] > 20);
}

#[test]
fn a_disabled_server_is_not_checked_and_comes_back_by_enable() {
    let site = Site::nat(2);
    let mut servers = site.serve_all();
    site.configure(site.web_of(&[0, 1]).health("kind = \"tcp\"\ninterval = \"200ms\"\ntimeout = \"100ms\""));
    let mut run = Run::start(&site);
    order(&site, &["disable", "web", "rs2"]);
    // Maintenance: it goes, and nobody minds.
    drop(servers.pop());
    lasts(&site, &mut run, |status| {
        let rs2 = server(status, "rs2");
        let words = ["state", "admin", "health"].map(|key| rs2[key].as_str().unwrap());
        assert_eq!(words, ["disabled", "disabled", "off"], "{rs2}");
    });
    assert_eq!(newcomers(&site).by_server.get("rs2"), None);
    servers.push(site.serve(1));
    site.installation.ok(&["enable", "web", "rs2", "--wait", "5s"]).unwrap();
    assert!(newcomers(&site).by_server["rs2"] > 50);
}

#[test]
fn a_weight_set_by_hand_outranks_the_file_until_it_is_dropped() {
    let site = Site::nat(2);
    let _servers = site.serve_all();
    site.configure(site.web(&[(0, 1), (1, 1)]));
    let mut run = Run::start(&site);
    order(&site, &["weight", "web", "rs1", "9"]);
    lasts(&site, &mut run, |status| {
        let rs1 = server(status, "rs1");
        let weights = ["weight", "weight_configured", "weight_override"].map(|key| rs1[key].as_u64());
        assert_eq!(weights, [Some(9), Some(1), Some(9)], "{rs1}");
    });
    let fresh = newcomers(&site);
    assert!(fresh.by_server["rs1"] > 150, "nine of ten: {fresh}");
    order(&site, &["weight", "web", "rs1", "0"]);
    assert_eq!(newcomers(&site).by_server.get("rs1"), None);
    order(&site, &["weight", "web", "rs1", "config"]);
    let fresh = newcomers(&site);
    assert!((60..140).contains(&fresh.by_server["rs1"]), "half: {fresh}");
    assert_eq!(server(&run.status(), "rs1")["weight_override"], Value::Null);

    // All of it at once, which the file then has to itself again.
    for ordered in
        [["weight", "web", "rs1", "9"].as_slice(), &["disable", "web", "rs1"], &["drain", "web", "rs2"]]
    {
        order(&site, ordered);
    }
    let listed = site.installation.json(&["overrides"]).unwrap();
    let names = |report: &Value| {
        let servers = report["servers"].as_array().unwrap().iter();
        servers.map(|server| server["server"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&listed), ["rs1", "rs2"], "{listed}");
    order(&site, &["overrides", "clear", "--server", "rs2"]);
    assert_eq!(names(&site.installation.json(&["overrides"]).unwrap()), ["rs1"]);
    assert_eq!(newcomers(&site).by_server.get("rs1"), None);
    order(&site, &["overrides", "clear", "--all"]);
    let fresh = newcomers(&site);
    assert!((60..140).contains(&fresh.by_server["rs1"]), "half: {fresh}");
    assert_eq!(names(&site.installation.json(&["overrides"]).unwrap()), Vec::<String>::new());

    for wrong in [["drain", "web", "rs7"], ["drain", "wob", "rs1"]] {
        let said = site.installation.run(&wrong).unwrap();
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.stderr.contains(if wrong[1] == "web" { "rs7" } else { "wob" }), "{said:?}");
    }
}

//! Whose connections the table holds, as `xlvs connections` tells it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use xlvs_tests::topology::client_address;
use xlvs_tests::traffic::{Activity, Swarm, SwarmPlan};

use crate::run::Run;
use crate::site::{Site, WEB};

const CONNECTIONS: usize = 50;

/// Server by client port, of the rows that name a client.
fn listed(report: &Value) -> BTreeMap<u64, String> {
    let rows = report["connections"].as_array().unwrap().iter();
    rows.filter_map(|row| Some((row["client_port"].as_u64()?, row["server"].as_str()?.to_owned()))).collect()
}

fn open(site: &Site) -> (Swarm, BTreeMap<u64, String>) {
    let swarm = Swarm::open(site.client(), &SwarmPlan::new(WEB, CONNECTIONS, Activity::Idle)).unwrap();
    let report = swarm.verify_all(Duration::from_secs(5));
    assert!(report.all_alive(), "{report}");
    let servers = report.connections.into_iter().map(|one| (u64::from(one.local_port), one.server)).collect();
    (swarm, servers)
}

#[test]
fn connections_name_their_clients_and_servers() {
    let site = Site::nat(3);
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1, 2]));
    let _run = Run::start(&site);
    let (_swarm, servers) = open(&site);
    let ask = |client: &str| site.installation.json(&["connections", "--client", client]).unwrap();
    let report = ask(&client_address(0).to_string());
    println!("{}", report["connections"][0]);
    assert_eq!((&report["addresses"], &report["matching"]), (&true.into(), &CONNECTIONS.into()));
    assert_eq!(listed(&report), servers);
    assert_eq!(ask("10.77.1.99")["matching"], 0);
}

#[test]
fn where_clients_are_not_noted_connections_are_listed_without() {
    let site = Site::nat(3);
    let _servers = site.serve_all();
    site.configure(format!("[datapath]\nclient_addresses = false\n{}", site.web_of(&[0, 1, 2])));
    let _run = Run::start(&site);
    let (_swarm, _) = open(&site);
    let report = site.installation.json(&["connections"]).unwrap();
    assert_eq!((&report["addresses"], &report["matching"]), (&false.into(), &CONNECTIONS.into()));
    assert!(listed(&report).is_empty());
}

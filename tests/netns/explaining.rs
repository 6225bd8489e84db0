//! What `xlvs explain` says is what then happens to that packet; and asking leaves no trace in the books. What the file alone
//! says agrees with it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};
use xlvs_tests::family::Family;
use xlvs_tests::topology::{Delivery, Layout};
use xlvs_tests::traffic::Runner;

use crate::run::Run;
use crate::site::Site;

/// Connections from these ports are explained: some at least, and more until both servers have one, which the secret key of
/// the hash decides.
const PORTS: std::ops::Range<u16> = 41_001..41_041;
const AT_LEAST: usize = 6;

fn explain(site: &Site, args: &[&str]) -> Value {
    site.installation.json(&[&["explain"], args].concat()).unwrap()
}

fn explain_tcp(site: &Site, from: SocketAddr, to: SocketAddr) -> Value {
    explain(site, &["tcp", &from.to_string(), &to.to_string()])
}

/// What the file alone says of the same packet, with the hash key and without, beside what the agent has said: the service
/// and what becomes of the packet agree, and the server is among those that it may be.
fn said_without_the_agent(site: &Site, from: SocketAddr, said: &Value) {
    let told = |config: &str| {
        let ends = ["tcp", &from.to_string(), &site.target().to_string()].map(str::to_owned);
        let ends = ends.each_ref().map(String::as_str);
        let args = [&["explain", "--offline", "-c", config, "-o", "json"], &ends[..]].concat();
        let text = site.installation.ok(&args).unwrap();
        let alone: Value = serde_json::from_str(&text).unwrap();
        for same in ["service", "verdict", "stage", "decision", "events"] {
            assert_eq!(alone[same], said[same], "{alone}");
        }
        assert_ne!(alone["assumed"], Value::Array(Vec::new()), "{alone}");
        alone
    };
    let config = site.installation.config();
    let with_key = told(config.to_str().unwrap());
    assert_eq!((&with_key["server"], &with_key["candidates"]), (&said["server"], &Value::Array(Vec::new())));
    let keyless = site.installation.folder().join("keyless.toml");
    let state = site.installation.folder().join("state").display().to_string();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&keyless, text.replace(&state, "/nowhere/state")).unwrap();
    let without = told(keyless.to_str().unwrap());
    let candidates = without["candidates"].as_array().unwrap();
    assert_eq!((&without["server"], candidates.len()), (&Value::Null, 2), "{without}");
    let named = |it: &&Value| it["server"] == said["server"] && it["address"] == said["server_address"];
    assert_eq!(candidates.iter().filter(named).count(), 1, "{without}");
}

/// A connection from this very port; `None` if it is refused.
fn connect(runner: &Runner, from: SocketAddr, to: SocketAddr) -> Option<TcpStream> {
    let connecting = async move {
        let socket = if from.is_ipv6() { TcpSocket::new_v6() } else { TcpSocket::new_v4() }.unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(from).unwrap();
        tokio::time::timeout(Duration::from_secs(2), socket.connect(to)).await.ok()?.ok()
    };
    runner.run(connecting).unwrap()
}

/// The server that holds the client's connection, as the connection table knows it.
fn holder(site: &Site, port: u16) -> Value {
    let report = site.installation.json(&["connections"]).unwrap();
    let connections = report["connections"].as_array().unwrap();
    let found = connections.iter().find(|connection| connection["client_port"] == port);
    found.unwrap_or_else(|| panic!("no connection from port {port} in {report}"))["server"].clone()
}

fn said_and_done(site: &Site, forwarded: &str) {
    let _servers = site.serve_all();
    site.configure(site.web_of(&[0, 1]));
    let run = Run::start(site);
    let runner = Runner::start(site.client()).unwrap();
    let vip = site.target();
    let client = |port| SocketAddr::new(own_address(site), port);
    let mut held = Vec::new();
    let mut used = std::collections::BTreeSet::new();
    for port in PORTS {
        if held.len() >= AT_LEAST && used.len() == 2 {
            break;
        }
        let before = explain_tcp(site, client(port), vip);
        assert_eq!(
            (&before["decision"], &before["verdict"]),
            (&"pick".into(), &forwarded.into()),
            "{before}"
        );
        said_without_the_agent(site, client(port), &before);
        held.push(connect(&runner, client(port), vip).expect("the service answers"));
        let after = explain_tcp(site, client(port), vip);
        assert_eq!((&after["decision"], &after["verdict"]), (&"entry".into(), &forwarded.into()), "{after}");
        assert_eq!(before["server"], holder(site, port), "{before}");
        assert_eq!(before["server"], after["server"], "{after}");
        assert_eq!(before["after"]["text"], after["after"]["text"], "{after}");
        used.insert(before["server"].as_str().unwrap().to_owned());
        if site.delivery != Delivery::DirectRouting {
            let server: IpAddr = before["server_address"].as_str().unwrap().parse().unwrap();
            let known = sender(before["after"]["text"].as_str().unwrap());
            assert_eq!(known == client(port), site.delivery == Delivery::Nat, "{before}");
            let reply = explain_tcp(site, SocketAddr::new(server, vip.port()), known);
            assert_eq!(reply["verdict"], format!("{forwarded}_reply"), "{reply}");
            assert_eq!(
                (&reply["decision"], &reply["server"]),
                (&"reply".into(), &before["server"]),
                "{reply}"
            );
            assert!(
                reply["after"]["text"].as_str().unwrap().contains(&format!("{vip} > {}", client(port))),
                "{reply}"
            );
        }
    }
    assert_eq!(used.len(), 2, "{} connections are explained to both servers", held.len());
    not_forwarded(site, &run, &runner, client(PORTS.end));
}

/// Who sent the packet of a frame that was told: it comes behind the MACs.
fn sender(told: &str) -> SocketAddr {
    let packet = told.split(", ").nth(1).unwrap();
    let ends = packet.split_whitespace().find_map(|word| word.parse().ok());
    ends.unwrap_or_else(|| panic!("{told}"))
}

/// What does not reach a server: each is explained, then sent, then found under the verdict that was named.
fn not_forwarded(site: &Site, run: &Run<'_>, runner: &Runner, client: SocketAddr) {
    let elsewhere = SocketAddr::new(site.target().ip(), 81);
    let said = explain_tcp(site, client, elsewhere);
    assert_eq!((&said["verdict"], &said["server"]), (&"passed_no_service".into(), &Value::Null), "{said}");
    let before = run.verdict("passed_no_service");
    assert!(connect(runner, client, elsewhere).is_none());
    assert!(run.verdict("passed_no_service") > before);

    let arp = format!("ffffffffffff0200000000010806{}", "00".repeat(28));
    let said = explain(site, &["--frame", &arp]);
    assert_eq!((&said["verdict"], &said["protocol"]), (&"passed_not_ip".into(), &Value::Null), "{said}");

    let names: Vec<&str> = site.servers().iter().map(|server| server.name.as_str()).collect();
    for name in &names {
        site.installation.ok(&["drain", "web", name]).unwrap();
    }
    let said = explain_tcp(site, client, site.target());
    let verdict = said["verdict"].as_str().unwrap().to_owned();
    assert!(["replied_reset", "dropped_no_server"].contains(&verdict.as_str()), "{said}");
    assert_eq!((&said["service"], &said["decision"]), (&"web".into(), &"none".into()), "{said}");
    let before = run.verdict(&verdict);
    assert!(connect(runner, client, site.target()).is_none());
    assert!(run.verdict(&verdict) > before);
}

fn own_address(site: &Site) -> IpAddr {
    let target = site.target();
    let local = site.client().enter(move || {
        let any = if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = std::net::UdpSocket::bind(any).unwrap();
        // Sends nothing: only the kernel's choice of the source is asked.
        socket.connect(target).unwrap();
        socket.local_addr().unwrap()
    });
    local.unwrap().ip()
}

#[test]
fn explained_as_it_happens_by_nat() {
    said_and_done(&Site::nat(2), "forwarded_nat");
}

#[test]
fn explained_as_it_happens_by_nat_over_ipv6() {
    said_and_done(&Site { family: Family::V6, ..Site::nat(2) }, "forwarded_nat");
}

#[test]
fn explained_as_it_happens_by_direct_routing() {
    said_and_done(&Site::build(Layout::OneArm, Delivery::DirectRouting, 2), "forwarded_dr");
}

#[test]
fn explained_as_it_happens_by_full_nat() {
    for family in Family::BOTH {
        said_and_done(&Site::full_nat(2, family), "forwarded_fullnat");
    }
}

//! A machine that boots: nothing is pinned any more, and what it held goes on by the snapshot.
//!
//! While it is down nobody has the VIPs. The file that it comes back with names the servers in another order, has every second
//! one of another weight, and asks for a table of another size.

use std::fmt::Display;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use xlvs_tests::agent::Agent;
use xlvs_tests::family::Family;
use xlvs_tests::topology::{Delivery, Director, Layout, Plan};
use xlvs_tests::traffic::{Activity, EchoServer, Swarm, SwarmPlan};

use crate::affinity::{AFFINITY, home, index};
use crate::crowd::Crowd;
use crate::pair::{CONNECTIONS, Pair};
use crate::site::{Site, WEB};

const WITHOUT: &str = "snapshot = false";
/// A burst counts as a handshake by direct routing; a second packet at a later tick does not.
const SETTLED: Duration = Duration::from_secs(3);
/// Connections on which only the server speaks.
const SILENT: usize = 40;
const PATIENCE: Duration = Duration::from_secs(3);

/// How the machine goes down.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Going {
    /// `xlvs down`.
    Down,
    /// SIGTERM, as by systemd; the pins go with the machine.
    Stopped,
}

fn site(layout: Layout, delivery: Delivery, family: Family, settings: &str) -> Site {
    let plan = Plan { standby: true, ..Plan::new(layout, delivery, 4) };
    Site { family, ..Site::of_plan(&plan, settings) }
}

fn begin(site: &Site, text: impl Display) -> Agent {
    site.configure(text);
    let agent = site.installation.up().unwrap();
    site.topology.give_vips(Director::First).unwrap();
    agent
}

/// Goes down and comes back with this file.
fn reboot(site: &Site, agent: Agent, going: Going, text: impl Display) -> Agent {
    site.topology.take_vips(Director::First).unwrap();
    if going == Going::Stopped {
        agent.daemon().signal(Signal::SIGTERM).unwrap();
        agent.daemon().wait(Duration::from_secs(10)).unwrap();
    }
    site.installation.ok(&["down"]).unwrap();
    drop(agent);
    assert!(!site.installation.pins().exists());
    let agent = begin(site, text);
    assert_eq!(site.installation.status().unwrap()["data_path"]["adopted"], false);
    agent
}

fn crowd_over_a_reboot(site: &Site, going: Going) -> (Crowd, Vec<EchoServer>, Agent) {
    let servers = site.serve_all();
    let agent = begin(site, site.web_of(&[0, 1, 2, 3]));
    let crowd = Crowd::open(site, site.target(), CONNECTIONS);
    sleep(SETTLED);
    crowd.survived("settled");
    let other = site.web(&[(3, 7), (2, 1), (1, 7), (0, 1)]);
    let agent = reboot(site, agent, going, format!("[datapath]\nflow_table_size = 50000\n{other}"));
    (crowd, servers, agent)
}

fn connections_outlast_the_machine(site: &Site, going: Going) {
    let (mut crowd, servers, agent) = crowd_over_a_reboot(site, going);
    crowd.hear_the_servers(&servers);
    crowd.unbroken("after a reboot");
    let listed = site.installation.json(&["connections", "--limit", "1000"]).unwrap();
    let is_named = |it: &&serde_json::Value| it["client"].is_string();
    let named = listed["connections"].as_array().unwrap().iter().filter(is_named).count();
    assert!(named >= CONNECTIONS, "{named} connections have their clients noted: {}", agent.daemon().said());
    // It was good for once. Who goes on echoing would be stored anew.
    site.topology.cut_off(Director::First).unwrap();
    agent.kill().unwrap();
    site.installation.ok(&["down"]).unwrap();
    let _agent = site.installation.up().unwrap();
    assert_eq!(site.installation.json(&["connections"]).unwrap()["matching"], 0);
}

#[test]
fn connections_outlast_the_machine_by_nat() {
    connections_outlast_the_machine(&site(Layout::TwoArm, Delivery::Nat, Family::V4, ""), Going::Stopped);
}

#[test]
fn connections_outlast_the_machine_by_direct_routing() {
    connections_outlast_the_machine(
        &site(Layout::OneArm, Delivery::DirectRouting, Family::V4, ""),
        Going::Down,
    );
}

#[test]
fn connections_outlast_the_machine_by_full_nat_over_ipv6() {
    connections_outlast_the_machine(&site(Layout::TwoArm, Delivery::FullNat, Family::V6, ""), Going::Down);
}

/// The control: what every second server's weight moves breaks.
#[test]
fn without_a_snapshot_connections_end_with_the_machine() {
    let site = site(Layout::TwoArm, Delivery::Nat, Family::V4, WITHOUT);
    let (crowd, _servers, _agent) = crowd_over_a_reboot(&site, Going::Down);
    let broken = crowd.broken("without a snapshot").iter().sum::<usize>();
    assert!(broken > CONNECTIONS / 4, "{broken} are broken");
}

/// Connections whose servers speak first after a reboot, to a client that says nothing: how many of them have not heard it
/// after TCP has sent it again several times.
fn deaf_after_a_reboot(site: &Site, is_answered: bool) -> usize {
    let servers = site.serve_all();
    let agent = begin(site, site.web_of(&[0, 1, 2, 3]));
    let swarm = Swarm::open(site.client(), &SwarmPlan::new(site.target(), SILENT, Activity::Idle)).unwrap();
    assert!(swarm.verify_all(PATIENCE).all_alive());
    sleep(SETTLED);
    assert!(swarm.verify_all(PATIENCE).all_alive());
    let mut agent = Some(reboot(site, agent, Going::Down, site.web_of(&[0, 1, 2, 3])));
    // As a machine begins.
    site.director().ip("neigh flush all").unwrap();
    site.director().ip_of(Family::V6, "neigh flush all").unwrap();
    if !is_answered {
        agent.take().unwrap().kill().unwrap();
    }
    let told: usize = servers.iter().map(EchoServer::push_all).sum();
    assert_eq!(told, SILENT);
    swarm.await_pushes(1, PATIENCE)
}

#[test]
fn a_server_that_speaks_first_after_a_reboot_is_heard() {
    for (delivery, family) in [(Delivery::Nat, Family::V4), (Delivery::FullNat, Family::V6)] {
        let site = site(Layout::TwoArm, delivery, family, "");
        assert_eq!(deaf_after_a_reboot(&site, true), 0, "{delivery:?}, {family:?}");
    }
}

/// The control: the agent is dead, whom the data path asks for the way.
#[test]
fn a_server_that_speaks_first_is_not_heard_where_nobody_knows_the_way() {
    let site = site(Layout::TwoArm, Delivery::Nat, Family::V4, "");
    assert_eq!(deaf_after_a_reboot(&site, false), SILENT);
}

fn home_after_a_reboot(settings: &str) -> [String; 2] {
    let site = site(Layout::TwoArm, Delivery::Nat, Family::V4, settings);
    let _servers = site.serve_all();
    let agent = begin(&site, site.web_of(&[0, 1, 2, 3]).lines(AFFINITY));
    let before = home(&site, WEB);
    let weights: Vec<_> = (0..4).map(|i| (i, if i == index(&before) { 1 } else { 1000 })).collect();
    let _agent = reboot(&site, agent, Going::Down, site.web(&weights).lines(AFFINITY));
    [before, home(&site, WEB)]
}

#[test]
fn a_client_comes_back_to_its_server_after_a_reboot() {
    let [before, after] = home_after_a_reboot("");
    assert_eq!(before, after);
}

#[test]
fn without_a_snapshot_a_client_goes_by_the_weights() {
    let [before, after] = home_after_a_reboot(WITHOUT);
    assert_ne!(before, after);
}

/// What is no snapshot is set aside and said, and a director begins without it.
#[test]
fn a_snapshot_that_is_damaged_is_refused_by_name() {
    let site = site(Layout::TwoArm, Delivery::Nat, Family::V4, "");
    let _servers = site.serve_all();
    let agent = begin(&site, site.web_of(&[0, 1]));
    let _crowd = Crowd::open(&site, site.target(), 10);
    site.topology.take_vips(Director::First).unwrap();
    site.installation.ok(&["down"]).unwrap();
    drop(agent);
    let path = site.installation.folder().join("state/connections.snapshot");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let _agent = begin(&site, site.web_of(&[0, 1]));
    let warnings = site.installation.status().unwrap()["warnings"].to_string();
    assert!(warnings.contains("connections.snapshot") && warnings.contains("damaged"), "{warnings}");
    assert!(!path.exists() && path.with_extension("refused").exists());
    site.installation.ok(&["status"]).unwrap();
}

/// Both directors of a pair lose their power; neither has a peer that remembers.
#[test]
fn a_pair_that_reboots_goes_on() {
    let pair = Pair::build(Layout::TwoArm, Delivery::Nat, 4);
    let servers = pair.site.serve_all();
    pair.configure("", &pair.site.web_of(&[0, 1, 2, 3]));
    let agents = Director::BOTH.map(|which| pair.up(which));
    pair.site.topology.give_vips(Director::First).unwrap();
    let mut crowd = Crowd::open(&pair.site, pair.site.target(), CONNECTIONS);
    pair.wait_held(Director::Second, CONNECTIONS);
    pair.site.topology.take_vips(Director::First).unwrap();
    for which in Director::BOTH {
        pair.installation(which).ok(&["down"]).unwrap();
    }
    drop(agents);
    pair.configure("", &pair.site.web(&[(3, 7), (2, 1), (1, 7), (0, 1)]));
    let _agents = Director::BOTH.map(|which| pair.up(which));
    pair.site.topology.give_vips(Director::First).unwrap();
    crowd.hear_the_servers(&servers);
    crowd.unbroken("after a reboot of both");
    pair.wait_held(Director::Second, CONNECTIONS);
}

//! Connections by full NAT outlive their director: the other one keeps their ports.

use std::collections::BTreeMap;

use xlvs_tests::agent::Agent;
use xlvs_tests::family::Family;
use xlvs_tests::topology::{Delivery, Director, Layout};
use xlvs_tests::traffic::{EchoServer, HandshakePlan, handshakes};

use crate::crowd::Crowd;
use crate::pair::{CONNECTIONS, Pair};

/// By client: where the servers see it come from, as a director lists them.
fn ports(pair: &Pair, which: Director) -> BTreeMap<String, String> {
    let said = pair.installation(which).json(&["connections", "--limit", "100000"]).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let of_connection = |it: &serde_json::Value| {
        (format!("{} {}", text(&it["client"]), it["client_port"]), text(&it["sent_from"]))
    };
    said["connections"].as_array().unwrap().iter().map(of_connection).collect()
}

/// Everything up to the moment in which the second director has the VIPs and the pool, and the first is dead.
struct Failover {
    // Before the installations.
    second: Agent,
    crowd: Crowd,
    servers: Vec<EchoServer>,
    /// At the first one.
    ports: BTreeMap<String, String>,
    pair: Pair,
}

fn fail_over(family: Family, replicate: &str) -> Failover {
    let pair = Pair::of_family(Layout::TwoArm, Delivery::FullNat, 4, family);
    let servers = pair.site.serve_all();
    let lines = format!("replicate = \"{replicate}\"");
    pair.configure(&lines, &pair.site.web_of(&[0, 1, 2, 3]));
    let (first, second) = (pair.up(Director::First), pair.up(Director::Second));
    pair.site.topology.give_vips(Director::First).unwrap();
    let crowd = Crowd::open(&pair.site, pair.site.target(), CONNECTIONS);
    if replicate != "none" {
        pair.wait(Director::Second, "all ports are kept", |peers| {
            peers["cluster"]["ports_held"] == CONNECTIONS as u64
                && peers["cluster"]["replicas"] == CONNECTIONS as u64
        });
    }
    let ports = ports(&pair, Director::First);
    assert_eq!(ports.len(), CONNECTIONS);
    // Anew, they would go elsewhere.
    pair.reload(&lines, &pair.site.web(&[(0, 1), (1, 7), (2, 1), (3, 7)]));
    crowd.survived("other weights");
    pair.die(Director::First, first);
    pair.site.topology.give_vips(Director::Second).unwrap();
    Failover { second, crowd, servers, ports, pair }
}

fn connections_go_on_from_their_ports(family: Family, replicate: &str) {
    let Failover { mut crowd, servers, pair, ports: before, second: _second } = fail_over(family, replicate);
    // Those of which the server speaks first are among them: the idle ones.
    crowd.hear_the_servers(&servers);
    crowd.unbroken("the other director");
    assert_eq!(ports(&pair, Director::Second), before);
    pair.wait(Director::Second, "all are its own", |peers| {
        peers["cluster"]["standing"] == "serving" && peers["cluster"]["ports_told"] == CONNECTIONS as u64
    });
    // The first one boots, has all of them before it is in sync, and goes on with them.
    pair.site.topology.take_vips(Director::First).unwrap();
    pair.site.topology.plug_in_again(Director::First).unwrap();
    let _first = pair.up(Director::First);
    assert_eq!(pair.known(Director::First), [0, CONNECTIONS as u64]);
    pair.site.topology.take_vips(Director::Second).unwrap();
    pair.site.topology.give_vips(Director::First).unwrap();
    crowd.hear_the_servers(&servers);
    crowd.unbroken("back at the first");
    assert_eq!(ports(&pair, Director::First), before);
    let fresh = handshakes(pair.site.client(), &HandshakePlan::new(pair.site.target(), 100)).unwrap();
    assert_eq!(fresh.opened(), 100, "no port is lent twice: {fresh}");
    crowd.unbroken("beside new ones");
}

#[test]
fn connections_survive_their_director_by_full_nat() {
    connections_go_on_from_their_ports(Family::V4, "all");
}

/// What no table derives is told with `diverged`, too.
#[test]
fn connections_survive_their_director_by_full_nat_over_ipv6() {
    connections_go_on_from_their_ports(Family::V6, "diverged");
}

/// The control: nothing is told.
#[test]
fn without_replication_connections_by_full_nat_end_with_their_director() {
    let Failover { crowd, servers: _servers, pair, second: _second, .. } = fail_over(Family::V4, "none");
    assert_eq!(crowd.broken("nothing was told"), [CONNECTIONS / 2; 2]);
    assert_eq!(pair.peers(Director::Second)["cluster"]["ports_held"], 0);
}

//! A client comes back to its server at another director: where it has its seat is told, and its seat is kept for it.

use serde_json::{Value, json};
use xlvs_tests::agent::Agent;
use xlvs_tests::topology::{Delivery, Director, Layout};

use crate::affinity::{AFFINITY, home, index};
use crate::pair::Pair;
use crate::site::WEB;

fn sources(pair: &Pair, which: Director) -> Vec<Value> {
    pair.installation(which).json(&["affinity"]).unwrap()["sources"].as_array().unwrap().clone()
}

fn both_up(pair: &Pair) -> [Agent; 2] {
    let agents = Director::BOTH.map(|which| pair.up(which));
    pair.site.topology.give_vips(Director::First).unwrap();
    agents
}

/// The weights would have nearly all of them elsewhere.
fn move_weights_from(pair: &Pair, lines: &str, server: &str) {
    let weights: Vec<_> = (0..3).map(|i| (i, if i == index(server) { 1 } else { 1000 })).collect();
    pair.reload(lines, &pair.site.web(&weights).lines(AFFINITY));
}

/// The first director dies, and the other one has the VIPs.
fn fail_over(pair: &Pair, first: Agent) {
    pair.die(Director::First, first);
    pair.site.topology.give_vips(Director::Second).unwrap();
}

#[test]
fn a_client_keeps_its_server_over_the_death_of_its_director() {
    let pair = Pair::build(Layout::TwoArm, Delivery::Nat, 3);
    let _servers = pair.site.serve_all();
    pair.configure("", &pair.site.web_of(&[0, 1, 2]).lines(AFFINITY));
    let [first, _second] = both_up(&pair);
    let server = home(&pair.site, WEB);
    pair.wait(Director::Second, "the seat is kept", |_| {
        sources(&pair, Director::Second).iter().any(|source| source["server"] == json!(server))
    });
    move_weights_from(&pair, "", &server);
    fail_over(&pair, first);
    assert_eq!(home(&pair.site, WEB), server, "at the other director");
    assert_eq!(sources(&pair, Director::Second).len(), 1);

    // Whose client it is now can tell it to go elsewhere, and is not contradicted.
    pair.installation(Director::Second).ok(&["affinity", "clear", "--server", &server]).unwrap();
    assert_eq!(sources(&pair, Director::Second), Vec::<Value>::new());
    assert_ne!(home(&pair.site, WEB), server, "by the weights");
}

/// What its director clears, nobody keeps.
#[test]
fn a_seat_that_is_cleared_is_kept_nowhere() {
    let pair = Pair::build(Layout::TwoArm, Delivery::Nat, 3);
    let _servers = pair.site.serve_all();
    pair.configure("", &pair.site.web_of(&[0, 1, 2]).lines(AFFINITY));
    let _agents = both_up(&pair);
    let server = home(&pair.site, WEB);
    pair.wait(Director::Second, "the seat is kept", |_| sources(&pair, Director::Second).len() == 1);
    pair.installation(Director::First).ok(&["affinity", "clear", "--server", &server]).unwrap();
    pair.wait(Director::Second, "it is not any more", |_| sources(&pair, Director::Second).is_empty());
}

/// The control: nothing is told.
#[test]
fn without_replication_a_client_loses_its_server_with_its_director() {
    const NOTHING: &str = "replicate = \"none\"";
    let pair = Pair::build(Layout::TwoArm, Delivery::Nat, 3);
    let _servers = pair.site.serve_all();
    pair.configure(NOTHING, &pair.site.web_of(&[0, 1, 2]).lines(AFFINITY));
    let [first, _second] = both_up(&pair);
    let server = home(&pair.site, WEB);
    move_weights_from(&pair, NOTHING, &server);
    assert_eq!(home(&pair.site, WEB), server, "at its director");
    assert_eq!(sources(&pair, Director::Second), Vec::<Value>::new());
    fail_over(&pair, first);
    assert_ne!(home(&pair.site, WEB), server, "at the other director");
}

//! What directors agree on: what is ordered at one of them holds at the other, and survives the one that was asked.

use std::time::{Duration, Instant};

use serde_json::Value;
use xlvs_tests::topology::{Delivery, Director, Layout};

use crate::pair::Pair;
use crate::site::server;
use crate::survival::newcomers;

const AGREED_WITHIN: Duration = Duration::from_secs(5);

/// Waits until this holds of what a director says of its servers.
fn wait(pair: &Pair, which: Director, what: &str, holds: impl Fn(&Value) -> bool) {
    let until = Instant::now() + AGREED_WITHIN;
    loop {
        let status = pair.installation(which).status().unwrap();
        if holds(&status) {
            return;
        }
        assert!(Instant::now() < until, "{what}: {which:?} says {}", status["services"][0]["servers"]);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_ordered(status: &Value) -> bool {
    let (rs2, rs3) = (server(status, "rs2"), server(status, "rs3"));
    rs2["admin"] == "draining" && rs3["weight_override"] == 7
}

fn is_clear(status: &Value) -> bool {
    let (rs2, rs3) = (server(status, "rs2"), server(status, "rs3"));
    rs2["admin"] == "enabled" && rs3["weight_override"].is_null()
}

#[test]
fn orders_by_hand_hold_at_both_directors_and_after_the_death_of_either() {
    let pair = Pair::build(Layout::TwoArm, Delivery::Nat, 4);
    let _servers = pair.site.serve_all();
    pair.configure("", &pair.site.web_of(&[0, 1, 2, 3]));
    let [a, b] = Director::BOTH;
    let (agent_a, agent_b) = (pair.up(a), pair.up(b));
    pair.site.topology.give_vips(a).unwrap();
    for which in Director::BOTH {
        pair.wait(which, "who serves leads", |peers| peers["cluster"]["leader"] == "lb1");
    }

    // One at the director that serves, one at the other.
    pair.installation(a).ok(&["drain", "web", "rs2"]).unwrap();
    pair.installation(b).ok(&["weight", "web", "rs3", "7"]).unwrap();
    for which in Director::BOTH {
        wait(&pair, which, "both orders hold", is_ordered);
    }
    pair.die(a, agent_a);
    pair.site.topology.give_vips(b).unwrap();
    wait(&pair, b, "after the death of the one that was asked", is_ordered);
    assert_eq!(newcomers(&pair.site).by_server.get("rs2"), None, "it is drained");
    pair.wait(b, "the other one leads", |peers| peers["cluster"]["leader"] == "lb2");

    // What is cleared while one is away is cleared for it, too, although its pins remember.
    pair.installation(b).ok(&["overrides", "clear", "--all"]).unwrap();
    wait(&pair, b, "cleared", is_clear);
    pair.site.topology.take_vips(a).unwrap();
    pair.site.topology.plug_in_again(a).unwrap();
    let _agent_a = pair.up(a);
    wait(&pair, a, "the later order holds", is_clear);
    pair.installation(a).ok(&["drain", "web", "rs2"]).unwrap();
    wait(&pair, b, "it is heard again", |status| server(status, "rs2")["admin"] == "draining");
    drop(agent_b);
}

//! Connections that have just begun when their director dies. The other one hears of each within milliseconds, because the data path
//! announces it as it settles; the walk over the connection table would have told of it within a second.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use xlvs_tests::agent::Agent;
use xlvs_tests::topology::{Delivery, Director, Layout};
use xlvs_tests::traffic::{Activity, EchoServer, Swarm, SwarmPlan};

use crate::pair::Pair;
use crate::pinned;

const CONNECTIONS: usize = 50;
/// How old the youngest of them is.
const AGE: Duration = Duration::from_millis(100);
/// For an answer of each, with room for TCP to repeat itself.
const PATIENCE: Duration = Duration::from_secs(6);
/// For two directors to find their parts.
const SERVES_WITHIN: Duration = Duration::from_secs(10);
/// What the loss window may be on a machine that does other things as well.
const LONGEST_WINDOW: f64 = 0.1;

/// Two directors, of which the first serves by NAT and gives each connection to the next of four servers: the other one would guess
/// every fourth.
struct Scene {
    // Before the installations.
    agents: [Option<Agent>; 2],
    _servers: Vec<EchoServer>,
    pair: Pair,
}

impl Scene {
    fn set(replicate: &str) -> Self {
        let pair = Pair::build(Layout::TwoArm, Delivery::Nat, 4);
        let servers = pair.site.serve_all();
        let services = pair.site.web_of(&[0, 1, 2, 3]).lines("scheduler = \"rr\"");
        pair.configure(&format!("replicate = \"{replicate}\""), &services);
        let agents = Director::BOTH.map(|which| Some(pair.up(which)));
        pair.site.topology.give_vips(Director::First).unwrap();
        pair.wait_for(SERVES_WITHIN, Director::First, "it serves, and is heard", |peers| {
            peers["cluster"]["standing"] == "serving" && peers["peers"][0]["in_sync"] == true
        });
        Self { agents, _servers: servers, pair }
    }

    fn open(&self, connections: usize) -> Swarm {
        let plan = SwarmPlan::new(self.pair.site.target(), connections, Activity::Idle);
        let began = Instant::now();
        let swarm = Swarm::open(self.pair.site.client(), &plan).unwrap();
        println!("{connections} connections were opened in {} ms", began.elapsed().as_millis());
        swarm
    }

    /// The first director is no more, so soon after these began; how many of them are broken.
    fn strike(&mut self, began: Instant, swarm: &Swarm) -> usize {
        sleep(AGE.saturating_sub(began.elapsed()));
        let first = self.agents[0].take().unwrap();
        println!("{} ms after the last of them was open", began.elapsed().as_millis());
        self.pair.die(Director::First, first);
        self.pair.site.topology.give_vips(Director::Second).unwrap();
        let report = swarm.verify_all(PATIENCE);
        println!("{report}");
        report.broken().count()
    }

    /// What the first director says of how long its peer did not know of connections.
    fn window(&self) -> Value {
        self.pair.peers(Director::First)["peers"][0]["loss_window"].clone()
    }
}

fn counted(window: &Value) -> u64 {
    let buckets = window["buckets"].as_array().unwrap().iter();
    buckets.map(|bucket| bucket["connections_total"].as_u64().unwrap()).sum()
}

fn survive(replicate: &str) {
    let mut scene = Scene::set(replicate);
    let swarm = scene.open(CONNECTIONS);
    let broken = scene.strike(Instant::now(), &swarm);
    assert_eq!(broken, 0, "replicate = {replicate}: connections of {AGE:?} are broken");
}

#[test]
fn connections_of_a_tenth_of_a_second_survive_their_director() {
    survive("all");
}

#[test]
fn likewise_where_only_those_are_told_that_nobody_derives() {
    survive("diverged");
}

/// The control: all is as before, but nothing is announced.
#[test]
fn by_the_walk_alone_young_connections_break_with_their_director() {
    let mut scene = Scene::set("all");
    pinned::silence(scene.pair.installation(Director::First));
    let swarm = scene.open(CONNECTIONS);
    let broken = scene.strike(Instant::now(), &swarm);
    assert!(broken > CONNECTIONS / 4, "{broken} of {CONNECTIONS} are broken");
}

#[test]
fn the_loss_window_is_shown_and_short() {
    let scene = Scene::set("all");
    let swarm = scene.open(4 * CONNECTIONS);
    scene.pair.wait_held(Director::Second, 4 * CONNECTIONS);
    let window = scene.window();
    println!("{window}");
    // All but those that the walk came by as they settled.
    assert!(counted(&window) > 3 * CONNECTIONS as u64, "{window}");
    assert!(window["p99_seconds"].as_f64().is_some_and(|p99| p99 <= LONGEST_WINDOW), "{window}");
    assert_eq!(scene.pair.installation(Director::First).status().unwrap()["events"]["unannounced"], 0);
    assert_eq!(swarm.verify_all(PATIENCE).broken().count(), 0);
}

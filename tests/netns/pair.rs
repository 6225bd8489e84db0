//! Two directors that tell each other of their connections: one dies, and the connections go on at the other.
//!
//! What dies is cut off and killed at once. The weights have changed meanwhile, and the miss tables have followed: without
//! replicas, the other director would give every second connection to another server (the control).

use std::fmt::Display;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use xlvs_tests::agent::{Agent, Installation};
use xlvs_tests::family::Family;
use xlvs_tests::topology::{Delivery, Director, Layout, Plan};
use xlvs_tests::traffic::EchoServer;

use crate::crowd::Crowd;
use crate::site::{Site, service};
use crate::survival::MISS_TABLE_FOLLOWS;

pub const CONNECTIONS: usize = 200;
/// For what the directors tell each other, on a machine that does other things as well.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Likewise for the end of a connection, which is over three seconds after both sides have closed it.
const OVER_WITHIN: Duration = Duration::from_secs(15);

/// Two directors with an installation each.
pub struct Pair {
    // Before the machines.
    second: Installation,
    pub site: Site,
}

impl Pair {
    pub fn build(layout: Layout, delivery: Delivery, servers: usize) -> Self {
        Self::of_family(layout, delivery, servers, Family::V4)
    }

    pub fn of_family(layout: Layout, delivery: Delivery, servers: usize, family: Family) -> Self {
        let plan = Plan { standby: true, ..Plan::new(layout, delivery, servers) };
        let site = Site { family, ..Site::of_plan(&plan, "") };
        let interfaces = site.topology.director_interfaces();
        let second = Installation::new(site.topology.standby(), interfaces, "").unwrap();
        let pair = Self { second, site };
        let folder = |which| pair.installation(which).folder().join("cluster").display().to_string();
        let (ours, theirs) = (folder(Director::First), folder(Director::Second));
        let first = &pair.site.installation;
        first.ok(&["cluster", "init", "--node", name(Director::First), "--dir", &ours]).unwrap();
        first.ok(&["cluster", "add-node", name(Director::Second), "--dir", &ours, "--out", &theirs]).unwrap();
        pair
    }

    pub fn installation(&self, which: Director) -> &Installation {
        match which {
            Director::First => &self.site.installation,
            Director::Second => &self.second,
        }
    }

    /// The same file on both, but for the line that says which is which; `lines` are more of `[cluster]`.
    pub fn configure(&self, lines: &str, services: &dyn Display) {
        for which in Director::BOTH {
            let folder = self.installation(which).folder();
            let peers: String = Director::BOTH
                .map(|which| {
                    format!(
                        "[[cluster.peer]]\nname = \"{}\"\naddress = \"{}\"\n",
                        name(which),
                        which.on_mesh()
                    )
                })
                .concat();
            // Ports rest for a minute at least.
            let closing = if self.site.delivery == Delivery::FullNat { "60s" } else { "3s" };
            let text = format!(
                "{}[datapath]\nflow_table_size = 100000\ntimeouts = {{ closing = \"{closing}\" }}\n[cluster]\nnode = \"{}\"\n\
                 credentials = {:?}\nready_file = {:?}\n{lines}\n{peers}{services}",
                self.site.pool,
                name(which),
                folder.join("cluster"),
                folder.join("ready")
            );
            self.installation(which).configure(text).unwrap();
        }
    }

    pub fn reload(&self, lines: &str, services: &dyn Display) {
        self.configure(lines, services);
        for which in Director::BOTH {
            self.installation(which).reload().unwrap();
        }
    }

    pub fn up(&self, which: Director) -> Agent {
        self.installation(which).up().unwrap()
    }

    /// Nothing of it is heard any more, and its agent is gone without a word.
    pub fn die(&self, which: Director, agent: Agent) {
        agent.kill().unwrap();
        self.site.topology.cut_off(which).unwrap();
    }

    pub fn peers(&self, which: Director) -> Value {
        self.installation(which).json(&["peers"]).unwrap()
    }

    /// Connections that a director holds records of, its own ones and others'.
    pub fn known(&self, which: Director) -> [u64; 2] {
        let cluster = &self.peers(which)["cluster"];
        ["records_told", "records_held"].map(|key| cluster[key].as_u64().unwrap())
    }

    /// Waits until what this director says of its part holds.
    pub fn wait(&self, which: Director, what: &str, holds: impl Fn(&Value) -> bool) {
        self.wait_for(TOLD_WITHIN, which, what, holds);
    }

    pub fn wait_for(&self, limit: Duration, which: Director, what: &str, holds: impl Fn(&Value) -> bool) {
        let until = Instant::now() + limit;
        loop {
            let peers = self.peers(which);
            if holds(&peers) {
                return;
            }
            assert!(Instant::now() < until, "{what}: {which:?} says {peers}");
            sleep(Duration::from_millis(50));
        }
    }

    pub fn wait_held(&self, which: Director, records: usize) {
        self.wait(which, &format!("{records} connections are held"), |peers| {
            peers["cluster"]["records_held"] == records as u64
        });
    }

    /// What it says to whoever gives the VIPs.
    pub fn readiness(&self, which: Director) -> String {
        std::fs::read_to_string(self.installation(which).folder().join("ready")).unwrap()
    }

    /// Connections that it carries on for another. There is one service, so it has them all.
    pub fn adopted(&self, which: Director) -> u64 {
        self.counted(which, "adopted", "adopted")
    }

    /// Packets amid connections of which it knew nothing; likewise.
    pub fn missed(&self, which: Director) -> u64 {
        self.counted(which, "miss_not_syn", "missed")
    }

    fn counted(&self, which: Director, event: &str, of_service: &str) -> u64 {
        let status = self.installation(which).status().unwrap();
        let of_all = status["events"][event].as_u64().unwrap();
        assert_eq!(service(&status, "web")[of_service], of_all, "{of_service} of web, and of all services");
        of_all
    }
}

fn name(which: Director) -> &'static str {
    match which {
        Director::First => "lb1",
        Director::Second => "lb2",
    }
}

/// Everything up to the moment in which the second director has the VIPs and the first is dead.
struct Failover {
    // Before the installations.
    _second: Agent,
    crowd: Crowd,
    servers: Vec<EchoServer>,
    pair: Pair,
}

fn fail_over(layout: Layout, delivery: Delivery, replicate: &str) -> Failover {
    let pair = Pair::build(layout, delivery, 4);
    let servers = pair.site.serve_all();
    let lines = format!("replicate = \"{replicate}\"");
    pair.configure(&lines, &pair.site.web_of(&[0, 1, 2, 3]));
    let (first, second) = (pair.up(Director::First), pair.up(Director::Second));
    pair.site.topology.give_vips(Director::First).unwrap();
    let crowd = Crowd::open(&pair.site, pair.site.target(), CONNECTIONS);
    // By direct routing a connection is established by a packet at a later tick.
    sleep(Duration::from_secs(2));
    crowd.survived("settled");
    if replicate == "all" {
        pair.wait_held(Director::Second, CONNECTIONS);
    }
    pair.reload(&lines, &pair.site.web(&[(0, 1), (1, 7), (2, 1), (3, 7)]));
    sleep(MISS_TABLE_FOLLOWS);
    crowd.survived("other weights");
    pair.die(Director::First, first);
    pair.site.topology.give_vips(Director::Second).unwrap();
    Failover { _second: second, crowd, servers, pair }
}

fn connections_go_on_at_the_other_director(layout: Layout, delivery: Delivery) {
    let Failover { mut crowd, servers, pair, _second } = fail_over(layout, delivery, "all");
    // Those of which the server speaks first are among them: the idle ones.
    crowd.hear_the_servers(&servers);
    crowd.unbroken("the other director");
    assert!(pair.adopted(Director::Second) > 0, "they were adopted");
    // What is taken over is told as its own.
    pair.wait(Director::Second, "all are its own", |peers| {
        peers["cluster"]["standing"] == "serving" && peers["cluster"]["records_told"] == CONNECTIONS as u64
    });
}

#[test]
fn connections_survive_their_director_by_nat() {
    connections_go_on_at_the_other_director(Layout::TwoArm, Delivery::Nat);
}

#[test]
fn connections_survive_their_director_by_direct_routing() {
    connections_go_on_at_the_other_director(Layout::OneArm, Delivery::DirectRouting);
}

/// The control: nothing is told.
#[test]
fn without_replication_connections_break_with_their_director() {
    let Failover { crowd, servers: _servers, pair, _second } =
        fail_over(Layout::TwoArm, Delivery::Nat, "none");
    let broken: usize = crowd.broken("nothing was told").iter().sum();
    // Some hash to the server they have.
    let some = CONNECTIONS / 10..CONNECTIONS * 9 / 10;
    assert!(some.contains(&broken), "{broken} of {CONNECTIONS} are broken");
    assert_eq!(pair.adopted(Director::Second), 0);
    assert!(pair.missed(Director::Second) > 0, "they were unknown");
}

/// The steps in which Tomcat's guide to clusters explains what a session goes through, of connections.
#[test]
fn nine_steps_in_the_life_of_a_pair() {
    const EACH: usize = 20;
    let pair = Pair::build(Layout::TwoArm, Delivery::Nat, 2);
    let servers = pair.site.serve_all();
    pair.configure("", &pair.site.web_of(&[0, 1]));
    let [a, b] = Director::BOTH;
    let open = || Crowd::open(&pair.site, pair.site.target(), EACH);

    // One: A starts, alone.
    let agent_a = pair.up(a);
    pair.site.topology.give_vips(a).unwrap();
    let early = open();
    // Two: B starts, and has what A has before it is ready.
    let agent_b = pair.up(b);
    assert_eq!(pair.known(b), [0, EACH as u64]);
    pair.wait(b, "it says so", |_| pair.readiness(b) == "0\n");
    // Three: a connection at A.
    let mut late = open();
    pair.wait_held(b, 2 * EACH);
    // Four: A dies.
    pair.die(a, agent_a);
    pair.wait(b, "A is lost", |peers| {
        let a = &peers["peers"][0];
        // Which of the two depends on whether its last words came through.
        a["connected"] == false && (a["absence"] == "closed" || a["absence"] == "silent")
    });
    // Five: a packet reaches B.
    pair.site.topology.give_vips(b).unwrap();
    late.hear_the_servers(&servers);
    early.unbroken("at B");
    pair.wait(b, "B answers for them", |peers| peers["cluster"]["records_told"] == 2 * EACH as u64);
    // Six: A comes back, and has what B has before it may have the VIPs.
    pair.site.topology.take_vips(a).unwrap();
    pair.site.topology.plug_in_again(a).unwrap();
    let agent_a = pair.up(a);
    assert_eq!(pair.known(a), [0, 2 * EACH as u64]);
    // Seven: connections are closed at one, which is told to the other.
    drop(early);
    pair.wait_for(OVER_WITHIN, a, "half of them end", |peers| {
        let held = peers["cluster"]["records_held"].as_u64().unwrap();
        held == EACH as u64
    });
    // Eight: new ones at B.
    let new = open();
    pair.wait_held(a, 2 * EACH);
    // Back to A, which goes on with all of them.
    pair.site.topology.take_vips(b).unwrap();
    pair.site.topology.give_vips(a).unwrap();
    new.unbroken("back at A");
    late.unbroken("back at A");
    // Nine: what ends is over everywhere.
    drop((new, late));
    for which in Director::BOTH {
        pair.wait_for(OVER_WITHIN, which, "nothing is left", |peers| {
            peers["cluster"]["records_told"] == 0 && peers["cluster"]["records_held"] == 0
        });
    }
    // Who leaves says so.
    agent_a.daemon().signal(Signal::SIGTERM).unwrap();
    agent_a.daemon().wait(TOLD_WITHIN).unwrap();
    assert_eq!(pair.readiness(a), "1\n");
    pair.wait(b, "A has left", |peers| peers["peers"][0]["connected"] == false);
    drop(agent_b);
}

//! What becomes of the connections of a server that is drained, lost or removed, where a policy says more than "keep". The
//! controls are [`crate::orders`] and [`crate::survival`]: without one, all of them go on.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use xlvs_tests::traffic::{Activity, EchoServer, Swarm, SwarmPlan, SwarmReport};

use crate::dead_server::{HEALTH, wait_for};
use crate::run::Run;
use crate::site::{Site, server};

/// Echoing connections to two servers.
struct Held<'a> {
    run: Run<'a>,
    swarm: Swarm,
    /// Of the first server.
    first: usize,
    _servers: Vec<EchoServer>,
}

const NUMBER: usize = 40;

impl<'a> Held<'a> {
    fn open(site: &'a Site, policy: &str) -> Self {
        let servers = site.serve_all();
        site.configure(site.web_of(&[0, 1]).health(HEALTH).lines(policy));
        let run = Run::start(site);
        let every = Activity::Echo { every: Duration::from_millis(50) };
        let swarm = Swarm::open(site.client(), &SwarmPlan::new(site.target(), NUMBER, every)).unwrap();
        sleep(Duration::from_millis(500));
        let first = swarm.report().by_server().get("rs1").copied().unwrap_or(0);
        assert!((5..36).contains(&first), "both servers have some: {}", swarm.report());
        Self { run, swarm, first, _servers: servers }
    }

    fn all_go_on(&self) {
        let report = self.swarm.report();
        assert_eq!(report.alive(), NUMBER, "{report}");
    }

    /// Those of the first server have ended, and nobody else's.
    fn first_ended(&self) -> SwarmReport {
        let report = self.swarm.report();
        println!("{report}; {}", self.run.status()["verdicts"]);
        assert_eq!(report.count("reset"), self.first, "{report}");
        assert_eq!(report.alive(), NUMBER - self.first, "{report}");
        report
    }
}

#[test]
fn a_drain_has_a_deadline() {
    let site = Site::nat(2);
    let held = Held::open(&site, "on_drain = { then = \"reset\", after = \"3s\" }");
    site.installation.ok(&["drain", "web", "rs1"]).unwrap();
    sleep(Duration::from_millis(1500));
    held.all_go_on();
    let rs1 = server(&held.run.status(), "rs1").clone();
    assert!(rs1["connections_end_at"].is_string(), "the deadline is told: {rs1}");
    assert_eq!(rs1["connections_active"], held.first, "and how many there are");
    sleep(Duration::from_secs(4));
    held.first_ended();
    assert!(held.run.verdict("replied_reset") >= held.first as u64);
    assert_eq!(server(&held.run.status(), "rs1")["connections_end_at"], Value::Null);
}

/// The agent dies between the removal and the farewell; the next one knows.
#[test]
fn a_removed_servers_connections_end_in_time_whichever_agent_is_there() {
    let site = Site::nat(2);
    let mut held = Held::open(&site, "on_remove = { then = \"reset\", after = \"15s\" }");
    site.reload(site.web_of(&[1]).health(HEALTH));
    let removed = Instant::now();
    held.run.kill();
    held.run.up();
    held.all_go_on();
    assert!(removed.elapsed() < Duration::from_secs(14), "a new agent takes {:?}", removed.elapsed());
    sleep(Duration::from_secs(17).saturating_sub(removed.elapsed()));
    held.first_ended();
}

/// The other server is who ends them, as it knows nothing of them.
#[test]
fn a_lost_servers_connections_are_let_go() {
    let site = Site::nat(2);
    let held = Held::open(&site, "on_server_down = \"rehash\"");
    let _unplugged = site.topology.unplug(0).unwrap();
    wait_for(&held.run, "rs1", "down");
    sleep(Duration::from_secs(1));
    held.first_ended();
    assert_eq!(held.run.verdict("replied_reset"), 0);
}

//! Connections that are to survive: half of them idle, half echoing numbered bytes ten times a second.

use std::net::SocketAddr;
use std::time::Duration;

use xlvs_tests::traffic::{Activity, EchoServer, Swarm, SwarmPlan, SwarmReport};

use crate::site::Site;

const EVERY: Duration = Duration::from_millis(100);
/// For an answer on every connection, with room for TCP to repeat itself.
const PATIENCE: Duration = Duration::from_secs(6);
/// Likewise, where nothing was answered for up to half a minute: TCP waits twice as long each time.
const LONG_PATIENCE: Duration = Duration::from_secs(30);
/// No connection may be without its answer for so long.
const LONGEST_GAP: Duration = Duration::from_secs(1);

pub struct Crowd {
    busy: Swarm,
    idle: Swarm,
    pushes: u64,
}

impl Crowd {
    /// Opens so many connections to the target.
    pub fn open(site: &Site, target: impl Into<SocketAddr>, connections: usize) -> Self {
        let target = target.into();
        let busy = SwarmPlan::new(target, connections / 2, Activity::Echo { every: EVERY });
        let idle = SwarmPlan::new(target, connections - connections / 2, Activity::Idle);
        let crowd = Self {
            busy: Swarm::open(site.client(), &busy).unwrap(),
            idle: Swarm::open(site.client(), &idle).unwrap(),
            pushes: 0,
        };
        // An answer on each: from here on nobody is a handshake only.
        crowd.all_alive("opened", PATIENCE);
        crowd
    }

    /// Asks every connection, the idle ones too; fails unless each of them has had every answer, from the server it
    /// began with, within a second.
    pub fn survived(&self, what: &str) {
        let gap = self.all_alive(what, PATIENCE);
        assert!(gap < LONGEST_GAP, "{what}: an answer took {} ms", gap.as_millis());
    }

    /// Likewise, but an answer may take half a minute: of what was lost while nobody forwarded, or on a wire that overflows,
    /// TCP sends again.
    pub fn unbroken(&self, what: &str) {
        self.all_alive(what, LONG_PATIENCE);
    }

    fn all_alive(&self, what: &str, patience: Duration) -> Duration {
        let [busy, idle] = self.ask(patience);
        println!("{what}: echoing: {busy}\n{what}: idle: {idle}");
        assert!(busy.all_alive() && idle.all_alive(), "{what}: not all of them survived");
        busy.longest_gap().max(idle.longest_gap())
    }

    /// How many connections are broken, by the same questions: of the echoing ones, and of the idle ones.
    pub fn broken(&self, what: &str) -> [usize; 2] {
        let reports = self.ask(PATIENCE);
        println!("{what}: echoing: {}\n{what}: idle: {}", reports[0], reports[1]);
        reports.map(|report| report.broken().count())
    }

    /// Has the servers speak first on every connection; fails unless each of the idle ones hears it.
    pub fn hear_the_servers(&mut self, servers: &[EchoServer]) {
        self.pushes += 1;
        let told: usize = servers.iter().map(EchoServer::push_all).sum();
        let deaf = self.idle.await_pushes(self.pushes, PATIENCE);
        println!("the servers spoke first on {told} connections");
        assert_eq!(deaf, 0, "so many idle connections did not hear their server");
    }

    /// How many of them a server has.
    pub fn at(&self, server: &str) -> usize {
        let at = |report: &SwarmReport| report.by_server().get(server).copied().unwrap_or(0);
        at(&self.busy.report()) + at(&self.idle.report())
    }

    fn ask(&self, patience: Duration) -> [SwarmReport; 2] {
        [&self.busy, &self.idle].map(|swarm| swarm.verify_all(patience))
    }
}

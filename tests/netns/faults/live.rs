//! Connections of every kind through the VIP, from many addresses, and what became of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use xlvs_tests::topology::Topology;
use xlvs_tests::traffic::{Activity, Fate, Swarm, SwarmPlan, SwarmReport};

use crate::length::short_or_long;
use crate::site::Site;

/// Addresses that live connections come from, and younger ones.
const LIVE: &str = "10.78.0.0/24";
const ADDRESSES: u8 = 64;
/// For an answer of each: TCP waits twice as long each time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Has the first client own more addresses than its own. Everybody's way to them is the one to it.
pub fn add_addresses(topology: &Topology) {
    topology.client().ip("route add local 10.78.0.0/23 dev lo").unwrap();
}

/// From here on, resets of servers to live connections are counted.
pub fn count_misrouted(topology: &Topology) {
    topology.count_resets_to(LIVE).unwrap();
}

fn sources(network: u8) -> Vec<IpAddr> {
    (1..=ADDRESSES).map(|host| Ipv4Addr::new(10, 78, network, host).into()).collect()
}

/// Of ten, four echo, three are idle, and on three only the server speaks.
pub struct Live {
    echoing: Swarm,
    idle: Swarm,
    hearing: Swarm,
}

impl Live {
    pub fn open(site: &Site, connections: usize) -> Self {
        let every = short_or_long(Duration::from_millis(200), Duration::from_secs(1));
        let open = |tenths: usize, activity| {
            let plan = SwarmPlan::new(site.target(), connections * tenths / 10, activity);
            let plan = SwarmPlan { sources: sources(0), stall_after: PATIENCE, ..plan };
            Swarm::open(site.client(), &plan).unwrap()
        };
        Self {
            echoing: open(4, Activity::Echo { every }),
            idle: open(3, Activity::Idle),
            hearing: open(3, Activity::Hear { every }),
        }
    }

    /// Idle ones alone.
    pub fn open_idle(site: &Site, connections: usize) -> Swarm {
        let plan = SwarmPlan::new(site.target(), connections, Activity::Idle);
        Swarm::open(site.client(), &SwarmPlan { sources: sources(0), ..plan }).unwrap()
    }

    /// A few that were not there a second before the fault.
    pub fn younger(site: &Site, connections: usize) -> Swarm {
        let plan =
            SwarmPlan::new(site.target(), connections, Activity::Echo { every: Duration::from_millis(100) });
        Swarm::open(site.client(), &SwarmPlan { sources: sources(1), ..plan }).unwrap()
    }

    pub fn forget_gaps(&self) {
        [&self.echoing, &self.idle, &self.hearing].into_iter().for_each(Swarm::forget_gaps);
    }

    /// The longest that anybody waited since gaps were forgotten.
    pub fn longest_stall(&self) -> Duration {
        let all = [&self.echoing, &self.hearing].map(|swarm| swarm.report().longest_gap());
        all.into_iter().max().unwrap_or_default()
    }

    /// Asks each of them, the idle ones too.
    pub fn verify(&self) -> Tally {
        let swarms = [&self.echoing, &self.idle, &self.hearing];
        swarms.map(|swarm| Tally::of(&swarm.verify_all(PATIENCE))).into_iter().sum()
    }
}

/// How many became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub alive: usize,
    pub reset: usize,
    pub stalled: usize,
    /// Another server answered, or not what was asked for.
    pub wrong: usize,
}

impl Tally {
    pub fn of(report: &SwarmReport) -> Self {
        let mut tally = Self::default();
        for connection in &report.connections {
            *match connection.fate {
                Fate::Alive => &mut tally.alive,
                Fate::Stalled(_) => &mut tally.stalled,
                Fate::Misrouted { .. } | Fate::Garbled(_) => &mut tally.wrong,
                Fate::Reset | Fate::Closed | Fate::Failed(_) => &mut tally.reset,
            } += 1;
        }
        if tally.alive < report.connections.len() {
            println!("{report}");
        }
        tally
    }

    pub fn broken(self) -> usize {
        self.reset + self.stalled + self.wrong
    }
}

impl std::iter::Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, it| Self {
            alive: sum.alive + it.alive,
            reset: sum.reset + it.reset,
            stalled: sum.stalled + it.stalled,
            wrong: sum.wrong + it.wrong,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alive, reset, stalled, wrong } = self;
        write!(out, "{alive:>5} {reset:>5} {stalled:>7} {wrong:>5}")
    }
}

//! A few directors with flow tables, and a true list of the connections that are alive.

mod events;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use lb_common::identity::{FlowId, mix};

use super::super::backup::Scope;
use super::super::board::{Given, ServerKey};
use super::super::join::{OnTimeout, Patience, Standing};
use super::super::record::{ByKind, Connection, Pair, Target};
use super::super::refusal::Refusal;
use super::super::replicator::{Replicator, Setup};
use super::super::step::{Step, Tables};
use super::super::store::Bounds;
use super::super::version::{NodeId, Origin, Version};
use super::network::{End, Network};
use super::tables::{EVERY, Kitchen, tables};

const LONGEST_IDLE: u64 = 60;
const FLOWS: u64 = 24;

/// Mistakes that the invariants have to find.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    pub lose_changes: bool,
    pub forget_tombstones: bool,
    pub forget_mark: bool,
    pub forget_orders: bool,
    pub commit_early: bool,
}

pub(super) struct Node {
    pub core: Option<Replicator>,
    /// What the data path holds: outlives the agent, not the machine.
    pub flows: BTreeMap<FlowId, Connection>,
    /// Since when, by its own clock, no packet has met an entry.
    pub unmet: BTreeMap<FlowId, Duration>,
    pub life: u64,
    /// The tables that its data path goes by, and those it would like.
    pub tables: Tables,
    pub desired: Tables,
    /// When the walk began that tells what the next tables would lose.
    pub tell_since: Option<Instant>,
    /// The orders on its disk.
    pub ordered: Vec<(ServerKey, Given)>,
    /// What stands on the disk.
    mark: u64,
    /// Its clock, in thousandths of the true one.
    rate: u64,
    returns: u64,
    /// By its own clock.
    pub began: Duration,
    /// When another one told it that it is told no longer, ms of true time.
    pub released: Option<u64>,
    /// The latest record that this agent knew to have ended.
    pub graves: BTreeMap<FlowId, Version>,
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    epoch: Instant,
    /// Milliseconds of true time.
    pub(super) now: u64,
    pub nodes: Vec<Node>,
    pub network: Network,
    /// Who has each living connection, and where it goes.
    pub truth: BTreeMap<FlowId, (usize, Connection)>,
    quarantine: usize,
    dirty: usize,
    on_timeout: OnTimeout,
    pub scope: Scope,
    /// What can be derived is told as well.
    pub tells_all: bool,
    pub kitchen: Kitchen,
    /// Stored nowhere: at which director, its server, and until when it may be silent.
    pub silent: BTreeMap<FlowId, (usize, Target, u64)>,
    /// Nobody moves the VIP any more.
    pub(super) is_calm: bool,
}

impl World {
    pub fn new(seed: u64, faults: Faults) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(2..=4);
        let node = |rng: &mut Rng| Node {
            core: None,
            flows: BTreeMap::new(),
            unmet: BTreeMap::new(),
            life: 1,
            tables: tables([1; 4]),
            desired: tables([1; 4]),
            tell_since: None,
            ordered: Vec::new(),
            mark: 0,
            rate: rng.u64(900..=1100),
            returns: rng.u64(0..2000),
            began: Duration::ZERO,
            released: None,
            graves: BTreeMap::new(),
        };
        let nodes = (0..count).map(|_| node(&mut rng)).collect();
        let on_timeout = if rng.bool() { OnTimeout::Serve } else { OnTimeout::StayBackup };
        let (quarantine, dirty) = (rng.usize(2..100), rng.usize(1..30));
        Self {
            faults,
            epoch: Instant::now(),
            now: 0,
            nodes,
            network: Network::default(),
            truth: BTreeMap::new(),
            quarantine,
            dirty,
            on_timeout,
            scope: if rng.u8(..4) == 0 { Scope::Backup } else { Scope::All },
            tells_all: rng.bool(),
            kitchen: Kitchen::default(),
            silent: BTreeMap::new(),
            is_calm: false,
            rng,
        }
    }

    pub fn story(mut self) {
        for _ in 0..self.rng.usize(50..250) {
            let passed = self.rng.u64(10..500);
            self.step(passed);
            self.misfortune();
            self.life_goes_on();
            self.orders_are_given();
            self.weights_change();
        }
        self.network.cut.clear();
        for index in 0..self.nodes.len() {
            self.nodes[index].returns = self.nodes[index].returns.min(self.now);
            self.configure(index, true);
        }
        self.calm(100, 1);
        for index in 0..self.nodes.len() {
            self.configure(index, true);
        }
        self.all_agree();
        self.all_would_go_on();
        self.calm(5 * LONGEST_IDLE, 2);
        self.all_agree();
        self.nothing_is_left_over();
    }

    /// Flow tables forget what no packet has met for as long as it may be idle, whether an agent looks or not.
    fn entries_expire(&mut self) {
        for index in 0..self.nodes.len() {
            let (now, truth) = (self.node_time(index), &self.truth);
            let Node { flows, unmet, .. } = &mut self.nodes[index];
            let met = |flow: &FlowId| truth.get(flow).is_some_and(|(holder, _)| *holder == index);
            unmet.retain(|flow, _| flows.contains_key(flow) && !met(flow));
            let mut expired = Vec::new();
            for (flow, entry) in flows.iter().filter(|(flow, _)| !met(flow)) {
                let since = *unmet.entry(*flow).or_insert(now);
                if since + Duration::from_secs(entry.idle.into()) <= now {
                    expired.push(*flow);
                }
            }
            for flow in expired {
                self.forget(flow, index);
            }
        }
    }

    fn calm(&mut self, seconds: u64, step: u64) {
        self.is_calm = true;
        for _ in 0..seconds / step {
            self.step(step * 1000);
        }
    }

    pub fn node_time(&self, index: usize) -> Duration {
        Duration::from_millis(self.now * self.nodes[index].rate / 1000)
    }

    pub(super) fn clock(&self, index: usize) -> Instant {
        self.epoch + self.node_time(index)
    }

    fn step(&mut self, passed: u64) {
        self.now += passed;
        for index in 0..self.nodes.len() {
            if self.nodes[index].core.is_none() && self.nodes[index].returns <= self.now {
                self.start(index);
            }
        }
        self.connections();
        self.entries_expire();
        self.deliver();
        for index in 0..self.nodes.len() {
            self.tend(index);
            self.findings_are_told(index);
        }
        self.transmit();
        self.check();
    }

    fn start(&mut self, index: usize) {
        let id = |index: usize| NodeId(mix(index as u64));
        let bounds = Bounds {
            records: ByKind { connections: 1000, seats: 1000, leases: 1000 },
            tombstones: if self.faults.forget_tombstones { 0 } else { 1000 },
            origins: 64,
            longest_idle: Duration::from_secs(LONGEST_IDLE),
        };
        let node = &self.nodes[index];
        let setup = Setup {
            origin: Origin { node: id(index), life: node.life },
            recovering: !node.flows.is_empty(),
            domain: "edge".into(),
            since_1970: Duration::ZERO,
            peers: (0..self.nodes.len()).filter(|peer| *peer != index).map(id).collect(),
            scope: self.scope,
            bounds,
            quarantine: self.quarantine,
            dirty: self.dirty,
            digest_interval: Duration::from_secs(10),
            patience: Patience { on_timeout: self.on_timeout, ..Patience::default() },
        };
        let mark = if self.faults.forget_mark { 0 } else { node.mark };
        let mut core = Replicator::new(setup, mark, self.clock(index));
        core.begin(self.clock(index));
        *core.step_mut() = Step::new(core.origin().node, EVERY, core.is_recovering());
        core.step_mut().found(Some(self.nodes[index].tables.clone()));
        if !self.faults.forget_orders {
            for (server, given) in &self.nodes[index].ordered {
                core.remember(*server, *given).expect("there is room");
            }
        }
        let began = self.node_time(index);
        let node = &mut self.nodes[index];
        (node.core, node.began) = (Some(core), began);
        node.graves.clear();
        self.configure(index, true);
    }

    fn configure(&mut self, index: usize, whole: bool) {
        let servers = if whole { 4 } else { self.rng.u64(1..4) };
        if let Some(core) = &mut self.nodes[index].core {
            core.configure((0..servers).map(pair)).expect("names do not clash");
        }
    }

    /// Ends notice that they are alone; whoever can, connects anew.
    fn connections(&mut self) {
        let gone: Vec<(usize, usize)> = self
            .network
            .ends
            .iter()
            .filter(|(_, end)| end.notices.is_some_and(|at| at <= self.now))
            .map(|(pair, _)| *pair)
            .collect();
        for (a, b) in gone {
            let end = self.network.ends.remove(&(a, b)).expect("listed");
            if let Some(core) = &mut self.nodes[a].core {
                core.disconnected(end.session);
            }
        }
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                let cut = self.network.cut.contains(&(a, b)) || self.network.cut.contains(&(b, a));
                let one_is_alone =
                    !self.network.ends.contains_key(&(a, b)) || !self.network.ends.contains_key(&(b, a));
                if !cut && one_is_alone && self.rng.u8(..4) == 0 {
                    self.connect(a, b);
                }
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        let (ids, (left, right)) = (|index: usize| NodeId(mix(index as u64)), self.nodes.split_at_mut(b));
        let (Some(first), Some(second)) = (&mut left[a].core, &mut right[0].core) else { return };
        let here = first.connected(ids(b)).expect("configured");
        let there = second.connected(ids(a)).expect("configured");
        self.network.ends.insert((a, b), End { session: here, other: there, notices: None });
        self.network.ends.insert((b, a), End { session: there, other: here, notices: None });
    }

    fn deliver(&mut self) {
        for (from, to, letter) in self.network.due(self.now) {
            let now = self.clock(to);
            let current = self.network.ends.get(&(to, from)).is_some_and(|end| end.session == letter.session);
            let Node { core: Some(core), graves, released, .. } = &mut self.nodes[to] else { continue };
            let before = living(core);
            match core.receive(letter.session, &letter.body, now) {
                Ok(()) => {
                    let after = living(core);
                    // Who is told no longer has forgotten what has not ended; an older end may have stood behind it.
                    let has_ended = |flow: &FlowId, version: &Version| {
                        let here = core.store.get(*flow).filter(|entry| entry.connection().is_none());
                        self.scope == Scope::All || here.is_some_and(|entry| entry.version >= *version)
                    };
                    for (flow, version) in before.into_iter().filter(|(flow, _)| !after.contains_key(flow)) {
                        if !has_ended(&flow, &version) {
                            *released = Some(self.now);
                            continue;
                        }
                        let grave = graves.entry(flow).or_insert(version);
                        *grave = version.max(*grave);
                    }
                    self.network.delivered.insert((from, to), (letter.session, letter.body));
                }
                Err(Refusal::StaleSession) => {
                    assert!(!current, "a living session is called stale");
                    assert_eq!(living(core), before);
                }
                // What is lost or repeated shows as a gap, and the session ends.
                Err(refusal) => {
                    assert!(refusal == Refusal::OutOfOrder, "{refusal}");
                    self.network.doom(from, to, self.now, 0);
                }
            }
        }
    }

    /// What an agent does by itself: the tick, the scan, what stands on the disk, the VIP.
    fn tend(&mut self, index: usize) {
        let (now, serve) = (self.clock(index), !self.is_calm && self.rng.u8(..8) == 0);
        let lost = self.faults.lose_changes && self.rng.u8(..4) == 0;
        let node = &mut self.nodes[index];
        let Some(core) = &mut node.core else { return };
        core.tick(now);
        if serve {
            core.serve(core.standing() == Standing::Ready);
        }
        self.keep_in_step(index);
        let held: Vec<(FlowId, Connection)> = self
            .truth
            .iter()
            .filter(|(_, (holder, _))| *holder == index)
            .map(|(flow, (_, connection))| (*flow, *connection))
            .collect();
        for (flow, connection) in held {
            self.export(index, flow, connection);
        }
        self.export_left_over(index);
        let node = &mut self.nodes[index];
        let Some(core) = &mut node.core else { return };
        for flow in core.changes() {
            assert!(core.replica(flow).is_none() || core.store.get(flow).is_some());
            // What another director says later wins over an entry that names another server.
            let clears = core.replica(flow).map(|replica| replica.target);
            let is_met = self.truth.get(&flow).is_some_and(|(holder, _)| *holder == index);
            let is_over = core.has_ended_elsewhere(flow) && !is_met;
            if node.flows.get(&flow).is_some_and(|entry| clears.is_some_and(|target| target != entry.target))
                || is_over
            {
                node.flows.remove(&flow);
            }
        }
        if lost {
            for session in core.sessions.values_mut() {
                session.out.dirty.clear();
            }
        }
        node.mark = core.mark();
    }

    fn transmit(&mut self) {
        let pairs: Vec<(usize, usize)> = self.network.ends.keys().copied().collect();
        for (from, to) in pairs {
            let (now, end) = (self.clock(from), self.network.ends[&(from, to)]);
            for _ in 0..self.rng.usize(1..8) {
                let delay = self.rng.u64(1..400);
                let body = self.nodes[from].core.as_mut().and_then(|core| core.transmit(end.session, now));
                let Some(body) = body else { break };
                self.network.send(from, to, self.now, delay, body);
            }
        }
    }
}

fn living(core: &Replicator) -> BTreeMap<FlowId, Version> {
    core.store
        .iter()
        .filter(|(_, entry)| entry.connection().is_some())
        .map(|(flow, entry)| (flow, entry.version))
        .collect()
}

pub(super) fn pair(number: u64) -> Pair {
    Pair { service: "web".into(), server: format!("rs{number}"), lane: "80".into() }
}

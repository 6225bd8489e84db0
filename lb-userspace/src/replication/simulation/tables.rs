//! Miss tables, and that what is not told is found in them.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_common::identity::{FLOW_ID_BITS, FlowId};
use lb_common::maglev::{self, Share};
use lb_common::pick::{Extent, IDS_PER_WORD};

use super::super::join::Standing;
use super::super::record::{Connection, Target};
use super::super::replicator::Replicator;
use super::super::step::{Digest, LaneKey, Recipe, Recipes, Tables, Task};
use super::world::{World, pair};

const SIZE: u32 = 251;
const SERVERS: u64 = 4;
/// As long as a connection that is stored nowhere may be silent.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
pub(super) const EVERY: Duration = Duration::from_secs(3);

/// What recipes come to, each made once.
#[derive(Default)]
pub(super) struct Kitchen(BTreeMap<Digest, Vec<u16>>);

impl Kitchen {
    /// Whom a table gives this flow.
    pub fn gives(&mut self, tables: &Tables, flow: FlowId) -> Option<Target> {
        let table = self.0.entry(tables.digest).or_insert_with(|| {
            let recipe = &tables.recipes.0[&LaneKey(1)];
            let id = |name: u64| {
                (0..SERVERS).find(|it| pair(*it).target().0 == name).expect("a server") as u16 + 1
            };
            let shares: Vec<Share> = recipe
                .shares
                .iter()
                .map(|(name, weight)| Share { name_hash: *name, weight: *weight, id: id(*name) })
                .collect();
            maglev::table(&shares, recipe.size)
        });
        let (word, position) = Extent::new(0, SIZE, 0)?.place(flow, 0);
        let id = table[(word * IDS_PER_WORD + position) as usize];
        (id > 0).then(|| pair(u64::from(id) - 1).target())
    }
}

/// Tables in which the servers have these weights.
pub(super) fn tables(weights: [u32; SERVERS as usize]) -> Tables {
    let shares = (0..SERVERS).zip(weights).map(|(it, weight)| (pair(it).target().0, weight));
    let mut shares: Vec<(u64, u32)> = shares.filter(|(_, weight)| *weight > 0).collect();
    shares.sort_unstable();
    Tables::of(Recipes([(LaneKey(1), Recipe { size: SIZE, shares })].into()))
}

impl World {
    /// Weights change, at each director by itself.
    pub(super) fn weights_change(&mut self) {
        if self.rng.u8(..6) == 0 {
            let index = self.rng.usize(0..self.nodes.len());
            self.nodes[index].desired = self.any_tables();
        }
    }

    pub(super) fn any_tables(&mut self) -> Tables {
        tables(
            [(); SERVERS as usize].map(|()| self.rng.u32(0..3)).map(|weight| weight + u32::from(weight == 0)),
        )
    }

    /// What an agent does for the tables: what the core asks for, and what is wanted.
    pub(super) fn keep_in_step(&mut self, index: usize) {
        let (now, can) = (self.clock(index), self.is_calm || self.rng.u8(..10) > 0);
        let early = self.faults.commit_early;
        let node = &mut self.nodes[index];
        let Some(core) = &mut node.core else { return };
        core.step_mut().desire((*node.desired.recipes).clone(), SILENCE);
        match core.step().task() {
            Some(Task::Try(tables)) => {
                core.step_mut().answer(can);
                node.tell_since = None;
                if early && can {
                    node.tables = tables;
                }
            }
            Some(Task::Tell) => match node.tell_since {
                // The walk that follows is the first that knows of them.
                None => node.tell_since = Some(now),
                Some(since) if core.has_told_all_of(since) => core.step_mut().told(),
                Some(_) => {}
            },
            Some(Task::GoOver(tables)) => {
                node.tables = tables;
                core.step_mut().gone_over();
            }
            None => {}
        }
    }

    /// The walk over the table: what need not be told is not.
    pub(super) fn export(&mut self, index: usize, flow: FlowId, connection: Connection) {
        let now = self.clock(index);
        let Self { kitchen, nodes, tells_all, .. } = self;
        let Some(core) = &mut nodes[index].core else { return };
        if *tells_all || !is_derivable(core, kitchen, flow, connection) {
            core.publish(flow, connection, now).expect("there is room");
        }
    }

    /// What is left in a flow table of a connection that has moved on: found by the walk when the tables change.
    pub(super) fn export_left_over(&mut self, index: usize) {
        if self.tells_all {
            return;
        }
        let left = self.nodes[index].flows.iter();
        let left = left.filter(|(flow, _)| self.truth.get(flow).is_none_or(|(holder, _)| *holder != index));
        let left: Vec<(FlowId, Connection)> = left.map(|(flow, connection)| (*flow, *connection)).collect();
        for (flow, connection) in left {
            if self.nodes[index].core.as_ref().is_some_and(|core| core.may_be_left_untold(flow)) {
                self.export(index, flow, connection);
            }
        }
    }

    /// Where this director's data path would send a packet amid this connection: its entry, another one's record, its miss table.
    pub(super) fn route(&mut self, index: usize, flow: FlowId) -> Option<Target> {
        let Self { kitchen, nodes, .. } = self;
        let node = &nodes[index];
        let entry = node.flows.get(&flow).map(|connection| connection.target);
        let replica = || node.core.as_ref()?.replica(flow).map(|connection| connection.target);
        // What another director says later has cleared the entry.
        replica().or(entry).or_else(|| kitchen.gives(&node.tables, flow))
    }

    /// The invariant that matters: for each established connection and each peer in sync, the server that the peer's data path
    /// would choose now is the stored server.
    pub(super) fn every_peer_would_go_on(&mut self) {
        let truth: Vec<(FlowId, usize, Connection)> =
            self.truth.iter().map(|(flow, (holder, connection))| (*flow, *holder, *connection)).collect();
        for a in 0..self.nodes.len() {
            for b in (0..self.nodes.len()).filter(|b| *b != a) {
                if !self.is_in_sync(a, b) {
                    continue;
                }
                let its = self.nodes[a].core.as_ref().map(Replicator::origin);
                for (flow, _, connection) in truth.iter().filter(|(_, holder, _)| *holder == a) {
                    let knows = |core: &Replicator| core.names.is_configured(connection.target);
                    if !self.nodes[b].core.as_ref().is_some_and(knows) {
                        continue;
                    }
                    let known = |index: usize| {
                        let entry = self.nodes[index].core.as_ref()?.store.get(*flow)?;
                        Some(entry.version)
                    };
                    let by_others = known(b).filter(|version| Some(version.origin) != its);
                    // Somebody has just told of an entry that was left over, or passed on what an earlier life of `a` had told; `a`
                    // hears it, too, at the next digest at the latest, and says that it is wrong.
                    if by_others > known(a) || self.has_forgotten(b, *flow) {
                        continue;
                    }
                    assert_eq!(
                        self.route(b, *flow),
                        Some(connection.target),
                        "node {b}, in sync with {a}, would send {flow:?} elsewhere"
                    );
                }
            }
        }
        self.the_silent_are_found();
    }

    /// Connections that were silent through a takeover, and are stored nowhere.
    fn the_silent_are_found(&mut self) {
        let now = self.now;
        self.silent.retain(|_, (_, _, until)| *until > now);
        let silent: Vec<(FlowId, usize, Target)> =
            self.silent.iter().map(|(flow, (heir, target, _))| (*flow, *heir, *target)).collect();
        for (flow, heir, target) in silent {
            if self.nodes[heir].core.as_ref().is_some_and(|core| core.names.is_configured(target)) {
                assert_eq!(self.route(heir, flow), Some(target), "node {heir} has lost the silent {flow:?}");
            }
        }
    }

    pub(super) fn is_in_sync(&self, a: usize, b: usize) -> bool {
        let (Some(one), Some(other)) = (&self.nodes[a].core, &self.nodes[b].core) else { return false };
        let same_session =
            self.network.ends.get(&(a, b)).is_some_and(|end| {
                self.network.ends.get(&(b, a)).is_some_and(|back| back.session == end.other)
            });
        let peer = other.origin().node;
        let is_ready =
            one.sessions.get(&peer).is_some_and(|session| session.standing >= Some(Standing::Ready));
        // Who has refused waits for the configuration, and shows it.
        let refused = other.refusals().of(super::super::refusal::Refusal::QuarantineFull) > 0;
        // One that went over without `a` was not waited for; `a` hears it in a moment.
        let went_together = self.tells_all
            || one.step().stance(peer) == other.step().current().map(|tables| tables.digest)
            || other.step().with().contains(&one.origin().node);
        same_session
            && is_ready
            && !refused
            && went_together
            && one.is_in_step_with(peer)
            && one.in_sync(peer) == Some(true)
    }
}

impl Replicator {
    fn is_in_step_with(&self, peer: super::super::version::NodeId) -> bool {
        self.step().is_in_step(peer) && !self.is_recovering()
    }
}

/// Whether every table that a peer may go by gives its server, and nothing else was said of it.
fn is_derivable(core: &Replicator, kitchen: &mut Kitchen, flow: FlowId, connection: Connection) -> bool {
    core.all_in_step()
        && core.may_be_left_untold(flow)
        && core.step().possible().all(|tables| kitchen.gives(tables, flow) == Some(connection.target))
}

/// A flow id that has all the bits it may have.
pub(super) fn flow_of(number: u64) -> FlowId {
    FlowId::from_bits(lb_common::identity::mix(number) >> (64 - FLOW_ID_BITS))
}

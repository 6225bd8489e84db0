//! What happens to directors and connections: life, and misfortune.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use lb_common::identity::FlowId;

use super::super::tables::{SILENCE, flow_of};
use super::{FLOWS, LONGEST_IDLE, World, pair};
use crate::replication::join::Standing;
use crate::replication::record::{Class, Connection, Lease, Stage, Target};
use crate::replication::version::Origin;

impl World {
    pub(super) fn life_goes_on(&mut self) {
        for _ in 0..self.rng.usize(0..4) {
            let flow = flow_of(self.rng.u64(0..FLOWS));
            let index = self.rng.usize(0..self.nodes.len());
            let ready =
                self.nodes[index].core.as_ref().is_some_and(|core| core.standing() >= Standing::Ready);
            let connection = Connection {
                target: self.pick(index, flow),
                class: match self.rng.u8(..4) {
                    0 => Class::Established,
                    1 => Class::HalfClosed,
                    2 => Class::Closing,
                    _ => seat_or_lease(self.rng.u32(..)),
                },
                idle: self.rng.u32(30..=LONGEST_IDLE as u32),
            };
            match (self.truth.get(&flow).copied(), self.rng.u8(..5)) {
                (None, _) if ready => self.hold(flow, index, connection),
                (Some((holder, _)), 0 | 1) => self.close(flow, holder),
                (Some((holder, was)), 2) => {
                    self.hold(flow, holder, Connection { target: was.target, ..connection });
                }
                // The path has changed, or the VIP moved: the connection goes on at another director.
                (Some((_, was)), 3) if ready => self.hold(flow, index, was),
                // An entry of which the traffic has gone elsewhere comes to its end.
                (truth, _) if truth.is_none_or(|(holder, _)| holder != index) => self.forget(flow, index),
                _ => {}
            }
        }
    }

    fn hold(&mut self, flow: FlowId, index: usize, connection: Connection) {
        self.silent.remove(&flow);
        self.truth.insert(flow, (index, connection));
        self.nodes[index].flows.insert(flow, connection);
        self.export(index, flow, connection);
    }

    /// Whom the director's select table gives a new connection: often, but not always, the one that its miss table would.
    fn pick(&mut self, index: usize, flow: FlowId) -> Target {
        let by_table = self.kitchen.gives(&self.nodes[index].tables, flow);
        let any = pair(self.rng.u64(0..4)).target();
        by_table.filter(|_| self.rng.u8(..3) > 0).unwrap_or(any)
    }

    fn close(&mut self, flow: FlowId, holder: usize) {
        self.truth.remove(&flow);
        self.forget(flow, holder);
    }

    pub(super) fn forget(&mut self, flow: FlowId, index: usize) {
        let now = self.clock(index);
        let node = &mut self.nodes[index];
        if node.flows.remove(&flow).is_some()
            && let Some(core) = &mut node.core
        {
            core.withdraw(flow, now);
        }
    }

    pub(super) fn misfortune(&mut self) {
        let a = self.rng.usize(0..self.nodes.len());
        let b = (a + self.rng.usize(1..self.nodes.len())) % self.nodes.len();
        match self.rng.u8(..60) {
            0 => self.crash(a, false),
            1 => self.crash(a, true),
            2 => drop(self.network.cut.insert((a, b))),
            3 => self.network.cut.extend([(a, b), (b, a)]),
            4..=8 => drop(self.network.cut.remove(&(a, b))),
            9 => self.network.cut.clear(),
            10 => self.network.doom(a, b, self.now, 0),
            11 => self.configure(a, false),
            12 => self.configure(a, true),
            13 => self.duplicate(a, b),
            14 => drop(self.network.letters.get_mut(&(a, b)).and_then(std::collections::VecDeque::pop_front)),
            15 => self.network.cut.extend((0..self.nodes.len()).flat_map(|other| [(a, other), (other, a)])),
            _ => {}
        }
    }

    fn crash(&mut self, index: usize, whole_machine: bool) {
        let knew: Vec<usize> =
            (0..self.nodes.len()).filter(|peer| *peer != index && self.is_in_sync(index, *peer)).collect();
        let Some(core) = self.nodes[index].core.take() else { return };
        self.nodes[index].returns = self.now + self.rng.u64(100..15_000);
        for peer in (0..self.nodes.len()).filter(|peer| *peer != index) {
            self.network.ends.remove(&(index, peer));
            // Its sockets are gone, with what was on its way to them.
            self.network.letters.remove(&(peer, index));
            self.network.delivered.remove(&(peer, index));
            self.network.doom(peer, index, self.now, 0);
        }
        if whole_machine {
            self.nodes[index].flows.clear();
            self.nodes[index].life += 1;
            // Its tables are made anew, of whatever servers it finds.
            self.nodes[index].tables = self.any_tables();
            self.silent.retain(|_, (heir, _, _)| *heir != index);
            self.takeover(index, core.setup.origin, &knew);
        }
    }

    /// Somebody else gets the VIP and goes on with what it knows. The rest of the connections is reset.
    fn takeover(&mut self, dead: usize, origin: Origin, knew: &[usize]) {
        let heir = (0..self.nodes.len()).find(|index| {
            self.nodes[*index].core.as_ref().is_some_and(|core| core.standing() >= Standing::Ready)
        });
        let now = heir.map(|heir| self.clock(heir));
        let orphans: BTreeSet<FlowId> =
            self.truth.iter().filter(|(_, (holder, _))| *holder == dead).map(|(flow, _)| *flow).collect();
        let mut kept = BTreeMap::new();
        if let (Some(heir), Some(now)) = (heir, now)
            && let Some(core) = &mut self.nodes[heir].core
        {
            kept = orphans
                .iter()
                .filter_map(|flow| core.replica(*flow).map(|at| (*flow, (heir, *at))))
                .collect();
            core.take_over(origin, now);
        }
        for flow in orphans {
            let derived = self.truth.remove(&flow).map(|(_, connection)| connection);
            // What was not told is derived, and goes on if the heir was in sync.
            if let (Some(heir), Some(connection)) = (heir.filter(|heir| knew.contains(heir)), derived)
                && !kept.contains_key(&flow)
                && self.nodes[heir]
                    .core
                    .as_ref()
                    .is_some_and(|core| core.names.is_configured(connection.target))
            {
                assert_eq!(self.route(heir, flow), Some(connection.target), "node {heir} inherits {flow:?}");
                if self.rng.bool() {
                    self.hold(flow, heir, connection);
                } else {
                    let until = self.now + SILENCE.as_millis() as u64 * 8 / 10;
                    self.silent.insert(flow, (heir, connection.target, until));
                }
            }
            // Half of them speak at once, the others are silent for good and have to lapse.
            if let Some((heir, connection)) = kept.remove(&flow).filter(|_| self.rng.bool()) {
                self.hold(flow, heir, connection);
            }
        }
    }

    /// A message comes twice.
    fn duplicate(&mut self, from: usize, to: usize) {
        let Some((session, body)) = self.network.delivered.get(&(from, to)) else { return };
        let now = self.clock(to);
        let Some(core) = &mut self.nodes[to].core else { return };
        let before: Vec<_> = core.store.iter().map(|(flow, entry)| (flow, entry.version)).collect();
        core.receive(*session, body, now).expect_err("it has been here before");
        assert!(
            core.store.iter().map(|(flow, entry)| (flow, entry.version)).eq(before),
            "a duplicate had an effect"
        );
        self.network.doom(from, to, self.now, 0);
    }
}

/// What is no connection's class alone, of any number.
fn seat_or_lease(number: u32) -> Class {
    let somewhere = IpAddr::from(Ipv4Addr::from(number));
    if number.is_multiple_of(2) {
        return Class::Seat(somewhere);
    }
    let port = (number >> 16) as u16;
    let lease =
        Lease { source: somewhere, source_port: port, client: somewhere, client_port: port, vip_port: port };
    Class::Lease(Stage::Established, lease)
}

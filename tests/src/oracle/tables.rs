//! Whom the tables name: unknown until seen, and then always the same.

use std::collections::HashMap;

use lb_common::entry::Scheduler;

use super::reading::Word;
use super::{Belief, Flow, Oracle};
use crate::datapath::world::{Mode, Protocol, Server};

/// A table is what it is made of: a service's servers with their weights.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Table {
    service: usize,
    weights: Vec<(usize, u32)>,
}

/// This table names this server for this flow; `None` if it is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fact {
    table: Table,
    flow: Flow,
    named: Option<usize>,
}

/// All that was ever learned about tables.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<(Table, Flow), Option<usize>>);

impl Known {
    pub fn learn(&mut self, fact: &Fact) {
        self.0.insert((fact.table.clone(), fact.flow), fact.named);
    }
}

/// A server that may be picked, or that none is, and what the tables must say for that.
pub(super) type Pick = (Option<usize>, Vec<Fact>);

impl Oracle {
    /// Whom a flow without a place may be given to.
    pub(super) fn picks(&self, service: usize, flow: &Flow, word: Word) -> Vec<Pick> {
        let (select, miss) = (self.select_table(service), self.miss_table(service));
        let is_new = word == Word::Syn || flow.protocol == Protocol::Udp;
        let mut picks = Vec::new();
        if is_new && self.world.flows && self.chooses(service) {
            picks = self.without_twins(self.choices(&select), &select, flow);
            // It looks at some of them only: where those take nobody, the tables decide.
            if !picks.is_empty() && select.weights.iter().all(|(number, _)| takes_new(self.server(*number))) {
                return picks;
            }
        }
        if word == Word::Syn {
            picks.extend(self.without_twins(self.named(&select, flow, &[]), &select, flow));
            return picks;
        }
        for (server, facts) in self.named(&miss, flow, &[]) {
            // A datagram has no handshake to lose: it goes to whoever takes new ones.
            let usable = server.is_some_and(|number| {
                let server = self.server(number);
                if is_new { takes_new(server) } else { is_alive(server) }
            });
            let meant = if usable { vec![(server, facts)] } else { self.named(&select, flow, &facts) };
            picks.extend(if is_new { self.without_twins(meant, &select, flow) } else { meant });
        }
        picks
    }

    /// Whether this service picks by more than its tables.
    fn chooses(&self, service: usize) -> bool {
        let service = &self.world.services[service];
        service.scheduler != Scheduler::Maglev || service.affinity.is_some()
    }

    /// Whom a scheduler may choose that is not modelled any further: anybody of the table who takes new connections. A client
    /// may also come back to one whom the table no longer has.
    fn choices(&self, select: &Table) -> Vec<Pick> {
        let affine = self.world.services[select.service].affinity.is_some();
        let of_service =
            self.world.servers.iter().enumerate().filter(|(_, (number, _))| number.0 == select.service);
        let in_table = |number: &usize| select.weights.iter().any(|(other, _)| other == number);
        let chosen: Vec<Pick> = of_service
            .filter(|(number, (_, server))| takes_new(server) && (affine || in_table(number)))
            .map(|(number, _)| (Some(number), Vec::new()))
            .collect();
        // Nobody of the table may take it: then the tables decide.
        if select.weights.iter().any(|(number, _)| takes_new(self.server(*number))) {
            chosen
        } else {
            Vec::new()
        }
    }

    /// Whom the miss table alone may name, if alive.
    pub(super) fn derived(&self, service: usize, flow: &Flow) -> Vec<Pick> {
        let alive = |number: &usize| is_alive(self.server(*number));
        let named = self.named(&self.miss_table(service), flow, &[]);
        named.into_iter().map(|(server, facts)| (server.filter(alive), facts)).collect()
    }

    /// Whether the miss table names this server for the flow: what may be, and what must be true for it.
    pub(super) fn derives(&self, server: usize, flow: &Flow) -> Vec<(bool, Vec<Fact>)> {
        let service = self.world.servers[server].0.0;
        let named = self.named(&self.miss_table(service), flow, &[]);
        named.into_iter().map(|(named, facts)| (named == Some(server), facts)).collect()
    }

    /// Whom this table may name, where all of this is true as well. Whoever is not in use any more is nobody.
    fn named(&self, table: &Table, flow: &Flow, given: &[Fact]) -> Vec<Pick> {
        let said = given.iter().find(|fact| fact.table == *table && fact.flow == *flow);
        let known =
            said.map(|fact| fact.named).or_else(|| self.tables.0.get(&(table.clone(), *flow)).copied());
        let candidates = match known {
            Some(named) => vec![named],
            None if table.weights.is_empty() => vec![None],
            None => table.weights.iter().map(|(number, _)| Some(*number)).collect(),
        };
        let in_use = |number: &usize| !self.server(*number).freed;
        let pick = |named: Option<usize>| {
            let fact = Fact { table: table.clone(), flow: *flow, named };
            (named.filter(in_use), given.iter().cloned().chain([fact]).collect())
        };
        candidates.into_iter().map(pick).collect()
    }

    /// Two connections of one client port to two VIPs would be one at a shared server: then another server may be taken.
    fn without_twins(&self, picks: Vec<Pick>, select: &Table, flow: &Flow) -> Vec<Pick> {
        let mut all = Vec::new();
        for (server, facts) in picks {
            if server.is_some_and(|server| self.may_have_twin(server, flow)) {
                let others = select.weights.iter().map(|(number, _)| *number);
                let others = others.filter(|number| !self.server(*number).freed && Some(*number) != server);
                all.extend(others.map(|other| (Some(other), facts.clone())));
            }
            all.push((server, facts));
        }
        all
    }

    fn may_have_twin(&self, server: usize, flow: &Flow) -> bool {
        // By full NAT, no two are.
        if !self.world.flows || self.service_of(server).mode != Mode::Nat {
            return false;
        }
        let hit = match self.port_of(server) {
            0 => flow.vip_port,
            port => port,
        };
        let pairs = self.reached_at(self.server(server).address, hit, flow.protocol);
        pairs.into_iter().filter(|other| *other != server).any(|other| {
            let twin = self.flow_at(other, (flow.client, flow.client_port), hit);
            twin.is_some_and(|twin| {
                let held = |belief: Belief| belief.or_else(|| self.held_elsewhere(&twin));
                let mut beliefs = self.beliefs(&twin).into_iter().filter_map(held);
                beliefs.any(|connection| connection.server == other)
            })
        })
    }

    /// Who gets new connections.
    fn select_table(&self, service: usize) -> Table {
        self.table(service, |server| server.weight)
    }

    /// Who gets packets amid a connection that nobody knows.
    fn miss_table(&self, service: usize) -> Table {
        self.table(service, |server| server.miss_weight.unwrap_or(server.weight))
    }

    fn table(&self, service: usize, weight: impl Fn(&Server) -> u32) -> Table {
        let servers = self.world.servers.iter().enumerate();
        let of_service = servers.filter(|(_, (number, _))| number.0 == service);
        let weights = of_service.map(|(number, (_, server))| (number, weight(server)));
        Table { service, weights: weights.filter(|(_, weight)| *weight > 0).collect() }
    }
}

/// Whether a server is there and well.
pub(super) const fn is_alive(server: &Server) -> bool {
    !server.freed && !server.down
}

/// Whether a server may be given new connections.
pub(super) const fn takes_new(server: &Server) -> bool {
    is_alive(server) && !server.drained && !server.removed
}

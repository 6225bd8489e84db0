//! The ports of full NAT: which connection has which, and who may be given one.
//!
//! There are so few that any connection may have any of them. A port is lent again when its connection is over; of those that
//! are not, only handshakes of TCP give way, and whatever is at a server that is gone.

use std::collections::HashMap;
use std::net::IpAddr;

use super::life::{Connection, Stage};
use super::{Alternative, Flow, Oracle};
use crate::datapath::world::Protocol;

/// One that full NAT sends from.
pub(super) type Port = (IpAddr, u16);

/// A connection, and the port that it is sent from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lease {
    pub connection: Connection,
    pub port: Port,
}

/// What a flow may have.
pub(super) type Lent = Option<Lease>;

/// What may be true of each flow; those of which nothing is known have nothing.
#[derive(Debug, Default)]
pub(super) struct Leases(HashMap<Flow, Vec<Lent>>);

/// Who gives way first; a port that nobody has before all others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rank {
    Free,
    Handshake,
    Closed,
    Open,
}

impl Leases {
    /// What this flow may have.
    pub fn of(&self, flow: &Flow) -> Vec<Lent> {
        self.0.get(flow).cloned().unwrap_or_else(|| vec![None])
    }

    /// Who may have this port, and whether it is certain.
    pub fn at(&self, port: Port) -> Vec<(Flow, Lease, bool)> {
        let mut all = Vec::new();
        for (flow, beliefs) in &self.0 {
            let has = |lent: &&Lease| lent.port == port;
            let certain = beliefs.iter().all(|lent| lent.as_ref().is_some_and(|lease| has(&lease)));
            all.extend(beliefs.iter().flatten().filter(has).map(|lease| (*flow, *lease, certain)));
        }
        // Nobody has what is certainly another's.
        if all.iter().any(|(.., certain)| *certain) {
            all.retain(|(.., certain)| *certain);
        }
        all
    }
}

impl Oracle {
    /// The ports of which a connection of this family may be given one, and whether it may be given none.
    pub(super) fn lendable(&self, v6: bool) -> (Vec<Port>, bool) {
        let (first, count) = self.world.pool.ports;
        let addresses = self.world.pool.addresses.iter().filter(|address| address.is_ipv6() == v6);
        let ports = addresses.flat_map(|address| (0..count as u16).map(move |i| (*address, first + i)));
        let states: Vec<(Port, Vec<(Rank, bool)>)> = ports.map(|port| (port, self.states(port))).collect();
        let highest = |states: &Vec<(Rank, bool)>| states.iter().map(|(rank, _)| *rank).max();
        // One that gives way no later than this there is for certain.
        let Some(bound) = states.iter().filter_map(|(_, states)| highest(states)).min() else {
            return (Vec::new(), true);
        };
        let asked = |(rank, _): &&(Rank, bool)| *rank <= bound;
        let lent = |(_, states): &&(Port, Vec<_>)| states.iter().filter(asked).any(|(_, gives)| *gives);
        let refused = states.iter().any(|(_, states)| states.iter().filter(asked).any(|(_, gives)| !gives));
        (states.iter().filter(lent).map(|(port, _)| *port).collect(), refused)
    }

    /// What may be said of who has a port: when he is asked to give way, and whether he does.
    fn states(&self, port: Port) -> Vec<(Rank, bool)> {
        let holders = self.leases.at(port);
        let mut all = Vec::new();
        if !holders.iter().any(|(.., certain)| *certain) {
            all.push((Rank::Free, true));
        }
        for (flow, Lease { connection, .. }, _) in holders {
            let rank = match connection.stage {
                Stage::Asked | Stage::Answered => Rank::Handshake,
                Stage::Closed => Rank::Closed,
                Stage::Open | Stage::HalfClosed => Rank::Open,
            };
            let is_young = flow.protocol == Protocol::Tcp && rank == Rank::Handshake;
            let gives = is_young || self.server(connection.server).freed;
            let is_over = connection.is_over(self.now).into_iter();
            all.extend(is_over.map(|over| if over { (Rank::Free, true) } else { (rank, gives) }));
        }
        all
    }

    /// What all alternatives have in common that fit is true of the ports, too.
    pub(super) fn learn_leases(&mut self, fitting: &[Alternative]) {
        let mut touched: HashMap<Flow, Vec<Lent>> = HashMap::new();
        for (flow, lent) in fitting.iter().filter_map(|one| one.lent) {
            let beliefs = touched.entry(flow).or_default();
            if !beliefs.contains(&lent) {
                beliefs.push(lent);
            }
        }
        for (flow, mut beliefs) in touched {
            if !fitting.iter().all(|one| one.lent.is_some_and(|(other, _)| other == flow)) {
                beliefs.extend(self.leases.of(&flow));
            }
            self.displace(flow, &beliefs);
            self.leases.0.insert(flow, beliefs);
        }
    }

    /// Whoever may have had a port that this flow may have now, may have it no longer.
    fn displace(&mut self, flow: Flow, beliefs: &[Lent]) {
        let ports: Vec<Port> = beliefs.iter().flatten().map(|lease| lease.port).collect();
        let Some(first) = ports.first() else { return };
        let all_have = |beliefs: &[Lent]| beliefs.iter().all(|lent| lent.is_some_and(|it| it.port == *first));
        let (is_certain, was_certain) = (all_have(beliefs), all_have(&self.leases.of(&flow)));
        let others = self.leases.0.iter_mut().filter(|(other, _)| **other != flow);
        for (_, others) in others {
            let has = |lent: &Lent| lent.is_some_and(|lease| ports.contains(&lease.port));
            if !others.iter().any(has) {
                continue;
            }
            if is_certain {
                others.retain(|lent| !has(lent));
            }
            // Nobody has lost what was this flow's before.
            if !(was_certain && is_certain && !others.is_empty() || others.contains(&None)) {
                others.push(None);
            }
        }
    }
}

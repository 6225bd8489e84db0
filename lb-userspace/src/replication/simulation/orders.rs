//! Operators order at any director, and checks find other things there.

use std::collections::BTreeMap;

use super::super::board::{AddressKey, Finding, Given, Health, Order, ServerKey, Wish};
use super::super::join::Standing;
use super::world::World;

impl World {
    pub(super) fn orders_are_given(&mut self) {
        let index = self.rng.usize(0..self.nodes.len());
        let (server, number) = (ServerKey(self.rng.u64(0..3)), self.rng.u16(0..6));
        let order = match number {
            0 => Order::Enabled,
            1 => Order::Draining,
            2 => Order::Disabled,
            3 => Order::ConfiguredWeight,
            weight => Order::Weight(weight),
        };
        if let Some(core) = &mut self.nodes[index].core {
            core.order(server, order).expect("there is room");
            let concern = order.concern();
            assert_eq!(
                core.board().order(server, concern),
                Some(order),
                "the latest order holds where it is given"
            );
        }
    }

    /// Each director finds something else, which it says itself, and tells it while it leads.
    pub(super) fn findings_are_told(&mut self, index: usize) {
        let since = self.rng.u32(0..3);
        let Some(core) = &mut self.nodes[index].core else { return };
        let finding = Finding {
            health: Health::Up,
            heard: false,
            share: 8,
            wish: Wish::Ready,
            fault: false,
            most: index as u32,
            since,
            risen: 0,
        };
        let leads = core.leader() == Some(core.setup.origin.node);
        core.find(if leads { BTreeMap::from([(AddressKey(1), finding)]) } else { BTreeMap::new() });
    }

    /// Nobody goes back behind an order, over restarts of the agent neither; what stands on the disk is what holds.
    pub(super) fn orders_only_grow(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(core) = &node.core else { return };
        let held: Vec<(ServerKey, Given)> = core.board().orders().collect();
        for (server, before) in &node.ordered {
            let concern = before.order.concern();
            let now = held.iter().find(|(at, given)| at == server && given.order.concern() == concern);
            let grown = now.is_some_and(|(_, now)| now.version >= before.version);
            assert!(grown, "node {index} forgot {before:?} of {server:?}");
        }
        node.ordered = held;
    }

    /// After a calm.
    pub(super) fn all_obey_and_follow(&self) {
        let cores = || self.nodes.iter().map(|node| node.core.as_ref().expect("all are back"));
        let first: Vec<_> = cores().next().into_iter().flat_map(|core| core.board().orders()).collect();
        for core in cores() {
            assert_eq!(core.board().orders().collect::<Vec<_>>(), first, "orders differ");
            let leader = core.leader().expect("all are ready");
            let serving = |standing| standing == Standing::Serving;
            let its = cores().find(|core| core.setup.origin.node == leader).expect("a director");
            assert!(
                serving(its.standing()) || !cores().any(|core| serving(core.standing())),
                "who leads serves"
            );
            assert_eq!(its.leader(), Some(leader), "who leads knows it");
            let found = core.found_by_leader().and_then(|found| found.get(&AddressKey(1)));
            assert!(found.is_none_or(|finding| finding.share == 8), "garbage");
            assert_eq!(found.is_some(), leader != core.setup.origin.node, "the leader is believed");
        }
    }
}

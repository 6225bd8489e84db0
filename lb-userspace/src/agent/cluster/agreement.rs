//! Orders and findings of the cluster, and the standings they make: what was ordered at any director holds at all of them, and
//! what the leader has found holds while it is heard. Pure.

use std::collections::{BTreeMap, HashMap};

use lb_common::entry::{Admin, HealthMemo};
use lb_common::identity::name_hash;

use crate::agent::standing::{AddressName, Advised, PairName, Standing, Standings};
use crate::config::Family;
use crate::health::Share;
use crate::health::advice;
use crate::replication::board::{AddressKey, Board, Concern, Finding, Health, Order, ServerKey, Wish};

/// What an address's own checks have found here, whoever leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub health: HealthMemo,
    pub advised: Advised,
}

/// Of every address that has been heard of.
pub type Findings = HashMap<AddressName, Found>;

impl Found {
    /// As it is in force.
    pub fn of(standing: &Standing) -> Self {
        Self { health: standing.health, advised: standing.advised }
    }

    /// The standing goes by it.
    pub fn put_on(self, standing: &mut Standing) {
        (standing.health, standing.advised) = (self.health, self.advised);
    }
}

/// The same on every director.
pub fn server_key(pair: &PairName) -> ServerKey {
    ServerKey(name_hash(name_hash(0, pair.service.as_bytes()), pair.server.as_bytes()))
}

fn address_key(name: &AddressName) -> AddressKey {
    let family: &[u8] = match name.family {
        Family::V4 => b"4",
        Family::V6 => b"6",
    };
    AddressKey(name_hash(server_key(&name.pair).0, family))
}

/// What is ordered of its traffic, if only what holds without an order.
pub fn traffic(standing: &Standing) -> Order {
    match standing.admin {
        Admin::Enabled => Order::Enabled,
        Admin::Draining => Order::Draining,
        Admin::Disabled => Order::Disabled,
    }
}

/// Likewise of its weight.
pub fn weight(standing: &Standing) -> Order {
    standing.weight.map_or(Order::ConfiguredWeight, Order::Weight)
}

/// The orders that make this standing; none where nothing is ordered.
pub fn orders(standing: &Standing) -> impl Iterator<Item = Order> + use<> {
    let is_said = |order: &Order| !matches!(order, Order::Enabled | Order::ConfiguredWeight);
    [traffic(standing), weight(standing)].into_iter().filter(is_said)
}

/// What the leader tells of these.
pub fn findings(standings: &Standings) -> BTreeMap<AddressKey, Finding> {
    standings.iter().map(|(name, standing)| (address_key(name), finding(standing))).collect()
}

/// Brings the standing of an address to what is agreed; `now` in Unix seconds. `leaders`: what another director that leads has
/// found; while there is none, what was `found` here holds. Whether anything has changed.
pub fn settle(
    name: &AddressName,
    standing: &mut Standing,
    board: &Board,
    leaders: Option<&BTreeMap<AddressKey, Finding>>,
    found: Option<&Found>,
    now: u32,
) -> bool {
    let before = *standing;
    obey(standing, board, server_key(&name.pair));
    let told = leaders.map(|leaders| leaders.get(&address_key(name)));
    match (told, found) {
        (Some(Some(finding)), _) => believe(standing, finding),
        (None, Some(found)) => found.put_on(standing),
        // The leader has not come to it yet; or nothing has been found.
        (Some(None), _) | (None, None) => {}
    }
    if *standing == before {
        return false;
    }
    // The leader's times are in its word.
    if !matches!(told, Some(Some(_))) {
        standing.changed_from(&before, now);
    }
    true
}

fn obey(standing: &mut Standing, board: &Board, server: ServerKey) {
    for concern in [Concern::Traffic, Concern::Weight] {
        match board.order(server, concern) {
            Some(Order::Enabled) => standing.admin = Admin::Enabled,
            Some(Order::Draining) => standing.admin = Admin::Draining,
            Some(Order::Disabled) => standing.admin = Admin::Disabled,
            Some(Order::Weight(weight)) => standing.weight = Some(weight),
            Some(Order::ConfiguredWeight) => standing.weight = None,
            None => {}
        }
    }
}

fn finding(standing: &Standing) -> Finding {
    let Standing { health, since, risen, advised, .. } = *standing;
    Finding {
        health: match health {
            HealthMemo::Unknown => Health::Unknown,
            HealthMemo::Up => Health::Up,
            HealthMemo::Down => Health::Down,
        },
        heard: advised.heard,
        share: advised.share.eighths(),
        wish: match advised.order {
            advice::Order::Ready => Wish::Ready,
            advice::Order::Drain => Wish::Drain,
            advice::Order::Maint => Wish::Maintenance,
        },
        fault: advised.down,
        most: advised.most,
        since,
        risen,
    }
}

fn believe(standing: &mut Standing, finding: &Finding) {
    standing.health = match finding.health {
        Health::Unknown => HealthMemo::Unknown,
        Health::Up => HealthMemo::Up,
        Health::Down => HealthMemo::Down,
    };
    standing.advised = Advised {
        heard: finding.heard,
        share: Share::of_eighths(finding.share),
        order: match finding.wish {
            Wish::Ready => advice::Order::Ready,
            Wish::Drain => advice::Order::Drain,
            Wish::Maintenance => advice::Order::Maint,
        },
        down: finding.fault,
        most: finding.most,
    };
    (standing.since, standing.risen) = (finding.since, finding.risen);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(server: &str) -> AddressName {
        AddressName { pair: PairName { service: "web".into(), server: server.into() }, family: Family::V4 }
    }

    #[test]
    fn what_the_leader_says_is_believed_whole_and_own_findings_hold_without_one() {
        let its = Standing {
            health: HealthMemo::Down,
            since: 100,
            risen: 90,
            advised: Advised {
                heard: true,
                share: Share::of_eighths(3),
                order: advice::Order::Drain,
                down: true,
                most: 7,
            },
            ..Standing::default()
        };
        let leaders = findings(&Standings::from([(name("rs1"), its)]));
        let found = Found { health: HealthMemo::Up, advised: Advised::default() };
        let mut standing = Standing::default();
        let mut settle = |name: &AddressName, leaders| {
            let changed = settle(name, &mut standing, &Board::default(), leaders, Some(&found), 200);
            (changed, standing)
        };
        assert_eq!(settle(&name("rs1"), Some(&leaders)), (true, its));
        assert_eq!(settle(&name("rs1"), Some(&leaders)), (false, its));
        assert_eq!(settle(&name("rs2"), Some(&leaders)), (false, its), "of that one it has said nothing");
        let (changed, own) = settle(&name("rs1"), None);
        assert!(changed);
        assert_eq!((own.health, own.advised, own.since), (HealthMemo::Up, Advised::default(), 200));
    }

    #[test]
    fn a_servers_share_is_bounded_whoever_says_it() {
        assert_eq!(Share::of_eighths(u16::MAX).eighths(), Share::WHOLE.settled(1000).eighths());
    }
}

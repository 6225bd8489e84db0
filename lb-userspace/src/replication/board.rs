//! What directors agree on besides connections: what an operator ordered of a server, and what the leader has found of its
//! addresses.
//!
//! An order is a register in which the later one holds, whichever director was asked, so it needs no leader and outlives each of
//! them. A finding is the leader's word, and holds as long as it is heard. Both are told as sets of keys whose values are read
//! when they are sent; a session begins with all of them, and one that loses a message ends, so nothing is acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::names::MOST_NAMES;
use super::refusal::Refusal;
use super::step::Word;
use super::version::{Origin, Version};

/// A server in a service, by the hash of both names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ServerKey(pub u64);

/// An address of a server, likewise with the family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct AddressKey(pub u64);

/// What an operator may order of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Order {
    Enabled,
    Draining,
    Disabled,
    Weight(u16),
    /// The weight in the file.
    ConfiguredWeight,
}

/// What an order is about: two orders about the same replace each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Concern {
    Traffic,
    Weight,
}

impl Order {
    pub fn concern(self) -> Concern {
        match self {
            Self::Enabled | Self::Draining | Self::Disabled => Concern::Traffic,
            Self::Weight(_) | Self::ConfiguredWeight => Concern::Weight,
        }
    }
}

/// What a check has found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Health {
    Unknown,
    Up,
    Down,
}

/// What a server's own agent asks for, as an operator would.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Wish {
    Ready,
    Drain,
    Maintenance,
}

/// What a director knows of an address by its checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    pub health: Health,
    /// Whether its own agent has been heard; what follows is what it said.
    pub heard: bool,
    /// Eighths of the weight.
    pub share: u16,
    pub wish: Wish,
    pub fault: bool,
    /// The most connections; 0: it does not say.
    pub most: u32,
    /// Unix seconds of the last change, and of its return to those that take new connections (0: long ago).
    pub since: u32,
    pub risen: u32,
}

/// An order that was given, and when in the order of all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Given {
    pub order: Order,
    pub version: Version,
}

/// An order on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    server: ServerKey,
    order: Order,
    counter: u64,
    author: Origin,
}

/// What is said of the board.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Note {
    Orders(Vec<Told>),
    Findings(Vec<(AddressKey, Finding)>),
    Step(Word),
}

/// Orders that are believed: two for each server that others could have.
pub(super) const MOST_ORDERS: usize = 2 * MOST_NAMES;
/// Keys in one message: far below a frame.
const PARCEL: usize = 2048;

/// What a peer has yet to be told.
#[derive(Debug, Default)]
pub(super) struct Owed {
    orders: BTreeSet<(ServerKey, Concern)>,
    findings: BTreeSet<AddressKey>,
}

/// The orders, and the own findings while this director leads.
#[derive(Debug, Default)]
pub struct Board {
    orders: BTreeMap<(ServerKey, Concern), Given>,
    findings: BTreeMap<AddressKey, Finding>,
}

impl Board {
    /// Everything is owed to a peer that has just come.
    pub(super) fn owe_all(&self, owed: &mut Owed) {
        owed.orders = self.orders.keys().copied().collect();
        owed.findings = self.findings.keys().copied().collect();
    }

    /// The later order holds. Whether it is this one, and was not there before. `is_told`: by another director; what is ordered
    /// here always has room, since there are no more servers than the file has.
    ///
    /// # Errors
    /// [`Refusal::TooManyOrders`].
    pub(super) fn give(&mut self, server: ServerKey, given: Given, is_told: bool) -> Result<bool, Refusal> {
        let key = (server, given.order.concern());
        match self.orders.get(&key) {
            Some(held) if held.version >= given.version => return Ok(false),
            None if is_told && self.orders.len() >= MOST_ORDERS => return Err(Refusal::TooManyOrders),
            _ => {}
        }
        self.orders.insert(key, given);
        Ok(true)
    }

    /// All orders that hold.
    pub fn orders(&self) -> impl Iterator<Item = (ServerKey, Given)> + '_ {
        self.orders.iter().map(|((server, _), given)| (*server, *given))
    }

    /// What holds of this server in this respect.
    pub fn order(&self, server: ServerKey, concern: Concern) -> Option<Order> {
        self.orders.get(&(server, concern)).map(|given| given.order)
    }

    /// These are the own findings now; names those that are new.
    pub(super) fn find(&mut self, findings: BTreeMap<AddressKey, Finding>) -> Vec<AddressKey> {
        let is_new = |(key, finding): &(&AddressKey, &Finding)| self.findings.get(key) != Some(finding);
        let new = findings.iter().filter(is_new).map(|(key, _)| *key).collect();
        self.findings = findings;
        new
    }

    /// The next part of what is owed.
    pub(super) fn next(&self, owed: &mut Owed) -> Option<Note> {
        let orders = taken(&mut owed.orders, |key| {
            let Given { order, version } = self.orders.get(&key)?;
            Some(Told { server: key.0, order: *order, counter: version.counter, author: version.origin })
        });
        if !orders.is_empty() {
            return Some(Note::Orders(orders));
        }
        let findings = taken(&mut owed.findings, |key| Some((key, *self.findings.get(&key)?)));
        (!findings.is_empty()).then_some(Note::Findings(findings))
    }
}

impl Owed {
    pub fn order(&mut self, server: ServerKey, concern: Concern) {
        self.orders.insert((server, concern));
    }

    pub fn findings(&mut self, keys: &[AddressKey]) {
        self.findings.extend(keys);
    }
}

impl Told {
    #[cfg(test)]
    pub fn of(server: ServerKey, order: Order, counter: u64, author: Origin) -> Self {
        Self { server, order, counter, author }
    }

    pub fn into_given(self) -> (ServerKey, Given) {
        let version = Version { counter: self.counter, origin: self.author };
        (self.server, Given { order: self.order, version })
    }
}

/// As many of the keys as a message holds, with what there is of them.
fn taken<K: Ord + Copy, V>(keys: &mut BTreeSet<K>, value: impl Fn(K) -> Option<V>) -> Vec<V> {
    let mut values = Vec::new();
    while values.len() < PARCEL
        && let Some(key) = keys.pop_first()
    {
        values.extend(value(key));
    }
    values
}

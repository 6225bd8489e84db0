//! Everything as it was, at the cost of what there is to be forgotten: what a run touched is noted.

use std::cell::{Cell, RefCell};

use lb_common::clock::Now;
use lb_common::entry::{Path, ServerState};
use lb_common::flow_table::{BUCKET_SLOTS, FlowTable, Replicas};
use lb_common::fragments;
use lb_common::slot::ServerId;
use lb_common::word::Word;

use super::Native;
use crate::datapath::FIRST_TICK;
use crate::datapath::maps::{Room, SOURCE_SETS};
use crate::datapath::region::Region;
use crate::datapath::world::Replica;
use crate::random::Random;

/// What may hold anything, so that it can be forgotten without a look at all of it.
pub(super) struct Touched {
    pub(super) flows: Noted,
    pub(super) leases: Noted,
    pub(super) seats: Noted,
    pub(super) notes: Noted,
    pub(super) sources: Noted,
    pub(super) paths: Noted,
    replicas: Noted,
}

/// Tables that are not empty when everything is forgotten, word by word; nothing of those that are.
#[derive(Default)]
pub(super) struct Resting {
    flows: Vec<u64>,
    replicas: Vec<u64>,
}

impl Default for Touched {
    fn default() -> Self {
        let buckets = || Noted::below(Room::SMALL.geometry.buckets());
        Self {
            flows: buckets(),
            leases: Noted::below(Room::SMALL.lease_buckets),
            seats: buckets(),
            notes: Noted::below(fragments::SETS),
            sources: Noted::below(SOURCE_SETS),
            paths: Noted::below(Path::SETS),
            replicas: buckets(),
        }
    }
}

/// A set of numbers below a limit.
pub(super) struct Noted {
    bits: Vec<Cell<u64>>,
    numbers: RefCell<Vec<u32>>,
}

impl Noted {
    pub(super) fn below(limit: u32) -> Self {
        Self { bits: vec![Cell::new(0); limit.div_ceil(64) as usize], numbers: RefCell::default() }
    }

    pub(super) fn note(&self, number: u32) {
        let Some(word) = self.bits.get(number as usize / 64) else { return };
        let (before, bit) = (word.get(), 1 << (number % 64));
        if before & bit == 0 {
            word.set(before | bit);
            self.numbers.borrow_mut().push(number);
        }
    }

    /// All of them, which are forgotten by it.
    fn take(&self) -> impl Iterator<Item = u32> {
        let numbers = self.numbers.take();
        numbers.iter().for_each(|number| self.bits[*number as usize / 64].set(0));
        numbers.into_iter()
    }
}

impl Native {
    /// Forgets connections, ports, paths, notes, and what happened to servers and replicas, at the cost of what there is to be
    /// forgotten.
    pub fn forget(&mut self) {
        let none = &[][..];
        restore(&self.arrays.flows, &self.touched.flows, &self.resting.flows);
        restore(&self.arrays.leases, &self.touched.leases, none);
        restore(&self.arrays.seats, &self.touched.seats, none);
        restore(&self.arrays.fragments, &self.touched.notes, none);
        restore(&self.arrays.replicas, &self.touched.replicas, &self.resting.replicas);
        self.announce(!self.resting.replicas.is_empty());
        for number in self.touched.paths.take() {
            self.arrays.paths.get(number).into_iter().flatten().for_each(Path::clear);
        }
        for (number, state) in self.undisturbed.drain(..).rev() {
            self.arrays.servers.all()[number as usize].state.store(state);
        }
        self.arrays.set_ticks(FIRST_TICK, self.machine_ns);
        self.servers.get_mut().clear();
        self.pulse.take();
        self.announced.get_mut().clear();
        self.unreached.get_mut().clear();
    }

    /// Forgets as well what schedulers and limits have counted, and by what chance they went.
    pub fn forget_counts(&mut self) {
        let loads = self.arrays.loads.all().iter();
        loads.chain(self.arrays.services.all().iter().map(|service| &service.total)).for_each(|load| {
            load.begun.store(0);
        });
        restore(&self.arrays.sources, &self.touched.sources, &[]);
        for limits in self.arrays.limits.all() {
            limits.used.store(0);
        }
        self.turns.get_mut().clear();
        *self.random.get_mut() = Random::from_seed(1);
    }

    /// Whoever is stored or told of now is still there when everything is forgotten.
    pub fn rest(&mut self) {
        let words = |words: &[Word]| words.iter().map(Word::load).collect::<Vec<u64>>();
        let arrays = &self.arrays;
        self.resting.flows = words(arrays.flows.words());
        if arrays.settings.all()[0].replicas().is_some() {
            self.resting.replicas = words(arrays.replicas.words());
        }
    }

    /// The agent writes down what it was told, or that this has ended, until everything is forgotten.
    pub fn tell(&mut self, replica: &Replica, ended: bool) {
        self.announce(true);
        let geometry = Replicas(Room::SMALL.geometry);
        let table = FlowTable { memory: &self.arrays, geometry };
        let flow = self.arrays.settings.all()[0].flow_id(&replica.tuple());
        self.touched.replicas.note(geometry.0.first(flow));
        self.touched.replicas.note(geometry.0.other(geometry.0.first(flow), geometry.0.tag(flow)));
        if ended {
            table.take(flow);
        } else if let Some(server) = ServerId::new(replica.server.0 as u16 + 1) {
            // Without room, nothing is told.
            let _ = table.put(flow, server, replica.class, Now::at_tick(0));
        }
    }

    /// Says whether anything was told.
    fn announce(&self, held: bool) {
        let shape = Replicas(Room::SMALL.geometry);
        self.arrays.settings.all()[0].set_replicas(held.then_some(shape));
    }

    /// Turns some of a server's flags over until everything is forgotten; whoever there is not, is not disturbed.
    pub fn disturb(&mut self, number: u8, flags: u8) {
        const CHANGING: u64 =
            (ServerState::IN_USE | ServerState::DOWN | ServerState::DRAINED | ServerState::REMOVED) as u64;
        let number = 1 + u32::from(number) % self.names.len().max(1) as u32;
        let Some(server) = self.arrays.servers.get(number) else { return };
        let state = server.state.load();
        self.undisturbed.push((number, state));
        server.state.store(state ^ u64::from(flags) & CHANGING);
    }
}

/// Puts all buckets that were touched back to what stood there, or to nothing.
fn restore(table: &Region<[Word; BUCKET_SLOTS]>, touched: &Noted, resting: &[u64]) {
    for number in touched.take() {
        let first = number as usize * BUCKET_SLOTS;
        for (word, at) in table.get(number).into_iter().flatten().zip(first..) {
            word.store(resting.get(at).copied().unwrap_or(0));
        }
    }
}

//! Everything as it was, at the cost of what there is to be forgotten: what a run touched is noted.

use std::cell::{Cell, RefCell};

use lb_common::entry::{Path, ServerState};
use lb_common::flow_table::BUCKET_SLOTS;
use lb_common::word::Word;

use super::Native;
use crate::datapath::FIRST_TICK;

/// What may hold anything, so that it can be forgotten without a look at all of it.
pub(super) struct Touched {
    pub(super) buckets: Noted,
    pub(super) paths: Noted,
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
    /// Forgets connections, paths and what happened to servers, at the cost of what there is to be forgotten.
    pub fn forget(&mut self) {
        for number in self.touched.buckets.take() {
            let first = number as usize * BUCKET_SLOTS;
            for (word, at) in self.arrays.flows.get(number).into_iter().flatten().zip(first..) {
                word.store(self.resting.get(at).copied().unwrap_or(0));
            }
        }
        for number in self.touched.paths.take() {
            self.arrays.paths.get(number).into_iter().flatten().for_each(Path::clear);
        }
        for (number, state) in self.undisturbed.drain(..).rev() {
            self.arrays.servers.all()[number as usize].state.store(state);
        }
        self.arrays.set_ticks(FIRST_TICK, self.machine_ns);
        self.servers.get_mut().clear();
        self.pulse.take();
    }

    /// Whoever is stored now is still there when everything is forgotten.
    pub fn rest(&mut self) {
        self.resting = self.arrays.flows.words().iter().map(Word::load).collect();
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

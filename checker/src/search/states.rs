//! States, each kept once and named by a number.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;

use super::table::Table;

pub(super) struct States<S> {
    states: Vec<S>,
    table: Table,
    heap_bytes: usize,
}

impl<S: Eq + Hash> States<S> {
    pub(super) fn new() -> Self {
        Self {
            states: Vec::new(),
            table: Table::default(),
            heap_bytes: 0,
        }
    }

    pub(super) fn get(&self, state: u32) -> &S {
        &self.states[state as usize]
    }

    /// The number of this state. `heap_bytes` are counted when it is new.
    pub(super) fn number(&mut self, state: S, heap_bytes: impl FnOnce(&S) -> usize) -> u32 {
        let mut hasher = FxHasher::default();
        state.hash(&mut hasher);
        let hash = hasher.finish();
        let states = &self.states;
        let known = self
            .table
            .find(hash, |number| states[number as usize] == state);
        known.unwrap_or_else(|| {
            let number = u32::try_from(self.states.len()).expect("fewer than 2^32 states");
            self.heap_bytes += heap_bytes(&state);
            self.states.push(state);
            self.table.insert(hash, number);
            number
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.states.capacity() * size_of::<S>() + self.table.bytes() + self.heap_bytes
    }

    /// The bytes that one more state may add at once, because of a vector that grows.
    pub(super) fn growth(&self) -> usize {
        let full = self.states.len() == self.states.capacity();
        self.table.growth()
            + if full {
                2 * self.states.capacity() * size_of::<S>()
            } else {
                0
            }
    }
}

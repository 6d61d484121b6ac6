//! What is kept of the ways to explain the answers so far.

use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    Down,
    /// It stands, with the lease that it falls with.
    Up(Option<u64>),
}

impl State {
    pub(super) fn is_up(self) -> bool {
        self != Self::Down
    }
}

/// One way to explain what has been answered so far.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Configuration {
    pub(super) state: State,
    /// Operations that took effect ahead of their answer, and holds of unknown
    /// outcome whose lease matters.
    pub(super) done: Vec<u32>,
    /// The same of operations whose answers do not count: they need not have happened.
    pub(super) spared: Vec<u32>,
    /// How many of unknown outcome it needs: holds, holds that may fall at any
    /// time, releases.
    pub(super) used: [u32; 3],
    /// The event before which the barrier last was the other way.
    pub(super) other_seen: usize,
}

impl Configuration {
    pub(super) fn has_done(&self, step: usize) -> bool {
        let step = small(step);
        self.done.binary_search(&step).is_ok() || self.spared.binary_search(&step).is_ok()
    }

    /// Whether it explains all that the other one does, and more.
    fn covers(&self, other: &Self) -> bool {
        let used = self.used.iter().zip(&other.used);
        self.other_seen >= other.other_seen
            && used.into_iter().all(|(mine, its)| mine <= its)
            && is_among(&self.spared, &other.spared)
    }

    /// About how much memory it takes in a front, with its key.
    fn bytes(&self) -> usize {
        3 * size_of::<Self>() + (2 * self.done.len() + self.spared.len()) * size_of::<u32>()
    }

    pub(super) fn turned(&self, event: usize, state: State) -> Self {
        Self {
            state,
            other_seen: event,
            ..self.clone()
        }
    }
}

/// Whether all of these sorted numbers are among those.
fn is_among(some: &[u32], all: &[u32]) -> bool {
    some.len() <= all.len() && some.iter().all(|one| all.binary_search(one).is_ok())
}

pub(super) fn small(index: usize) -> u32 {
    u32::try_from(index).expect("a history has fewer than 2^32 operations")
}

/// The configurations that no other one covers.
#[derive(Default)]
pub(super) struct Front {
    by_state: BTreeMap<(State, Vec<u32>), Vec<Configuration>>,
    /// About how much memory they take.
    pub(super) bytes: usize,
}

impl Front {
    /// Whether it was worth keeping.
    pub(super) fn add(&mut self, new: Configuration) -> bool {
        let kept = self
            .by_state
            .entry((new.state, new.done.clone()))
            .or_default();
        if kept.iter().any(|one| one.covers(&new)) {
            return false;
        }
        let bytes = &mut self.bytes;
        kept.retain(|one| {
            let is_covered = new.covers(one);
            *bytes -= if is_covered { one.bytes() } else { 0 };
            !is_covered
        });
        *bytes += new.bytes();
        kept.push(new);
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_state.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<Configuration> {
        self.by_state.into_values().flatten().collect()
    }
}

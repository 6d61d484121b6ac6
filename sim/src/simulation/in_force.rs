//! The faults that last, while they do: those of the plan, and those that guards hold.

use std::collections::BTreeMap;

use crate::executor::SimTime;
use crate::fault::FaultKind;
use crate::network::HELD;

/// Faults by the order in which they struck, and until when each lasts.
#[derive(Default)]
pub(super) struct InForce {
    struck: u64,
    faults: BTreeMap<u64, (FaultKind, SimTime)>,
}

impl InForce {
    /// Adds one; its number.
    pub(super) fn add(&mut self, kind: &FaultKind, now: SimTime, until: SimTime) -> u64 {
        self.faults.retain(|_, (_, until)| *until > now);
        self.struck += 1;
        if until > now {
            self.faults.insert(self.struck, (kind.clone(), until));
        }
        self.struck
    }

    /// Takes one away, if it was there.
    pub(super) fn remove(&mut self, number: u64) -> Option<FaultKind> {
        self.faults.remove(&number).map(|(kind, _)| kind)
    }

    /// Takes all away that no guard holds.
    pub(super) fn keep_held(&mut self) {
        self.faults.retain(|_, (_, until)| *until == HELD);
    }

    /// Until when the longest lasts of those that `which` names; zero without any.
    pub(super) fn until(&self, which: impl Fn(&FaultKind) -> bool) -> SimTime {
        let chosen = self.faults.values().filter(|(kind, _)| which(kind));
        chosen
            .map(|(_, until)| *until)
            .max()
            .unwrap_or(SimTime::ZERO)
    }

    /// All of them; the longest last.
    pub(super) fn all(&self) -> Vec<(FaultKind, SimTime)> {
        let mut all: Vec<_> = self.faults.values().cloned().collect();
        all.sort_by_key(|(_, until)| *until);
        all
    }
}

//! Which answers a violation needs.

use crate::unsat_core::{self, Answer};
use crate::verdict::{MAY_BE_FEWER, Violation};

/// The answers that alone make a history impossible.
pub(super) struct Needed {
    /// By answer, whether it counts.
    pub(super) counts: Vec<bool>,
    /// The indices of those that do.
    pub(super) indices: Vec<usize>,
    is_least: bool,
}

/// Of so many answers, as few as make the history impossible: `answer` is told of each whether
/// it counts. Taking one away must never make a possible history impossible.
pub(super) fn needed(count: usize, answer: impl Fn(&[bool]) -> Answer) -> Needed {
    let core = unsat_core::core((0..count).collect(), usize::MAX, |indices| {
        answer(&counting(count, indices))
    });
    Needed {
        counts: counting(count, &core.things),
        indices: core.things,
        is_least: core.is_least,
    }
}

impl Needed {
    /// The violation, saying whether fewer operations may prove it.
    pub(super) fn judge(&self, mut violation: Violation) -> Violation {
        if !self.is_least {
            violation.also.push(MAY_BE_FEWER.to_owned());
        }
        violation
    }
}

fn counting(count: usize, indices: &[usize]) -> Vec<bool> {
    let mut counts = vec![false; count];
    for index in indices {
        counts[*index] = true;
    }
    counts
}

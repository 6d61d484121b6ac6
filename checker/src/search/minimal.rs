//! Which calls prove that there is no order.

use std::time::Instant;

use super::explore::{Explored, Stuck, explore};
use super::parts::Part;
use super::plan::{Known, Plan};
use super::{Budget, Clock, Failure, Sequential};

/// How many bytes a try may take. Most calls are found not to be needed by tries that take
/// little, and then there is less left for those that take more. What needs even more is
/// not worth it.
const TRY_BYTES: [usize; 2] = [1 << 16, 1 << 20];

/// How many bytes a search for the first return that is too early may take.
const FIRST_BYTES: usize = 16 << 20;

/// How much work all tries may take, in calls looked at and steps of the search. Not a
/// time, so that the same history has the same witness everywhere.
const WORK_MAX: u64 = 4_000_000;

/// The calls of a part that has no order, of which less and less is said to be known.
struct Shrinking<'s, 'c, M: Sequential + ?Sized> {
    model: &'s M,
    part: &'s Part<'c, M>,
    budget: Budget,
    clock: Clock<'static>,
    work: u64,
    calls: Vec<Known<'c, M>>,
    /// Those of which something is still known.
    is_known: Vec<bool>,
    is_minimal: bool,
    /// How many bytes a try may take now.
    try_bytes: usize,
}

/// Why the calls of this part have no order, which the search has found when it was
/// `stuck`. Calls are named by their index in the part.
pub(super) fn explain<M: Sequential + ?Sized>(
    model: &M,
    part: &Part<'_, M>,
    stuck: Stuck,
    budget: &Budget,
    end: Option<Instant>,
) -> Failure {
    let (stuck, calls) = first_stuck(model, part, stuck, budget, end);
    let mut shrinking = Shrinking {
        model,
        part,
        budget: *budget,
        clock: Clock::until(end, None),
        work: 0,
        is_known: calls.iter().map(|call| call.returned.is_some()).collect(),
        calls,
        is_minimal: true,
        try_bytes: 0,
    };
    for bytes in TRY_BYTES {
        (shrinking.is_minimal, shrinking.try_bytes) = (true, bytes);
        shrinking.forget_reads(stuck.call as usize);
        shrinking.forget_some(&shrinking.known());
        if shrinking.is_minimal {
            break;
        }
    }
    let mut witness = shrinking.known();
    witness.sort_by_key(|index| shrinking.calls[*index].invoked);
    let (refuted, meets) = shrinking
        .refuted()
        .unwrap_or_else(|| (stuck.call as usize, stuck.states.clone()));
    Failure {
        witness,
        refuted,
        meets,
        is_minimal: shrinking.is_minimal,
        stuck: stuck.call as usize,
        prefix: stuck.order.iter().map(|call| *call as usize).collect(),
        states: stuck.states,
    }
}

/// The first return up to which the calls have no order, and what is known by then.
///
/// The search may have given up at an earlier one, for it knew what became of the calls
/// that returned later. The later the end, the less orders there are; it is seldom much
/// later, so steps double. Where a search takes long, the first search has the last word.
fn first_stuck<'c, M: Sequential + ?Sized>(
    model: &M,
    part: &Part<'c, M>,
    stuck: Stuck,
    budget: &Budget,
    end: Option<Instant>,
) -> (Stuck, Vec<Known<'c, M>>) {
    let mut returns: Vec<u64> = part.calls.iter().filter_map(|call| call.returned).collect();
    returns.sort_unstable();
    returns.dedup();
    let budget = Budget {
        memory_bytes: budget.memory_bytes.min(FIRST_BYTES),
        ..*budget
    };
    let stuck_by = |time: u64| {
        let calls = known_by(&part.calls, time);
        let clock = Clock::until(end, None);
        let plan = Plan::of(model, calls.clone());
        match explore(model, &part.key, &plan, &budget, &clock) {
            Explored::Stuck(stuck) => Some((stuck, calls)),
            Explored::Linearizable(_) | Explored::Unknown(_) => None,
        }
    };
    let time = part.calls[stuck.call as usize].returned;
    let mut low = returns.partition_point(|other| Some(*other) < time);
    let mut high = returns.len();
    let mut found = (stuck, part.calls.clone());
    let mut step = 1;
    while low < high {
        let place = (low + step - 1).min(high - 1);
        match stuck_by(returns[place]) {
            Some(earlier) => (found, high, step) = (earlier, place, 1),
            None => (low, step) = (place + 1, 2 * step),
        }
    }
    found
}

/// What is known at an instant. Calls that begin later are unknown, and stay at their
/// place.
fn known_by<'c, M: Sequential + ?Sized>(calls: &[Known<'c, M>], time: u64) -> Vec<Known<'c, M>> {
    let at = |call: &Known<'c, M>| {
        let is_over = call.returned.is_some_and(|returned| returned <= time);
        if is_over { *call } else { unknown(call) }
    };
    calls.iter().map(at).collect()
}

fn unknown<'c, M: Sequential + ?Sized>(call: &Known<'c, M>) -> Known<'c, M> {
    Known {
        output: None,
        returned: None,
        ..*call
    }
}

impl<'c, M: Sequential + ?Sized> Shrinking<'_, 'c, M> {
    fn known(&self) -> Vec<usize> {
        let is_known = |index: &usize| self.is_known[*index];
        (0..self.calls.len()).filter(is_known).collect()
    }

    /// Reads are needed seldom, and without them a try costs less.
    fn forget_reads(&mut self, stuck: usize) {
        let mut reads = self.known();
        reads.retain(|index| {
            let call = &self.calls[*index];
            *index != stuck && self.model.only_reads(call.input, call.output)
        });
        self.forget_some(&reads);
    }

    /// Of these calls as many as possible are made unknown. Many are tried before
    /// single ones. What was needed once stays needed when others are unknown too.
    fn forget_some(&mut self, calls: &[usize]) {
        if calls.is_empty() || self.forget(calls) {
            return;
        }
        if calls.len() > 1 {
            let (first, second) = calls.split_at(calls.len() / 2);
            self.forget_some(first);
            self.forget_some(second);
        }
    }

    /// Makes these calls unknown if there still is no order.
    fn forget(&mut self, calls: &[usize]) -> bool {
        if self.work + self.clock.calls() > WORK_MAX || self.clock.is_over() {
            self.is_minimal = false;
            return false;
        }
        for call in calls {
            self.is_known[*call] = false;
        }
        match self.explore(&self.plan(&self.what_matters())) {
            Explored::Stuck(_) => return true,
            Explored::Unknown(_) if calls.len() == 1 => self.is_minimal = false,
            Explored::Unknown(_) | Explored::Linearizable(_) => {}
        }
        for call in calls {
            self.is_known[*call] = true;
        }
        false
    }

    /// These calls, as far as they are known now.
    fn plan(&self, calls: &[usize]) -> Plan<'c, M> {
        let known = |index: &usize| {
            let call = &self.calls[*index];
            if self.is_known[*index] {
                *call
            } else {
                unknown(call)
            }
        };
        Plan::of(self.model, calls.iter().map(known).collect())
    }

    fn explore(&mut self, plan: &Plan<'c, M>) -> Explored {
        self.work += plan.calls.len() as u64;
        let budget = Budget {
            memory_bytes: self.budget.memory_bytes.min(self.try_bytes),
            ..self.budget
        };
        explore(self.model, &self.part.key, plan, &budget, &self.clock)
    }

    /// The call that cannot take effect when nothing is known but the witness, and what it
    /// can meet then. Who looks ahead gets stuck earlier, where nobody sees why.
    fn refuted(&mut self) -> Option<(usize, Vec<String>)> {
        let calls = self.what_matters();
        match self.explore(&self.plan(&calls).without_looking_ahead()) {
            Explored::Stuck(stuck) => Some((calls[stuck.call as usize], stuck.states)),
            Explored::Linearizable(_) | Explored::Unknown(_) => None,
        }
    }

    /// What is known, and those unknown calls that can matter.
    fn what_matters(&self) -> Vec<usize> {
        let ends = self.known().into_iter();
        let end = ends.filter_map(|call| self.calls[call].returned).max();
        let matters = |index: &usize| {
            let call = &self.calls[*index];
            let changes = || !self.model.only_reads(call.input, None);
            self.is_known[*index] || Some(call.invoked) <= end && changes()
        };
        (0..self.calls.len()).filter(matters).collect()
    }
}

//! Which calls prove that there is no order.

use std::time::Instant;

use super::explore::{Explored, Stuck, explore};
use super::first::{first_stuck, unknown};
use super::parts::Part;
use super::plan::{Known, Plan};
use super::{Budget, Clock, Failure, Others, Sequential};

/// How many bytes a try may take. Most calls are found not to be needed by tries that take
/// little, and then there is less left for those that take more. What needs even more is
/// not worth it.
const TRY_BYTES: [usize; 2] = [1 << 16, 1 << 20];

/// How much work all tries may take, in calls looked at and steps of the search. Not a
/// time, so that the same history has the same witness everywhere.
const WORK_MAX: u64 = 4_000_000;

/// The calls of a part that has no order, of which less and less is said to be known.
struct Shrinking<'s, 'c, M: Sequential + ?Sized> {
    model: &'s M,
    part: &'s Part<'c, M>,
    budget: Budget,
    clock: Clock<'static>,
    others: Others,
    work: u64,
    calls: &'s [Known<'c, M>],
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
    let begin = |others| Shrinking {
        model,
        part,
        budget: *budget,
        clock: Clock::until(end, None),
        others,
        work: 0,
        is_known: calls.iter().map(|call| call.returned.is_some()).collect(),
        calls: &calls,
        is_minimal: true,
        try_bytes: TRY_BYTES[0],
    };
    let proof = shortest(begin, stuck.call as usize);
    proof.into_failure(stuck)
}

/// What the object suspects may prove it whatever became of the others. Otherwise more is
/// known of those: when they went on. Only where that takes too long is it left out of account.
fn shortest<'s, 'c, M: Sequential + ?Sized>(
    begin: impl Fn(Others) -> Shrinking<'s, 'c, M>,
    stuck: usize,
) -> Shrinking<'s, 'c, M> {
    let mut at_any_time = begin(Others::AtAnyTime);
    let suspects = model_suspects(&at_any_time, stuck);
    if at_any_time.start_small(&suspects) {
        at_any_time.shrink(stuck);
        return at_any_time;
    }
    let mut in_their_time = begin(Others::InTheirTime);
    let last = in_their_time.last();
    if !M::OUTPUTS_REFER_TO_CALLS {
        let is_small = in_their_time.start_small(&suspects) || in_their_time.start_small(&last);
        in_their_time.shrink(stuck);
        if in_their_time.proves_it_at_any_time() {
            in_their_time.others = Others::AtAnyTime;
        }
        if is_small && in_their_time.is_minimal {
            return in_their_time;
        }
    }
    at_any_time.start_small(&last);
    at_any_time.shrink(stuck);
    if at_any_time.known().len() <= in_their_time.known().len() {
        at_any_time
    } else {
        in_their_time
    }
}

fn model_suspects<M: Sequential + ?Sized>(
    shrinking: &Shrinking<'_, '_, M>,
    stuck: usize,
) -> Vec<Vec<usize>> {
    let mut suspects = shrinking.model.suspects(shrinking.calls, stuck);
    for guess in &mut suspects {
        guess.retain(|call| shrinking.is_known[*call]);
    }
    suspects
}

impl<'c, M: Sequential + ?Sized> Shrinking<'_, 'c, M> {
    fn known(&self) -> Vec<usize> {
        let is_known = |index: &usize| self.is_known[*index];
        (0..self.calls.len()).filter(is_known).collect()
    }

    /// Forgets all but a few calls that prove it, if some of these guesses do.
    fn start_small(&mut self, guesses: &[Vec<usize>]) -> bool {
        self.try_bytes = match self.others {
            Others::AtAnyTime => TRY_BYTES[0],
            // All calls before are looked at, however few are known.
            Others::InTheirTime => TRY_BYTES[1],
        };
        let all = std::mem::replace(&mut self.is_known, vec![false; self.calls.len()]);
        for guess in guesses {
            if self.is_spent() {
                break;
            }
            for call in guess {
                self.is_known[*call] = true;
            }
            if matches!(self.explore_known(), Explored::Stuck(_)) {
                return true;
            }
            for call in guess {
                self.is_known[*call] = false;
            }
        }
        self.is_known = all;
        false
    }

    /// The last call to return, the last two, the last four, ..
    fn last(&self) -> Vec<Vec<usize>> {
        let mut known = self.known();
        known.sort_unstable_by_key(|call| std::cmp::Reverse(self.calls[*call].returned));
        let sizes = std::iter::successors(Some(1), |size| Some(2 * size));
        let sizes = sizes.take_while(|size| 2 * size < known.len());
        sizes.map(|size| known[..size].to_vec()).collect()
    }

    /// Forgets as many calls as possible.
    fn shrink(&mut self, stuck: usize) {
        for bytes in TRY_BYTES {
            (self.is_minimal, self.try_bytes) = (true, bytes);
            self.forget_reads(stuck);
            self.forget_some(&self.known());
            if self.is_minimal {
                break;
            }
        }
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
        if self.is_spent() {
            self.is_minimal = false;
            return false;
        }
        for call in calls {
            self.is_known[*call] = false;
        }
        match self.explore_known() {
            Explored::Stuck(_) => return true,
            Explored::Unknown(_) if calls.len() == 1 => self.is_minimal = false,
            Explored::Unknown(_) | Explored::Linearizable(_) => {}
        }
        for call in calls {
            self.is_known[*call] = true;
        }
        false
    }

    fn is_spent(&self) -> bool {
        self.work + self.clock.calls() > WORK_MAX || self.clock.is_over()
    }

    /// Whether what is known now proves it even if the others may have happened later than
    /// they returned.
    fn proves_it_at_any_time(&mut self) -> bool {
        let others = std::mem::replace(&mut self.others, Others::AtAnyTime);
        let proves = matches!(self.explore_known(), Explored::Stuck(_));
        self.others = others;
        proves
    }

    /// These calls, as far as they are known now.
    fn as_known(&self, calls: &[usize]) -> Vec<Known<'c, M>> {
        let known = |index: &usize| {
            let call = &self.calls[*index];
            if self.is_known[*index] {
                *call
            } else {
                unknown(call)
            }
        };
        calls.iter().map(known).collect()
    }

    /// A plan of these calls, which may be said to be simpler than they are.
    fn plan(&self, indices: &[usize], mut calls: Vec<Known<'c, M>>) -> Plan<'c, M> {
        let mut is_optional = vec![false; calls.len()];
        if self.others == Others::InTheirTime {
            for ((index, call), is_optional) in indices.iter().zip(&mut calls).zip(&mut is_optional)
            {
                call.returned = self.calls[*index].returned;
                *is_optional = !self.is_known[*index];
            }
        }
        Plan::with_optional(self.model, calls, &is_optional)
    }

    /// Whether there is an order, as far as calls are known now.
    fn explore_known(&mut self) -> Explored {
        self.explore_kept(true).0
    }

    /// The same, looking ahead or not, and the indices of the calls that were searched
    /// through: those that matter.
    fn explore_kept(&mut self, looks_ahead: bool) -> (Explored, Vec<usize>) {
        let calls = self.what_matters();
        let known = self.as_known(&calls);
        let kept = self.model.what_matters(&known, self.others);
        let indices: Vec<usize> = kept.iter().map(|kept| calls[kept.call]).collect();
        let simpler = kept.iter().map(|kept| kept.of(&known)).collect();
        let mut plan = self.plan(&indices, simpler);
        if !looks_ahead {
            plan = plan.without_looking_ahead();
        }
        (self.explore(&plan), indices)
    }

    fn explore(&mut self, plan: &Plan<'_, M>) -> Explored {
        self.work += plan.calls.len() as u64;
        let budget = Budget {
            memory_bytes: self.budget.memory_bytes.min(self.try_bytes),
            ..self.budget
        };
        explore(self.model, &self.part.key, plan, &budget, &self.clock)
    }

    /// The call that cannot take effect when nothing is known but the witness, and what it
    /// can meet then. Who looks ahead gets stuck earlier, where nobody sees why. Where that
    /// takes too long, it is found without those that do not matter, but nobody can say what
    /// they would have made of the state.
    fn refuted(&mut self) -> Option<(usize, Vec<String>)> {
        let calls = self.what_matters();
        if !M::OUTPUTS_REFER_TO_CALLS {
            let plan = self.plan(&calls, self.as_known(&calls));
            if let Explored::Stuck(stuck) = self.explore(&plan.without_looking_ahead()) {
                return Some((calls[stuck.call as usize], stuck.states));
            }
        }
        for looks_ahead in [false, true] {
            if let (Explored::Stuck(stuck), calls) = self.explore_kept(looks_ahead) {
                return Some((calls[stuck.call as usize], Vec::new()));
            }
        }
        None
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

    fn into_failure(mut self, stuck: Stuck) -> Failure {
        let mut witness = self.known();
        witness.sort_by_key(|index| self.calls[*index].invoked);
        let (refuted, meets) = self
            .refuted()
            .unwrap_or_else(|| (stuck.call as usize, stuck.states.clone()));
        Failure {
            witness,
            others: self.others,
            refuted,
            meets,
            is_minimal: self.is_minimal,
            stuck: stuck.call as usize,
            prefix: stuck.order.iter().map(|call| *call as usize).collect(),
            states: stuck.states,
        }
    }
}

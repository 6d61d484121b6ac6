//! Smaller questions: where one of them has no answer, the whole has none.
//!
//! Many calls of unknown outcome make a search long, even where only those matter that are
//! about one element of a set, or one register of many. An object names such
//! [aspects](Sequential::aspects); the search for an order of one is short.

use std::time::Instant;

use super::explore::{Explored, explore};
use super::first::FIRST_BYTES;
use super::parts::Part;
use super::plan::Plan;
use super::{Budget, Call, Clock, Failure, Kept, Others, Sequential, minimal};

/// How many calls are looked at in all aspects together.
const CALLS_MAX: usize = 1_000_000;

/// A question about some calls of a part, in which less is asked of them and less is told:
/// they have an order if those of the part have one.
#[derive(Clone, Debug)]
pub struct Aspect<I, O> {
    /// Which one; [`Sequential::show_aspect`] is told.
    pub number: u32,
    /// The calls.
    pub calls: Vec<Reduced<I, O>>,
}

/// A call as far as it matters to an aspect.
#[derive(Clone, Debug)]
pub struct Reduced<I, O> {
    /// Its index among the calls of the part.
    pub call: usize,
    /// What of its input.
    pub input: I,
    /// What of its output; none when nobody knows.
    pub output: Option<O>,
}

/// Why the calls of this part have no order, if those of an aspect have none. Calls are named
/// by their index in the part.
pub(super) fn refute<M: Sequential + ?Sized>(
    model: &M,
    part: &Part<'_, M>,
    stuck: usize,
    budget: &Budget,
    end: Option<Instant>,
) -> Option<Failure> {
    let clock = Clock::until(end, None);
    let small = Budget {
        memory_bytes: budget.memory_bytes.min(FIRST_BYTES),
        ..*budget
    };
    let mut looked_at = 0;
    for aspect in model.aspects(&part.calls, stuck) {
        looked_at += aspect.calls.len();
        if looked_at > CALLS_MAX || clock.is_over() {
            return None;
        }
        let narrow = Narrow {
            model,
            aspect: aspect.number,
        };
        let reduced: Part<'_, Narrow<'_, M>> = part.reduced(&aspect.calls);
        let plan = Plan::of(&narrow, reduced.calls.clone());
        if let Explored::Stuck(stuck) = explore(&narrow, &reduced.key, &plan, &small, &clock) {
            let mut failure = minimal::explain(&narrow, &reduced, stuck, budget, end, || None);
            // Not all orders of all calls were tried.
            failure.prefix.clear();
            failure.states.clear();
            failure.rename(|call| aspect.calls[call].call);
            failure.stuck = failure.refuted;
            return Some(minimal::lessen(model, part, failure, budget, end));
        }
    }
    None
}

/// The object as far as an aspect of it goes.
struct Narrow<'m, M: ?Sized> {
    model: &'m M,
    aspect: u32,
}

impl<M: Sequential + ?Sized> Sequential for Narrow<'_, M> {
    type State = M::State;
    type Input = M::Input;
    type Output = M::Output;
    type Part = M::Part;

    fn part(&self, input: &M::Input) -> M::Part {
        self.model.part(input)
    }

    fn initial(&self, part: &M::Part) -> M::State {
        self.model.initial(part)
    }

    fn step(
        &self,
        state: &M::State,
        input: &M::Input,
        output: Option<&M::Output>,
    ) -> impl IntoIterator<Item = M::State> {
        self.model.step(state, input, output)
    }

    fn step_in_time(
        &self,
        state: &M::State,
        input: &M::Input,
        output: Option<&M::Output>,
        clock: &Clock<'_>,
    ) -> impl IntoIterator<Item = M::State> {
        self.model.step_in_time(state, input, output, clock)
    }

    fn only_reads(&self, input: &M::Input, output: Option<&M::Output>) -> bool {
        self.model.only_reads(input, output)
    }

    const LOOKS_AHEAD: bool = M::LOOKS_AHEAD;

    fn can_become<'c>(
        &self,
        state: &M::State,
        input: &M::Input,
        output: Option<&M::Output>,
        changes: impl Iterator<Item = (&'c M::Input, Option<&'c M::Output>)>,
    ) -> bool
    where
        Self: 'c,
    {
        self.model.can_become(state, input, output, changes)
    }

    fn suspects(&self, calls: &[Call<&M::Input, &M::Output>], stuck: usize) -> Vec<Vec<usize>> {
        self.model.suspects(calls, stuck)
    }

    fn what_matters(
        &self,
        calls: &[Call<&M::Input, &M::Output>],
        others: Others,
    ) -> Vec<Kept<M::Output>> {
        self.model.what_matters(calls, others)
    }

    fn states_after(&self, input: &M::Input, output: Option<&M::Output>) -> Option<Vec<M::State>> {
        self.model.states_after(input, output)
    }

    const OUTPUTS_REFER_TO_CALLS: bool = M::OUTPUTS_REFER_TO_CALLS;

    fn heap_bytes(&self, state: &M::State) -> usize {
        self.model.heap_bytes(state)
    }

    fn show(&self, state: &M::State) -> String {
        self.model.show_aspect(self.aspect, state)
    }
}

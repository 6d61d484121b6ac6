//! One try: whether there is an order when less is known.

use super::Shrinking;
use crate::search::explore::{Explored, explore_from};
use crate::search::first::unknown;
use crate::search::plan::{Known, Plan};
use crate::search::{Budget, Others, Sequential};

impl<'c, M: Sequential + ?Sized> Shrinking<'_, 'c, M> {
    /// Says so if what is known now proves it even if the others may have happened later than
    /// they returned.
    pub(super) fn strengthen(&mut self) {
        let others = std::mem::replace(&mut self.others, Others::AtAnyTime);
        if !self.is_stuck() {
            self.others = others;
        }
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

    /// A plan of these calls, which may be said to be simpler than they are. Known ones that
    /// may have been before it begins need not be in it.
    fn plan(
        &self,
        indices: &[usize],
        mut calls: Vec<Known<'c, M>>,
        may_be_before: impl Fn(usize) -> bool,
        looks_ahead: bool,
    ) -> Plan<'c, M> {
        let mut is_optional = vec![false; calls.len()];
        if self.others != Others::AtAnyTime {
            for ((index, call), is_optional) in indices.iter().zip(&mut calls).zip(&mut is_optional)
            {
                call.returned = self.calls[*index].returned;
                *is_optional = !self.is_known[*index] || may_be_before(*index);
            }
        }
        let plan = Plan::with_optional(self.model, calls, &is_optional);
        if looks_ahead {
            plan
        } else {
            plan.without_looking_ahead()
        }
    }

    /// Whether there is an order, as far as calls are known now.
    ///
    /// Where it takes too long to look at all that was before, and there is an order of what
    /// came after some call, what the object was like before that is left open.
    pub(super) fn explore_known(&mut self) -> Explored {
        let late = self.explore_late(true).map(|(explored, _)| explored);
        if let Some(Explored::Stuck(stuck)) = late {
            return Explored::Stuck(stuck);
        }
        match (self.explore_kept(true).0, late) {
            (Explored::Unknown(..), Some(late)) => late,
            (explored, _) => explored,
        }
    }

    /// Whether there is an order of what came after the first of those calls after which it is
    /// known what the object was like, if there are such; and the indices of those that were
    /// searched through. If there is no order, there is none from the beginning.
    pub(super) fn explore_late(&mut self, looks_ahead: bool) -> Option<(Explored, Vec<usize>)> {
        if self.others != Others::InTheirTime {
            return None;
        }
        let mut telling: Vec<(usize, Vec<M::State>)> = Vec::new();
        for index in self.known() {
            let call = &self.calls[index];
            let states = self.model.states_after(call.input, call.output);
            telling.extend(
                states
                    .filter(|states| !states.is_empty())
                    .map(|states| (index, states)),
            );
        }
        telling.sort_by_key(|(index, _)| self.calls[*index].returned);
        let first_return = self.calls[telling.first()?.0].returned;
        let all: Vec<usize> = telling.iter().map(|(index, _)| *index).collect();
        let mut found = None;
        for (first, states) in telling {
            if Some(self.calls[first].invoked) > first_return {
                continue;
            }
            let (explored, calls) = self.explore_after(first, states, &all, looks_ahead);
            if !matches!(explored, Explored::Stuck(_)) {
                return Some((explored, calls));
            }
            found.get_or_insert((explored, calls));
        }
        found
    }

    /// The same when this call took effect as the first of those that tell. All other calls that
    /// overlap with it may have been before it, or after it.
    fn explore_after(
        &mut self,
        first: usize,
        states: Vec<M::State>,
        telling: &[usize],
        looks_ahead: bool,
    ) -> (Explored, Vec<usize>) {
        let (since, until) = (self.calls[first].invoked, self.calls[first].returned);
        let may_be_before =
            |index: usize| Some(self.calls[index].invoked) <= until && !telling.contains(&index);
        let mut calls = self.what_matters();
        calls.retain(|index| {
            let call = &self.calls[*index];
            let output = call.output.filter(|_| self.is_known[*index]);
            let only_reads = self.model.only_reads(call.input, output);
            let is_before = call.returned.is_some_and(|returned| returned < since);
            *index != first && !is_before && !(may_be_before(*index) && only_reads)
        });
        let plan = self.plan(&calls, self.as_known(&calls), may_be_before, looks_ahead);
        (self.explore_from(states, &plan), calls)
    }

    /// The same, looking ahead or not, and the indices of the calls that were searched
    /// through: those that matter.
    fn explore_kept(&mut self, looks_ahead: bool) -> (Explored, Vec<usize>) {
        let calls = self.what_matters();
        let known = self.as_known(&calls);
        let kept = self.model.what_matters(&known, self.others);
        let indices: Vec<usize> = kept.iter().map(|kept| calls[kept.call]).collect();
        let simpler = kept.iter().map(|kept| kept.of(&known)).collect();
        let plan = self.plan(&indices, simpler, |_| false, looks_ahead);
        (self.explore(&plan), indices)
    }

    fn explore(&mut self, plan: &Plan<'_, M>) -> Explored {
        let initial = self.model.initial(&self.part.key);
        self.explore_from(vec![initial], plan)
    }

    /// Searches with what one try may take.
    fn explore_from(&mut self, initial: Vec<M::State>, plan: &Plan<'_, M>) -> Explored {
        self.work += plan.calls.len() as u64;
        let budget = Budget {
            memory_bytes: self.budget.memory_bytes.min(self.try_bytes),
            ..self.budget
        };
        explore_from(self.model, initial, plan, &budget, &self.clock)
    }

    /// The call that cannot take effect when nothing is known but the witness, and what it
    /// can meet then. Who looks ahead gets stuck earlier, where nobody sees why. Where that
    /// takes too long, it is found without those that do not matter, but nobody can say what
    /// they would have made of the state.
    pub(super) fn refuted(&mut self) -> Option<(usize, Vec<String>)> {
        if let Some((Explored::Stuck(stuck), calls)) = self.explore_late(false) {
            return Some((calls[stuck.call as usize], stuck.states));
        }
        let calls = self.what_matters();
        if !M::OUTPUTS_REFER_TO_CALLS {
            let plan = self.plan(&calls, self.as_known(&calls), |_| false, false);
            if let Explored::Stuck(stuck) = self.explore(&plan) {
                return Some((calls[stuck.call as usize], stuck.states));
            }
        }
        for looks_ahead in [false, true] {
            if let (Explored::Stuck(stuck), calls) = self.explore_kept(looks_ahead) {
                return Some((self.blamed(calls[stuck.call as usize])?, Vec::new()));
            }
        }
        None
    }

    /// The known call that cannot be where a search that looks ahead comes no further than this
    /// one: if nothing is known of this, it saw what is wrong with one that returns later. So it
    /// did where one that is needed had not begun before this one returned.
    pub(super) fn blamed(&self, stuck: usize) -> Option<usize> {
        let place = self.calls[stuck].returned;
        let known = || (0..self.calls.len()).filter(|call| self.is_known[*call]);
        let have_begun = known().map(|call| self.calls[call].invoked).max();
        let saw_all = known().filter(|call| self.calls[*call].returned >= have_begun);
        saw_all.min_by_key(|call| {
            let returned = self.calls[*call].returned;
            (returned < place, returned)
        })
    }

    /// What is known, and those unknown calls that can matter.
    fn what_matters(&self) -> Vec<usize> {
        let end = self.end();
        let matters = |index: &usize| {
            let call = &self.calls[*index];
            let changes = || !self.model.only_reads(call.input, None);
            let is_unknown = !self.is_absent[*index];
            self.is_known[*index] || is_unknown && Some(call.invoked) <= end && changes()
        };
        (0..self.calls.len()).filter(matters).collect()
    }

    /// When the last of the known calls returned.
    pub(super) fn end(&self) -> Option<u64> {
        let known = self.calls.iter().zip(&self.is_known);
        let known = known.filter(|(_, is_known)| **is_known);
        known.filter_map(|(call, _)| call.returned).max()
    }
}

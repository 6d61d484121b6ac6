//! Membership: who joined and did not leave is a member.
//!
//! # The question
//!
//! Members `join` a group and `leave` it; anybody asks for all `members`. A member whose
//! lease ends leaves without being asked. Is there an order of all operations, each at some
//! instant between its invocation and its return, in which every answer has exactly those
//! who joined and did not leave?
//!
//! ```text
//! join a        |-----|
//! expire a                  |---------------- ...      its lease may end from here on
//! members -> a        |---|
//! members ->                   |---|                   it has
//! members -> a                        |---|            so this has no order
//! ```
//!
//! # The answer
//!
//! Groups are independent of each other. The state is the set of members, and a
//! [search](crate::search) remembers where it has been: O(n 2^k) at worst for k changes
//! that overlap. Asking for the members does not branch.
//!
//! # Pending operations
//!
//! A change of unknown outcome may take effect at any time after its invocation, or never,
//! exactly. The end of a lease is such a change: who writes a history says `expire` when it
//! may have ended (the session can no longer be relied on), and completes it, if at all,
//! when it certainly has.
//!
//! # Evidence
//!
//! What is wrong with one look is most often wrong about a member alone, or about two: few
//! operations prove it, however many there are (see `set/suspects.rs`).
//!
//! The twin in `tests/`, which tries all orders, agrees on many small random histories.

use crate::history::{History, HistoryError, Operation};
use crate::keyed::{Keyed, unknown_operation};
use crate::names::Names;
use crate::object::{self, Object};
use crate::search::{
    Aspect, Budget, Call, Failure, Kept, NON_LINEARIZABLE, Named, Others, Sequential,
};
use crate::set::{
    Act, Answer, Elements, Said, Timed, WrongView, can_become, changed, kept, list, of_elements,
    show, show_element, suspects, whole, whole_act, wrong_view,
};
use crate::verdict::Verdict;

/// Decides whether the history is that of groups of members.
///
/// Operations: `join`, `leave` and `expire` with a member's name, the last one having no
/// result; `members`, whose result is the list of all members; with several groups,
/// values are objects with a `key`, the group, and a `value`.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    object::check::<Groups<'_>>(history, budget)
}

/// What groups there are, and who may be in them.
#[derive(Default)]
pub(crate) struct Groups<'h> {
    names: Names<'h>,
    members: Names<'h>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Join(u32),
    Leave(u32),
    Members,
}

impl<'h> Object<'h> for Groups<'h> {
    fn of(_: &'h History) -> Result<Self, HistoryError> {
        Ok(Self::default())
    }

    fn call(
        &mut self,
        operation: &Operation<'h>,
    ) -> Result<((u32, Ask), Option<Answer>), HistoryError> {
        let event = operation.invoke;
        let mut keyed = Keyed::of(event)?;
        let group = self.names.number(keyed.key.take().unwrap_or_default());
        let mut member = || self.members.number(keyed.text().unwrap_or_default());
        let ask = match event.f() {
            "join" => Ask::Join(member()),
            "leave" | "expire" => Ask::Leave(member()),
            "members" => Ask::Members,
            _ => {
                let known = "join, leave, expire and members";
                return Err(unknown_operation(event, "membership", known));
            }
        };
        let answer = match operation.ok() {
            Some(ok) if ask == Ask::Members => {
                Some(whole(list(ok)?, |text| self.members.number(text)))
            }
            _ => None,
        };
        Ok(((group, ask), answer))
    }

    fn named(&self, calls: &[Call<(u32, Ask), Answer>], failure: &Failure) -> Named {
        let wrong = Self::wrong(calls, failure);
        Named {
            kind: wrong.as_ref().map_or(NON_LINEARIZABLE, |wrong| wrong.kind),
            clause: wrong.and_then(|wrong| wrong.clause(|member| self.members.text(member))),
        }
    }

    fn may_wait(operation: &Operation<'h>) -> bool {
        operation.invoke.f() == "expire"
    }
}

impl Groups<'_> {
    /// What the refuted call shows wrongly.
    fn wrong(calls: &[Call<(u32, Ask), Answer>], failure: &Failure) -> Option<WrongView> {
        let group = calls[failure.refuted].input.0;
        wrong_view(calls, failure, |call| {
            let said = match (call.input.1, &call.output) {
                (Ask::Join(member), _) => Said::Change(member, true, None),
                (Ask::Leave(member), _) => Said::Change(member, false, None),
                (Ask::Members, Some(Answer::Whole(whole))) => Said::Whole(whole),
                (Ask::Members, Some(Answer::Twice)) => Said::Twice,
                (Ask::Members, _) => Said::Nothing,
            };
            (call.input.0 == group).then_some(said)
        })
    }
}

impl Sequential for Groups<'_> {
    type State = Elements;
    type Input = (u32, Ask);
    type Output = Answer;
    type Part = u32;

    fn part(&self, (group, _): &Self::Input) -> u32 {
        *group
    }

    fn initial(&self, _: &u32) -> Elements {
        Elements::default()
    }

    fn step(
        &self,
        state: &Elements,
        (_, ask): &Self::Input,
        output: Option<&Answer>,
    ) -> impl IntoIterator<Item = Elements> {
        match ask {
            Ask::Join(member) => changed(state, *member, true, None),
            Ask::Leave(member) => changed(state, *member, false, None),
            Ask::Members => match output {
                Some(Answer::Whole(whole)) => (whole == state).then(|| state.clone()),
                Some(Answer::Twice) => None,
                _ => Some(state.clone()),
            },
        }
    }

    fn only_reads(&self, (_, ask): &Self::Input, _: Option<&Answer>) -> bool {
        *ask == Ask::Members
    }

    const LOOKS_AHEAD: bool = true;

    fn can_become<'c>(
        &self,
        state: &Elements,
        _: &Self::Input,
        output: Option<&Answer>,
        changes: impl Iterator<Item = (&'c Self::Input, Option<&'c Answer>)>,
    ) -> bool
    where
        Self: 'c,
    {
        let Some(Answer::Whole(seen)) = output else {
            return true;
        };
        let changes = changes.filter_map(|((_, ask), _)| match ask {
            Ask::Join(member) => Some((*member, true)),
            Ask::Leave(member) => Some((*member, false)),
            Ask::Members => None,
        });
        can_become(state, seen, changes)
    }

    fn suspects(&self, calls: &[Call<&Self::Input, &Answer>], stuck: usize) -> Vec<Vec<usize>> {
        suspects(&timed(calls), stuck)
    }

    fn what_matters(
        &self,
        calls: &[Call<&Self::Input, &Answer>],
        others: Others,
    ) -> Vec<Kept<Answer>> {
        kept(&timed(calls), others)
    }

    fn aspects(
        &self,
        calls: &[Call<&Self::Input, &Answer>],
        stuck: usize,
    ) -> impl Iterator<Item = Aspect<Self::Input, Answer>> {
        of_elements(calls, stuck, |(_, ask)| match ask {
            Ask::Join(member) | Ask::Leave(member) => Some(*member),
            Ask::Members => None,
        })
    }

    fn show_aspect(&self, member: u32, state: &Elements) -> String {
        show_element(state, member, self.members.text(member))
    }

    fn heap_bytes(&self, state: &Elements) -> usize {
        state.own_bytes()
    }

    fn show(&self, state: &Elements) -> String {
        show(state, |member| self.members.text(member))
    }
}

fn timed<'c>(calls: &[Call<&'c (u32, Ask), &'c Answer>]) -> Vec<Timed<'c>> {
    let timed = |call: &Call<&'c (u32, Ask), &'c Answer>| {
        let act = match call.input.1 {
            Ask::Join(member) => Act::Add(member, None),
            Ask::Leave(member) => Act::Remove(member, None),
            Ask::Members => whole_act(call.output),
        };
        Timed::of(call, act)
    };
    calls.iter().map(timed).collect()
}

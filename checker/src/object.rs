//! What objects that are checked by a search have in common.

use crate::history::{History, HistoryError, Operation};
use crate::liveness::{Deadline, STUCK};
use crate::search::{Budget, Call, Calls, Failure, NON_LINEARIZABLE, Named, Sequential};
use crate::verdict::{Class, Kind, Verdict, Violation, count};

/// An object whose operations stand in histories.
pub(crate) trait Object<'h>: Sequential + Sized {
    /// The object as the header describes it.
    fn of(history: &'h History) -> Result<Self, HistoryError>;

    /// What an operation asked, and what came of it as far as it matters.
    fn call(
        &mut self,
        operation: &Operation<'h>,
    ) -> Result<(Self::Input, Option<Self::Output>), HistoryError>;

    /// The same object, if there is one that tells more of its states and takes more effort.
    fn plain(&self) -> Option<Self> {
        None
    }

    /// The name of a violation, if the literature has one that is certain.
    fn kind(&self, calls: &[Call<Self::Input, Self::Output>], failure: &Failure) -> Kind {
        let _ = (calls, failure);
        NON_LINEARIZABLE
    }

    /// The same, with what was wrong with the refuted operation where that says more than the
    /// states that it can have met.
    fn named(&self, calls: &[Call<Self::Input, Self::Output>], failure: &Failure) -> Named {
        Named {
            kind: self.kind(calls, failure),
            clause: None,
        }
    }

    /// Whether such an operation may wait for as long as it likes.
    fn may_wait(_: &Operation<'h>) -> bool {
        false
    }
}

/// Decides whether the history is that of such an object.
pub(crate) fn check<'h, O: Object<'h>>(
    history: &'h History,
    budget: &Budget,
) -> Result<Verdict, HistoryError> {
    let mut object = O::of(history)?;
    let calls = Calls::of(history, |operation| object.call(operation))?;
    let plain = object.plain();
    let verdict = calls.verdict_named(&object, plain.as_ref(), budget, |failure| {
        object.named(&calls.calls, failure)
    });
    let stuck = Deadline::of(history).filter(|_| verdict.is_valid());
    let operations = calls.operations.iter().copied();
    let stuck = stuck.and_then(|deadline| find_stuck::<O>(&deadline, operations));
    Ok(stuck.map_or(verdict, Verdict::Violation))
}

/// The operations that took effect, by their index, in an order that explains all results.
pub(crate) fn linearization<'h, O: Object<'h>>(
    history: &'h History,
    budget: &Budget,
) -> Result<Option<Vec<usize>>, HistoryError> {
    let mut object = O::of(history)?;
    let calls = Calls::of(history, |operation| object.call(operation))?;
    Ok(calls.linearization(&object, budget))
}

/// An operation that had to finish and did not.
pub(crate) fn find_stuck<'h, O: Object<'h>>(
    deadline: &Deadline,
    operations: impl IntoIterator<Item = Operation<'h>>,
) -> Option<Violation> {
    let mut stuck = deadline.overdue(operations);
    stuck.retain(|operation| !O::may_wait(operation));
    let (first, others) = stuck.split_first()?;
    let sentence = deadline.sentence(first);
    let mut violation = Violation::new(Class::Liveness, STUCK, sentence, [first]);
    if !others.is_empty() {
        let others = count(others.len() as u64, "other operation");
        let sentence = format!("{others} had not finished either");
        violation.also.push(sentence);
    }
    Some(violation)
}

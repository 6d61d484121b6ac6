//! What the refuted call can have met.

use super::Shrinking;
use crate::search::parts::Part;
use crate::search::{Budget, Call, Failure, Sequential};

/// The same of another model of the object, which tells more of its states and is searched
/// through with more effort; none where that takes too long, or another call is refuted then.
pub(in crate::search) fn meets<M: Sequential + ?Sized>(
    model: &M,
    calls: &[Call<M::Input, M::Output>],
    failure: &Failure,
    budget: &Budget,
) -> Option<Vec<String>> {
    let key = model.part(&calls[failure.witness[0]].input);
    let part = Part::of_key(model, key, calls.iter());
    let (call, states) = Shrinking::of(failure, model, &part, budget).refuted()?;
    let is_same = part.indices()[call] == failure.refuted;
    (is_same && !states.is_empty()).then_some(states)
}

//! Which calls must have failed for a proof.
//!
//! A call that failed did nothing. That may be what proves that there is no order:
//!
//! ```text
//! write 1  |-----|                             failed
//! read -> 1           |---|                    nobody else wrote 1
//! ```

use super::Shrinking;
use crate::search::explore::Explored;
use crate::search::parts::Part;
use crate::search::{Budget, Call, FailedCall, Failure, Sequential};

/// How much work it may take to find them, in calls looked at and steps of the search.
const WORK_MAX: u64 = 1_000_000;

/// Of calls that failed those that a proof needs.
pub(in crate::search) struct Failed {
    /// They and the witness prove it, whatever became of other calls that failed; ..
    pub(in crate::search) calls: Vec<usize>,
    /// .. and each of them is needed for that; else it would have taken too long to tell which
    /// are.
    pub(in crate::search) is_minimal: bool,
}

/// Which of the calls that `failed` must have done so for the failure, by their index.
pub(in crate::search) fn needed<M: Sequential + ?Sized>(
    model: &M,
    calls: &[Call<M::Input, M::Output>],
    failed: &[FailedCall<M::Input, M::Output>],
    failure: &Failure,
    budget: &Budget,
) -> Failed {
    let key = model.part(&calls[failure.witness[0]].input);
    let failed = failed.iter().map(|failed| &failed.call);
    let part = Part::of_key(model, key, calls.iter().chain(failed));
    let mut proof = Shrinking::of(failure, model, &part, budget);
    let has_failed = part.indices().iter().map(|index| *index >= calls.len());
    proof.is_absent = has_failed.collect();
    // What had failed by the time up to which all is given is given as well; and what began
    // after all that is known can have nothing to do with it.
    let end = proof.end();
    let is_suspect = |index: &usize| {
        let call = &part.calls[*index];
        let has_begun = Some(call.invoked) <= end;
        let is_open = proof.is_absent[*index] && has_begun && !proof.is_given(*index);
        is_open && !model.only_reads(call.input, None)
    };
    let suspects: Vec<usize> = (0..part.calls.len()).filter(is_suspect).collect();
    proof.let_happen(&suspects);
    let needed = suspects.into_iter().filter(|call| proof.is_absent[*call]);
    let needed = needed.map(|call| part.indices()[call] - calls.len());
    Failed {
        calls: needed.collect(),
        is_minimal: proof.is_minimal,
    }
}

impl<M: Sequential + ?Sized> Shrinking<'_, '_, M> {
    /// Of these absent calls as many as possible may have happened.
    fn let_happen(&mut self, calls: &[usize]) {
        if calls.is_empty() {
            return;
        }
        if self.work + self.clock.calls() > WORK_MAX || self.clock.is_over() {
            self.is_minimal = false;
            return;
        }
        for call in calls {
            self.is_absent[*call] = false;
        }
        match self.explore_known() {
            Explored::Stuck(_) => return,
            Explored::Unknown(..) if calls.len() == 1 => self.is_minimal = false,
            Explored::Unknown(..) | Explored::Linearizable(_) => {}
        }
        for call in calls {
            self.is_absent[*call] = true;
        }
        if calls.len() > 1 {
            let (first, second) = calls.split_at(calls.len() / 2);
            self.let_happen(first);
            self.let_happen(second);
        }
    }
}

//! The barrier that is held and released: a search through all orders, as the
//! answers come.
//!
//! ```text
//! hold -> true       |-----|
//! wait                  |-----|             before the hold took effect: fine
//! hold, unknown                 |--- ...    may have raised it again, or not
//! release -> true                  |---|    lowers it: the barrier had stood
//! wait                                |--|  returns once it does not stand
//! ```
//!
//! At each answer, the operations take effect that it needs and no others. Nothing is lost by
//! that: what takes effect earlier than it must can be moved to right before the first answer
//! that needs it, and a search through all such orders is one through all orders. What
//! it costs is said [above](super).
//!
//! - `step`: the operations;
//! - `configuration`: one way to explain the answers so far;
//! - `sweep`: the pass over the events;
//! - `witness`: which operations show what is wrong;
//! - `explain`: what that is;
//! - `order`: the order of a valid history.

mod configuration;
mod explain;
mod order;
mod step;
mod sweep;
mod witness;

pub(crate) use self::order::linearization;

use self::explain::violation;
use self::step::{Action, Step};
use self::sweep::{Course, Stop, Sweep};
use super::bounds::{self, Bounds};
use super::minimal::Known;
use super::value::stuck;
use crate::history::{History, HistoryError, Operation, Operations};
use crate::liveness::Deadline;
use crate::mutex::turns::{self, Rooms};
use crate::search::Budget;
use crate::verdict::{Summary, Verdict, Violation};

/// Decides whether the history is that of a barrier.
///
/// Operations: `hold`, whose result is true, or false when the barrier stood
/// already; `release`, whose result is true, or false when it did not stand;
/// `wait`. A hold may name the lease that it falls with, `{"lease": 7}`; a release
/// that names it says that this lease could be relied on at that moment.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    if let Some(summary) = summary_of_plain(history)? {
        return Ok(Verdict::Valid(summary));
    }
    let operations = history.operations();
    let steps = Step::all(&operations)?;
    let all = Known::all(steps.len());
    let clock = budget.clock();
    let bounds = Bounds::of(budget, &clock);
    let course = Course::new(&steps);
    let failed = match Sweep::new(&course, &all).run(usize::MAX, &bounds) {
        Ok(_) => None,
        Err(Stop::Failed(step)) => Some(step),
        Err(Stop::Spent(limit)) => {
            let reason = bounds::reason(limit);
            return Ok(Verdict::Unknown { reason });
        }
    };
    let violation = match failed {
        Some(step) => Some(violation(&operations, &course, step, &bounds)),
        None => find_stuck(history, &operations, &course),
    };
    Ok(violation.map_or_else(
        || Verdict::Valid(Summary::of(&operations)),
        Verdict::Violation,
    ))
}

/// That of a history whose order is found without keeping several ways in mind, if it is found.
fn summary_of_plain(history: &History) -> Result<Option<Summary>, HistoryError> {
    const HOLDS: Rooms = Rooms {
        places: 1,
        knows_who_is_inside: false,
    };
    let operations = Operations::of(history);
    let has_order = turns::has_order(HOLDS, history, &operations, Step::turn)?;
    let deadline = Deadline::of(history);
    let overdue = deadline.map(|deadline| deadline.overdue(operations.iter()));
    let is_valid = has_order && overdue.is_none_or(|overdue| overdue.is_empty());
    Ok(is_valid.then(|| Summary::of(operations.iter())))
}

/// Waits for a barrier that certainly does not stand, and other operations, which
/// never wait. A hold with a lease has fallen by the time of the mark.
fn find_stuck(
    history: &History,
    operations: &[Operation<'_>],
    course: &Course<'_>,
) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let mut overdue = deadline.overdue(operations);
    let steps = course.steps;
    let all = Known::all(steps.len());
    let mut sweep = Sweep::new(course, &all);
    // It has been run to its end before.
    sweep.run(deadline.index, &Bounds::none()).ok()?;
    let at_mark = &sweep.all;
    let may_stand = at_mark.iter().any(|one| sweep.may_stand(one));
    overdue.retain(|operation| operation.invoke.f() != "wait" || !may_stand);
    let is_wait = overdue.first()?.invoke.f() == "wait";
    let has_fallen = at_mark.iter().any(|one| one.state.is_up());
    let last = is_wait.then(|| last_change(operations, steps, has_fallen, deadline.index));
    let last = last.flatten();
    let why = match last {
        Some(hold) if has_fallen => format!(
            ", although the barrier did not stand any more: the lease with which process {} had raised it was gone",
            hold.process()
        ),
        _ if is_wait => ", although the barrier did not stand any more".to_owned(),
        _ => String::new(),
    };
    stuck(&deadline, &overdue, &why, last)
}

/// The last hold, or else release, that is known to have changed something before an event.
fn last_change<'o, 'h>(
    operations: &'o [Operation<'h>],
    steps: &[Step],
    is_hold: bool,
    before: usize,
) -> Option<&'o Operation<'h>> {
    let action = if is_hold {
        Action::Hold
    } else {
        Action::Release
    };
    let changes = |step: &&Step| {
        step.action == action && step.answer == Some(true) && step.completed < before
    };
    let last = steps.iter().rev().find(changes)?;
    Some(&operations[last.operation])
}

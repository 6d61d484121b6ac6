//! FIFO queue: exact linearizability, in linear time.
//!
//! # The question
//!
//! Clients `enqueue` distinct values and `dequeue` them; a dequeue may also find
//! the queue empty. Is there an order of all operations that is a run of a FIFO
//! queue and respects real time: each operation at some instant between its
//! invocation and its return?
//!
//! ```text
//! enqueue a  |-----|
//! enqueue b           |-----|               only after a was acknowledged
//! dequeue -> b                 |-----|      had returned ...
//! dequeue -> a                         |--| ... before anyone asked for a: VOrd
//! ```
//!
//! General search is hopeless here: the state of a queue depends on the *order*
//! of the enqueues, so k of them at a time mean k! states.
//!
//! # The answer
//!
//! Write `e(v)` and `d(v)` for the operations on value `v`, `.i` for invocation
//! and `.r` for return. A complete history of distinct values is linearizable
//! exactly when it has none of these
//! (Henzinger, Sezgin, Vafeiadis: *Aspect-oriented linearizability proofs*,
//! CONCUR 2013):
//!
//! - **VFresh**: `v` is dequeued but never enqueued, or `d(v).r < e(v).i`.
//! - **VRepeat**: `v` is dequeued twice.
//! - **VOrd**: `e(a).r < e(b).i`, and `b` is dequeued, and `d(b).r < d(a).i` or `a`
//!   is never dequeued.
//! - **VWit**: a dequeue says "empty" although at each instant of it some value was
//!   definitely inside: after `e(v).r` and before `d(v).i`.
//!
//! Two values are enough for VOrd because real time is an interval order: where
//! `w < x` and `y < z` hold, `w < z` or `y < x` holds too, so that any longer cycle
//! has a shortcut.
//!
//! # Pending operations
//!
//! An operation that failed did not happen. Of those whose outcome is unknown:
//!
//! - A pending enqueue whose value nobody got did not happen: a value more could
//!   only forbid something. If somebody got it, it happened, with `.r` = infinity.
//! - A pending dequeue may have removed any one value that nobody got, or none.
//!   As its `.r` is infinite, it can never be too early for the order of the
//!   others; it only has to be *invoked* before the value must be gone. So each
//!   lost value (acknowledged, got by nobody) has a deadline, each pending dequeue
//!   a release time, and a lost value with a finite deadline needs a pending
//!   dequeue of its own that was invoked before it. Deadlines grow with `e(v).r`,
//!   so the values that must be gone at an instant are always a prefix of that
//!   order, and Hall's condition on prefixes decides whether all find a partner:
//!   with `A(t)` lost values acknowledged before `t` and `P(t)` pending dequeues
//!   invoked before `t`,
//!   - order: `A(m) <= P(d(b).r)` for each dequeue `d(b)` that returned, `m` being the
//!     largest `e.i` of what had been dequeued by then (else **VOrd-lost**);
//!   - empty: some instant `t` of the dequeue that is inside no completed value's
//!     interval has `A(t) <= P(t)` (else **VWit** or **VWit-lost**).
//!
//!   With no pending dequeue that is VOrd and VWit for values that never left.
//!
//! # Cost
//!
//! Events come in order of time, so each condition is one pass over them: O(n) and
//! one hash table. The twin in `tests/`, which tries all orders, agrees on
//! hundreds of thousands of small random histories.
//!
//! # What is left out
//!
//! Values that repeat. The check refuses them, since the precondition of all the
//! above is then missing; workloads make values unique.

mod empty;
mod extract;
mod item;
mod linearization;
mod order;
mod pass;
mod values;

use crate::history::{History, HistoryError};
use crate::liveness::{Deadline, STUCK};
use crate::verdict::{Class, Verdict, Violation, count};

use extract::Queue;
pub(crate) use item::Item;
pub(crate) use linearization::{Interval, Ties, Value, linearize};
pub(crate) use order::{excuse, list};
pub(crate) use values::{Call, Shape, Values};

/// Decides whether the history is that of a FIFO queue.
///
/// Operations: `enqueue` with a string (or a whole number) as value; `dequeue`,
/// whose result is such a value, or null when the queue was empty.
///
/// # Errors
/// When an event is no such operation, or a value is enqueued twice.
pub fn check(history: &History) -> Result<Verdict, HistoryError> {
    let (queue, fault) = Queue::of(history)?;
    let violation = fault
        .or_else(|| find_fault(&queue))
        .or_else(|| find_stuck(&queue, history));
    Ok(match violation {
        Some(violation) => Verdict::Violation(violation),
        None => Verdict::Valid(queue.values.summary()),
    })
}

/// The operations that took effect, by their index, in an order that a FIFO queue can do,
/// each between its invocation and its return; none when there is none.
///
/// # Errors
/// As [`check`].
pub fn linearization(history: &History) -> Result<Option<Vec<usize>>, HistoryError> {
    let (queue, fault) = Queue::of(history)?;
    if fault.is_some() {
        return Ok(None);
    }
    let interval = |invoked: usize| queue.values.interval(invoked);
    let taken = queue.taken_in_silence();
    let values: Vec<Value> = (queue.values.items.iter().zip(taken))
        .map(|(item, taken)| Value {
            priority: 0,
            enqueue: interval(item.enqueue_invoked()),
            dequeue: item.dequeue().or(taken).map(interval),
        })
        .collect();
    let empties = queue.values.empties.iter();
    let empties: Vec<Interval> = empties.map(|empty| interval(empty.invoked())).collect();
    Ok(linearize(
        &values,
        &empties,
        Ties::Fifo,
        history.events().len(),
    ))
}

/// The first fault of the kind that comes first, in one pass over the events.
fn find_fault(queue: &Queue<'_>) -> Option<Violation> {
    let mut overtaken = order::Overtaken::default();
    let mut lost = order::Lost::new(queue);
    let mut wrong_empty = empty::WrongEmpty::default();
    let (mut overtaker, mut empty) = (None, None);
    for (index, role) in queue.roles().enumerate() {
        if let Some((first, second)) = overtaken.step(queue, role) {
            return Some(order::overtaken(queue, first, second));
        }
        overtaker = overtaker.or_else(|| lost.step(queue, role));
        empty = empty.or_else(|| wrong_empty.step(queue, index, role));
    }
    let lost = overtaker.map(|overtaker| order::lost_values(queue, overtaker));
    lost.or_else(|| empty.map(|empty| empty::wrong_empty(queue, empty)))
}

/// An operation that had to finish and did not. A dequeue may wait for as long as
/// the queue may have been empty.
fn find_stuck(queue: &Queue<'_>, history: &History) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let inside = queue.definitely_inside(deadline.index);
    let mut stuck = queue.values.overdue(&deadline);
    stuck.retain(|operation| operation.invoke.f() != "dequeue" || inside.count > 0);
    let (first, others) = stuck.split_first()?;
    let mut sentence = deadline.sentence(first);
    if first.invoke.f() == "dequeue" {
        let (verb, values) = (
            if inside.count == 1 { "was" } else { "were" },
            count(inside.count, "acknowledged value"),
        );
        sentence += &format!(", although {values} {verb} in the queue");
    }
    let example = inside
        .example
        .filter(|_| first.invoke.f() == "dequeue")
        .map(|item| queue.values.enqueue(item));
    let witness = std::iter::once(*first).chain(example);
    let mut violation = Violation::new(Class::Liveness, STUCK, sentence, witness);
    if !others.is_empty() {
        violation.also.push(format!(
            "{} had not finished either",
            count(others.len() as u64, "other operation")
        ));
    }
    Some(violation)
}

/// How many values were in the queue at some instant whatever the pending
/// operations did.
struct Inside {
    count: u64,
    /// Index of one of them.
    example: Option<usize>,
}

impl Queue<'_> {
    /// For each item the dequeue of unknown outcome that may have taken it.
    ///
    /// Of the values that nobody got, those that were acknowledged first are those that must
    /// be gone first, and the pending dequeues that were invoked first can have taken them.
    fn taken_in_silence(&self) -> Vec<Option<usize>> {
        let lost = order::first_lost(self, self.values.pending.len());
        let mut taken = vec![None; self.values.items.len()];
        for (item, dequeue) in lost.into_iter().zip(&self.values.pending) {
            taken[item] = Some(*dequeue);
        }
        taken
    }

    /// Open dequeues are left out of account: one that took a value should have
    /// returned it, and one that took none should have found it.
    fn definitely_inside(&self, index: usize) -> Inside {
        let acknowledged = |item: &usize| self.values.items[*item].enqueue_returned() < index;
        let (later, never): (Vec<usize>, Vec<usize>) = (0..self.values.items.len())
            .filter(acknowledged)
            .filter(|item| self.values.items[*item].dequeue_invoked() > index)
            .partition(|item| self.values.items[*item].is_dequeued());
        let unknown = self.values.ended_before(index);
        let count = later.len() + never.len().saturating_sub(unknown);
        // Of values that nobody got, the last ones are the likelier to be inside.
        Inside {
            count: count as u64,
            example: later.first().or(never.last()).copied(),
        }
    }
}

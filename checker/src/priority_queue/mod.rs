//! The priority queue of distinct values: is a history linearizable?
//!
//! # The question
//!
//! Producers enqueue distinct values with a priority, consumers dequeue them; a
//! dequeue may also find the queue empty. Is there an order of all operations that
//! respects real time and in which each dequeue takes the value with the smallest
//! number, and of several the one that was enqueued first? Or any of them, if the header's
//! parameters say `"ties":"any"`.
//!
//! ```text
//! enqueue a, 5  |-----|
//! enqueue b, 1  |-----|
//! dequeue -> a          |-----|             b was inside all the time: PQ-order
//! dequeue -> b             |-----|          begins too late to have been first
//!
//! enqueue c, 3  |-----|
//! enqueue d, 3          |-----|             of equals c is first ...
//! dequeue -> d                  |---|
//! dequeue -> c                        |---| ... and left last: PQ-tie
//! ```
//!
//! # The answer
//!
//! Write `e(v)` and `d(v)` for the operations on value `v`, `.i` for invocation and
//! `.r` for return. A value is *certainly inside* after `e(v).r` and before
//! `max(d(v).i, e(v).i)`. A complete history of distinct values is linearizable
//! exactly when it has none of these:
//!
//! - **VFresh**, **VRepeat**, **PQ-priority**: a value left that was not put in, left
//!   twice, or left with another priority.
//! - **PQ-order**: at each instant of `d(v)` after `e(v).i` some better value is
//!   certainly inside. What is worse than `v` does not matter to `d(v)`, so each
//!   class of priority sees the classes above it as a dequeue that finds nothing sees
//!   all of them.
//! - **PQ-tie**: `a` and `b` have the same priority, `e(a).r < e(b).i`, and there is
//!   no instant from `max(d(a).i, e(a).i)` until `d(b).r` at which nothing better is
//!   certainly inside; so `d(a)` cannot come before `d(b)`. Or `a` never left. Not asked
//!   where ties may leave in any order: then values of one priority are in nobody's way.
//! - **VWit**: at each instant of a dequeue that found nothing, some value is
//!   certainly inside.
//!
//! One sweep decides, from the best class to the worst, with the union of the
//! intervals so far kept as bits: O(n log n), of which the
//! logarithm is that of sorting.
//!
//! # Pending operations
//!
//! An enqueue of unknown outcome whose value nobody got did not happen; if somebody
//! got it, it happened, and is certainly inside at no time.
//!
//! A dequeue of unknown outcome may have taken any one value that nobody got (a
//! *lost* one), or none. Which one decides how long that value was inside, and so
//! what may happen below it. In this order it is asked:
//!
//! 1. Is there an order if they took nothing? Then the history is valid.
//! 2. Is there one if no lost value was in anybody's way? If not, no dequeue of unknown
//!    outcome explains it: somebody else got what was inside.
//! 3. What must be gone, and when (`demand`)? If that is more than dequeues of unknown
//!    outcome can have taken that had begun by then, there is no order: **PQ-order-lost**,
//!    **PQ-tie-lost**, **VWit-lost**.
//! 4. Is there an order if each of them takes what must be gone next (`grant`)? That is
//!    a guess, and a good one.
//!
//! So far all is O(n log n). What is left is rare, and searched: each violation that shows rests
//! on a few values that are certainly inside, and any explanation must
//! have one of the lost ones among them taken, by a dequeue that was invoked in
//! time. All ways to do that are tried, with the check repeated each time. Where there are more
//! ways than the budget of time and memory allows, the verdict is unknown.
//!
//! The twin in `tests/`, which tries all orders, agrees on hundreds of thousands of
//! small random histories.

mod demand;
mod explain;
mod extract;
mod free;
mod grant;
mod narrow;
mod order;
mod search;
mod tree;

use crate::history::{History, HistoryError};
use crate::liveness::{Deadline, STUCK};
use crate::queue::{Interval, Value, linearize};
use crate::search::Budget;
use crate::verdict::{Class, Kind, Verdict, Violation, count};

use explain::violation;
use extract::{Item, Queue};
use narrow::narrowed;
use search::Explained;

const ORDER: Kind = Kind {
    name: "PQ-order",
    meaning: "a value left although a better one was in the queue",
};
const ORDER_LOST: Kind = Kind {
    name: "PQ-order-lost",
    meaning: "a value left although a better one had been acknowledged and never left",
};
const TIE: Kind = Kind {
    name: "PQ-tie",
    meaning: "values of the same priority left in another order than they were enqueued",
};
const TIE_LOST: Kind = Kind {
    name: "PQ-tie-lost",
    meaning: "a value was overtaken by one of the same priority and never left",
};
const WITNESS: Kind = Kind {
    name: "VWit",
    meaning: "a dequeue found the queue empty although it never was",
};
const WITNESS_LOST: Kind = Kind {
    name: "VWit-lost",
    meaning: "the queue was empty although acknowledged values never left it",
};

/// Decides whether the history is that of a priority queue: smallest number first,
/// ties in the order of arrival.
///
/// Operations: `enqueue` with `[value, priority]`; `dequeue`, whose result is such a
/// pair, or null when the queue was empty. The header's parameters may have `ties`, `"fifo"`
/// or `"any"`.
///
/// # Errors
/// When an event is no such operation, or a value is enqueued twice.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    let (mut queue, fault) = Queue::of(history)?;
    if let Some(violation) = fault {
        return Ok(Verdict::Violation(violation));
    }
    let violation = match search::explain(&mut queue, budget) {
        Explained::Yes(_) => find_stuck(&queue, history),
        Explained::No(why) => {
            let why = narrowed(&mut queue, why);
            Some(violation(&queue, &why))
        }
        Explained::Unknown { limit, tried } => {
            let reason = format!(
                "{} of unknown outcome may have taken values in too many ways: {tried} were \
                 tried within {limit} that the search was given",
                count(queue.values.pending.len() as u64, "dequeue")
            );
            return Ok(Verdict::Unknown { reason });
        }
    };
    Ok(match violation {
        Some(violation) => Verdict::Violation(violation),
        None => Verdict::Valid(queue.values.summary()),
    })
}

/// The operations that took effect, by their index, in an order that a priority queue can
/// do, each between its invocation and its return; none when there is none, or when it
/// takes too long to find out what dequeues of unknown outcome took.
///
/// # Errors
/// As [`check`].
pub fn linearization(
    history: &History,
    budget: &Budget,
) -> Result<Option<Vec<usize>>, HistoryError> {
    let (mut queue, fault) = Queue::of(history)?;
    if fault.is_some() {
        return Ok(None);
    }
    let Explained::Yes(taken) = search::explain(&mut queue, budget) else {
        return Ok(None);
    };
    let interval = |invoked: usize| queue.values.interval(invoked);
    let mut values: Vec<Value> = (queue.values.items.iter())
        .map(|item| Value {
            priority: item.priority,
            enqueue: interval(item.enqueue_invoked()),
            dequeue: item.dequeue().map(interval),
        })
        .collect();
    for (dequeue, item) in queue.values.pending.iter().zip(taken) {
        if let Some(item) = item {
            values[item].dequeue = Some(interval(*dequeue));
        }
    }
    let empties = queue.values.empties.iter();
    let empties: Vec<Interval> = empties.map(|empty| interval(empty.invoked())).collect();
    Ok(linearize(&values, &empties, queue.ties, queue.events()))
}

/// An operation that had to finish and did not. A dequeue may wait for as long as
/// the queue may have been empty.
fn find_stuck(queue: &Queue<'_>, history: &History) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let inside: Vec<&Item> = queue
        .values
        .items
        .iter()
        .filter(|item| {
            let left = item.dequeue_invoked() <= deadline.index;
            item.enqueue_returned() < deadline.index && !left
        })
        .collect();
    let is_lost = |item: &&Item| !item.is_dequeued();
    let lost = inside.iter().filter(|item| is_lost(item)).count();
    // An open dequeue that took a value should have returned it.
    let unknown = queue.values.ended_before(deadline.index);
    let number = inside.len() - lost + lost.saturating_sub(unknown);
    let mut stuck = queue.values.overdue(&deadline);
    stuck.retain(|operation| operation.invoke.f() != "dequeue" || number > 0);
    let (first, others) = stuck.split_first()?;
    let mut sentence = deadline.sentence(first);
    let mut witness = vec![*first];
    if first.invoke.f() == "dequeue" {
        let verb = if number == 1 { "was" } else { "were" };
        let values = count(number as u64, "acknowledged value");
        sentence += &format!(", although {values} {verb} in the queue");
        // Of values that nobody got, the last ones are the likelier to be inside.
        let begun = |item: &&&Item| item.enqueue_invoked();
        let example = inside
            .iter()
            .filter(|item| !is_lost(item))
            .min_by_key(begun);
        let example = example.or(inside.iter().max_by_key(begun));
        let begun = example.map(|item| item.enqueue_invoked());
        witness.extend(begun.map(|invoked| queue.values.operation(invoked)));
    }
    let mut violation = Violation::new(Class::Liveness, STUCK, sentence, witness);
    if !others.is_empty() {
        let others = count(others.len() as u64, "other operation");
        violation
            .also
            .push(format!("{others} had not finished either"));
    }
    Some(violation)
}

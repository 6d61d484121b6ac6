//! The reliable queue: is nothing lost, nothing dealt with twice, nothing in two
//! hands at once?
//!
//! # The question
//!
//! ```text
//! enqueue a        |-----|
//! claim -> a                |-----|
//! claim -> a                         |-----|         the lease of the first claim may
//!                                                    have ended by then: no harm
//! acknowledge a (first claim)          |-----|       but it had not: RQ-two-claims
//! length -> 1                                  |---| a had left: RQ-surplus
//! ```
//!
//! Producers enqueue distinct values. Consumers *claim* them, and then acknowledge
//! them or give them back; a claim also ends when its consumer's lease does, at a
//! moment that no client learns. Is there an order of all operations, in that of the revisions
//! that etcd gave, that the queue can do if leases end when it suits? What it can do is said
//! in `sequential`.
//!
//! # The answer
//!
//! First comes what must hold in any order, and has a name:
//!
//! - **RQ-fresh**: a value is claimed only after its enqueue began.
//! - **RQ-acknowledged-twice**: two acknowledgements of a value succeeded.
//! - **RQ-came-back**: a value is claimed after it was acknowledged, in real time or
//!   by the revisions that etcd gave.
//! - **RQ-two-claims**: a claim that was acknowledged or given back, and so lived until
//!   then, and another claim of the value that was made meanwhile.
//! - **RQ-lost**, **RQ-surplus**: a length that is smaller than the number of values
//!   that were certainly in the queue all the time (acknowledged to their producers,
//!   and no acknowledgement by a consumer had begun), or larger than that of those
//!   that can have been.
//! - **RQ-order**: `b` was claimed although `a`, which had been enqueued before, was
//!   there and had never been claimed by anybody. Values that came back are exempt:
//!   they take their old place, but a claim on its way may miss them.
//! - **RQ-empty**: a claim found nothing although a value was there that nobody had
//!   ever claimed.
//!
//! That is necessary, and not enough. So a [search](crate::search) looks for an order then:
//! the verdict is *valid* if it finds one, **non-linearizable** if there is none, and
//! *unknown* if its budget does not suffice, of which it takes no more than a part. Enqueues,
//! claims and acknowledgements tell their revisions, which leave the search little to choose
//! but where to put what is of unknown outcome.
//!
//! # Pending operations
//!
//! An enqueue of unknown outcome counts only if somebody got its value. An
//! acknowledgement of unknown outcome may have happened: its value is not certainly
//! inside from its invocation on. A claim without a result, of unknown outcome or
//! failed, may have held any value for a while; as many untouched values as such
//! claims were invoked in time may therefore be passed over in **RQ-order** and
//! **RQ-empty**. That is generous; the search is exact.
//!
//! The twin in `tests/`, which tries all orders of operations and ends of leases, agrees on
//! more than a hundred thousand small random histories.
//!
//! # Cost
//!
//! O(n log n): sorting, and a tree of counts for the questions about values that
//! nobody had touched. The search takes O(n m) for m values inside where all outcomes and
//! revisions are known, and is exponential in what is not.

mod counts;
mod extract;
mod sequential;

use std::cmp::Reverse;

use crate::history::{Event, History, HistoryError, Operation, Outcome};
use crate::liveness::{Deadline, STUCK};
use crate::queue::list;
use crate::search::Budget;
use crate::verdict::{Class, Kind, Verdict, Violation, count};

use counts::{Question, untouched};
use extract::{NEVER, Queue};
use sequential::ReliableQueue;

const FRESH: Kind = Kind {
    name: "RQ-fresh",
    meaning: "a value was claimed that had not been enqueued",
};
const TWICE: Kind = Kind {
    name: "RQ-acknowledged-twice",
    meaning: "a value was acknowledged twice",
};
const CAME_BACK: Kind = Kind {
    name: "RQ-came-back",
    meaning: "a value was claimed after it had been acknowledged",
};
const TWO_CLAIMS: Kind = Kind {
    name: "RQ-two-claims",
    meaning: "a value was in two hands at once",
};
const LOST: Kind = Kind {
    name: "RQ-lost",
    meaning: "values left the queue without having been acknowledged",
};
const SURPLUS: Kind = Kind {
    name: "RQ-surplus",
    meaning: "the queue held more values than can have been in it",
};
const ORDER: Kind = Kind {
    name: "RQ-order",
    meaning: "a value was claimed before an earlier one that nobody had claimed",
};
const EMPTY: Kind = Kind {
    name: "RQ-empty",
    meaning: "a claim found nothing although a value was there that nobody had claimed",
};

/// Decides whether the history is that of a reliable queue.
///
/// Operations: `enqueue` with a list of values; `claim`, whose result is a list of
/// `[value, revision of the claim]`, or null when nothing was free; `acknowledge` and
/// `release` with such a pair; `length`, whose result is a number.
///
/// # Errors
/// When an event is no such operation, or a value is enqueued twice.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    let queue = Queue::of(history)?;
    let violation = find_fresh(&queue)
        .or_else(|| find_in_values(&queue))
        .or_else(|| find_wrong_length(&queue))
        .or_else(|| find_overtaken(&queue))
        .or_else(|| find_wrong_empty(&queue));
    if let Some(violation) = violation {
        return Ok(Verdict::Violation(violation));
    }
    let verdict = search(&queue, &within(budget));
    // What had to finish and did not is wrong whatever the search came to.
    let stuck = match &verdict {
        Verdict::Violation(_) => None,
        _ => find_stuck(&queue, history),
    };
    Ok(stuck.map_or(verdict, Verdict::Violation))
}

/// What an order that is looked for says, the likely ones first. Why there is none shows only
/// without foresight.
fn search(queue: &Queue<'_>, budget: &Budget) -> Verdict {
    let calls = sequential::calls(queue);
    let in_order = calls.verdict(&ReliableQueue::of(queue).in_order(), budget);
    if in_order.is_valid() {
        return in_order;
    }
    match calls.verdict(&ReliableQueue::of(queue), budget) {
        Verdict::Violation(_) => calls.verdict(&ReliableQueue::of(queue).unforeseeing(), budget),
        verdict => verdict,
    }
}

/// What the search for an order may take: half of the memory. One that is decided at all takes
/// little, so more would hardly help, and many seconds be lost.
fn within(budget: &Budget) -> Budget {
    Budget {
        memory_bytes: budget.memory_bytes / 2,
        ..*budget
    }
}

/// The operations that took effect, by their index, in an order that the queue can do, if
/// leases end when it suits; none when there is none, or none is found within the budget.
/// Releases are not among them: they do nothing that the end of a lease would not do.
///
/// # Errors
/// As [`check`].
pub fn linearization(
    history: &History,
    budget: &Budget,
) -> Result<Option<Vec<usize>>, HistoryError> {
    let queue = Queue::of(history)?;
    if !queue.strangers.is_empty() {
        return Ok(None);
    }
    let (calls, budget) = (sequential::calls(&queue), within(budget));
    let in_order = calls.linearization(&ReliableQueue::of(&queue).in_order(), &budget);
    Ok(in_order.or_else(|| calls.linearization(&ReliableQueue::of(&queue), &budget)))
}

fn safety(queue: &Queue<'_>, kind: Kind, text: String, of: &[usize]) -> Violation {
    let mut of = of.to_vec();
    of.sort_unstable();
    of.dedup();
    let witness = of.into_iter().map(|index| queue.operation(index));
    Violation::new(Class::Safety, kind, text, witness)
}

fn find_fresh(queue: &Queue<'_>) -> Option<Violation> {
    if let Some((value, claim)) = queue.strangers.first() {
        let text = format!("`{value}` was claimed, but nobody ever enqueued it");
        return Some(safety(queue, FRESH, text, &[*claim]));
    }
    queue.claims.iter().find_map(|claim| {
        let enqueue = queue.items[claim.item].enqueue;
        (queue.operation(claim.claim).completed < queue.operation(enqueue).invoked).then(|| {
            let shown = queue.show(claim.item);
            let line = queue.operation(enqueue).invoke.line();
            let text = format!("{shown} had been claimed before its enqueue began in line {line}");
            safety(queue, FRESH, text, &[claim.claim])
        })
    })
}

/// What shows on the operations of one value alone.
fn find_in_values(queue: &Queue<'_>) -> Option<Violation> {
    (0..queue.items.len()).find_map(|item| {
        find_acknowledged_twice(queue, item)
            .or_else(|| find_came_back(queue, item))
            .or_else(|| find_two_claims(queue, item))
    })
}

fn done(queue: &Queue<'_>, item: usize) -> impl Iterator<Item = usize> {
    let all = queue.items[item].acknowledgements.iter().copied();
    all.filter(|index| queue.operation(*index).outcome() == Outcome::Ok)
}

fn find_acknowledged_twice(queue: &Queue<'_>, item: usize) -> Option<Violation> {
    let mut done = done(queue, item);
    let (first, second) = (done.next()?, done.next()?);
    let shown = queue.show(item);
    let [a, b] = [first, second].map(|index| queue.operation(index).process());
    let text = format!("{shown} was acknowledged by process {a} and again by process {b}");
    Some(safety(queue, TWICE, text, &[first, second]))
}

fn find_came_back(queue: &Queue<'_>, item: usize) -> Option<Violation> {
    let done = done(queue, item).next()?;
    let acknowledgement = queue.operation(done);
    let revision = acknowledgement.ok().and_then(Event::revision);
    let claims = queue.items[item].claims.iter();
    let mut claims = claims.map(|claim| &queue.claims[*claim]);
    let back = claims.find(|claim| {
        let is_later = revision.is_some_and(|revision| claim.revision > revision);
        is_later || queue.operation(claim.claim).invoked > acknowledgement.completed
    })?;
    let text = format!(
        "{} was claimed by process {} after process {} had acknowledged it",
        queue.show(item),
        queue.operation(back.claim).process(),
        acknowledgement.process()
    );
    Some(safety(queue, CAME_BACK, text, &[done, back.claim]))
}

/// A claim lived at least from when it was made, at most its return, until its end
/// was asked for.
fn find_two_claims(queue: &Queue<'_>, item: usize) -> Option<Violation> {
    let claims = || queue.items[item].claims.iter().map(|c| &queue.claims[*c]);
    for first in claims() {
        let same = |second: &&extract::Claim| {
            !std::ptr::eq(first, *second) && second.revision == first.revision
        };
        let meanwhile = |second: &&extract::Claim| {
            let Some(end) = first.end.map(|end| queue.operation(end)) else {
                return false;
            };
            let (one, other) = (queue.operation(first.claim), queue.operation(second.claim));
            let in_time = one.completed < other.invoked && other.completed < end.invoked;
            let ended_at = end.ok().and_then(Event::revision);
            let by_revision =
                ended_at.is_some_and(|at| first.revision < second.revision && second.revision < at);
            in_time || by_revision
        };
        let second = claims().find(|second| same(second) || meanwhile(second));
        if let Some(second) = second {
            let text = format!(
                "{} was claimed by process {} while process {} had it",
                queue.show(item),
                queue.operation(second.claim).process(),
                queue.operation(first.claim).process()
            );
            // One revision makes one claim, however long it lived.
            let end = first.end.filter(|_| !same(&second));
            let of: Vec<usize> = [first.claim, second.claim].into_iter().chain(end).collect();
            return Some(safety(queue, TWO_CLAIMS, text, &of));
        }
    }
    None
}

fn find_wrong_length(queue: &Queue<'_>) -> Option<Violation> {
    let touched: Vec<usize> = (0..queue.items.len())
        .map(|item| queue.first_acknowledged(item))
        .collect();
    let questions: Vec<Question> = queue
        .lengths
        .iter()
        .map(|(operation, _)| Question {
            since: queue.operation(*operation).invoked,
            until: queue.operation(*operation).completed,
        })
        .collect();
    let inside = untouched(queue, &touched, &questions);
    // What can have been inside: begun before the end, and not certainly
    // acknowledged before the beginning.
    let mut begun: Vec<usize> = Vec::new();
    let mut gone: Vec<usize> = Vec::new();
    for item in 0..queue.items.len() {
        begun.push(queue.operation(queue.items[item].enqueue).invoked);
        gone.extend(
            done(queue, item)
                .map(|index| queue.operation(index).completed)
                .next(),
        );
    }
    begun.sort_unstable();
    gone.sort_unstable();
    for (index, (operation, length)) in queue.lengths.iter().enumerate() {
        let Question { since, until } = questions[index];
        let process = queue.operation(*operation).process();
        if inside[index] as u64 > *length {
            let missing = (0..queue.items.len())
                .filter(|item| queue.enqueued(*item) < since && touched[*item] > until);
            let needed = usize::try_from(*length).map_or(NEVER, |length| length + 1);
            let missing = from_fewest_enqueues(queue, missing, needed);
            let names: Vec<String> = missing.iter().map(|item| queue.show(*item)).collect();
            let text = format!(
                "the queue had {} when process {process} asked, although {} had been enqueued and nobody acknowledged {}",
                count(*length, "item"),
                list(&names),
                if names.len() == 1 { "it" } else { "them" },
            );
            let enqueues = missing.iter().map(|item| queue.items[*item].enqueue);
            let of: Vec<usize> = enqueues.chain([*operation]).collect();
            return Some(safety(queue, LOST, text, &of));
        }
        let most = begun.partition_point(|event| *event < until)
            - gone.partition_point(|event| *event < since);
        if *length > most as u64 {
            let text = format!(
                "the queue had {} when process {process} asked, but no more than {most} can have been in it",
                count(*length, "item")
            );
            return Some(safety(queue, SURPLUS, text, &[*operation]));
        }
    }
    None
}

fn find_overtaken(queue: &Queue<'_>) -> Option<Violation> {
    let touched: Vec<usize> = (0..queue.items.len())
        .map(|item| queue.first_claimed(item))
        .collect();
    let question = |claim: &extract::Claim| Question {
        since: queue.operation(queue.items[claim.item].enqueue).invoked,
        until: queue.operation(claim.claim).completed,
    };
    let questions: Vec<Question> = queue.claims.iter().map(question).collect();
    let passed_over = untouched(queue, &touched, &questions);
    for (claim, (passed, question)) in queue.claims.iter().zip(passed_over.iter().zip(&questions)) {
        let batch: Vec<usize> = earlier_in_batch(queue, claim.item)
            .filter(|item| touched[*item] > question.until)
            .collect();
        let excused = queue.vaguely_claimed(question.until);
        if passed + batch.len() <= excused {
            continue;
        }
        // Its own enqueue is shown in any case.
        let batch: Vec<usize> = batch.into_iter().take(excused + 1).collect();
        let others = (0..queue.items.len()).filter(|item| {
            queue.enqueued(*item) < question.since && touched[*item] > question.until
        });
        let needed = excused + 1 - batch.len();
        let mut overtaken = from_fewest_enqueues(queue, others, needed);
        overtaken.extend(batch);
        let names: Vec<String> = overtaken.iter().map(|item| queue.show(*item)).collect();
        let mut text = format!(
            "{} was claimed although {} had been enqueued before and nobody had claimed {}",
            queue.show(claim.item),
            list(&names),
            if names.len() == 1 { "it" } else { "them" },
        );
        text += &excuse(excused);
        let enqueues = overtaken.iter().map(|item| queue.items[*item].enqueue);
        let of: Vec<usize> = enqueues
            .chain([queue.items[claim.item].enqueue, claim.claim])
            .collect();
        return Some(safety(queue, ORDER, text, &of));
    }
    None
}

/// So many of these values, which are in order, from as few enqueues as can be: none of these can
/// then be left out.
fn from_fewest_enqueues(
    queue: &Queue<'_>,
    items: impl Iterator<Item = usize>,
    needed: usize,
) -> Vec<usize> {
    let items: Vec<usize> = items.collect();
    let enqueue = |item: &usize| queue.items[*item].enqueue;
    let mut batches: Vec<&[usize]> = items.chunk_by(|a, b| enqueue(a) == enqueue(b)).collect();
    batches.sort_by_key(|batch| Reverse(batch.len()));
    let mut chosen: Vec<usize> = batches.concat();
    chosen.truncate(needed);
    chosen.sort_unstable();
    chosen
}

/// Values of the same batch that come before this one.
fn earlier_in_batch(queue: &Queue<'_>, item: usize) -> impl Iterator<Item = usize> {
    let place = queue.items[item].place;
    let is_certain = queue.enqueued(item) != NEVER || !queue.items[item].claims.is_empty();
    (item - place..item).filter(move |_| is_certain)
}

fn excuse(excused: usize) -> String {
    match excused {
        0 => String::new(),
        _ => format!(
            "; claims without a result can have held but {}",
            count(excused as u64, "value")
        ),
    }
}

fn find_wrong_empty(queue: &Queue<'_>) -> Option<Violation> {
    let touched: Vec<usize> = (0..queue.items.len())
        .map(|item| queue.first_claimed(item))
        .collect();
    let questions: Vec<Question> = queue
        .empties
        .iter()
        .map(|operation| Question {
            since: queue.operation(*operation).invoked,
            until: queue.operation(*operation).completed,
        })
        .collect();
    let there = untouched(queue, &touched, &questions);
    let wrong = (0..questions.len())
        .find(|index| there[*index] > queue.vaguely_claimed(questions[*index].until))?;
    let Question { since, until } = questions[wrong];
    let excused = queue.vaguely_claimed(until);
    let there = (0..queue.items.len())
        .filter(|item| queue.enqueued(*item) < since && touched[*item] > until);
    let there = from_fewest_enqueues(queue, there, excused + 1);
    let names: Vec<String> = there.iter().map(|item| queue.show(*item)).collect();
    let operation = queue.empties[wrong];
    let mut text = format!(
        "the claim by process {} found nothing, although {} had been enqueued and nobody had claimed {}",
        queue.operation(operation).process(),
        list(&names),
        if names.len() == 1 { "it" } else { "them" },
    );
    text += &excuse(excused);
    let enqueues = there.iter().map(|item| queue.items[*item].enqueue);
    let of: Vec<usize> = enqueues.chain([operation]).collect();
    Some(safety(queue, EMPTY, text, &of))
}

/// An operation that had to finish and did not. A claim may wait while there is
/// nothing in the queue; what others had claimed must have come back by now, or
/// have been acknowledged.
fn find_stuck(queue: &Queue<'_>, history: &History) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let inside: Vec<usize> = (0..queue.items.len())
        .filter(|item| {
            queue.enqueued(*item) < deadline.index
                && queue.first_acknowledged(*item) > deadline.index
        })
        .collect();
    let mut stuck = deadline.overdue(&queue.operations);
    stuck.retain(|operation| operation.invoke.f() != "claim" || !inside.is_empty());
    let (first, others) = stuck.split_first()?;
    let mut sentence = deadline.sentence(first);
    let mut witness: Vec<&Operation<'_>> = vec![first];
    if first.invoke.f() == "claim" {
        let item = inside[0];
        sentence += &format!(
            ", although {} was in the queue and nobody acknowledged it",
            queue.show(item)
        );
        witness.push(queue.operation(queue.items[item].enqueue));
        let claims = queue.items[item].claims.iter();
        witness.extend(claims.map(|claim| queue.operation(queue.claims[*claim].claim)));
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

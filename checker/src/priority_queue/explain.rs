//! Violations as sentences, with the operations that prove them.

use std::collections::BTreeSet;

use super::demand::TooMany;
use super::extract::{Item, Queue};
use super::free::Free;
use super::order::{Fault, Gap, What, Who, Window, cover, enqueued, gaps_inside, gaps_to_leave};
use super::search::{Proof, Why};
use super::{ORDER, ORDER_LOST, TIE, TIE_LOST, WITNESS, WITNESS_LOST};
use crate::queue::{excuse, list};
use crate::verdict::{Class, Kind, Violation, count};

pub(super) fn violation(queue: &Queue<'_>, why: &Why) -> Violation {
    let proof = proof_of(queue, why);
    let (kind, sentence) = match why {
        Why::Certain(fault) => certain(queue, fault),
        Why::TooMany(too_many) => too_many_lost(queue, too_many, &proof),
        Why::Tried(fault, _) => tried(queue, fault, &proof),
    };
    of_proof(queue, kind, sentence, &proof)
}

/// What it rests on.
pub(super) fn proof_of(queue: &Queue<'_>, why: &Why) -> Proof {
    let mut proof = Proof::default();
    match why {
        Why::Certain(fault) => proof.add(queue, fault),
        Why::TooMany(too_many) => {
            proof
                .items
                .extend(too_many.lost.iter().map(|(lost, _)| lost));
            for window in windows(too_many) {
                add_demand(queue, too_many, &window, &mut proof);
            }
        }
        Why::Tried(_, tried) => proof.clone_from(tried),
    }
    proof
}

/// The dequeues that ask for what cannot have been taken.
fn windows(too_many: &TooMany) -> BTreeSet<Window> {
    too_many.lost.iter().map(|(_, window)| *window).collect()
}

fn names(queue: &Queue<'_>, items: &[usize]) -> String {
    let names: Vec<String> = items.iter().map(|item| queue.values.show(*item)).collect();
    list(&names)
}

fn found_nothing(queue: &Queue<'_>, empty: usize) -> String {
    let invoked = queue.values.empties[empty].invoked();
    let process = queue.values.operation(invoked).process();
    format!("the dequeue by process {process} found the queue empty")
}

fn came_later(queue: &Queue<'_>, second: usize, first: &[usize]) -> String {
    let were = if first.len() == 1 { "was" } else { "were" };
    format!(
        "{} was enqueued only after {} {were} acknowledged, yet left first",
        queue.values.show(second),
        names(queue, first)
    )
}

fn it(items: &[usize]) -> &'static str {
    if items.len() == 1 { "it" } else { "them" }
}

fn of_proof(queue: &Queue<'_>, kind: Kind, sentence: String, proof: &Proof) -> Violation {
    let values = &queue.values;
    let items = proof
        .items
        .iter()
        .flat_map(|item| values.items[*item].begun());
    let left = proof.left.iter();
    let left = left.filter_map(|item| values.items[*item].dequeue());
    let empties = proof.empties.iter();
    let empties = empties.map(|empty| values.empties[*empty].invoked());
    let begun = items.chain(left).chain(empties);
    let witness = begun.map(|invoked| values.operation(invoked));
    Violation::new(Class::Safety, kind, sentence, witness)
}

fn certain(queue: &Queue<'_>, fault: &Fault) -> (Kind, String) {
    let lost: Vec<usize> = fault.lost(queue).collect();
    let inside = match fault.cover.as_slice() {
        [] => String::new(),
        [one] => format!("{} was inside all the time", queue.values.show(*one)),
        many => format!("at each instant one of {} was inside", names(queue, many)),
    };
    let ([kind, kind_lost], mut sentence) = match fault.what {
        What::Worse(item) => (
            [ORDER, ORDER_LOST],
            format!("{} left although {inside}", queue.values.show(item)),
        ),
        What::Overtaken(first, second) => {
            let mut text = came_later(queue, second, &[first]);
            if !inside.is_empty() {
                text += &format!(": the other could not leave before, because {inside}");
            }
            ([TIE, TIE_LOST], text)
        }
        What::Empty(empty) => (
            [WITNESS, WITNESS_LOST],
            format!("{}, but {inside}", found_nothing(queue, empty)),
        ),
    };
    if !lost.is_empty() {
        sentence += &format!("; nobody ever got {}", names(queue, &lost));
    }
    let kind = if lost.is_empty() { kind } else { kind_lost };
    (kind, sentence)
}

/// Nothing but a search could tell.
fn tried(queue: &Queue<'_>, fault: &Fault, proof: &Proof) -> (Kind, String) {
    let (kind, mut sentence) = match fault.what {
        What::Worse(item) => {
            let left = queue.values.show(item);
            (
                ORDER_LOST,
                format!("{left} left although something better was inside"),
            )
        }
        What::Overtaken(first, second) => (TIE_LOST, came_later(queue, second, &[first])),
        What::Empty(empty) => {
            let found = found_nothing(queue, empty);
            (
                WITNESS_LOST,
                format!("{found} although something was inside"),
            )
        }
    };
    let is_lost = |item: &usize| !queue.values.items[*item].is_dequeued();
    let lost: Vec<usize> = proof.items.iter().copied().filter(is_lost).collect();
    let pending = queue.values.pending.len() as u64;
    sentence += &format!(
        "; nobody ever got {}, and whatever of that the {} of unknown outcome took, some answer \
         contradicts it",
        names(queue, &lost),
        count(pending, "dequeue")
    );
    (kind, sentence)
}

fn too_many_lost(queue: &Queue<'_>, too_many: &TooMany, proof: &Proof) -> (Kind, String) {
    let mut lost: Vec<usize> = too_many.lost.iter().map(|(lost, _)| *lost).collect();
    lost.sort_unstable();
    let windows = windows(too_many);
    let last = windows
        .last()
        .expect("a lost value is asked for by somebody");
    let priority = |item: usize| queue.values.items[item].priority;
    let is_equal = |item: usize| lost.iter().all(|lost| priority(*lost) == priority(item));
    let (kind, mut sentence) = match last.who {
        Who::Value(item) if is_equal(item) => (TIE_LOST, came_later(queue, item, &lost)),
        Who::Value(item) => {
            let left = queue.values.show(item);
            (
                ORDER_LOST,
                format!(
                    "{left} left although {}",
                    inside(queue, &windows, &lost, proof)
                ),
            )
        }
        Who::Empty(empty) => {
            let found = found_nothing(queue, empty);
            (
                WITNESS_LOST,
                format!("{found}, but {}", inside(queue, &windows, &lost, proof)),
            )
        }
    };
    sentence += &format!("; nobody ever got {}", it(&lost));
    sentence += &excuse(too_many.pending);
    (kind, sentence)
}

/// What was inside then: some of the lost values, and perhaps other ones meanwhile.
fn inside(queue: &Queue<'_>, windows: &BTreeSet<Window>, lost: &[usize], proof: &Proof) -> String {
    let all = names(queue, lost);
    if windows.len() > 1 {
        return format!("by then {all} must have been gone");
    }
    let own = windows.iter().find_map(|window| match window.who {
        Who::Value(item) => Some(item),
        Who::Empty(_) => None,
    });
    let others = proof.items.iter().copied();
    let others = others.filter(|item| !lost.contains(item) && Some(*item) != own);
    let others: Vec<usize> = others.collect();
    match (others.as_slice(), lost) {
        ([], [one]) => format!("{} was inside all the time", queue.values.show(*one)),
        ([], _) => format!("one of {all} was inside all the time"),
        (others, _) => format!(
            "at each instant one of {} was inside, or one of {all}",
            names(queue, others)
        ),
    }
}

/// That a dequeue which returned cannot have happened before the last of the lost values that
/// it asks for was acknowledged, nor after yet another dequeue of unknown outcome began: then
/// something else was inside.
fn add_demand(queue: &Queue<'_>, too_many: &TooMany, window: &Window, proof: &mut Proof) {
    let (first, last) = match window.who {
        Who::Value(item) => gaps_to_leave(queue, item),
        Who::Empty(empty) => super::order::gaps_of(queue.values.empties[empty]),
    };
    let of_window = too_many.lost.iter().filter(|(_, of)| of == window);
    let since = of_window.clone().map(|(lost, _)| enqueued(queue, *lost));
    let since = since.max().unwrap_or(0);
    let is_better = |item: &Item| item.is_dequeued() && window.is_worse_than(queue, item);
    let cover = |from: Gap, until: Gap| match until.checked_sub(1) {
        Some(last) if from <= last => cover(queue, (from, last), is_better),
        _ => (Vec::new(), until),
    };
    let (before, reached) = cover(first, since);
    let mut before = before;
    let mut waits = false;
    if reached < since
        && let Some(predecessor) = predecessor(queue, window)
    {
        before = cover(gaps_to_leave(queue, predecessor).0, since).0;
        before.push(predecessor);
        waits = true;
    }
    proof.items.extend(&before);
    let next = queue.values.pending.get(too_many.pending);
    if let Some(next) = next.and_then(|next| Gap::try_from(*next).ok()) {
        proof.items.extend(cover(next, last.saturating_add(1)).0);
    }
    match window.who {
        Who::Value(item) => {
            let priority = queue.values.items[item].priority;
            let is_tie = |lost: usize| queue.values.items[lost].priority == priority;
            if waits || of_window.clone().any(|(lost, _)| is_tie(*lost)) {
                proof.items.insert(item);
            } else {
                let inside = before.iter().map(|before| enqueued(queue, *before)).min();
                proof.add_left(queue, item, inside.unwrap_or(since));
            }
        }
        Who::Empty(empty) => {
            proof.empties.insert(empty);
        }
    }
}

/// Of the same priority, a value that must have left before, and cannot have left before the
/// window.
fn predecessor(queue: &Queue<'_>, window: &Window) -> Option<usize> {
    let Who::Value(item) = window.who else {
        return None;
    };
    let all = &queue.values.items;
    let mut free = Free::new(Gap::try_from(queue.events()).ok()?);
    for item in all[..window.better]
        .iter()
        .filter(|item| item.is_dequeued())
    {
        if let Some((from, until)) = gaps_inside(queue, item) {
            free.cover(from, until);
        }
    }
    let (priority, invoked) = (all[item].priority, all[item].enqueue_invoked());
    (window.better..all.len())
        .take_while(|other| all[*other].priority == priority)
        .filter(|other| all[*other].is_dequeued() && all[*other].enqueue_returned() < invoked)
        .find(|other| free.next(gaps_to_leave(queue, *other).0) == Some(window.first))
}

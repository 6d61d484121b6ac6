//! Which part of what a fault rests on is a contradiction by itself.
//!
//! The fault that ends first is found, and rests on as few values as that one can. Some of them
//! may contradict each other besides:
//!
//! ```text
//! enqueue a, 2  |-|
//! enqueue b, 1      |--|                    nobody ever got b
//! dequeue -> empty    |------|              a or b was inside all the time ...
//! dequeue -> a               |-----|        ... but so was b when a left
//! ```
//!
//! Then the dequeue that found nothing can be left out.

use std::collections::BTreeSet;
use std::mem;

use super::demand::LostValues;
use super::explain::proof_of;
use super::extract::Queue;
use super::order::{Lost, What, Who, find_fault};
use super::search::{Proof, Why};

/// A reason for which there is no order that rests on nothing that can be left out. The queue
/// is left with only what it rests on, if it is another one.
pub(super) fn narrowed(queue: &mut Queue<'_>, mut why: Why) -> Why {
    while let Some(smaller) = without_a_subject(queue, &why) {
        why = smaller;
    }
    why
}

/// Who cannot have dequeued then: without it, the rest of the proof proves nothing about it.
#[derive(Clone, Copy)]
enum Subject {
    Item(usize),
    Empty(usize),
}

fn subjects(why: &Why) -> Vec<Subject> {
    match why {
        Why::Certain(fault) => match fault.what {
            What::Worse(item) => vec![Subject::Item(item)],
            What::Overtaken(first, second) => vec![Subject::Item(first), Subject::Item(second)],
            What::Empty(empty) => vec![Subject::Empty(empty)],
        },
        Why::TooMany(too_many) => {
            let windows: BTreeSet<_> = too_many.lost.iter().map(|(_, window)| window.who).collect();
            let subject = |who| match who {
                Who::Value(item) => Subject::Item(item),
                Who::Empty(empty) => Subject::Empty(empty),
            };
            windows.into_iter().map(subject).collect()
        }
        Why::Tried(..) => Vec::new(),
    }
}

fn without_a_subject(queue: &mut Queue<'_>, why: &Why) -> Option<Why> {
    let subjects = subjects(why);
    let proof = proof_of(queue, why);
    subjects
        .into_iter()
        .find_map(|subject| without(queue, &proof, subject))
}

/// What is wrong with the rest of the proof; then nothing else is left of the queue.
fn without(queue: &mut Queue<'_>, proof: &Proof, spared: Subject) -> Option<Why> {
    let (item, empty) = match spared {
        Subject::Item(item) => (Some(item), None),
        Subject::Empty(empty) => (None, Some(empty)),
    };
    let items = proof.items.union(&proof.left);
    let items = items.filter(|other| Some(**other) != item);
    let items = items.map(|item| queue.values.items[*item]).collect();
    let empties = proof.empties.iter().filter(|other| Some(**other) != empty);
    let empties = empties.map(|empty| queue.values.empties[*empty]).collect();
    let items = mem::replace(&mut queue.values.items, items);
    let empties = mem::replace(&mut queue.values.empties, empties);
    let why = contradiction(queue);
    if why.is_none() {
        queue.values.items = items;
        queue.values.empties = empties;
    }
    why
}

/// What shows without a search.
fn contradiction(queue: &Queue<'_>) -> Option<Why> {
    if queue.values.pending.is_empty() {
        return find_fault(queue, Lost::Stay).map(Why::Certain);
    }
    match LostValues::of(queue) {
        Ok(lost) => lost.too_many(&queue.values.pending).map(Why::TooMany),
        Err(fault) => Some(Why::Certain(fault)),
    }
}

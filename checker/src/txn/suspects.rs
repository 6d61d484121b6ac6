//! Which transactions can be part of a cycle: those near to where the order of the revisions
//! fails.
//!
//! All transactions stand in a row, in the order of the revisions. Who must come before whom
//! mostly leads forward in it. What leads back spans a stretch of the row, and stretches that
//! touch are one. A cycle comes back from its last to its first, and between the two no place is
//! left out by what leads back: so each cycle lies within one stretch.
//!
//! ```text
//! T1 ─▶ T2 ─▶ T3 ─▶ T4 ─▶ T5 ─▶ T6
//!        ▲───────────┘                  no cycle has T1, T5 or T6 in it
//! ```
//!
//! O(n) where little leads back.

use super::certificate;
use super::edges::Revisions;

/// A place in the row: the instant, and for those of one instant the number.
type Place = (i64, u32);

/// The numbers of the transactions that can be part of a cycle of dependencies and real time,
/// ascending.
pub(super) fn of(revisions: &Revisions<'_, '_>) -> Vec<u32> {
    let all = 0..revisions.count();
    if revisions.model.shares_revisions {
        // Of those nobody knows which came first.
        return all.collect();
    }
    let instants = certificate::likely_instants(revisions.txns, &revisions.model);
    let place = |txn: u32| (instants[revisions.node_index(txn)], txn);
    let mut back = back_in_time(revisions, place);
    revisions.each_edge(|from, to, _, _| {
        if place(from) > place(to) {
            back.push((place(to), place(from)));
        }
    });
    let stretches = merged(back);
    if stretches.is_empty() {
        return Vec::new();
    }
    all.filter(|txn| is_within(&stretches, place(*txn)))
        .collect()
}

/// Where real time leads back, from the last that had returned to each that began later.
fn back_in_time(
    revisions: &Revisions<'_, '_>,
    place: impl Fn(u32) -> Place,
) -> Vec<(Place, Place)> {
    let returned = certificate::by_return(&revisions.model.nodes);
    let mut back = Vec::new();
    let mut last = None;
    let mut passed = 0;
    for txn in 0..revisions.count() {
        let invoked = revisions.node(txn).invoked;
        let until = (invoked + 1).min(returned.len());
        for node in returned.get(passed..until).unwrap_or_default() {
            if *node != certificate::NONE {
                last = last.max(Some(place(revisions.number(*node as usize))));
            }
        }
        passed = passed.max(until);
        if let Some(last) = last.filter(|last| *last > place(txn)) {
            back.push((place(txn), last));
        }
    }
    back
}

/// The stretches from the first, those that touch as one.
fn merged(mut stretches: Vec<(Place, Place)>) -> Vec<(Place, Place)> {
    stretches.sort_unstable();
    let mut merged: Vec<(Place, Place)> = Vec::new();
    for (begin, end) in stretches {
        match merged.last_mut() {
            Some(last) if begin <= last.1 => last.1 = last.1.max(end),
            _ => merged.push((begin, end)),
        }
    }
    merged
}

fn is_within(stretches: &[(Place, Place)], place: Place) -> bool {
    let begun = stretches.partition_point(|(begin, _)| *begin <= place);
    begun > 0 && place <= stretches[begun - 1].1
}

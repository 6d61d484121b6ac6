//! In which order locks were granted, used and freed.

use crate::history::Outcome;
use crate::linearization::Linearization;
use crate::points::Points;

use super::extract::{End, Grant, Locks};

/// The order of a valid history.
pub(super) fn of(locks: &Locks<'_>) -> Linearization {
    const CONTRADICTED: &str = "the history leaves out revisions of grants or writes, and without \
                                them the order of the tokens contradicts that of the events";
    let mut grants: Vec<usize> = (0..locks.grants.len()).collect();
    grants.sort_by_key(|grant| {
        (
            locks.grants[*grant].name,
            locks.grants[*grant].token,
            *grant,
        )
    });
    let mut writes = vec![Vec::new(); grants.len()];
    for write in &locks.writes {
        writes[write.grant].push((write.operation, write.is_guarded));
    }
    let mut order = Order {
        locks,
        writes,
        unlocks: vec![Vec::new(); grants.len()],
        points: Points::default(),
    };
    for (operation, grant) in &locks.unlocks {
        order.unlocks[*grant].push(*operation);
    }
    for of_lock in grants.chunk_by(|a, b| locks.grants[*a].name == locks.grants[*b].name) {
        order.take(of_lock);
    }
    let found = order.points.in_order(|index| locks.operations.get(index));
    found.map_or(Linearization::none(CONTRADICTED), Linearization::Order)
}

struct Order<'l, 'h> {
    locks: &'l Locks<'h>,
    /// By grant: the operations, and whether they were guarded.
    writes: Vec<Vec<(usize, bool)>>,
    /// By grant.
    unlocks: Vec<Vec<usize>>,
    points: Points,
}

/// The last points of what happened to a lock so far.
#[derive(Clone, Copy, Default)]
struct Latest {
    granted: usize,
    exclusive: usize,
    any: usize,
}

impl Order<'_, '_> {
    /// Places what was done with one lock, whose grants come in the order of their tokens.
    fn take(&mut self, grants: &[usize]) {
        let locks = self.locks;
        let mut latest = Latest::default();
        for same_key in grants.chunk_by(|a, b| locks.grants[*a].token == locks.grants[*b].token) {
            let mut before = latest;
            for (index, grant) in same_key.iter().enumerate() {
                let is_last = index + 1 == same_key.len();
                let over = self.hold(*grant, is_last, &mut before.granted, latest);
                before.any = before.any.max(over);
                if locks.grants[*grant].is_exclusive {
                    before.exclusive = before.exclusive.max(over);
                }
            }
            latest = before;
        }
    }

    /// Places a grant and what was done under it. Returns the point of the last thing that must
    /// come before a later holder.
    fn hold(&mut self, grant: usize, is_last: bool, granted: &mut usize, latest: Latest) -> usize {
        let operations = &self.locks.operations;
        let held = &self.locks.grants[grant];
        let in_the_way = if held.is_exclusive {
            latest.any
        } else {
            latest.exclusive
        };
        let after = in_the_way.max(*granted);
        *granted = self
            .points
            .place(held.lock, &operations.get(held.lock), after);
        let (mut over, mut guarded) = (*granted, *granted);
        for (write, is_guarded) in &self.writes[grant] {
            let point = self.points.place(*write, &operations.get(*write), *granted);
            over = over.max(point);
            if *is_guarded {
                guarded = guarded.max(point);
            }
        }
        let mut freed = *granted;
        for unlock in &self.unlocks[grant] {
            if is_last && held.unlock == Some(*unlock) && frees(self.locks, held) {
                freed = self
                    .points
                    .place(*unlock, &operations.get(*unlock), guarded);
                over = over.max(freed);
            } else if operations.get(*unlock).outcome() == Outcome::Ok {
                // There was nothing left to free.
                self.points.place(*unlock, &operations.get(*unlock), freed);
            }
        }
        over
    }
}

/// Whether it was the first unlock that ended the holding, as far as is known.
fn frees(locks: &Locks<'_>, grant: &Grant) -> bool {
    match grant.end {
        End::Deleted(deletion) => !deletion.with_lease,
        End::AliveAt(0) => true,
        End::AliveAt(_) => {
            let unlock = grant
                .unlock
                .map(|unlock| locks.operations.get(unlock).outcome());
            unlock == Some(Outcome::Ok)
        }
    }
}

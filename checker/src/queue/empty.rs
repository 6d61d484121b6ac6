//! Empty answers: a dequeue that finds nothing needs an instant at which the queue
//! may be empty.
//!
//! Instants are the gaps between events; gap `k` lies right after event `k`.

use super::extract::{Queue, Role};
use super::order::{excuse, first_lost, list};
use crate::verdict::{Class, Kind, Violation};

const WITNESS: Kind = Kind {
    name: "VWit",
    meaning: "a dequeue found the queue empty although it never was",
};
const LOST: Kind = Kind {
    name: "VWit-lost",
    meaning: "the queue was empty although acknowledged values never left it",
};

/// A dequeue that found nothing although at each of its instants some value was inside.
#[derive(Default)]
pub(super) struct WrongEmpty {
    state: State,
    last_empty_gap: Option<usize>,
}

impl WrongEmpty {
    /// Goes on by an event; the number of the dequeue, if it ends here.
    pub(super) fn step(&mut self, queue: &Queue<'_>, index: usize, role: Role) -> Option<usize> {
        if let Role::EmptyReturned(empty) = role {
            let invoked = queue.values.empties[empty].invoked();
            if self.last_empty_gap.is_none_or(|gap| gap < invoked) {
                return Some(empty);
            }
        }
        self.state.step(queue, index, role);
        if self.state.may_be_empty() {
            self.last_empty_gap = Some(index);
        }
        None
    }
}

/// What is definitely inside.
#[derive(Default)]
struct State {
    /// Values that have been acknowledged and that somebody asks for later.
    present: usize,
    /// Values that have been acknowledged and that nobody gets: A(t).
    lost: usize,
    /// Dequeues of unknown outcome that have been invoked: P(t).
    pending: usize,
}

impl State {
    fn step(&mut self, queue: &Queue<'_>, index: usize, role: Role) {
        match role {
            Role::EnqueueReturned(item) if !queue.values.items[item].is_dequeued() => {
                self.lost += 1;
            }
            Role::EnqueueReturned(item) if index < queue.values.items[item].dequeue_invoked() => {
                self.present += 1;
            }
            Role::DequeueInvoked(item) if queue.values.items[item].enqueue_returned() < index => {
                self.present -= 1;
            }
            Role::PendingDequeueInvoked => self.pending += 1,
            _ => {}
        }
    }

    fn may_be_empty(&self) -> bool {
        self.present == 0 && self.lost <= self.pending
    }
}

pub(super) fn wrong_empty(queue: &Queue<'_>, empty: usize) -> Violation {
    let operation = queue
        .values
        .operation(queue.values.empties[empty].invoked());
    let cover = Cover::of(queue, operation.invoked, operation.completed);
    let lost = first_lost(queue, cover.lost);
    let mut sentence = format!(
        "the dequeue by process {} found the queue empty",
        operation.process()
    );
    let names = |items: &[usize]| {
        list(
            &items
                .iter()
                .map(|item| queue.values.show(*item))
                .collect::<Vec<_>>(),
        )
    };
    match (cover.present.as_slice(), lost.as_slice()) {
        ([item], []) => {
            sentence += &format!(", but {} was inside all the time", queue.values.show(*item));
        }
        (items, []) => {
            sentence += &format!(
                ", but at each instant of it one of {} was inside",
                names(items)
            );
        }
        ([], [item]) => {
            sentence += &format!(
                ", but {} had been acknowledged before, and nobody ever got it",
                queue.values.show(*item)
            );
        }
        ([], items) => {
            sentence += &format!(
                ", but {} had been acknowledged and nobody ever got them",
                names(items)
            );
        }
        (items, lost) => {
            sentence += &format!(
                ", but at each instant of it one of {} was inside, or one of {}, which nobody ever got",
                names(items),
                names(lost)
            );
        }
    }
    sentence += &excuse(cover.pending.min(cover.lost));
    let kind = if cover.present.is_empty() {
        LOST
    } else {
        WITNESS
    };
    let present = cover
        .present
        .iter()
        .flat_map(|item| {
            [
                Some(queue.values.enqueue(*item)),
                queue.values.dequeue(*item),
            ]
        })
        .flatten();
    let lost = lost.iter().map(|item| queue.values.enqueue(*item));
    Violation::new(
        Class::Safety,
        kind,
        sentence,
        present.chain(lost).chain([operation]),
    )
}

/// Values that together are inside at each gap of an interval.
#[derive(Default)]
struct Cover {
    /// Values that somebody gets later.
    present: Vec<usize>,
    /// How many of the values that nobody gets are needed, the first ones.
    lost: usize,
    /// How many dequeues of unknown outcome there are until then.
    pending: usize,
}

impl Cover {
    /// The greedy cover: at the first gap that is not covered take what reaches
    /// farthest. For intervals that is a smallest cover.
    fn of(queue: &Queue<'_>, invoked: usize, completed: usize) -> Self {
        let mut cover = Self::default();
        let reach_of_lost = reach_of_lost(queue, invoked, completed);
        let mut best = (0, 0);
        let mut events = 0;
        let mut gap = invoked;
        while gap < completed {
            while events <= gap {
                if let Role::EnqueueReturned(item) = queue.role(events)
                    && queue.values.items[item].is_dequeued()
                {
                    best = best.max((queue.values.items[item].dequeue_invoked(), item));
                }
                events += 1;
            }
            let (lost_reach, pending) = reach_of_lost[gap - invoked];
            if lost_reach >= completed.min(best.0) {
                gap = lost_reach;
                (cover.lost, cover.pending) = (pending + 1, pending);
            } else {
                cover.present.push(best.1);
                gap = best.0;
            }
            assert!(
                gap > events - 1,
                "gap {} of {invoked}..{completed} is not covered",
                events - 1
            );
        }
        cover
    }
}

/// For each gap of the interval: the first gap from there on at which the lost
/// values do not outnumber the dequeues that may have taken them, and how many of
/// these have been invoked just before it.
fn reach_of_lost(queue: &Queue<'_>, invoked: usize, completed: usize) -> Vec<(usize, usize)> {
    let mut state = State::default();
    let mut counts = Vec::with_capacity(completed - invoked);
    for index in 0..completed {
        state.step(queue, index, queue.role(index));
        if index >= invoked {
            counts.push((state.lost, state.pending));
        }
    }
    let mut reach = (completed, state.pending);
    let mut reaches = vec![(0, 0); counts.len()];
    for (offset, (lost, pending)) in counts.iter().enumerate().rev() {
        if lost <= pending {
            let before = offset.checked_sub(1).map_or(0, |offset| counts[offset].1);
            reach = (invoked + offset, before);
        }
        reaches[offset] = reach;
    }
    reaches
}

//! Order: what is better leaves first, and of equals what came first.
//!
//! Instants are the gaps between events; gap `k` lies right after event `k`.

use super::extract::{Item, Queue};
use super::free::Free;
use crate::queue::{Call, Ties};

/// A gap. There are fewer than 2^32: more events do not fit into memory.
pub(super) type Gap = u32;

pub(super) const NEVER: Gap = Gap::MAX;

/// The gap right after this event; [`NEVER`] when there is no such event.
fn gap(event: usize) -> Gap {
    Gap::try_from(event).unwrap_or(NEVER)
}

/// When a value can have come and gone.
struct Span {
    /// The first gap from which on it certainly has been enqueued.
    enqueued: Gap,
    /// The first gap at which it may leave.
    leave_first: Gap,
    /// The last gap at which it may leave.
    leave_last: Gap,
}

impl Span {
    fn of(queue: &Queue<'_>, item: &Item) -> Self {
        let last = (queue.events() - 1).min(item.dequeue_returned() - 1);
        Self {
            enqueued: gap(item.enqueue_returned()),
            leave_first: gap(item.dequeue_invoked().max(item.enqueue_invoked())),
            leave_last: if item.is_dequeued() { gap(last) } else { NEVER },
        }
    }

    /// The gaps at which it certainly is inside: from the first until before the last.
    fn inside(&self) -> Option<(Gap, Gap)> {
        (self.enqueued < self.leave_first).then_some((self.enqueued, self.leave_first))
    }

    /// The first and the last gap at which it can leave, if it can, as far as these are free.
    fn leaves(&self, free: &Free) -> Option<(Gap, Gap)> {
        if self.leave_first == NEVER {
            return Some((NEVER, NEVER));
        }
        let first = free.next(self.leave_first)?;
        let last = free.previous(self.leave_last)?;
        (first <= last).then_some((first, last))
    }
}

/// A place where no order of the operations works.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) what: What,
    /// Something better was inside at each of these gaps; none where the two ends
    /// cross.
    pub(super) window: (Gap, Gap),
    /// The values that were, as few as possible.
    pub(super) cover: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// This value left although something better was inside all the time.
    Worse(usize),
    /// The second left before the first, although it came later.
    Overtaken(usize, usize),
    /// This dequeue found nothing; the number counts the empties.
    Empty(usize),
}

/// Whether there is an order of the operations, and if not, why: of all faults the one that
/// ends first.
pub(super) fn find_fault(queue: &Queue<'_>) -> Option<Fault> {
    let gaps = gap(queue.events());
    let mut free = Free::new(gaps);
    let mut first: Option<(Gap, What)> = None;
    let mut found = |until: Gap, what: What| {
        if first.is_none_or(|(before, _)| until < before) {
            first = Some((until, what));
        }
    };
    let mut begin = 0;
    for class in queue.values.items.chunk_by(|a, b| a.priority == b.priority) {
        find_in_class(queue, begin, class, &free, &mut found);
        begin += class.len();
        for item in class {
            if let Some((from, until)) = Span::of(queue, item).inside() {
                free.cover(from, until.min(gaps));
            }
        }
    }
    for (index, empty) in queue.values.empties.iter().enumerate() {
        let (first, last) = gaps_of(*empty);
        if free.next(first).is_none_or(|next| next > last) {
            found(last, What::Empty(index));
        }
    }
    first.map(|(_, what)| explained(what, queue))
}

/// The first and the last gap at which a dequeue can have found nothing.
fn gaps_of(empty: Call) -> (Gap, Gap) {
    (gap(empty.invoked()), gap(empty.returned() - 1))
}

/// What is wrong with values of one priority, in the order of their invocations: they cannot
/// leave, because `free` are the only gaps at which nothing better is certainly inside, or
/// they left in another order than they came. `begin` is the index of the first.
fn find_in_class(
    queue: &Queue<'_>,
    begin: usize,
    class: &[Item],
    free: &Free,
    found: &mut impl FnMut(Gap, What),
) {
    let mut leaves = Vec::with_capacity(class.len());
    for (index, item) in (begin..).zip(class) {
        let span = Span::of(queue, item);
        leaves.push(span.leaves(free).unwrap_or_else(|| {
            found(span.leave_last, What::Worse(index));
            (span.leave_first, span.leave_last)
        }));
    }
    if queue.ties == Ties::Fifo {
        find_overtaken(class, &leaves, |first, second| {
            let last = Span::of(queue, &class[second]).leave_last;
            found(last, What::Overtaken(begin + first, begin + second));
        });
    }
}

/// Values of one class that left in another order than they came. `leaves` are the first and
/// the last gap at which each can leave.
fn find_overtaken(class: &[Item], leaves: &[(Gap, Gap)], mut found: impl FnMut(usize, usize)) {
    let enqueued = class.iter().map(|item| gap(item.enqueue_returned()));
    let mut acknowledged: Vec<(Gap, u32)> = enqueued.zip(0..).collect();
    acknowledged.sort_unstable();
    let mut acknowledged = acknowledged.into_iter().peekable();
    // Of those that were acknowledged before, the one that leaves last.
    let mut latest = (0, 0);
    for (index, item) in class.iter().enumerate() {
        let invoked = gap(item.enqueue_invoked());
        while let Some((_, before)) = acknowledged.next_if(|(enqueued, _)| *enqueued < invoked) {
            let before = before as usize;
            if leaves[before].0 >= latest.0 {
                latest = (leaves[before].0, before);
            }
        }
        if latest.0 > leaves[index].1 {
            found(latest.1, index);
        }
    }
}

fn explained(what: What, queue: &Queue<'_>) -> Fault {
    let span = |item: usize| Span::of(queue, &queue.values.items[item]);
    let (window, better_than) = match what {
        What::Worse(item) => {
            let window = (span(item).leave_first, span(item).leave_last);
            (window, Some(queue.values.items[item].priority))
        }
        What::Overtaken(first, second) => {
            let window = (span(first).leave_first, span(second).leave_last);
            (window, Some(queue.values.items[first].priority))
        }
        What::Empty(empty) => (gaps_of(queue.values.empties[empty]), None),
    };
    let counts = |item: &Item| better_than.is_none_or(|than| item.priority < than);
    Fault {
        what,
        window,
        cover: cover(queue, window, counts),
    }
}

/// The fewest values of which one is inside at each gap of the window.
fn cover(queue: &Queue<'_>, window: (Gap, Gap), counts: impl Fn(&Item) -> bool) -> Vec<usize> {
    let counted = queue.values.items.iter().enumerate();
    let counted = counted.filter(|(_, item)| counts(item));
    let mut inside: Vec<(Gap, Gap, usize)> = counted
        .filter_map(|(index, item)| {
            let (from, until) = Span::of(queue, item).inside()?;
            (from <= window.1 && until > window.0).then_some((from, until, index))
        })
        .collect();
    inside.sort_unstable();
    let mut cover = Vec::new();
    let mut inside = inside.into_iter().peekable();
    let (mut gap, mut best) = (window.0, (0, 0));
    while gap <= window.1 {
        while let Some((_, until, item)) = inside.next_if(|(from, ..)| *from <= gap) {
            best = best.max((until, item));
        }
        if best.0 <= gap {
            // Not covered: the fault needs no cover here.
            break;
        }
        cover.push(best.1);
        gap = best.0;
    }
    cover
}

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

/// What becomes of the values that nobody got.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// They are inside for good.
    Stay,
    /// They are in nobody's way. What is wrong even so no dequeue of unknown outcome explains.
    Ignored,
}

/// A dequeue that returned, and when it can have happened if lost values are in nobody's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    /// The last gap. Those between the first one and this one need not all be free.
    pub(super) last: Gap,
    pub(super) first: Gap,
    /// How many values there are of better priorities.
    pub(super) better: usize,
    pub(super) who: Who,
}

impl Window {
    /// Whether it sees this value when that is inside.
    pub(super) fn is_worse_than(&self, queue: &Queue<'_>, item: &Item) -> bool {
        match self.who {
            Who::Value(own) => item.priority < queue.values.items[own].priority,
            Who::Empty(_) => true,
        }
    }
}

/// Whose dequeue it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// It got this value.
    Value(usize),
    /// It found nothing; the number counts the empties.
    Empty(usize),
}

/// Whether there is an order of the operations, and if not, why: of all faults the one that
/// ends first.
pub(super) fn find_fault(queue: &Queue<'_>, lost: Lost) -> Option<Fault> {
    sweep(queue, lost, |_| {})
}

/// The dequeues that returned, from the best class to the worst, those that found nothing last.
///
/// # Errors
/// When there is no order, even with the lost values in nobody's way.
pub(super) fn windows(queue: &Queue<'_>) -> Result<Vec<Window>, Fault> {
    let mut windows = Vec::with_capacity(queue.values.items.len());
    match sweep(queue, Lost::Ignored, |window| windows.push(window)) {
        Some(fault) => Err(fault),
        None => Ok(windows),
    }
}

fn sweep(queue: &Queue<'_>, lost: Lost, mut tell: impl FnMut(Window)) -> Option<Fault> {
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
        let class = Class {
            begin,
            items: class,
            lost,
        };
        class.look(queue, &free, &mut found, &mut tell);
        begin += class.items.len();
        for item in class.items.iter().filter(|item| lost.counts(item)) {
            if let Some((from, until)) = Span::of(queue, item).inside() {
                free.cover(from, until.min(gaps));
            }
        }
    }
    for (index, empty) in queue.values.empties.iter().enumerate() {
        let (first, last) = gaps_of(*empty);
        match (free.next(first), free.previous(last)) {
            (Some(next), Some(previous)) if next <= last => tell(Window {
                who: Who::Empty(index),
                better: queue.values.items.len(),
                first: next,
                last: previous,
            }),
            _ => found(last, What::Empty(index)),
        }
    }
    first.map(|(_, what)| explained(what, queue, lost))
}

impl Lost {
    /// Whether this value is in anybody's way.
    fn counts(self, item: &Item) -> bool {
        self == Self::Stay || item.is_dequeued()
    }
}

/// The first and the last gap at which a dequeue can have found nothing.
pub(super) fn gaps_of(empty: Call) -> (Gap, Gap) {
    (gap(empty.invoked()), gap(empty.returned() - 1))
}

/// The first and the last gap at which this value can have left.
pub(super) fn gaps_to_leave(queue: &Queue<'_>, item: usize) -> (Gap, Gap) {
    let span = Span::of(queue, &queue.values.items[item]);
    (span.leave_first, span.leave_last)
}

/// The gaps at which this value certainly is inside: from the first until before the last.
pub(super) fn gaps_inside(queue: &Queue<'_>, item: &Item) -> Option<(Gap, Gap)> {
    Span::of(queue, item).inside()
}

/// The first gap from which on this value certainly has been enqueued.
pub(super) fn enqueued(queue: &Queue<'_>, item: usize) -> Gap {
    gap(queue.values.items[item].enqueue_returned())
}

/// The values of one priority, in the order of their invocations.
struct Class<'q> {
    /// The index of the first.
    begin: usize,
    items: &'q [Item],
    lost: Lost,
}

impl Class<'_> {
    /// What is wrong with them: they cannot leave, because `free` are the only gaps at which
    /// nothing better is certainly inside, or they left in another order than they came.
    fn look(
        &self,
        queue: &Queue<'_>,
        free: &Free,
        found: &mut impl FnMut(Gap, What),
        tell: &mut impl FnMut(Window),
    ) {
        let mut leaves = Vec::with_capacity(self.items.len());
        for (index, item) in (self.begin..).zip(self.items) {
            let span = Span::of(queue, item);
            if !self.lost.counts(item) {
                leaves.push((0, NEVER));
                continue;
            }
            leaves.push(span.leaves(free).unwrap_or_else(|| {
                found(span.leave_last, What::Worse(index));
                (span.leave_first, span.leave_last)
            }));
        }
        let mut tell = |index: usize, first: Gap| {
            if self.items[index].is_dequeued() {
                tell(Window {
                    who: Who::Value(self.begin + index),
                    better: self.begin,
                    first,
                    last: leaves[index].1,
                });
            }
        };
        if queue.ties == Ties::Any {
            (0..self.items.len()).for_each(|index| tell(index, leaves[index].0));
            return;
        }
        self.go_by_arrival(&leaves, |index, latest| {
            tell(index, leaves[index].0.max(latest.0));
            if latest.0 > leaves[index].1 {
                let last = Span::of(queue, &self.items[index]).leave_last;
                let (first, second) = (self.begin + latest.1, self.begin + index);
                found(last, What::Overtaken(first, second));
            }
        });
    }

    /// For each value, of those that were acknowledged before its enqueue began, when the one
    /// leaves that leaves last, and which it is. `leaves` are the first and the last gap at
    /// which each can leave.
    fn go_by_arrival(&self, leaves: &[(Gap, Gap)], mut tell: impl FnMut(usize, (Gap, usize))) {
        let enqueued = self.items.iter().map(|item| gap(item.enqueue_returned()));
        let mut acknowledged: Vec<(Gap, u32)> = enqueued.zip(0..).collect();
        acknowledged.sort_unstable();
        let mut acknowledged = acknowledged.into_iter().peekable();
        let mut latest = (0, 0);
        for (index, item) in self.items.iter().enumerate() {
            let invoked = gap(item.enqueue_invoked());
            while let Some((_, before)) = acknowledged.next_if(|(enqueued, _)| *enqueued < invoked)
            {
                let before = before as usize;
                if leaves[before].0 >= latest.0 {
                    latest = (leaves[before].0, before);
                }
            }
            tell(index, latest);
        }
    }
}

fn explained(what: What, queue: &Queue<'_>, lost: Lost) -> Fault {
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
    let is_better = |item: &Item| better_than.is_none_or(|than| item.priority < than);
    let counts = |item: &Item| is_better(item) && lost.counts(item);
    Fault {
        what,
        window,
        // Where the two ends of the window cross, none is needed.
        cover: cover(queue, window, counts).0,
    }
}

/// The fewest values of which one is inside at each gap of the window, from its beginning
/// until this gap, at which that is not so or the window is over.
pub(super) fn cover(
    queue: &Queue<'_>,
    window: (Gap, Gap),
    counts: impl Fn(&Item) -> bool,
) -> (Vec<usize>, Gap) {
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
            break;
        }
        cover.push(best.1);
        gap = best.0;
    }
    (cover, gap)
}

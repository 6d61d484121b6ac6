//! Order: what is better leaves first, and of equals what came first.
//!
//! Instants are the gaps between events; gap `k` lies right after event `k`.

use super::extract::Queue;
use super::free::Free;
use crate::by_event::by_event;
use crate::queue::Ties;

/// A gap. There are fewer than 2^32: more events do not fit into memory.
pub(super) type Gap = u32;

pub(super) const NEVER: Gap = Gap::MAX;

/// The gap right after this event; [`NEVER`] when there is no such event.
fn gap(event: usize) -> Gap {
    Gap::try_from(event).unwrap_or(NEVER)
}

/// When a value can have come and gone.
#[derive(Clone, Copy)]
struct Span {
    priority: i64,
    item: u32,
    /// The first gap at which it may be inside.
    enqueue_first: Gap,
    /// The first gap from which on it certainly has been enqueued.
    enqueued: Gap,
    /// The first gap at which it may leave.
    leave_first: Gap,
    /// The last gap at which it may leave.
    leave_last: Gap,
}

impl Span {
    fn item(&self) -> usize {
        self.item as usize
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
    /// This operation found nothing.
    Empty(usize),
}

/// The values of a history, best first.
pub(super) struct Spans {
    /// By priority, then in the order of their acknowledgements.
    best_first: Vec<Span>,
    /// Where each value stands there.
    places: Vec<u32>,
    /// The values by priority, then in the order of their invocations.
    by_invocation: Vec<u32>,
    gaps: Gap,
    ties: Ties,
}

impl Spans {
    pub(super) fn of(queue: &Queue<'_>) -> Self {
        let span = |(number, item): (u32, &super::extract::Item<'_>)| {
            let enqueue = &queue.operations[item.enqueue];
            let dequeue = item.dequeue.map(|dequeue| &queue.operations[dequeue]);
            Span {
                priority: item.priority,
                item: number,
                enqueue_first: gap(enqueue.invoked),
                enqueued: gap(enqueue.returned()),
                leave_first: dequeue.map_or(NEVER, |d| gap(d.invoked.max(enqueue.invoked))),
                leave_last: dequeue.map_or(NEVER, |d| gap(d.completed - 1)),
            }
        };
        let returned = queue.items.iter();
        let returned = returned.map(|item| queue.operations[item.enqueue].returned());
        let mut in_order = by_event(queue.events, returned.clone());
        let never = (0..).zip(returned).filter(|(_, at)| *at >= queue.events);
        in_order.extend(never.map(|(number, _)| number));
        let spans = in_order.into_iter();
        let spans = spans.map(|number: u32| span((number, &queue.items[number as usize])));
        // There are few priorities, so sorting what is in order already takes few steps.
        let mut best_first: Vec<Span> = spans.collect();
        best_first.sort_by_key(|span| span.priority);
        let mut by_invocation: Vec<u32> = (0..).take(queue.items.len()).collect();
        by_invocation.sort_by_key(|number| queue.items[*number as usize].priority);
        let mut places = vec![0; best_first.len()];
        for (place, span) in (0..).zip(&best_first) {
            places[span.item()] = place;
        }
        Self {
            best_first,
            places,
            by_invocation,
            gaps: gap(queue.events),
            ties: queue.ties,
        }
    }

    fn span(&self, item: usize) -> &Span {
        &self.best_first[self.places[item] as usize]
    }

    fn span_mut(&mut self, item: usize) -> &mut Span {
        &mut self.best_first[self.places[item] as usize]
    }

    /// The same if a dequeue of unknown outcome, invoked at this event, took this
    /// value.
    pub(super) fn take(&mut self, item: usize, invoked: usize) {
        let last = self.gaps - 1;
        let span = self.span_mut(item);
        span.leave_first = gap(invoked).max(span.enqueue_first);
        span.leave_last = last;
    }

    /// The same if nobody got this value.
    pub(super) fn put_back(&mut self, item: usize) {
        let span = self.span_mut(item);
        (span.leave_first, span.leave_last) = (NEVER, NEVER);
    }

    /// The first gap at which this value may be inside.
    pub(super) fn enqueue_first(&self, item: usize) -> Gap {
        self.span(item).enqueue_first
    }

    pub(super) fn is_lost(&self, item: usize) -> bool {
        self.span(item).leave_first == NEVER
    }

    /// Whether there is an order of the operations, and if not, why: of all
    /// faults the one that ends first.
    pub(super) fn find_fault(&self, queue: &Queue<'_>) -> Option<Fault> {
        let mut free = Free::new(self.gaps);
        let mut first: Option<(Gap, What)> = None;
        let mut found = |until: Gap, what: What| {
            if first.is_none_or(|(before, _)| until < before) {
                first = Some((until, what));
            }
        };
        let classes = self.best_first.chunk_by(|a, b| a.priority == b.priority);
        let mut begin = 0;
        for class in classes {
            self.find_in_class(class, begin, &free, &mut found);
            begin += class.len();
            for span in class {
                if span.enqueued < span.leave_first && span.enqueued != NEVER {
                    free.cover(span.enqueued, span.leave_first.min(self.gaps));
                }
            }
        }
        for empty in &queue.empties {
            let operation = &queue.operations[*empty];
            let (first, last) = (gap(operation.invoked), gap(operation.completed - 1));
            if free.next(first).is_none_or(|next| next > last) {
                found(last, What::Empty(*empty));
            }
        }
        first.map(|(_, what)| self.explained(what, queue))
    }

    /// `begin` is where the class begins; `free` are the gaps at which nothing better is
    /// certainly inside.
    fn find_in_class(
        &self,
        class: &[Span],
        begin: usize,
        free: &Free,
        found: &mut impl FnMut(Gap, What),
    ) {
        // When each value can leave: only while nothing better is inside.
        let mut leaves = Vec::with_capacity(class.len());
        for span in class {
            if span.leave_first == NEVER {
                leaves.push((NEVER, NEVER));
                continue;
            }
            let first = free.next(span.leave_first);
            match (first, free.previous(span.leave_last)) {
                (Some(first), Some(last)) if first <= last => leaves.push((first, last)),
                _ => {
                    found(span.leave_last, What::Worse(span.item()));
                    leaves.push((span.leave_first, span.leave_last));
                }
            }
        }
        if self.ties == Ties::Fifo {
            let invoked = &self.by_invocation[begin..begin + class.len()];
            let invoked = invoked.iter();
            let invoked = invoked.map(|item| self.places[*item as usize] as usize - begin);
            find_overtaken(class, &leaves, invoked, found);
        }
    }

    fn explained(&self, what: What, queue: &Queue<'_>) -> Fault {
        let (window, better_than) = match what {
            What::Worse(item) => {
                let span = self.span(item);
                ((span.leave_first, span.leave_last), span.priority)
            }
            What::Overtaken(first, second) => (
                (self.span(first).leave_first, self.span(second).leave_last),
                self.span(first).priority,
            ),
            What::Empty(operation) => {
                let operation = &queue.operations[operation];
                (
                    (gap(operation.invoked), gap(operation.completed - 1)),
                    i64::MAX,
                )
            }
        };
        let is_empty = matches!(what, What::Empty(_));
        Fault {
            what,
            window,
            cover: self.cover(window, |priority| is_empty || priority < better_than),
        }
    }

    /// The fewest values of which one is inside at each gap of the window.
    fn cover(&self, window: (Gap, Gap), counts: impl Fn(i64) -> bool) -> Vec<usize> {
        let spans = self.best_first.iter();
        let counted = spans.filter(|span| counts(span.priority));
        let mut inside: Vec<(Gap, Gap, usize)> = counted
            .map(|span| (span.enqueued, span.leave_first, span.item()))
            .filter(|(from, until, _)| from < until && *from <= window.1 && *until > window.0)
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
}

/// Values of one class that left in another order than they came. `leaves` are the first and
/// the last gap at which each can leave; `invoked` are their places in the order of their
/// invocations.
fn find_overtaken(
    class: &[Span],
    leaves: &[(Gap, Gap)],
    invoked: impl Iterator<Item = usize>,
    found: &mut impl FnMut(Gap, What),
) {
    // Of those that were acknowledged before, the one that leaves last. The class is in
    // the order of acknowledgements.
    let mut acknowledged = 0;
    let mut latest: Option<(Gap, usize)> = None;
    for index in invoked {
        let enqueue_first = class[index].enqueue_first;
        while acknowledged < class.len() && class[acknowledged].enqueued < enqueue_first {
            latest = latest.max(Some((leaves[acknowledged].0, acknowledged)));
            acknowledged += 1;
        }
        let last = leaves[index].1;
        if let Some((_, before)) = latest.filter(|(first, _)| *first > last) {
            let overtaken = What::Overtaken(class[before].item(), class[index].item());
            found(class[index].leave_last, overtaken);
        }
    }
}

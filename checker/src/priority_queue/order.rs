//! Order: what is better leaves first, and of equals what came first.
//!
//! Instants are the gaps between events; gap `k` lies right after event `k`.

use super::extract::Queue;
use crate::queue::Ties;

const NEVER: usize = usize::MAX;

/// When a value can have come and gone.
#[derive(Clone, Copy)]
pub(super) struct Span {
    priority: i64,
    /// The first gap at which it may be inside.
    enqueue_first: usize,
    /// The first gap from which on it certainly has been enqueued.
    enqueued: usize,
    /// The first gap at which it may leave.
    leave_first: usize,
    /// The last gap at which it may leave.
    leave_last: usize,
}

/// A place where no order of the operations works.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) what: What,
    /// Something better was inside at each of these gaps; none where the two ends
    /// cross.
    pub(super) window: (usize, usize),
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
    spans: Vec<Span>,
    /// Indices of values, by priority, then in the order of their acknowledgements.
    best_first: Vec<usize>,
    gaps: usize,
    ties: Ties,
}

impl Spans {
    pub(super) fn of(queue: &Queue<'_>) -> Self {
        let span = |item: &super::extract::Item<'_>| {
            let enqueue = &queue.operations[item.enqueue];
            let dequeue = item.dequeue.map(|dequeue| &queue.operations[dequeue]);
            Span {
                priority: item.priority,
                enqueue_first: enqueue.invoked,
                enqueued: enqueue.returned(),
                leave_first: dequeue.map_or(NEVER, |d| d.invoked.max(enqueue.invoked)),
                leave_last: dequeue.map_or(NEVER, |d| d.completed - 1),
            }
        };
        let spans: Vec<Span> = queue.items.iter().map(span).collect();
        let key = |(item, span): (usize, &Span)| (span.priority, span.enqueued, item);
        let mut keys: Vec<(i64, usize, usize)> = spans.iter().enumerate().map(key).collect();
        keys.sort_unstable();
        let best_first = keys.into_iter().map(|(_, _, item)| item).collect();
        Self {
            spans,
            best_first,
            gaps: queue.events,
            ties: queue.ties,
        }
    }

    /// The same if a dequeue of unknown outcome, invoked at this event, took this
    /// value.
    pub(super) fn take(&mut self, item: usize, invoked: usize) {
        let span = &mut self.spans[item];
        span.leave_first = invoked.max(span.enqueue_first);
        span.leave_last = self.gaps - 1;
    }

    /// The same if nobody got this value.
    pub(super) fn put_back(&mut self, item: usize) {
        let span = &mut self.spans[item];
        (span.leave_first, span.leave_last) = (NEVER, NEVER);
    }

    /// The first gap at which this value may be inside.
    pub(super) fn enqueue_first(&self, item: usize) -> usize {
        self.spans[item].enqueue_first
    }

    pub(super) fn is_lost(&self, item: usize) -> bool {
        self.spans[item].leave_first == NEVER
    }

    /// Whether there is an order of the operations, and if not, why: of all
    /// faults the one that ends first.
    pub(super) fn find_fault(&self, queue: &Queue<'_>) -> Option<Fault> {
        let mut free = Free::new(self.gaps);
        let mut first: Option<(usize, What)> = None;
        let mut found = |until: usize, what: What| {
            if first.is_none_or(|(before, _)| until < before) {
                first = Some((until, what));
            }
        };
        let classes = self
            .best_first
            .chunk_by(|a, b| self.spans[*a].priority == self.spans[*b].priority);
        for class in classes {
            self.find_in_class(class, &mut free, &mut found);
            for item in class {
                let span = &self.spans[*item];
                if span.enqueued < span.leave_first && span.enqueued != NEVER {
                    free.cover(span.enqueued, span.leave_first.min(self.gaps) - 1);
                }
            }
        }
        for empty in &queue.empties {
            let operation = &queue.operations[*empty];
            if free.next(operation.invoked) >= operation.completed {
                found(operation.completed - 1, What::Empty(*empty));
            }
        }
        first.map(|(_, what)| self.explained(what, queue))
    }

    /// `free` are the gaps at which nothing better is certainly inside.
    fn find_in_class(&self, class: &[usize], free: &mut Free, found: &mut impl FnMut(usize, What)) {
        // When each value can leave: only while nothing better is inside.
        let mut leaves = Vec::with_capacity(class.len());
        for item in class {
            let span = &self.spans[*item];
            if span.leave_first == NEVER {
                leaves.push((NEVER, NEVER));
                continue;
            }
            let first = free.next(span.leave_first);
            if first > span.leave_last {
                found(span.leave_last, What::Worse(*item));
                leaves.push((span.leave_first, span.leave_last));
            } else {
                leaves.push((first, free.previous(span.leave_last)));
            }
        }
        if self.ties == Ties::Fifo {
            self.find_overtaken(class, &leaves, found);
        }
    }

    /// `leaves` are the first and the last gap at which each value of the class can leave.
    fn find_overtaken(
        &self,
        class: &[usize],
        leaves: &[(usize, usize)],
        found: &mut impl FnMut(usize, What),
    ) {
        // Of those that were acknowledged before, the one that leaves last. The
        // class is in the order of acknowledgements.
        let invoked = |(index, item): (usize, &usize)| (self.spans[*item].enqueue_first, index);
        let mut by_invocation: Vec<(usize, usize)> =
            class.iter().enumerate().map(invoked).collect();
        by_invocation.sort_unstable();
        let mut acknowledged = 0;
        let mut latest: Option<(usize, usize)> = None;
        for (_, index) in by_invocation {
            let span = &self.spans[class[index]];
            while acknowledged < class.len()
                && self.spans[class[acknowledged]].enqueued < span.enqueue_first
            {
                latest = latest.max(Some((leaves[acknowledged].0, acknowledged)));
                acknowledged += 1;
            }
            let last = leaves[index].1;
            if let Some((_, before)) = latest.filter(|(first, _)| *first > last) {
                found(
                    span.leave_last,
                    What::Overtaken(class[before], class[index]),
                );
            }
        }
    }

    fn explained(&self, what: What, queue: &Queue<'_>) -> Fault {
        let (window, better_than) = match what {
            What::Worse(item) => {
                let span = &self.spans[item];
                ((span.leave_first, span.leave_last), span.priority)
            }
            What::Overtaken(first, second) => (
                (self.spans[first].leave_first, self.spans[second].leave_last),
                self.spans[first].priority,
            ),
            What::Empty(operation) => {
                let operation = &queue.operations[operation];
                ((operation.invoked, operation.completed - 1), i64::MAX)
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
    fn cover(&self, window: (usize, usize), counts: impl Fn(i64) -> bool) -> Vec<usize> {
        let mut inside: Vec<(usize, usize, usize)> = (0..self.spans.len())
            .filter(|item| counts(self.spans[*item].priority))
            .map(|item| {
                (
                    self.spans[item].enqueued,
                    self.spans[item].leave_first,
                    item,
                )
            })
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

/// Gaps that are not covered, each of which can be covered once.
struct Free {
    /// For each gap the next one that may be free; the last is no gap.
    next: Vec<u32>,
    /// One more than the previous one that may be free; the first is no gap.
    previous: Vec<u32>,
}

impl Free {
    fn new(gaps: usize) -> Self {
        let all: Vec<u32> = (0..=u32::try_from(gaps).expect("fewer than 2^32 events")).collect();
        Self {
            next: all.clone(),
            previous: all,
        }
    }

    /// The first free gap from here on; the number of gaps if there is none.
    fn next(&mut self, gap: usize) -> usize {
        find(&mut self.next, gap.min(self.previous.len() - 1))
    }

    /// The last free gap up to here. There must be one.
    fn previous(&mut self, gap: usize) -> usize {
        find(&mut self.previous, gap + 1).saturating_sub(1)
    }

    fn cover(&mut self, first: usize, last: usize) {
        let mut gap = self.next(first);
        while gap <= last && gap + 1 < self.next.len() {
            self.next[gap] = u32::try_from(gap + 1).expect("checked when it was made");
            self.previous[gap + 1] = u32::try_from(gap).expect("checked when it was made");
            gap = self.next(gap);
        }
    }
}

/// The root of a node, and every node on the way is pointed closer to it.
fn find(parents: &mut [u32], mut node: usize) -> usize {
    while parents[node] as usize != node {
        let parent = parents[node] as usize;
        parents[node] = parents[parent];
        node = parents[node] as usize;
    }
    node
}

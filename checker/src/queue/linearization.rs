//! An order of the operations, for histories that have one.
//!
//! Of priority queues; a FIFO queue is one in which all values have the same priority, and
//! ties leave in the order of their arrival.
//!
//! # How
//!
//! Instants are the gaps between events; gap `k` lies right after event `k`. Write `e(v)`
//! and `d(v)` for the operations on value `v`. It is *certainly inside* from the return of
//! `e(v)` until both operations have been invoked.
//!
//! ```text
//! enqueue v  |------|
//! dequeue -> v             |------|
//!                   =======                 certainly inside
//! ```
//!
//! From the best class of priority to the worst:
//!
//! 1. `d(v)` can happen at the first gap from where both operations have been invoked at
//!    which nothing better is certainly inside.
//! 2. The values of the class are put in an order that fits the times of both their
//!    enqueues and their dequeues; of several that may come next, the one that can leave
//!    first. Two orders of intervals are joined here; as the history has no `VOrd` and no
//!    `PQ-tie`, they do not contradict each other.
//! 3. In that order, dequeues happen as early as they can, and enqueues as late as they
//!    can. So there is always something certainly inside, at least as good, while a value
//!    is, and worse classes and empty answers need not care where exactly these points are.
//!
//! Where ties may leave in any order, step 2 is left out, and each value has the points that
//! are best for itself.
//!
//! An empty answer happens at the first of its gaps at which nothing is certainly inside.
//!
//! # Cost
//!
//! O(n log n), for sorting.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::Deserialize;

use crate::history::Operation;

/// Never.
pub(crate) const NEVER: usize = usize::MAX;

/// In which order values of the same priority leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ties {
    /// In the order of their arrival.
    #[default]
    Fifo,
    /// In any.
    Any,
}

/// A value that was enqueued. Operations are named by any number.
pub(crate) struct Value {
    /// The smallest leaves first.
    pub(crate) priority: i64,
    pub(crate) enqueue: Interval,
    /// None when it never left.
    pub(crate) dequeue: Option<Interval>,
}

/// When an operation can have happened: after the event `invoked`, before `returned`.
#[derive(Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) operation: usize,
    pub(crate) invoked: usize,
    /// [`NEVER`] when it need not have happened by any event.
    pub(crate) returned: usize,
}

impl Interval {
    /// That of an operation of this index.
    pub(crate) fn of(index: usize, operation: &Operation<'_>) -> Self {
        Self {
            operation: index,
            invoked: operation.invoked,
            returned: operation.returned(),
        }
    }
}

/// The operations in an order that a priority queue can do, each in its interval; none
/// if there is none.
pub(crate) fn linearize(
    values: &[Value],
    empties: &[Interval],
    ties: Ties,
    events: usize,
) -> Option<Vec<usize>> {
    let mut by_priority: Vec<usize> = (0..values.len()).collect();
    by_priority.sort_by_key(|value| values[*value].priority);
    let mut free = Gaps::new(events);
    let mut points = Points::default();
    for class in by_priority.chunk_by(|a, b| values[*a].priority == values[*b].priority) {
        let class_points = Class::of(values, class, &mut free)?.points(ties)?;
        points.place(&class_points);
        for value in class {
            let (from, until) = values[*value].certainly_inside();
            free.cover(from, until.min(events));
        }
    }
    for empty in empties {
        let gap = free.next(empty.invoked);
        if gap >= empty.returned {
            return None;
        }
        points.push(gap, Phase::Empty, 0, empty.operation);
    }
    Some(points.in_order())
}

impl Value {
    /// From this gap until right before that one.
    fn certainly_inside(&self) -> (usize, usize) {
        (self.enqueue.returned, self.both_invoked())
    }

    fn both_invoked(&self) -> usize {
        let dequeue = self.dequeue.map_or(NEVER, |dequeue| dequeue.invoked);
        dequeue.max(self.enqueue.invoked)
    }
}

/// The values of one priority.
struct Class {
    members: Vec<Member>,
}

/// A value, and the first and last gap for each of its operations.
#[derive(Clone, Copy)]
struct Member {
    enqueue: usize,
    dequeue: Option<usize>,
    enqueued: (usize, usize),
    left: (usize, usize),
}

impl Class {
    /// None when a value cannot leave.
    fn of(values: &[Value], class: &[usize], free: &mut Gaps) -> Option<Self> {
        let mut members = Vec::with_capacity(class.len());
        for value in class {
            let value = &values[*value];
            let left = match value.dequeue {
                Some(dequeue) => {
                    let last = (dequeue.returned - 1).min(free.last());
                    let first = free.next(value.both_invoked());
                    if first > last {
                        return None;
                    }
                    (first, last)
                }
                None => (NEVER, NEVER),
            };
            members.push(Member {
                enqueue: value.enqueue.operation,
                dequeue: value.dequeue.map(|dequeue| dequeue.operation),
                enqueued: (
                    value.enqueue.invoked,
                    (value.enqueue.returned - 1).min(left.1),
                ),
                left,
            });
        }
        Some(Self { members })
    }

    /// The operations with their gaps, in the order in which they come at the same gap.
    fn points(&self, ties: Ties) -> Option<Vec<Placed>> {
        let alone = |member: &Member| Placed {
            member: *member,
            comes: member.enqueued.1.min(member.left.0),
            leaves: member.left.0,
        };
        if ties == Ties::Any {
            return Some(self.members.iter().map(alone).collect());
        }
        let order = Joined::of(&self.members).order()?;
        let mut placed: Vec<Placed> = order
            .into_iter()
            .map(|index| alone(&self.members[index]))
            .collect();
        let mut latest = 0;
        for one in &mut placed {
            latest = latest.max(one.leaves);
            one.leaves = latest;
        }
        let mut earliest = NEVER;
        for one in placed.iter_mut().rev() {
            earliest = earliest.min(one.member.enqueued.1).min(one.leaves);
            one.comes = earliest;
        }
        Some(placed)
    }
}

/// A value, and at which gaps it comes and leaves.
struct Placed {
    member: Member,
    comes: usize,
    leaves: usize,
}

/// Two orders of intervals: that of the enqueues, and that of the dequeues.
struct Joined<'m> {
    members: &'m [Member],
    is_taken: Vec<bool>,
    /// How many of its two orders allow a member to come next.
    allowed: Vec<u8>,
    /// Those that both allow, by when they can leave.
    next: BinaryHeap<Reverse<(usize, usize, usize)>>,
    orders: [Intervals; 2],
}

/// The intervals of an order.
struct Intervals {
    of: fn(&Member) -> (usize, usize),
    by_first: Vec<usize>,
    by_last: Vec<usize>,
    /// How many of each have been passed.
    first: usize,
    last: usize,
}

impl Intervals {
    fn of(members: &[Member], of: fn(&Member) -> (usize, usize)) -> Self {
        let sorted = |key: &dyn Fn(usize) -> usize| {
            let mut sorted: Vec<usize> = (0..members.len()).collect();
            sorted.sort_by_key(|member| key(*member));
            sorted
        };
        Self {
            of,
            by_first: sorted(&|member| of(&members[member]).0),
            by_last: sorted(&|member| of(&members[member]).1),
            first: 0,
            last: 0,
        }
    }
}

impl<'m> Joined<'m> {
    fn of(members: &'m [Member]) -> Self {
        Self {
            members,
            is_taken: vec![false; members.len()],
            allowed: vec![0; members.len()],
            next: BinaryHeap::new(),
            orders: [
                Intervals::of(members, |member| member.enqueued),
                Intervals::of(members, |member| member.left),
            ],
        }
    }

    /// All members, each in front of those before which it must come.
    fn order(mut self) -> Option<Vec<usize>> {
        let mut order = Vec::with_capacity(self.members.len());
        while order.len() < self.members.len() {
            self.allow();
            let Reverse((.., member)) = self.next.pop()?;
            self.is_taken[member] = true;
            order.push(member);
        }
        Some(order)
    }

    /// Allows what begins before any of those that are left must be over.
    fn allow(&mut self) {
        for order in &mut self.orders {
            while self.is_taken[order.by_last[order.last]] {
                order.last += 1;
            }
            let (_, end) = (order.of)(&self.members[order.by_last[order.last]]);
            while let Some(member) = order.by_first.get(order.first).copied() {
                if (order.of)(&self.members[member]).0 > end {
                    break;
                }
                order.first += 1;
                self.allowed[member] += 1;
                if self.allowed[member] == 2 {
                    let Member { left, enqueued, .. } = self.members[member];
                    self.next.push(Reverse((left.0, enqueued.0, member)));
                }
            }
        }
    }
}

/// What happens first, of all that happens at one gap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Values leave, those that only pass through included.
    Leave,
    Empty,
    /// Values come that stay.
    Come,
}

/// At which gap each operation happens, and who comes first at the same one.
#[derive(Default)]
struct Points {
    all: Vec<(usize, Phase, usize, usize)>,
}

impl Points {
    fn push(&mut self, gap: usize, phase: Phase, place: usize, operation: usize) {
        self.all.push((gap, phase, place, operation));
    }

    /// Classes come best first, so what they do at the same gap is in order, too.
    fn place(&mut self, class: &[Placed]) {
        for one in class {
            let place = self.all.len();
            let stays = one.member.dequeue.is_none() || one.comes < one.leaves;
            let phase = if stays { Phase::Come } else { Phase::Leave };
            self.push(one.comes, phase, place, one.member.enqueue);
            if let Some(dequeue) = one.member.dequeue {
                self.push(one.leaves, Phase::Leave, place + 1, dequeue);
            }
        }
    }

    fn in_order(mut self) -> Vec<usize> {
        self.all.sort_unstable();
        self.all
            .into_iter()
            .map(|(.., operation)| operation)
            .collect()
    }
}

/// Gaps at which nothing is certainly inside.
struct Gaps {
    /// For each gap one that is not before it, and at or before the first free one.
    ahead: Vec<usize>,
}

impl Gaps {
    /// All gaps, and one behind them that stays free.
    fn new(events: usize) -> Self {
        Self {
            ahead: (0..=events).collect(),
        }
    }

    /// The gap behind the last event.
    fn last(&self) -> usize {
        self.ahead.len() - 2
    }

    /// The first free gap from this one on.
    fn next(&mut self, gap: usize) -> usize {
        let mut found = gap;
        while self.ahead[found] != found {
            found = self.ahead[found];
        }
        let mut walked = gap;
        while self.ahead[walked] != found {
            walked = std::mem::replace(&mut self.ahead[walked], found);
        }
        found
    }

    /// Takes the gaps from this one until right before that one.
    fn cover(&mut self, from: usize, until: usize) {
        if from >= until {
            return;
        }
        let mut gap = self.next(from);
        while gap < until {
            self.ahead[gap] = gap + 1;
            gap = self.next(gap);
        }
    }
}

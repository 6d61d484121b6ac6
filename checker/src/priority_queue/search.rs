//! What dequeues of unknown outcome may have taken.

use std::collections::BTreeSet;

use rustc_hash::FxHashSet;

use super::demand::{LostValues, TooMany};
use super::extract::Queue;
use super::grant::grant;
use super::order::{Fault, Gap, Lost, NEVER, What, enqueued, find_fault};
use crate::search::{Budget, Clock, Limit};

/// What the search came to.
pub(super) enum Explained {
    /// There is an order of the operations, if these values were taken by the dequeues of
    /// unknown outcome.
    Yes(Vec<Option<usize>>),
    /// There is none.
    No(Why),
    /// There are too many ways: so many were tried.
    Unknown { limit: Limit, tried: usize },
}

/// Why there is no order of the operations.
pub(super) enum Why {
    /// This fault shows whatever the dequeues of unknown outcome took.
    Certain(Fault),
    /// They cannot have taken all that must be gone.
    TooMany(TooMany),
    /// The fault that shows if nothing is assumed, and all that show whatever is assumed.
    Tried(Fault, Proof),
}

/// What faults rest on.
#[derive(Clone, Default)]
pub(super) struct Proof {
    /// Values with all operations on them.
    pub(super) items: BTreeSet<usize>,
    /// Values of which it only matters that they left then.
    pub(super) left: BTreeSet<usize>,
    /// Dequeues that found nothing.
    pub(super) empties: BTreeSet<usize>,
}

impl Proof {
    pub(super) fn add(&mut self, queue: &Queue<'_>, fault: &Fault) {
        self.items.extend(&fault.cover);
        match fault.what {
            What::Worse(item) => {
                let since = fault
                    .cover
                    .iter()
                    .map(|better| enqueued(queue, *better))
                    .min();
                self.add_left(queue, item, since.unwrap_or(NEVER));
            }
            What::Overtaken(first, second) => self.items.extend([first, second]),
            What::Empty(empty) => self.empties.extend([empty]),
        }
    }

    /// Adds that a value left while something better was inside, at least since this gap. That it
    /// was enqueued before goes without saying, except where it could have left earlier if its
    /// enqueue had begun earlier.
    pub(super) fn add_left(&mut self, queue: &Queue<'_>, item: usize, since: Gap) {
        let value = &queue.values.items[item];
        let is_late = value.enqueue_invoked() > value.dequeue_invoked();
        if is_late && since as usize > value.dequeue_invoked() {
            self.items.insert(item);
        } else {
            self.left.insert(item);
        }
    }
}

impl Fault {
    /// The values without which the fault may go away, and that nobody got.
    pub(super) fn lost(&self, queue: &Queue<'_>) -> impl Iterator<Item = usize> {
        let overtaken = match self.what {
            What::Overtaken(first, _) => Some(first),
            _ => None,
        };
        self.cover
            .iter()
            .copied()
            .chain(overtaken)
            .filter(|item| !queue.values.items[*item].is_dequeued())
    }
}

struct Search<'q, 'h> {
    /// In which the values are taken, and put back afterwards.
    queue: &'q mut Queue<'h>,
    /// Which value each of the dequeues took, so far.
    taken: Vec<Option<usize>>,
    seen: FxHashSet<Way>,
    tried: usize,
    proof: Proof,
    budget: Budget,
    clock: Clock<'static>,
}

/// For each dequeue the number of the value that it took and one more, or 0.
type Way = Box<[u32]>;

/// Whether the dequeues of unknown outcome can explain the history.
///
/// All ways are tried only where nothing simpler tells.
pub(super) fn explain(queue: &mut Queue<'_>, budget: &Budget) -> Explained {
    let Some(fault) = find_fault(queue, Lost::Stay) else {
        return Explained::Yes(Vec::new());
    };
    if queue.values.pending.is_empty() {
        return Explained::No(Why::Certain(fault));
    }
    let lost = match LostValues::of(queue) {
        Ok(lost) => lost,
        Err(fault) => return Explained::No(Why::Certain(fault)),
    };
    if let Some(too_many) = lost.too_many(&queue.values.pending) {
        return Explained::No(Why::TooMany(too_many));
    }
    if let Some(taken) = grant(queue, &lost)
        && is_explained(queue, &taken)
    {
        return Explained::Yes(taken);
    }
    try_all(queue, fault, budget)
}

/// Whether there is an order of the operations if these values were taken by the dequeues of
/// unknown outcome.
fn is_explained(queue: &mut Queue<'_>, taken: &[Option<usize>]) -> bool {
    let values = &mut queue.values;
    for (invoked, item) in values.pending.iter().zip(taken) {
        if let Some(item) = item {
            values.items[*item].take(*invoked, None);
        }
    }
    let fault = find_fault(queue, Lost::Stay);
    for item in taken.iter().flatten() {
        queue.values.items[*item].put_back();
    }
    fault.is_none()
}

fn try_all(queue: &mut Queue<'_>, fault: Fault, budget: &Budget) -> Explained {
    let mut search = Search {
        taken: vec![None; queue.values.pending.len()],
        seen: FxHashSet::default(),
        tried: 1,
        proof: Proof::default(),
        budget: *budget,
        clock: budget.clock(),
        queue,
    };
    match search.repair(&fault) {
        Ok(true) => Explained::Yes(search.taken),
        Ok(false) => Explained::No(Why::Tried(fault, search.proof)),
        Err(limit) => Explained::Unknown {
            limit,
            tried: search.tried,
        },
    }
}

impl Search<'_, '_> {
    /// Whether the fault, and all that show then, go away with more values taken.
    ///
    /// # Errors
    /// When the budget is spent.
    fn repair(&mut self, fault: &Fault) -> Result<bool, Limit> {
        self.proof.add(self.queue, fault);
        let lost: Vec<usize> = fault.lost(self.queue).collect();
        // Taken later than this, a value would still be in the way.
        let until = fault.window.1 as usize;
        for item in lost {
            for index in self.likely_first(item, fault.window.0) {
                let invoked = self.queue.values.pending[index];
                if self.taken[index].is_some() || invoked > until {
                    continue;
                }
                self.taken[index] = Some(item);
                if self.seen.insert(self.way()) {
                    self.stay_within_budget()?;
                    self.tried += 1;
                    self.queue.values.items[item].take(invoked, None);
                    let explained = match find_fault(self.queue, Lost::Stay) {
                        None => Ok(true),
                        Some(next) => self.repair(&next),
                    };
                    self.queue.values.items[item].put_back();
                    match explained {
                        Ok(false) => {}
                        done => return done,
                    }
                }
                self.taken[index] = None;
            }
        }
        Ok(false)
    }

    fn way(&self) -> Way {
        let number = |item: &Option<usize>| item.map_or(0, |item| item as u32 + 1);
        self.taken.iter().map(number).collect()
    }

    fn stay_within_budget(&self) -> Result<(), Limit> {
        // A place in the table, with what tells whether it is taken, and what it points to.
        let place = size_of::<Way>() + 1;
        // A table that grows is there twice for a while.
        let is_full = self.seen.len() == self.seen.capacity();
        let tables = self.seen.capacity() * if is_full { 4 } else { 2 };
        let way = self.taken.len() * size_of::<u32>() + 2 * size_of::<usize>();
        let bytes = tables * place + self.seen.len() * way;
        if bytes > self.budget.memory_bytes {
            return Err(Limit::Memory(self.budget.memory_bytes));
        }
        match self.budget.time {
            Some(time) if self.clock.is_over() => Err(Limit::Time(time)),
            _ => Ok(()),
        }
    }

    /// The dequeues of unknown outcome, those first that explain most and are of
    /// least use for anything else.
    fn likely_first(&self, item: usize, window_first: Gap) -> Vec<usize> {
        let needed = self.queue.values.items[item].enqueue_invoked();
        let needed = match window_first {
            NEVER => needed,
            first => needed.max(first as usize),
        };
        let mut order: Vec<usize> = (0..self.taken.len()).collect();
        order.sort_by_key(|index| {
            let invoked = self.queue.values.pending[*index];
            (invoked > needed, invoked.abs_diff(needed))
        });
        order
    }
}

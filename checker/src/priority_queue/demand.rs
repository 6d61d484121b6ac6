//! What has to be gone, and when: what the dequeues that returned ask of those of unknown
//! outcome.
//!
//! A *lost* value was acknowledged, and nobody got it. A dequeue that returned asks that at
//! some gap of its window all lost values are gone that were acknowledged by then and are
//! better than what it got, or of the same priority and acknowledged before that was enqueued.
//! With the lost values in the order of their priorities, and then of their acknowledgements,
//! these are the first so many, as far as they had been acknowledged.

use std::cmp::Reverse;

use super::extract::Queue;
use super::order::{Fault, Gap, Who, Window, enqueued, windows};
use crate::queue::Ties;

/// A dequeue that returned.
#[derive(Clone, Copy)]
pub(super) struct Demand {
    pub(super) window: Window,
    /// Of so many of the lost values none may be inside.
    pub(super) below: usize,
}

/// The values that nobody got.
pub(super) struct LostValues {
    /// The best first.
    pub(super) items: Vec<usize>,
    /// From which gap on each is in the way.
    pub(super) since: Vec<Gap>,
    /// Those by which a dequeue asks something, the one first that must have happened first.
    pub(super) demands: Vec<Demand>,
}

/// More values must be gone than dequeues of unknown outcome can have taken.
pub(super) struct TooMany {
    /// Each with the dequeue that asks for it.
    pub(super) lost: Vec<(usize, Window)>,
    /// How many dequeues of unknown outcome there were by then.
    pub(super) pending: usize,
}

impl LostValues {
    /// # Errors
    /// When there is no order whatever became of the lost values.
    pub(super) fn of(queue: &Queue<'_>) -> Result<Self, Fault> {
        let all = &queue.values.items;
        let windows = windows(queue)?;
        let mut items: Vec<usize> = (0..all.len())
            .filter(|item| !all[*item].is_dequeued())
            .collect();
        items.sort_by_key(|item| (all[*item].priority, all[*item].enqueue_returned()));
        let below = |window: &Window| match window.who {
            Who::Empty(_) => items.len(),
            Who::Value(item) => {
                let (priority, invoked) = (all[item].priority, all[item].enqueue_invoked());
                items.partition_point(|lost| {
                    let lost = &all[*lost];
                    let is_first = queue.ties == Ties::Fifo && lost.enqueue_returned() < invoked;
                    lost.priority < priority || lost.priority == priority && is_first
                })
            }
        };
        let demands = windows.into_iter().map(|window| Demand {
            window,
            below: below(&window),
        });
        let mut demands: Vec<Demand> = demands.filter(|demand| demand.below > 0).collect();
        demands.sort_by_key(|demand| demand.window.last);
        Ok(Self {
            since: items.iter().map(|item| enqueued(queue, *item)).collect(),
            items,
            demands,
        })
    }

    /// Whether more values must be gone at some gap than dequeues of unknown outcome began
    /// before.
    ///
    /// A dequeue asks the least at the first gap of its window, and that must be granted at the
    /// last one. The values that must be gone by then need dequeues that began before.
    pub(super) fn too_many(&self, pending: &[usize]) -> Option<TooMany> {
        let mut asked: Vec<(Gap, usize, usize)> = (0..self.items.len())
            .zip(self.first_demands())
            .filter_map(|(lost, demand)| {
                let demand = demand?;
                Some((self.demands[demand].window.last, lost, demand))
            })
            .collect();
        asked.sort_unstable();
        let begun = |by: Gap| pending.partition_point(|invoked| *invoked <= by as usize);
        let place = (0..asked.len()).find(|place| begun(asked[*place].0) <= *place)?;
        let (last, ..) = asked[place];
        let pending = begun(last);
        let lost = self.of_one_demand(last, pending).unwrap_or_else(|| {
            asked[..=pending]
                .iter()
                .map(|(_, lost, demand)| (*lost, *demand))
                .collect()
        });
        Some(TooMany {
            lost: lost
                .into_iter()
                .map(|(lost, demand)| (self.items[lost], self.demands[demand].window))
                .collect(),
            pending,
        })
    }

    /// For each lost value, of the dequeues that ask for it, the one that must have happened
    /// first.
    fn first_demands(&self) -> Vec<Option<usize>> {
        let mut by_first: Vec<usize> = (0..self.demands.len()).collect();
        by_first.sort_by_key(|demand| Reverse(self.demands[*demand].window.first));
        let mut by_first = by_first.into_iter().peekable();
        let mut by_since: Vec<usize> = (0..self.items.len()).collect();
        by_since.sort_by_key(|lost| Reverse(self.since[*lost]));
        let mut asked = vec![None; self.items.len()];
        let mut first = FirstBelow::new(self.items.len());
        for lost in by_since {
            let is_later = |demand: &usize| self.demands[*demand].window.first >= self.since[lost];
            while let Some(demand) = by_first.next_if(is_later) {
                first.add(self.demands[demand].below, demand);
            }
            asked[lost] = first.of(lost);
        }
        asked
    }

    /// More lost values than this that one dequeue asks for, if there is one that does and
    /// must have happened by then.
    fn of_one_demand(&self, last: Gap, pending: usize) -> Option<Vec<(usize, usize)>> {
        let until = self
            .demands
            .partition_point(|demand| demand.window.last <= last);
        let mut of_last = (0..until)
            .rev()
            .take_while(|demand| self.demands[*demand].window.last == last);
        of_last.find_map(|demand| {
            let Demand { window, below } = self.demands[demand];
            let mut lost: Vec<usize> = (0..below)
                .filter(|lost| self.since[*lost] <= window.first)
                .collect();
            // Nothing else need have been inside from the beginning, if these were.
            lost.sort_by_key(|lost| self.since[*lost]);
            lost.truncate(pending + 1);
            (lost.len() > pending).then(|| lost.into_iter().map(|lost| (lost, demand)).collect())
        })
    }
}

/// Of what was added, the smallest that was added above a place.
struct FirstBelow {
    /// The smallest of stretches that end at a place, from the last place backwards.
    smallest: Vec<usize>,
}

impl FirstBelow {
    fn new(places: usize) -> Self {
        Self {
            smallest: vec![usize::MAX; places + 1],
        }
    }

    /// Adds this one for all places below.
    fn add(&mut self, below: usize, number: usize) {
        // The last place has the number 1.
        let mut at = self.smallest.len() - below;
        while at < self.smallest.len() {
            self.smallest[at] = self.smallest[at].min(number);
            at += at & at.wrapping_neg();
        }
    }

    fn of(&self, place: usize) -> Option<usize> {
        let mut at = self.smallest.len() - 1 - place;
        let mut smallest = usize::MAX;
        while at > 0 {
            smallest = smallest.min(self.smallest[at]);
            at -= at & at.wrapping_neg();
        }
        (smallest != usize::MAX).then_some(smallest)
    }
}

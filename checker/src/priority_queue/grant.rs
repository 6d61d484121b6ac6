//! A likely choice of what dequeues of unknown outcome took.
//!
//! What the dequeues that returned ask for is granted one after the other, that first which
//! must be granted first: at the first gap at which there are enough dequeues of unknown
//! outcome that nobody needs. There the fewest values have to be gone, for more are
//! acknowledged later. Whether there are enough is Hall's condition again: of the values that
//! have to be gone by a gap there may not be more than dequeues of unknown outcome that began
//! before it, at no gap. The dequeue that began first then takes the value that has to be gone
//! first, and so on.
//!
//! That is not all that can be tried, as a later gap may be the better choice for what comes
//! after. But where there is a choice at all, it is found as good as always.

use std::collections::BTreeSet;

use super::demand::{Demand, LostValues};
use super::extract::Queue;
use super::free::Free;
use super::order::{Gap, gaps_inside};
use super::tree::Tree;

/// So many gaps are tried for a dequeue at most.
const GAPS: usize = 200;

/// For each dequeue of unknown outcome the value that it took, if all that is asked can be
/// granted so.
pub(super) fn grant(queue: &Queue<'_>, lost: &LostValues) -> Option<Vec<Option<usize>>> {
    let mut granted = Granted::new(queue, lost);
    for demand in &lost.demands {
        if !granted.grant(demand) {
            return None;
        }
    }
    let mut taken = vec![None; queue.values.pending.len()];
    for (taken, (_, lost_value)) in taken.iter_mut().zip(&granted.gone) {
        *taken = Some(lost.items[*lost_value]);
    }
    Some(taken)
}

struct Granted<'q, 'h> {
    queue: &'q Queue<'h>,
    lost: &'q LostValues,
    /// For each lost value since when it has been in the way; never once it is gone.
    inside: Tree,
    /// The lost values that are gone, by the gap by which they have to be.
    gone: BTreeSet<(Gap, usize)>,
    /// For each number of dequeues of unknown outcome, how many of them nobody needs before
    /// the next one begins.
    spare: Tree,
    /// The best value that certainly is inside at each gap, of those that somebody got.
    best: Option<Vec<u32>>,
}

/// That many gaps there are not.
const GONE: i64 = 1 << 40;

const NOTHING: u32 = u32::MAX;

impl<'q, 'h> Granted<'q, 'h> {
    fn new(queue: &'q Queue<'h>, lost: &'q LostValues) -> Self {
        let since: Vec<i64> = lost.since.iter().map(|gap| i64::from(*gap)).collect();
        let begun: Vec<i64> = (0..).take(queue.values.pending.len() + 1).collect();
        Self {
            queue,
            lost,
            inside: Tree::new(&since),
            gone: BTreeSet::new(),
            spare: Tree::new(&begun),
            best: None,
        }
    }

    /// Whether there is a gap for it.
    fn grant(&mut self, demand: &Demand) -> bool {
        let first = demand.window.first;
        self.grant_at(first, demand.below)
            || (self.later(demand).into_iter()).any(|gap| self.grant_at(gap, demand.below))
    }

    /// How many dequeues of unknown outcome have begun by this gap.
    fn begun(&self, by: Gap) -> usize {
        let pending = &self.queue.values.pending;
        pending.partition_point(|invoked| *invoked <= by as usize)
    }

    /// Whether the first so many lost values, as far as they have been acknowledged, can be
    /// gone at this gap. Then they are.
    fn grant_at(&mut self, gap: Gap, below: usize) -> bool {
        let begun = self.begun(gap);
        let spare = self.spare.smallest_from(begun);
        let mut new = Vec::new();
        let mut from = 0;
        while let Some(lost) = self.inside.first_up_to(&(from..below), i64::from(gap)) {
            new.push(lost);
            if new.len() as i64 > spare {
                return false;
            }
            from = lost + 1;
        }
        let is_late = |(_, lost): &&(Gap, usize)| *lost < below && self.lost.since[*lost] <= gap;
        let late: Vec<(Gap, usize)> = (self.gone.range((gap + 1, 0)..))
            .filter(is_late)
            .copied()
            .collect();
        let all = self.queue.values.pending.len() + 1;
        self.spare.add(begun..all, -(new.len() as i64));
        for (before, _) in &late {
            self.spare.add(begun..self.begun(*before), -1);
        }
        if self.spare.smallest_from(begun) < 0 {
            self.spare.add(begun..all, new.len() as i64);
            for (before, _) in &late {
                self.spare.add(begun..self.begun(*before), 1);
            }
            return false;
        }
        for lost in new {
            self.inside.add(lost..lost + 1, GONE);
            self.gone.insert((gap, lost));
        }
        for (before, lost) in late {
            self.gone.remove(&(before, lost));
            self.gone.insert((gap, lost));
        }
        true
    }

    /// The gaps after the first one at which the dequeue may ask for less, or there are more of
    /// unknown outcome.
    fn later(&mut self, demand: &Demand) -> Vec<Gap> {
        let window = demand.window;
        let (from, until) = (window.first + 1, window.last);
        let best = self.best.get_or_insert_with(|| best_inside(self.queue));
        let free = |gap: Gap| {
            let better = |best: &u32| (*best as usize) < window.better;
            let inside = best[gap as usize..=until as usize]
                .iter()
                .take_while(|best| better(best));
            gap + inside.count() as Gap
        };
        let pending = &self.queue.values.pending;
        let begun = pending.partition_point(|invoked| *invoked < from as usize);
        let begun = pending[begun..].iter().map(|invoked| *invoked as Gap);
        let gone = self.gone.range((from, 0)..).map(|(gap, _)| *gap);
        let mut gaps: Vec<Gap> = begun
            .take_while(|gap| *gap <= until)
            .take(GAPS)
            .chain(gone.take_while(|gap| *gap <= until).take(GAPS))
            .map(free)
            .filter(|gap| *gap <= until)
            .chain([until])
            .collect();
        gaps.sort_unstable();
        gaps.dedup();
        gaps
    }
}

/// The best value that certainly is inside at each gap, of those that somebody got.
fn best_inside(queue: &Queue<'_>) -> Vec<u32> {
    let mut best = vec![NOTHING; queue.events()];
    let mut free = Free::new(queue.events() as Gap);
    for (index, item) in queue.values.items.iter().enumerate() {
        let Some((from, until)) = gaps_inside(queue, item).filter(|_| item.is_dequeued()) else {
            continue;
        };
        let mut next = free.next(from);
        while let Some(gap) = next.filter(|gap| *gap < until) {
            best[gap as usize] = index as u32;
            next = free.next(gap + 1);
        }
        free.cover(from, until);
    }
    best
}

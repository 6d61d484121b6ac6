//! Whether reads and writes can be put in an order, and who is in each other's way if not.

use std::collections::VecDeque;

use rustc_hash::{FxHashMap, FxHashSet};

/// Of two operations the first comes before the second.
pub(super) type Pair = (u32, u32);

/// How many steps are taken to find the shortest circle. There is one all the same.
const STEPS_MAX: usize = 5_000_000;

/// Operations of which some come before others.
pub(super) struct Precedence {
    /// Ascending, each once.
    pairs: Vec<Pair>,
}

impl Precedence {
    pub(super) fn of(mut pairs: Vec<Pair>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        Self { pairs }
    }

    pub(super) fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// What comes right behind an operation.
    pub(super) fn behind(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let from = self.pairs.partition_point(|pair| pair.0 < first);
        let pairs = self.pairs[from..].iter();
        pairs
            .take_while(move |pair| pair.0 == first)
            .map(|pair| pair.1)
    }

    /// Operations that come before each other in a circle, if there are any: writes, and the
    /// fewest reads that have one, unless there is too much to look at.
    pub(super) fn circle(&self, is_read: impl Fn(u32) -> bool) -> Option<Vec<u32>> {
        let mut among = self.without_ends();
        let mut circle = among.walk()?;
        let mut starts: Vec<u32> = among.pairs.iter().map(|pair| pair.0).collect();
        starts.dedup();
        loop {
            let (length, mut steps) = (circle.len(), STEPS_MAX);
            among.shorten(&starts, &mut circle, &mut steps);
            if steps > 0 || circle.len() == length {
                return Some(circle);
            }
            // Without the other reads there is less to look at.
            let kept: FxHashSet<u32> = circle.iter().copied().collect();
            let is_kept = |one: u32| !is_read(one) || kept.contains(&one);
            let pairs = &mut among.pairs;
            pairs.retain(|(first, second)| is_kept(*first) && is_kept(*second));
            starts.clone_from(&circle);
        }
    }

    /// Without those that have nothing before them, or nothing behind them, over and over.
    fn without_ends(&self) -> Self {
        let pairs = without_firsts(self.pairs.clone());
        let turned = pairs.into_iter().map(|(first, second)| (second, first));
        let turned = without_firsts(Self::of(turned.collect()).pairs);
        Self::of(
            turned
                .into_iter()
                .map(|(second, first)| (first, second))
                .collect(),
        )
    }

    /// A circle, where something is behind everything.
    fn walk(&self) -> Option<Vec<u32>> {
        let mut at = self.pairs.first()?.0;
        let mut places = FxHashMap::default();
        let mut path = Vec::new();
        loop {
            if let Some(place) = places.insert(at, path.len()) {
                return Some(path.split_off(place));
            }
            path.push(at);
            at = self.behind(at).next()?;
        }
    }

    /// Looks for a shorter circle through one of these.
    fn shorten(&self, starts: &[u32], circle: &mut Vec<u32>, steps: &mut usize) {
        for start in starts {
            if let Some(shorter) = self.circle_through(*start, circle.len(), steps) {
                *circle = shorter;
            }
            if *steps == 0 || circle.len() == 2 {
                return;
            }
        }
    }

    /// The shortest circle through an operation, if it is shorter than so many.
    fn circle_through(&self, start: u32, than: usize, steps: &mut usize) -> Option<Vec<u32>> {
        // By operation: the one before it, and how many that makes.
        let mut before = FxHashMap::from_iter([(start, (start, 1))]);
        let mut next = VecDeque::from([start]);
        while let Some(at) = next.pop_front() {
            let length = before[&at].1;
            if length >= than {
                return None;
            }
            for behind in self.behind(at) {
                *steps = steps.checked_sub(1)?;
                if behind == start {
                    let mut circle = vec![at];
                    while let Some(last) = circle.last().filter(|last| **last != start) {
                        circle.push(before[last].0);
                    }
                    circle.reverse();
                    return Some(circle);
                }
                before.entry(behind).or_insert_with(|| {
                    next.push_back(behind);
                    (at, length + 1)
                });
            }
        }
        None
    }
}

/// Without those that nothing comes before, over and over.
fn without_firsts(pairs: Vec<Pair>) -> Vec<Pair> {
    let all = Precedence { pairs };
    let mut waits_for: FxHashMap<u32, usize> = FxHashMap::default();
    for (first, second) in &all.pairs {
        waits_for.entry(*first).or_default();
        *waits_for.entry(*second).or_default() += 1;
    }
    let free = waits_for.iter().filter(|(_, waits_for)| **waits_for == 0);
    let mut free: Vec<u32> = free.map(|(operation, _)| *operation).collect();
    while let Some(first) = free.pop() {
        for behind in all.behind(first) {
            let waits_for = waits_for.entry(behind).or_default();
            *waits_for -= 1;
            if *waits_for == 0 {
                free.push(behind);
            }
        }
    }
    let mut pairs = all.pairs;
    pairs.retain(|(first, second)| waits_for[first] > 0 && waits_for[second] > 0);
    pairs
}

//! Who can fill the places of a cyclic barrier that no answer names.

use std::ops::RangeInclusive;

use super::bounds::Bounds;
use crate::search::Limit;

/// Waits of unknown outcome, from call to end, each of which fills one place; in
/// every way that is worth keeping.
///
/// Instants are named by the event that follows them.
pub(super) struct Pools<'u> {
    unknown: &'u [(usize, usize)],
    /// None covers another.
    ways: Vec<Pool>,
    bounds: &'u Bounds<'u>,
}

/// Why a round cannot be filled.
pub(super) enum Lacks {
    /// So many are missing.
    Waits(usize),
    /// There are too many ways to tell.
    Budget(Limit),
}

/// What is left after the rounds so far.
#[derive(Clone)]
struct Pool {
    now: usize,
    /// How many of the unknown have been called.
    called: usize,
    /// The ends of those that are not used, soonest first.
    ends: Vec<usize>,
}

impl<'u> Pools<'u> {
    /// `unknown` in the order of the calls.
    pub(super) fn new(unknown: &'u [(usize, usize)], bounds: &'u Bounds<'u>) -> Self {
        let start = Pool {
            now: 0,
            called: 0,
            ends: Vec::new(),
        };
        Self {
            unknown,
            ways: vec![start],
            bounds,
        }
    }

    /// Takes this many that wait at the same instant of these, not before that of
    /// the round before; or says how many are missing.
    pub(super) fn take(
        &mut self,
        needed: usize,
        instants: RangeInclusive<usize>,
    ) -> Result<(), Lacks> {
        let mut kept: Vec<Pool> = Vec::new();
        let mut most = 0;
        for mut pool in std::mem::take(&mut self.ways) {
            let mut news = true;
            pool.advance(self.unknown, pool.now.max(*instants.start()));
            while pool.now <= *instants.end() {
                most = most.max(pool.ends.len());
                if news && pool.ends.len() >= needed {
                    let new = pool.without_first(needed);
                    add(&mut kept, new, self.unknown);
                    let bytes = kept.iter().map(Pool::bytes).sum();
                    self.bounds.step(bytes).map_err(Lacks::Budget)?;
                    if needed == 0 {
                        break;
                    }
                }
                // A later instant is of use only for somebody who is gone soon.
                let Some((call, end)) = self.unknown.get(pool.called).copied() else {
                    break;
                };
                news = end != usize::MAX || pool.ends.len() < needed;
                pool.advance(self.unknown, call + 1);
            }
        }
        self.ways = kept;
        if self.ways.is_empty() {
            return Err(Lacks::Waits(needed - most.min(needed)));
        }
        Ok(())
    }
}

/// Keeps a pool unless another one is as good.
fn add(kept: &mut Vec<Pool>, new: Pool, unknown: &[(usize, usize)]) {
    if kept.iter().any(|pool| pool.covers(&new, unknown)) {
        return;
    }
    kept.retain(|pool| !new.covers(pool, unknown));
    kept.push(new);
}

impl Pool {
    /// Lets time pass.
    fn advance(&mut self, unknown: &[(usize, usize)], now: usize) {
        self.now = now;
        while let Some((_, end)) = unknown.get(self.called).filter(|(call, _)| *call < now) {
            let place = self.ends.partition_point(|other| other <= end);
            self.ends.insert(place, *end);
            self.called += 1;
        }
        // The instant before the end is the last one.
        let gone = self.ends.partition_point(|end| *end < now);
        self.ends.drain(..gone);
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.ends.len() * size_of::<usize>()
    }

    fn without_first(&self, number: usize) -> Self {
        Self {
            ends: self.ends[number..].to_vec(),
            ..*self
        }
    }

    /// Whether whatever can be filled from `other` can be filled from this one.
    fn covers(&self, other: &Self, unknown: &[(usize, usize)]) -> bool {
        if self.now > other.now {
            return false;
        }
        let mut later = self.clone();
        later.advance(unknown, other.now);
        let pairs = later.ends.iter().rev().zip(other.ends.iter().rev());
        later.ends.len() >= other.ends.len() && pairs.into_iter().all(|(mine, its)| mine >= its)
    }
}

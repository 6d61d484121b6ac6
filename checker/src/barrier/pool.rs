//! Who can fill the places of a round that no answer names.

use std::ops::RangeInclusive;

use super::bounds::Bounds;
use crate::search::Limit;

/// Waits of which nobody knows whether they took effect, from call to end, each of which fills
/// one place; in every way that is worth keeping.
///
/// Instants are named by the event that follows them. An end of [`usize::MAX`] is none.
#[derive(Clone)]
pub(super) struct Pools<'u> {
    unknown: &'u [(usize, usize)],
    /// Behind so many all are without an end.
    ending: usize,
    /// None covers another.
    ways: Vec<Pool>,
    /// No more of them are kept.
    most: usize,
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
#[derive(Clone, Default)]
struct Pool {
    now: usize,
    /// How many of the unknown have been called.
    called: usize,
    /// The ends of those that are not used, soonest first.
    ends: Vec<usize>,
    /// How many without an end are not used.
    endless: usize,
}

impl<'u> Pools<'u> {
    /// `unknown` in the order of the calls.
    pub(super) fn new(unknown: &'u [(usize, usize)], bounds: &'u Bounds<'u>) -> Self {
        let is_ending = |(_, end): &(usize, usize)| *end != usize::MAX;
        Self {
            unknown,
            ending: unknown
                .iter()
                .rposition(is_ending)
                .map_or(0, |last| last + 1),
            ways: vec![Pool::default()],
            most: usize::MAX,
            bounds,
        }
    }

    /// The same where the first of the unknown are these as well, and others may come later.
    pub(super) fn with<'v>(
        &self,
        unknown: &'v [(usize, usize)],
        bounds: &'v Bounds<'v>,
    ) -> Pools<'v> {
        Pools {
            ways: self.ways.clone(),
            most: self.most,
            ..Pools::new(unknown, bounds)
        }
    }

    /// The same where only so many ways are kept, those that are found first. There may be others
    /// when none is left.
    pub(super) fn keeping(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// What is left when this many are taken that wait at the same instant of these, not before
    /// that of the round before; or how many are missing. So many bytes are held besides.
    pub(super) fn after(
        &self,
        needed: usize,
        instants: RangeInclusive<usize>,
        held: usize,
    ) -> Result<Self, Lacks> {
        let mut kept: Vec<Pool> = Vec::new();
        let mut most = 0;
        for pool in &self.ways {
            let mut pool = pool.clone();
            let mut news = true;
            let mut last = *instants.end();
            pool.advance(self.unknown, pool.now.max(*instants.start()));
            while pool.now <= last {
                most = most.max(pool.len());
                self.bounds.step(held).map_err(Lacks::Budget)?;
                if news && pool.len() >= needed {
                    // When these are gone, they had better been taken now.
                    last = last.min(pool.last_of_first(needed));
                    add(&mut kept, pool.without_first(needed), self.unknown);
                    let bytes: usize = kept.iter().map(Pool::bytes).sum();
                    self.bounds.step(held + bytes).map_err(Lacks::Budget)?;
                    let is_enough = kept.len() >= self.most;
                    if is_enough || needed == 0 || pool.called >= self.ending {
                        break;
                    }
                }
                // A later instant is of use only for somebody who is gone soon.
                let Some((call, end)) = self.unknown.get(pool.called).copied() else {
                    break;
                };
                // Nor if those are gone sooner who would be taken anyway.
                let soonest = pool.last_of_first(needed);
                news = pool.len() < needed || end != usize::MAX && end < soonest;
                pool.advance(self.unknown, call + 1);
            }
        }
        if kept.is_empty() {
            return Err(Lacks::Waits(needed - most.min(needed)));
        }
        Ok(Self {
            ways: kept,
            ..*self
        })
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        self.ways.iter().map(Pool::bytes).sum()
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
    fn len(&self) -> usize {
        self.ends.len() + self.endless
    }

    /// Lets time pass.
    fn advance(&mut self, unknown: &[(usize, usize)], now: usize) {
        self.now = now;
        while let Some((_, end)) = unknown.get(self.called).filter(|(call, _)| *call < now) {
            if *end == usize::MAX {
                self.endless += 1;
            } else {
                let place = self.ends.partition_point(|other| other <= end);
                self.ends.insert(place, *end);
            }
            self.called += 1;
        }
        // The instant before the end is the last one.
        let gone = self.ends.partition_point(|end| *end < now);
        self.ends.drain(..gone);
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.ends.len() * size_of::<usize>()
    }

    /// The end of the last of so many, those that are gone soonest.
    fn last_of_first(&self, number: usize) -> usize {
        let ends = &self.ends[..number.min(self.ends.len())];
        match ends.last() {
            Some(last) if ends.len() == number => *last,
            _ => usize::MAX,
        }
    }

    /// The same without so many, those that are gone soonest.
    fn without_first(&self, number: usize) -> Self {
        let ending = number.min(self.ends.len());
        Self {
            ends: self.ends[ending..].to_vec(),
            endless: self.endless - (number - ending),
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
        // Of those that are gone last, one for each of the other's.
        let latest = |pool: &Self| {
            let endless = std::iter::repeat_n(usize::MAX, pool.endless);
            endless.chain(pool.ends.clone().into_iter().rev())
        };
        let mut pairs = latest(&later).zip(latest(other));
        later.len() >= other.len() && pairs.all(|(mine, its)| mine >= its)
    }
}

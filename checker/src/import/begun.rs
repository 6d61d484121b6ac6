//! Transactions of which only the completions are written down.
//!
//! ```text
//! {:process 0, :type :ok, :value [[:append :x 1]]}      begun before all that is written
//! {:process 1, :type :ok, :value [[:append :x 2]]}      the same
//! {:process 0, :type :ok, :value [[:r :x [1 2]]]}       begun after line 1
//! ```
//!
//! Each may have begun as soon as its process had ended the one before. So nothing is said of real
//! time that is not known: a process does one thing after the other, and what began after an
//! answer comes after what that shows.
//!
//! As long as no invocation is met, nobody knows whether there will be one, so the events wait. Of
//! anything but transactions a completion without an invocation stays a contradiction.

use rustc_hash::FxHashMap;

use super::ImportError;
use super::collect::{Collector, EventPlace, Found};
use crate::history::{EventKind, Process};

/// Hands events on to a collector, with the invocations that a history lacks if it has none.
pub(super) struct Begun {
    /// The events, until an invocation is met.
    waiting: Option<Vec<(EventPlace, Found)>>,
}

impl Begun {
    pub(super) fn new() -> Self {
        Self {
            waiting: Some(Vec::new()),
        }
    }

    /// The next event.
    pub(super) fn push(
        &mut self,
        collector: &mut Collector<'_>,
        place: EventPlace,
        found: Found,
    ) -> Result<(), ImportError> {
        let Some(waiting) = &mut self.waiting else {
            return collector.push(place, found);
        };
        if found.kind != EventKind::Invoke {
            collector.waits(place.event.line, &found)?;
            waiting.push((place, found));
            return Ok(());
        }
        self.hand_on(collector)?;
        collector.push(place, found)
    }

    /// That was all.
    pub(super) fn finish(mut self, collector: &mut Collector<'_>) -> Result<(), ImportError> {
        let is_transaction = |found: &Found| found.value.as_str().starts_with("[[");
        let are_transactions = |waiting: &Vec<(EventPlace, Found)>| {
            let mut found = waiting.iter().map(|(_, found)| found);
            found.all(|found| found.process == Process::Nemesis || is_transaction(found))
        };
        let Some(waiting) = self.waiting.take_if(|waiting| are_transactions(waiting)) else {
            return self.hand_on(collector);
        };
        collector.waited();
        // The next operation of the same process, of each.
        let mut next: Vec<Option<usize>> = vec![None; waiting.len()];
        let mut last: FxHashMap<u64, usize> = FxHashMap::default();
        for (index, (place, found)) in waiting.iter().enumerate() {
            let Process::Number(process) = found.process else {
                continue;
            };
            match last.insert(process, index) {
                Some(before) => next[before] = Some(index),
                None => collector.push(*place, begins(found, None))?,
            }
        }
        let begun: Vec<_> = next
            .iter()
            .zip(&waiting)
            .map(|(next, (_, end))| {
                let (place, found) = &waiting[(*next)?];
                Some((*place, begins(found, end.time)))
            })
            .collect();
        for ((place, found), next) in waiting.into_iter().zip(begun) {
            collector.push(place, found)?;
            if let Some((place, next)) = next {
                collector.push(place, next)?;
            }
        }
        Ok(())
    }

    fn hand_on(&mut self, collector: &mut Collector<'_>) -> Result<(), ImportError> {
        collector.waited();
        let waiting = self.waiting.take().unwrap_or_default();
        waiting
            .into_iter()
            .try_for_each(|(place, found)| collector.push(place, found))
    }
}

/// The invocation of an operation that ended so.
fn begins(end: &Found, time: Option<u64>) -> Found {
    Found {
        process: end.process,
        client: end.client,
        kind: EventKind::Invoke,
        f: end.f.clone(),
        value: end.value.clone(),
        time,
        revision: None,
        error: None,
    }
}

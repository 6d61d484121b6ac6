//! Real time: what had certainly happened, and what had certainly not.

use super::log::{Call, Log, Reply};

/// Bounds of the store's revision at each event.
pub(super) struct Order {
    /// The largest revision that an answer before this event gave away, and which
    /// answer that was.
    revealed: Vec<(i64, Option<usize>)>,
    /// The store's revision before this event cannot have been larger, for something
    /// that began after it took the next one, or saw this one.
    limits: Vec<(i64, Option<usize>)>,
    times: Vec<u64>,
}

impl Order {
    pub(super) fn of(log: &Log<'_>) -> Self {
        let events = log.times.len();
        // An empty store has revision 1.
        let mut revealed = vec![(1, None); events + 1];
        let mut limits = vec![(i64::MAX, None); events + 1];
        for (index, entry) in log.entries.iter().enumerate() {
            let operation = &entry.operation;
            if let Some(slot) = revealed.get_mut(operation.returned().saturating_add(1)) {
                // What a watch hears says when something was known, not when it happened.
                let revision = match &entry.call {
                    Call::Notice(_) | Call::Watch(..) => 0,
                    Call::Compact(compact, Reply::Done(())) => entry.header().max(compact.revision),
                    _ => entry.header(),
                };
                if revision > 1 {
                    *slot = (revision, Some(index));
                }
            }
            if entry.wrote() {
                limits[operation.invoked] = (entry.header() - 1, Some(index));
            } else if entry.is_linearizable() {
                limits[operation.invoked] = (entry.header(), Some(index));
            }
        }
        for place in 1..=events {
            if revealed[place].0 < revealed[place - 1].0 {
                revealed[place] = revealed[place - 1];
            }
        }
        for place in (0..events).rev() {
            if limits[place].0 > limits[place + 1].0 {
                limits[place] = limits[place + 1];
            }
        }
        let times = log.times.clone();
        Order {
            revealed,
            limits,
            times,
        }
    }

    /// The largest revision that was known to exist before this event, and by whom.
    pub(super) fn known_before(&self, event: usize) -> (i64, Option<usize>) {
        self.revealed[event.min(self.revealed.len() - 1)]
    }

    /// The same before this time, in nanoseconds.
    pub(super) fn known_before_time(&self, time: u64) -> (i64, Option<usize>) {
        let event = self.times.partition_point(|at| *at < time);
        self.known_before(event)
    }

    /// The largest revision that the store can have had at this event, and by whom.
    pub(super) fn possible_at(&self, event: usize) -> (i64, Option<usize>) {
        self.limits[event.min(self.limits.len() - 1)]
    }
}

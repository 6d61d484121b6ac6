//! Liveness: what must have finished and did not.
//!
//! A history cannot show that something never happens, only that it had not
//! happened by the time that the one who ran it calls enough. That is the
//! nemesis's mark [`LIVENESS_DEADLINE`](crate::history::LIVENESS_DEADLINE): whatever was invoked before it and is
//! still open at the end broke the promise, unless its model lets it wait.

use std::borrow::Borrow;

use serde::Deserialize;

use crate::history::{History, Operation, Outcome};
use crate::verdict::{Kind, Seconds};

/// An operation that has not finished although it had the time to.
pub(crate) const STUCK: Kind = Kind {
    name: "stuck",
    meaning: "an operation did not finish in the time that was allowed",
};

/// The last mark of a history.
pub(crate) struct Deadline {
    /// Index of the event.
    pub(crate) index: usize,
    /// When, in nanoseconds.
    time: u64,
    /// The time that was allowed since the last fault healed, in nanoseconds.
    bound_ns: Option<u64>,
}

impl Deadline {
    pub(crate) fn of(history: &History) -> Option<Self> {
        let index = history.deadline()?;
        let event = &history.events()[index];
        let bound_ns = event
            .value()
            .parse::<MarkValue>()
            .ok()
            .and_then(|value| value.bound_ns);
        Some(Self {
            index,
            time: event.time(),
            bound_ns,
        })
    }

    /// The operations that had to finish by now and are still open.
    pub(crate) fn overdue<'h, O: Borrow<Operation<'h>>>(
        &self,
        operations: impl IntoIterator<Item = O>,
    ) -> Vec<O> {
        let is_overdue = |operation: &O| {
            let operation = operation.borrow();
            operation.outcome() == Outcome::Open && operation.invoked < self.index
        };
        operations.into_iter().filter(is_overdue).collect()
    }

    /// `dequeue by process 4, invoked at 1.203000 s, had not finished ...`
    pub(crate) fn sentence(&self, operation: &Operation<'_>) -> String {
        let invoked = Seconds(operation.invoke.time());
        let (f, process) = (operation.invoke.f(), operation.process());
        let deadline = match self.bound_ns {
            Some(bound) => format!("{} after the last fault healed", Seconds(bound)),
            None => format!(
                "at {}, when everything had to be finished",
                Seconds(self.time)
            ),
        };
        format!("{f} by process {process}, invoked at {invoked}, had not finished {deadline}")
    }
}

#[derive(Deserialize)]
struct MarkValue {
    bound_ns: Option<u64>,
}

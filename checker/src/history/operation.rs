//! Operations: an invocation and its completion.

use super::name::Known;
use super::{Event, EventKind, History, PerProcess, Process};

/// One operation of a history.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'h> {
    /// The event that began it.
    pub invoke: &'h Event,
    /// The event that ended it; none when it was open at the end.
    pub completion: Option<&'h Event>,
    /// Index of `invoke` among the history's events.
    pub invoked: usize,
    /// Index of the completion, or [`usize::MAX`] when it is still open.
    pub completed: usize,
    /// What the completion says; looked at far more often than the rest of it.
    outcome: Outcome,
    /// What the invocation is called, if many are called so; likewise.
    name: Option<Known>,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It happened between its events.
    Ok,
    /// It did not happen.
    Fail,
    /// Its client does not know.
    Info,
    /// Its client was still waiting when the history ended.
    Open,
}

impl<'h> Operation<'h> {
    /// How the operation ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// The process. Operations are never the nemesis's.
    pub fn process(&self) -> u64 {
        match self.invoke.process() {
            Process::Number(number) => number,
            Process::Nemesis => unreachable!("the nemesis has no operations"),
        }
    }

    /// What the operation is called.
    pub(crate) fn f(&self) -> &'h str {
        match self.name {
            Some(known) => known.as_str(),
            None => self.invoke.f(),
        }
    }

    /// Whether both are called the same.
    pub(crate) fn has_name_of(&self, other: &Self) -> bool {
        self.name == other.name && (self.name.is_some() || self.f() == other.f())
    }

    /// The completion when the operation is known to have happened.
    pub fn ok(&self) -> Option<&'h Event> {
        self.completion.filter(|_| self.outcome == Outcome::Ok)
    }

    /// The index of the event by which the operation had certainly taken effect,
    /// or [`usize::MAX`] when no event tells.
    pub(crate) fn returned(&self) -> usize {
        if self.outcome() == Outcome::Ok {
            self.completed
        } else {
            usize::MAX
        }
    }
}

impl History {
    /// The operations in the order of their invocations.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let mut operations = Vec::with_capacity(self.events.len() / 2 + 1);
        let mut open: PerProcess<Option<usize>> = PerProcess::default();
        for (index, event) in self.events.iter().enumerate() {
            let Process::Number(process) = event.process() else {
                continue;
            };
            if event.kind() == EventKind::Invoke {
                *open.of(process) = Some(operations.len());
                operations.push(Operation {
                    invoke: event,
                    completion: None,
                    invoked: index,
                    completed: usize::MAX,
                    outcome: Outcome::Open,
                    name: event.known_name(),
                });
            } else if let Some(operation) = open.of(process).take() {
                let operation: &mut Operation<'_> = &mut operations[operation];
                operation.completion = Some(event);
                operation.completed = index;
                operation.outcome = match event.kind() {
                    EventKind::Ok => Outcome::Ok,
                    EventKind::Fail => Outcome::Fail,
                    EventKind::Info | EventKind::Invoke => Outcome::Info,
                };
            }
        }
        operations
    }
}

//! The operations on a barrier.

use super::super::value::Holder;
use crate::history::{HistoryError, Operation, Outcome};
use crate::keyed::unknown_operation;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Hold,
    Release,
    Wait,
}

/// An operation that happened, or may have, or has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) action: Action,
    /// None when nobody knows.
    pub(super) answer: Option<bool>,
    /// It did nothing.
    pub(super) has_failed: bool,
    pub(super) lease: Option<u64>,
    pub(super) invoked: usize,
    pub(super) completed: usize,
    pub(super) operation: usize,
}

impl Step {
    pub(super) fn all(operations: &[Operation<'_>]) -> Result<Vec<Self>, HistoryError> {
        let mut steps = Vec::with_capacity(operations.len());
        for (index, operation) in operations.iter().enumerate() {
            let action = match operation.invoke.f() {
                "hold" => Action::Hold,
                "release" => Action::Release,
                "wait" => Action::Wait,
                _ => {
                    let known = "hold, release and wait";
                    return Err(unknown_operation(operation.invoke, "barrier", known));
                }
            };
            let holder = Holder::of(operation.invoke)?;
            let answer =
                match operation.ok() {
                    Some(_) if action == Action::Wait => Some(true),
                    Some(completion) => Some(completion.value().parse().map_err(|error| {
                        HistoryError::value(completion, "true or false", &error)
                    })?),
                    None => None,
                };
            steps.push(Self {
                action,
                answer,
                has_failed: operation.outcome() == Outcome::Fail,
                lease: holder.lease,
                invoked: operation.invoked,
                completed: operation.completed,
                operation: index,
            });
        }
        Ok(steps)
    }

    /// Whether it is known when it was over.
    pub(super) fn is_over(&self) -> bool {
        self.answer.is_some() || self.has_failed
    }

    /// What the barrier must be for an answer that changes nothing.
    pub(super) fn asks_for(&self) -> Option<bool> {
        match (self.action, self.answer) {
            (Action::Wait, Some(_)) | (Action::Release, Some(false)) => Some(false),
            (Action::Hold, Some(false)) => Some(true),
            _ => None,
        }
    }
}

//! The operations on a barrier.

use super::super::value::Holder;
use crate::history::{HistoryError, Operation, Outcome};
use crate::keyed::{true_or_false, unknown_operation};
use crate::mutex::turns::{Does, Turn, Who};

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
        let steps = operations.iter().enumerate();
        let steps = steps.map(|(index, operation)| Self::of(index, operation));
        steps.collect()
    }

    fn of(index: usize, operation: &Operation<'_>) -> Result<Self, HistoryError> {
        let action = match operation.f() {
            "hold" => Action::Hold,
            "release" => Action::Release,
            "wait" => Action::Wait,
            _ => {
                let known = "hold, release and wait";
                return Err(unknown_operation(operation.invoke, "barrier", known));
            }
        };
        let holder = Holder::of(operation.invoke)?;
        let answer = match operation.ok() {
            Some(_) if action == Action::Wait => Some(true),
            Some(completion) => Some(true_or_false(completion.value().as_str(), completion)?),
            None => None,
        };
        Ok(Self {
            action,
            answer,
            has_failed: operation.outcome() == Outcome::Fail,
            lease: holder.lease,
            invoked: operation.invoked,
            completed: operation.completed,
            operation: index,
        })
    }

    /// What an operation does to a barrier that does not fall by itself; none if it may.
    pub(super) fn turn(operation: &Operation<'_>) -> Result<Option<Turn>, HistoryError> {
        let step = Self::of(0, operation)?;
        let does = match (step.action, step.answer) {
            (Action::Hold, None | Some(true)) => Does::Enters,
            (Action::Hold, Some(false)) => Does::IsRefused,
            (Action::Release, None | Some(true)) => Does::Leaves,
            (Action::Release, Some(false)) | (Action::Wait, _) => Does::FindsEmpty,
        };
        let who = Who {
            owner: 0,
            places: 1,
        };
        let room = 0;
        let may_fall = step.action == Action::Hold && step.lease.is_some();
        Ok((!may_fall).then_some(Turn { room, who, does }))
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

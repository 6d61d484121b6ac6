//! In which order a barrier was raised, taken down and passed.
//!
//! A [search](crate::search) finds it. That a hold falls with its lease is a call of its own,
//! of which nobody knows whether it happened: not before the last event that says that the
//! lease can be relied on.

use std::collections::BTreeMap;

use super::configuration::State;
use super::step::{Action, Step};
use crate::history::{History, HistoryError};
use crate::linearization::Linearization;
use crate::search::{Budget, Call, Found, Sequential, search};

/// The order, if there is one.
pub(crate) fn linearization(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    let operations = history.operations();
    let (calls, operation_of) = calls(&Step::all(&operations)?);
    Ok(match search(&Barrier, &calls, budget) {
        Found::Linearizable(order) => {
            let order = order.into_iter().filter_map(|call| operation_of[call]);
            Linearization::Order(order.collect())
        }
        Found::NotLinearizable(_) | Found::Unknown(_) => Linearization::found(None),
    })
}

/// The calls, and the operation of each; those without one are falls.
fn calls(steps: &[Step]) -> (Vec<Call<Asked, bool>>, Vec<Option<usize>>) {
    let mut relied_on_until = BTreeMap::new();
    for step in steps.iter().filter(|step| step.action == Action::Release) {
        relied_on_until.extend(step.lease.map(|lease| (lease, step.invoked)));
    }
    let (mut calls, mut operation_of) = (Vec::new(), Vec::new());
    for step in steps.iter().filter(|step| !step.has_failed) {
        let asked = match step.action {
            Action::Hold => Asked::Hold(step.lease),
            Action::Release => Asked::Release,
            Action::Wait if step.answer.is_none() => continue,
            Action::Wait => Asked::Wait,
        };
        calls.push(Call {
            input: asked,
            output: step.answer,
            invoked: step.invoked as u64,
            returned: step.answer.map(|_| step.completed as u64),
        });
        operation_of.push(Some(step.operation));
        if let (Asked::Hold(Some(lease)), None | Some(true)) = (asked, step.answer) {
            let relied_on = relied_on_until.get(&lease).copied().unwrap_or(0);
            let from = step.invoked.max(relied_on);
            calls.push(Call::pending(Asked::Fall(lease), from as u64));
            operation_of.push(None);
        }
    }
    (calls, operation_of)
}

struct Barrier;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Asked {
    Hold(Option<u64>),
    Release,
    Wait,
    /// The barrier falls with this lease.
    Fall(u64),
}

impl Sequential for Barrier {
    type State = State;
    type Input = Asked;
    type Output = bool;
    type Part = ();

    fn part(&self, _: &Asked) {}

    fn initial(&self, (): &()) -> State {
        State::Down
    }

    fn step(
        &self,
        state: &State,
        asked: &Asked,
        answer: Option<&bool>,
    ) -> impl IntoIterator<Item = State> {
        let is_up = state.is_up();
        // What changes nothing and was not answered need not have happened.
        match (asked, answer) {
            (Asked::Hold(lease), None | Some(true)) => (!is_up).then_some(State::Up(*lease)),
            (Asked::Hold(_), Some(false)) => is_up.then_some(*state),
            (Asked::Release, None | Some(true)) => is_up.then_some(State::Down),
            (Asked::Release, Some(false)) | (Asked::Wait, _) => (!is_up).then_some(*state),
            (Asked::Fall(lease), _) => (*state == State::Up(Some(*lease))).then_some(State::Down),
        }
    }

    fn only_reads(&self, asked: &Asked, answer: Option<&bool>) -> bool {
        *asked == Asked::Wait || answer == Some(&false)
    }
}

//! Barriers, one operation after the other.

use std::collections::BTreeMap;

use etcd_checker::History;
use etcd_checker::history::{Operation, Outcome};
use serde_json::json;

use super::super::linearization::in_order_with;
use super::{asked_and_told, value};

/// Raises a barrier, takes it down and passes it. Returns how many operations of unknown
/// outcome were among them, and how often it fell with a lease.
///
/// # Panics
/// When that is not what the history says.
pub fn replay(history: &History, order: &[usize]) -> (usize, usize) {
    let mut relied_on_until = BTreeMap::new();
    for operation in history.operations() {
        let is_told = operation.invoke.f() == "release";
        if let (true, Some(lease)) = (is_told, lease(&operation)) {
            relied_on_until.insert(lease, operation.invoked);
        }
    }
    let order = in_order_with(history, order, |_| true);
    let (mut stands, mut silent, mut fallen) = (None, 0, 0);
    for (at, operation) in order.iter().enumerate() {
        silent += usize::from(operation.outcome() != Outcome::Ok);
        let (_, told) = asked_and_told(operation);
        let is_refused = told == json!(false);
        let needs_it =
            (operation.invoke.f() == "hold") == is_refused && operation.invoke.f() != "wait";
        if needs_it != stands.is_some() {
            // Only a lease can explain that, and not before it could no longer be relied on.
            let lease: Option<u64> = stands.flatten();
            let until = lease.and_then(|lease| relied_on_until.get(&lease).copied());
            let may_fall = |operation: &Operation<'_>| {
                operation.outcome() != Outcome::Ok || Some(operation.completed) > until
            };
            let is_fallen = lease.is_some() && order[at..].iter().all(may_fall);
            assert!(is_fallen, "{operation:?} finds it: {stands:?}");
            (stands, fallen) = (None, fallen + 1);
        }
        match operation.invoke.f() {
            "hold" if !is_refused => stands = Some(lease(operation)),
            "release" if !is_refused => stands = None,
            _ => {}
        }
    }
    (silent, fallen)
}

fn lease(operation: &Operation<'_>) -> Option<u64> {
    value(operation.invoke)["lease"].as_u64()
}

/// Lets rounds of a cyclic barrier pass, one after the other, in the order of their places.
///
/// # Panics
/// When that is not what the history says.
pub fn replay_cyclic(history: &History, order: &[usize]) {
    let mut last = (0, 0);
    let mut closed = Vec::new();
    let mut of_round: Vec<Operation<'_>> = Vec::new();
    for operation in in_order_with(history, order, |_| true) {
        let (asked, told) = asked_and_told(&operation);
        if operation.invoke.f() == "close" {
            closed.push(asked["lease"].clone());
            continue;
        }
        assert!(!closed.contains(&asked["lease"]), "{operation:?}");
        let place = (
            told["round"].as_u64().unwrap(),
            told["index"].as_u64().unwrap() + 1,
        );
        assert!(last < place, "{operation:?} after {last:?}");
        if place.0 != last.0 {
            of_round.clear();
        }
        last = place;
        // All of a round wait at one instant.
        of_round.push(operation);
        let begun = of_round.iter().map(|wait| wait.invoked).max();
        let over = of_round.iter().map(|wait| wait.completed).min();
        assert!(begun < over, "{operation:?}");
    }
}

/// Lets participants enter and leave a double barrier, round after round. Returns how many places
/// enters of unknown outcome must have filled.
///
/// # Panics
/// When that is not what the history says.
pub fn replay_double(history: &History, order: &[usize]) -> usize {
    let parameters = history.header().parameters.parse::<serde_json::Value>();
    let all = history.operations();
    let is_silent = |operation: &&Operation<'_>| {
        let may_have = matches!(operation.outcome(), Outcome::Info | Outcome::Open);
        may_have && operation.invoke.f() == "enter"
    };
    let double = Double {
        places: parameters.unwrap()["count"].as_u64().unwrap() as usize,
        order: in_order_with(history, order, |_| true),
        silent: (all.iter().filter(is_silent))
            .map(|enter| enter.invoked)
            .collect(),
        all,
    };
    let filled = double.rest(0, &[], 0, 0);
    filled.unwrap_or_else(|| panic!("no rounds are in this order: {:#?}", double.order))
}

struct Double<'h> {
    places: usize,
    all: Vec<Operation<'h>>,
    order: Vec<Operation<'h>>,
    /// When enters of unknown outcome were called.
    silent: Vec<usize>,
}

impl<'h> Double<'h> {
    /// How many places enters of unknown outcome fill, `filled` of them before `at`; none if the
    /// order cannot go on like this after a round of these and an instant behind event `now`.
    fn rest(&self, at: usize, round: &[Operation<'h>], filled: usize, now: usize) -> Option<usize> {
        let Some(operation) = self.order.get(at) else {
            return Some(filled);
        };
        let inside = || round.iter().filter_map(|enter| self.alive_leave(enter));
        let over = inside().map(|leave| leave.invoked).max();
        if operation.invoke.f() == "leave" {
            let of_round = |enter: &Operation<'h>| {
                let leave = self.leave(enter);
                leave.is_some_and(|leave| leave.invoked == operation.invoked)
            };
            let waits_until = over.filter(|_| round.iter().any(of_round)).unwrap_or(0);
            let now = now.max(operation.invoked).max(waits_until);
            return (now < operation.completed).then(|| self.rest(at + 1, round, filled, now))?;
        }
        let is_gone = |leave: Operation<'h>| {
            let before = self.order[..at].iter();
            leave.outcome() != Outcome::Ok
                || before
                    .map(|one| one.invoked)
                    .any(|one| one == leave.invoked)
        };
        if !inside().all(is_gone) {
            return None;
        }
        let enters = self.order[at..].iter();
        let enters = enters.take_while(|next| next.invoke.f() == "enter").count();
        (1..=enters.min(self.places)).rev().find_map(|size| {
            let members = &self.order[at..at + size];
            let called = members.iter().map(|enter| enter.invoked).max();
            let begins = members.iter().map(|enter| enter.completed).min()?;
            let filled = filled + self.places - size;
            let come = self.silent.iter().filter(|called| **called < begins);
            let now = called.max(over)?.max(now);
            let is_round = now < begins && filled <= come.count();
            is_round.then(|| self.rest(at + size, members, filled, now))?
        })
    }

    /// The leave that followed an enter, if its participant did not call anything else before.
    fn leave(&self, enter: &Operation<'h>) -> Option<Operation<'h>> {
        let of_same = self.all.iter().filter(|other| lease(other) == lease(enter));
        let called = of_same.filter(|other| other.invoked > enter.invoked);
        let next = called.min_by_key(|other| other.invoked)?;
        let follows = next.invoke.f() == "leave" && next.invoked > enter.completed;
        follows.then_some(*next)
    }

    /// The same, if it says that the lease could be relied on.
    fn alive_leave(&self, enter: &Operation<'h>) -> Option<Operation<'h>> {
        let leave = self.leave(enter);
        leave.filter(|leave| value(leave.invoke)["alive"] == json!(true))
    }
}

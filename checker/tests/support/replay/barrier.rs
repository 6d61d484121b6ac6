//! Barriers, one operation after the other.

use std::collections::BTreeMap;

use etcd_checker::History;
use etcd_checker::history::{Operation, Outcome};
use serde_json::json;

use super::super::support::linearization::in_order_with;
use super::{asked_and_told, value};

/// Raises a barrier, takes it down and passes it. Returns how many operations of unknown
/// outcome were among them, and how often it fell with a lease.
///
/// # Panics
/// When that is not what the history says.
pub fn replay(history: &History, order: &[usize]) -> (usize, usize) {
    let mut relied_on_until = BTreeMap::new();
    for operation in history.operations() {
        let is_told = operation.invoke.f() == "release" && operation.outcome() != Outcome::Fail;
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

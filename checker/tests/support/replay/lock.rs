//! Locks with tokens, one operation after the other.

use std::collections::BTreeMap;

use etcd_checker::History;
use etcd_checker::history::{Operation, Outcome};
use serde_json::{Value, json};

use super::super::linearization::in_order_with;
use super::{asked_and_told, value};

/// What is known about the end of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Lease,
    Request,
    Alive,
}

#[derive(Default)]
struct Lock {
    /// Who is inside: token, and whether alone.
    inside: Vec<(i64, bool)>,
    /// The largest token that was granted.
    granted: i64,
}

/// Whether the operation changed something, if it is known to have happened.
fn took_effect(operation: &Operation<'_>) -> bool {
    let (_, told) = asked_and_told(operation);
    match operation.invoke.f() {
        "lock" | "try-lock" => !told.is_null(),
        "write" => told != json!(false),
        _ => true,
    }
}

fn ends(history: &History) -> BTreeMap<i64, End> {
    let keys = history.events().iter().filter(|event| event.f() == "key");
    let end = |key: Value| {
        let end = match (key["deleted"].is_null(), key["with_lease"] == json!(true)) {
            (true, _) => End::Alive,
            (false, true) => End::Lease,
            (false, false) => End::Request,
        };
        (key["token"].as_i64().unwrap(), end)
    };
    keys.map(|event| end(value(event))).collect()
}

/// Does the operations one after the other. Returns how many unlocks of unknown outcome were
/// among them, and how many holders had to go with their leases.
///
/// # Panics
/// When that is not what the history says.
pub fn replay(history: &History, order: &[usize]) -> (usize, usize) {
    let ends = ends(history);
    let is_mutex = history.header().model == "mutex";
    let mut locks: BTreeMap<String, Lock> = BTreeMap::new();
    let mut exclusive: BTreeMap<i64, bool> = BTreeMap::new();
    let (mut silent, mut expired) = (0, 0);
    for operation in in_order_with(history, order, took_effect) {
        let (asked, told) = asked_and_told(&operation);
        let lock = locks
            .entry(asked["lock"].as_str().unwrap().to_owned())
            .or_default();
        match operation.invoke.f() {
            "lock" | "try-lock" => {
                let token = told.as_i64().unwrap();
                let alone = is_mutex || asked["mode"] != "read";
                exclusive.insert(token, alone);
                let is_again = lock.inside.contains(&(token, alone));
                assert!(lock.granted < token || is_again, "{operation:?}");
                lock.granted = token;
                let before = lock.inside.len();
                lock.inside.retain(|(other, is_alone)| {
                    let is_in_the_way = *other != token && (alone || *is_alone);
                    let end = ends.get(other).copied();
                    let may_go = end.is_none_or(|end| end == End::Lease);
                    assert!(!is_in_the_way || may_go, "{operation:?} beside {other}");
                    !is_in_the_way
                });
                expired += before - lock.inside.len();
                if !is_again {
                    lock.inside.push((token, alone));
                }
            }
            "write" => {
                let token = asked["token"].as_i64().unwrap();
                let is_inside = lock.inside.contains(&(token, true));
                let is_guarded = asked["guarded"] == json!(true);
                let is_last = lock.granted == token && exclusive[&token];
                assert!(is_inside || !is_guarded && is_last, "{operation:?}");
            }
            _ => {
                let token = asked["token"].as_i64().unwrap();
                let before = lock.inside.len();
                lock.inside.retain(|(other, _)| *other != token);
                if operation.outcome() != Outcome::Ok {
                    silent += 1;
                    assert!(lock.inside.len() < before, "{operation:?} does nothing");
                }
            }
        }
    }
    for lock in locks.values() {
        for (token, _) in &lock.inside {
            assert_ne!(ends.get(token), Some(&End::Request), "{token} is not freed");
        }
    }
    (silent, expired)
}

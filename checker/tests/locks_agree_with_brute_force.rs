//! The lock checker gives the verdict of a replay of all revisions, one by one, on many
//! small random histories, valid ones and spoilt ones.

#[path = "support/lock_twin.rs"]
mod lock_twin;
mod support;
#[path = "support/locks.rs"]
mod support_locks;

use std::collections::BTreeMap;

use etcd_checker::history::{Event, EventKind, Json, Process};
use etcd_checker::{History, Model, Verdict, check};
use lock_twin::{replay, value};
use serde_json::{Value, json};
use support::Random;
use support_locks::{Service, locks};

const HISTORIES: usize = 120_000;

/// Changes what somebody saw, or what etcd says.
fn spoil(random: &mut Random, events: &mut [Event]) {
    for _ in 0..1 + random.below(4) {
        let index = random.below(events.len());
        let other = random.below(events.len());
        let shift = random.below(7) as i64 - 3;
        let (f, kind) = (events[index].f().to_owned(), events[index].kind());
        match (f.as_str(), kind) {
            ("lock", EventKind::Ok) if random.one_in(3) => {
                renumber(events, index, 1 + random.below(6) as i64);
            }
            ("lock", EventKind::Ok) if random.one_in(4) => {
                events[index].set_revision(None);
            }
            ("lock", EventKind::Ok) if random.one_in(2) => {
                let revision = events[index].revision().unwrap_or(0);
                events[index].set_revision(Some((revision + shift).max(0)));
            }
            ("lock", EventKind::Ok)
                if events[other].f() == "lock" && events[other].kind() == EventKind::Ok =>
            {
                let other = events[other].clone();
                events[index].set_value(other.value().clone());
                events[index].set_revision(other.revision());
            }
            ("key", _) => {
                let mut key = value(&events[index]);
                match random.below(4) {
                    3 => {
                        if let Some(deleted) = key["deleted"].as_i64() {
                            key["deleted_after"] = json!(deleted - 1 - shift.abs());
                        }
                    }
                    0 => key["deleted"] = Value::Null,
                    1 => key["with_lease"] = json!(!key["with_lease"].as_bool().unwrap()),
                    _ => {
                        if let Some(deleted) = key["deleted"].as_i64() {
                            let token = key["token"].as_i64().unwrap();
                            key["deleted"] = json!((deleted + shift).max(token));
                        }
                    }
                }
                events[index].set_value(Json::new(&key).unwrap());
            }
            ("unlock" | "write", EventKind::Ok) => {
                let revision = events[index].revision().unwrap_or(0);
                events[index].set_revision(Some((revision + shift).max(0)));
            }
            ("write", EventKind::Invoke) => {
                let mut write = value(&events[index]);
                write["guarded"] = json!(!write["guarded"].as_bool().unwrap());
                events[index].set_value(Json::new(&write).unwrap());
            }
            _ => {}
        }
    }
}

/// Makes a holding one with a smaller token, whose lease ended at once.
fn renumber(events: &mut [Event], lock: usize, by: i64) {
    let before = value(&events[lock]);
    let token = before.as_i64().unwrap_or(1);
    let after = (token - by).max(1);
    for event in events.iter_mut() {
        let mut held = value(event);
        if held["token"] == before {
            held["token"] = json!(after);
            if event.f() == "key" {
                (held["deleted"], held["with_lease"]) = (json!(after + 1), json!(true));
            }
            event.set_value(Json::new(&held).unwrap());
        }
    }
    events[lock].set_value(Json::new(&after).unwrap());
    events[lock].set_revision(Some(after));
}

#[test]
fn the_verdict_is_that_of_a_replay_of_all_revisions() {
    let mut random = Random(11);
    let (mut valid, mut excused, mut unknown) = (0, 0, 0);
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..HISTORIES {
        let service = Service::draw(&mut random);
        let (header, mut events) = locks(&mut random, service).into_parts();
        let is_spoilt = number % 3 != 0;
        if is_spoilt {
            spoil(&mut random, &mut events);
        }
        let history = History::new(header, events).unwrap();
        let model = Model::of(&history).unwrap();
        // Some changes make it no history of a lock.
        let Ok(verdict) = check(&history, model) else {
            continue;
        };
        let (kinds, overlaps) = replay(&history);
        if !is_spoilt && service.unguarded == 0 {
            assert!(kinds.is_empty(), "the twin refuses a real run: {kinds:?}");
        }
        match verdict {
            Verdict::Valid(summary) => {
                assert!(kinds.is_empty(), "history {number}: {kinds:?}");
                assert_eq!(overlaps, !summary.notes.is_empty(), "history {number}");
                valid += 1;
                excused += usize::from(overlaps);
            }
            Verdict::Violation(violation) => {
                let name = violation.kind.name;
                assert!(
                    kinds.contains(name),
                    "history {number}: {violation}\nbut {kinds:?}"
                );
                assert!(violation.witness.len() <= 4, "{violation}");
                *found.entry(name).or_default() += 1;
            }
            // A grant that was moved to where nobody watched the keys any more.
            Verdict::Unknown { .. } if is_spoilt && overlaps => {
                assert!(kinds.is_empty(), "history {number}: {kinds:?}");
                unknown += 1;
            }
            other => panic!("history {number}: {other}"),
        }
    }
    assert!(unknown < 500, "{unknown}");
    println!("{valid} valid, {excused} of them with overlaps, {found:?}");
    assert!(valid > HISTORIES / 4, "{valid} are valid");
    assert!(excused > 1_000, "{excused} overlaps");
    for kind in [
        "same-token",
        "granted-without-key",
        "both-alive",
        "overtaken",
        "key-deleted",
        "fence-broken",
        "unlock-left-key",
        "token-order",
        "stale-write",
    ] {
        assert!(
            found.get(kind).is_some_and(|n| *n > 20),
            "{kind}: {found:?}"
        );
    }
}

#[test]
fn without_the_ends_of_the_keys_an_overlap_is_unknown() {
    let mut random = Random(3);
    let (mut unknown, mut valid) = (0, 0);
    for _ in 0..2_000 {
        let service = Service {
            unguarded: 0,
            expiries: 5,
            ..Service::draw(&mut random)
        };
        let (header, mut events) = locks(&mut random, service).into_parts();
        events.retain(|event| event.process() != Process::Nemesis);
        let history = History::new(header, events).unwrap();
        let (_, overlaps) = replay(&history);
        let verdict = check(&history, Model::of(&history).unwrap()).unwrap();
        match verdict {
            Verdict::Unknown { reason } => {
                assert!(overlaps && reason.contains("when its key was deleted"));
                unknown += 1;
            }
            Verdict::Valid(_) => {
                assert!(!overlaps);
                valid += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(unknown > 100 && valid > 100, "{unknown}, {valid}");
}

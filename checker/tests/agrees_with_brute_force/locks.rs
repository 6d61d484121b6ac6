//! The lock checker gives the verdict of a replay of all revisions, one by one, on many
//! small random histories, valid ones and spoilt ones.

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::{Event, EventKind, Json, Operation, Process};
use etcd_checker::{History, Model, Verdict, Violation, check};
use serde_json::{Value, json};

use crate::support::Random;
use crate::support::lock_twin::{replay, value};
use crate::support::locks::{Service, locks};

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
                assert_minimal(&history, &violation);
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

/// What etcd says of the keys and the operations of the witness prove it, and without any one of
/// these they do not prove it. A lock whose token another one of them names cannot be left out.
fn assert_minimal(history: &History, violation: &Violation) {
    let listed: BTreeSet<usize> = (violation.witness.iter())
        .map(|operation| operation.invoked.line)
        .collect();
    let is_proved_by = |lines: &BTreeSet<usize>| {
        let (kinds, _) = replay(&only(history, &with_grants(history, lines)));
        kinds.iter().any(|kind| is_same(kind, violation.kind.name))
    };
    assert!(is_proved_by(&listed), "it is no proof: {violation}");
    for line in &listed {
        let mut rest = listed.clone();
        rest.remove(line);
        let is_needed = with_grants(history, &rest).contains(line) || !is_proved_by(&rest);
        assert!(is_needed, "line {line} can be left out: {violation}");
    }
}

/// Whether these break the same promise. Whether both were inside when one was let in too early
/// depends on the unlocks, the promise does not.
fn is_same(one: &str, other: &str) -> bool {
    const TOO_EARLY: [&str; 2] = ["both-alive", "overtaken"];
    one == other || TOO_EARLY.contains(&one) && TOO_EARLY.contains(&other)
}

/// The history of the operations that began on these lines, and of what etcd says. Unlocks
/// that are left out may have happened at any time, but a process unlocks one after the other.
fn only(history: &History, lines: &BTreeSet<usize>) -> History {
    // Each by a process of its own.
    const OTHERS: u64 = 1_000_000;
    let operations = history.operations();
    let mut places = BTreeSet::new();
    let mut unlocks = BTreeMap::new();
    let mut unlocked = BTreeSet::new();
    for operation in &operations {
        let is_listed = lines.contains(&operation.invoke.line());
        if is_listed {
            places.extend([operation.invoked, operation.completed]);
        }
        if operation.invoke.f() != "unlock" {
            continue;
        }
        let grant = grant_of(&operations, operation).expect("it names a token");
        let by = (grant.completed, operation.invoke.process());
        if is_listed {
            unlocked.insert(by);
        } else if !unlocked.contains(&by) {
            unlocks.insert(grant.completed, operation.invoke.value().clone());
        }
    }
    unlocks.retain(|grant, _| places.contains(grant));
    let (header, events) = history.clone().into_parts();
    let mut left = Vec::new();
    for (index, event) in events.into_iter().enumerate() {
        if event.process() != Process::Nemesis && !places.contains(&index) {
            continue;
        }
        let time = event.time();
        left.push(event);
        if let Some(value) = unlocks.remove(&index) {
            let unlock = Event::new(
                time,
                Process::Number(OTHERS + index as u64),
                EventKind::Invoke,
                "unlock",
            );
            left.push(unlock.with_value(value));
        }
    }
    History::new(header, left).unwrap()
}

/// The lock that got the token that this operation names.
fn grant_of<'o, 'h>(
    operations: &'o [Operation<'h>],
    operation: &Operation<'h>,
) -> Option<&'o Operation<'h>> {
    let held = value(operation.invoke);
    let token = held["token"].as_i64()?;
    let is_it = |one: &&Operation<'_>| {
        let is_of_token = |ok: &Event| ok.f() == "lock" && value(ok).as_i64() == Some(token);
        one.completed < operation.invoked
            && one.ok().is_some_and(is_of_token)
            && value(one.invoke)["lock"] == held["lock"]
    };
    operations
        .iter()
        .filter(is_it)
        .max_by_key(|one| one.completed)
}

/// These lines, and those on which the locks were asked for whose tokens they name.
fn with_grants(history: &History, lines: &BTreeSet<usize>) -> BTreeSet<usize> {
    let operations = history.operations();
    let is_listed = |operation: &&Operation<'_>| lines.contains(&operation.invoke.line());
    let grants = operations.iter().filter(is_listed);
    let grants = grants.filter_map(|operation| grant_of(&operations, operation));
    let grants = grants.map(|grant| grant.invoke.line());
    grants.chain(lines.iter().copied()).collect()
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

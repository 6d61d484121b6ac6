//! A large history that is valid becomes one that is not when one answer in it is
//! changed so that a client could notice.

use etcd_checker::history::{Event, EventKind, Json, MicroOperation, Outcome};
use etcd_checker::{History, Model, Verdict, check};

use crate::support::busy::election::busy_election;
use crate::support::busy::lock::busy_locks;
use crate::support::busy::priority_queue::busy_priority_queue;
use crate::support::busy::register::busy_register;
use crate::support::{Random, busy_bank, busy_queue};

const OPERATIONS: usize = 3_000;

/// The verdict on the history after a change to its events.
fn verdict_after(history: &History, change: impl FnOnce(&mut Vec<Event>)) -> Verdict {
    let (header, mut events) = history.clone().into_parts();
    change(&mut events);
    let history = History::new(header, events).unwrap();
    check(&history, Model::of(&history).unwrap()).unwrap()
}

#[track_caller]
fn assert_found(verdict: &Verdict, names: &[&str]) {
    let violation = verdict
        .violation()
        .unwrap_or_else(|| panic!("not found: {verdict}"));
    assert!(names.contains(&violation.kind.name), "{violation}");
    assert!(violation.witness.len() <= 8, "{violation}");
}

/// The events of the dequeues that returned a value: invocation and completion, in
/// the order of the completions.
fn dequeues(history: &History) -> Vec<(usize, usize)> {
    let operations = history.operations();
    let got = operations
        .iter()
        .filter(|op| op.invoke.f() == "dequeue" && op.ok().is_some_and(|ok| !ok.value().is_null()));
    let mut dequeues: Vec<(usize, usize)> = got.map(|op| (op.invoked, op.completed)).collect();
    dequeues.sort_by_key(|(_, completed)| *completed);
    dequeues
}

#[test]
fn histories_of_a_real_queue_and_a_real_bank_are_valid() {
    for seed in 0..20 {
        let queue = busy_queue(&mut Random(seed), OPERATIONS, 10);
        assert!(check(&queue, Model::FifoQueue).unwrap().is_valid());
        for lost in [0, 5, 50] {
            let bank = busy_bank(&mut Random(seed), OPERATIONS, 10, lost);
            let verdict = check(&bank, Model::Bank).unwrap();
            assert!(
                verdict.is_valid(),
                "seed {seed}, one in {lost} lost: {verdict}"
            );
        }
    }
}

#[test]
fn histories_of_busy_objects_are_valid_and_always_the_same() {
    type Draw = fn(&mut Random, usize, usize) -> History;
    let objects: [Draw; 5] = [
        busy_priority_queue,
        |random, operations, clients| busy_locks(random, "mutex", operations, clients),
        |random, operations, clients| busy_locks(random, "rwlock", operations, clients),
        busy_election,
        busy_register,
    ];
    for draw in objects {
        for clients in [10, 100] {
            let history = draw(&mut Random(1), OPERATIONS, clients);
            assert!(history == draw(&mut Random(1), OPERATIONS, clients));
            let verdict = check(&history, Model::of(&history).unwrap()).unwrap();
            assert!(verdict.is_valid(), "{}: {verdict}", history.header().model);
            let ended = history
                .operations()
                .iter()
                .filter(|op| op.ok().is_some())
                .count();
            assert!(ended >= OPERATIONS);
        }
    }
}

#[test]
fn a_swapped_pair_of_values_is_found() {
    for seed in 0..50 {
        let random = &mut Random(seed);
        let history = busy_queue(random, OPERATIONS, 10);
        let dequeues = dequeues(&history);
        let first = dequeues[random.below(dequeues.len() / 2)];
        // Far enough that both the enqueues and the dequeues are one after the other.
        let second = dequeues
            .iter()
            .filter(|(invoked, _)| *invoked > first.1)
            .nth(60)
            .unwrap();
        let verdict = verdict_after(&history, |events| {
            let value = events[first.1].value().clone();
            let other = events[second.1].value().clone();
            events[first.1].set_value(other);
            events[second.1].set_value(value);
        });
        assert_found(&verdict, &["VOrd", "VFresh"]);
    }
}

#[test]
fn a_lost_value_is_found() {
    for seed in 0..50 {
        let random = &mut Random(seed);
        let history = busy_queue(random, OPERATIONS, 10);
        let dequeues = dequeues(&history);
        let (invoked, completed) = dequeues[random.below(dequeues.len() / 2)];
        let verdict = verdict_after(&history, |events| {
            events.remove(completed);
            events.remove(invoked);
        });
        assert_found(&verdict, &["VOrd-lost", "VWit-lost"]);
    }
}

#[test]
fn a_value_that_is_given_twice_is_found() {
    for seed in 0..50 {
        let random = &mut Random(seed);
        let history = busy_queue(random, OPERATIONS, 10);
        let dequeues = dequeues(&history);
        let (first, second) = (
            random.below(dequeues.len() / 2),
            random.below(dequeues.len() / 2),
        );
        if first == second {
            continue;
        }
        let verdict = verdict_after(&history, |events| {
            let value = events[dequeues[second].1].value().clone();
            events[dequeues[first].1].set_value(value);
        });
        assert_found(&verdict, &["VRepeat", "VFresh"]);
    }
}

#[test]
fn a_queue_that_calls_itself_empty_is_found() {
    for seed in 0..50 {
        let random = &mut Random(seed);
        let history = busy_queue(random, OPERATIONS, 10);
        let dequeues = dequeues(&history);
        // The queue holds at least 8 values once it has been filled.
        let (_, completed) = dequeues[dequeues.len() / 4 + random.below(dequeues.len() / 4)];
        let verdict = verdict_after(&history, |events| events[completed].set_value(Json::NULL));
        assert_found(&verdict, &["VOrd-lost", "VWit-lost", "VWit"]);
    }
}

fn parse(event: &Event) -> Vec<MicroOperation<'_>> {
    event.value().parse().unwrap()
}

/// Replaces a read of `history` by one of the version before the one that it saw,
/// if that had been overwritten by a transaction that returned before the reader
/// was invoked.
fn stale_read(history: &History, random: &mut Random, read_only: bool) -> Option<Verdict> {
    let operations = history.operations();
    let candidates: Vec<usize> = operations
        .iter()
        .filter(|op| {
            op.ok()
                .is_some_and(|ok| ok.revision().is_none() == read_only)
        })
        .map(|op| op.completed)
        .collect();
    let reader = candidates[candidates.len() / 2 + random.below(candidates.len() / 2)];
    let invoked = operations.iter().find(|op| op.completed == reader)?.invoked;
    let mut micro = parse(&history.events()[reader]);
    let MicroOperation::Read {
        key,
        mod_revision: Some(seen),
        ..
    } = micro[0].clone()
    else {
        return None;
    };
    let writes = |op: &&etcd_checker::history::Operation<'_>, key: &str| {
        let is_it = |micro: &MicroOperation<'_>| matches!(micro, MicroOperation::Write { key: written, .. } if written == key);
        op.ok().is_some_and(|ok| parse(ok).iter().any(is_it))
    };
    let writer = operations
        .iter()
        .find(|op| op.ok().is_some_and(|ok| ok.revision() == Some(seen)))?;
    if writer.completed > invoked {
        return None;
    }
    let before = |op: &&etcd_checker::history::Operation<'_>| {
        op.ok()
            .and_then(Event::revision)
            .is_some_and(|at| at < seen)
    };
    let older = operations
        .iter()
        .filter(|op| writes(op, &key))
        .filter(before)
        .max_by_key(|op| op.ok().unwrap().revision())?;
    let older = older.ok().unwrap();
    let value = parse(older).into_iter().find_map(|micro| match micro {
        MicroOperation::Write {
            key: written,
            value,
        } if written == key => value,
        _ => None,
    })?;
    micro[0] = MicroOperation::read(key, value, older.revision().unwrap());
    Some(verdict_after(history, |events| {
        events[reader].set_value(Json::from(&micro[..]));
    }))
}

#[test]
fn a_stale_read_is_found() {
    let mut found = 0;
    for seed in 0..100 {
        let random = &mut Random(seed);
        let history = busy_bank(random, 1_000, 10, 0);
        if let Some(verdict) = stale_read(&history, random, true) {
            assert_found(
                &verdict,
                &["fractured-read", "G-single", "G-single-realtime"],
            );
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn a_lost_update_is_found() {
    let mut found = 0;
    for seed in 0..100 {
        let random = &mut Random(seed);
        let history = busy_bank(random, 1_000, 10, 20);
        if let Some(verdict) = stale_read(&history, random, false) {
            assert_found(&verdict, &["lost-update"]);
            found += 1;
        }
    }
    assert!(found > 20, "{found}");
}

#[test]
fn an_acknowledged_transaction_that_is_said_to_have_failed_is_found() {
    for seed in 0..50 {
        let random = &mut Random(seed);
        let history = busy_bank(random, 1_000, 10, 0);
        let operations = history.operations();
        let writer = &operations[10 + random.below(500)];
        if writer.outcome() != Outcome::Ok
            || writer.completion.is_none_or(|ok| ok.revision().is_none())
        {
            continue;
        }
        let at = writer.completed;
        let verdict = verdict_after(&history, |events| events[at].set_kind(EventKind::Fail));
        assert_found(&verdict, &["G1a"]);
    }
}

//! However long and busy a history is, of its operations those are listed that are needed.

use std::collections::BTreeSet;

use etcd_checker::history::{Event, EventKind, Json, Operation, Outcome, Process};
use etcd_checker::search::{Budget, Others};
use etcd_checker::{
    Consistency, History, Model, Options, Verdict, Violation, check_with, check_within,
};
use serde_json::{Value, json};

use crate::support;
use crate::support::busy::barrier::busy_barrier;
use crate::support::busy::plain::{
    busy_counter, busy_few_values, busy_group, busy_plain_register, busy_reentrant_mutex, busy_set,
    busy_sums,
};
use crate::support::busy::turns::{Kind, turns};
use crate::support::busy::with_unknown;
use crate::support::losses::{Fault, Losses};
use crate::support::planted::ops_of;
use crate::support::{Op, Random};

const CLIENTS: usize = 10;

/// Bounded in memory alone: how fast the machine is makes no difference.
fn check(history: &History) -> Verdict {
    let budget = Budget {
        time: None,
        ..Budget::default()
    };
    check_within(history, Model::of(history).unwrap(), &budget).unwrap()
}

const SIZES: [usize; 3] = [300, 2_000, 20_000];

/// The history, in which one answer of an operation of this name near the end is another one,
/// which `spoil` makes of it and of what such an operation answered much earlier.
fn planted(
    random: &mut Random,
    history: History,
    f: &str,
    spoil: impl Fn(&Json, &Json) -> Option<Json>,
) -> History {
    let looks: Vec<usize> = (history.operations().iter())
        .filter(|operation| operation.invoke.f() == f && operation.ok().is_some())
        .map(|operation| operation.completed)
        .collect();
    let (header, mut events) = history.into_parts();
    let (early, late) = (looks.len() / 4, looks.len() * 3 / 4);
    loop {
        let place = looks[late + random.below(looks.len() / 4)];
        let earlier = looks[early + random.below(looks.len() / 4)];
        let spoilt = spoil(events[place].value(), events[earlier].value());
        if let Some(answer) = spoilt {
            events[place] = events[place].clone().with_value(answer);
            return History::new(header, events).unwrap();
        }
    }
}

/// The answer that somebody got much earlier, if it is another one.
fn stale(answer: &Json, old: &Json) -> Option<Json> {
    (answer != old).then(|| old.clone())
}

#[track_caller]
fn assert_short(history: &History, longest: usize) -> Violation {
    let verdict = check(history);
    let violation = verdict
        .violation()
        .unwrap_or_else(|| panic!("{verdict}"))
        .clone();
    assert!(violation.witness.len() <= longest, "{violation}");
    assert_eq!(
        violation.also, [""; 0],
        "it is not known to be minimal: {violation}"
    );
    violation
}

#[test]
fn stale_reads_of_registers() {
    let mut random = Random(1);
    for (size, times) in SIZES.into_iter().zip([10, 5, 1]) {
        for _ in 0..times {
            let history = busy_plain_register(&mut random, size, CLIENTS);
            let history = planted(&mut random, history, "read", stale);
            let violation = assert_short(&history, 4);
            assert_eq!(violation.kind.name, "stale-read");
        }
    }
}

/// How many of the sizes are tried. Sets that only grow take long to read.
fn sizes(size: Option<usize>, most: usize) -> usize {
    size.map_or(2, |_| most)
}

#[test]
fn stale_reads_of_sets() {
    for (names, times) in [
        (["add", "remove", "read"], 3),
        (["join", "leave", "members"], 2),
    ] {
        for size in [None, Some(30)] {
            let mut random = Random(2);
            for operations in &SIZES[..sizes(size, times)] {
                let history = busy_set(&mut random, names, *operations, CLIENTS, size);
                let history = planted(&mut random, history, names[2], stale);
                assert_short(&history, 4);
            }
        }
    }
}

#[test]
fn lost_elements_of_sets() {
    for (names, times) in [
        (["add", "remove", "read"], 2),
        (["join", "leave", "members"], 3),
    ] {
        for size in [None, Some(30)] {
            let mut random = Random(3);
            for operations in &SIZES[..sizes(size, times)] {
                let history = busy_set(&mut random, names, *operations, CLIENTS, size);
                let lost = |answer: &Json, _: &Json| {
                    let mut elements: Vec<usize> = answer.parse().unwrap();
                    let lost = elements.len().checked_sub(15)?;
                    elements.remove(lost);
                    Some(Json::new(&elements).unwrap())
                };
                let history = planted(&mut random, history, names[2], lost);
                assert_short(&history, 4);
            }
        }
    }
}

#[test]
fn stale_reads_of_maps() {
    let mut random = Random(4);
    for size in [300, 2_000] {
        let history = busy_plain_register(&mut random, size, CLIENTS);
        let history = planted(&mut random, history, "read", stale);
        assert_short(&as_map(history), 4);
    }
}

/// The same of a key of a map.
fn as_map(history: History) -> History {
    let (mut header, events) = history.into_parts();
    header.model = "kv".to_owned();
    let as_map = |event: Event| {
        let name = if event.f() == "read" { "get" } else { "put" };
        let value: serde_json::Value = event.value().parse().unwrap();
        let value = serde_json::json!({"key": "a", "value": value});
        Event::new(event.time(), event.process(), event.kind(), name)
            .with_value(Json::new(&value).unwrap())
    };
    History::new(header, events.into_iter().map(as_map).collect()).unwrap()
}

/// One who comes in while others are inside, and those.
#[test]
fn overlapping_holders_of_locks() {
    for (kind, most) in [
        (Kind::Mutex, 2),
        // What readers there were before is left open, where it takes too long to find out.
        (Kind::RwLock, 4),
    ] {
        let mut random = Random(5);
        for (size, times) in SIZES.into_iter().zip([10, 5, 1]) {
            for _ in 0..times {
                let history = turns(&mut random, kind, size, CLIENTS);
                let violation = assert_short(&history, most);
                assert_eq!(violation.kind.name, "mutual-exclusion");
            }
        }
    }
}

/// Where nobody knows who holds it, and somebody always waits, what was before is given.
#[test]
fn overlapping_holders_whom_nobody_knows() {
    for (kind, most) in [(Kind::AnonymousMutex, 4), (Kind::Semaphore(3), 6)] {
        let mut random = Random(5);
        for (size, times) in SIZES.into_iter().zip([10, 5, 1]) {
            for _ in 0..times {
                let history = turns(&mut random, kind, size, CLIENTS);
                let violation = assert_short(&history, most);
                assert_eq!(violation.kind.name, "mutual-exclusion");
                assert_proves(&history, &violation);
            }
        }
    }
}

/// Where very many raise a barrier and take it down at the same time, each of them could have
/// made way for another one.
#[test]
fn barriers_that_many_raise() {
    const MANY: usize = 40;
    for (f, told) in [("hold", "false"), ("release", "false")] {
        let mut random = Random(14);
        for size in [300, 1_000] {
            let history = busy_barrier(&mut random, size, MANY);
            let verdict = check(&history);
            assert!(verdict.is_valid(), "{verdict}");
            // One answer may be explained by the many that overlap with it, and some are.
            let mut history = history;
            while check(&history).is_valid() {
                let otherwise = |answer: &Json, _: &Json| {
                    (answer.as_str() == told).then(|| Json::new(&(told != "true")).unwrap())
                };
                history = planted(&mut random, history, f, otherwise);
            }
            // Those who went on at that time may all be needed, but are given where they can be.
            let violation = assert_short(&history, 8);
            assert_proves(&history, &violation);
        }
    }
}

/// Of all who lost their session nobody but those who matter is listed, nor when it was over.
#[test]
fn cyclic_barriers_that_many_lost() {
    for (parties, count) in [(3, 2), (10, 10), (12, 5)] {
        for one_in in [0, 20, 100] {
            for fault in [Fault::Early, Fault::CountsDead] {
                let sizes = &[300, 2_000, 20_000][..if count == 5 { 3 } else { 2 }];
                for size in sizes.iter().copied() {
                    let losses = Losses {
                        parties,
                        count,
                        one_in,
                        fault,
                    };
                    let ops = losses.run(&mut Random(17), size, &[size / 3, size / 2]);
                    let parameters = format!("{{\"count\":{count}}}");
                    let history = support::history("cyclic-barrier", &parameters, &ops);
                    let verdict = check(&history);
                    // One who comes too soon may have met those who were lost.
                    if let Some(violation) = verdict.violation() {
                        assert!(violation.witness.len() <= 8, "{losses:?} {violation}");
                        let mut also = violation.also.iter();
                        let is_minimal = also.all(|also| !also.contains("perhaps fewer"));
                        assert!(is_minimal, "{losses:?} {violation}");
                    }
                }
            }
        }
    }
}

/// Who has acquired it many times may do so again: not all those times are listed.
#[test]
fn refusals_of_a_mutex_to_its_owner() {
    let mut random = Random(13);
    for (size, times) in [(300, 5), (2_000, 2)] {
        for _ in 0..times {
            let history = busy_reentrant_mutex(&mut random, size, CLIENTS);
            let verdict = check(&history);
            assert!(verdict.is_valid(), "{verdict}");
            let refused = |answer: &Json, _: &Json| {
                (answer.as_str() == "true").then(|| Json::new(&false).unwrap())
            };
            let history = planted(&mut random, history, "try-acquire", refused);
            let violation = assert_short(&history, 4);
            assert_eq!(violation.kind.name, "spurious-failure");
            assert_proves(&history, &violation);
        }
    }
}

/// There is no order of what is given and what is listed alone: the others may not have
/// happened.
fn assert_proves(history: &History, violation: &Violation) {
    let Others::InTheirTimeSince(line) = violation.others else {
        return;
    };
    let is_listed = |operation: &Operation<'_>| {
        let line = operation.invoke.line();
        violation.witness.iter().any(|op| op.invoked.line == line)
    };
    let mut times = BTreeSet::new();
    for operation in history.operations() {
        let end = operation
            .completion
            .map(|completion| completion.line() as u64);
        if is_listed(&operation) || end.is_some_and(|end| end < line) {
            times.extend([operation.invoked, operation.completed]);
        }
    }
    let (header, events) = history.clone().into_parts();
    let left = events.into_iter().enumerate();
    let left = left.filter(|(index, _)| times.contains(index));
    let history = History::new(header, left.map(|(_, event)| event).collect()).unwrap();
    let verdict = check(&history);
    assert!(verdict.violation().is_some(), "{violation}");
}

/// A sum that was passed long ago needs no list of what was added.
#[test]
fn stale_reads_of_counters() {
    let mut random = Random(6);
    for (size, times) in SIZES.into_iter().zip([10, 5, 1]) {
        for _ in 0..times {
            let history = busy_counter(&mut random, size, CLIENTS);
            let history = planted(&mut random, history, "read", stale);
            assert_short(&history, 2);
        }
    }
}

/// The same where it takes long to find out how somebody was told a sum.
#[test]
fn stale_reads_of_sums() {
    let mut random = Random(15);
    for size in [2_000, 20_000] {
        let history = busy_sums(&mut random, size, CLIENTS);
        let too_little = |answer: &Json, _: &Json| {
            let sum: i64 = answer.parse().unwrap();
            Some(Json::from(sum - 200))
        };
        let history = planted(&mut random, history, "read", too_little);
        let violation = assert_short(&history, 2);
        assert!(violation.sentence.starts_with("`read"), "{violation}");
        let is_given = matches!(violation.others, Others::InTheirTimeSince(_));
        assert!(!is_given, "all is listed that proves it: {violation}");
    }
}

/// Those are blamed who saw what is wrong, not those who would lead to it.
#[test]
fn lost_members_of_a_group() {
    let mut random = Random(16);
    for size in [2_000, 20_000] {
        let history = loop {
            let history = busy_group(&mut random, size, CLIENTS);
            let lost = |answer: &Json, _: &Json| {
                let members: Vec<usize> = answer.parse().unwrap();
                let (_, left) = members.split_first()?;
                Some(Json::new(&left).unwrap())
            };
            let history = planted(&mut random, history, "members", lost);
            // It may just be leaving.
            if !check(&history).is_valid() {
                break history;
            }
        };
        let violation = assert_short(&history, 4);
        assert!(violation.sentence.starts_with("`members"), "{violation}");
    }
}

/// Those who wrote the value earlier, or write it again later, are of no interest.
#[test]
fn stale_reads_of_values_that_come_back() {
    let mut random = Random(7);
    for (size, times) in SIZES.into_iter().zip([10, 5, 1]) {
        for _ in 0..times {
            let history = loop {
                let history = busy_few_values(&mut random, size, CLIENTS, 50);
                let history = planted(&mut random, history, "read", stale);
                // Somebody may just be writing it again.
                if !check(&history).is_valid() {
                    break history;
                }
            };
            assert_short(&history, 4);
        }
    }
}

/// Writes of unknown outcome, which may take effect at any later time, make the search long.
#[test]
fn unknown_outcomes_hide_no_plain_fault() {
    for (f, model) in [("read", "register"), ("members", "membership")] {
        let mut random = Random(8);
        for _ in 0..3 {
            let history = if model == "register" {
                busy_plain_register(&mut random, 3_000, CLIENTS)
            } else {
                let names = ["join", "leave", "members"];
                busy_set(&mut random, names, 3_000, CLIENTS, Some(30))
            };
            let mut ops = ops_of(&history);
            for op in &mut ops {
                if op.f != f && random.one_in(30) {
                    (op.outcome, op.result) = (Outcome::Info, Json::NULL);
                }
            }
            let history = support::history(model, "{}", &ops);
            let history = planted(&mut random, history, f, stale);
            assert_short(&history, 4);
        }
    }
}

/// What happened to an element by itself proves it, whatever became of all the other ones.
#[test]
fn sets_of_which_many_changes_have_unknown_outcomes() {
    for names in [["add", "remove", "read"], ["join", "leave", "members"]] {
        for size in [None, Some(30)] {
            let mut random = Random(9);
            let history = busy_set(&mut random, names, 3_000, CLIENTS, size);
            let history = with_unknown(&mut random, history, names[2], 10);
            let verdict = check(&history);
            assert!(verdict.is_valid(), "{verdict}");
            let never = |answer: &Json, _: &Json| {
                let mut elements: Vec<usize> = answer.parse().unwrap();
                elements.push(1_000_000);
                Some(Json::new(&elements).unwrap())
            };
            assert_short(&planted(&mut random, history.clone(), names[2], never), 1);
            let lost = |answer: &Json, _: &Json| {
                let mut elements: Vec<usize> = answer.parse().unwrap();
                let lost = elements.len().checked_sub(15)?;
                elements.remove(lost);
                Some(Json::new(&elements).unwrap())
            };
            assert_short(&planted(&mut random, history, names[2], lost), 6);
        }
    }
}

/// A sum that all additions together do not come to.
#[test]
fn impossible_sums() {
    for size in [300, 2_000] {
        let mut random = Random(10);
        let history = busy_counter(&mut random, size, CLIENTS);
        let too_much = |answer: &Json, _: &Json| {
            let sum: i64 = answer.parse().unwrap();
            Some(Json::from(sum + 1_000_000_000))
        };
        assert_short(&planted(&mut random, history, "read", too_much), 1);
    }
}

/// Sums that are plainly too great or too small where so many additions overlap that there is no
/// end of their orders, and the search comes nowhere near.
#[test]
fn impossible_sums_among_many_additions_at_once() {
    let mut random = Random(13);
    for change in [1_000, -1_000] {
        let history = busy_sums(&mut random, 4_000, 40);
        let other = |answer: &Json, _: &Json| {
            let sum: i64 = answer.parse().unwrap();
            Some(Json::from(sum + change))
        };
        let violation = assert_short(&planted(&mut random, history, "read", other), 2);
        let told = ["it can only have met a sum from 0 to", "the sum went from"];
        assert!(
            told.iter().any(|told| violation.sentence.contains(told)),
            "{violation}"
        );
    }
}

/// A transaction that reads two values of one register contradicts itself.
#[test]
fn transactions_that_contradict_themselves() {
    let mut random = Random(11);
    let (mut header, _) = busy_counter(&mut random, 1, CLIENTS).into_parts();
    header.model = "multi-register".to_owned();
    let mut values = [json!(null), json!(null), json!(null)];
    let mut events = Vec::new();
    for number in 0..2_000 {
        let [one, other] = [random.below(3), random.below(3)];
        let (asked, told) = if number == 1_500 {
            let read = |first, second| json!([["r", one, first], ["r", one, second]]);
            (read(json!(null), json!(null)), read(json!(1), json!(2)))
        } else if random.one_in(2) {
            values[one] = json!(number);
            let write = json!([["w", one, number]]);
            (write.clone(), write)
        } else {
            let read =
                |[first, second]: [&Value; 2]| json!([["r", one, first], ["r", other, second]]);
            (
                read([&json!(null); 2]),
                read([&values[one], &values[other]]),
            )
        };
        let process = Process::Number(number % CLIENTS as u64);
        for (kind, value) in [(EventKind::Invoke, asked), (EventKind::Ok, told)] {
            let time = events.len() as u64;
            let event = Event::new(time, process, kind, "txn");
            events.push(event.with_value(Json::new(&value).unwrap()));
        }
    }
    assert_short(&History::new(header, events).unwrap(), 1);
}

/// The same where so many overlap that there is no end of their orders.
#[test]
fn transactions_that_contradict_themselves_among_many_at_once() {
    let mut random = Random(12);
    let (mut header, _) = busy_counter(&mut random, 1, CLIENTS).into_parts();
    header.model = "multi-register".to_owned();
    let mut events = Vec::new();
    for kind in [EventKind::Invoke, EventKind::Ok] {
        for number in 0..40_u64 {
            let key = |of: u64| (number * 7 + of) % 5;
            let seen = match kind {
                EventKind::Ok if number == 20 => [json!(3), json!(4)],
                _ => [json!(null), json!(null)],
            };
            let value = match number {
                20 => json!([["r", 0, seen[0]], ["w", 9, 20], ["r", 0, seen[1]]]),
                _ => json!([["w", key(0), number], ["w", key(1), number]]),
            };
            let event = Event::new(events.len() as u64, Process::Number(number), kind, "txn");
            events.push(event.with_value(Json::new(&value).unwrap()));
        }
    }
    assert_short(&History::new(header, events).unwrap(), 1);
}

/// Where the search comes no further is far from what is plainly wrong.
#[test]
fn a_plain_fault_behind_many_operations_that_overlap() {
    let mut random = Random(12);
    let op = |f, invoke: Value, result: Value, during: (u64, u64)| Op {
        f,
        invoke: Json::new(&invoke).unwrap(),
        result: Json::new(&result).unwrap(),
        outcome: Outcome::Ok,
        revision: None,
        invoked: during.0,
        returned: during.1,
    };
    let mut ops: Vec<Op> = (0..180_u64)
        .map(|number| {
            let during = (number, 1_000 + number);
            let [one, other] = [random.below(7), random.below(7)];
            match number % 3 {
                0 => op("write", json!(one), Value::Null, during),
                1 => op("cas", json!([one, other]), json!(true), during),
                _ => op("read", Value::Null, json!(one), during),
            }
        })
        .collect();
    // Nobody ever writes that again.
    ops.push(op("read", Value::Null, Value::Null, (2_000, 2_001)));
    let violation = assert_short(&support::history("cas-register", "{}", &ops), 2);
    assert_eq!(violation.kind.name, "stale-read");
}

/// Transactions on registers, ten at a time, each of which read a snapshot that was up to 40
/// transactions old, and wrote all the same.
fn old_snapshots(random: &mut Random, count: usize) -> History {
    const AT_ONCE: usize = 10;
    const KEYS: usize = 300;
    const AGE_MAX: usize = 40;
    let mut ops = Vec::new();
    let mut snapshots = vec![vec![None; KEYS]];
    for number in 0..count {
        let age = random.below(AGE_MAX) + 1;
        let seen = &snapshots[snapshots.len().saturating_sub(age)];
        let mut written = snapshots[number].clone();
        let mut micro: Vec<Value> = Vec::new();
        let mut keys = BTreeSet::new();
        while keys.len() < 10 {
            let key = random.below(KEYS);
            if !keys.insert(key) {
                continue;
            }
            if random.one_in(2) {
                micro.push(json!(["r", key, seen[key]]));
            } else {
                written[key] = Some(number);
                micro.push(json!(["w", key, number]));
            }
        }
        snapshots.push(written);
        let (turn, place) = ((number / AT_ONCE) as u64, (number % AT_ONCE) as u64);
        ops.push(Op {
            f: "txn",
            invoke: Json::NULL,
            result: Json::new(&micro).unwrap(),
            outcome: Outcome::Ok,
            revision: None,
            invoked: turn * 100 + place,
            returned: turn * 100 + 50 + place,
        });
    }
    support::history("rw-register", "{}", &ops)
}

/// That these have no snapshots shows soon; whether one has seen another and missed it, too, is
/// hard to tell, and of no use.
#[test]
fn of_transactions_without_snapshots_few_are_shown() {
    for seed in 1..4 {
        let history = old_snapshots(&mut Random(seed), 300);
        let options = Options {
            consistency: vec![Consistency::SnapshotIsolation],
            ..Options::default()
        };
        let verdict = check_with(&history, Model::RwRegister, &options).unwrap();
        let violation = verdict.violation().expect("a write was lost");
        assert!(violation.witness.len() <= 30, "{verdict}");
        let fewer = violation
            .also
            .iter()
            .any(|also| also.contains("perhaps fewer"));
        assert!(!fewer, "{verdict}");
    }
}

//! Searches for what barriers did, for what nobody was told of etcd and of transactions, end
//! when the time or the memory of the budget is over, and are exact while they last.

use std::time::Duration;

use etcd_checker::history::{Event, EventKind, Header, Json, Process, Source};
use etcd_checker::search::Budget;
use etcd_checker::{History, Model, Verdict, check_within};
use serde_json::{Value, json};

use crate::support::Random;

/// Who, what, with which value, called when, and answered when and with what.
struct Op {
    process: u64,
    f: &'static str,
    value: Value,
    called: u64,
    answered: Option<(u64, Value)>,
}

fn history(model: Model, ops: &[Op]) -> History {
    let mut events = Vec::new();
    for op in ops {
        let event = |time, kind, value: &Value| {
            Event::new(time, Process::Number(op.process), kind, op.f)
                .with_value(Json::new(value).unwrap())
        };
        events.push(event(op.called, EventKind::Invoke, &op.value));
        if let Some((time, value)) = &op.answered {
            events.push(event(*time, EventKind::Ok, value));
        }
    }
    events.sort_by_key(Event::time);
    let source = Source::Other {
        description: "a test".to_owned(),
    };
    let parameters = Json::new(&json!({"count": 2})).unwrap();
    let header = Header::new("by hand", model.name(), source).with_parameters(parameters);
    History::new(header, events).unwrap()
}

/// Holds and releases that overlap, and a wait: many explanations are kept.
fn barrier() -> History {
    let mut ops = Vec::new();
    for process in 0..12 {
        let f = if process % 2 == 0 { "hold" } else { "release" };
        ops.push(Op {
            process,
            f,
            value: json!({"lease": process}),
            called: 1,
            answered: Some((100 + process, json!(true))),
        });
    }
    ops.push(Op {
        process: 50,
        f: "wait",
        value: Value::Null,
        called: 2,
        answered: Some((50, Value::Null)),
    });
    history(Model::Barrier, &ops)
}

/// One who left while the next to return was inside, so it was in a round with one of whom
/// nothing is known.
fn double_barrier() -> History {
    let op = |process, f, alive: bool, called, answered: Option<u64>| Op {
        process,
        f,
        value: if alive {
            json!({"lease": process, "alive": true})
        } else {
            json!({"lease": process})
        },
        called,
        answered: answered.map(|at| (at, Value::Null)),
    };
    let ops = [
        op(0, "enter", false, 1, Some(10)),
        op(1, "enter", false, 2, None),
        op(2, "enter", false, 3, Some(20)),
        op(3, "enter", false, 4, Some(21)),
        op(0, "leave", false, 11, Some(14)),
        op(2, "leave", true, 30, Some(40)),
        op(3, "leave", false, 31, Some(41)),
    ];
    history(Model::DoubleBarrier, &ops)
}

/// A round of which one was told, and one of many who were not.
fn cyclic_barrier() -> History {
    let waits = (0..6).map(|process| Op {
        process,
        f: "wait",
        value: json!({"lease": process}),
        called: 1 + process,
        answered: (process == 5).then(|| (20, json!({"round": 1, "index": 0}))),
    });
    history(Model::CyclicBarrier, &waits.collect::<Vec<_>>())
}

fn judge(history: &History, budget: Budget) -> Verdict {
    let model = Model::of(history).unwrap();
    check_within(history, model, &budget).unwrap()
}

#[test]
fn what_is_decided_within_the_budget_is_not_without_it() {
    for history in [barrier(), double_barrier(), cyclic_barrier()] {
        let model = Model::of(&history).unwrap();
        let enough = judge(&history, Budget::default());
        assert!(enough.is_valid(), "{model}: {enough}");
        let no_time = Budget {
            time: Some(Duration::ZERO),
            ..Budget::default()
        };
        let no_memory = Budget {
            time: None,
            memory_bytes: 1,
        };
        for (budget, limit) in [(no_time, "the 0 s"), (no_memory, "the 1 bytes of memory")] {
            match judge(&history, budget) {
                Verdict::Unknown { reason } => {
                    assert!(reason.starts_with(limit), "{model}: {reason}");
                }
                other => panic!("{model}, {limit}: {other}"),
            }
        }
    }
}

/// A version says that a put happened of which nobody was told, and not which of two it was.
#[test]
fn the_attempts_of_etcds_search_go_by_the_time() {
    let put = |process, value: &str| (process, "put", json!({"key": "k", "value": value}));
    let events = [
        (1, EventKind::Invoke, put(0, "a"), None),
        (2, EventKind::Ok, put(0, "a"), Some(2)),
        (3, EventKind::Invoke, put(1, "b"), None),
        (4, EventKind::Invoke, put(2, "c"), None),
        (5, EventKind::Info, put(1, "b"), None),
        (6, EventKind::Info, put(2, "c"), None),
        (7, EventKind::Invoke, put(3, "d"), None),
        (8, EventKind::Ok, put(3, "d"), Some(5)),
        (
            9,
            EventKind::Invoke,
            (4, "range", json!({"key": "k"})),
            None,
        ),
        (
            10,
            EventKind::Ok,
            (
                4,
                "range",
                json!({"kvs": [["k", "d", 2, 5, 3, 0]], "count": 1, "more": false}),
            ),
            Some(5),
        ),
    ];
    let events = events.map(|(time, kind, (process, f, value), revision)| {
        let value = match (kind, f) {
            (EventKind::Invoke, _) | (EventKind::Ok, "range") => value,
            _ => Value::Null,
        };
        Event::new(time, Process::Number(process), kind, f)
            .with_value(Json::new(&value).unwrap())
            .with_revision(revision)
    });
    let source = Source::Other {
        description: "a test".to_owned(),
    };
    let header = Header::new("by hand", "etcd", source);
    let history = History::new(header, events.to_vec()).unwrap();
    let enough = judge(&history, Budget::default());
    assert!(enough.is_valid(), "{enough}");
    let no_time = Budget {
        time: Some(Duration::ZERO),
        ..Budget::default()
    };
    match judge(&history, no_time) {
        Verdict::Unknown { reason } => assert!(reason.contains("more ways"), "{reason}"),
        other => panic!("{other}"),
    }
}

/// Transactions one after the other, of which some say nothing of what they did; sometimes
/// one read shows another version than it should.
fn transactions(random: &mut Random) -> History {
    let mut versions = [vec![("null".to_owned(), 0)], vec![("null".to_owned(), 0)]];
    let mut events = Vec::new();
    let mut open = Vec::new();
    for number in 0..6 + random.below(4) as u64 {
        let (read, written) = (random.below(2), random.below(2));
        let of = &versions[read];
        let seen = match random.one_in(9) {
            true => random.below(of.len()),
            false => of.len() - 1,
        };
        let (value, at) = of[seen].clone();
        let revision = number as i64 + 2;
        let value = if at == 0 { "null".to_owned() } else { value };
        // Few values, so that several may have written one.
        let new = format!("\"{}\"", random.below(2));
        let told = format!("[[\"r\",\"k{read}\",{value},{at}],[\"w\",\"k{written}\",{new}]]");
        versions[written].push((new, revision));
        let process = Process::Number(number);
        let event = |time, kind| Event::new(time, process, kind, "txn");
        let told = Json::new(&serde_json::from_str::<Value>(&told).unwrap()).unwrap();
        events.push(event(10 * number, EventKind::Invoke));
        match random.below(4) {
            0 => open.push(event(1_000 + number, EventKind::Info)),
            1 => open.push(event(1_000 + number, EventKind::Info).with_value(told)),
            _ => {
                let ok = event(10 * number + 5, EventKind::Ok).with_value(told);
                events.push(ok.with_revision(revision));
            }
        }
    }
    events.extend(open);
    let source = Source::Other {
        description: "a test".to_owned(),
    };
    History::new(Header::new("by hand", "transactions", source), events).unwrap()
}

/// Without time to try who made which revision, some verdicts are unknown; the others are the
/// same.
#[test]
fn the_choices_of_who_made_a_revision_go_by_the_time() {
    let mut random = Random(1);
    let (mut spent, mut decided) = (0, 0);
    let no_time = Budget {
        time: Some(Duration::ZERO),
        ..Budget::default()
    };
    for _ in 0..3_000 {
        let history = transactions(&mut random);
        let (enough, none) = (judge(&history, Budget::default()), judge(&history, no_time));
        match none {
            Verdict::Unknown { reason } if reason.contains("gave up after 0 choices") => spent += 1,
            none => {
                assert_eq!(none, enough);
                decided += 1;
            }
        }
    }
    assert!(spent > 100 && decided > 100, "{spent} {decided}");
}

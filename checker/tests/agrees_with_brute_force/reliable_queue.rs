//! The reliable queue checker accepts what a real queue does, and finds each planted
//! fault; its sweeps give the same as counting one by one.

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::{Json, Outcome};
use etcd_checker::search::Budget;
use etcd_checker::{Verdict, Violation, reliable_queue};
use serde_json::{Value, json};

use crate::support::reliable::{has_order, replays};
use crate::support::{Op, Random, history, intervals, witness_ops};

const HISTORIES: usize = 60_000;

/// What a run of a real queue can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mistake {
    None,
    /// An acknowledgement does not ask whether the claim is still its own.
    Unguarded,
    /// An item vanishes.
    Loses,
    /// The last item that is free is handed out first.
    Backwards,
    /// A claim finds nothing now and then.
    Blind,
    /// Claims do not keep others away.
    Shared,
    /// An item stays after it was acknowledged.
    Keeps,
}

fn check(ops: &[Op]) -> Verdict {
    reliable_queue::check(&history("reliable-queue", "{}", ops), &Budget::default()).unwrap()
}

struct Inside {
    value: u64,
    /// The revision of the live claim.
    claim: Option<i64>,
}

fn json(value: &Value) -> Json {
    Json::new(value).unwrap()
}

/// A run of a real queue, seen by clients some of which miss the answers; leases of
/// claims end now and then.
fn run(random: &mut Random, mistake: Mistake) -> Vec<Op> {
    let count = 6 + random.below(10);
    run_of(random, mistake, count)
}

fn run_of(random: &mut Random, mistake: Mistake, count: usize) -> Vec<Op> {
    let longest = 1 + random.below(4);
    // Revisions of enqueues and acknowledgements are not always told.
    let tells = random.one_in(2);
    let mut queue: Vec<Inside> = Vec::new();
    // Claims that clients know of: when they know, value, revision.
    let mut held: Vec<(u64, u64, i64)> = Vec::new();
    let (mut values, mut revision) = (0_u64, 10_i64);
    let mut ops = Vec::new();
    for (invoked, effect, returned) in intervals(random, count, longest) {
        revision += 1;
        if random.one_in(8)
            && let Some(item) = queue.iter_mut().find(|item| item.claim.is_some())
        {
            item.claim = None;
        }
        if mistake == Mistake::Loses && random.one_in(6) && !queue.is_empty() {
            queue.remove(0);
        }
        let is_lost = random.one_in(6);
        let outcome = if is_lost { Outcome::Info } else { Outcome::Ok };
        let happens = !is_lost || random.one_in(2);
        let mut op = Op {
            f: "length",
            invoke: Json::NULL,
            result: Json::NULL,
            outcome,
            revision: None,
            invoked,
            returned,
        };
        let known: Vec<usize> = (0..held.len()).filter(|i| held[*i].0 < invoked).collect();
        match random.below(10) {
            0..4 => {
                let batch = 1 + random.below(2) as u64;
                let new: Vec<u64> = (values + 1..=values + batch).collect();
                values += batch;
                (op.f, op.invoke) = ("enqueue", json(&json!(new)));
                if tells && outcome == Outcome::Ok {
                    op.revision = Some(revision);
                }
                if happens {
                    queue.extend(new.iter().map(|value| Inside {
                        value: *value,
                        claim: None,
                    }));
                }
            }
            4..7 => {
                op.f = "claim";
                let free = |item: &&mut Inside| item.claim.is_none() || mistake == Mistake::Shared;
                let mut free: Vec<&mut Inside> = queue.iter_mut().filter(free).collect();
                if mistake == Mistake::Backwards {
                    free.reverse();
                }
                if mistake == Mistake::Blind && random.one_in(3) {
                    free.clear();
                }
                if happens && let Some(item) = free.into_iter().next() {
                    item.claim = Some(revision);
                    if outcome == Outcome::Ok {
                        op.result = json(&json!([[item.value, revision]]));
                        held.push((returned, item.value, revision));
                    }
                }
            }
            7..9 if !known.is_empty() => {
                let (_, value, claim) = held.remove(known[random.below(known.len())]);
                let is_ours = |item: &Inside| item.value == value && item.claim == Some(claim);
                let is_anybodys = matches!(mistake, Mistake::Unguarded | Mistake::Shared);
                let is_it = |item: &Inside| is_ours(item) || is_anybodys && item.value == value;
                let place = queue.iter().position(is_it);
                op.f = if random.one_in(4) {
                    "release"
                } else {
                    "acknowledge"
                };
                op.invoke = json(&json!([value, claim]));
                let done = place.is_some() || mistake == Mistake::Unguarded;
                match place {
                    Some(place) if happens && op.f == "release" => queue[place].claim = None,
                    Some(place) if happens && mistake != Mistake::Keeps => {
                        queue.remove(place);
                    }
                    Some(place) if happens => queue[place].claim = None,
                    _ => {}
                }
                if outcome == Outcome::Ok && !done {
                    op.outcome = Outcome::Fail;
                }
                if op.outcome == Outcome::Ok && op.f == "acknowledge" && tells {
                    op.revision = Some(revision);
                }
            }
            _ => {
                if outcome == Outcome::Ok {
                    op.result = json(&json!(queue.len()));
                }
            }
        }
        let _ = effect;
        ops.push(op);
    }
    ops
}

/// What goes wrong, and the name of it.
const MISTAKES: [(Mistake, &str); 7] = [
    (Mistake::None, ""),
    (Mistake::Unguarded, "RQ-acknowledged-twice"),
    (Mistake::Loses, "RQ-lost"),
    (Mistake::Backwards, "RQ-order"),
    (Mistake::Blind, "RQ-empty"),
    (Mistake::Shared, "RQ-two-claims"),
    (Mistake::Keeps, "RQ-came-back"),
];

#[test]
fn what_a_real_queue_does_is_valid_and_what_a_broken_one_does_is_not() {
    let mut random = Random(11);
    for (mistake, kind) in MISTAKES {
        let mut kinds = BTreeSet::new();
        let mut found = 0;
        for number in 0..HISTORIES / 7 {
            let ops = run(&mut random, mistake);
            match check(&ops) {
                Verdict::Valid(_) => {}
                Verdict::Violation(violation) => {
                    assert!(
                        mistake != Mistake::None,
                        "history {number}: {violation}\n{ops:#?}"
                    );
                    found += 1;
                    kinds.insert(violation.kind.name);
                }
                other => panic!("{other}"),
            }
        }
        println!("{mistake:?}: {found} found, {kinds:?}");
        assert!(
            mistake == Mistake::None || found > 100,
            "{mistake:?}: {found}"
        );
        assert!(
            kind.is_empty() || kinds.contains(kind),
            "{mistake:?}: {kinds:?}"
        );
    }
}

/// How many small histories are searched through.
const SMALL: usize = 120_000;

#[test]
fn the_verdict_is_that_of_a_search_through_all_orders() {
    let mut random = Random(13);
    let (mut valid, mut found) = (0, BTreeMap::new());
    for number in 0..SMALL {
        let mistake = MISTAKES[number % MISTAKES.len()].0;
        let count = 5 + random.below(5);
        let mut ops = run_of(&mut random, mistake, count);
        if random.one_in(2) {
            falsify(&mut random, &mut ops);
        }
        match check(&ops) {
            Verdict::Valid(_) => {
                assert!(has_order(&ops), "{number} is called valid: {ops:#?}");
                let order = order_of(&ops);
                assert!(replays(&ops, &order), "{number}: {order:?}\n{ops:#?}");
                valid += 1;
            }
            Verdict::Violation(violation) => {
                assert!(!has_order(&ops), "{number}: {violation}\n{ops:#?}");
                *found.entry(violation.kind.name).or_insert(0) += 1;
                let kind = violation.kind.name;
                // Of the frequent ones not each, as that takes its time.
                let is_drawn = kind == "non-linearizable" || number % 5 == 0;
                if is_drawn && PROVEN_ALONE.contains(&kind) {
                    check_witness(&ops, &violation);
                }
            }
            other => panic!("{other}"),
        }
    }
    println!("{valid} valid, {found:?}");
    assert!((SMALL / 4..SMALL * 9 / 10).contains(&valid), "{valid}");
    for kind in KINDS {
        assert!(
            found.get(kind).is_some_and(|found| *found > 20),
            "{found:?}"
        );
    }
}

/// The order that is given for a valid history, by the places of the operations.
fn order_of(ops: &[Op]) -> Vec<usize> {
    let history = history("reliable-queue", "{}", ops);
    let order = reliable_queue::linearization(&history, &Budget::default()).unwrap();
    let operations = history.operations();
    // Each has a process of its own.
    let place = |index: usize| operations[index].process() as usize;
    let order = order.expect("a valid history has an order");
    order.into_iter().map(place).collect()
}

#[test]
fn a_replay_tells_a_wrong_order() {
    let mut random = Random(16);
    let (mut told, mut swapped) = (0, 0);
    for _ in 0..2_000 {
        let ops = run_of(&mut random, Mistake::None, 8);
        let mut order = order_of(&ops);
        if order.len() < 2 {
            continue;
        }
        let first = random.below(order.len() - 1);
        order.swap(first, first + 1);
        swapped += 1;
        told += usize::from(!replays(&ops, &order));
    }
    assert!(told * 4 > swapped, "{told} of {swapped}");
}

const KINDS: [&str; 9] = [
    "RQ-acknowledged-twice",
    "RQ-came-back",
    "RQ-empty",
    "RQ-fresh",
    "RQ-lost",
    "RQ-order",
    "RQ-surplus",
    "RQ-two-claims",
    "non-linearizable",
];

#[test]
fn each_kind_is_told_of_in_the_documents() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/history-format.md");
    let told = std::fs::read_to_string(path).unwrap();
    let sections = told.split("\n## ");
    let mut of_model = sections.filter(|section| section.starts_with("The model `reliable-queue`"));
    let section = of_model.next().unwrap();
    for kind in KINDS {
        assert!(section.contains(&format!("`{kind}`")), "{kind}");
    }
}

/// Those that are proven whatever came of all other operations.
const PROVEN_ALONE: [&str; 5] = [
    "RQ-acknowledged-twice",
    "RQ-came-back",
    "RQ-fresh",
    "RQ-two-claims",
    "non-linearizable",
];

/// Answers are exchanged, or lost.
fn falsify(random: &mut Random, ops: &mut [Op]) {
    let (first, second) = (random.below(ops.len()), random.below(ops.len()));
    if ops[first].f == ops[second].f && ops[first].outcome == ops[second].outcome {
        let (one, other) = (ops[first].result.clone(), ops[second].result.clone());
        (ops[first].result, ops[second].result) = (other, one);
    } else if ops[first].f == "length" && ops[first].outcome == Outcome::Ok {
        ops[first].result = Json::from(random.below(4) as u64);
    } else {
        ops[first].outcome = Outcome::Info;
        (ops[first].result, ops[first].revision) = (Json::NULL, None);
    }
}

/// The witness breaks the promise whatever happened to the others, and each of its
/// operations is needed for that.
fn check_witness(ops: &[Op], violation: &Violation) {
    let whole = history("reliable-queue", "{}", ops);
    let lines = violation.witness.iter().map(|op| op.invoked.line);
    let witness = witness_ops(&whole, ops, lines);
    let knowing = |is_known: &dyn Fn(&Op) -> bool| {
        let known = |op: &Op| {
            if is_known(op) || op.outcome == Outcome::Fail && op.f != "claim" {
                return op.clone();
            }
            Op {
                outcome: Outcome::Info,
                result: Json::NULL,
                revision: None,
                ..op.clone()
            }
        };
        has_order(&ops.iter().map(known).collect::<Vec<Op>>())
    };
    assert!(
        !knowing(&|op| witness.contains(op)),
        "{violation}\n{ops:#?}"
    );
    // Where revisions contradict the order of the claims, these alone may do, too.
    if !violation.also.is_empty() || violation.kind.name == "RQ-two-claims" {
        return;
    }
    for spared in &witness {
        assert!(
            knowing(&|op| op != spared && witness.contains(op)),
            "not needed: {spared:?} in {violation}\n{ops:#?}"
        );
    }
}

/// Counted one by one: how many values that were certainly in the queue all the time
/// a length leaves out.
fn loses(ops: &[Op]) -> bool {
    let number = |json: &Json| json.parse::<Value>().unwrap();
    ops.iter()
        .filter(|op| op.f == "length" && op.outcome == Outcome::Ok)
        .any(|length| {
            let inside = ops
                .iter()
                .filter(|op| {
                    op.f == "enqueue" && op.outcome == Outcome::Ok && op.returned < length.invoked
                })
                .flat_map(|op| number(&op.invoke).as_array().unwrap().clone())
                .filter(|value| {
                    !ops.iter().any(|op| {
                        op.f == "acknowledge"
                            && op.outcome != Outcome::Fail
                            && op.invoked < length.returned
                            && number(&op.invoke)[0] == *value
                    })
                })
                .count() as u64;
            number(&length.result).as_u64().unwrap() < inside
        })
}

/// Counted one by one: whether a claim found nothing though more values were there
/// that nobody can have had than claims without a result.
fn is_blind(ops: &[Op]) -> bool {
    let value_of = |json: &Json| json.parse::<Value>().unwrap();
    let empties = ops
        .iter()
        .filter(|op| op.f == "claim" && op.outcome == Outcome::Ok && op.result.is_null());
    empties.into_iter().any(|empty| {
        let there = ops
            .iter()
            .filter(|op| {
                op.f == "enqueue" && op.outcome == Outcome::Ok && op.returned < empty.invoked
            })
            .flat_map(|op| value_of(&op.invoke).as_array().unwrap().clone())
            .filter(|value| {
                !ops.iter().any(|op| {
                    op.f == "claim"
                        && op.outcome == Outcome::Ok
                        && op.invoked < empty.returned
                        && !op.result.is_null()
                        && value_of(&op.result)[0][0] == *value
                })
            })
            .count();
        let vague = ops.iter().filter(|op| {
            op.f == "claim" && op.outcome != Outcome::Ok && op.invoked < empty.returned
        });
        there > vague.count()
    })
}

#[test]
fn the_sweeps_count_as_one_counts_by_hand() {
    let mut random = Random(12);
    let mut found = [0, 0];
    for number in 0..HISTORIES / 3 {
        let mistake = [Mistake::Loses, Mistake::Blind, Mistake::None][number % 3];
        let ops = run(&mut random, mistake);
        let verdict = check(&ops);
        let kind = verdict.violation().map(|violation| violation.kind.name);
        let (lost, blind) = (loses(&ops), is_blind(&ops));
        match kind {
            None => assert!(!lost && !blind, "{number}: {ops:#?}"),
            Some("RQ-lost") => assert!(lost, "{number}: {verdict}\n{ops:#?}"),
            Some("RQ-empty") => assert!(!lost && blind, "{number}: {verdict}\n{ops:#?}"),
            Some(_) => {}
        }
        found[0] += usize::from(kind == Some("RQ-lost"));
        found[1] += usize::from(kind == Some("RQ-empty"));
    }
    println!("{found:?}");
    assert!(found[0] > 100 && found[1] > 100, "{found:?}");
}

/// Whether the operations that count in these sweeps are all needed: with the outcome of one of
/// them unknown, they no longer count enough.
#[track_caller]
fn check_counted(ops: &[Op], violation: &Violation, is_wrong: impl Fn(&[Op]) -> bool) {
    let whole = history("reliable-queue", "{}", ops);
    let lines = violation.witness.iter().map(|op| op.invoked.line);
    let witness = witness_ops(&whole, ops, lines);
    let is_answer = |op: &Op| match op.f {
        "length" => true,
        "claim" => op.outcome == Outcome::Ok && op.result.is_null(),
        _ => false,
    };
    let known = |spared: Option<&Op>| -> Vec<Op> {
        let of_it = |op: &Op| match witness.contains(op) && Some(op) != spared {
            true => Some(op.clone()),
            // Of what was asked, it is one answer that is wrong.
            false if is_answer(op) => None,
            false if op.f == "enqueue" => Some(Op {
                outcome: Outcome::Info,
                ..op.clone()
            }),
            false => Some(op.clone()),
        };
        ops.iter().filter_map(of_it).collect()
    };
    assert!(is_wrong(&known(None)), "{violation}\n{ops:#?}");
    for spared in &witness {
        assert!(
            !is_wrong(&known(Some(spared))),
            "not needed: {spared:?} in {violation}\n{ops:#?}"
        );
    }
}

/// Of values that were enqueued together, one enqueue may be enough.
#[test]
fn no_enqueue_of_a_sweep_can_be_left_out() {
    let mut random = Random(17);
    let mut found = [0, 0];
    for number in 0..HISTORIES / 3 {
        let ops = run(&mut random, [Mistake::Loses, Mistake::Blind][number % 2]);
        let verdict = check(&ops);
        let Some(violation) = verdict.violation() else {
            continue;
        };
        match violation.kind.name {
            "RQ-lost" => check_counted(&ops, violation, loses),
            "RQ-empty" => check_counted(&ops, violation, is_blind),
            _ => continue,
        }
        found[usize::from(violation.kind.name == "RQ-empty")] += 1;
    }
    assert!(found[0] > 100 && found[1] > 100, "{found:?}");
}

#[test]
fn of_values_that_were_overtaken_the_fewest_enqueues_are_shown() {
    let op = |f, invoke: Value, outcome, result: Value, invoked| Op {
        f,
        invoke: json(&invoke),
        result: json(&result),
        outcome,
        revision: None,
        invoked,
        returned: invoked + 5,
    };
    let enqueue = |values: Value, invoked| op("enqueue", values, Outcome::Ok, json!(null), invoked);
    let ops = [
        enqueue(json!([1]), 0),
        enqueue(json!([2, 3]), 10),
        op("claim", json!(null), Outcome::Info, json!(null), 20),
        enqueue(json!([4]), 30),
        op("claim", json!(null), Outcome::Ok, json!([[4, 9]]), 40),
    ];
    let verdict = check(&ops);
    let violation = verdict.violation().unwrap();
    assert_eq!(violation.kind.name, "RQ-order");
    let shown: Vec<u64> = violation.witness.iter().map(|op| op.process).collect();
    assert_eq!(shown, [1, 3, 4], "{verdict}");
    assert!(
        violation
            .sentence
            .contains("`2` and `3` had been enqueued before"),
        "{verdict}"
    );
}

#[test]
fn a_search_that_takes_too_long_is_said_to_be_undecided() {
    let mut random = Random(15);
    let undecided = (0..5).any(|_| {
        let ops = run_of(&mut random, Mistake::None, 1_000);
        match check(&ops) {
            Verdict::Unknown { reason } => {
                let limit = "the search for an order did not end within the 512 MiB of memory";
                assert!(reason.starts_with(limit), "{reason}");
                true
            }
            Verdict::Valid(_) => false,
            other => panic!("{other}"),
        }
    });
    assert!(undecided);
}

/// In which order enqueues happened whose values nobody tells shows nowhere.
#[test]
fn lengths_after_many_enqueues_of_which_nobody_knows_are_decided() {
    let enqueue = |number: u64| {
        let count = if number.is_multiple_of(2) { 2 } else { 4 };
        let values: Vec<u64> = (10 * number..10 * number + count).collect();
        Op {
            f: "enqueue",
            invoke: json(&json!(values)),
            result: Json::NULL,
            outcome: Outcome::Info,
            revision: None,
            invoked: 10 * number,
            returned: 10 * number + 5,
        }
    };
    let length = |length: u64| Op {
        f: "length",
        invoke: Json::NULL,
        result: json(&json!(length)),
        outcome: Outcome::Ok,
        revision: None,
        invoked: 1_000,
        returned: 1_001,
    };
    let told = |told: u64| {
        let ops: Vec<Op> = (0..30).map(enqueue).chain([length(told)]).collect();
        check(&ops)
    };
    assert!(told(44).is_valid());
    // They put in two or four each.
    let odd = told(45);
    let kind = odd.violation().map(|violation| violation.kind.name);
    assert_eq!(kind, Some("non-linearizable"), "{odd}");
}

#[test]
fn a_long_history_whose_outcomes_are_known_is_decided() {
    // A dequeue that is acknowledged follows each enqueue, while another client asks.
    let mut ops = Vec::new();
    let op = |f, invoke, result, revision, during: (u64, u64)| Op {
        f,
        invoke: json(&invoke),
        result: json(&result),
        outcome: Outcome::Ok,
        revision,
        invoked: during.0,
        returned: during.1,
    };
    for number in 0..5_000_i64 {
        let (start, revision) = (100 * number as u64, 10 * number + 10);
        let claim = json!([number, revision + 2]);
        let during = |from, until| (start + from, start + until);
        ops.push(op(
            "enqueue",
            json!([number]),
            Value::Null,
            Some(revision),
            during(1, 30),
        ));
        ops.push(op("claim", json!(1), json!([claim]), None, during(10, 50)));
        ops.push(op("length", Value::Null, json!(1), None, during(2, 70)));
        ops.push(op(
            "acknowledge",
            claim,
            Value::Null,
            Some(revision + 3),
            during(60, 90),
        ));
    }
    assert!(check(&ops).is_valid());
}

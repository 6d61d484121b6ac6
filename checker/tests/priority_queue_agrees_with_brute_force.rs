//! The priority queue checker gives the verdict of a search through all orders, on
//! many small random histories with pending operations on both sides and empty
//! answers.

mod support;

use std::collections::BTreeSet;

use etcd_checker::history::{Json, Outcome};
use etcd_checker::{History, Verdict, Violation, priority_queue};
use support::{Op, Random, history, intervals, witness_ops};

const HISTORIES: usize = 300_000;

type Item = (i64, String);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Effect {
    Enqueue(Item),
    Dequeue(Option<Item>),
    /// A dequeue of unknown outcome.
    DequeueAny,
}

#[derive(Clone, Debug)]
struct Step {
    effect: Effect,
    invoked: u64,
    /// `u64::MAX` when it need not happen.
    returned: u64,
}

/// The best item, ties in the order of arrival.
fn take(queue: &mut Vec<Item>) -> Option<Item> {
    let best = queue.iter().map(|(priority, _)| *priority).min()?;
    let index = queue.iter().position(|(priority, _)| *priority == best)?;
    Some(queue.remove(index))
}

/// Tries all orders.
fn is_linearizable(
    steps: &[Step],
    done: u32,
    queue: &mut Vec<Item>,
    seen: &mut BTreeSet<(u32, Vec<Item>)>,
) -> bool {
    let is_open = |index: usize| done & (1 << index) == 0;
    let open = || (0..steps.len()).filter(|index| is_open(*index));
    let deadline = open().map(|index| steps[index].returned).min();
    let deadline = deadline.unwrap_or(u64::MAX);
    if deadline == u64::MAX {
        return true;
    }
    if !seen.insert((done, queue.clone())) {
        return false;
    }
    for index in open().filter(|index| steps[*index].invoked < deadline) {
        let before = queue.clone();
        let happens = match &steps[index].effect {
            Effect::Enqueue(item) => {
                queue.push(item.clone());
                true
            }
            Effect::Dequeue(item) => take(queue) == *item,
            Effect::DequeueAny => take(queue).is_some(),
        };
        if happens && is_linearizable(steps, done | 1 << index, queue, seen) {
            return true;
        }
        *queue = before;
    }
    false
}

fn brute_force(ops: &[Op]) -> bool {
    let steps: Vec<Step> = ops.iter().filter_map(step).collect();
    is_linearizable(&steps, 0, &mut Vec::new(), &mut BTreeSet::new())
}

fn item(json: &Json) -> Option<Item> {
    let pair = json.parse::<Option<(u64, i64)>>().unwrap();
    pair.map(|(value, priority)| (priority, value.to_string()))
}

fn step(op: &Op) -> Option<Step> {
    let returned = if op.outcome == Outcome::Ok {
        op.returned
    } else {
        u64::MAX
    };
    let effect = match (op.f, op.outcome) {
        (_, Outcome::Fail) => return None,
        ("enqueue", _) => Effect::Enqueue(item(&op.invoke)?),
        (_, Outcome::Ok) => Effect::Dequeue(item(&op.result)),
        _ => Effect::DequeueAny,
    };
    Some(Step {
        effect,
        invoked: op.invoked,
        returned,
    })
}

fn json(item: Option<&Item>) -> Json {
    let pair = item.map(|(priority, value)| (value.parse::<u64>().unwrap(), *priority));
    Json::new(&pair).unwrap()
}

/// A run of a real queue, seen by clients some of which miss the answers.
fn real_run(random: &mut Random) -> Vec<Op> {
    let count = 4 + random.below(5);
    let longest = if random.one_in(2) {
        1
    } else {
        1 + random.below(6)
    };
    let priorities = 1 + random.below(3);
    let mut queue = Vec::new();
    let mut values = 0_u64;
    let (enqueues, unknowns) = (2 + random.below(3), 3 + random.below(6));
    let mut ops = Vec::new();
    for (invoked, _, returned) in intervals(random, count, longest) {
        let outcome = match random.below(unknowns) {
            0 => [Outcome::Info, Outcome::Open, Outcome::Fail][random.below(3)],
            _ => Outcome::Ok,
        };
        let happens = outcome == Outcome::Ok || outcome != Outcome::Fail && random.one_in(2);
        let mut op = Op {
            f: "dequeue",
            invoke: Json::NULL,
            result: Json::NULL,
            outcome,
            revision: None,
            invoked,
            returned,
        };
        if random.below(5) < enqueues {
            values += 1;
            let item = (random.below(priorities) as i64, values.to_string());
            (op.f, op.invoke) = ("enqueue", json(Some(&item)));
            if happens {
                queue.push(item);
            }
        } else if happens {
            let item = take(&mut queue);
            if outcome == Outcome::Ok {
                op.result = json(item.as_ref());
            }
        }
        ops.push(op);
    }
    ops
}

/// Changes what some clients saw.
fn falsify(random: &mut Random, ops: &mut [Op]) {
    let is_dequeue = |op: &Op| op.f == "dequeue" && op.outcome == Outcome::Ok;
    for _ in 0..8 * (1 + random.below(3)) {
        let (first, second) = (random.below(ops.len()), random.below(ops.len()));
        match random.below(6) {
            0 | 1 if is_dequeue(&ops[first]) && is_dequeue(&ops[second]) => {
                let other = ops[second].result.clone();
                let result = std::mem::replace(&mut ops[first].result, other);
                ops[second].result = result;
            }
            2 if is_dequeue(&ops[first]) && ops[second].f == "enqueue" => {
                ops[first].result = ops[second].invoke.clone();
            }
            3 if is_dequeue(&ops[first]) && random.one_in(2) => ops[first].result = Json::NULL,
            4 if ops[first].outcome != Outcome::Ok && random.one_in(4) => {
                ops[first].outcome = Outcome::Ok;
            }
            5 if is_dequeue(&ops[first]) && random.one_in(8) => {
                if let Some((priority, value)) = item(&ops[first].result) {
                    ops[first].result = json(Some(&(priority + 1, value)));
                }
            }
            _ => {}
        }
    }
}

/// The witness alone breaks the promise.
fn check_witness(whole: &History, ops: &[Op], violation: &Violation) {
    let lines = violation.witness.iter().map(|op| op.invoked.line);
    let witness = witness_ops(whole, ops, lines);
    let verdict = priority_queue::check(&history("priority-queue", "{}", &witness)).unwrap();
    let kind = verdict.violation().map(|violation| violation.kind.name);
    assert!(kind.is_some(), "{violation}\n{witness:#?}\n{ops:#?}");
    if witness.iter().all(|op| op.outcome == Outcome::Ok) {
        assert_eq!(kind, Some(violation.kind.name), "{violation}\n{ops:#?}");
    }
}

#[test]
fn the_verdict_is_that_of_a_search_through_all_orders() {
    let mut random = Random(7);
    let mut valid = 0;
    let mut kinds = BTreeSet::new();
    let mut with_pending = 0;
    for number in 0..HISTORIES {
        let mut ops = real_run(&mut random);
        let is_real = number % 6 == 0;
        if !is_real {
            falsify(&mut random, &mut ops);
        }
        let expected = brute_force(&ops);
        assert!(
            expected || !is_real,
            "the twin refuses a real run: {ops:#?}"
        );
        let history = history("priority-queue", "{}", &ops);
        match priority_queue::check(&history).unwrap() {
            Verdict::Valid(_) => assert!(expected, "history {number} is called valid: {ops:#?}"),
            Verdict::Violation(violation) => {
                assert!(
                    !expected,
                    "history {number} is refused: {violation}\n{ops:#?}"
                );
                check_witness(&history, &ops, &violation);
                with_pending +=
                    usize::from(violation.witness.iter().any(|op| op.outcome != Outcome::Ok));
                kinds.insert(violation.kind.name);
            }
            other => panic!("history {number}: {other}"),
        }
        valid += usize::from(expected);
    }
    let share = valid * 100 / HISTORIES;
    println!(
        "{share} % valid, {with_pending} violations with operations of unknown outcome, {kinds:?}"
    );
    assert!((30..85).contains(&share), "{share} % are valid");
    assert!(with_pending > 500, "{with_pending}");
    assert_eq!(
        kinds,
        BTreeSet::from([
            "PQ-order",
            "PQ-order-lost",
            "PQ-priority",
            "PQ-tie",
            "PQ-tie-lost",
            "VFresh",
            "VRepeat",
            "VWit",
            "VWit-lost"
        ])
    );
}

/// A busy queue of many priorities.
fn busy(random: &mut Random, operations: usize) -> Vec<Op> {
    let mut queue = Vec::new();
    let mut values = 0_u64;
    let mut ops = Vec::new();
    for (invoked, _, returned) in intervals(random, operations, 10) {
        let mut op = Op {
            f: "dequeue",
            invoke: Json::NULL,
            result: Json::NULL,
            outcome: Outcome::Ok,
            revision: None,
            invoked,
            returned,
        };
        if queue.len() < 8 || random.one_in(2) && queue.len() < 200 {
            values += 1;
            let item = (random.below(10) as i64, values.to_string());
            (op.f, op.invoke) = ("enqueue", json(Some(&item)));
            queue.push(item);
        } else if random.one_in(500) {
            op.outcome = Outcome::Info;
            take(&mut queue);
        } else {
            op.result = json(take(&mut queue).as_ref());
        }
        ops.push(op);
    }
    ops
}

#[test]
fn a_long_history_with_dequeues_of_unknown_outcome_is_decided() {
    let mut random = Random(3);
    for _ in 0..3 {
        let ops = busy(&mut random, 20_000);
        let history = history("priority-queue", "{}", &ops);
        let verdict = priority_queue::check(&history).unwrap();
        assert!(verdict.is_valid(), "{verdict}");
    }
}

#[test]
fn a_fault_in_a_long_history_is_found_with_a_small_witness() {
    let mut random = Random(4);
    let mut found = 0;
    for _ in 0..10 {
        let mut ops = busy(&mut random, 4_000);
        ops.retain(|op| op.outcome == Outcome::Ok);
        // Two answers that are far apart are exchanged.
        let dequeues: Vec<usize> = (0..ops.len())
            .filter(|index| ops[*index].f == "dequeue")
            .collect();
        let (first, second) = (dequeues[100], dequeues[dequeues.len() / 2]);
        let result = ops[first].result.clone();
        ops[first].result = std::mem::replace(&mut ops[second].result, result);
        let history = history("priority-queue", "{}", &ops);
        let verdict = priority_queue::check(&history).unwrap();
        let violation = verdict.violation().expect("a value left before it came");
        assert!(violation.witness.len() < 60, "{violation}");
        found += 1;
    }
    assert_eq!(found, 10);
}

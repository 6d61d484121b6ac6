//! The queue checker gives the verdict of a search through all orders, on many small
//! random histories with pending operations on both sides and empty answers.

mod support;

use std::collections::{BTreeSet, VecDeque};

use etcd_checker::history::{Json, Outcome};
use etcd_checker::{History, Verdict, Violation, queue};
use support::{Op, Random, history, intervals, witness_ops};

const HISTORIES: usize = 300_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    Enqueue(u8),
    Dequeue(Option<u8>),
    /// A dequeue of unknown outcome.
    DequeueAny,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    effect: Effect,
    invoked: u64,
    /// `u64::MAX` when it need not happen.
    returned: u64,
}

/// Tries all orders.
fn is_linearizable(
    steps: &[Step],
    done: u32,
    queue: &mut VecDeque<u8>,
    seen: &mut BTreeSet<(u32, Vec<u8>)>,
) -> bool {
    let is_open = |index: usize| done & (1 << index) == 0;
    let open = || (0..steps.len()).filter(|index| is_open(*index));
    let deadline = open()
        .map(|index| steps[index].returned)
        .min()
        .unwrap_or(u64::MAX);
    if deadline == u64::MAX {
        return true;
    }
    if !seen.insert((done, queue.iter().copied().collect())) {
        return false;
    }
    for index in open().filter(|index| steps[*index].invoked < deadline) {
        let before = queue.clone();
        let happens = match steps[index].effect {
            Effect::Enqueue(value) => {
                queue.push_back(value);
                true
            }
            Effect::Dequeue(value) => queue.pop_front() == value,
            Effect::DequeueAny => queue.pop_front().is_some(),
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
    is_linearizable(&steps, 0, &mut VecDeque::new(), &mut BTreeSet::new())
}

fn step(op: &Op) -> Option<Step> {
    let number = |json: &Json| json.parse::<Option<u8>>().unwrap();
    let returned = if op.outcome == Outcome::Ok {
        op.returned
    } else {
        u64::MAX
    };
    let effect = match (op.f, op.outcome) {
        (_, Outcome::Fail) => return None,
        ("enqueue", _) => Effect::Enqueue(number(&op.invoke)?),
        (_, Outcome::Ok) => Effect::Dequeue(number(&op.result)),
        _ => Effect::DequeueAny,
    };
    Some(Step {
        effect,
        invoked: op.invoked,
        returned,
    })
}

/// A run of a real queue, seen by clients some of which miss the answers.
fn real_run(random: &mut Random) -> Vec<Op> {
    let count = 4 + random.below(5);
    let longest = if random.one_in(2) {
        1
    } else {
        1 + random.below(6)
    };
    let mut queue = VecDeque::new();
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
            (op.f, op.invoke) = ("enqueue", Json::from(values));
            if happens {
                queue.push_back(values);
            }
        } else if happens {
            let value = queue.pop_front();
            if outcome == Outcome::Ok {
                op.result = Json::from(value);
            }
        }
        ops.push(op);
    }
    ops
}

/// Changes what some clients saw.
fn falsify(random: &mut Random, ops: &mut [Op]) {
    let values = ops.iter().filter(|op| op.f == "enqueue").count() as u64;
    let is_dequeue = |op: &Op| op.f == "dequeue" && op.outcome == Outcome::Ok;
    for _ in 0..8 * (1 + random.below(3)) {
        let (first, second) = (random.below(ops.len()), random.below(ops.len()));
        match random.below(5) {
            0 | 1 if is_dequeue(&ops[first]) && is_dequeue(&ops[second]) => {
                let other = ops[second].result.clone();
                let result = std::mem::replace(&mut ops[first].result, other);
                ops[second].result = result;
            }
            2 if is_dequeue(&ops[first]) && random.one_in(3) => {
                ops[first].result = Json::from(1 + random.below(values as usize + 1) as u64);
            }
            3 if is_dequeue(&ops[first]) && random.one_in(2) => ops[first].result = Json::NULL,
            4 if ops[first].outcome != Outcome::Ok && random.one_in(4) => {
                ops[first].outcome = Outcome::Ok;
            }
            _ => {}
        }
    }
}

/// The witness alone breaks the promise in the same way, and without any one of its
/// values, or of its answers, it does not.
fn check_witness(whole: &History, ops: &[Op], violation: &Violation) {
    let witness = witness_ops(
        whole,
        ops,
        violation.witness.iter().map(|op| op.invoked.line),
    );
    // Dequeues of unknown outcome that explain nothing are not named.
    let is_pending =
        |op: &Op| op.f == "dequeue" && matches!(op.outcome, Outcome::Info | Outcome::Open);
    let unnamed = ops
        .iter()
        .filter(|op| is_pending(op) && !witness.contains(op));
    let unnamed: Vec<Op> = unnamed.cloned().collect();
    let kind = |ops: &[Op]| {
        let ops = &[ops, &unnamed].concat();
        let verdict = queue::check(&history("fifo-queue", "{}", ops)).unwrap();
        verdict.violation().map(|violation| violation.kind.name)
    };
    assert_eq!(
        kind(&witness),
        Some(violation.kind.name),
        "{violation}\n{ops:#?}"
    );
    for spared in &witness {
        let is_pending_dequeue = spared.f == "dequeue" && spared.outcome != Outcome::Ok;
        // It is named because it explains less than it would have to.
        if is_pending_dequeue || spared.outcome == Outcome::Fail {
            continue;
        }
        let value = |op: &Op| {
            if op.f == "enqueue" {
                op.invoke.clone()
            } else {
                op.result.clone()
            }
        };
        let same = |op: &Op| {
            let is_value = !value(op).is_null() && value(op) == value(spared);
            op == spared || (is_value && violation.kind.name != "VRepeat")
        };
        if violation.kind.name == "VRepeat" && spared.f == "enqueue" {
            continue;
        }
        let rest: Vec<Op> = witness.iter().filter(|op| !same(op)).cloned().collect();
        assert_eq!(
            kind(&rest),
            None,
            "{violation}\nwithout {spared:?}\n{ops:#?}"
        );
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
        let history = history("fifo-queue", "{}", &ops);
        match queue::check(&history).unwrap() {
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
    assert!((40..80).contains(&share), "{share} % are valid");
    assert!(
        with_pending > 500,
        "{with_pending} violations with operations of unknown outcome"
    );
    assert_eq!(
        kinds,
        BTreeSet::from([
            "VFresh",
            "VOrd",
            "VOrd-lost",
            "VRepeat",
            "VWit",
            "VWit-lost"
        ])
    );
}

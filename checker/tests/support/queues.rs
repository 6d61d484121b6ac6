//! What the tests of the queue checkers share: random histories of a real queue,
//! mistakes put into them, and a search through all orders.

use std::collections::BTreeSet;
use std::fmt::Debug;

use etcd_checker::history::{Json, Outcome};
use etcd_checker::search::Budget;
use etcd_checker::{History, Verdict, Violation};

use super::{Op, Random, history, intervals, linearization, witness_ops};

const HISTORIES: usize = 300_000;

/// In which order a queue gives its items out.
pub trait Order {
    type Item: Clone + Ord + Debug;
    /// What histories call the queue.
    const MODEL: &'static str;

    /// The parameters of the histories.
    const PARAMETERS: &'static str = "{}";

    /// Draws what the histories have in common.
    fn draw(random: &mut Random) -> Self;

    /// Item number so much.
    fn item(&self, random: &mut Random, number: u64) -> Self::Item;

    /// Takes the item whose turn it is from those that came in this order.
    fn take(queue: &mut Vec<Self::Item>) -> Option<Self::Item>;

    /// What is left of the queue, and the item, for each that may be taken.
    fn choices(queue: &[Self::Item]) -> Vec<(Vec<Self::Item>, Self::Item)> {
        let mut rest = queue.to_vec();
        let taken = Self::take(&mut rest);
        taken.map(|item| (rest, item)).into_iter().collect()
    }

    fn json(item: Option<&Self::Item>) -> Json;

    fn parse(json: &Json) -> Option<Self::Item>;
}

enum Effect<I> {
    Enqueue(I),
    Dequeue(Option<I>),
    /// A dequeue of unknown outcome.
    DequeueAny,
}

struct Step<I> {
    effect: Effect<I>,
    invoked: u64,
    /// `u64::MAX` when it need not happen.
    returned: u64,
}

/// Whether some order of the operations explains all answers.
fn is_linearizable<Q: Order>(ops: &[Op]) -> bool {
    let steps: Vec<Step<Q::Item>> = ops.iter().filter_map(step::<Q>).collect();
    search::<Q>(&steps, 0, &[], &mut BTreeSet::new())
}

fn step<Q: Order>(op: &Op) -> Option<Step<Q::Item>> {
    let effect = match (op.f, op.outcome) {
        (_, Outcome::Fail) => return None,
        ("enqueue", _) => Effect::Enqueue(Q::parse(&op.invoke)?),
        (_, Outcome::Ok) => Effect::Dequeue(Q::parse(&op.result)),
        _ => Effect::DequeueAny,
    };
    let is_over = op.outcome == Outcome::Ok;
    Some(Step {
        effect,
        invoked: op.invoked,
        returned: if is_over { op.returned } else { u64::MAX },
    })
}

/// Whether the history has a linearization. A queue must do what it says, too.
pub fn replays<Q: Order>(history: &History) -> bool {
    let model = Q::MODEL.parse().unwrap();
    let found = etcd_checker::linearization(history, model, &Budget::default()).unwrap();
    let Some(found) = found.order() else {
        return false;
    };
    // Nobody knows what a dequeue of unknown outcome took.
    let mut queues = BTreeSet::from([Vec::new()]);
    for operation in linearization::in_order(history, &found) {
        let (invoked, ok) = (operation.invoke, operation.ok());
        let effect = match (invoked.f(), ok) {
            ("enqueue", _) => Effect::Enqueue(Q::parse(invoked.value()).unwrap()),
            (_, Some(ok)) => Effect::Dequeue(Q::parse(ok.value())),
            (_, None) => Effect::DequeueAny,
        };
        queues = queues
            .iter()
            .flat_map(|queue| after::<Q>(queue, &effect))
            .collect();
        assert!(!queues.is_empty(), "{operation:?}");
    }
    true
}

/// What the queue may be like afterwards; nothing if that cannot happen.
fn after<Q: Order>(queue: &[Q::Item], effect: &Effect<Q::Item>) -> Vec<Vec<Q::Item>> {
    match effect {
        Effect::Enqueue(item) => {
            vec![queue.iter().chain([item]).cloned().collect()]
        }
        Effect::Dequeue(None) if queue.is_empty() => vec![Vec::new()],
        Effect::Dequeue(None) => Vec::new(),
        Effect::Dequeue(Some(item)) => {
            let choices = Q::choices(queue).into_iter();
            choices
                .filter(|(_, taken)| taken == item)
                .map(|(rest, _)| rest)
                .collect()
        }
        Effect::DequeueAny => Q::choices(queue)
            .into_iter()
            .map(|(rest, _)| rest)
            .collect(),
    }
}

/// Tries all orders.
fn search<Q: Order>(
    steps: &[Step<Q::Item>],
    done: u32,
    queue: &[Q::Item],
    seen: &mut BTreeSet<(u32, Vec<Q::Item>)>,
) -> bool {
    let is_open = |index: usize| done & (1 << index) == 0;
    let open = || (0..steps.len()).filter(|index| is_open(*index));
    let deadline = open().map(|index| steps[index].returned).min();
    let deadline = deadline.unwrap_or(u64::MAX);
    if deadline == u64::MAX {
        return true;
    }
    if !seen.insert((done, queue.to_vec())) {
        return false;
    }
    for index in open().filter(|index| steps[*index].invoked < deadline) {
        for next in after::<Q>(queue, &steps[index].effect) {
            if search::<Q>(steps, done | 1 << index, &next, seen) {
                return true;
            }
        }
    }
    false
}

/// A run of a real queue, seen by clients some of which miss the answers.
fn real_run<Q: Order>(random: &mut Random) -> Vec<Op> {
    let count = 4 + random.below(5);
    let longest = if random.one_in(2) {
        1
    } else {
        1 + random.below(6)
    };
    let order = Q::draw(random);
    let mut queue = Vec::new();
    let mut items = 0_u64;
    let (enqueues, unknowns) = (2 + random.below(3), 3 + random.below(6));
    let mut ops = Vec::new();
    for (invoked, _, returned) in intervals(random, count, longest) {
        let outcome = match random.below(unknowns) {
            0 => [Outcome::Info, Outcome::Open, Outcome::Fail][random.below(3)],
            _ => Outcome::Ok,
        };
        let happens = outcome == Outcome::Ok || outcome != Outcome::Fail && random.one_in(2);
        let mut op = Op::dequeue(outcome, invoked, returned);
        if random.below(5) < enqueues {
            items += 1;
            let item = order.item(random, items);
            (op.f, op.invoke) = ("enqueue", Q::json(Some(&item)));
            if happens {
                queue.push(item);
            }
        } else if happens {
            let item = Q::take(&mut queue);
            if outcome == Outcome::Ok {
                op.result = Q::json(item.as_ref());
            }
        }
        ops.push(op);
    }
    ops
}

/// Changes what some clients saw.
fn falsify<Q: Order>(random: &mut Random, ops: &mut [Op], alter: impl Fn(&mut Random, &mut Op)) {
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
            5 if is_dequeue(&ops[first]) && random.one_in(8) => alter(random, &mut ops[first]),
            _ => {}
        }
    }
}

/// The witness breaks the promise whatever came of the others, and each of its operations is
/// needed for that; whether that is so.
///
/// That nobody else has got a value is known besides the witness where it says so; elsewhere
/// there may be more dequeues than there are. When enqueues began is known in each case.
///
/// # Panics
/// When the witness does not break the promise.
pub fn is_minimal<Q: Order>(whole: &History, ops: &[Op], violation: &Violation) -> bool {
    let lines = violation.witness.iter().map(|op| op.invoked.line);
    let witness = witness_ops(whole, ops, lines);
    let is_known = violation.sentence.contains("nobody ever got");
    let knowing = |spared: Option<&Op>| {
        let known = |op: &Op| {
            let is_spared = Some(op) == spared;
            let is_listed = witness.contains(op);
            let is_elsewhere = is_known && op.f == "dequeue" && !is_listed;
            if is_listed && !is_spared || is_elsewhere && op.outcome != Outcome::Ok {
                return op.clone();
            }
            // It took something else, or nothing.
            let outcome = if is_elsewhere {
                Outcome::Fail
            } else {
                Outcome::Info
            };
            // Of the enqueue of a value that left it may be all that matters when it began.
            let begun = is_spared && op.f == "enqueue" && is_taken(op, &witness);
            Op {
                outcome,
                result: Json::NULL,
                invoked: if begun { 0 } else { op.invoked },
                ..op.clone()
            }
        };
        let anybody = (0..3).map(|number| Op::dequeue(Outcome::Info, number, number + 10));
        let anybody = anybody.take(if is_known { 0 } else { 3 });
        is_linearizable::<Q>(&ops.iter().map(known).chain(anybody).collect::<Vec<Op>>())
    };
    assert!(!knowing(None), "{violation}\n{ops:#?}");
    // Where it is known that nobody else has got a value, it is known as well who has.
    let goes_without_saying = |op: &Op| {
        let is_its = |other: &Op| other.f == "enqueue" && other.invoke == op.result;
        is_known && op.f == "dequeue" && witness.iter().any(is_its)
    };
    let mut spared = witness.iter().filter(|op| !goes_without_saying(op));
    spared.all(|spared| knowing(Some(spared)))
}

/// Whether somebody is listed who got this value.
fn is_taken(enqueue: &Op, witness: &[Op]) -> bool {
    let mut others = witness.iter();
    others.any(|other| other.f == "dequeue" && other.result == enqueue.invoke)
}

/// How the checker and the search agreed.
pub struct Agreement {
    /// How many of a hundred histories are valid.
    pub valid_percent: usize,
    /// How many violations are found although there are operations of unknown outcome.
    pub with_pending: usize,
    /// The kinds of violation that were found.
    pub kinds: BTreeSet<&'static str>,
}

/// Holds the checker against the search on many histories. `alter` makes another
/// answer of one; `check_witness` looks at each violation.
pub fn agree<Q: Order>(
    check: impl Fn(&History) -> Verdict,
    alter: impl Fn(&mut Random, &mut Op),
    check_witness: impl Fn(&History, &[Op], &Violation),
) -> Agreement {
    let mut random = Random(7);
    let (mut valid, mut with_pending, mut kinds) = (0, 0, BTreeSet::new());
    for number in 0..HISTORIES {
        let mut ops = real_run::<Q>(&mut random);
        let is_real = number % 6 == 0;
        if !is_real {
            falsify::<Q>(&mut random, &mut ops, &alter);
        }
        let expected = is_linearizable::<Q>(&ops);
        assert!(
            expected || !is_real,
            "the search refuses a real run: {ops:#?}"
        );
        let history = history(Q::MODEL, Q::PARAMETERS, &ops);
        assert_eq!(
            replays::<Q>(&history),
            expected,
            "history {number}: {ops:#?}"
        );
        match check(&history) {
            Verdict::Valid(_) => assert!(expected, "history {number} is called valid: {ops:#?}"),
            Verdict::Violation(violation) => {
                assert!(
                    !expected,
                    "history {number} is refused: {violation}\n{ops:#?}"
                );
                // Which takes its time. The larger are rarer, and more can be wrong with them.
                if number % 7 == 0 || violation.witness.len() > 3 {
                    check_witness(&history, &ops, &violation);
                }
                let is_pending = ops.iter().any(|op| op.outcome == Outcome::Info);
                with_pending += usize::from(is_pending);
                kinds.insert(violation.kind.name);
            }
            other => panic!("history {number}: {other}"),
        }
        valid += usize::from(expected);
    }
    let valid_percent = valid * 100 / HISTORIES;
    println!("{valid_percent} % valid, {with_pending} with unknown outcomes, {kinds:?}");
    Agreement {
        valid_percent,
        with_pending,
        kinds,
    }
}

//! The priority queue checker gives the verdict of a search through all orders, on
//! many small random histories with pending operations on both sides and empty
//! answers.

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcd_checker::history::{Json, Outcome};
use etcd_checker::search::Budget;
use etcd_checker::{History, Verdict, Violation, priority_queue};
use support::queues::{Order, agree};
use support::{Op, Random, history, intervals, witness_ops};

type Item = (i64, String);

/// How many priorities there are.
struct Priorities(usize);

impl Order for Priorities {
    type Item = Item;
    const MODEL: &'static str = "priority-queue";

    fn draw(random: &mut Random) -> Self {
        Self(1 + random.below(3))
    }

    fn item(&self, random: &mut Random, number: u64) -> Item {
        (random.below(self.0) as i64, number.to_string())
    }

    /// The best item, ties in the order of arrival.
    fn take(queue: &mut Vec<Item>) -> Option<Item> {
        let best = queue.iter().map(|(priority, _)| *priority).min()?;
        let index = queue.iter().position(|(priority, _)| *priority == best)?;
        Some(queue.remove(index))
    }

    fn json(item: Option<&Item>) -> Json {
        let pair = item.map(|(priority, value)| (value.parse::<u64>().unwrap(), *priority));
        Json::new(&pair).unwrap()
    }

    fn parse(json: &Json) -> Option<Item> {
        let pair = json.parse::<Option<(u64, i64)>>().unwrap();
        pair.map(|(value, priority)| (priority, value.to_string()))
    }
}

/// The same, where any of the best items may be taken.
struct AnyTies(Priorities);

impl Order for AnyTies {
    type Item = Item;
    const MODEL: &'static str = Priorities::MODEL;
    const PARAMETERS: &'static str = r#"{"ties":"any"}"#;

    fn draw(random: &mut Random) -> Self {
        Self(Priorities::draw(random))
    }

    fn item(&self, random: &mut Random, number: u64) -> Item {
        self.0.item(random, number)
    }

    /// The last of the best that came, for a change.
    fn take(queue: &mut Vec<Item>) -> Option<Item> {
        Self::choices(queue).pop().map(|(rest, item)| {
            *queue = rest;
            item
        })
    }

    fn choices(queue: &[Item]) -> Vec<(Vec<Item>, Item)> {
        let best = queue.iter().map(|(priority, _)| *priority).min();
        let is_best = |index: &usize| Some(queue[*index].0) == best;
        let without = |index: usize| {
            let mut rest = queue.to_vec();
            let item = rest.remove(index);
            (rest, item)
        };
        (0..queue.len()).filter(is_best).map(without).collect()
    }

    fn json(item: Option<&Item>) -> Json {
        Priorities::json(item)
    }

    fn parse(json: &Json) -> Option<Item> {
        Priorities::parse(json)
    }
}

/// The witness alone breaks the promise.
fn check_witness<Q: Order>(whole: &History, ops: &[Op], violation: &Violation) {
    let lines = violation.witness.iter().map(|op| op.invoked.line);
    let witness = witness_ops(whole, ops, lines);
    let verdict = priority_queue::check(
        &history("priority-queue", Q::PARAMETERS, &witness),
        &Budget::default(),
    )
    .unwrap();
    let kind = verdict.violation().map(|violation| violation.kind.name);
    assert!(kind.is_some(), "{violation}\n{witness:#?}\n{ops:#?}");
    if witness.iter().all(|op| op.outcome == Outcome::Ok) {
        assert_eq!(kind, Some(violation.kind.name), "{violation}\n{ops:#?}");
    }
}

/// The checker agrees with the search through all orders, valid and violating histories
/// were among them, and violations of all of these kinds.
fn agrees<Q: Order>(kinds: impl Into<BTreeSet<&'static str>>) {
    let check = |history: &_| priority_queue::check(history, &Budget::default()).unwrap();
    let agreed = agree::<Q>(check, alter, check_witness::<Q>);
    let share = agreed.valid_percent;
    assert!((30..85).contains(&share), "{share} % are valid");
    assert!(agreed.with_pending > 500, "{}", agreed.with_pending);
    assert_eq!(agreed.kinds, kinds.into());
}

/// Another priority.
fn alter(_: &mut Random, op: &mut Op) {
    if let Some((priority, value)) = Priorities::parse(&op.result) {
        op.result = Priorities::json(Some(&(priority + 1, value)));
    }
}

#[test]
fn ties_may_leave_in_any_order() {
    agrees::<AnyTies>([
        "PQ-order",
        "PQ-order-lost",
        "PQ-priority",
        "VFresh",
        "VRepeat",
        "VWit",
        "VWit-lost",
    ]);
}

#[test]
fn the_verdict_is_that_of_a_search_through_all_orders() {
    agrees::<Priorities>([
        "PQ-order",
        "PQ-order-lost",
        "PQ-priority",
        "PQ-tie",
        "PQ-tie-lost",
        "VFresh",
        "VRepeat",
        "VWit",
        "VWit-lost",
    ]);
}

/// A busy queue of many priorities.
fn busy(random: &mut Random, operations: usize) -> Vec<Op> {
    let mut queue = Vec::new();
    let mut values = 0_u64;
    let mut ops = Vec::new();
    for (invoked, _, returned) in intervals(random, operations, 10) {
        let mut op = Op::dequeue(Outcome::Ok, invoked, returned);
        if queue.len() < 8 || random.one_in(2) && queue.len() < 200 {
            values += 1;
            let item = (random.below(10) as i64, values.to_string());
            (op.f, op.invoke) = ("enqueue", Priorities::json(Some(&item)));
            queue.push(item);
        } else if random.one_in(500) {
            op.outcome = Outcome::Info;
            Priorities::take(&mut queue);
        } else {
            op.result = Priorities::json(Priorities::take(&mut queue).as_ref());
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
        let verdict = priority_queue::check(&history, &Budget::default()).unwrap();
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
        let verdict = priority_queue::check(&history, &Budget::default()).unwrap();
        let violation = verdict.violation().expect("a value left before it came");
        assert!(violation.witness.len() < 60, "{violation}");
        found += 1;
    }
    assert_eq!(found, 10);
}

/// More values are gone than dequeues of unknown outcome can have taken, and there are more
/// ways to have taken some than can be tried.
fn undecidable() -> History {
    let mut ops = Vec::new();
    for number in 0..24_u64 {
        let mut enqueue = Op::dequeue(Outcome::Ok, 10 * number, 10 * number + 5);
        let item = (number as i64 % 5, number.to_string());
        (enqueue.f, enqueue.invoke) = ("enqueue", Priorities::json(Some(&item)));
        ops.push(enqueue);
        if number > 0 {
            ops.push(Op::dequeue(Outcome::Info, 10 * number + 1, 1_000 + number));
        }
    }
    ops.push(Op::dequeue(Outcome::Ok, 2_000, 2_001));
    history("priority-queue", "{}", &ops)
}

fn unknown(budget: &Budget) -> String {
    match priority_queue::check(&undecidable(), budget).unwrap() {
        Verdict::Unknown { reason } => reason,
        other => panic!("{other}"),
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the budget is real time")]
fn the_budget_is_kept_and_named_where_it_does_not_suffice() {
    let budget = Budget {
        time: None,
        memory_bytes: 2 << 20,
    };
    let reason = unknown(&budget);
    assert!(
        reason.starts_with("23 dequeues of unknown outcome may have taken values in too many ways"),
        "{reason}"
    );
    assert!(
        reason.ends_with("within the 2 MiB of memory that the search was given"),
        "{reason}"
    );
    // The same on every machine.
    assert_eq!(unknown(&budget), reason);

    let budget = Budget {
        time: Some(Duration::from_millis(50)),
        memory_bytes: 1 << 30,
    };
    let begun = Instant::now();
    let reason = unknown(&budget);
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(
        reason.ends_with("within the 0.05 s that the search was given"),
        "{reason}"
    );
}

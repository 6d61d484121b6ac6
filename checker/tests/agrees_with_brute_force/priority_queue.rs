//! The priority queue checker gives the verdict of a search through all orders, on
//! many small random histories with pending operations on both sides and empty
//! answers.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use etcd_checker::history::{Json, Outcome};
use etcd_checker::search::Budget;
use etcd_checker::{History, Verdict, Violation, priority_queue};

use crate::support::queues::{Order, agree, is_minimal};
use crate::support::{Op, Random, history, intervals};

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

/// The witness breaks the promise, and nothing in it is superfluous.
fn check_witness<Q: Order>(whole: &History, ops: &[Op], violation: &Violation) {
    let is_minimal = is_minimal::<Q>(whole, ops, violation);
    assert!(is_minimal, "{violation}\n{ops:#?}");
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

/// A busy queue of many priorities. Of one in so many operations the outcome is not known.
fn busy(random: &mut Random, operations: usize, unknown: usize) -> Vec<Op> {
    let mut queue = Vec::new();
    let mut values = 0_u64;
    let mut ops = Vec::new();
    for (invoked, _, returned) in intervals(random, operations, 10) {
        let mut op = Op::dequeue(Outcome::Ok, invoked, returned);
        if random.one_in(unknown) {
            op.outcome = Outcome::Info;
        }
        if queue.len() < 8 || random.one_in(2) && queue.len() < 200 {
            values += 1;
            let item = (random.below(10) as i64, values.to_string());
            (op.f, op.invoke) = ("enqueue", Priorities::json(Some(&item)));
            queue.push(item);
        } else {
            let item = Priorities::take(&mut queue);
            if op.outcome == Outcome::Ok {
                op.result = Priorities::json(item.as_ref());
            }
        }
        ops.push(op);
    }
    ops
}

/// Nothing is left for a search.
const NO_SEARCH: Budget = Budget {
    time: None,
    memory_bytes: 0,
};

fn verdict(ops: &[Op], budget: &Budget) -> Verdict {
    priority_queue::check(&history("priority-queue", "{}", ops), budget).unwrap()
}

#[test]
fn a_long_history_with_operations_of_unknown_outcome_is_decided_without_a_search() {
    let mut random = Random(3);
    for unknown in [500, 50, 20, 5] {
        let ops = busy(&mut random, 20_000, unknown);
        let verdict = verdict(&ops, &NO_SEARCH);
        assert!(verdict.is_valid(), "one in {unknown} unknown: {verdict}");
    }
}

/// The dequeues that got something, in the order in which they happened.
fn got(ops: &[Op]) -> Vec<usize> {
    let got = (0..ops.len()).filter(|index| ops[*index].f == "dequeue");
    got.filter(|index| !ops[*index].result.is_null()).collect()
}

/// A fault that no dequeue of unknown outcome explains, in the middle of a history, and what
/// it may be called.
fn plant(ops: &mut [Op], fault: usize) -> &'static [&'static str] {
    let enqueue = |ops: &[Op], value: &Json| {
        let mut all = ops.iter();
        all.find(|op| op.f == "enqueue" && op.invoke == *value)
            .cloned()
    };
    let got = got(ops);
    let middle = &got[got.len() / 2..];
    match fault {
        0 => {
            ops[middle[0]].result = Json::NULL;
            &["VWit"]
        }
        1 => {
            ops[middle[0]].result = ops[middle[30]].result.clone();
            &["VRepeat", "VFresh"]
        }
        2 => {
            ops[middle[0]].result = Priorities::json(Some(&(3, "1000000".to_owned())));
            &["VFresh"]
        }
        _ => {
            // The worse one of two leaves first, though both are there.
            let priority = |op: &Op| Priorities::parse(&op.result).map(|(priority, _)| priority);
            let swapped = middle.iter().enumerate().find_map(|(place, first)| {
                let mut later = middle[place + 1..].iter().take(40);
                later.find_map(|second| {
                    let both = [&ops[*first], &ops[*second]];
                    let is_later = both[0].returned < both[1].invoked;
                    let are_there = both.iter().all(|op| {
                        let came = enqueue(ops, &op.result);
                        came.is_some_and(|came| {
                            came.outcome == Outcome::Ok && came.returned < both[0].invoked
                        })
                    });
                    let is_worse = priority(both[0]) < priority(both[1]);
                    (is_later && are_there && is_worse).then_some((*first, *second))
                })
            });
            let (first, second) = swapped.expect("there are many values");
            let result = ops[first].result.clone();
            ops[first].result = std::mem::replace(&mut ops[second].result, result);
            &["PQ-order"]
        }
    }
}

#[test]
fn planted_faults_are_found_whatever_dequeues_of_unknown_outcome_took() {
    for seed in 0..4 {
        for fault in 0..4 {
            let mut ops = busy(&mut Random(seed), 20_000, 20);
            let kinds = plant(&mut ops, fault);
            let verdict = verdict(&ops, &NO_SEARCH);
            let violation = verdict.violation().unwrap_or_else(|| panic!("{verdict}"));
            assert!(kinds.contains(&violation.kind.name), "{violation}");
            assert!(violation.witness.len() <= 3, "{violation}");
        }
    }
}

/// More values were lost than there are dequeues of unknown outcome.
#[test]
fn values_that_dequeues_of_unknown_outcome_cannot_have_taken_are_missed() {
    let enqueue = |number: u64, priority: i64| {
        let mut op = Op::dequeue(Outcome::Ok, 10 * number, 10 * number + 5);
        let item = (priority, number.to_string());
        (op.f, op.invoke) = ("enqueue", Priorities::json(Some(&item)));
        op
    };
    let mut ops = vec![
        enqueue(1, 0),
        enqueue(2, 0),
        enqueue(3, 1),
        Op::dequeue(Outcome::Info, 40, 45),
        Op::dequeue(Outcome::Info, 46, 49),
        Op::dequeue(Outcome::Ok, 50, 55),
    ];
    let all = verdict(&ops, &NO_SEARCH);
    assert_eq!(
        all.violation().unwrap().sentence,
        "the dequeue by process 5 found the queue empty, but one of `1` (priority 0), `2` \
         (priority 0) and `3` (priority 1) was inside all the time; nobody ever got them; the 2 \
         dequeues of unknown outcome can have taken but 2 of them"
    );
    ops[5].result = Priorities::json(Some(&(1, "3".to_owned())));
    let two = verdict(&ops, &NO_SEARCH);
    assert!(two.is_valid(), "{two}");
    ops.remove(4);
    let one = verdict(&ops, &NO_SEARCH);
    assert_eq!(
        one.violation().unwrap().sentence,
        "`3` (priority 1) left although one of `1` (priority 0) and `2` (priority 0) was inside \
         all the time; nobody ever got them; the only dequeue of unknown outcome can have taken \
         but one of them"
    );
    for (place, op) in ops.iter_mut().take(3).enumerate() {
        *op = enqueue(place as u64 + 1, 0);
    }
    ops[4].result = Priorities::json(Some(&(0, "3".to_owned())));
    let ties = verdict(&ops, &NO_SEARCH);
    let ties = ties.violation().unwrap();
    assert_eq!(ties.kind.name, "PQ-tie-lost");
    assert_eq!(
        ties.sentence,
        "`3` (priority 0) was enqueued only after `1` (priority 0) and `2` (priority 0) were \
         acknowledged, yet left first; nobody ever got them; the only dequeue of unknown outcome \
         can have taken but one of them"
    );
}

#[test]
fn a_fault_in_a_long_history_is_found_with_a_small_witness() {
    let mut random = Random(4);
    let mut found = 0;
    for _ in 0..10 {
        let mut ops = busy(&mut random, 4_000, 500);
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

/// More values are gone than dequeues of unknown outcome can have taken; that shows only if it
/// is seen that the first of these began too late for a time at which fewer would do.
fn undecidable() -> History {
    let enqueue = |number: u64| {
        let mut op = Op::dequeue(Outcome::Ok, 10 * number, 10 * number + 5);
        let item = (number as i64 % 5, number.to_string());
        (op.f, op.invoke) = ("enqueue", Priorities::json(Some(&item)));
        op
    };
    let mut ops = vec![enqueue(1), Op::dequeue(Outcome::Ok, 17, 2_000)];
    ops.extend((2..=24).map(enqueue));
    ops.extend((1..24).map(|number| Op::dequeue(Outcome::Info, 1_000 + number, 3_000 + number)));
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

//! The queue checker gives the verdict of a search through all orders, on many small
//! random histories with pending operations on both sides and empty answers.

mod support;

use std::collections::BTreeSet;

use etcd_checker::history::{Json, Outcome};
use etcd_checker::{History, Violation, queue};
use support::queues::{Order, agree};
use support::{Op, Random, history, witness_ops};

struct Fifo;

impl Order for Fifo {
    type Item = u64;
    const MODEL: &'static str = "fifo-queue";

    fn draw(_: &mut Random) -> Self {
        Self
    }

    fn item(&self, _: &mut Random, number: u64) -> u64 {
        number
    }

    fn take(queue: &mut Vec<u64>) -> Option<u64> {
        (!queue.is_empty()).then(|| queue.remove(0))
    }

    fn json(item: Option<&u64>) -> Json {
        Json::from(item.copied())
    }

    fn parse(json: &Json) -> Option<u64> {
        json.parse().unwrap()
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
    let check = |history: &_| queue::check(history).unwrap();
    // Perhaps nobody has enqueued it.
    let alter =
        |random: &mut Random, op: &mut Op| op.result = Json::from(1 + random.below(8) as u64);
    let agreed = agree::<Fifo>(check, alter, check_witness);
    let share = agreed.valid_percent;
    assert!((40..80).contains(&share), "{share} % are valid");
    assert!(agreed.with_pending > 500, "{}", agreed.with_pending);
    assert_eq!(
        agreed.kinds,
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

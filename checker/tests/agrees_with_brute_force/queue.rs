//! The queue checker gives the verdict of a search through all orders, on many small
//! random histories with pending operations on both sides and empty answers.

use std::collections::BTreeSet;

use etcd_checker::history::Json;
use etcd_checker::{History, Violation, queue};

use crate::support::queues::{Order, agree, is_minimal};
use crate::support::{Op, Random};

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

/// The witness breaks the promise, and nothing in it is superfluous.
fn check_witness(whole: &History, ops: &[Op], violation: &Violation) {
    let is_minimal = is_minimal::<Fifo>(whole, ops, violation);
    assert!(is_minimal, "{violation}\n{ops:#?}");
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

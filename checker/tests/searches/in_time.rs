//! Orders of transactions whose versions are inferred are looked for as long as the budget allows,
//! and found where many clients are busy.

use std::time::{Duration, Instant};

use etcd_checker::search::Budget;
use etcd_checker::{
    Consistency, History, Linearization, Model, Options, Verdict, check_with, check_within,
    linearization,
};

use crate::support::Random;
use crate::support::busy::register::busy_register;
use crate::support::transactions::{Object, busy_transactions};

fn within(history: &History, time: Option<Duration>, asked: Consistency) -> Verdict {
    let budget = Budget {
        time,
        ..Budget::default()
    };
    let options = Options {
        budget,
        consistency: vec![asked],
        ..Options::default()
    };
    check_with(history, Model::of(history).unwrap(), &options).unwrap()
}

#[test]
fn many_clients_at_once_are_put_in_an_order() {
    let history = busy_transactions(&mut Random(1), Object::Register, 6_000, 400);
    let verdict = within(
        &history,
        Some(Duration::from_secs(60)),
        Consistency::StrictSerializable,
    );
    assert!(verdict.is_valid(), "{verdict}");
    let order = linearization(&history, Model::RwRegister, &Budget::default()).unwrap();
    let Linearization::Order(order) = order else {
        panic!("{order:?}");
    };
    assert_eq!(order.len(), 6_000);
}

/// Values come back, so that only a search finds an order: among a hundred clients, one that writes
/// what nobody needs soon comes to an end that it sees late.
#[test]
fn registers_of_many_clients_are_put_in_an_order_within_little_memory() {
    let budget = Budget {
        time: None,
        memory_bytes: 8 << 20,
    };
    for seed in 0..10 {
        let history = busy_register(&mut Random(seed), 20_000, 100);
        let verdict = check_within(&history, Model::CasRegister, &budget).unwrap();
        assert!(verdict.is_valid(), "seed {seed}: {verdict}");
    }
}

/// Where the time is over, the verdict is unknown, and says so.
#[test]
fn without_time_no_order_is_looked_for() {
    let history = busy_transactions(&mut Random(2), Object::Register, 200, 10);
    let asked = Consistency::StrictSerializable;
    assert!(within(&history, None, asked).is_valid());
    let verdict = within(&history, Some(Duration::ZERO), asked);
    let Verdict::Unknown { reason } = &verdict else {
        panic!("{verdict}");
    };
    assert!(reason.contains("the 0 s did not suffice"), "{reason}");
}

/// A read that missed what had been acknowledged, and one of all.
fn stale_read(model: &str, told: [&str; 3]) -> History {
    let mut text = format!(
        r#"{{"format":"etcd-recipes-history","version":1,"workload":"test","model":"{model}","source":{{"kind":"other"}}}}"#
    );
    for (number, told) in told.into_iter().enumerate() {
        for (time, kind, value) in [(2 * number, "invoke", "null"), (2 * number + 1, "ok", told)] {
            text += &format!(
                "\n{{\"time\":{time},\"process\":0,\"type\":\"{kind}\",\"f\":\"txn\",\"value\":{value}}}"
            );
        }
    }
    History::read_from(text.as_bytes()).unwrap()
}

/// Without time nothing is inferred, and no cycle looked for.
#[test]
fn without_time_no_cycle_is_looked_for() {
    let list = [
        r#"[["append","x",1]]"#,
        r#"[["r","x",[]]]"#,
        r#"[["r","x",[1]]]"#,
    ];
    let register = [
        r#"[["w","x",1]]"#,
        r#"[["r","x",null]]"#,
        r#"[["r","x",1]]"#,
    ];
    for (model, told) in [("list-append", list), ("rw-register", register)] {
        let history = stale_read(model, told);
        let asked = Consistency::StrictSerializable;
        let verdict = within(&history, None, asked);
        assert!(verdict.violation().is_some(), "{verdict}");
        let verdict = within(&history, Some(Duration::ZERO), asked);
        let Verdict::Unknown { reason } = &verdict else {
            panic!("{model}: {verdict}");
        };
        assert!(reason.contains("the 0 s did not suffice"), "{reason}");
    }
}

/// Without real time each two writers of a key are a choice.
#[test]
#[expect(clippy::disallowed_methods, reason = "the budget is real time")]
fn a_search_ends_when_the_time_is_over() {
    let registers = busy_transactions(&mut Random(3), Object::Register, 4_000, 400);
    let lists = busy_transactions(&mut Random(3), Object::List, 4_000, 400);
    for (history, asked) in [
        (&registers, Consistency::Serializable),
        (&registers, Consistency::StrictSerializable),
        (&lists, Consistency::StrictSerializable),
    ] {
        for millis in [1, 300] {
            let time = Duration::from_millis(millis);
            let begin = Instant::now();
            let verdict = within(history, Some(time), asked);
            let took = begin.elapsed();
            // To read the transactions takes as long as it takes, on a busy machine, too.
            assert!(took < time + Duration::from_secs(4), "{took:?}: {verdict}");
            let Verdict::Unknown { reason } = &verdict else {
                continue;
            };
            assert!(reason.contains("did not suffice"), "{reason}");
        }
    }
}

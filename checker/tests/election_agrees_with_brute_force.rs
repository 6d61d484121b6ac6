//! The election checker gives the verdict of a search through all times at which the
//! revisions can have happened, on many small random histories.

#[path = "support/election_twin.rs"]
mod election_twin;
mod support;
#[path = "support/elections.rs"]
mod support_elections;

use std::collections::BTreeSet;

use election_twin::{Need, explains_lazily, is_explained};
use etcd_checker::history::Outcome;
use etcd_checker::{Verdict, election};
use support::{Op, Random, history};
use support_elections::{falsify, has_equal_times, real_run};

const HISTORIES: usize = 120_000;

/// Tries all times at which the revisions can have happened.
fn explains(ops: &[Op], needs: &[Need<'_>], covered: i64) -> bool {
    let told = ops.iter().filter_map(|op| op.revision).max().unwrap_or(0);
    let last = told.max(covered + 1);
    let mut events: Vec<(u64, bool, *const Op)> = Vec::new();
    for op in ops {
        events.push((op.invoked, true, op));
        if op.outcome == Outcome::Ok {
            events.push((op.returned, false, op));
        }
    }
    events.sort_unstable();
    // The revisions that had happened when each operation was invoked.
    let mut states: BTreeSet<Vec<i64>> = BTreeSet::from([vec![0; ops.len() + 1]]);
    let place = |op: *const Op| {
        ops.iter()
            .position(|other| std::ptr::eq(other, op))
            .unwrap()
    };
    for (_, is_invoke, op) in events {
        let op = place(op);
        let of_op = || {
            needs
                .iter()
                .filter(|need| std::ptr::eq(need.op, &raw const ops[op]))
        };
        let mut next = BTreeSet::new();
        for state in states {
            let now = *state.last().unwrap();
            for by in now..=last {
                let mut state = state.clone();
                *state.last_mut().unwrap() = by;
                let holds = if is_invoke {
                    state[op] = by;
                    // What needs no completion is decided here.
                    ops[op].outcome == Outcome::Ok || of_op().all(|need| (need.holds)(by, last))
                } else {
                    let before = std::mem::replace(&mut state[op], 0);
                    of_op().all(|need| (need.holds)(before, by))
                };
                if holds {
                    next.insert(state);
                }
            }
        }
        states = next;
    }
    !states.is_empty()
}

/// The operations, one a line.
fn show(ops: &[Op]) -> String {
    let line = |op: &Op| {
        let Op {
            f,
            invoke,
            result,
            outcome,
            revision,
            invoked,
            returned,
        } = op;
        format!("\n{invoked}-{returned} {f} {invoke} -> {outcome:?} {result} {revision:?}")
    };
    ops.iter().map(line).collect()
}

#[test]
fn the_verdict_is_that_of_a_search_through_all_times() {
    let mut random = Random(11);
    let (mut valid, mut compared, mut unknown) = (0, 0, 0);
    let mut kinds = BTreeSet::new();
    for number in 0..HISTORIES {
        let mut ops = real_run(&mut random);
        let is_real = number % 4 == 0;
        if !is_real {
            falsify(&mut random, &mut ops);
        }
        if has_equal_times(&ops) {
            continue;
        }
        let verdict = election::check(&history("election", "{}", &ops)).unwrap();
        if matches!(verdict, Verdict::Unknown { .. }) && !is_real {
            unknown += 1;
            continue;
        }
        let expected = is_explained(&ops, explains);
        assert_eq!(
            is_explained(&ops, explains_lazily),
            expected,
            "{}",
            show(&ops)
        );
        assert!(
            expected || !is_real,
            "the twin refuses a real run: {}",
            show(&ops)
        );
        match verdict {
            Verdict::Valid(_) => {
                assert!(expected, "history {number} is called valid: {}", show(&ops));
            }
            Verdict::Violation(violation) => {
                assert!(
                    !expected,
                    "history {number} is refused: {violation}\n{}",
                    show(&ops)
                );
                kinds.insert(violation.kind.name);
            }
            other => panic!("history {number}: {other}"),
        }
        compared += 1;
        valid += usize::from(expected);
    }
    println!("{compared} compared, {valid} valid, {unknown} unknown, {kinds:?}");
    assert!(compared > HISTORIES / 2);
    let share = valid * 100 / compared;
    assert!((40..85).contains(&share), "{share} % are valid");
    let expected = BTreeSet::from([
        "false-leader",
        "lost-proposal",
        "outlived-lease",
        "real-time",
        "refused-write",
        "stale-answer",
        "two-leaders",
        "unguarded-write",
        "wrong-leader",
        "wrong-value",
    ]);
    assert!(kinds.is_superset(&expected), "{kinds:?}");
}

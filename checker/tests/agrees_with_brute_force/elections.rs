//! The election checker gives the verdict of a search through all times at which the
//! revisions can have happened, on many small random histories.

use std::collections::BTreeSet;

use etcd_checker::history::{Json, Outcome};
use etcd_checker::{Verdict, Violation, election};

use crate::support::election_twin::{Need, explains_lazily, is_explained};
use crate::support::elections::{falsify, has_equal_times, real_run, value};
use crate::support::{Op, Random, history};

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

/// The record of the keys and the operations of the witness refute the history, and if nothing is
/// known of any one of these they do not. False if it is refuted already by the record and by what was asked.
fn is_minimal(ops: &[Op], violation: &Violation) -> bool {
    let listed: BTreeSet<usize> = (violation.witness.iter())
        .map(|operation| usize::try_from(operation.process).unwrap())
        .collect();
    // The twin does not know that somebody may lead after the record has ended.
    let explains = |known: &BTreeSet<usize>| {
        let history = history("election", "{}", &only(ops, known));
        !matches!(election::check(&history), Ok(Verdict::Violation(_)))
    };
    if !explains(&BTreeSet::new()) {
        return false;
    }
    assert!(
        !explains(&listed),
        "it is no proof: {violation}\n{}",
        show(ops)
    );
    // Who told of the record is listed also where it does not matter when.
    let is_watch = |number: &usize| ops[*number].f == "watch";
    let (watches, mut listed): (BTreeSet<usize>, BTreeSet<usize>) =
        listed.into_iter().partition(is_watch);
    if explains(&listed) {
        listed.extend(watches);
    }
    for number in &listed {
        let mut rest = listed.clone();
        rest.remove(number);
        assert!(
            explains(&rest),
            "process {number} can be left out: {violation}\n{}",
            show(ops)
        );
    }
    true
}

/// The history if nobody knows what came of all but these operations, nor when they were invoked.
/// What etcd told of the keys is known, but not when.
fn only(ops: &[Op], known: &BTreeSet<usize>) -> Vec<Op> {
    let mut ops = told_later(ops, known);
    let count = ops.len() as u64;
    let is_first = first_questions(&ops);
    for (number, op) in ops.iter_mut().enumerate() {
        op.invoked += count;
        op.returned = op.returned.saturating_add(count);
        if known.contains(&number) {
            continue;
        }
        if op.f != "observe" || is_first[number] {
            op.invoked = number as u64;
        }
        if op.f != "watch" {
            op.outcome = Outcome::Info;
            op.revision = None;
        }
    }
    ops
}

/// Which are the first of their stream of observations.
fn first_questions(ops: &[Op]) -> Vec<bool> {
    let asks_before = |op: &Op, other: &Op| {
        other.f == "observe" && other.invoke == op.invoke && other.invoked < op.invoked
    };
    let is_first = |op: &Op| op.f == "observe" && !ops.iter().any(|other| asks_before(op, other));
    ops.iter().map(is_first).collect()
}

/// The history if all was told only by the next of these watches, or after the end.
fn told_later(ops: &[Op], known: &BTreeSet<usize>) -> Vec<Op> {
    let times = ops.iter().flat_map(|op| [op.invoked, op.returned]);
    let end = times.filter(|time| *time != u64::MAX).max().unwrap_or(0);
    let mut ops = ops.to_vec();
    let watches = (0..ops.len()).filter(|number| ops[*number].f == "watch");
    let mut watches: Vec<usize> = watches
        .filter(|number| ops[*number].outcome == Outcome::Ok)
        .collect();
    watches.sort_by_key(|number| ops[*number].returned);
    let mut told = Vec::new();
    for (place, number) in watches.iter().enumerate() {
        let op = &mut ops[*number];
        told.extend(value(&op.result).as_array().expect("a list").clone());
        if known.contains(number) || place + 1 == watches.len() {
            op.result = Json::new(&std::mem::take(&mut told)).expect("it was JSON");
        } else {
            op.outcome = Outcome::Info;
            op.revision = None;
        }
        if !known.contains(number) {
            op.returned += end;
        }
    }
    ops
}

#[test]
fn the_verdict_is_that_of_a_search_through_all_times() {
    let mut random = Random(11);
    let (mut valid, mut compared, mut unknown, mut compared_witnesses) = (0, 0, 0, 0);
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
                compared_witnesses += usize::from(is_minimal(&ops, &violation));
            }
            other => panic!("history {number}: {other}"),
        }
        compared += 1;
        valid += usize::from(expected);
    }
    println!(
        "{compared} compared, {valid} valid, {unknown} unknown, {compared_witnesses} witnesses, \
         {kinds:?}"
    );
    assert!(compared_witnesses > HISTORIES / 20, "{compared_witnesses}");
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

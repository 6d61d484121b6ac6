//! The reliable queue checker accepts what a real queue does, and finds each planted
//! fault; its sweeps give the same as counting one by one.

mod support;

use std::collections::BTreeSet;

use etcd_checker::history::{Json, Outcome};
use etcd_checker::{Verdict, reliable_queue};
use serde_json::{Value, json};
use support::{Op, Random, history, intervals};

const HISTORIES: usize = 60_000;

/// What a run of a real queue can do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mistake {
    None,
    /// An acknowledgement does not ask whether the claim is still its own.
    Unguarded,
    /// An item vanishes.
    Loses,
    /// The last item that is free is handed out first.
    Backwards,
    /// A claim finds nothing now and then.
    Blind,
    /// Claims do not keep others away.
    Shared,
    /// An item stays after it was acknowledged.
    Keeps,
}

struct Inside {
    value: u64,
    /// The revision of the live claim.
    claim: Option<i64>,
}

fn json(value: &Value) -> Json {
    Json::new(value).unwrap()
}

/// A run of a real queue, seen by clients some of which miss the answers; leases of
/// claims end now and then.
fn run(random: &mut Random, mistake: Mistake) -> Vec<Op> {
    let count = 6 + random.below(10);
    let longest = 1 + random.below(4);
    let mut queue: Vec<Inside> = Vec::new();
    // Claims that clients know of: when they know, value, revision.
    let mut held: Vec<(u64, u64, i64)> = Vec::new();
    let (mut values, mut revision) = (0_u64, 10_i64);
    let mut ops = Vec::new();
    for (invoked, effect, returned) in intervals(random, count, longest) {
        revision += 1;
        if random.one_in(8)
            && let Some(item) = queue.iter_mut().find(|item| item.claim.is_some())
        {
            item.claim = None;
        }
        if mistake == Mistake::Loses && random.one_in(6) && !queue.is_empty() {
            queue.remove(0);
        }
        let is_lost = random.one_in(6);
        let outcome = if is_lost { Outcome::Info } else { Outcome::Ok };
        let happens = !is_lost || random.one_in(2);
        let mut op = Op {
            f: "length",
            invoke: Json::NULL,
            result: Json::NULL,
            outcome,
            revision: None,
            invoked,
            returned,
        };
        let known: Vec<usize> = (0..held.len()).filter(|i| held[*i].0 < invoked).collect();
        match random.below(10) {
            0..4 => {
                let batch = 1 + random.below(2) as u64;
                let new: Vec<u64> = (values + 1..=values + batch).collect();
                values += batch;
                (op.f, op.invoke) = ("enqueue", json(&json!(new)));
                if happens {
                    queue.extend(new.iter().map(|value| Inside {
                        value: *value,
                        claim: None,
                    }));
                }
            }
            4..7 => {
                op.f = "claim";
                let free = |item: &&mut Inside| item.claim.is_none() || mistake == Mistake::Shared;
                let mut free: Vec<&mut Inside> = queue.iter_mut().filter(free).collect();
                if mistake == Mistake::Backwards {
                    free.reverse();
                }
                if mistake == Mistake::Blind && random.one_in(3) {
                    free.clear();
                }
                if happens && let Some(item) = free.into_iter().next() {
                    item.claim = Some(revision);
                    if outcome == Outcome::Ok {
                        op.result = json(&json!([[item.value, revision]]));
                        held.push((returned, item.value, revision));
                    }
                }
            }
            7..9 if !known.is_empty() => {
                let (_, value, claim) = held.remove(known[random.below(known.len())]);
                let is_ours = |item: &Inside| item.value == value && item.claim == Some(claim);
                let is_anybodys = matches!(mistake, Mistake::Unguarded | Mistake::Shared);
                let is_it = |item: &Inside| is_ours(item) || is_anybodys && item.value == value;
                let place = queue.iter().position(is_it);
                op.f = if random.one_in(4) {
                    "release"
                } else {
                    "acknowledge"
                };
                op.invoke = json(&json!([value, claim]));
                let done = place.is_some() || mistake == Mistake::Unguarded;
                match place {
                    Some(place) if happens && op.f == "release" => queue[place].claim = None,
                    Some(place) if happens && mistake != Mistake::Keeps => {
                        queue.remove(place);
                    }
                    Some(place) if happens => queue[place].claim = None,
                    _ => {}
                }
                if outcome == Outcome::Ok && !done {
                    op.outcome = Outcome::Fail;
                }
                if outcome == Outcome::Ok && op.f == "acknowledge" {
                    op.revision = Some(revision);
                }
            }
            _ => {
                if outcome == Outcome::Ok {
                    op.result = json(&json!(queue.len()));
                }
            }
        }
        let _ = effect;
        ops.push(op);
    }
    ops
}

#[test]
fn what_a_real_queue_does_is_valid_and_what_a_broken_one_does_is_not() {
    let mut random = Random(11);
    let mistakes = [
        (Mistake::None, ""),
        (Mistake::Unguarded, "RQ-acknowledged-twice"),
        (Mistake::Loses, "RQ-lost"),
        (Mistake::Backwards, "RQ-order"),
        (Mistake::Blind, "RQ-empty"),
        (Mistake::Shared, "RQ-two-claims"),
        (Mistake::Keeps, "RQ-came-back"),
    ];
    for (mistake, kind) in mistakes {
        let mut kinds = BTreeSet::new();
        let mut found = 0;
        for number in 0..HISTORIES / 7 {
            let ops = run(&mut random, mistake);
            match reliable_queue::check(&history("reliable-queue", "{}", &ops)).unwrap() {
                Verdict::Valid(_) => {}
                Verdict::Violation(violation) => {
                    assert!(
                        mistake != Mistake::None,
                        "history {number}: {violation}\n{ops:#?}"
                    );
                    found += 1;
                    kinds.insert(violation.kind.name);
                }
                other => panic!("{other}"),
            }
        }
        println!("{mistake:?}: {found} found, {kinds:?}");
        assert!(
            mistake == Mistake::None || found > 100,
            "{mistake:?}: {found}"
        );
        assert!(
            kind.is_empty() || kinds.contains(kind),
            "{mistake:?}: {kinds:?}"
        );
    }
}

/// Counted one by one: how many values that were certainly in the queue all the time
/// a length leaves out.
fn loses(ops: &[Op]) -> bool {
    let number = |json: &Json| json.parse::<Value>().unwrap();
    ops.iter()
        .filter(|op| op.f == "length" && op.outcome == Outcome::Ok)
        .any(|length| {
            let inside = ops
                .iter()
                .filter(|op| {
                    op.f == "enqueue" && op.outcome == Outcome::Ok && op.returned < length.invoked
                })
                .flat_map(|op| number(&op.invoke).as_array().unwrap().clone())
                .filter(|value| {
                    !ops.iter().any(|op| {
                        op.f == "acknowledge"
                            && op.outcome != Outcome::Fail
                            && op.invoked < length.returned
                            && number(&op.invoke)[0] == *value
                    })
                })
                .count() as u64;
            number(&length.result).as_u64().unwrap() < inside
        })
}

/// Counted one by one: whether a claim found nothing though more values were there
/// that nobody can have had than claims without a result.
fn is_blind(ops: &[Op]) -> bool {
    let value_of = |json: &Json| json.parse::<Value>().unwrap();
    let empties = ops
        .iter()
        .filter(|op| op.f == "claim" && op.outcome == Outcome::Ok && op.result.is_null());
    empties.into_iter().any(|empty| {
        let there = ops
            .iter()
            .filter(|op| {
                op.f == "enqueue" && op.outcome == Outcome::Ok && op.returned < empty.invoked
            })
            .flat_map(|op| value_of(&op.invoke).as_array().unwrap().clone())
            .filter(|value| {
                !ops.iter().any(|op| {
                    op.f == "claim"
                        && op.outcome == Outcome::Ok
                        && op.invoked < empty.returned
                        && !op.result.is_null()
                        && value_of(&op.result)[0][0] == *value
                })
            })
            .count();
        let vague = ops.iter().filter(|op| {
            op.f == "claim" && op.outcome != Outcome::Ok && op.invoked < empty.returned
        });
        there > vague.count()
    })
}

#[test]
fn the_sweeps_count_as_one_counts_by_hand() {
    let mut random = Random(12);
    let mut found = [0, 0];
    for number in 0..HISTORIES / 3 {
        let mistake = [Mistake::Loses, Mistake::Blind, Mistake::None][number % 3];
        let ops = run(&mut random, mistake);
        let verdict = reliable_queue::check(&history("reliable-queue", "{}", &ops)).unwrap();
        let kind = verdict.violation().map(|violation| violation.kind.name);
        let (lost, blind) = (loses(&ops), is_blind(&ops));
        match kind {
            None => assert!(!lost && !blind, "{number}: {ops:#?}"),
            Some("RQ-lost") => assert!(lost, "{number}: {verdict}\n{ops:#?}"),
            Some("RQ-empty") => assert!(!lost && blind, "{number}: {verdict}\n{ops:#?}"),
            Some(_) => {}
        }
        found[0] += usize::from(kind == Some("RQ-lost"));
        found[1] += usize::from(kind == Some("RQ-empty"));
    }
    println!("{found:?}");
    assert!(found[0] > 100 && found[1] > 100, "{found:?}");
}

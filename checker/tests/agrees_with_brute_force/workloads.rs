//! The checkers of banks that are read as a whole, of sets that only grow, and of long forks
//! give the verdict of their definitions, word for word, on many small random histories, valid
//! and violating.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::{Json, Outcome};
use etcd_checker::search::Budget;
use etcd_checker::{History, Linearization, Model, Verdict, check, linearization};
use serde_json::{Value, json};

use crate::support::linearization::{complete, in_order};
use crate::support::naive::is_linearizable;
use crate::support::objects::Sets;
use crate::support::{Op, Random, history, intervals};

const HISTORIES: usize = 120_000;

/// What a checker should say.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Expected {
    Valid,
    Violation,
    Unknown,
}

fn op(f: &'static str, argument: &Value, (invoked, _, returned): (u64, u64, u64)) -> Op {
    Op {
        f,
        invoke: Json::new(argument).unwrap(),
        result: Json::NULL,
        outcome: Outcome::Ok,
        revision: None,
        invoked,
        returned,
    }
}

/// Now and then nobody knows what became of an operation.
fn outcome(random: &mut Random) -> Outcome {
    match random.below(8) {
        0 => [Outcome::Info, Outcome::Open][random.below(2)],
        1 if random.one_in(2) => Outcome::Fail,
        _ => Outcome::Ok,
    }
}

/// Completed reads.
fn reads(ops: &[Op]) -> impl Iterator<Item = (&Op, Value)> {
    let is_read = |op: &&Op| op.f == "read" && op.outcome == Outcome::Ok;
    ops.iter()
        .filter(is_read)
        .map(|op| (op, op.result.parse().unwrap()))
}

/// Holds the checker against the definition.
fn agree(
    model: Model,
    draw: impl Fn(&mut Random) -> (Value, Vec<Op>),
    define: impl Fn(&Value, &[Op]) -> Expected,
    replay: impl Fn(&[Op], &History, Linearization),
) {
    let mut random = Random(29);
    let mut tally: BTreeMap<Expected, usize> = BTreeMap::new();
    for number in 0..HISTORIES {
        let (parameters, ops) = draw(&mut random);
        let expected = define(&parameters, &ops);
        let history = history(model.name(), &parameters.to_string(), &ops);
        let verdict = check(&history, model).unwrap();
        let said = match verdict {
            Verdict::Valid(_) => Expected::Valid,
            Verdict::Violation(_) => Expected::Violation,
            _ => Expected::Unknown,
        };
        let told = || {
            ops.iter()
                .map(|op| (op.f, op.result.as_str(), op.invoked, op.returned))
        };
        assert_eq!(
            said,
            expected,
            "history {number}: {verdict}\n{parameters} {:#?}",
            told().collect::<Vec<_>>()
        );
        *tally.entry(expected).or_default() += 1;
        if verdict.is_valid() {
            let order = linearization(&history, model, &Budget::default()).unwrap();
            replay(&ops, &history, order);
        }
    }
    let often = |expected| tally.get(&expected).copied().unwrap_or(0) * 10 > HISTORIES;
    assert!(
        often(Expected::Valid) && often(Expected::Violation),
        "{tally:?}"
    );
}

// ---- The bank. ----

const ACCOUNTS: [&str; 3] = ["a", "b", "c"];

fn bank(random: &mut Random) -> (Value, Vec<Op>) {
    let parameters = [
        json!({}),
        json!({"total": 10}),
        json!({"accounts": ACCOUNTS, "total": 10, "allow_negative": true}),
        json!({"accounts": ACCOUNTS, "missing_is_empty": true}),
        json!({"missing_is_empty": true}),
    ];
    let parameters = parameters[random.below(5)].clone();
    let mut balances = [4, 4, 2];
    let is_wrong = random.one_in(2);
    let mut ops = Vec::new();
    let count = 2 + random.below(6);
    for interval in intervals(random, count, 4) {
        let outcome = outcome(random);
        if random.one_in(2) {
            let (from, to) = (random.below(3), random.below(3));
            let amount = random.below(4) as i64;
            let is_covered = balances[from] >= amount || is_wrong && random.one_in(4);
            if outcome != Outcome::Fail && is_covered {
                balances[from] -= amount;
                // Money may vanish on its way.
                if !is_wrong || !random.one_in(6) {
                    balances[to] += amount;
                }
            }
            let argument = json!({"from": from, "to": to, "amount": amount});
            let transfer = op("transfer", &argument, interval);
            ops.push(Op {
                outcome,
                ..transfer
            });
            continue;
        }
        let mut seen: BTreeMap<&str, Value> = BTreeMap::new();
        for (account, balance) in ACCOUNTS.iter().zip(balances) {
            seen.insert(account, json!(balance));
        }
        if is_wrong && random.one_in(8) {
            seen.insert(ACCOUNTS[random.below(3)], Value::Null);
        }
        if is_wrong && random.one_in(8) {
            seen.remove(ACCOUNTS[random.below(3)]);
        }
        // One that is empty may be closed.
        if random.one_in(8) {
            seen.retain(|_, balance| *balance != json!(0));
        }
        ops.push(Op {
            result: Json::new(&seen).unwrap(),
            outcome,
            ..op("read", &Value::Null, interval)
        });
    }
    (parameters, ops)
}

/// There is a total, and there are accounts, as they are said or as the first read has them,
/// such that each read has a balance of these and no others, and they add up; those that are
/// empty may be missing where that is said.
fn is_bank(parameters: &Value, ops: &[Op]) -> Expected {
    let mut reads: Vec<(u64, BTreeMap<String, Option<i64>>)> = reads(ops)
        .map(|(op, seen)| (op.returned, serde_json::from_value(seen).unwrap()))
        .collect();
    reads.sort_by_key(|(returned, _)| *returned);
    let Some((_, first)) = reads.first() else {
        return Expected::Unknown;
    };
    let sum = |seen: &BTreeMap<String, Option<i64>>| seen.values().flatten().sum::<i64>();
    let total = parameters["total"].as_i64().unwrap_or_else(|| sum(first));
    let accounts: BTreeSet<String> = match parameters["accounts"].as_array() {
        Some(_) => ACCOUNTS.map(str::to_owned).into(),
        None => first.keys().cloned().collect(),
    };
    let may_owe = parameters["allow_negative"] == json!(true);
    let may_miss = parameters["missing_is_empty"] == json!(true);
    let is_open_end = may_miss && parameters["accounts"].is_null();
    let is_fine = |seen: &BTreeMap<String, Option<i64>>| {
        let balances = || seen.values().copied();
        (is_open_end || seen.keys().all(|account| accounts.contains(account)))
            && (may_miss || accounts.iter().all(|account| seen.contains_key(account)))
            && balances().all(|balance| balance.is_some_and(|balance| may_owe || balance >= 0))
            && sum(seen) == total
    };
    match reads.iter().all(|(_, seen)| is_fine(seen)) {
        true => Expected::Valid,
        false => Expected::Violation,
    }
}

#[test]
fn banks() {
    let replay = |_: &[Op], _: &History, order| {
        assert!(matches!(order, Linearization::None { .. }), "{order:?}");
    };
    agree(Model::Bank, bank, is_bank, replay);
}

// ---- Sets that only grow. ----

fn set(random: &mut Random) -> (Value, Vec<Op>) {
    let mut held: BTreeSet<usize> = BTreeSet::new();
    let (mut next, is_wrong) = (0, random.one_in(2));
    let mut ops = Vec::new();
    let count = 3 + random.below(6);
    for interval in intervals(random, count, 4) {
        let outcome = outcome(random);
        if random.one_in(2) {
            let fails = outcome == Outcome::Fail;
            if outcome == Outcome::Ok || random.one_in(if fails { 8 } else { 2 }) {
                held.insert(next);
            }
            ops.push(Op {
                outcome,
                ..op("add", &json!(next), interval)
            });
            // What failed may be tried again.
            next += usize::from(!fails || random.one_in(2));
            continue;
        }
        if is_wrong && random.one_in(4) && next > 0 {
            held.remove(&random.below(next));
        }
        let mut seen: Vec<usize> = held.iter().copied().collect();
        if is_wrong && random.one_in(12) {
            // One that comes later, or never, or one that is there twice.
            seen.push(random.below(next + 2));
        }
        // An element may take its time to be seen.
        if random.one_in(6) {
            seen.pop();
        }
        ops.push(Op {
            result: Json::new(&seen).unwrap(),
            outcome,
            ..op("read", &Value::Null, interval)
        });
    }
    (json!({}), ops)
}

fn keeps_all(_: &Value, ops: &[Op]) -> Expected {
    let reads: Vec<(&Op, Vec<u64>)> = reads(ops)
        .map(|(op, seen)| (op, serde_json::from_value(seen).unwrap()))
        .collect();
    let adds: Vec<(&Op, u64)> = ops
        .iter()
        .filter(|op| op.f == "add" && op.outcome != Outcome::Fail)
        .map(|op| (op, op.invoke.parse().unwrap()))
        .collect();
    for (read, seen) in &reads {
        let distinct: BTreeSet<&u64> = seen.iter().collect();
        let is_added = |element: &&u64| {
            let begun =
                |(add, added): &(&Op, u64)| added == *element && add.invoked < read.returned;
            adds.iter().any(begun)
        };
        if distinct.len() < seen.len() || !seen.iter().all(|element| is_added(&element)) {
            return Expected::Violation;
        }
    }
    let mut is_any_stable = false;
    for (add, element) in &adds {
        // Reads that could have the element: has the last of them?
        let could = |(read, _): &&(&Op, Vec<u64>)| read.returned > add.invoked;
        let last = reads
            .iter()
            .filter(could)
            .max_by_key(|(read, _)| read.invoked);
        let Some((last, seen)) = last else { continue };
        if seen.contains(element) {
            is_any_stable = true;
            continue;
        }
        let met = reads.iter().filter(|(_, seen)| seen.contains(element));
        let acknowledged = (add.outcome == Outcome::Ok).then_some(add.returned);
        let known = met.map(|(read, _)| read.returned).chain(acknowledged).min();
        if known.is_some_and(|known| known < last.invoked) {
            return Expected::Violation;
        }
    }
    match is_any_stable {
        true => Expected::Valid,
        false => Expected::Unknown,
    }
}

/// A set has what was added, and whoever reads it has that, in real time.
fn replay_set(history: &History, order: &[usize]) {
    let mut held = BTreeSet::new();
    for operation in in_order(history, order) {
        if operation.invoke.f() == "add" {
            held.insert(operation.invoke.value().parse::<usize>().unwrap());
        } else if let Some(ok) = operation.ok() {
            let seen: BTreeSet<usize> = ok.value().parse().unwrap();
            assert_eq!(seen, held, "{operation:?}");
        }
    }
}

#[test]
fn sets_that_only_grow() {
    let (ordered, unordered) = (Cell::new(0), Cell::new(0));
    let replay = |ops: &[Op], history: &History, order| match order {
        Linearization::Order(order) => {
            replay_set(history, &order);
            ordered.set(ordered.get() + 1);
        }
        Linearization::None { reason } => {
            assert!(
                !is_linearizable::<Sets>(&json!({}), ops),
                "{reason}: {ops:#?}"
            );
            unordered.set(unordered.get() + 1);
        }
    };
    agree(Model::SetFull, set, keeps_all, replay);
    println!("{ordered:?} with an order, {unordered:?} without");
    assert!(ordered.get() > 1_000 && unordered.get() > 1_000);
}

/// Whether these operations lose an element. What others added is left out of reads.
fn is_lost(mut ops: Vec<Op>) -> bool {
    let added: Vec<u64> = ops
        .iter()
        .filter(|op| op.f == "add")
        .map(|op| op.invoke.parse().unwrap())
        .collect();
    for op in ops.iter_mut().filter(|op| op.f == "read") {
        let mut seen: Vec<u64> = op.result.parse().unwrap();
        seen.retain(|element| added.contains(element));
        op.result = Json::new(&seen).unwrap();
    }
    let verdict = check(&history("set-full", "{}", &ops), Model::SetFull).unwrap();
    let violation = verdict.violation();
    violation.is_some_and(|violation| violation.kind.name == "lost-element")
}

/// What is shown of a lost element proves the loss by itself, and none of it can be spared.
#[test]
fn nothing_is_spare_in_what_shows_that_an_element_is_lost() {
    let mut random = Random(31);
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for number in 0..HISTORIES {
        let (_, ops) = set(&mut random);
        let history = history("set-full", "{}", &ops);
        let verdict = check(&history, Model::SetFull).unwrap();
        let Some(violation) = verdict.violation() else {
            continue;
        };
        if violation.kind.name != "lost-element" {
            continue;
        }
        let operations = history.operations();
        let is_shown = |line: usize| violation.witness.iter().any(|op| op.invoked.line == line);
        let shown = operations.iter().filter(|op| is_shown(op.invoke.line()));
        let begins: Vec<u64> = shown.map(|op| op.invoke.time()).collect();
        let proof: Vec<Op> = ops
            .into_iter()
            .filter(|op| begins.contains(&op.invoked))
            .collect();
        assert!(is_lost(proof.clone()), "history {number}: {violation}");
        for spared in 0..proof.len() {
            let mut rest = proof.clone();
            rest.remove(spared);
            assert!(!is_lost(rest), "history {number}, {spared}: {violation}");
            let mut unknown = proof.clone();
            unknown[spared].outcome = Outcome::Info;
            // Who added it need not know that where somebody has read it.
            let is_seen = proof.len() > 2 && unknown[spared].f == "add";
            assert_eq!(
                is_lost(unknown),
                is_seen,
                "history {number}, {spared}: {violation}"
            );
        }
        *sizes.entry(proof.len()).or_default() += 1;
    }
    println!("{sizes:?}");
    assert!(
        sizes[&2] > 1_000 && sizes[&3] > 500 && sizes.len() == 2,
        "{sizes:?}"
    );
}

// ---- Long forks. ----

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The groups of keys that are read at once.
const GROUPS: [&[&str]; 2] = [&["a", "b", "c"], &["d", "e"]];

/// Some keys: those of a group, or any.
fn some_keys(random: &mut Random, is_apart: bool) -> Vec<&'static str> {
    let group = GROUPS[random.below(2)];
    if is_apart {
        return group.to_vec();
    }
    if random.one_in(2) {
        let first = random.below(KEYS.len());
        return vec![KEYS[first], KEYS[(first + 1) % KEYS.len()]];
    }
    let some = KEYS.into_iter().filter(|_| random.one_in(2));
    let some: Vec<&str> = some.collect();
    if some.is_empty() {
        group.to_vec()
    } else {
        some
    }
}

fn forks(random: &mut Random) -> (Value, Vec<Op>) {
    let mut written: BTreeSet<&str> = BTreeSet::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let (is_apart, is_wrong) = (random.one_in(2), !random.one_in(3));
    let mut ops = Vec::new();
    let count = 6 + random.below(6);
    for interval in intervals(random, count, 4) {
        let outcome = outcome(random);
        let keys = some_keys(random, is_apart);
        let mut written_now = vec![keys[random.below(keys.len())]];
        if !is_apart && random.one_in(4) {
            written_now = keys.iter().copied().take(2).collect();
        }
        if written_now.iter().all(|key| !written.contains(key)) {
            let happens = outcome == Outcome::Ok || random.one_in(2);
            let is_made_up = is_wrong && outcome == Outcome::Fail && random.one_in(4);
            if outcome != Outcome::Fail && happens || is_made_up {
                seen.extend(&written_now);
            }
            // What failed may be written again.
            if outcome != Outcome::Fail {
                written.extend(&written_now);
            }
            let writes = written_now.iter().map(|key| json!(["w", key, 1]));
            let writes: Vec<Value> = writes.collect();
            ops.push(Op {
                outcome,
                ..op("write", &json!(writes), interval)
            });
            continue;
        }
        let asked: Vec<Value> = keys.iter().map(|key| json!(["r", key, null])).collect();
        let mut view = seen.clone();
        if is_wrong {
            let often = 2 + random.below(4);
            view.retain(|_| !random.one_in(often));
        }
        let garbage = is_wrong && random.one_in(40);
        let read = |key: &&str| {
            let value = view.contains(key).then_some(if garbage { 2 } else { 1 });
            json!(["r", key, value])
        };
        let told: Vec<Value> = keys.iter().map(read).collect();
        ops.push(Op {
            result: Json::new(&told).unwrap(),
            outcome,
            ..op("read", &json!(asked), interval)
        });
    }
    (json!({}), ops)
}

/// What was read or written, by key.
type Seen = Vec<(String, String, Option<u64>)>;

/// There is an order of the writes of which each read has seen the first so many.
fn has_order(_: &Value, ops: &[Op]) -> Expected {
    let reads = reads(ops).map(|(_, seen)| serde_json::from_value(seen).unwrap());
    let reads: Vec<Seen> = reads.collect();
    let writes = ops
        .iter()
        .filter(|op| op.f == "write" && op.outcome != Outcome::Fail)
        .map(|op| op.invoke.parse().unwrap());
    let writes: Vec<Seen> = writes.collect();
    let is_explained = vec![false; reads.len()];
    match explains(&writes, &mut BTreeMap::new(), &reads, is_explained) {
        true => Expected::Valid,
        false => Expected::Violation,
    }
}

/// Whether some order of these writes, from this state on, explains all reads that are not yet.
/// Those that nobody has seen come last.
fn explains(
    writes: &[Seen],
    state: &mut BTreeMap<String, u64>,
    reads: &[Seen],
    mut is_explained: Vec<bool>,
) -> bool {
    for (read, is_explained) in reads.iter().zip(&mut is_explained) {
        let sees =
            |(_, key, value): &(String, String, Option<u64>)| state.get(key).copied() == *value;
        *is_explained = *is_explained || read.iter().all(sees);
    }
    if is_explained.iter().all(|is_explained| *is_explained) {
        return true;
    }
    (0..writes.len()).any(|next| {
        let mut rest = writes.to_vec();
        let write = rest.remove(next);
        for (_, key, value) in &write {
            state.insert(key.clone(), value.expect("what is written is something"));
        }
        let found = explains(&rest, state, reads, is_explained.clone());
        for (_, key, _) in &write {
            state.remove(key);
        }
        found
    })
}

#[test]
fn long_forks() {
    agree(Model::LongFork, forks, has_order, |_, history, order| {
        let Linearization::Order(order) = order else {
            panic!("{order:?}")
        };
        replay_writes(history, &order);
    });
}

/// Whoever reads a key has what was written before, and else nothing.
fn replay_writes(history: &History, order: &[usize]) {
    let mut written = BTreeMap::new();
    let micro = |json: &Json| json.parse::<Vec<(String, String, Value)>>().unwrap();
    for operation in complete(history, order, |_| true) {
        if operation.invoke.f() == "write" {
            let writes = micro(operation.invoke.value()).into_iter();
            written.extend(writes.map(|(_, key, value)| (key, value)));
        } else if let Some(ok) = operation.ok() {
            for (_, key, value) in micro(ok.value()) {
                assert_eq!(
                    written.get(&key).unwrap_or(&Value::Null),
                    &value,
                    "{operation:?}"
                );
            }
        }
    }
}

/// The operations that show it prove the violation: with no others known it is one still, and
/// with any of the reads less none.
#[test]
fn nothing_is_spare_in_what_shows_a_long_fork() {
    let mut random = Random(37);
    let mut sizes: BTreeMap<(&str, usize), usize> = BTreeMap::new();
    for number in 0..HISTORIES / 4 {
        let (_, ops) = forks(&mut random);
        let kind_of = |ops: &[Op]| {
            let verdict = check(&history("long-fork", "{}", ops), Model::LongFork).unwrap();
            verdict.violation().map(|violation| violation.kind.name)
        };
        let history = history("long-fork", "{}", &ops);
        let verdict = check(&history, Model::LongFork).unwrap();
        let Some(violation) = verdict.violation() else {
            continue;
        };
        let operations = history.operations();
        let is_shown = |line: usize| violation.witness.iter().any(|op| op.invoked.line == line);
        let shown = operations.iter().filter(|op| is_shown(op.invoke.line()));
        let begins: Vec<u64> = shown.map(|op| op.invoke.time()).collect();
        let members: Vec<usize> = (0..ops.len())
            .filter(|at| begins.contains(&ops[*at].invoked))
            .collect();
        let without = |spared: Option<usize>| {
            let is_known = |at: &usize| members.contains(at) && Some(*at) != spared;
            let unknown = |(at, op): (usize, &Op)| Op {
                outcome: if is_known(&at) {
                    op.outcome
                } else {
                    Outcome::Info
                },
                ..op.clone()
            };
            let once = |(at, op): &(usize, &Op)| {
                // What failed and was written again was written by that.
                op.outcome != Outcome::Fail || is_known(at)
            };
            ops.iter()
                .enumerate()
                .filter(once)
                .map(unknown)
                .collect::<Vec<Op>>()
        };
        let kind = violation.kind.name;
        assert_eq!(
            kind_of(&without(None)),
            Some(kind),
            "history {number}: {verdict}"
        );
        for spared in members.iter().filter(|at| ops[**at].f == "read") {
            let rest = kind_of(&without(Some(*spared)));
            assert_eq!(rest, None, "history {number}, {spared}: {verdict}");
        }
        let reads = members.iter().filter(|at| ops[**at].f == "read").count();
        *sizes.entry((kind, reads)).or_default() += 1;
    }
    println!("{sizes:?}");
    for (kind, reads, least) in [
        ("G1a", 1, 100),
        ("garbage-read", 1, 100),
        ("fractured-read", 1, 100),
        ("long-fork", 2, 100),
        ("long-fork", 3, 5),
    ] {
        let number = sizes.get(&(kind, reads)).copied().unwrap_or(0);
        assert!(number >= least, "{kind} of {reads}: {sizes:?}");
    }
}

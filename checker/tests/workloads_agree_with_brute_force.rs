//! The checkers of banks that are read as a whole, of sets that only grow, and of long forks
//! give the verdict of their definitions, word for word, on many small random histories, valid
//! and violating.

mod support;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::{Json, Outcome};
use etcd_checker::search::Budget;
use etcd_checker::{History, Linearization, Model, Verdict, check, linearization};
use serde_json::{Value, json};
use support::linearization::{complete, in_order};
use support::naive::is_linearizable;
use support::objects::Sets;
use support::{Op, Random, history, intervals};

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
    ];
    let parameters = parameters[random.below(3)].clone();
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
        ops.push(Op {
            result: Json::new(&seen).unwrap(),
            outcome,
            ..op("read", &Value::Null, interval)
        });
    }
    (parameters, ops)
}

/// There is a total, and there are accounts, as they are said or as the first read has them,
/// such that each read has a balance of none but these, and they add up.
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
    let is_fine = |seen: &BTreeMap<String, Option<i64>>| {
        let balances = || seen.values().copied();
        seen.keys().all(|account| accounts.contains(account))
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
            if outcome == Outcome::Ok || random.one_in(2) {
                held.insert(next);
            }
            ops.push(Op {
                outcome,
                ..op("add", &json!(next), interval)
            });
            next += 1;
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
        .filter(|op| op.f == "add")
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

/// The groups of keys that are read at once.
const GROUPS: [&[&str]; 2] = [&["a", "b", "c"], &["d", "e"]];

fn forks(random: &mut Random) -> (Value, Vec<Op>) {
    let mut written: BTreeSet<&str> = BTreeSet::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let is_wrong = !random.one_in(3);
    let mut ops = Vec::new();
    let count = 6 + random.below(6);
    for interval in intervals(random, count, 4) {
        let outcome = outcome(random);
        let group = GROUPS[random.below(2)];
        let key = group[random.below(group.len())];
        if written.insert(key) {
            if outcome != Outcome::Fail && (outcome == Outcome::Ok || random.one_in(2)) {
                seen.insert(key);
            }
            ops.push(Op {
                outcome,
                ..op("write", &json!([["w", key, 1]]), interval)
            });
            continue;
        }
        let asked: Vec<Value> = group.iter().map(|key| json!(["r", key, null])).collect();
        let mut view = seen.clone();
        if is_wrong {
            view.retain(|_| random.one_in(2));
        }
        let read = |key: &&str| json!(["r", key, view.contains(key).then_some(1)]);
        let told: Vec<Value> = group.iter().map(read).collect();
        ops.push(Op {
            result: Json::new(&told).unwrap(),
            outcome,
            ..op("read", &json!(asked), interval)
        });
    }
    (json!({}), ops)
}

/// All orders of some keys.
fn orders(keys: &[&'static str]) -> Vec<Vec<&'static str>> {
    if keys.is_empty() {
        return vec![Vec::new()];
    }
    let rest = |first: &'static str| keys.iter().copied().filter(move |key| *key != first);
    keys.iter()
        .flat_map(|first| {
            let rest: Vec<&str> = rest(first).collect();
            orders(&rest)
                .into_iter()
                .map(|order| [vec![*first], order].concat())
        })
        .collect()
}

/// For each group there is an order of its writes of which each read has seen the first so
/// many.
fn has_order(_: &Value, ops: &[Op]) -> Expected {
    let reads: Vec<Vec<(String, String, Option<u64>)>> = reads(ops)
        .map(|(_, seen)| serde_json::from_value(seen).unwrap())
        .collect();
    let explains = |order: &Vec<&str>, read: &Vec<(String, String, Option<u64>)>| {
        let saw = |key: &str| read.iter().any(|one| one.1 == key && one.2.is_some());
        let seen = order.iter().filter(|key| saw(key)).count();
        order[..seen].iter().all(|key| saw(key))
    };
    let is_ordered = |group: &&[&'static str]| {
        let of_group = |read: &&Vec<(String, String, Option<u64>)>| read[0].1 == group[0];
        let reads: Vec<_> = reads.iter().filter(of_group).collect();
        orders(group)
            .iter()
            .any(|order| reads.iter().all(|read| explains(order, read)))
    };
    match GROUPS.iter().all(is_ordered) {
        true => Expected::Valid,
        false => Expected::Violation,
    }
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

/// Reads of these keys, and what they saw of each.
fn reads_of(told: &[Value]) -> Linearization {
    let keys = ["a", "b", "c"];
    let at = |number: u64| (10 * number + 1, 10 * number + 2, 10 * number + 3);
    let writes = keys.iter().zip(0..);
    let mut ops: Vec<Op> = writes
        .map(|(key, number)| op("write", &json!([["w", key, 1]]), at(number)))
        .collect();
    ops.extend(told.iter().zip(3..).map(|(told, number)| {
        let reads = told.as_array().unwrap().iter();
        let asked: Vec<Value> = reads.map(|read| json!(["r", read[1], null])).collect();
        Op {
            result: Json::new(told).unwrap(),
            ..op("read", &json!(asked), at(number))
        }
    }));
    let history = history("long-fork", "{}", &ops);
    assert!(check(&history, Model::LongFork).unwrap().is_valid());
    linearization(&history, Model::LongFork, &Budget::default()).unwrap()
}

#[test]
fn groups_that_share_keys_may_have_no_order_together() {
    let saw = |first: &str, second: &str| json!([["r", first, 1], ["r", second, null]]);
    let two = [saw("a", "b"), saw("b", "c")];
    assert_eq!(reads_of(&two).order(), Some(vec![0, 3, 1, 4, 2]));
    let circle = [saw("a", "b"), saw("b", "c"), saw("c", "a")];
    assert_eq!(reads_of(&circle).order(), None);
}

#[test]
fn what_nobody_wrote_has_no_place_in_an_order() {
    assert_eq!(reads_of(&[json!([["r", "a", 2]])]).order(), None);
    assert_eq!(reads_of(&[json!([["r", "d", 1]])]).order(), None);
}

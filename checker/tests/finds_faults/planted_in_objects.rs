//! A large history of an object is right, and then one thing in it is changed: the checker
//! says what all states that the object may be in say.

#![allow(clippy::ptr_arg, reason = "some faults add operations")]

use etcd_checker::history::{Json, Outcome};
use serde_json::{Value, json};

use crate::support::frontier::{Frontier, spread};
use crate::support::naive::{Naive, recorded, run_of};
use crate::support::objects::{
    Counters, Groups, Map, MultiRegisters, Mutexes, Registers, RwLocks, Semaphores, Sets,
};
use crate::support::planted::Tally;
use crate::support::{Op, Random};

const OPERATIONS: usize = 500;
const HISTORIES: usize = 2;
/// How often each fault is planted in a history.
const TIMES: usize = 8;

/// One in so many is of unknown outcome.
const FEW: usize = 300;
/// A reader of whom nobody knows whether it has left explains almost anything.
const NONE: usize = usize::MAX;

type Plant = fn(&mut Random, &mut Vec<Op>, usize);

fn faults<N: Naive>() -> [(&'static str, Plant); 6] {
    [
        ("swap", swap::<N>),
        ("loss", lose::<N>),
        ("duplicate", repeat::<N>),
        ("stale read", show_the_past::<N>),
        ("early return", return_early::<N>),
        ("late invocation", invoke_late::<N>),
    ]
}

/// Two operations of the same name get each other's answers.
fn swap<N: Naive>(random: &mut Random, ops: &mut Vec<Op>, one: usize) {
    let other = (one + 1 + random.below(40)).min(ops.len() - 1);
    if is_alike::<N>(&ops[one], &ops[other]) {
        let result = ops[one].result.clone();
        ops[one].result = std::mem::replace(&mut ops[other].result, result);
    }
}

/// An operation that was acknowledged is said to have failed.
fn lose<N: Naive>(_: &mut Random, ops: &mut Vec<Op>, one: usize) {
    ops[one].outcome = Outcome::Fail;
    ops[one].result = Json::NULL;
}

/// The same happens again right afterwards.
fn repeat<N: Naive>(_: &mut Random, ops: &mut Vec<Op>, one: usize) {
    let mut again = ops[one].clone();
    (again.invoked, again.returned) = (again.returned + 1, again.returned + 2);
    ops.push(again);
}

/// The answer is one that somebody got long ago.
fn show_the_past<N: Naive>(random: &mut Random, ops: &mut Vec<Op>, one: usize) {
    let other = one.saturating_sub(5 + random.below(100));
    if is_alike::<N>(&ops[one], &ops[other]) {
        ops[one].result = ops[other].result.clone();
    }
}

/// The operation is over before those that came before it have begun.
fn return_early<N: Naive>(random: &mut Random, ops: &mut Vec<Op>, one: usize) {
    let before = &ops[one.saturating_sub(3 + random.below(20))];
    let (invoked, returned) = (before.invoked + 1, before.invoked + 2);
    (ops[one].invoked, ops[one].returned) = (invoked, returned);
}

/// It begins only when those that came after it are over.
fn invoke_late<N: Naive>(random: &mut Random, ops: &mut Vec<Op>, one: usize) {
    let after = (one + 3 + random.below(20)).min(ops.len() - 1);
    if ops[after].outcome == Outcome::Ok {
        let (invoked, returned) = (ops[after].returned + 3, ops[after].returned + 4);
        (ops[one].invoked, ops[one].returned) = (invoked, returned);
    }
}

/// Whether one could have been answered as the other one was.
fn is_alike<N: Naive>(one: &Op, other: &Op) -> bool {
    N::ANSWERS_ARE_ALIKE
        && one.f == other.f
        && one.outcome == other.outcome
        && key(one) == key(other)
}

fn key(op: &Op) -> Option<String> {
    let argument: serde_json::Value = op.invoke.parse().unwrap();
    argument["key"].as_str().map(str::to_owned)
}

/// Plants each fault many times. One operation in `unknowns` is not answered.
fn plant<N: Naive>(unknowns: usize) -> Tally {
    let (mut random, mut tally) = (Random(3), Tally::default());
    for _ in 0..HISTORIES {
        let parameters = N::parameters(&mut random);
        let mut ops = run_of::<N>(&mut random, &parameters, (OPERATIONS, 4, unknowns));
        spread(&mut ops);
        let frontier = Frontier::<N>::of(&parameters, &ops);
        tally.compare("none", &recorded(N::MODEL, &parameters, &ops), true);
        for (fault, plant) in faults::<N>() {
            for _ in 0..TIMES {
                let mut changed = ops.clone();
                for _ in 0..50 {
                    let one = random.below(ops.len() - 1);
                    if changed == ops && changed[one].outcome == Outcome::Ok {
                        plant(&mut random, &mut changed, one);
                    }
                }
                if changed != ops {
                    let history = recorded(N::MODEL, &parameters, &changed);
                    tally.compare(fault, &history, frontier.has_order(&changed));
                }
            }
        }
    }
    tally
}

#[test]
fn registers() {
    let faults = ["swap", "stale read", "early return"];
    plant::<Registers<3>>(FEW).assert_noticed(&faults, 2);
}

#[test]
fn maps() {
    let faults = ["swap", "stale read", "early return"];
    plant::<Map>(FEW).assert_noticed(&faults, 2);
}

#[test]
fn mutexes() {
    let faults = ["swap", "loss", "duplicate", "early return"];
    plant::<Mutexes>(FEW).assert_noticed(&faults, 2);
}

/// A read-write lock that is mostly empty, so that writers are let in.
struct Drained;

impl Naive for Drained {
    type State = <RwLocks as Naive>::State;
    const MODEL: &'static str = RwLocks::MODEL;

    fn initial(parameters: &Value) -> Self::State {
        RwLocks::initial(parameters)
    }

    fn draw(random: &mut Random, _: &Value, _: usize) -> (&'static str, Value) {
        let f = ["acquire", "try-acquire", "release", "release"][random.below(4)];
        let mode = ["read", "write"][random.below(2)];
        (f, json!({"mode": mode}))
    }

    fn act(
        parameters: &Value,
        state: &Self::State,
        f: &str,
        argument: &Value,
        client: usize,
    ) -> Vec<(Self::State, Value)> {
        RwLocks::act(parameters, state, f, argument, client)
    }

    fn alter(random: &mut Random, op: &mut Op) {
        RwLocks::alter(random, op);
    }
}

#[test]
fn read_write_locks() {
    let faults = ["swap", "loss", "duplicate", "early return"];
    plant::<Drained>(NONE).assert_noticed(&faults, 2);
}

#[test]
fn semaphores() {
    let faults = ["swap", "loss", "duplicate", "early return"];
    plant::<Semaphores>(FEW).assert_noticed(&faults, 2);
}

#[test]
fn counters() {
    let faults = ["swap", "loss", "duplicate", "stale read", "early return"];
    plant::<Counters>(FEW).assert_noticed(&faults, 2);
}

#[test]
fn sets() {
    let faults = ["swap", "stale read", "early return"];
    plant::<Sets>(FEW).assert_noticed(&faults, 2);
}

#[test]
fn groups() {
    let faults = ["swap", "stale read", "early return"];
    plant::<Groups>(FEW).assert_noticed(&faults, 2);
}

#[test]
fn registers_of_transactions() {
    let faults = ["loss", "early return"];
    plant::<MultiRegisters>(FEW).assert_noticed(&faults, 2);
}

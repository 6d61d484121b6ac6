//! Objects that do one operation after the other, and a search through all orders.
//! Nothing here knows the checkers.

use std::collections::BTreeSet;
use std::fmt::Debug;

use etcd_checker::history::{Json, Outcome};
use etcd_checker::search::{Budget, Others};
use etcd_checker::{History, Model, Verdict, check, linearization};
use serde_json::Value;

use super::{Op, Random, history, intervals, witness_ops};

/// An object in its plainest form.
pub trait Naive {
    type State: Clone + Ord + Debug;
    const MODEL: &'static str;
    /// Whether the answer of an operation may be that of another one of the same name.
    const ANSWERS_ARE_ALIKE: bool = true;

    /// The header's parameters, drawn anew for each history.
    fn parameters(_: &mut Random) -> Value {
        serde_json::json!({})
    }

    fn initial(parameters: &Value) -> Self::State;

    /// An operation that somebody may ask for: its name and argument.
    fn draw(random: &mut Random, parameters: &Value, client: usize) -> (&'static str, Value);

    /// What an operation does to a state, and what it answers; none when it has to wait.
    fn act(
        parameters: &Value,
        state: &Self::State,
        f: &str,
        argument: &Value,
        client: usize,
    ) -> Vec<(Self::State, Value)>;

    /// Another answer.
    fn alter(random: &mut Random, op: &mut Op);
}

/// An operation as the search sees it.
#[derive(Clone, Debug)]
pub struct Step {
    pub f: &'static str,
    pub argument: Value,
    /// What it answered; none when nobody knows.
    pub answer: Option<Value>,
    pub invoked: u64,
    pub returned: u64,
    pub client: usize,
    /// Whether it may not have happened although it is over.
    pub is_optional: bool,
    /// Whether it did not happen.
    is_absent: bool,
}

/// How many clients there are; each operation is of one of them.
pub const CLIENTS: usize = 3;

pub fn steps(ops: &[Op]) -> Vec<Step> {
    let steps = all_steps(ops).into_iter();
    steps.filter(|step| !step.is_absent).collect()
}

/// Also those that did not happen, for they failed.
fn all_steps(ops: &[Op]) -> Vec<Step> {
    let step = |(index, op): (usize, &Op)| {
        let is_ok = op.outcome == Outcome::Ok;
        let is_over = is_ok || op.outcome == Outcome::Fail;
        Step {
            f: op.f,
            argument: op.invoke.parse().unwrap(),
            answer: is_ok.then(|| op.result.parse().unwrap()),
            invoked: op.invoked,
            returned: if is_over { op.returned } else { u64::MAX },
            client: index % CLIENTS,
            is_optional: false,
            is_absent: op.outcome == Outcome::Fail,
        }
    };
    ops.iter().enumerate().map(step).collect()
}

/// The states that an operation may lead to.
pub fn next<N: Naive>(parameters: &Value, state: &N::State, step: &Step) -> Vec<N::State> {
    N::act(parameters, state, step.f, &step.argument, step.client)
        .into_iter()
        .filter(|(_, answer)| step.answer.as_ref().is_none_or(|seen| seen == answer))
        .map(|(state, _)| state)
        .collect()
}

/// Whether some order of the operations explains all answers.
pub fn is_linearizable<N: Naive>(parameters: &Value, ops: &[Op]) -> bool {
    steps_have_order::<N>(parameters, &steps(ops))
}

fn steps_have_order<N: Naive>(parameters: &Value, steps: &[Step]) -> bool {
    let initial = N::initial(parameters);
    try_all::<N>(parameters, steps, 0, &initial, &mut BTreeSet::new())
}

fn try_all<N: Naive>(
    parameters: &Value,
    steps: &[Step],
    done: u32,
    state: &N::State,
    seen: &mut BTreeSet<(u32, N::State)>,
) -> bool {
    let is_open = |index: &usize| done & (1 << index) == 0;
    let open = || (0..steps.len()).filter(is_open);
    let must = open().filter(|index| !steps[*index].is_optional);
    let deadline = must.map(|index| steps[index].returned).min();
    let deadline = deadline.unwrap_or(u64::MAX);
    if deadline == u64::MAX {
        return true;
    }
    if !seen.insert((done, state.clone())) {
        return false;
    }
    let done_since = (0..steps.len()).filter(|index| !is_open(index));
    let done_since = done_since.map(|index| steps[index].invoked).max();
    open()
        .filter(|index| steps[*index].invoked < deadline)
        .filter(|index| !steps[*index].is_optional || done_since < Some(steps[*index].returned))
        .any(|index| {
            next::<N>(parameters, state, &steps[index])
                .iter()
                .any(|state| try_all::<N>(parameters, steps, done | 1 << index, state, seen))
        })
}

/// Whether this order of operations explains all answers, with all that returned in it.
fn is_order<N: Naive>(parameters: &Value, ops: &[Op], order: &[usize]) -> bool {
    let mut left: BTreeSet<usize> = (0..ops.len())
        .filter(|index| ops[*index].outcome == Outcome::Ok)
        .collect();
    let mut states = BTreeSet::from([N::initial(parameters)]);
    let mut latest = 0;
    for index in order {
        let op = &ops[*index];
        latest = latest.max(op.invoked);
        if op.outcome == Outcome::Fail || op.outcome == Outcome::Ok && op.returned < latest {
            return false;
        }
        let Some(mut step) = steps(std::slice::from_ref(op)).pop() else {
            return false;
        };
        step.client = *index % CLIENTS;
        states = states
            .iter()
            .flat_map(|state| next::<N>(parameters, state, &step))
            .collect();
        left.remove(index);
    }
    left.is_empty() && !states.is_empty()
}

/// How many operations a run has.
#[derive(Clone, Copy)]
enum Size {
    /// Two to four.
    Tiny,
    /// Up to eight: a search through all orders takes many times as long.
    Small,
}

/// A run of a real object, seen by clients some of which miss the answers.
fn real_run<N: Naive>(random: &mut Random, parameters: &Value, size: Size) -> Vec<Op> {
    let count = match size {
        Size::Tiny => 2 + random.below(3),
        Size::Small => 3 + random.below(6),
    };
    let longest = if random.one_in(2) {
        1
    } else {
        1 + random.below(6)
    };
    let unknowns = 3 + random.below(6);
    run_of::<N>(random, parameters, (count, longest, unknowns))
}

/// A run of so many operations, of which one in `unknowns` is not answered.
pub fn run_of<N: Naive>(
    random: &mut Random,
    parameters: &Value,
    (count, longest, unknowns): (usize, usize, usize),
) -> Vec<Op> {
    let mut state = N::initial(parameters);
    let mut ops: Vec<Op> = Vec::new();
    for (invoked, _, returned) in intervals(random, count, longest) {
        let client = ops.len() % CLIENTS;
        let mut drawn = None;
        for _ in 0..4 {
            let (f, argument) = N::draw(random, parameters, client);
            let mut next = N::act(parameters, &state, f, &argument, client);
            if !next.is_empty() {
                drawn = Some((f, argument, next.swap_remove(random.below(next.len()))));
                break;
            }
        }
        let Some((f, argument, (after, answer))) = drawn else {
            continue;
        };
        let outcome = match random.below(unknowns) {
            0 => [Outcome::Info, Outcome::Open, Outcome::Fail][random.below(3)],
            _ => Outcome::Ok,
        };
        if outcome == Outcome::Ok || outcome != Outcome::Fail && random.one_in(2) {
            state = after;
        }
        let is_ok = outcome == Outcome::Ok;
        ops.push(Op {
            f,
            invoke: json(&argument),
            result: if is_ok { json(&answer) } else { Json::NULL },
            outcome,
            revision: None,
            invoked,
            returned,
        });
    }
    ops
}

fn json(value: &Value) -> Json {
    Json::new(value).unwrap()
}

/// Changes what some clients saw, or what happened.
fn falsify<N: Naive>(random: &mut Random, ops: &mut [Op]) {
    for _ in 0..1 + random.below(3) {
        let (first, second) = (random.below(ops.len()), random.below(ops.len()));
        match random.below(5) {
            0 | 1
                if N::ANSWERS_ARE_ALIKE
                    && ops[first].f == ops[second].f
                    && ops[first].outcome == ops[second].outcome =>
            {
                let other = ops[second].result.clone();
                let result = std::mem::replace(&mut ops[first].result, other);
                ops[second].result = result;
            }
            2 | 3 if ops[first].outcome == Outcome::Ok => N::alter(random, &mut ops[first]),
            4 if ops[first].outcome == Outcome::Ok && random.one_in(3) => {
                ops[first].outcome = [Outcome::Info, Outcome::Fail][random.below(2)];
                ops[first].result = Json::NULL;
            }
            _ => {}
        }
    }
}

/// How the checker and the search agreed.
#[derive(Debug)]
pub struct Agreement {
    pub valid: usize,
    pub violations: usize,
    pub with_pending: usize,
    pub kinds: BTreeSet<&'static str>,
}

/// One history of so many has more operations than the others.
const TINY: usize = 7;

/// Holds the checker against the search on many histories.
pub fn agree<N: Naive>(histories: usize) -> Agreement {
    let mut random = Random(11);
    let mut agreement = Agreement {
        valid: 0,
        violations: 0,
        with_pending: 0,
        kinds: BTreeSet::new(),
    };
    let model: Model = N::MODEL.parse().unwrap();
    for number in 0..histories {
        let parameters = N::parameters(&mut random);
        // A prime to five, so that there are real runs of both sizes.
        let size = match number % TINY {
            0 => Size::Small,
            _ => Size::Tiny,
        };
        let mut ops = real_run::<N>(&mut random, &parameters, size);
        if ops.is_empty() {
            continue;
        }
        let is_real = number % 5 == 0;
        if !is_real {
            falsify::<N>(&mut random, &mut ops);
        }
        let expected = is_linearizable::<N>(&parameters, &ops);
        assert!(
            expected || !is_real,
            "the search refuses a real run: {parameters} {ops:#?}"
        );
        let history = recorded(N::MODEL, &parameters, &ops);
        let order = linearization(&history, model, &Budget::default())
            .unwrap()
            .order();
        match check(&history, model).unwrap() {
            Verdict::Valid(_) => {
                assert!(
                    expected,
                    "history {number} is called valid: {parameters} {ops:#?}"
                );
                agreement.valid += 1;
                agreement.with_pending += usize::from(
                    ops.iter()
                        .any(|op| matches!(op.outcome, Outcome::Info | Outcome::Open)),
                );
                if let Some(order) = order {
                    let order = by_process(&history, &order);
                    assert!(
                        is_order::<N>(&parameters, &ops, &order),
                        "history {number}: {order:?} is no order: {parameters} {ops:#?}"
                    );
                }
            }
            Verdict::Violation(violation) => {
                assert!(
                    !expected,
                    "history {number} is refused: {violation}\n{parameters} {ops:#?}"
                );
                assert_eq!(order, None);
                let lines = violation.witness.iter().map(|op| op.invoked.line);
                let witness = witness_ops(&history, &ops, lines);
                check_witness::<N>(&parameters, &ops, &witness, violation.others, &violation);
                agreement.violations += 1;
                agreement.kinds.insert(violation.kind.name);
            }
            other => panic!("history {number}: {other}"),
        }
    }
    println!("{}: {agreement:?}", N::MODEL);
    agreement
}

/// The history, in which client and process of an operation tell its place.
pub fn recorded(model: &str, parameters: &Value, ops: &[Op]) -> History {
    let (header, mut events) = history(model, &parameters.to_string(), ops).into_parts();
    for event in &mut events {
        let etcd_checker::history::Process::Number(process) = event.process() else {
            panic!("no nemesis here")
        };
        event.set_client(Some(process % CLIENTS as u64));
    }
    History::new(header, events).unwrap()
}

fn by_process(history: &History, order: &[usize]) -> Vec<usize> {
    let operations = history.operations();
    order
        .iter()
        .map(|index| operations[*index].process() as usize)
        .collect()
}

/// The witness breaks the promise whatever happened to the others, also to those that failed,
/// and each of its operations is needed for that.
fn check_witness<N: Naive>(
    parameters: &Value,
    ops: &[Op],
    witness: &[Op],
    others: Others,
    violation: &dyn Debug,
) {
    let knowing = |is_known: &dyn Fn(&Op) -> bool| {
        let mut steps = all_steps(ops);
        for step in &mut steps {
            let op = ops.iter().find(|op| op.invoked == step.invoked).unwrap();
            if !is_known(op) {
                step.answer = None;
                step.is_optional = true;
                step.is_absent = false;
                if others == Others::AtAnyTime {
                    step.returned = u64::MAX;
                }
            }
        }
        steps.retain(|step| !step.is_absent);
        steps_have_order::<N>(parameters, &steps)
    };
    assert!(
        !knowing(&|op| witness.contains(op)),
        "the witness proves nothing: {violation:?}\n{parameters} {ops:#?}"
    );
    for spared in witness {
        assert!(
            knowing(&|op| op != spared && witness.contains(op)),
            "not needed: {spared:?} in {violation:?}\n{parameters} {ops:#?}"
        );
    }
}

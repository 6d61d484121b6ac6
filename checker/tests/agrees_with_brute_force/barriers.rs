//! The checkers of barriers give the verdict of a search through all orders, on
//! many small random histories; and find one wrong answer in a long one.

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::EventKind::{Invoke, Ok};
use etcd_checker::history::{Event, EventKind, Json, Outcome, Process};
use etcd_checker::search::Others;
use etcd_checker::{History, Model, Verdict, Violation, check};

use crate::support;
use crate::support::losses::{Fault, Losses};
use crate::support::replay;
use crate::support::{Op, Random, history, witness_ops};

/// Places of an operation's events: `slot` says the order, the rest keeps them
/// distinct.
fn place(slot: usize, op: usize, is_return: bool) -> u64 {
    slot as u64 * 1_000_000 + op as u64 * 2 + u64::from(is_return)
}

fn json(text: &str) -> Json {
    Json::new(&serde_json::from_str::<serde_json::Value>(text).unwrap()).unwrap()
}

fn op(f: &'static str, invoke: Json, slot: usize, number: usize) -> Op {
    Op {
        f,
        invoke,
        result: Json::NULL,
        outcome: Outcome::Open,
        revision: None,
        invoked: place(slot, number, false),
        returned: u64::MAX,
    }
}

fn lease_of(op: &Op) -> Option<u64> {
    let value: serde_json::Value = op.invoke.parse().unwrap();
    value.get("lease").and_then(serde_json::Value::as_u64)
}

fn is_alive(op: &Op) -> bool {
    let value: serde_json::Value = op.invoke.parse().unwrap();
    value.get("alive").and_then(serde_json::Value::as_bool) == Some(true)
}

fn with(lease: u64, alive: bool) -> Json {
    json(&format!("{{\"lease\":{lease},\"alive\":{alive}}}"))
}

/// Marks an operation of which it is known only that it was over by its return, if
/// it took effect at all.
const SPARED: Option<i64> = Some(-1);

fn is_spared(op: &Op) -> bool {
    op.revision == SPARED
}

/// When it must have taken effect: never, if nobody knows.
fn due(op: &Op) -> u64 {
    if op.outcome == Outcome::Ok && !is_spared(op) {
        op.returned
    } else {
        u64::MAX
    }
}

/// Moves events and changes outcomes.
fn falsify(random: &mut Random, ops: &mut [Op], slots: usize) {
    for _ in 0..2 + random.below(4) {
        let number = random.below(ops.len());
        let op = &mut ops[number];
        let slot = |at: u64| (at / 1_000_000) as usize;
        match random.below(4) {
            0 if op.outcome != Outcome::Open => {
                let first = slot(op.invoked) + 1;
                op.returned = place(first + random.below(slots / 3), number, true);
            }
            1 => {
                let first = slot(op.invoked).saturating_sub(random.below(slots / 3));
                op.invoked = place(first, number, false);
            }
            2 if op.outcome == Outcome::Ok && random.one_in(3) => {
                op.outcome = [Outcome::Info, Outcome::Fail][random.below(2)];
            }
            3 if op.outcome != Outcome::Open && !op.result.is_null() && random.one_in(2) => {
                op.outcome = Outcome::Ok;
            }
            _ => {}
        }
        if op.invoked >= op.returned {
            op.returned = place(slot(op.invoked) + 1, number, true);
        }
    }
}

struct Tally {
    valid: usize,
    all: usize,
    kinds: BTreeMap<&'static str, usize>,
    /// Operations of unknown outcome in the orders of valid histories, and falls with a lease.
    silent: usize,
    fallen: usize,
    /// Violations that a witness proves only if the others took effect in their time.
    in_their_time: usize,
}

/// Compares one verdict with the twin's, and tries the witness.
fn compare(
    tally: &mut Tally,
    model: Model,
    parameters: &str,
    ops: &[Op],
    twin: impl Fn(&[Op]) -> bool,
) {
    let expected = twin(ops);
    let whole = history(model.name(), parameters, ops);
    tally.all += 1;
    tally.valid += usize::from(expected);
    match check(&whole, model).unwrap() {
        Verdict::Valid(_) => {
            assert!(expected, "called valid: {ops:#?}");
            if model == Model::DoubleBarrier {
                let count = parameters_count(&whole);
                assert!(refusal_twin(ops, count), "called valid: {ops:#?}");
            }
            replay_valid(tally, model, &whole);
        }
        Verdict::Violation(violation) => {
            *tally.kinds.entry(violation.kind.name).or_default() += 1;
            if violation.kind.name == "wrong-refusal" {
                let count = parameters_count(&whole);
                assert!(!refusal_twin(ops, count), "refused: {violation}\n{ops:#?}");
                check_witness(&whole, ops, &violation, &|ops| refusal_twin(ops, count));
                return;
            }
            assert!(!expected, "refused: {violation}\n{ops:#?}");
            tally.in_their_time += usize::from(violation.others == Others::InTheirTime);
            check_witness(&whole, ops, &violation, &twin);
        }
        other => panic!("{other}\n{ops:#?}"),
    }
}

/// An object that does the operations one after the other answers as the history says.
fn replay_valid(tally: &mut Tally, model: Model, history: &History) {
    match model {
        Model::Barrier => {
            let order = replay::order_of(history, model);
            let (silent, fallen) = replay::barrier::replay(history, &order);
            tally.silent += silent;
            tally.fallen += fallen;
        }
        Model::CyclicBarrier => {
            let order = replay::order_of(history, model);
            replay::barrier::replay_cyclic(history, &order);
        }
        Model::DoubleBarrier => {
            let order = replay::order_of(history, model);
            tally.silent += replay::barrier::replay_double(history, &order);
        }
        _ => {}
    }
}

/// The answers of the witness are enough, whatever became of all others, as far as the violation
/// leaves that open; and all of them are needed.
fn check_witness(
    whole: &History,
    ops: &[Op],
    violation: &Violation,
    twin: &impl Fn(&[Op]) -> bool,
) {
    let lines = violation.witness.iter().map(|op| op.invoked.line);
    let witness = witness_ops(whole, ops, lines);
    let says_so = violation.sentence.contains("while they went on");
    assert_eq!(says_so, violation.others != Others::AtAnyTime);
    // What had ended before this is known, too.
    let since = match violation.others {
        Others::InTheirTimeSince(line) => whole.events()[line as usize - 2].time(),
        _ => 0,
    };
    let proves = |listed: &dyn Fn(&Op) -> bool| {
        let known = |op: &Op| {
            if listed(op) || op.returned < since {
                op.clone()
            } else {
                weakened(op, violation.others)
            }
        };
        !twin(&ops.iter().map(known).collect::<Vec<Op>>())
    };
    assert!(
        proves(&|op| witness.contains(op)),
        "the witness explains nothing: {violation}\n{ops:#?}"
    );
    for spared in &witness {
        assert!(
            !proves(&|op| witness.contains(op) && op != spared),
            "not needed: {spared:?} in {violation}\n{ops:#?}"
        );
    }
}

/// An operation of which nothing is known but what it asked and when it began; and perhaps that it
/// was over by its return, if it took effect at all.
fn weakened(op: &Op, others: Others) -> Op {
    let mut weak = op.clone();
    let is_over = matches!(op.outcome, Outcome::Ok | Outcome::Fail);
    match others {
        Others::AtAnyTime if is_over => weak.outcome = Outcome::Info,
        _ if is_over => (weak.outcome, weak.revision) = (Outcome::Ok, SPARED),
        _ => {}
    }
    weak
}

// The barrier.

/// State: none is down, some is up with this lease.
type Barrier = Option<Option<u64>>;

fn barrier_twin(ops: &[Op]) -> bool {
    let mut alive_until: BTreeMap<u64, u64> = BTreeMap::new();
    for op in ops {
        if let (Some(lease), "release") = (lease_of(op), op.f) {
            let until = alive_until.entry(lease).or_default();
            *until = op.invoked.max(*until);
        }
    }
    let mut seen = BTreeSet::new();
    barrier_orders(ops, &alive_until, 0, None, &mut seen)
}

fn barrier_orders(
    ops: &[Op],
    alive_until: &BTreeMap<u64, u64>,
    done: u32,
    state: Barrier,
    seen: &mut BTreeSet<(u32, Barrier)>,
) -> bool {
    let open = || (0..ops.len()).filter(|index| done & (1 << index) == 0);
    let is_due = |op: &Op| if is_spared(op) { op.returned } else { due(op) };
    let deadline = open()
        .map(|index| is_due(&ops[index]))
        .min()
        .unwrap_or(u64::MAX);
    if deadline == u64::MAX {
        return true;
    }
    if !seen.insert((done, state)) {
        return false;
    }
    let until = |lease: u64| alive_until.get(&lease).copied().unwrap_or(0);
    let falls = matches!(state, Some(Some(lease)) if until(lease) < deadline);
    if falls && barrier_orders(ops, alive_until, done, None, seen) {
        return true;
    }
    for index in open() {
        let op = &ops[index];
        if op.invoked >= deadline || op.outcome == Outcome::Fail {
            continue;
        }
        if is_spared(op) && barrier_orders(ops, alive_until, done | 1 << index, state, seen) {
            return true;
        }
        let answer: Option<bool> = op.result.parse().unwrap_or(None);
        let answer = answer.filter(|_| op.outcome == Outcome::Ok && !is_spared(op));
        let up = state.is_some();
        let next = match (op.f, answer) {
            ("wait", _) => (!up).then_some(None),
            ("hold", Some(false)) => up.then_some(state),
            ("hold", _) => (!up).then_some(Some(lease_of(op))),
            ("release", Some(false)) => (!up).then_some(None),
            _ => up.then_some(None),
        };
        if let Some(next) = next
            && barrier_orders(ops, alive_until, done | 1 << index, next, seen)
        {
            return true;
        }
    }
    false
}

/// A real barrier under clients that are never idle for long.
fn barrier_run(random: &mut Random, operations: usize, clients: usize, leases: bool) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    let mut doing: Vec<Option<(usize, bool)>> = vec![None; clients];
    let mut state: Barrier = None;
    for slot in 0..operations * 4 {
        if matches!(state, Some(Some(_))) && random.one_in(8) {
            state = None;
        }
        let client = random.below(clients);
        let number = ops.len();
        match doing[client] {
            None if number < operations => {
                let (f, lease) = match random.below(6) {
                    0 | 1 if leases && random.one_in(2) => ("hold", Some(number as u64)),
                    0 | 1 => ("hold", None),
                    2 | 3 => match state {
                        // It is certain of its lease only while that lives.
                        Some(Some(lease)) if random.one_in(2) => ("release", Some(lease)),
                        _ => ("release", None),
                    },
                    // One of them never waits, so that the others do not for ever.
                    _ if client == 0 => ("release", None),
                    _ => ("wait", None),
                };
                let value = lease.map_or(Json::NULL, |lease| with(lease, true));
                ops.push(op(f, value, slot, number));
                doing[client] = Some((number, false));
            }
            Some((number, false)) => {
                let lease = lease_of(&ops[number]);
                let op = &mut ops[number];
                let was_up = state.is_some();
                match op.f {
                    "hold" => {
                        op.result = json(if was_up { "false" } else { "true" });
                        state = state.or(Some(lease));
                    }
                    "release" => {
                        op.result = json(if was_up { "true" } else { "false" });
                        state = None;
                    }
                    _ if was_up => continue,
                    _ => {}
                }
                doing[client] = Some((number, true));
            }
            Some((number, true)) => {
                // In a long run those of unknown outcome would explain anything.
                let lost = operations < 100 && random.one_in(6);
                ops[number].outcome = if lost { Outcome::Info } else { Outcome::Ok };
                ops[number].returned = place(slot, number, true);
                doing[client] = None;
            }
            None => {}
        }
    }
    ops
}

#[test]
fn the_barrier() {
    let mut random = Random(3);
    let mut tally = Tally {
        valid: 0,
        all: 0,
        kinds: BTreeMap::new(),
        silent: 0,
        fallen: 0,
        in_their_time: 0,
    };
    for number in 0..120_000 {
        let operations = 4 + random.below(5);
        let mut ops = barrier_run(&mut random, operations, 3, number % 2 == 0);
        if number % 5 == 0 {
            assert!(barrier_twin(&ops), "the twin refuses a real run: {ops:#?}");
        } else {
            falsify(&mut random, &mut ops, operations * 4);
            for op in ops.iter_mut().filter(|op| op.f != "wait") {
                if op.outcome == Outcome::Ok && random.one_in(12) {
                    let result = op.result == json("true");
                    op.result = json(if result { "false" } else { "true" });
                }
                if op.outcome == Outcome::Ok && random.one_in(20) {
                    (op.outcome, op.result) = (Outcome::Fail, Json::NULL);
                }
            }
        }
        compare(&mut tally, Model::Barrier, "{}", &ops, barrier_twin);
    }
    let Tally { silent, fallen, .. } = tally;
    assert!(silent > 500 && fallen > 500, "{silent}, {fallen}");
    assert_spread(
        &tally,
        &[
            "early-wait",
            "double-hold",
            "false-refusal",
            "double-release",
            "blind-release",
        ],
    );
}

/// Where each could have made way for another one, what had ended before is given.
#[test]
fn barriers_where_many_go_on() {
    let mut random = Random(8);
    let (mut given, mut by_themselves) = (0, 0);
    for _ in 0..400 {
        let mut ops = barrier_run(&mut random, 24, 8, false);
        for op in &mut ops {
            let told = op.outcome == Outcome::Ok && op.f != "wait";
            if told && random.one_in(6) {
                let result = op.result == json("true");
                op.result = json(if result { "false" } else { "true" });
            }
        }
        let whole = history("barrier", "{}", &ops);
        let verdict = check(&whole, Model::Barrier).unwrap();
        assert_eq!(verdict.is_valid(), barrier_twin(&ops), "{verdict}");
        let Some(violation) = verdict.violation() else {
            continue;
        };
        assert!(violation.witness.len() <= 8, "{violation}");
        match violation.others {
            Others::InTheirTimeSince(_) => given += 1,
            Others::AtAnyTime | Others::InTheirTime => by_themselves += 1,
        }
        check_witness(&whole, &ops, violation, &barrier_twin);
    }
    println!("{given} with what is given, {by_themselves} without");
    assert!(given >= 5, "{given}");
}

#[track_caller]
fn assert_spread(tally: &Tally, kinds: &[&str]) {
    let share = tally.valid * 100 / tally.all;
    println!(
        "{share} % valid, {:?}, {} in their time",
        tally.kinds, tally.in_their_time
    );
    assert!((25..90).contains(&share), "{share} % are valid");
    for kind in kinds {
        let seen = tally.kinds.get(kind).copied().unwrap_or(0);
        assert!(seen >= 20, "{kind} was seen {seen} times");
    }
}

// The double barrier.

struct Double<'o> {
    ops: &'o [Op],
    count: usize,
    /// By enter: until when it was certainly inside, and its leave.
    until: Vec<u64>,
    leave: Vec<Option<usize>>,
}

impl<'o> Double<'o> {
    fn of(ops: &'o [Op], count: usize) -> Self {
        let mut order: Vec<usize> = (0..ops.len()).collect();
        order.sort_by_key(|index| ops[*index].invoked);
        let mut inside: BTreeMap<u64, usize> = BTreeMap::new();
        let mut double = Self {
            ops,
            count,
            until: ops.iter().map(|op| op.returned).collect(),
            leave: vec![None; ops.len()],
        };
        for index in order {
            let op = &ops[index];
            let lease = lease_of(op).unwrap();
            if op.f == "enter" {
                inside.insert(lease, index);
            } else if let Some(enter) = inside.remove(&lease)
                && ops[enter].outcome == Outcome::Ok
                && !is_spared(&ops[enter])
                && ops[enter].returned < op.invoked
            {
                double.leave[enter] = Some(index);
                if is_alive(op) {
                    double.until[enter] = op.invoked;
                }
            }
        }
        double
    }

    /// `entered`, `left` and `inside` are sets of enters.
    /// `now` is the earliest instant that is left.
    fn search(
        &self,
        [entered, left, inside]: [u32; 3],
        now: u64,
        seen: &mut BTreeSet<([u32; 3], u64)>,
    ) -> bool {
        let is_in = |set: u32, index: usize| set & (1 << index) != 0;
        let enters = || (0..self.ops.len()).filter(|index| self.ops[*index].f == "enter");
        let mut deadline = u64::MAX;
        for enter in enters() {
            let op = &self.ops[enter];
            if !is_in(entered, enter) {
                deadline = deadline.min(due(op));
            }
            if let Some(leave) = self.leave[enter].filter(|_| !is_in(left, enter)) {
                deadline = deadline.min(due(&self.ops[leave]));
            }
        }
        if deadline == u64::MAX {
            return true;
        }
        if !seen.insert(([entered, left, inside], now)) {
            return false;
        }
        // Somebody leaves, or loses its lease.
        for enter in enters().filter(|enter| is_in(inside, *enter)) {
            let op = &self.ops[enter];
            let known = op.outcome == Outcome::Ok && !is_spared(op);
            let until = if known { self.until[enter] } else { 0 };
            let without = inside & !(1 << enter);
            if until < deadline && self.search([entered, left, without], now.max(until), seen) {
                return true;
            }
        }
        if inside != 0 {
            return false;
        }
        // Leaves of those of the last round return.
        for enter in enters().filter(|enter| is_in(entered, *enter) && !is_in(left, *enter)) {
            if self.leave[enter].is_some()
                && self.search([entered, left | 1 << enter, 0], now, seen)
            {
                return true;
            }
        }
        let may_come = |enter: &usize| {
            let op = &self.ops[*enter];
            !is_in(entered, *enter) && op.outcome != Outcome::Fail && op.invoked < deadline
        };
        let coming: Vec<usize> = enters().filter(may_come).collect();
        for chosen in 0_u32..1 << coming.len() {
            if chosen.count_ones() as usize != self.count {
                continue;
            }
            let members = coming
                .iter()
                .enumerate()
                .filter(|(bit, _)| is_in(chosen, *bit));
            let members: Vec<usize> = members.map(|(_, enter)| *enter).collect();
            let called = members.iter().map(|enter| self.ops[*enter].invoked).max();
            let now = now.max(called.unwrap_or(0));
            let spared = members.iter().map(|enter| &self.ops[*enter]);
            if spared
                .filter(|op| is_spared(op))
                .any(|op| op.returned < now)
            {
                continue;
            }
            let members = members.iter().fold(0, |set, enter| set | 1 << enter);
            if self.search([entered | members, left, members], now, seen) {
                return true;
            }
        }
        false
    }
}

fn double_twin(ops: &[Op], count: usize) -> bool {
    Double::of(ops, count).search([0; 3], 0, &mut BTreeSet::new())
}

fn parameters_count(history: &History) -> usize {
    let parameters: serde_json::Value = history.header().parameters.parse().unwrap();
    parameters["count"].as_u64().unwrap() as usize
}

/// Whether all who were refused were so while somebody else was there, and more had come than
/// a round has.
fn refusal_twin(ops: &[Op], count: usize) -> bool {
    let double = Double::of(ops, count);
    let is_known = |op: &Op, outcome| op.outcome == outcome && !is_spared(op);
    let gone = |enter: usize| {
        let leave = double.leave[enter].map(|leave| &ops[leave]);
        match leave.filter(|leave| is_known(leave, Outcome::Ok)) {
            _ if is_known(&ops[enter], Outcome::Fail) => ops[enter].returned,
            Some(leave) => leave.returned,
            None => u64::MAX,
        }
    };
    let enters = || (0..ops.len()).filter(|index| ops[*index].f == "enter");
    let mut refused = enters().filter(|enter| is_known(&ops[*enter], Outcome::Fail));
    refused.all(|refused| {
        let during = ops[refused].invoked + 1..=ops[refused].returned;
        let changes = enters().flat_map(|enter| [ops[enter].invoked + 1, gone(enter)]);
        let is_reason = |at: u64| {
            let come = enters().filter(|enter| ops[*enter].invoked < at);
            let is_there = |enter: usize| enter != refused && at <= gone(enter);
            during.contains(&at) && come.clone().count() > count && come.clone().any(is_there)
        };
        changes.clone().any(is_reason)
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Idle,
    Waiting(usize),
    Tripped(usize),
    Inside(usize),
    Leaving(usize),
    Dead,
}

/// A real double barrier.
fn double_run(random: &mut Random, slots: usize, parties: usize, count: usize) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    let mut stages = vec![Stage::Idle; parties];
    let mut leases: Vec<u64> = (0..parties as u64).collect();
    // By party: whether it is of the round that is under way.
    let mut round: BTreeSet<usize> = BTreeSet::new();
    for slot in 0..slots {
        let party = random.below(parties);
        let number = ops.len();
        let lease = leases[party];
        let finish = |op: usize, ops: &mut Vec<Op>, outcome| {
            ops[op].outcome = outcome;
            ops[op].returned = place(slot, op, true);
        };
        let dies = slots < 100 && random.one_in(25);
        stages[party] = match stages[party] {
            Stage::Waiting(op) | Stage::Tripped(op) | Stage::Leaving(op) if dies => {
                finish(op, &mut ops, Outcome::Info);
                round.remove(&party);
                Stage::Dead
            }
            Stage::Dead => {
                leases[party] += parties as u64;
                Stage::Idle
            }
            Stage::Idle if ops.len() < 9 || slots > 100 => {
                ops.push(op("enter", with(lease, true), slot, number));
                Stage::Waiting(number)
            }
            Stage::Tripped(op) => {
                finish(op, &mut ops, Outcome::Ok);
                Stage::Inside(op)
            }
            Stage::Inside(_) => {
                ops.push(op("leave", with(lease, true), slot, number));
                round.remove(&party);
                Stage::Leaving(number)
            }
            Stage::Leaving(op) if round.is_empty() => {
                finish(op, &mut ops, Outcome::Ok);
                Stage::Idle
            }
            stage => stage,
        };
        let is_leaving = |stage: &Stage| matches!(stage, Stage::Leaving(_));
        let waiting = |stages: &[Stage]| {
            let is_waiting = |party: &usize| matches!(stages[*party], Stage::Waiting(_));
            (0..parties).filter(is_waiting).collect::<Vec<_>>()
        };
        let ready = waiting(&stages);
        if ready.len() >= count && round.is_empty() && !stages.iter().any(is_leaving) {
            for party in ready.into_iter().take(count) {
                if let Stage::Waiting(op) = stages[party] {
                    stages[party] = Stage::Tripped(op);
                    round.insert(party);
                }
            }
        }
    }
    ops
}

#[test]
fn the_double_barrier() {
    let mut random = Random(5);
    let mut tally = Tally {
        valid: 0,
        all: 0,
        kinds: BTreeMap::new(),
        silent: 0,
        fallen: 0,
        in_their_time: 0,
    };
    for number in 0..90_000 {
        let (parties, count) = [(2, 2), (3, 2), (3, 3), (4, 2)][number % 4];
        let slots = 24 + random.below(20);
        let mut ops = double_run(&mut random, slots, parties, count);
        if ops.len() < 2 {
            continue;
        }
        if number % 5 == 0 {
            assert!(
                double_twin(&ops, count),
                "the twin refuses a real run: {ops:#?}"
            );
        } else {
            falsify(&mut random, &mut ops, 30);
            for op in &mut ops {
                if random.one_in(10) {
                    op.invoke = with(lease_of(op).unwrap(), random.one_in(2));
                }
            }
        }
        let parameters = format!("{{\"count\":{count}}}");
        compare(&mut tally, Model::DoubleBarrier, &parameters, &ops, |ops| {
            double_twin(ops, count)
        });
    }
    assert_spread(
        &tally,
        &[
            "early-enter",
            "too-many-inside",
            "overlapping-rounds",
            "early-leave",
            "wrong-refusal",
        ],
    );
    assert!(tally.silent > 500, "{} places were filled", tally.silent);
}

#[test]
fn an_enter_that_is_refused_needs_a_reason() {
    let mut first = op("enter", with(1, true), 1, 0);
    (first.outcome, first.returned) = (Outcome::Fail, place(4, 0, true));
    let alone = history("double-barrier", "{\"count\":2}", &[first.clone()]);
    let verdict = check(&alone, Model::DoubleBarrier).unwrap();
    assert_eq!(verdict.violation().unwrap().kind.name, "wrong-refusal");
    let others = [
        op("enter", with(2, true), 2, 1),
        op("enter", with(3, true), 3, 2),
    ];
    let all = [&[first], &others[..]].concat();
    let crowded = history("double-barrier", "{\"count\":2}", &all);
    assert!(check(&crowded, Model::DoubleBarrier).unwrap().is_valid());
}

#[test]
fn an_early_enter_is_told_from_those_of_the_round_before() {
    let ops: Vec<Op> = (0..3)
        .map(|number| {
            let mut enter = op("enter", with(number as u64, true), number, number);
            (enter.outcome, enter.returned) = (Outcome::Ok, place(number + 4, number, true));
            enter
        })
        .collect();
    let history = history("double-barrier", "{\"count\":2}", &ops);
    let verdict = check(&history, Model::DoubleBarrier).unwrap();
    let violation = verdict.violation().unwrap();
    assert_eq!(
        violation.sentence,
        "the enter by process 2 returned, but of the 2 participants that its round needs no more \
         than 1 can have come by then, if the enters on lines 2 and 3 made a round; other rounds \
         explain it no better"
    );
    // Who returned while another one was inside was there with it.
    let lease = |number: u64| format!("{{\"lease\":{number},\"alive\":true}}");
    let history = told_as(
        Model::DoubleBarrier,
        r#"{"count":2}"#,
        &[
            (0, Invoke, "enter", &lease(0)),
            (1, Invoke, "enter", &lease(1)),
            (2, Invoke, "enter", &lease(2)),
            (0, Ok, "enter", "null"),
            (1, Ok, "enter", "null"),
            (0, Invoke, "leave", &lease(0)),
            (1, Invoke, "leave", &lease(1)),
            (2, Ok, "enter", "null"),
        ],
    );
    let violation = refuted(&history, Model::DoubleBarrier, "early-enter", &[2, 3, 4]);
    assert_eq!(
        violation.sentence,
        "the enter by process 2 returned, but of the 2 participants that its round needs no more \
         than 1 can have come by then; the enters on lines 2 and 3 made the round before"
    );
}

// The cyclic barrier.

fn told(op: &Op) -> Option<(u64, u64)> {
    let value: serde_json::Value = op.result.parse().unwrap();
    let number = |name| value.get(name).and_then(serde_json::Value::as_u64);
    let told = number("round").zip(number("index"));
    told.filter(|_| op.outcome == Outcome::Ok && !is_spared(op))
}

struct Cyclic<'o> {
    ops: &'o [Op],
    count: usize,
    gone: BTreeMap<u64, u64>,
    last: u64,
}

impl Cyclic<'_> {
    fn gone(&self, op: &Op) -> u64 {
        let gone = self.gone.get(&lease_of(op).unwrap());
        let over = if is_spared(op) { op.returned } else { u64::MAX };
        gone.copied().unwrap_or(u64::MAX).min(over)
    }

    /// `now` is the earliest instant that is left.
    fn search(
        &self,
        round: u64,
        used: u64,
        now: u64,
        seen: &mut BTreeSet<(u64, u64, u64)>,
    ) -> bool {
        if round > self.last {
            return true;
        }
        if !seen.insert((round, used, now)) {
            return false;
        }
        let is_member = |op: &&Op| told(op).is_some_and(|told| told.0 == round);
        let members: Vec<&Op> = self.ops.iter().filter(is_member).collect();
        let is_later = |op: &&Op| told(op).is_some_and(|told| told.0 >= round);
        let later = self.ops.iter().filter(is_later);
        let deadline = later.map(due).min().unwrap_or(u64::MAX);
        let places: BTreeSet<u64> = members.iter().map(|op| told(op).unwrap().1).collect();
        let fits = |place: &u64| *place < self.count as u64;
        if places.len() < members.len() || !places.iter().all(fits) || members.len() > self.count {
            return false;
        }
        let may_fill = |index: &usize| {
            let op = &self.ops[*index];
            let is_wait = op.f == "wait" && op.outcome != Outcome::Fail;
            is_wait && told(op).is_none() && used & (1 << index) == 0
        };
        let unknown: Vec<usize> = (0..self.ops.len()).filter(may_fill).collect();
        let missing = self.count - members.len();
        choices(&unknown, missing).into_iter().any(|picked| {
            let picked_ops = picked.iter().map(|index| &self.ops[*index]);
            let all = || members.iter().copied().chain(picked_ops.clone());
            let now = all().map(|op| op.invoked).max().unwrap_or(0).max(now);
            let ends = all().map(|op| self.gone(op)).min().unwrap_or(u64::MAX);
            let used = picked.iter().fold(used, |set, index| set | 1 << index);
            now < deadline && now < ends && self.search(round + 1, used, now, seen)
        })
    }
}

/// All ways to choose so many of these.
fn choices(all: &[usize], number: usize) -> Vec<Vec<usize>> {
    if number == 0 {
        return vec![Vec::new()];
    }
    let Some((first, rest)) = all.split_first() else {
        return Vec::new();
    };
    let mut with = choices(rest, number - 1);
    for choice in &mut with {
        choice.push(*first);
    }
    with.extend(choices(rest, number));
    with
}

fn cyclic_twin(ops: &[Op], count: usize) -> bool {
    if ops
        .iter()
        .any(|op| told(op).is_some_and(|told| told.0 == 0))
    {
        return false;
    }
    let mut gone: BTreeMap<u64, u64> = BTreeMap::new();
    let closes = ops
        .iter()
        .filter(|op| op.f == "close" && op.outcome == Outcome::Ok && !is_spared(op));
    for op in closes {
        let end = gone.entry(lease_of(op).unwrap()).or_insert(op.returned);
        *end = op.returned.min(*end);
    }
    let last = ops.iter().filter_map(told).map(|told| told.0).max();
    let cyclic = Cyclic {
        ops,
        count,
        gone,
        last: last.unwrap_or(0),
    };
    cyclic.search(1, 0, 0, &mut BTreeSet::new())
}

/// A real cyclic barrier. Parties give up and close their session, or die.
fn cyclic_run(random: &mut Random, slots: usize, parties: usize, count: usize) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    let mut stages = vec![Stage::Idle; parties];
    let mut leases: Vec<u64> = (0..parties as u64).collect();
    let mut arrived: Vec<usize> = Vec::new();
    let mut round = 1;
    for slot in 0..slots {
        let party = random.below(parties);
        let number = ops.len();
        let lease = leases[party];
        stages[party] = match stages[party] {
            Stage::Idle if ops.len() < 9 || slots > 100 => {
                ops.push(op("wait", with(lease, true), slot, number));
                arrived.push(party);
                Stage::Waiting(number)
            }
            Stage::Waiting(op) | Stage::Tripped(op) if slots < 100 && random.one_in(12) => {
                ops[op].outcome = Outcome::Info;
                ops[op].returned = place(slot, op, true);
                Stage::Dead
            }
            Stage::Tripped(op) => {
                ops[op].outcome = Outcome::Ok;
                ops[op].returned = place(slot, op, true);
                Stage::Idle
            }
            Stage::Dead => {
                ops.push(op("close", with(lease, true), slot, number));
                Stage::Leaving(number)
            }
            Stage::Leaving(op) => {
                ops[op].outcome = Outcome::Ok;
                ops[op].returned = place(slot, op, true);
                arrived.retain(|other| *other != party);
                leases[party] += parties as u64;
                Stage::Idle
            }
            stage => stage,
        };
        if arrived.len() == count {
            for (index, party) in arrived.drain(..).enumerate() {
                if let Stage::Waiting(op) = stages[party] {
                    ops[op].result = json(&format!("{{\"round\":{round},\"index\":{index}}}"));
                    stages[party] = Stage::Tripped(op);
                }
            }
            round += 1;
        }
    }
    ops
}

#[test]
fn the_cyclic_barrier() {
    let mut random = Random(9);
    let mut tally = Tally {
        valid: 0,
        all: 0,
        kinds: BTreeMap::new(),
        silent: 0,
        fallen: 0,
        in_their_time: 0,
    };
    for number in 0..90_000 {
        let (parties, count) = [(2, 2), (3, 2), (3, 3), (4, 3)][number % 4];
        let slots = 20 + random.below(20);
        let mut ops = cyclic_run(&mut random, slots, parties, count);
        if ops.is_empty() {
            continue;
        }
        if number % 5 == 0 {
            assert!(
                cyclic_twin(&ops, count),
                "the twin refuses a real run: {ops:#?}"
            );
        } else {
            falsify(&mut random, &mut ops, 30);
            for op in &mut ops {
                if let (Some((round, index)), true) = (told(op), random.one_in(15)) {
                    let round = round + random.below(2) as u64;
                    let index = (index + random.below(2) as u64) % (count as u64 + 1);
                    op.result = json(&format!("{{\"round\":{round},\"index\":{index}}}"));
                }
            }
        }
        let parameters = format!("{{\"count\":{count}}}");
        compare(&mut tally, Model::CyclicBarrier, &parameters, &ops, |ops| {
            cyclic_twin(ops, count)
        });
    }
    assert_spread(&tally, &["early-round", "same-place"]);
}

/// Each who lost its session could have filled a place at any later time, if it were not known
/// that its lease was gone: then what had ended before is given.
#[test]
fn cyclic_barriers_where_many_are_lost() {
    let mut random = Random(21);
    let (mut given, mut by_themselves) = (0, 0);
    for number in 0..800 {
        let losses = Losses {
            parties: 3,
            count: 2,
            one_in: 2,
            fault: [Fault::Early, Fault::CountsDead][number % 2],
        };
        let fault_at = [12, 22][number / 2 % 2];
        let operations = fault_at + 6 + random.below(14);
        let ops = losses.run(&mut random, operations, &[fault_at]);
        let whole = history("cyclic-barrier", "{\"count\":2}", &ops);
        let verdict = check(&whole, Model::CyclicBarrier).unwrap();
        assert_eq!(verdict.is_valid(), cyclic_twin(&ops, 2), "{verdict}");
        let Some(violation) = verdict.violation() else {
            continue;
        };
        assert!(violation.witness.len() <= 8, "{violation}");
        match violation.others {
            Others::InTheirTimeSince(_) => given += 1,
            Others::AtAnyTime | Others::InTheirTime => by_themselves += 1,
        }
        check_witness(&whole, &ops, violation, &|ops| cyclic_twin(ops, 2));
    }
    println!("{given} with what is given, {by_themselves} without");
    assert!(
        given >= 30 && by_themselves >= 20,
        "{given}, {by_themselves}"
    );
}

#[test]
fn rounds_are_over_in_the_order_of_their_numbers() {
    // Enough of unknown outcome to fill any place.
    let mut ops: Vec<Op> = (0..6)
        .map(|number| op("wait", with(10 + number as u64, true), number, number))
        .collect();
    for (number, round) in [(6, 2), (7, 1)] {
        let slot = number * 10;
        let mut wait = op("wait", with(number as u64, true), slot, number);
        wait.outcome = Outcome::Ok;
        wait.result = json(&format!("{{\"round\":{round},\"index\":0}}"));
        wait.returned = place(slot + 1, number, true);
        ops.push(wait);
    }
    let history = history("cyclic-barrier", "{\"count\":2}", &ops);
    let verdict = check(&history, Model::CyclicBarrier).unwrap();
    assert_eq!(verdict.violation().unwrap().kind.name, "round-order");
    assert!(!cyclic_twin(&ops, 2));
}

// Witnesses.

/// These events: process, type, name, and value if there is one.
fn told_as(
    model: Model,
    parameters: &str,
    events: &[(u64, EventKind, &'static str, &str)],
) -> History {
    let header = support::header(model.name()).with_parameters(json(parameters));
    let events = (1_000..).step_by(1_000).zip(events);
    let events = events.map(|(time, (process, kind, f, value))| {
        Event::new(time, Process::Number(*process), *kind, f).with_value(json(value))
    });
    History::new(header, events.collect()).unwrap()
}

#[track_caller]
fn refuted(history: &History, model: Model, kind: &str, lines: &[usize]) -> Violation {
    let verdict = check(history, model).unwrap();
    let violation = verdict.violation().unwrap_or_else(|| panic!("{verdict}"));
    let witness = violation.witness.iter().map(|op| op.invoked.line);
    let witness: Vec<usize> = witness.collect();
    assert_eq!(
        (violation.kind.name, &witness[..]),
        (kind, lines),
        "{violation}"
    );
    violation.clone()
}

/// Two holds prove it only if a release did not happen in between, of which nothing is known then.
#[test]
fn a_few_operations_prove_it_whatever_the_others_did() {
    let history = told_as(
        Model::Barrier,
        "{}",
        &[
            (1, Invoke, "release", "null"),
            (1, Ok, "release", "false"),
            (0, Invoke, "hold", "null"),
            (0, Ok, "hold", "true"),
            (1, Invoke, "hold", "null"),
            (1, Ok, "hold", "true"),
        ],
    );
    let violation = refuted(&history, Model::Barrier, "double-hold", &[2, 4, 6]);
    assert_eq!(violation.others, Others::AtAnyTime);
}

#[test]
fn who_only_waited_is_told_besides() {
    let lease = |number: u64| format!("{{\"lease\":{number}}}");
    let of_round_2 = r#"{"round":2,"index":0}"#;
    let history = told_as(
        Model::CyclicBarrier,
        r#"{"count":2}"#,
        &[
            (1, Invoke, "wait", &lease(1)),
            (2, Invoke, "wait", &lease(3)),
            (2, Ok, "wait", of_round_2),
            (1, Ok, "wait", r#"{"round":1,"index":0}"#),
        ],
    );
    let violation = refuted(&history, Model::CyclicBarrier, "early-round", &[3]);
    assert_eq!(
        violation.also,
        ["process 1 (line 2) was waiting at that time, too"]
    );
    let history = told_as(
        Model::DoubleBarrier,
        r#"{"count":2}"#,
        &[
            (1, Invoke, "enter", &lease(1)),
            (0, Invoke, "enter", &lease(2)),
            (0, Ok, "enter", "null"),
            (2, Invoke, "enter", &lease(3)),
            (2, Ok, "enter", "null"),
            (1, Ok, "enter", "null"),
        ],
    );
    let violation = refuted(&history, Model::DoubleBarrier, "early-enter", &[3, 5]);
    assert_eq!(
        violation.also,
        ["process 1 (line 2) was waiting at that time, too"]
    );
}

#[test]
fn whose_round_it_was_is_only_supposed_where_others_may_have_made_it() {
    let lease = |number: u64| format!("{{\"lease\":{number},\"alive\":true}}");
    let history = told_as(
        Model::DoubleBarrier,
        r#"{"count":2}"#,
        &[
            (0, Invoke, "enter", &lease(1)),
            (1, Invoke, "enter", &lease(2)),
            (2, Invoke, "enter", &lease(3)),
            (1, Ok, "enter", "null"),
            (1, Invoke, "leave", &lease(2)),
            (1, Ok, "leave", "null"),
            (1, Invoke, "enter", &lease(4)),
            (2, Ok, "enter", "null"),
            (1, Ok, "enter", "null"),
            (0, Ok, "enter", "null"),
        ],
    );
    let violation = refuted(&history, Model::DoubleBarrier, "early-leave", &[2, 3, 4, 6]);
    assert_eq!(
        violation.sentence,
        "the leave by process 1 returned although process 2 of the same round was told only \
         later that it was inside, with a lease that was alive, if the enters on lines 3 and 4 \
         made a round; other rounds explain it no better"
    );
    let alone = told_as(
        Model::DoubleBarrier,
        r#"{"count":2}"#,
        &[
            (1, Invoke, "enter", &lease(2)),
            (2, Invoke, "enter", &lease(3)),
            (1, Ok, "enter", "null"),
            (2, Ok, "enter", "null"),
            (1, Invoke, "leave", &lease(2)),
            (1, Ok, "leave", "null"),
            (2, Invoke, "leave", &lease(3)),
            (2, Ok, "leave", "null"),
        ],
    );
    // With whom it was inside would be seen by its leave alone, whatever came of that.
    let violation = refuted(&alone, Model::DoubleBarrier, "early-leave", &[2, 3, 6]);
    assert_eq!(
        violation.sentence,
        "the leave by process 1 returned although process 2 of the same round began to leave \
         only on line 8, with a lease that was alive"
    );
}

// Long histories.

/// What a long history is called after the answer of one operation was moved to
/// before its turn.
#[track_caller]
fn planted(
    model: Model,
    parameters: &str,
    mut ops: Vec<Op>,
    change: impl FnOnce(&mut Vec<Op>),
) -> Others {
    let valid = history(model.name(), parameters, &ops);
    let verdict = check(&valid, model).unwrap();
    assert!(verdict.is_valid(), "{verdict}");
    change(&mut ops);
    let broken = history(model.name(), parameters, &ops);
    let verdict = check(&broken, model).unwrap();
    let violation = verdict.violation().unwrap_or_else(|| panic!("{verdict}"));
    assert!(violation.witness.len() <= 12, "{violation}");
    println!("{violation}");
    violation.others
}

#[test]
fn one_wrong_answer_is_found_in_a_long_history() {
    let random = &mut Random(1);
    let ops = barrier_run(random, 5_000, 5, true);
    let others = planted(Model::Barrier, "{}", ops, |ops| {
        let is_hold =
            |op: &&Op| op.f == "hold" && lease_of(op).is_none() && op.result == json("true");
        let is_alone = |hold: &&Op| {
            let beside = |op: &Op| op.invoked < hold.returned && op.returned > hold.invoked;
            !ops.iter().any(|op| op.f == "release" && beside(op))
        };
        let mut held = ops.iter().skip(1_000).filter(|op| is_hold(op));
        let at = held.find(is_alone).unwrap().returned;
        // A wait right after it was raised.
        let number = ops.len();
        let mut wait = op("wait", Json::NULL, 0, number);
        (wait.invoked, wait.returned) = (at + 1, at + 2);
        wait.outcome = Outcome::Ok;
        ops.push(wait);
    });
    // Whatever was over before could explain it, if it could have happened at any time.
    assert_eq!(others, Others::InTheirTime);
    let ops = double_run(random, 30_000, 4, 3);
    let others = planted(Model::DoubleBarrier, "{\"count\":3}", ops, |ops| {
        let is_enter = |op: &Op| op.f == "enter" && op.outcome == Outcome::Ok;
        // The first of its round.
        let is_first = |index: &usize| {
            let at = ops[*index].invoked;
            let beside = |op: &Op| op.invoked < at && op.returned > at;
            is_enter(&ops[*index]) && !ops.iter().any(|op| op.f == "enter" && beside(op))
        };
        let first = (2_000..ops.len()).find(is_first).unwrap();
        ops[first].returned = ops[first].invoked + 1;
    });
    // Its companions came in while it was inside, and began only after it had returned.
    assert_eq!(others, Others::AtAnyTime);
    let ops = cyclic_run(random, 30_000, 4, 3);
    planted(Model::CyclicBarrier, "{\"count\":3}", ops, |ops| {
        let is_told = |op: &&mut Op| told(op).is_some();
        let wait = ops.iter_mut().filter(is_told).nth(500).unwrap();
        let (round, index) = told(wait).unwrap();
        wait.result = json(&format!("{{\"round\":{},\"index\":{index}}}", round + 2));
    });
}

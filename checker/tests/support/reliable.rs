//! The reliable queue with leases that end, in its plainest form, and a search through all
//! orders of operations and ends of leases. Nothing here knows the checker.

use std::collections::BTreeSet;

use etcd_checker::history::{Json, Outcome};
use serde_json::Value;

use super::Op;

/// A value that is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Inside {
    value: u64,
    /// Who has it: the revision of the claim, or 0 for one of which nobody learned.
    claim: Option<i64>,
    /// Whether anybody ever had it.
    is_touched: bool,
}

type State = Vec<Inside>;

/// The states after an operation of unknown or known outcome, when no lease ends meanwhile.
fn next(state: &State, op: &Op, ops: &[&Op]) -> Vec<State> {
    let number = |json: &Json| json.parse::<Value>().unwrap();
    let argument = number(&op.invoke);
    let is_known = op.outcome == Outcome::Ok;
    let pair = |pair: &Value| (pair[0].as_u64().unwrap(), pair[1].as_i64().unwrap());
    let mut after = state.clone();
    match op.f {
        "enqueue" => {
            let values = argument.as_array().unwrap().iter();
            after.extend(values.map(|value| Inside {
                value: value.as_u64().unwrap(),
                claim: None,
                is_touched: false,
            }));
            vec![after]
        }
        "claim" if !is_known => {
            let limit = argument.as_u64().unwrap_or(1) as usize;
            let mut all = vec![state.clone()];
            claim_some(state, 0, limit, &mut all);
            all
        }
        "claim" => {
            let claimed = number(&op.result);
            let claimed = claimed.as_array().cloned().unwrap_or_default();
            let mut missed = false;
            let mut left = claimed.len();
            for inside in &mut after {
                let mine = claimed
                    .iter()
                    .map(pair)
                    .find(|(value, _)| *value == inside.value);
                match mine {
                    Some((_, revision)) if inside.claim.is_none() && !missed => {
                        (inside.claim, inside.is_touched) = (Some(revision), true);
                        left -= 1;
                    }
                    Some(_) => return vec![],
                    None if left > 0 || claimed.is_empty() => missed |= !inside.is_touched,
                    None => {}
                }
            }
            let found_wrongly_nothing = claimed.is_empty() && missed;
            if left > 0 || found_wrongly_nothing {
                vec![]
            } else {
                vec![after]
            }
        }
        "acknowledge" | "release" => {
            let (value, revision) = pair(&argument);
            // If nobody was told of the claim, it may have been made at any time.
            let was_told = ops.iter().any(|op| {
                let claimed = op.result.parse::<Value>().unwrap();
                let claimed = claimed.as_array().into_iter().flatten();
                op.f == "claim" && claimed.map(pair).any(|claim| claim == (value, revision))
            });
            let is_free = op.f == "acknowledge" && !was_told;
            let place = state.iter().position(|inside| {
                inside.value == value && (is_free || inside.claim == Some(revision))
            });
            match place {
                Some(place) if op.f == "acknowledge" => {
                    after.remove(place);
                }
                Some(place) => after[place].claim = None,
                // It may be told again that something was given back.
                None if is_known && op.f == "acknowledge" => return vec![],
                None => {}
            }
            vec![after]
        }
        _ => {
            let fits = !is_known || number(&op.result).as_u64() == Some(state.len() as u64);
            if fits { vec![after] } else { vec![] }
        }
    }
}

/// A claim takes free values in order, but may miss those that came back.
fn claim_some(state: &State, from: usize, limit: usize, all: &mut Vec<State>) {
    if limit == 0 {
        return;
    }
    for place in from..state.len() {
        if state[place].claim.is_some() {
            continue;
        }
        let mut after = state.clone();
        (after[place].claim, after[place].is_touched) = (Some(0), true);
        all.push(after.clone());
        claim_some(&after, place + 1, limit - 1, all);
        if !state[place].is_touched {
            return;
        }
    }
}

/// The revision at which an operation says that it took effect.
fn revision(op: &Op) -> Option<i64> {
    if op.outcome != Outcome::Ok {
        return None;
    }
    match op.f {
        "claim" => op.result.parse::<Value>().unwrap()[0][1].as_i64(),
        "length" => None,
        _ => op.revision,
    }
}

/// Whether operations can have happened one after the other, each between its call and its
/// return and in the order of the revisions, while leases end now and then.
pub fn has_order(ops: &[Op]) -> bool {
    let may_happen = |op: &&Op| op.outcome != Outcome::Fail || op.f == "claim";
    let ops: Vec<&Op> = ops.iter().filter(may_happen).collect();
    try_all(&ops, 0, 0, &Vec::new(), &mut BTreeSet::new())
}

fn try_all(
    ops: &[&Op],
    done: u32,
    latest: i64,
    state: &State,
    seen: &mut BTreeSet<(u32, State)>,
) -> bool {
    // What a claim that failed has sent may land later.
    let must = |op: &Op| op.outcome == Outcome::Ok;
    let open = || (0..ops.len()).filter(|index| done & (1 << index) == 0);
    let ends = open().filter(|index| must(ops[*index]));
    let Some(deadline) = ends.map(|index| ops[index].returned).min() else {
        return true;
    };
    if !seen.insert((done, state.clone())) {
        return false;
    }
    let ended = (0..state.len())
        .filter(|place| state[*place].claim.is_some())
        .any(|place| {
            let mut after = state.clone();
            after[place].claim = None;
            try_all(ops, done, latest, &after, seen)
        });
    ended
        || open()
            .filter(|index| ops[*index].invoked < deadline)
            .any(|index| {
                let revision = revision(ops[index]);
                let then = revision.unwrap_or(latest);
                then >= latest
                    && next(state, ops[index], ops)
                        .iter()
                        .any(|state| try_all(ops, done | 1 << index, then, state, seen))
            })
}

/// Whether a queue that does these operations one after the other, and nothing else but ending
/// leases, answers each as it was answered: all that are known, those of unknown outcome that
/// are there, and no releases, which are ends of leases. Each comes before all that were called
/// after its return, and revisions ascend.
///
/// # Panics
/// When one is missing or there twice.
pub fn replays(ops: &[Op], order: &[usize]) -> bool {
    let in_order: Vec<&Op> = order.iter().map(|index| &ops[*index]).collect();
    let all: BTreeSet<&usize> = order.iter().collect();
    assert_eq!(all.len(), order.len(), "one is there twice: {order:?}");
    let is_known = |op: &Op| op.outcome == Outcome::Ok && op.f != "release";
    let missing = (0..ops.len()).find(|index| is_known(&ops[*index]) && !all.contains(index));
    assert_eq!(missing, None, "{order:?}");
    let ends = |op: &Op| op.outcome == Outcome::Ok;
    let (mut begun, mut latest) = (0, 0);
    let everybody: Vec<&Op> = ops.iter().collect();
    let mut states = BTreeSet::from([State::new()]);
    for op in in_order {
        begun = begun.max(op.invoked);
        let now = revision(op).unwrap_or(latest);
        let may_fail = op.f == "claim" || op.outcome != Outcome::Fail;
        let is_late = ends(op) && op.returned < begun;
        if is_late || now < latest || !may_fail || op.f == "release" {
            return false;
        }
        latest = now;
        let all = with_ended_leases(states);
        states = all
            .iter()
            .flat_map(|state| next(state, op, &everybody))
            .collect();
    }
    !states.is_empty()
}

/// These states, and those in which leases have ended.
fn with_ended_leases(states: BTreeSet<State>) -> BTreeSet<State> {
    let mut all = states.clone();
    let mut new: Vec<State> = states.into_iter().collect();
    while let Some(state) = new.pop() {
        for place in 0..state.len() {
            let mut after = state.clone();
            if after[place].claim.take().is_some() && all.insert(after.clone()) {
                new.push(after);
            }
        }
    }
    all
}

//! Elections, judged by the times at which the revisions can have happened. Nothing here knows
//! the checker.

#![allow(unreachable_pub, reason = "shared by tests")]

use etcd_checker::history::Outcome;

use super::Op;
use super::elections::{Change, leader, value};

fn record(ops: &[Op]) -> Vec<Change> {
    let mut answers: Vec<&Op> = ops
        .iter()
        .filter(|op| op.f == "watch" && op.outcome == Outcome::Ok)
        .collect();
    answers.sort_by_key(|op| op.returned);
    let changes = answers.iter().flat_map(|op| {
        let list = value(&op.result);
        list.as_array().unwrap().clone()
    });
    changes
        .map(|change| Change {
            revision: change["revision"].as_i64().unwrap(),
            key: format!("k{}", change["term"]),
            term: change["term"].as_i64().unwrap(),
            value: change["value"].as_str().map(str::to_owned),
        })
        .collect()
}

/// What must hold of the revisions that have happened when an operation was invoked,
/// and when it completed.
pub struct Need<'a> {
    pub op: &'a Op,
    pub holds: Box<dyn Fn(i64, i64) -> bool + 'a>,
}

/// What the answer to a question says: the term and the value.
fn told(op: &Op) -> Option<(i64, String, Option<i64>)> {
    let answer = value(&op.result);
    let term = answer["term"].as_i64()?;
    let name = answer["value"].as_str().unwrap().to_owned();
    Some((term, name, answer["mod_revision"].as_i64()))
}

/// Whether the state at `revision` is what the answer says.
fn fits(changes: &[Change], op: &Op, revision: i64) -> bool {
    let state = leader(changes, revision);
    let Some((term, name, mod_revision)) = told(op) else {
        return state.is_none();
    };
    let written = changes
        .iter()
        .filter(|change| change.term == term && change.value.is_some())
        .filter(|change| change.revision <= revision)
        .map(|change| change.revision)
        .max();
    state == Some((term, name)) && mod_revision.is_none_or(|at| Some(at) == written)
}

/// Whether two revisions belong to the same uninterrupted state.
fn same_state(changes: &[Change], a: i64, b: i64) -> bool {
    let key = |revision: i64| {
        let state = leader(changes, revision);
        let of_leader = changes.iter().filter(|change| {
            change.revision <= revision
                && state.as_ref().is_some_and(|(term, _)| change.term == *term)
        });
        (state.clone(), of_leader.map(|change| change.revision).max())
    };
    let (low, high) = (a.min(b), a.max(b));
    (low..=high).all(|revision| key(revision) == key(low))
}

/// Collects the needs; none when some claim cannot hold at any time.
fn needs<'a>(ops: &'a [Op], changes: &'a [Change], covered: i64) -> Option<Vec<Need<'a>>> {
    let mut needs: Vec<Need<'a>> = Vec::new();
    let mut need = |op: &'a Op, holds: Box<dyn Fn(i64, i64) -> bool + 'a>| {
        needs.push(Need { op, holds });
    };
    for change in changes.iter().filter(|change| change.value.is_some()) {
        let proposes = |op: &&Op| {
            let proposal = value(&op.invoke);
            let proposal = match op.f {
                "campaign" | "run" => proposal,
                "proclaim" => proposal["value"].clone(),
                _ => return false,
            };
            proposal.as_str() == change.value.as_deref()
        };
        let proposer = ops.iter().find(proposes)?;
        let revision = change.revision;
        need(proposer, Box::new(move |before, _| before < revision));
    }
    let mut streams: Vec<(String, i64)> = Vec::new();
    for op in ops {
        let is_ok = op.outcome == Outcome::Ok;
        let asked = value(&op.invoke);
        let term = match op.f {
            "campaign" => value(&op.result)["term"].as_i64(),
            _ => asked["term"].as_i64(),
        };
        let leads = move |revision: i64| leader(changes, revision).map(|(term, _)| term) == term;
        match op.f {
            "campaign" if is_ok => {
                need(op, Box::new(move |before, by| (before..=by).any(leads)));
                if let Some(revision) = op.revision {
                    if !leads(revision) {
                        return None;
                    }
                    need(op, Box::new(move |_, by| revision <= by));
                }
                let is_it = |change: &&Change| change.value.as_deref() == asked.as_str();
                let Some(put) = changes.iter().find(is_it) else {
                    if op.revision.is_some_and(|revision| revision <= covered) {
                        return None;
                    }
                    need(op, Box::new(move |_, by| covered < by));
                    continue;
                };
                if Some(put.term) != term {
                    return None;
                }
                let revision = put.revision;
                need(op, Box::new(move |_, by| revision <= by));
            }
            "act" if is_ok => need(op, Box::new(move |before, by| (before..=by).any(leads))),
            "proclaim" => {
                let is_it = |change: &&Change| change.value.as_deref() == asked["value"].as_str();
                let Some(put) = changes.iter().find(is_it) else {
                    if is_ok {
                        if op.revision.is_some_and(|revision| revision <= covered) {
                            return None;
                        }
                        // It can only come after all that is known.
                        need(op, Box::new(move |_, by| covered < by));
                    }
                    continue;
                };
                let revision = put.revision;
                if op.outcome == Outcome::Fail || Some(put.term) != term || !leads(revision) {
                    return None;
                }
                if is_ok {
                    need(op, Box::new(move |_, by| revision <= by));
                }
            }
            "resign" if is_ok => {
                let is_put = |change: &&Change| Some(change.term) == term && change.value.is_some();
                let key = &changes.iter().find(is_put)?.key;
                let end = changes
                    .iter()
                    .find(|change| change.key == *key && change.value.is_none());
                let revision = end.map_or(covered + 1, |change| change.revision);
                need(op, Box::new(move |_, by| revision <= by));
            }
            "write" if is_ok => {
                let revision = op.revision.unwrap();
                if !leads(revision) {
                    return None;
                }
                need(
                    op,
                    Box::new(move |before, by| before < revision && revision <= by),
                );
            }
            "mark" if is_ok => {
                let revision = op.revision.unwrap();
                need(
                    op,
                    Box::new(move |before, by| before < revision && revision <= by),
                );
            }
            "watch" if is_ok => {
                let revision = op.revision.unwrap();
                need(op, Box::new(move |_, by| revision <= by));
            }
            "leader" if is_ok => {
                let as_of = op.revision;
                if as_of.is_some_and(|revision| !fits(changes, op, revision)) {
                    return None;
                }
                need(
                    op,
                    Box::new(move |before, by| {
                        let instant = |revision: i64| {
                            fits(changes, op, revision)
                                && as_of.is_none_or(|of| same_state(changes, of, revision))
                        };
                        as_of.is_none_or(|of| of <= by) && (before..=by).any(instant)
                    }),
                );
            }
            "observe" if is_ok => {
                let stream = asked.as_str().unwrap().to_owned();
                let known = streams.iter().rposition(|(name, _)| *name == stream);
                let before = known.map(|known| streams[known].1);
                let position = match op.revision {
                    Some(revision) => Some(revision).filter(|at| fits(changes, op, *at)),
                    None => (before.unwrap_or(0)..=covered).find(|at| fits(changes, op, *at)),
                }?;
                if before.is_some_and(|before| position < before) {
                    return None;
                }
                need(op, Box::new(move |_, by| position <= by));
                if before.is_none() {
                    // What comes first is no older than the first question.
                    let is_first = |op: &&Op| {
                        op.f == "observe" && value(&op.invoke).as_str() == Some(stream.as_str())
                    };
                    let first = ops.iter().filter(is_first).min_by_key(|op| op.invoked);
                    need(
                        first.expect("this is one"),
                        Box::new(move |asked, _| {
                            asked <= position || same_state(changes, position, asked)
                        }),
                    );
                }
                streams.push((stream, position));
            }
            _ => {}
        }
    }
    Some(needs)
}

/// Whether times for the revisions explain all operations, as `explains` says of what is
/// needed.
pub fn is_explained(ops: &[Op], explains: impl Fn(&[Op], &[Need<'_>], i64) -> bool) -> bool {
    let changes = record(ops);
    let covered = ops
        .iter()
        .filter(|op| op.f == "watch" && op.outcome == Outcome::Ok)
        .filter_map(|op| op.revision)
        .max()
        .unwrap_or(0);
    needs(ops, &changes, covered).is_some_and(|needs| explains(ops, &needs, covered))
}

/// Lets each revision happen as late as may be. What an operation needs holds of more when
/// fewer revisions had happened at its invocation, or more at its return; so if that explains
/// nothing, nothing does.
pub fn explains_lazily(ops: &[Op], needs: &[Need<'_>], covered: i64) -> bool {
    let told = ops.iter().filter_map(|op| op.revision).max().unwrap_or(0);
    let last = told.max(covered + 1);
    let mut of_ops: Vec<Vec<&Need<'_>>> = ops.iter().map(|_| Vec::new()).collect();
    for need in needs {
        let index = ops.iter().position(|op| std::ptr::eq(op, need.op));
        of_ops[index.unwrap()].push(need);
    }
    let mut events: Vec<(u64, bool, usize)> = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        events.push((op.invoked, true, index));
        if op.outcome == Outcome::Ok {
            events.push((op.returned, false, index));
        }
    }
    events.sort_unstable();
    let (mut now, mut before) = (0, vec![0; ops.len()]);
    for (_, is_invoke, op) in events {
        let holds = |by: i64| of_ops[op].iter().all(|need| (need.holds)(before[op], by));
        if !is_invoke {
            match (now..=last).find(|by| holds(*by)) {
                Some(by) => now = by,
                None => return false,
            }
            continue;
        }
        before[op] = now;
        let holds = |need: &&Need<'_>| (need.holds)(now, last);
        if ops[op].outcome != Outcome::Ok && !of_ops[op].iter().all(holds) {
            return false;
        }
    }
    true
}

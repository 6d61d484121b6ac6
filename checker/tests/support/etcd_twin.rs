//! Histories of etcd in which everything was answered, judged by doing all requests in the
//! order of their revisions. Nothing here knows the checker.

#![allow(unreachable_pub, reason = "shared by tests")]

use serde_json::Value;

use super::Op;
use super::busy::etcd::{Keys, events, serve};

/// Whether a run of etcd gives these answers.
pub fn is_right(ops: &[Op]) -> bool {
    let revisions = keys_by_revision(ops);
    revisions.is_some_and(|revisions| keeps_time(ops) && watch_is_right(ops, &revisions))
}

fn parsed(op: &Op) -> (Value, Value) {
    (op.invoke.parse().unwrap(), op.result.parse().unwrap())
}

fn is_of_watch(op: &Op) -> bool {
    op.f == "watch" || op.f == "notice"
}

/// Whether the answer says that something was written.
fn writes(op: &Op) -> bool {
    let (request, answer) = parsed(op);
    match op.f {
        "put" => true,
        "delete" => answer["deleted"] != 0,
        "txn" if answer["succeeded"] == true => has_put(&request["then"]),
        "txn" => has_put(&request["else"]),
        _ => false,
    }
}

fn has_put(branch: &Value) -> bool {
    let ops = branch.as_array().unwrap();
    ops.iter().any(|op| op.get("put").is_some())
}

/// The keys at each revision that wrote them; none if an answer is another one. Revisions
/// between are of others, who write elsewhere.
fn keys_by_revision(ops: &[Op]) -> Option<Vec<(i64, Keys)>> {
    let mut order: Vec<(i64, bool, &Op)> = ops
        .iter()
        .filter(|op| !is_of_watch(op))
        .map(|op| (op.revision.unwrap(), !writes(op), op))
        .collect();
    order.sort_by_key(|(revision, reads, op)| (*revision, *reads, op.invoked));
    let mut revisions = vec![(1, Keys::new())];
    for (revision, reads, op) in order {
        let (request, answer) = parsed(op);
        let (last, keys) = revisions.last().unwrap();
        let (after, expected) = serve(keys, revision, op.f, &request);
        if answer != expected || reads != (after == *keys) {
            return None;
        }
        if !reads {
            if revision <= *last {
                return None;
            }
            revisions.push((revision, after));
        } else if revision < *last {
            return None;
        }
    }
    Some(revisions)
}

/// Whether what was known when a request was sent had happened before it. Reads that any
/// member may answer show the past.
fn keeps_time(ops: &[Op]) -> bool {
    let requests = || ops.iter().filter(|op| !is_of_watch(op));
    requests().all(|op| {
        let known = requests().filter(|other| other.returned < op.invoked);
        let known = known.filter_map(|other| other.revision).max().unwrap_or(1);
        let is_old = op.invoke.as_str().contains("\"serializable\":true");
        let revision = op.revision.unwrap();
        is_old || known < revision || known == revision && !writes(op)
    })
}

/// Whether the watch heard of everything up to some revision, in order.
fn watch_is_right(ops: &[Op], revisions: &[(i64, Keys)]) -> bool {
    let mut expected: Vec<(i64, Value)> = Vec::new();
    for pair in revisions.windows(2) {
        let (revision, after) = &pair[1];
        let of_revision = events(&pair[0].1, after, *revision).into_iter();
        expected.extend(of_revision.map(|event| (*revision, event)));
    }
    let mut notices: Vec<&Op> = ops.iter().filter(|op| op.f == "notice").collect();
    notices.sort_by_key(|op| op.returned);
    let mut told = 0;
    for notice in notices {
        let (_, answer) = parsed(notice);
        let header = notice.revision.unwrap();
        let heard = answer["events"].as_array().unwrap();
        if heard.is_empty() && expected.get(told).is_some_and(|(at, _)| *at <= header) {
            return false;
        }
        for event in heard {
            match expected.get(told) {
                Some((at, wanted)) if wanted == event && *at <= header => told += 1,
                _ => return false,
            }
        }
        // A revision comes as a whole.
        let last = told.checked_sub(1).map(|last| expected[last].0);
        if !heard.is_empty() && expected.get(told).map(|(at, _)| *at) == last {
            return false;
        }
    }
    true
}

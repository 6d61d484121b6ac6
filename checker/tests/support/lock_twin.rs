//! Locks with tokens, judged by a replay of all revisions, one by one. Nothing here knows the
//! checker.

#![allow(unreachable_pub, reason = "shared by tests")]

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::History;
use etcd_checker::history::{Event, EventKind, Process};
use serde_json::{Value, json};

/// One holding as the history tells it.
struct Hold {
    name: String,
    is_exclusive: bool,
    token: i64,
    owned_at: i64,
    asked: usize,
    granted: usize,
    unlock_invoked: Option<usize>,
    unlock_returned: Option<usize>,
    unlocked_at: Option<i64>,
    /// The first revision at which it may have been gone, the first at which it
    /// certainly was, and whether its lease ended then.
    deleted: Option<(i64, i64, bool)>,
    /// Up to which revision it is known that it was not deleted.
    known_through: i64,
}

impl Hold {
    fn is_alive_at(&self, revision: i64) -> bool {
        self.token <= revision && revision < self.end()
    }

    /// The first revision at which it is not known to be there.
    fn end(&self) -> i64 {
        self.deleted.map_or(self.known_through + 1, |(may, ..)| may)
    }

    fn believes_at(&self, event: usize) -> bool {
        self.granted <= event && self.unlock_invoked.is_none_or(|until| event < until)
    }

    fn conflicts(&self, other: &Hold) -> bool {
        self.name == other.name && (self.is_exclusive || other.is_exclusive)
    }
}

struct Written {
    token: i64,
    is_guarded: bool,
    revision: i64,
    invoked: usize,
}

pub fn value(event: &Event) -> Value {
    serde_json::from_str(event.value().as_str()).unwrap()
}

/// All kinds of violation that the history has, and whether a holding overlaps with
/// another one. Quadratic, and more.
pub fn replay(history: &History) -> (BTreeSet<&'static str>, bool) {
    let events = history.events();
    let mut deletions = BTreeMap::new();
    let watched = events.iter().find(|event| event.f() == "keys-watched");
    let known_through = watched.map_or(0, |event| value(event)["through"].as_i64().unwrap());
    for event in events.iter().filter(|event| event.f() == "key") {
        let key = value(event);
        if let Some(deleted) = key["deleted"].as_i64() {
            let with_lease = key["with_lease"].as_bool().unwrap();
            let after = key["deleted_after"].as_i64().unwrap_or(deleted - 1);
            let end = (after + 1, deleted, with_lease);
            deletions.insert(key["token"].as_i64().unwrap(), end);
        } else {
            deletions.remove(&key["token"].as_i64().unwrap());
        }
    }
    let marked: BTreeSet<i64> = events
        .iter()
        .filter(|event| event.f() == "key")
        .map(|event| value(event)["token"].as_i64().unwrap())
        .collect();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    let (mut holds, mut writes): (Vec<Hold>, Vec<Written>) = (Vec::new(), Vec::new());
    let mut unlocks = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let Process::Number(process) = event.process() else {
            continue;
        };
        if event.kind() == EventKind::Invoke {
            open.insert(process, index);
            if event.f() == "unlock" {
                unlocks.push((value(event)["token"].as_i64().unwrap(), index, process));
            }
            continue;
        }
        let asked = open[&process];
        let argument = value(&events[asked]);
        if event.kind() != EventKind::Ok {
            continue;
        }
        match event.f() {
            "lock" => holds.push(Hold {
                name: argument["lock"].as_str().unwrap().to_owned(),
                is_exclusive: argument["mode"] != "read",
                token: value(event).as_i64().unwrap(),
                owned_at: shown(event).unwrap(),
                asked,
                granted: index,
                unlock_invoked: None,
                unlock_returned: None,
                unlocked_at: None,
                deleted: deletions.get(&value(event).as_i64().unwrap()).copied(),
                known_through: if marked.contains(&value(event).as_i64().unwrap()) {
                    known_through
                } else {
                    0
                },
            }),
            "write" if value(event) == json!(true) => writes.push(Written {
                token: argument["token"].as_i64().unwrap(),
                is_guarded: argument["guarded"].as_bool().unwrap(),
                revision: event.revision().unwrap(),
                invoked: asked,
            }),
            _ => {}
        }
    }
    let grants: Vec<(i64, usize)> = holds.iter().map(|h| (h.token, h.granted)).collect();
    for hold in &mut holds {
        let again = grants
            .iter()
            .filter(|(token, granted)| *token == hold.token && *granted > hold.granted)
            .map(|(_, granted)| *granted)
            .min();
        let is_its = |(token, index, _): &&(i64, usize, u64)| {
            *token == hold.token && hold.granted < *index && again.is_none_or(|next| *index < next)
        };
        if let Some(&(_, index, process)) = unlocks.iter().find(is_its) {
            hold.unlock_invoked = Some(index);
            let end = (index + 1..events.len())
                .find(|end| events[*end].process() == Process::Number(process));
            let ok = end.filter(|end| events[*end].kind() == EventKind::Ok);
            hold.unlock_returned = ok;
            hold.unlocked_at = ok.and_then(|end| events[end].revision());
        }
    }
    let mut kinds = BTreeSet::new();
    judge_grants(events, &holds, &writes, &mut kinds);
    judge_writes(&holds, &writes, &mut kinds);
    let overlaps = (0..events.len()).any(|event| {
        let inside: Vec<&Hold> = holds.iter().filter(|h| h.believes_at(event)).collect();
        pairs(&inside).any(|(one, other)| one.conflicts(other))
    });
    (kinds, overlaps)
}

fn pairs<'a>(holds: &'a [&'a Hold]) -> impl Iterator<Item = (&'a Hold, &'a Hold)> {
    let pair = |first: usize| (first + 1..holds.len()).map(move |second| (first, second));
    (0..holds.len())
        .flat_map(pair)
        .map(|(first, second)| (holds[first], holds[second]))
}

fn judge_grants(
    events: &[Event],
    holds: &[Hold],
    writes: &[Written],
    kinds: &mut BTreeSet<&'static str>,
) {
    for (index, hold) in holds.iter().enumerate() {
        let before = holds[..index]
            .iter()
            .rfind(|other| other.token == hold.token);
        if before.is_some_and(|before| {
            before.believes_at(hold.granted) || before.unlock_returned.is_some()
        }) {
            kinds.insert("same-token");
        }
        if hold.deleted.is_some_and(|(_, by, _)| by <= hold.owned_at) {
            kinds.insert("granted-without-key");
        }
        for other in holds.iter().filter(|other| other.token < hold.token) {
            if hold.conflicts(other) && other.is_alive_at(hold.owned_at) {
                let both = |event: usize| hold.believes_at(event) && other.believes_at(event);
                let is_overlap = (0..events.len()).any(both);
                kinds.insert(if is_overlap {
                    "both-alive"
                } else {
                    "overtaken"
                });
            }
        }
        for other in holds.iter().filter(|other| other.name == hold.name) {
            if other.granted < hold.asked && other.token > hold.token {
                kinds.insert("token-order");
            }
        }
        if let Some((_, deleted, false)) = hold.deleted {
            let seen = events[..hold.unlock_invoked.unwrap_or(events.len())]
                .iter()
                .filter_map(shown)
                .max();
            if hold.unlock_invoked.is_none() || seen.is_some_and(|seen| deleted <= seen) {
                kinds.insert("key-deleted");
            }
        }
        let seen_after = hold.unlock_returned.and_then(|returned| {
            let later = writes.iter().filter(|write| returned < write.invoked);
            later.map(|write| write.revision).min()
        });
        let seen = hold.unlocked_at.or(seen_after);
        if seen.is_some_and(|seen| seen < hold.end()) {
            kinds.insert("unlock-left-key");
        }
    }
}

fn judge_writes(holds: &[Hold], writes: &[Written], kinds: &mut BTreeSet<&'static str>) {
    let holder = |write: &Written| {
        holds
            .iter()
            .rfind(|hold| hold.token == write.token && hold.granted < write.invoked)
            .expect("checked when it was read")
    };
    for write in writes {
        let hold = holder(write);
        if write.is_guarded && hold.deleted.is_some_and(|(_, by, _)| by < write.revision) {
            kinds.insert("fence-broken");
        }
        for earlier in writes {
            let same = holder(earlier).name == hold.name;
            if same && earlier.revision < write.revision && write.token < earlier.token {
                kinds.insert(if write.is_guarded {
                    "fence-broken"
                } else {
                    "stale-write"
                });
            }
        }
        for later in holds.iter().filter(|later| later.name == hold.name) {
            if later.granted < write.invoked && write.token < later.token {
                kinds.insert(if write.is_guarded {
                    "fence-broken"
                } else {
                    "stale-write"
                });
            }
        }
    }
}

/// The revision that an event shows: its own, or that of the key that was granted.
fn shown(event: &Event) -> Option<i64> {
    let is_grant = event.f() == "lock" && event.kind() == EventKind::Ok;
    let token = || value(event).as_i64().filter(|_| is_grant);
    event.revision().or_else(token)
}

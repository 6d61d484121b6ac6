//! The lock checker gives the verdict of a replay of all revisions, one by one, on many
//! small random histories, valid ones and spoilt ones.

mod support;
#[path = "support/locks.rs"]
mod support_locks;

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::{Event, EventKind, Json, Process};
use etcd_checker::{History, Model, Verdict, check};
use serde_json::{Value, json};
use support::Random;
use support_locks::{Service, locks};

const HISTORIES: usize = 120_000;

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

fn value(event: &Event) -> Value {
    serde_json::from_str(event.value().as_str()).unwrap()
}

/// All kinds of violation that the history has, and whether a holding overlaps with
/// another one. Quadratic, and more.
fn replay(history: &History) -> (BTreeSet<&'static str>, bool) {
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

/// Changes what somebody saw, or what etcd says.
fn spoil(random: &mut Random, events: &mut [Event]) {
    for _ in 0..1 + random.below(4) {
        let index = random.below(events.len());
        let other = random.below(events.len());
        let shift = random.below(7) as i64 - 3;
        let (f, kind) = (events[index].f().to_owned(), events[index].kind());
        match (f.as_str(), kind) {
            ("lock", EventKind::Ok) if random.one_in(3) => {
                renumber(events, index, 1 + random.below(6) as i64);
            }
            ("lock", EventKind::Ok) if random.one_in(4) => {
                events[index].set_revision(None);
            }
            ("lock", EventKind::Ok) if random.one_in(2) => {
                let revision = events[index].revision().unwrap_or(0);
                events[index].set_revision(Some((revision + shift).max(0)));
            }
            ("lock", EventKind::Ok)
                if events[other].f() == "lock" && events[other].kind() == EventKind::Ok =>
            {
                let other = events[other].clone();
                events[index].set_value(other.value().clone());
                events[index].set_revision(other.revision());
            }
            ("key", _) => {
                let mut key = value(&events[index]);
                match random.below(4) {
                    3 => {
                        if let Some(deleted) = key["deleted"].as_i64() {
                            key["deleted_after"] = json!(deleted - 1 - shift.abs());
                        }
                    }
                    0 => key["deleted"] = Value::Null,
                    1 => key["with_lease"] = json!(!key["with_lease"].as_bool().unwrap()),
                    _ => {
                        if let Some(deleted) = key["deleted"].as_i64() {
                            let token = key["token"].as_i64().unwrap();
                            key["deleted"] = json!((deleted + shift).max(token));
                        }
                    }
                }
                events[index].set_value(Json::new(&key).unwrap());
            }
            ("unlock" | "write", EventKind::Ok) => {
                let revision = events[index].revision().unwrap_or(0);
                events[index].set_revision(Some((revision + shift).max(0)));
            }
            ("write", EventKind::Invoke) => {
                let mut write = value(&events[index]);
                write["guarded"] = json!(!write["guarded"].as_bool().unwrap());
                events[index].set_value(Json::new(&write).unwrap());
            }
            _ => {}
        }
    }
}

/// Makes a holding one with a smaller token, whose lease ended at once.
fn renumber(events: &mut [Event], lock: usize, by: i64) {
    let before = value(&events[lock]);
    let token = before.as_i64().unwrap_or(1);
    let after = (token - by).max(1);
    for event in events.iter_mut() {
        let mut held = value(event);
        if held["token"] == before {
            held["token"] = json!(after);
            if event.f() == "key" {
                (held["deleted"], held["with_lease"]) = (json!(after + 1), json!(true));
            }
            event.set_value(Json::new(&held).unwrap());
        }
    }
    events[lock].set_value(Json::new(&after).unwrap());
    events[lock].set_revision(Some(after));
}

#[test]
fn the_verdict_is_that_of_a_replay_of_all_revisions() {
    let mut random = Random(11);
    let (mut valid, mut excused, mut unknown) = (0, 0, 0);
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..HISTORIES {
        let service = Service::draw(&mut random);
        let (header, mut events) = locks(&mut random, service).into_parts();
        let is_spoilt = number % 3 != 0;
        if is_spoilt {
            spoil(&mut random, &mut events);
        }
        let history = History::new(header, events).unwrap();
        let model = Model::of(&history).unwrap();
        // Some changes make it no history of a lock.
        let Ok(verdict) = check(&history, model) else {
            continue;
        };
        let (kinds, overlaps) = replay(&history);
        if !is_spoilt && service.unguarded == 0 {
            assert!(kinds.is_empty(), "the twin refuses a real run: {kinds:?}");
        }
        match verdict {
            Verdict::Valid(summary) => {
                assert!(kinds.is_empty(), "history {number}: {kinds:?}");
                assert_eq!(overlaps, !summary.notes.is_empty(), "history {number}");
                valid += 1;
                excused += usize::from(overlaps);
            }
            Verdict::Violation(violation) => {
                let name = violation.kind.name;
                assert!(
                    kinds.contains(name),
                    "history {number}: {violation}\nbut {kinds:?}"
                );
                assert!(violation.witness.len() <= 4, "{violation}");
                *found.entry(name).or_default() += 1;
            }
            // A grant that was moved to where nobody watched the keys any more.
            Verdict::Unknown { .. } if is_spoilt && overlaps => {
                assert!(kinds.is_empty(), "history {number}: {kinds:?}");
                unknown += 1;
            }
            other => panic!("history {number}: {other}"),
        }
    }
    assert!(unknown < 500, "{unknown}");
    println!("{valid} valid, {excused} of them with overlaps, {found:?}");
    assert!(valid > HISTORIES / 4, "{valid} are valid");
    assert!(excused > 1_000, "{excused} overlaps");
    for kind in [
        "same-token",
        "granted-without-key",
        "both-alive",
        "overtaken",
        "key-deleted",
        "fence-broken",
        "unlock-left-key",
        "token-order",
        "stale-write",
    ] {
        assert!(
            found.get(kind).is_some_and(|n| *n > 20),
            "{kind}: {found:?}"
        );
    }
}

#[test]
fn without_the_ends_of_the_keys_an_overlap_is_unknown() {
    let mut random = Random(3);
    let (mut unknown, mut valid) = (0, 0);
    for _ in 0..2_000 {
        let service = Service {
            unguarded: 0,
            expiries: 5,
            ..Service::draw(&mut random)
        };
        let (header, mut events) = locks(&mut random, service).into_parts();
        events.retain(|event| event.process() != Process::Nemesis);
        let history = History::new(header, events).unwrap();
        let (_, overlaps) = replay(&history);
        let verdict = check(&history, Model::of(&history).unwrap()).unwrap();
        match verdict {
            Verdict::Unknown { reason } => {
                assert!(overlaps && reason.contains("when its key was deleted"));
                unknown += 1;
            }
            Verdict::Valid(_) => {
                assert!(!overlaps);
                valid += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(unknown > 100 && valid > 100, "{unknown}, {valid}");
}

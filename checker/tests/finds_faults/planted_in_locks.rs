//! A large history of locks with tokens is right, and then one thing in it is changed: the
//! checker says what a replay of all revisions says.

use etcd_checker::History;
use etcd_checker::history::{Event, EventKind, Json, Operation};
use serde_json::json;

use crate::support::Random;
use crate::support::busy::lock::busy_locks;
use crate::support::lock_twin::{replay, value};
use crate::support::planted::Tally;

const OPERATIONS: usize = 800;
const TIMES: usize = 12;

/// The operations of a history, by the places of their events.
struct Asked {
    f: String,
    invoked: usize,
    completed: usize,
    token: Option<i64>,
}

fn answered(history: &History) -> Vec<Asked> {
    let asked = |operation: &Operation<'_>| {
        let ok = operation.ok()?;
        let f = operation.invoke.f().to_string();
        let token = match f.as_str() {
            "lock" => value(ok).as_i64(),
            _ => value(operation.invoke)["token"].as_i64(),
        };
        let (invoked, completed) = (operation.invoked, operation.completed);
        Some(Asked {
            f,
            invoked,
            completed,
            token,
        })
    };
    history.operations().iter().filter_map(asked).collect()
}

type Plant = fn(&mut Vec<Event>, &Asked, &Asked);

/// The name of the fault, of which operation it is, and how it gets in. The other operation
/// is one of the same name a bit later.
const FAULTS: [(&str, &str, Plant); 8] = [
    // It is let in at once, whoever is inside.
    ("early return", "lock", |events, one, _| {
        let granted = events.remove(one.completed);
        let asked = &events[one.invoked];
        let granted = Event::new(asked.time(), granted.process(), granted.kind(), "lock")
            .with_value(granted.value().clone())
            .with_revision(one.token);
        events.insert(one.invoked + 1, granted);
    }),
    // It believes an old state of the queue in front of it.
    ("stale read", "lock", |events, one, _| {
        events[one.completed].set_revision(one.token);
    }),
    ("lost unlock", "unlock", |events, one, _| {
        events.remove(one.completed);
        events.remove(one.invoked);
    }),
    ("lost deletion", "unlock", |events, one, _| {
        change_mark(events, one.token, None);
    }),
    ("early deletion", "unlock", |events, one, _| {
        change_mark(events, one.token, one.token.map(|token| token + 1));
    }),
    ("duplicate token", "lock", |events, one, other| {
        rename(events, &[(other.token, one.token)]);
    }),
    ("swapped tokens", "lock", |events, one, other| {
        rename(
            events,
            &[(other.token, one.token), (one.token, other.token)],
        );
    }),
    // The guard lets a write through that comes too late.
    ("late write", "write", |events, one, other| {
        let late = events[other.completed].revision();
        events[one.completed].set_revision(late);
    }),
];

fn change_mark(events: &mut [Event], token: Option<i64>, deleted: Option<i64>) {
    for event in events.iter_mut().filter(|event| event.f() == "key") {
        let mut key = value(event);
        if key["token"].as_i64() == token {
            key["deleted"] = json!(deleted);
            event.set_value(Json::new(&key).unwrap());
        }
    }
}

/// Gives the holdings with these tokens others.
fn rename(events: &mut [Event], tokens: &[(Option<i64>, Option<i64>)]) {
    let renamed = |token: Option<i64>| {
        let found = tokens
            .iter()
            .find(|(from, _)| token.is_some() && *from == token);
        found.map(|(_, to)| *to)
    };
    for event in events.iter_mut().filter(|event| event.f() != "key") {
        let mut said = value(event);
        let is_grant = event.f() == "lock" && event.kind() == EventKind::Ok;
        let token = if is_grant {
            said.as_i64()
        } else {
            said["token"].as_i64()
        };
        if let Some(to) = renamed(token) {
            match is_grant {
                true => said = json!(to),
                false => said["token"] = json!(to),
            }
            event.set_value(Json::new(&said).unwrap());
        }
    }
}

fn plant(model: &str) -> Tally {
    let (mut random, mut tally) = (Random(3), Tally::default());
    let history = busy_locks(&mut random, model, OPERATIONS, 10);
    let asked = answered(&history);
    tally.compare("none", &history, replay(&history).0.is_empty());
    for (fault, f, plant) in FAULTS {
        let alike: Vec<&Asked> = asked.iter().filter(|asked| asked.f == f).collect();
        for _ in 0..TIMES {
            let one = random.below(alike.len() - 12);
            let other = one + 1 + random.below(10);
            let (header, mut events) = history.clone().into_parts();
            plant(&mut events, alike[one], alike[other]);
            let history = History::new(header, events).unwrap();
            tally.compare(fault, &history, replay(&history).0.is_empty());
        }
    }
    tally
}

#[test]
fn mutexes_with_tokens() {
    plant("mutex").assert_noticed(&FAULTS.map(|(fault, ..)| fault), 2);
}

#[test]
fn read_write_locks_with_tokens() {
    plant("rwlock").assert_noticed(&FAULTS.map(|(fault, ..)| fault), 2);
}

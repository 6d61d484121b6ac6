//! A real election under clients, some of which miss the answers.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use etcd_checker::history::{Json, Outcome};
use serde_json::{Value, json};

use super::{Op, Random};

/// A change of a key, as etcd tells it.
#[derive(Clone, Debug)]
pub struct Change {
    pub revision: i64,
    pub key: String,
    pub term: i64,
    pub value: Option<String>,
}

pub fn value(json: &Json) -> Value {
    serde_json::from_str(json.as_str()).unwrap()
}

fn json(value: &Value) -> Json {
    Json::new(value).unwrap()
}

/// The leader at a revision: its term and value.
pub fn leader(changes: &[Change], revision: i64) -> Option<(i64, String)> {
    let mut keys: Vec<(String, i64, String)> = Vec::new();
    for change in changes.iter().filter(|change| change.revision <= revision) {
        keys.retain(|(key, _, _)| *key != change.key);
        if let Some(value) = &change.value {
            keys.push((change.key.clone(), change.term, value.clone()));
        }
    }
    let first = keys.into_iter().min_by_key(|(_, term, _)| *term);
    first.map(|(_, term, value)| (term, value))
}

/// A client of the real election.
struct Client {
    doing: Option<usize>,
    /// What its operation has come to: its answer and revision.
    answer: Option<(Value, Option<i64>)>,
    key: Option<(String, i64)>,
    leads: bool,
}

/// A real election under clients, some of which miss the answers.
struct World<'r> {
    random: &'r mut Random,
    now: u64,
    revision: i64,
    changes: Vec<Change>,
    told: usize,
    clients: Vec<Client>,
    ops: Vec<Op>,
}

impl World<'_> {
    fn tick(&mut self) -> u64 {
        self.now += 10;
        self.now
    }

    fn change(&mut self, key: &str, term: i64, value: Option<String>) {
        self.revision += 1;
        self.changes.push(Change {
            revision: self.revision,
            key: key.to_owned(),
            term: if term == 0 { self.revision } else { term },
            value,
        });
    }

    fn invoke(&mut self, f: &'static str, invoke: &Value) -> usize {
        let invoked = self.tick();
        self.ops.push(Op {
            f,
            invoke: json(invoke),
            result: Json::NULL,
            outcome: Outcome::Open,
            revision: None,
            invoked,
            returned: u64::MAX,
        });
        self.ops.len() - 1
    }

    fn finish(&mut self, op: usize, outcome: Outcome, result: &Value, revision: Option<i64>) {
        let returned = self.tick();
        let op = &mut self.ops[op];
        (op.outcome, op.returned) = (outcome, returned);
        if outcome == Outcome::Ok {
            (op.result, op.revision) = (json(result), revision);
        }
    }

    fn begin(&mut self, client: usize) {
        let number = self.ops.len();
        let term = self.clients[client].key.as_ref().map(|(_, term)| *term);
        let (f, invoke) = match (term, self.clients[client].leads, self.random.below(6)) {
            (None, _, 0..=2) => ("campaign", json!(format!("v{number}"))),
            (Some(term), true, 0) => ("resign", json!({"term": term})),
            (Some(term), true, 1) => (
                "proclaim",
                json!({"term": term, "value": format!("v{number}")}),
            ),
            (Some(term), true, 2) => ("act", json!({"term": term})),
            (Some(term), true, 3) => ("write", json!({"term": term})),
            (_, _, 4) => ("leader", json!(null)),
            _ => ("observe", json!(format!("o{client}"))),
        };
        let op = self.invoke(f, &invoke);
        self.clients[client].doing = Some(op);
        self.clients[client].answer = None;
    }

    /// What etcd does about the client's operation, or its answer.
    fn advance(&mut self, client: usize) {
        let Some(op) = self.clients[client].doing else {
            return self.begin(client);
        };
        if let Some((answer, revision)) = self.clients[client].answer.take() {
            let outcome = match self.random.below(12) {
                0 => Outcome::Info,
                _ => Outcome::Ok,
            };
            let is_refused = answer == json!("refused");
            let outcome = if is_refused { Outcome::Fail } else { outcome };
            // Evidence may be missing, but a vacancy without it says nothing.
            let keeps = answer.is_null() || self.ops[op].f == "write" || self.random.below(3) > 0;
            self.finish(op, outcome, &answer, revision.filter(|_| keeps));
            self.clients[client].doing = None;
            let f = self.ops[op].f;
            if f == "campaign" {
                self.clients[client].leads = outcome == Outcome::Ok;
            }
            return;
        }
        let f = self.ops[op].f;
        let invoke = value(&self.ops[op].invoke);
        let key = self.clients[client].key.clone();
        let alive = key
            .as_ref()
            .is_some_and(|(key, term)| self.exists(key, *term));
        let answer = match (f, key) {
            ("campaign", None) => {
                let key = format!("k{op}");
                self.change(&key, 0, invoke.as_str().map(str::to_owned));
                self.clients[client].key = Some((key, self.revision));
                return;
            }
            ("campaign", Some((_, term))) => {
                let first = leader(&self.changes, self.revision).map(|(term, _)| term);
                if !alive {
                    self.clients[client].key = None;
                    json!("refused")
                } else if first == Some(term) {
                    json!({"term": term})
                } else {
                    return;
                }
            }
            ("resign", Some((key, term))) => {
                if alive {
                    self.change(&key, term, None);
                }
                self.clients[client].key = None;
                self.clients[client].leads = false;
                json!(null)
            }
            ("proclaim" | "write", Some(_)) if !alive => json!("refused"),
            ("proclaim", Some((key, term))) => {
                self.change(&key, term, invoke["value"].as_str().map(str::to_owned));
                json!(null)
            }
            ("write", _) => {
                self.revision += 1;
                json!(null)
            }
            ("act", _) => {
                // An act is an instant: one whose time has run out does not come.
                if !alive {
                    self.clients[client].doing = None;
                    self.clients[client].leads = false;
                    return;
                }
                json!(null)
            }
            _ => self.who_leads(),
        };
        self.clients[client].answer = Some((answer, Some(self.revision)));
    }

    fn exists(&self, key: &str, term: i64) -> bool {
        let last = self.changes.iter().rev().find(|change| change.key == key);
        last.is_some_and(|change| change.value.is_some() && change.term == term)
    }

    fn who_leads(&mut self) -> Value {
        match leader(&self.changes, self.revision) {
            None => json!(null),
            Some((term, value)) => {
                let put = self.changes.iter().rev().find(|change| change.term == term);
                let mod_revision = put.map(|change| change.revision);
                if self.random.one_in(3) {
                    json!({"term": term, "value": value})
                } else {
                    json!({"term": term, "value": value, "mod_revision": mod_revision})
                }
            }
        }
    }

    /// A lease ends.
    fn expire(&mut self) {
        let keys: Vec<String> = self
            .changes
            .iter()
            .map(|change| change.key.clone())
            .collect();
        if keys.is_empty() {
            return;
        }
        let key = keys[self.random.below(keys.len())].clone();
        let last = self.changes.iter().rev().find(|change| change.key == key);
        if last.is_some_and(|change| change.value.is_some()) {
            let term = last.map_or(0, |change| change.term);
            self.change(&key, term, None);
        }
    }

    fn watch(&mut self) {
        let op = self.invoke("watch", &json!(null));
        let list: Vec<Value> = self.changes[self.told..]
            .iter()
            .map(|change| {
                json!({"term": change.term, "revision": change.revision, "value": change.value})
            })
            .collect();
        self.told = self.changes.len();
        let revision = self.revision;
        self.finish(op, Outcome::Ok, &json!(list), Some(revision));
    }
}

pub fn real_run(random: &mut Random) -> Vec<Op> {
    let clients = 2 + random.below(2);
    let steps = 10 + random.below(25);
    let client = || Client {
        doing: None,
        answer: None,
        key: None,
        leads: false,
    };
    let mut world = World {
        random,
        now: 0,
        revision: 0,
        changes: Vec::new(),
        told: 0,
        clients: (0..clients).map(|_| client()).collect(),
        ops: Vec::new(),
    };
    for _ in 0..steps {
        match world.random.below(14) {
            0 => world.watch(),
            1 => world.expire(),
            _ => {
                let client = world.random.below(clients);
                world.advance(client);
            }
        }
    }
    let mark = world.invoke("mark", &json!(null));
    world.revision += 1;
    let revision = world.revision;
    world.finish(mark, Outcome::Ok, &json!(null), Some(revision));
    world.watch();
    world.ops
}

/// Changes what some clients saw, and when.
pub fn falsify(random: &mut Random, ops: &mut Vec<Op>) {
    if random.one_in(20) {
        never_written(random, ops);
    }
    for _ in 0..3 + random.below(8) {
        let index = random.below(ops.len());
        let by = [-2, -1, 1, 2][random.below(4)];
        let op = &mut ops[index];
        if op.f == "watch" {
            continue;
        }
        match random.below(6) {
            0 if op.outcome == Outcome::Ok => {
                op.revision = op.revision.map(|revision| (revision + by).max(1));
            }
            1 => {
                let mut result = value(&op.result);
                if let Some(term) = result["term"].as_i64() {
                    result["term"] = json!((term + by).max(0));
                    op.result = json(&result);
                }
            }
            2 => {
                let mut invoke = value(&op.invoke);
                if let Some(term) = invoke["term"].as_i64() {
                    invoke["term"] = json!((term + by).max(0));
                    op.invoke = json(&invoke);
                }
            }
            3 if op.outcome == Outcome::Info && op.f != "campaign" && op.f != "write" => {
                op.outcome = [Outcome::Ok, Outcome::Fail][random.below(2)];
            }
            // Later or earlier, never onto another event.
            4 if op.outcome != Outcome::Open => {
                let longer = random.below(12) as u64 * 10 + 1 + index as u64 % 8;
                op.returned = op.returned.saturating_sub(longer).max(op.invoked + 1);
            }
            5 if op.outcome != Outcome::Open => {
                let later = random.below(12) as u64 * 10 + 1 + index as u64 % 8;
                op.invoked = (op.invoked + later).min(op.returned - 1);
            }
            _ => {}
        }
    }
}

/// A proclamation that was acknowledged and yet did not happen.
fn never_written(random: &mut Random, ops: &mut Vec<Op>) {
    let place = random.below(ops.len());
    let invoked = ops[place].invoked + 3;
    let term = 1 + random.below(4);
    ops.push(Op {
        f: "proclaim",
        invoke: json(&json!({"term": term, "value": "never"})),
        result: Json::NULL,
        outcome: [Outcome::Ok, Outcome::Info][random.below(2)],
        revision: Some(1 + random.below(5) as i64).filter(|_| random.one_in(2)),
        invoked,
        returned: invoked + 1,
    });
}

pub fn has_equal_times(ops: &[Op]) -> bool {
    let times = ops.iter().flat_map(|op| [op.invoked, op.returned]);
    let mut times: Vec<u64> = times.filter(|time| *time != u64::MAX).collect();
    let all = times.len();
    times.sort_unstable();
    times.dedup();
    times.len() < all
}

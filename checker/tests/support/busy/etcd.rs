//! A small etcd: clients write, delete, compare and read keys, and one watches them all.

use std::collections::BTreeMap;

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json};
use serde_json::{Value, json};

use super::{Random, Run, Server, json as as_json, run};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// The client that watches.
const WATCHER: usize = 0;

pub fn busy_etcd(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Etcd {
        keys: Keys::new(),
        revision: 1,
        events: Vec::new(),
        told: None,
        asked: vec![("range", Value::Null); clients],
        values: 0,
    };
    run(random, "etcd", server, operations, clients)
}

/// Value, create revision, mod revision, version.
pub type Keys = BTreeMap<String, (String, i64, i64, i64)>;

/// What a request does when the next revision is `revision`, and what it answers. Nothing
/// has happened when the keys are the same as before.
pub fn serve(keys: &Keys, revision: i64, f: &str, request: &Value) -> (Keys, Value) {
    let mut after = keys.clone();
    let answer = match f {
        "put" => {
            let key = request["key"].as_str().unwrap();
            let before = keys.get(key).map(|_| shown(keys, key));
            let (created, version) = keys
                .get(key)
                .map_or((revision, 1), |old| (old.1, old.3 + 1));
            let value = request["value"].as_str().unwrap().to_owned();
            after.insert(key.to_owned(), (value, created, revision, version));
            match before {
                Some(before) => json!({"prev": before}),
                None => json!({}),
            }
        }
        "delete" => {
            let key = request["key"].as_str().unwrap();
            let before: Vec<Value> = keys
                .get(key)
                .map(|_| shown(keys, key))
                .into_iter()
                .collect();
            after.remove(key);
            match before.len() {
                0 => json!({"deleted": 0}),
                _ => json!({"deleted": 1, "prev": before}),
            }
        }
        "txn" => {
            let compare = &request["if"][0];
            let modified = keys.get(compare[1].as_str().unwrap()).map_or(0, |kv| kv.2);
            let succeeded = Some(modified) == compare[3].as_i64();
            let branch = &request[if succeeded { "then" } else { "else" }];
            let mut results = Vec::new();
            for op in branch.as_array().unwrap() {
                let (f, request) = op.as_object().unwrap().iter().next().unwrap();
                let answer;
                (after, answer) = serve(&after, revision, f, request);
                let answer = if f == "put" { json!({}) } else { answer };
                results.push(json!({f.as_str(): answer}));
            }
            json!({"succeeded": succeeded, "results": results})
        }
        _ => {
            let from = request["key"].as_str().unwrap();
            let end = request["end"].as_str();
            let is_in = |key: &&String| match end {
                Some(end) => (from..end).contains(&key.as_str()),
                None => key.as_str() == from,
            };
            let found: Vec<Value> = keys
                .keys()
                .filter(is_in)
                .map(|key| shown(keys, key))
                .collect();
            json!({"count": found.len(), "kvs": found})
        }
    };
    (after, answer)
}

fn shown(keys: &Keys, key: &str) -> Value {
    let (value, create, modified, version) = &keys[key];
    json!([key, value, create, modified, version, 0])
}

/// What a watch with previous versions hears of the step from one revision to the next.
pub fn events(before: &Keys, after: &Keys, revision: i64) -> Vec<Value> {
    let changed = KEYS
        .iter()
        .filter(|key| before.get(**key) != after.get(**key));
    let event = |key: &&str| {
        let old = before.get(*key).map(|_| shown(before, key));
        match after.get(*key) {
            Some(_) => json!({"put": [shown(after, key), old]}),
            None => json!({"delete": [key, revision, old]}),
        }
    };
    changed.map(event).collect()
}

struct Etcd {
    keys: Keys,
    revision: i64,
    events: Vec<Value>,
    /// How many events the watch has told of, once there is one.
    told: Option<usize>,
    asked: Vec<(&'static str, Value)>,
    values: u64,
}

impl Etcd {
    fn value(&mut self) -> String {
        self.values += 1;
        format!("v{}", self.values)
    }
}

impl Server for Etcd {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let key = KEYS[random.below(KEYS.len())];
        let (value, other) = (self.value(), self.value());
        let (f, request) = match random.below(8) {
            _ if client == WATCHER && self.told.is_none() => {
                let request =
                    json!({"watch": 1, "key": "a", "end": "e", "start": 2, "prev_kv": true});
                ("watch", request)
            }
            _ if client == WATCHER => ("notice", Value::Null),
            0..=2 => ("put", json!({"key": key, "value": value, "prev_kv": true})),
            3 => ("delete", json!({"key": key, "prev_kv": true})),
            4 => {
                let modified = self.keys.get(key).map_or(0, |kv| kv.2);
                let request = json!({
                    "if": [["mod", key, "=", modified]],
                    "then": [{"put": {"key": key, "value": value}}, {"put": {"key": "d", "value": other}}],
                    "else": [{"range": {"key": key}}],
                });
                // A transaction writes a key once.
                match key {
                    "d" => ("range", json!({"key": "d"})),
                    _ => ("txn", request),
                }
            }
            5 => ("range", json!({"key": key})),
            6 => (
                "range",
                json!({"key": "a", "end": "e", "serializable": true}),
            ),
            _ => ("range", json!({"key": "a", "end": "e"})),
        };
        self.asked[client] = (f, request.clone());
        (f, as_json(&request))
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let (f, request) = self.asked[client].clone();
        let answer = match f {
            "watch" => {
                self.told = Some(0);
                Value::Null
            }
            "notice" => {
                let told = self.told.unwrap_or_default();
                let news = &self.events[told..];
                self.told = Some(self.events.len());
                // With nothing new it is a notice of progress.
                json!({"watch": 1, "events": news})
            }
            _ => {
                let (after, answer) = serve(&self.keys, self.revision + 1, f, &request);
                if after != self.keys {
                    self.revision += 1;
                    self.events
                        .extend(events(&self.keys, &after, self.revision));
                    self.keys = after;
                }
                answer
            }
        };
        Some((as_json(&answer), Evidence::revision(self.revision)))
    }

    /// Everybody is answered.
    fn end(&mut self, run: &mut Run<'_>) {
        for client in 0..self.asked.len() {
            while !run.step(self, client) {}
        }
    }
}

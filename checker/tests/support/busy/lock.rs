//! A lock service: whoever asked first for a lock is let in first, readers together.

use std::collections::VecDeque;

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json};
use serde_json::json;

use super::{Random, Run, Server, json, run};

/// How many locks there are.
const LOCKS: usize = 3;

/// `mutex` or `rwlock`: with the tokens and marks of a lock on etcd.
pub fn busy_locks(random: &mut Random, model: &str, operations: usize, clients: usize) -> History {
    let server = Locks {
        has_readers: model == "rwlock",
        lines: vec![VecDeque::new(); LOCKS],
        doing: vec![Doing::Nothing; clients],
        revision: 1,
        keys: Vec::new(),
    };
    run(random, model, server, operations, clients)
}

struct Locks {
    has_readers: bool,
    /// Of each lock, the keys of those who hold it or wait for it, oldest first.
    lines: Vec<VecDeque<Key>>,
    doing: Vec<Doing>,
    revision: i64,
    /// Token of each key, and the revision that deleted it.
    keys: Vec<(i64, Option<i64>)>,
}

#[derive(Clone, Copy)]
struct Key {
    number: usize,
    is_exclusive: bool,
}

#[derive(Clone, Copy)]
enum Doing {
    Nothing,
    Asks {
        lock: usize,
        is_exclusive: bool,
    },
    Waits {
        lock: usize,
        key: usize,
        is_exclusive: bool,
    },
    Holds {
        lock: usize,
        key: usize,
        is_exclusive: bool,
    },
    Writes {
        lock: usize,
        key: usize,
    },
    Unlocks {
        lock: usize,
        key: usize,
    },
}

impl Locks {
    fn is_in(&self, lock: usize, key: usize, is_exclusive: bool) -> bool {
        let mut before = self.lines[lock].iter().take_while(|one| one.number != key);
        before.all(|one| !is_exclusive && !one.is_exclusive)
    }
}

impl Server for Locks {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let (doing, f, value) = match self.doing[client] {
            Doing::Holds {
                lock,
                key,
                is_exclusive,
            } => {
                let (name, token) = (name(lock), self.keys[key].0);
                if is_exclusive && random.one_in(2) {
                    let value = json!({"lock": name, "token": token, "guarded": true});
                    (Doing::Writes { lock, key }, "write", value)
                } else {
                    let value = json!({"lock": name, "token": token});
                    (Doing::Unlocks { lock, key }, "unlock", value)
                }
            }
            _ => {
                let lock = random.below(LOCKS);
                let is_exclusive = !self.has_readers || random.one_in(4);
                let value = match (self.has_readers, is_exclusive) {
                    (false, _) => json!({"lock": name(lock)}),
                    (true, true) => json!({"lock": name(lock), "mode": "write"}),
                    (true, false) => json!({"lock": name(lock), "mode": "read"}),
                };
                (Doing::Asks { lock, is_exclusive }, "lock", value)
            }
        };
        self.doing[client] = doing;
        (f, json(&value))
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let is_change = matches!(
            self.doing[client],
            Doing::Asks { .. } | Doing::Writes { .. } | Doing::Unlocks { .. }
        );
        self.revision += i64::from(is_change);
        let told = Evidence::revision(self.revision);
        let (doing, answer) = match self.doing[client] {
            Doing::Asks { lock, is_exclusive } => {
                let key = self.keys.len();
                self.keys.push((self.revision, None));
                self.lines[lock].push_back(Key {
                    number: key,
                    is_exclusive,
                });
                let doing = Doing::Waits {
                    lock,
                    key,
                    is_exclusive,
                };
                (doing, None)
            }
            Doing::Waits {
                lock,
                key,
                is_exclusive,
            } if self.is_in(lock, key, is_exclusive) => {
                let doing = Doing::Holds {
                    lock,
                    key,
                    is_exclusive,
                };
                (doing, Some((json(&self.keys[key].0), told)))
            }
            Doing::Writes { lock, key } => {
                let doing = Doing::Holds {
                    lock,
                    key,
                    is_exclusive: true,
                };
                (doing, Some((json(&true), told)))
            }
            Doing::Unlocks { lock, key } => {
                self.lines[lock].retain(|one| one.number != key);
                self.keys[key].1 = Some(self.revision);
                (Doing::Nothing, Some((Json::NULL, told)))
            }
            waits => (waits, None),
        };
        self.doing[client] = doing;
        answer
    }

    fn end(&mut self, run: &mut Run<'_>) {
        for (token, deleted) in &self.keys {
            let value = json!({"token": token, "deleted": deleted, "with_lease": false});
            run.recorder.nemesis(run.time, "key", json(&value));
        }
        let watched = json!({"through": self.revision});
        run.recorder
            .nemesis(run.time, "keys-watched", json(&watched));
    }
}

fn name(lock: usize) -> String {
    format!("lock-{lock}")
}

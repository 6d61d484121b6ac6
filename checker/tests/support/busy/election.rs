//! An election: one client watches, half of the others want to lead, the rest asks who
//! does.

use std::collections::BTreeMap;

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json};
use serde_json::{Value, json};

use super::{Random, Run, Server, json, run};

/// The client that watches the keys.
const WATCHER: usize = 0;

pub fn busy_election(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Election {
        keys: BTreeMap::new(),
        revision: 1,
        changes: Vec::new(),
        told: 0,
        doing: vec![Doing::Nothing; clients],
        values: 0,
    };
    run(random, "election", server, operations, clients)
}

struct Election {
    /// By term, the value and the revision that wrote it.
    keys: BTreeMap<i64, (String, i64)>,
    revision: i64,
    /// What happened to the keys, and how much of it the watcher knows.
    changes: Vec<Value>,
    told: usize,
    doing: Vec<Doing>,
    values: u64,
}

#[derive(Clone)]
enum Doing {
    Nothing,
    Campaigns(String),
    Waits(i64),
    Leads(i64),
    Proclaims(i64, String),
    Acts(i64),
    Writes(i64),
    Resigns(i64),
    Asks,
    Watches,
}

impl Election {
    fn value(&mut self, client: usize) -> String {
        self.values += 1;
        format!("c{client}-{}", self.values)
    }

    fn put(&mut self, term: Option<i64>, value: String) -> i64 {
        self.revision += 1;
        let (revision, term) = (self.revision, term.unwrap_or(self.revision));
        self.changes
            .push(json!({"term": term, "revision": revision, "value": value}));
        self.keys.insert(term, (value, revision));
        term
    }

    fn leads(&self, random: &mut Random, client: usize, term: i64, value: String) -> Asked {
        debug_assert!(client != WATCHER);
        let of_term = json!({"term": term});
        match random.below(8) {
            0 => (Doing::Resigns(term), "resign", of_term),
            1 | 2 => {
                let proclaimed = json!({"term": term, "value": value});
                (Doing::Proclaims(term, value), "proclaim", proclaimed)
            }
            3 | 4 => (Doing::Writes(term), "write", of_term),
            _ => (Doing::Acts(term), "act", of_term),
        }
    }
}

type Asked = (Doing, &'static str, Value);

impl Server for Election {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let (doing, f, value) = match self.doing[client] {
            Doing::Leads(term) => {
                let value = self.value(client);
                self.leads(random, client, term, value)
            }
            _ if client == WATCHER => (Doing::Watches, "watch", Value::Null),
            _ if client % 2 == 1 => {
                let value = self.value(client);
                (Doing::Campaigns(value.clone()), "campaign", json!(value))
            }
            _ if random.one_in(2) => (Doing::Asks, "leader", Value::Null),
            _ => (Doing::Asks, "observe", json!(format!("stream-{client}"))),
        };
        self.doing[client] = doing;
        (f, json(&value))
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let doing = std::mem::replace(&mut self.doing[client], Doing::Nothing);
        let (doing, answer) = match doing {
            Doing::Campaigns(value) => (Doing::Waits(self.put(None, value)), None),
            Doing::Waits(term) if self.keys.keys().next() == Some(&term) => {
                (Doing::Leads(term), Some(json!({"term": term})))
            }
            Doing::Proclaims(term, value) => {
                self.put(Some(term), value);
                (Doing::Leads(term), Some(Value::Null))
            }
            Doing::Acts(term) => (Doing::Leads(term), Some(Value::Null)),
            Doing::Writes(term) => {
                self.revision += 1;
                (Doing::Leads(term), Some(Value::Null))
            }
            Doing::Resigns(term) => {
                self.revision += 1;
                self.keys.remove(&term);
                self.changes
                    .push(json!({"term": term, "revision": self.revision}));
                (Doing::Nothing, Some(Value::Null))
            }
            Doing::Asks => {
                let leader = self.keys.iter().next();
                let answer = leader.map(|(term, (value, revision))| {
                    json!({"term": term, "value": value, "mod_revision": revision})
                });
                (Doing::Nothing, Some(answer.unwrap_or(Value::Null)))
            }
            Doing::Watches => {
                let news = json!(self.changes[self.told..]);
                self.told = self.changes.len();
                (Doing::Nothing, Some(news))
            }
            waits => (waits, None),
        };
        self.doing[client] = doing;
        answer.map(|answer| (json(&answer), Evidence::revision(self.revision)))
    }

    /// The watcher is told of everything.
    fn end(&mut self, run: &mut Run<'_>) {
        let mut watches = 0;
        while watches < 2 {
            watches += usize::from(run.step(self, WATCHER));
        }
    }
}

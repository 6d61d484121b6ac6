//! Locks and semaphores without tokens, of clients that come in, stay a while, and leave.

use std::collections::BTreeMap;

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json, OperationId, Recorder};
use serde_json::{Value, json};

use super::super::header;
use super::{Random, json};

/// What is taken in turns.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Of which each client is an owner.
    Mutex,
    RwLock,
    /// Where nobody knows who owns it.
    AnonymousMutex,
    Semaphore(usize),
}

/// A history of so many operations. Near the end somebody is let in while others are inside
/// that should keep it out.
pub fn turns(random: &mut Random, kind: Kind, operations: usize, clients: usize) -> History {
    let (model, parameters) = match kind {
        Kind::Mutex => ("mutex", json!({"owners": true})),
        Kind::RwLock => ("rwlock", json!({"owners": true})),
        Kind::AnonymousMutex => ("mutex", json!({})),
        Kind::Semaphore(permits) => ("semaphore", json!({"permits": permits})),
    };
    let mut header = header(model);
    header.parameters = json(&parameters);
    let mut turns = Turns {
        kind,
        recorder: Recorder::new(header),
        time: 0,
        inside: BTreeMap::new(),
        has_erred: false,
    };
    let mut doing: Vec<Doing> = (0..clients).map(|_| Doing::Nothing).collect();
    let mut ended = 0;
    while ended < operations || !turns.has_erred {
        let client = random.below(clients);
        let is_late = ended > operations * 3 / 4;
        let others_stay = doing
            .iter()
            .all(|doing| !matches!(doing, Doing::Leaving(_)));
        let may_err = is_late && others_stay && !turns.has_erred;
        let next = turns.step(random, client, &doing[client], may_err);
        ended += usize::from(matches!(next, Doing::Inside(STAY) | Doing::Nothing));
        doing[client] = next;
    }
    turns.recorder.finish()
}

const STAY: usize = 3;

enum Doing {
    Nothing,
    Waiting(OperationId, Value),
    /// For so many steps more.
    Inside(usize),
    Leaving(OperationId),
}

struct Turns {
    kind: Kind,
    recorder: Recorder,
    time: u64,
    /// Who is inside, and whether it keeps all others out.
    inside: BTreeMap<usize, bool>,
    has_erred: bool,
}

impl Turns {
    fn now(&mut self) -> u64 {
        self.time += 100;
        self.time
    }

    fn step(&mut self, random: &mut Random, client: usize, doing: &Doing, may_err: bool) -> Doing {
        match doing {
            Doing::Nothing => {
                let value = self.value(client, random.one_in(3));
                let time = self.now();
                let value_json = json(&value);
                let id = self
                    .recorder
                    .invoke(time, client as u64, "acquire", value_json);
                Doing::Waiting(id, value)
            }
            Doing::Waiting(id, value) => self.let_in(client, *id, value, may_err),
            Doing::Inside(0) => {
                let is_exclusive = self.inside.remove(&client).unwrap();
                let value = self.value(client, is_exclusive);
                let time = self.now();
                let id = self
                    .recorder
                    .invoke(time, client as u64, "release", json(&value));
                Doing::Leaving(id)
            }
            Doing::Inside(steps) => Doing::Inside(steps - 1),
            Doing::Leaving(id) => {
                let time = self.now();
                self.recorder.ok(*id, time, Json::NULL, Evidence::NONE);
                Doing::Nothing
            }
        }
    }

    fn value(&self, client: usize, is_exclusive: bool) -> Value {
        let mode = if is_exclusive { "write" } else { "read" };
        match self.kind {
            Kind::Mutex => json!({"owner": client}),
            Kind::RwLock => json!({"owner": client, "mode": mode}),
            Kind::AnonymousMutex | Kind::Semaphore(_) => Value::Null,
        }
    }

    fn let_in(&mut self, client: usize, id: OperationId, value: &Value, may_err: bool) -> Doing {
        let is_exclusive = value["mode"] != "read";
        let fits = if let Kind::Semaphore(permits) = self.kind {
            self.inside.len() < permits
        } else if is_exclusive {
            self.inside.is_empty()
        } else {
            !self.inside.values().any(|keeps_out| *keeps_out)
        };
        if !fits && !may_err {
            return Doing::Waiting(id, value.clone());
        }
        self.has_erred |= !fits;
        self.inside.insert(client, is_exclusive);
        let time = self.now();
        self.recorder.ok(id, time, Json::NULL, Evidence::NONE);
        Doing::Inside(STAY)
    }
}

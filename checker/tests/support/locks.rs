//! A lock service with leases, and clients that do not always notice what happens to
//! them.

#![allow(unreachable_pub, reason = "shared by tests")]

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json, OperationId, Recorder};
use serde_json::json;

use super::{Random, header};

/// How a run of the service is drawn.
#[derive(Clone, Copy)]
pub struct Service {
    pub model: &'static str,
    pub clients: usize,
    pub steps: usize,
    pub names: usize,
    /// One write in so many has no guard; 0: none.
    pub unguarded: usize,
    /// One step in so many ends a lease; 0: none.
    pub expiries: usize,
    /// One answer in so many is lost; 0: none.
    pub losses: usize,
}

impl Service {
    /// Any small one.
    pub fn draw(random: &mut Random) -> Self {
        Self {
            model: ["mutex", "rwlock"][random.below(2)],
            clients: 2 + random.below(3),
            steps: 10 + random.below(60),
            names: 1 + random.below(2),
            unguarded: [0, 0, 3][random.below(3)],
            expiries: [0, 5, 20][random.below(3)],
            losses: [0, 6, 20][random.below(3)],
        }
    }
}

#[derive(Clone, Debug)]
struct Key {
    client: usize,
    name: usize,
    is_exclusive: bool,
    token: i64,
    deleted: Option<i64>,
    with_lease: bool,
}

enum Doing {
    Nothing,
    Asked(OperationId, usize, bool),
    /// The key, by index.
    Waits(OperationId, usize),
    Granted(OperationId, usize, i64),
    Holds(usize),
    Writes(OperationId, usize, bool),
    Wrote(OperationId, usize, Json, i64),
    Unlocks(OperationId, usize),
    Unlocked(OperationId, i64),
}

struct Run<'r> {
    random: &'r mut Random,
    service: Service,
    recorder: Recorder,
    keys: Vec<Key>,
    revision: i64,
    time: u64,
}

/// The history of a run in which nothing is wrong but what leases explain. Without
/// writes that have no guard it is valid.
pub fn locks(random: &mut Random, service: Service) -> History {
    let mut run = Run {
        random,
        service,
        recorder: Recorder::new(header(service.model)),
        keys: Vec::new(),
        revision: 1,
        time: 0,
    };
    let mut doing: Vec<Doing> = (0..service.clients).map(|_| Doing::Nothing).collect();
    for _ in 0..service.steps {
        run.time += 10;
        let client = run.random.below(service.clients);
        if service.expiries > 0 && run.random.one_in(service.expiries) {
            run.expire(client);
        }
        let before = std::mem::replace(&mut doing[client], Doing::Nothing);
        doing[client] = run.step(client, before);
    }
    run.finish()
}

impl Run<'_> {
    fn step(&mut self, client: usize, doing: Doing) -> Doing {
        match doing {
            Doing::Nothing => self.ask(client),
            Doing::Asked(id, name, is_exclusive) => {
                if self.is_lost() {
                    if self.random.one_in(2) {
                        self.create(client, name, is_exclusive);
                    }
                    self.recorder.info(id, self.time, "no answer");
                    self.expire(client);
                    return Doing::Nothing;
                }
                Doing::Waits(id, self.create(client, name, is_exclusive))
            }
            Doing::Waits(id, key) if self.keys[key].deleted.is_some() => {
                self.recorder.fail(id, self.time, "the session is lost");
                Doing::Nothing
            }
            Doing::Waits(id, key) if self.is_first(key) => Doing::Granted(id, key, self.revision),
            Doing::Granted(id, key, revision) => {
                let token = self.keys[key].token;
                let evidence = Evidence::revision(revision);
                let token = Json::new(&token).unwrap();
                self.recorder.ok(id, self.time, token, evidence);
                Doing::Holds(key)
            }
            Doing::Holds(key) if self.keys[key].is_exclusive && self.random.one_in(2) => {
                self.begin_write(client, key)
            }
            Doing::Holds(key) => {
                let value = self.held(key, None);
                let id = self
                    .recorder
                    .invoke(self.time, client as u64, "unlock", value);
                Doing::Unlocks(id, key)
            }
            Doing::Writes(id, key, is_guarded) => {
                let is_applied = !is_guarded || self.keys[key].deleted.is_none();
                self.revision += i64::from(is_applied);
                if self.is_lost() {
                    self.recorder.info(id, self.time, "no answer");
                    return Doing::Holds(key);
                }
                Doing::Wrote(id, key, Json::new(&is_applied).unwrap(), self.revision)
            }
            Doing::Wrote(id, key, is_applied, revision) => {
                let evidence = Evidence::revision(revision);
                self.recorder.ok(id, self.time, is_applied, evidence);
                Doing::Holds(key)
            }
            Doing::Unlocks(id, key) => {
                if self.keys[key].deleted.is_none() {
                    self.delete(key, false);
                }
                if self.is_lost() {
                    self.recorder.info(id, self.time, "no answer");
                    return Doing::Nothing;
                }
                Doing::Unlocked(id, self.revision)
            }
            Doing::Unlocked(id, revision) => {
                let is_told = self.random.one_in(2);
                let evidence = if is_told {
                    Evidence::revision(revision)
                } else {
                    Evidence::NONE
                };
                self.recorder.ok(id, self.time, Json::NULL, evidence);
                Doing::Nothing
            }
            waiting => waiting,
        }
    }

    fn ask(&mut self, client: usize) -> Doing {
        let name = self.random.below(self.service.names);
        let is_exclusive = self.service.model == "mutex" || self.random.one_in(2);
        let mode = if is_exclusive { "write" } else { "read" };
        let value = if self.service.model == "mutex" {
            json!({"lock": format!("l{name}")})
        } else {
            json!({"lock": format!("l{name}"), "mode": mode})
        };
        let value = Json::new(&value).unwrap();
        let id = self
            .recorder
            .invoke(self.time, client as u64, "lock", value);
        Doing::Asked(id, name, is_exclusive)
    }

    fn begin_write(&mut self, client: usize, key: usize) -> Doing {
        let unguarded = self.service.unguarded;
        let is_guarded = unguarded == 0 || !self.random.one_in(unguarded);
        let value = self.held(key, Some(is_guarded));
        let id = self
            .recorder
            .invoke(self.time, client as u64, "write", value);
        Doing::Writes(id, key, is_guarded)
    }

    fn held(&self, key: usize, guarded: Option<bool>) -> Json {
        let Key { name, token, .. } = self.keys[key];
        let lock = format!("l{name}");
        let value = match guarded {
            Some(guarded) => json!({"lock": lock, "token": token, "guarded": guarded}),
            None => json!({"lock": lock, "token": token}),
        };
        Json::new(&value).unwrap()
    }

    fn create(&mut self, client: usize, name: usize, is_exclusive: bool) -> usize {
        self.revision += 1;
        self.keys.push(Key {
            client,
            name,
            is_exclusive,
            token: self.revision,
            deleted: None,
            with_lease: false,
        });
        self.keys.len() - 1
    }

    fn is_first(&self, key: usize) -> bool {
        let mine = &self.keys[key];
        let in_the_way = |other: &Key| {
            other.deleted.is_none()
                && other.name == mine.name
                && other.token < mine.token
                && (mine.is_exclusive || other.is_exclusive)
        };
        !self.keys.iter().any(in_the_way)
    }

    fn delete(&mut self, key: usize, with_lease: bool) {
        self.revision += 1;
        let key = &mut self.keys[key];
        (key.deleted, key.with_lease) = (Some(self.revision), with_lease);
    }

    /// Ends the lease of a client, which does not notice.
    fn expire(&mut self, client: usize) {
        let mine = |key: &usize| {
            let key = &self.keys[*key];
            key.client == client && key.deleted.is_none()
        };
        let keys: Vec<usize> = (0..self.keys.len()).filter(mine).collect();
        keys.into_iter().for_each(|key| self.delete(key, true));
    }

    fn is_lost(&mut self) -> bool {
        self.service.losses > 0 && self.random.one_in(self.service.losses)
    }

    fn finish(mut self) -> History {
        for key in &self.keys {
            let value =
                json!({"token": key.token, "deleted": key.deleted, "with_lease": key.with_lease});
            self.recorder
                .nemesis(self.time, "key", Json::new(&value).unwrap());
        }
        let watched = json!({"through": self.revision});
        self.recorder
            .nemesis(self.time, "keys-watched", Json::new(&watched).unwrap());
        self.recorder.finish()
    }
}

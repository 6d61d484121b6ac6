//! However long and busy a history of a lock, a semaphore or a double barrier is, its order is found
//! as it goes along: nothing is left for a search to remember. What is wrong with one is seen next
//! to where it goes no further.

use etcd_checker::history::{Evidence, Json};
use etcd_checker::search::Budget;
use etcd_checker::{History, Model, Violation, check, check_within};
use serde_json::{Value, json};

use crate::support::Random;
use crate::support::busy::{Server, run};

const OPERATIONS: usize = 5_000;
const CLIENTS: [usize; 3] = [3, 10, 100];

#[track_caller]
fn assert_straight(history: &History) {
    let no_memory = Budget {
        time: None,
        memory_bytes: 0,
    };
    let model = Model::of(history).unwrap();
    let verdict = check_within(history, model, &no_memory).unwrap();
    assert!(verdict.is_valid(), "{verdict}");
}

/// A lock or a semaphore.
struct Room {
    places: usize,
    taken: usize,
    /// What is asked: how many places, and by whom, if it says so.
    value: fn(client: usize, is_large: bool) -> Value,
    enters: &'static str,
    clients: Vec<Client>,
}

#[derive(Clone, Copy, Default)]
struct Client {
    is_large: bool,
    is_inside: bool,
    is_leaving: bool,
}

impl Room {
    fn history(self, random: &mut Random, model: &str, parameters: &Value) -> History {
        let clients = self.clients.len();
        let history = run(random, model, self, OPERATIONS, clients);
        let (mut header, events) = history.into_parts();
        header.parameters = Json::new(parameters).unwrap();
        History::new(header, events).unwrap()
    }
}

impl Server for Room {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let one = &mut self.clients[client];
        one.is_leaving = one.is_inside;
        if !one.is_inside {
            one.is_large = random.one_in(4);
        }
        let f = if one.is_leaving {
            "release"
        } else {
            self.enters
        };
        (f, Json::new(&(self.value)(client, one.is_large)).unwrap())
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let one = &mut self.clients[client];
        // Who writes takes all places of a lock that has many.
        let places = match (self.value)(0, true)["mode"].as_str() {
            Some(_) if one.is_large => self.places,
            _ => 1,
        };
        let answer = if one.is_leaving {
            one.is_inside = false;
            self.taken -= places;
            Json::NULL
        } else if self.taken + places <= self.places {
            one.is_inside = true;
            self.taken += places;
            json(&true)
        } else if self.enters == "acquire" {
            return None;
        } else {
            json(&false)
        };
        Some((answer, Evidence::NONE))
    }
}

fn json(value: &bool) -> Json {
    Json::new(value).unwrap()
}

type Asked = fn(usize, bool) -> Value;

fn mode(is_large: bool) -> &'static str {
    if is_large { "write" } else { "read" }
}

/// A double barrier, whose participants are let in as they come.
struct Rounds {
    count: usize,
    clients: Vec<Participant>,
    waiting: Vec<usize>,
    inside: Vec<usize>,
    /// How many of those inside wish to leave.
    leaving: usize,
    /// Who has been told that it is inside.
    is_told: Vec<bool>,
    rounds: usize,
    /// This round begins with one too few.
    wrong_round: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Participant {
    Outside,
    Waits,
    IsInside,
    WishesToLeave,
    MayLeave,
}

impl Rounds {
    fn history(clients: usize, wrong_round: Option<usize>) -> History {
        let count = clients / 2;
        let rounds = Self {
            count,
            clients: vec![Participant::Outside; clients],
            waiting: Vec::new(),
            inside: Vec::new(),
            leaving: 0,
            is_told: vec![false; clients],
            rounds: 0,
            wrong_round,
        };
        let random = &mut Random(2);
        let history = run(random, "double-barrier", rounds, 2 * OPERATIONS, clients);
        let (mut header, events) = history.into_parts();
        header.parameters = Json::new(&json!({"count": count})).unwrap();
        History::new(header, events).unwrap()
    }

    fn begin_round(&mut self) {
        let is_wrong = self.wrong_round == Some(self.rounds);
        let needed = self.count - usize::from(is_wrong);
        if !self.inside.is_empty() || self.waiting.len() < needed {
            return;
        }
        self.rounds += 1;
        self.inside = self.waiting.drain(..needed).collect();
        for client in &self.inside {
            self.clients[*client] = Participant::IsInside;
        }
    }
}

impl Server for Rounds {
    fn ask(&mut self, _: &mut Random, client: usize) -> (&'static str, Json) {
        let lease = client + 1;
        if self.clients[client] == Participant::IsInside {
            let value = json!({"lease": lease, "alive": true});
            return ("leave", Json::new(&value).unwrap());
        }
        ("enter", Json::new(&json!({"lease": lease})).unwrap())
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let done = Some((Json::NULL, Evidence::NONE));
        match self.clients[client] {
            Participant::Outside => {
                self.clients[client] = Participant::Waits;
                self.waiting.push(client);
                self.begin_round();
                // It is told when it asks again.
                None
            }
            Participant::Waits => None,
            Participant::IsInside if self.is_told[client] => {
                self.is_told[client] = false;
                self.clients[client] = Participant::WishesToLeave;
                self.leaving += 1;
                if self.leaving == self.inside.len() {
                    self.leaving = 0;
                    for client in std::mem::take(&mut self.inside) {
                        self.clients[client] = Participant::MayLeave;
                    }
                    self.begin_round();
                }
                None
            }
            Participant::IsInside => {
                self.is_told[client] = true;
                done
            }
            Participant::WishesToLeave => None,
            Participant::MayLeave => {
                self.clients[client] = Participant::Outside;
                done
            }
        }
    }
}

#[test]
fn of_double_barriers() {
    for clients in [4, 10, 100] {
        assert_straight(&Rounds::history(clients, None));
    }
}

#[test]
fn what_is_wrong_with_a_double_barrier_is_seen_by_those_who_enter_at_that_time() {
    for clients in [10, 40, 100] {
        let history = Rounds::history(clients, Some(OPERATIONS / clients));
        let verdict = check(&history, Model::DoubleBarrier).unwrap();
        let violation: &Violation = verdict.violation().unwrap_or_else(|| panic!("{verdict}"));
        assert!(violation.witness.len() <= clients, "{violation}");
        let may_be_fewer = violation.also.iter().any(|also| also.contains("fewer"));
        assert!(!may_be_fewer, "{violation}");
    }
}

#[test]
fn of_locks_and_semaphores() {
    let kinds: [(&str, usize, Value, Asked); 5] = [
        ("mutex", 1, json!({}), |_, _| Value::Null),
        (
            "mutex",
            1,
            json!({"owners": true}),
            |client, _| json!({"owner": client}),
        ),
        ("semaphore", 3, json!({"permits": 3}), |_, _| Value::Null),
        (
            "rwlock",
            1_000,
            json!({}),
            |_, is_large| json!({"mode": mode(is_large)}),
        ),
        (
            "rwlock",
            1_000,
            json!({"owners": true}),
            |client, is_large| json!({"mode": mode(is_large), "owner": client}),
        ),
    ];
    let mut random = Random(1);
    for clients in CLIENTS {
        for (model, places, parameters, value) in &kinds {
            let room = Room {
                places: *places,
                taken: 0,
                value: *value,
                enters: "acquire",
                clients: vec![Client::default(); clients],
            };
            assert_straight(&room.history(&mut random, model, parameters));
        }
    }
}

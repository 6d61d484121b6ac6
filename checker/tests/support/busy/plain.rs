//! Registers, counters, sets, groups of members, and mutexes that are entered again and again.

use std::collections::BTreeSet;

use etcd_checker::History;
use etcd_checker::history::{Evidence, Json};
use serde_json::json;

use super::{Random, Server, json, run};

/// A register in which each value is written once.
pub fn busy_plain_register(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Register {
        value: None,
        written: 0,
        values: None,
        asked: vec![None; clients],
    };
    run(random, "register", server, operations, clients)
}

/// A register in which so many values are written, each again and again.
pub fn busy_few_values(
    random: &mut Random,
    operations: usize,
    clients: usize,
    values: usize,
) -> History {
    let server = Register {
        value: None,
        written: 0,
        values: Some(values),
        asked: vec![None; clients],
    };
    run(random, "register", server, operations, clients)
}

struct Register {
    value: Option<usize>,
    written: usize,
    /// How many values there are; none when each is written once.
    values: Option<usize>,
    /// What is to be written, if anything.
    asked: Vec<Option<usize>>,
}

impl Server for Register {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        self.asked[client] = random.one_in(2).then(|| {
            self.written += 1;
            self.values
                .map_or(self.written, |values| self.written % values)
        });
        match self.asked[client] {
            Some(value) => ("write", json(&value)),
            None => ("read", Json::NULL),
        }
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        if let Some(value) = self.asked[client] {
            self.value = Some(value);
        }
        Some((json(&self.value), Evidence::NONE))
    }
}

/// A `set` or `membership`, with operations of these names. It only grows, or keeps so
/// many elements, more or less: the oldest are taken out.
pub fn busy_set(
    random: &mut Random,
    names: [&'static str; 3],
    operations: usize,
    clients: usize,
    size: Option<usize>,
) -> History {
    let model = if names[0] == "add" {
        "set"
    } else {
        "membership"
    };
    let server = Set {
        names,
        size,
        inside: BTreeSet::new(),
        added: 0,
        asked: vec![Asked::Whole; clients],
    };
    run(random, model, server, operations, clients)
}

struct Set {
    names: [&'static str; 3],
    size: Option<usize>,
    inside: BTreeSet<usize>,
    added: usize,
    asked: Vec<Asked>,
}

#[derive(Clone, Copy)]
enum Asked {
    Add(usize),
    Remove(usize),
    Whole,
}

impl Server for Set {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let [add, remove, whole] = self.names;
        let is_full = self.size.is_some_and(|size| self.inside.len() > size);
        self.asked[client] = if random.one_in(3) {
            Asked::Whole
        } else if is_full && !random.one_in(4) {
            Asked::Remove(self.added - self.inside.len() + random.below(8))
        } else {
            self.added += 1;
            Asked::Add(self.added)
        };
        match self.asked[client] {
            Asked::Add(element) => (add, json(&element)),
            Asked::Remove(element) => (remove, json(&element)),
            Asked::Whole => (whole, Json::NULL),
        }
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let answer = match self.asked[client] {
            Asked::Add(element) => {
                self.inside.insert(element);
                Json::NULL
            }
            Asked::Remove(element) => {
                self.inside.remove(&element);
                Json::NULL
            }
            Asked::Whole => json(&json!(self.inside)),
        };
        Some((answer, Evidence::NONE))
    }
}

/// A counter that only grows.
pub fn busy_counter(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Counter {
        sum: 0,
        adds: vec![false; clients],
    };
    run(random, "counter", server, operations, clients)
}

struct Counter {
    sum: usize,
    adds: Vec<bool>,
}

impl Server for Counter {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        self.adds[client] = random.one_in(2);
        let f = if self.adds[client] {
            "increment"
        } else {
            "read"
        };
        (f, Json::NULL)
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        if self.adds[client] {
            self.sum += 1;
            return Some((Json::NULL, Evidence::NONE));
        }
        Some((json(&self.sum), Evidence::NONE))
    }
}

/// A counter to which different numbers are added, some by clients who are told the sum.
pub fn busy_sums(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Sums {
        sum: 0,
        asked: vec![("read", 0); clients],
    };
    run(random, "counter", server, operations, clients)
}

struct Sums {
    sum: usize,
    asked: Vec<(&'static str, usize)>,
}

impl Server for Sums {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let f = ["read", "add", "add-and-get", "get-and-add"][random.below(4)];
        let number = if f == "read" { 0 } else { random.below(4) };
        self.asked[client] = (f, number);
        let value = if f == "read" {
            Json::NULL
        } else {
            json(&number)
        };
        (f, value)
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let (f, number) = self.asked[client];
        let before = self.sum;
        self.sum += number;
        let answer = match f {
            "add" => Json::NULL,
            "get-and-add" => json(&before),
            _ => json(&self.sum),
        };
        Some((answer, Evidence::NONE))
    }
}

/// A group whose few members join and leave again and again.
pub fn busy_group(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Group {
        inside: BTreeSet::new(),
        asked: vec![("members", 0); clients],
    };
    run(random, "membership", server, operations, clients)
}

struct Group {
    inside: BTreeSet<usize>,
    asked: Vec<(&'static str, usize)>,
}

impl Server for Group {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let f = ["join", "leave", "members"][random.below(3)];
        let member = random.below(12);
        self.asked[client] = (f, member);
        let value = if f == "members" {
            Json::NULL
        } else {
            json(&member)
        };
        (f, value)
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let answer = match self.asked[client] {
            ("join", member) => {
                self.inside.insert(member);
                Json::NULL
            }
            ("leave", member) => {
                self.inside.remove(&member);
                Json::NULL
            }
            _ => json(&json!(self.inside)),
        };
        Some((answer, Evidence::NONE))
    }
}

/// A reentrant mutex of two owners, each with half of the clients. Who holds it acquires it
/// more often than it releases it; the other one tries in vain.
pub fn busy_reentrant_mutex(random: &mut Random, operations: usize, clients: usize) -> History {
    let server = Reentrant {
        held: None,
        releasing: 0,
        releases: vec![false; clients],
    };
    let (mut header, events) = run(random, "mutex", server, operations, clients).into_parts();
    header.parameters = json(&json!({"owners": true, "reentrant": true}));
    History::new(header, events).unwrap()
}

struct Reentrant {
    /// By whom, and how often.
    held: Option<(usize, usize)>,
    /// How many releases are asked for.
    releasing: usize,
    releases: Vec<bool>,
}

impl Server for Reentrant {
    fn ask(&mut self, random: &mut Random, client: usize) -> (&'static str, Json) {
        let owner = client % 2;
        let may_release = self.held.is_some_and(|(holder, times)| {
            // It is never free again after the beginning.
            holder == owner && times > self.releasing + 1
        });
        self.releases[client] = may_release && random.one_in(3);
        self.releasing += usize::from(self.releases[client]);
        let f = if self.releases[client] {
            "release"
        } else {
            "try-acquire"
        };
        (f, json(&json!({"owner": owner})))
    }

    fn answer(&mut self, client: usize) -> Option<(Json, Evidence)> {
        let owner = client % 2;
        let (holder, times) = self.held.unwrap_or((owner, 0));
        let answer = if self.releases[client] {
            self.releasing -= 1;
            self.held = Some((holder, times - 1));
            Json::NULL
        } else {
            if holder == owner {
                self.held = Some((holder, times + 1));
            }
            json(&(holder == owner))
        };
        Some((answer, Evidence::NONE))
    }
}

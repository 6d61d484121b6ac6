//! The election checker gives the verdict of a search through all times at which the
//! revisions can have happened, on many small random histories.

mod support;

use std::collections::BTreeSet;

use etcd_checker::history::{Json, Outcome};
use etcd_checker::{Verdict, election};
use serde_json::{Value, json};
use support::{Op, Random, history};

const HISTORIES: usize = 60_000;

/// A change of a key, as etcd tells it.
#[derive(Clone, Debug)]
struct Change {
    revision: i64,
    key: String,
    term: i64,
    value: Option<String>,
}

fn value(json: &Json) -> Value {
    serde_json::from_str(json.as_str()).unwrap()
}

fn json(value: &Value) -> Json {
    Json::new(value).unwrap()
}

/// The leader at a revision: its term and value.
fn leader(changes: &[Change], revision: i64) -> Option<(i64, String)> {
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

fn record(ops: &[Op]) -> Vec<Change> {
    let mut answers: Vec<&Op> = ops
        .iter()
        .filter(|op| op.f == "watch" && op.outcome == Outcome::Ok)
        .collect();
    answers.sort_by_key(|op| op.returned);
    let changes = answers.iter().flat_map(|op| {
        let list = value(&op.result);
        list.as_array().unwrap().clone()
    });
    changes
        .map(|change| Change {
            revision: change["revision"].as_i64().unwrap(),
            key: format!("k{}", change["term"]),
            term: change["term"].as_i64().unwrap(),
            value: change["value"].as_str().map(str::to_owned),
        })
        .collect()
}

/// What must hold of the revisions that have happened when an operation was invoked,
/// and when it completed.
struct Need<'a> {
    op: &'a Op,
    holds: Box<dyn Fn(i64, i64) -> bool + 'a>,
}

/// What the answer to a question says: the term and the value.
fn told(op: &Op) -> Option<(i64, String, Option<i64>)> {
    let answer = value(&op.result);
    let term = answer["term"].as_i64()?;
    let name = answer["value"].as_str().unwrap().to_owned();
    Some((term, name, answer["mod_revision"].as_i64()))
}

/// Whether the state at `revision` is what the answer says.
fn fits(changes: &[Change], op: &Op, revision: i64) -> bool {
    let state = leader(changes, revision);
    let Some((term, name, mod_revision)) = told(op) else {
        return state.is_none();
    };
    let written = changes
        .iter()
        .filter(|change| change.term == term && change.value.is_some())
        .filter(|change| change.revision <= revision)
        .map(|change| change.revision)
        .max();
    state == Some((term, name)) && mod_revision.is_none_or(|at| Some(at) == written)
}

/// Whether two revisions belong to the same uninterrupted state.
fn same_state(changes: &[Change], a: i64, b: i64) -> bool {
    let key = |revision: i64| {
        let state = leader(changes, revision);
        let of_leader = changes.iter().filter(|change| {
            change.revision <= revision
                && state.as_ref().is_some_and(|(term, _)| change.term == *term)
        });
        (state.clone(), of_leader.map(|change| change.revision).max())
    };
    let (low, high) = (a.min(b), a.max(b));
    (low..=high).all(|revision| key(revision) == key(low))
}

/// Collects the needs; none when some claim cannot hold at any time.
fn needs<'a>(ops: &'a [Op], changes: &'a [Change], covered: i64) -> Option<Vec<Need<'a>>> {
    let mut needs: Vec<Need<'a>> = Vec::new();
    let mut need = |op: &'a Op, holds: Box<dyn Fn(i64, i64) -> bool + 'a>| {
        needs.push(Need { op, holds });
    };
    for change in changes.iter().filter(|change| change.value.is_some()) {
        let proposes = |op: &&Op| {
            let proposal = value(&op.invoke);
            let proposal = match op.f {
                "campaign" | "run" => proposal,
                "proclaim" => proposal["value"].clone(),
                _ => return false,
            };
            proposal.as_str() == change.value.as_deref()
        };
        let proposer = ops.iter().find(proposes)?;
        let revision = change.revision;
        need(proposer, Box::new(move |before, _| before < revision));
    }
    let mut streams: Vec<(String, i64)> = Vec::new();
    for op in ops {
        let is_ok = op.outcome == Outcome::Ok;
        let asked = value(&op.invoke);
        let term = match op.f {
            "campaign" => value(&op.result)["term"].as_i64(),
            _ => asked["term"].as_i64(),
        };
        let leads = move |revision: i64| leader(changes, revision).map(|(term, _)| term) == term;
        match op.f {
            "campaign" if is_ok => {
                need(op, Box::new(move |before, by| (before..=by).any(leads)));
                if let Some(revision) = op.revision {
                    if !leads(revision) {
                        return None;
                    }
                    need(op, Box::new(move |_, by| revision <= by));
                }
                let is_it = |change: &&Change| change.value.as_deref() == asked.as_str();
                let Some(put) = changes.iter().find(is_it) else {
                    if op.revision.is_some_and(|revision| revision <= covered) {
                        return None;
                    }
                    need(op, Box::new(move |_, by| covered < by));
                    continue;
                };
                if Some(put.term) != term {
                    return None;
                }
                let revision = put.revision;
                need(op, Box::new(move |_, by| revision <= by));
            }
            "act" if is_ok => need(op, Box::new(move |before, by| (before..=by).any(leads))),
            "proclaim" => {
                let is_it = |change: &&Change| change.value.as_deref() == asked["value"].as_str();
                let Some(put) = changes.iter().find(is_it) else {
                    if is_ok {
                        if op.revision.is_some_and(|revision| revision <= covered) {
                            return None;
                        }
                        // It can only come after all that is known.
                        need(op, Box::new(move |_, by| covered < by));
                    }
                    continue;
                };
                let revision = put.revision;
                if op.outcome == Outcome::Fail || Some(put.term) != term || !leads(revision) {
                    return None;
                }
                if is_ok {
                    need(op, Box::new(move |_, by| revision <= by));
                }
            }
            "resign" if is_ok => {
                let is_put = |change: &&Change| Some(change.term) == term && change.value.is_some();
                let key = &changes.iter().find(is_put)?.key;
                let end = changes
                    .iter()
                    .find(|change| change.key == *key && change.value.is_none());
                let revision = end.map_or(covered + 1, |change| change.revision);
                need(op, Box::new(move |_, by| revision <= by));
            }
            "write" if is_ok => {
                let revision = op.revision.unwrap();
                if !leads(revision) {
                    return None;
                }
                need(
                    op,
                    Box::new(move |before, by| before < revision && revision <= by),
                );
            }
            "mark" if is_ok => {
                let revision = op.revision.unwrap();
                need(
                    op,
                    Box::new(move |before, by| before < revision && revision <= by),
                );
            }
            "watch" if is_ok => {
                let revision = op.revision.unwrap();
                need(op, Box::new(move |_, by| revision <= by));
            }
            "leader" if is_ok => {
                let as_of = op.revision;
                if as_of.is_some_and(|revision| !fits(changes, op, revision)) {
                    return None;
                }
                need(
                    op,
                    Box::new(move |before, by| {
                        let instant = |revision: i64| {
                            fits(changes, op, revision)
                                && as_of.is_none_or(|of| same_state(changes, of, revision))
                        };
                        as_of.is_none_or(|of| of <= by) && (before..=by).any(instant)
                    }),
                );
            }
            "observe" if is_ok => {
                let stream = asked.as_str().unwrap().to_owned();
                let known = streams.iter().rposition(|(name, _)| *name == stream);
                let before = known.map(|known| streams[known].1);
                let position = match op.revision {
                    Some(revision) => Some(revision).filter(|at| fits(changes, op, *at)),
                    None => (before.unwrap_or(0)..=covered).find(|at| fits(changes, op, *at)),
                }?;
                if before.is_some_and(|before| position < before) {
                    return None;
                }
                streams.push((stream, position));
                need(op, Box::new(move |_, by| position <= by));
                if before.is_none() {
                    // What comes first is no older than the question.
                    need(
                        op,
                        Box::new(move |asked, _| {
                            asked <= position || same_state(changes, position, asked)
                        }),
                    );
                }
            }
            _ => {}
        }
    }
    Some(needs)
}

/// Tries all times at which the revisions can have happened.
fn explains(ops: &[Op], needs: &[Need<'_>], covered: i64) -> bool {
    let told = ops.iter().filter_map(|op| op.revision).max().unwrap_or(0);
    let last = told.max(covered + 1);
    let mut events: Vec<(u64, bool, *const Op)> = Vec::new();
    for op in ops {
        events.push((op.invoked, true, op));
        if op.outcome == Outcome::Ok {
            events.push((op.returned, false, op));
        }
    }
    events.sort_unstable();
    // The revisions that had happened when each operation was invoked.
    let mut states: BTreeSet<Vec<i64>> = BTreeSet::from([vec![0; ops.len() + 1]]);
    let place = |op: *const Op| {
        ops.iter()
            .position(|other| std::ptr::eq(other, op))
            .unwrap()
    };
    for (_, is_invoke, op) in events {
        let op = place(op);
        let of_op = || {
            needs
                .iter()
                .filter(|need| std::ptr::eq(need.op, &raw const ops[op]))
        };
        let mut next = BTreeSet::new();
        for state in states {
            let now = *state.last().unwrap();
            for by in now..=last {
                let mut state = state.clone();
                *state.last_mut().unwrap() = by;
                let holds = if is_invoke {
                    state[op] = by;
                    // What needs no completion is decided here.
                    ops[op].outcome == Outcome::Ok || of_op().all(|need| (need.holds)(by, last))
                } else {
                    let before = std::mem::replace(&mut state[op], 0);
                    of_op().all(|need| (need.holds)(before, by))
                };
                if holds {
                    next.insert(state);
                }
            }
        }
        states = next;
    }
    !states.is_empty()
}

fn brute_force(ops: &[Op]) -> bool {
    let changes = record(ops);
    let covered = ops
        .iter()
        .filter(|op| op.f == "watch" && op.outcome == Outcome::Ok)
        .filter_map(|op| op.revision)
        .max()
        .unwrap_or(0);
    needs(ops, &changes, covered).is_some_and(|needs| explains(ops, &needs, covered))
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

fn real_run(random: &mut Random) -> Vec<Op> {
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
fn falsify(random: &mut Random, ops: &mut Vec<Op>) {
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

fn has_equal_times(ops: &[Op]) -> bool {
    let times = ops.iter().flat_map(|op| [op.invoked, op.returned]);
    let mut times: Vec<u64> = times.filter(|time| *time != u64::MAX).collect();
    let all = times.len();
    times.sort_unstable();
    times.dedup();
    times.len() < all
}

/// The operations, one a line.
fn show(ops: &[Op]) -> String {
    let line = |op: &Op| {
        let Op {
            f,
            invoke,
            result,
            outcome,
            revision,
            invoked,
            returned,
        } = op;
        format!("\n{invoked}-{returned} {f} {invoke} -> {outcome:?} {result} {revision:?}")
    };
    ops.iter().map(line).collect()
}

#[test]
fn the_verdict_is_that_of_a_search_through_all_times() {
    let mut random = Random(11);
    let (mut valid, mut compared, mut unknown) = (0, 0, 0);
    let mut kinds = BTreeSet::new();
    for number in 0..HISTORIES {
        let mut ops = real_run(&mut random);
        let is_real = number % 4 == 0;
        if !is_real {
            falsify(&mut random, &mut ops);
        }
        if has_equal_times(&ops) {
            continue;
        }
        let verdict = election::check(&history("election", "{}", &ops)).unwrap();
        if matches!(verdict, Verdict::Unknown { .. }) && !is_real {
            unknown += 1;
            continue;
        }
        let expected = brute_force(&ops);
        assert!(
            expected || !is_real,
            "the twin refuses a real run: {}",
            show(&ops)
        );
        match verdict {
            Verdict::Valid(_) => {
                assert!(expected, "history {number} is called valid: {}", show(&ops));
            }
            Verdict::Violation(violation) => {
                assert!(
                    !expected,
                    "history {number} is refused: {violation}\n{}",
                    show(&ops)
                );
                kinds.insert(violation.kind.name);
            }
            other => panic!("history {number}: {other}"),
        }
        compared += 1;
        valid += usize::from(expected);
    }
    println!("{compared} compared, {valid} valid, {unknown} unknown, {kinds:?}");
    assert!(compared > HISTORIES / 2);
    let share = valid * 100 / compared;
    assert!((40..85).contains(&share), "{share} % are valid");
    let expected = BTreeSet::from([
        "false-leader",
        "lost-proposal",
        "outlived-lease",
        "real-time",
        "refused-write",
        "stale-answer",
        "two-leaders",
        "unguarded-write",
        "wrong-leader",
        "wrong-value",
    ]);
    assert!(kinds.is_superset(&expected), "{kinds:?}");
}

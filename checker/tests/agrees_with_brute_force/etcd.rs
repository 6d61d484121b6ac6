//! The checker of etcd gives the verdict of a search through all runs of a small
//! etcd, on many small random histories: right ones, and right ones with something
//! changed. A store that serves the requests in the order that it gives answers alike.

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::{Json, Outcome};
use etcd_checker::{History, Model, Verdict, Violation, check};
use serde_json::{Value, json};

use crate::support::etcd::etcd_history;
use crate::support::replay;
use crate::support::{Op, Random, intervals};

const HISTORIES: usize = 72_000;

const KEYS: [&str; 2] = ["a", "b"];
const LEASE: i64 = 7;

/// Value, create revision, mod revision, version, lease.
type Version = (u8, i64, i64, i64, i64);
type Keys = BTreeMap<usize, Version>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Request {
    Put {
        key: usize,
        value: u8,
        lease: bool,
    },
    /// A key, or all.
    Delete(Option<usize>),
    Range {
        key: Option<usize>,
        serializable: bool,
        at: Option<i64>,
    },
    /// If the key's mod revision is this one: put both keys; else put it.
    Txn {
        key: usize,
        modified: i64,
        values: [u8; 3],
    },
    Grant,
    Revoke,
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Done,
    Previous(Option<(usize, Version)>),
    Deleted(Vec<(usize, Version)>),
    Kvs(Vec<(usize, Version)>),
    Branch(bool),
    Refused(&'static str),
}

#[derive(Clone, Debug)]
struct Step {
    request: Request,
    /// With the header's revision; none when nobody knows.
    answer: Option<(Answer, i64)>,
    invoked: u64,
    returned: u64,
}

/// A small etcd.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    /// The keys at each revision from 1 on.
    revisions: Vec<Keys>,
    granted: bool,
    ended: bool,
}

impl State {
    fn new() -> Self {
        State {
            revisions: vec![Keys::new()],
            granted: false,
            ended: false,
        }
    }

    fn revision(&self) -> i64 {
        self.revisions.len() as i64
    }

    fn at(&self, revision: i64) -> &Keys {
        &self.revisions[revision as usize - 1]
    }

    fn now(&self) -> &Keys {
        self.at(self.revision())
    }

    /// Takes a revision of its own if something changes.
    fn change(&mut self, change: impl FnOnce(&mut Keys, i64)) {
        let mut keys = self.now().clone();
        change(&mut keys, self.revision() + 1);
        if keys != *self.now() {
            self.revisions.push(keys);
        }
    }

    /// The lease ends, and with it go its keys.
    fn end(&mut self) {
        self.ended = true;
        self.change(|keys, _| keys.retain(|_, version| version.4 != LEASE));
    }

    fn lives(&self) -> bool {
        self.granted && !self.ended
    }

    /// `seen`: the revision of a serializable read.
    fn apply(&mut self, request: Request, seen: Option<i64>) -> (Answer, i64) {
        let put = |keys: &mut Keys, revision, key, value, lease| {
            let before: Option<&Version> = keys.get(&key);
            let (create, version) = before.map_or((revision, 1), |old| (old.1, old.3 + 1));
            keys.insert(key, (value, create, revision, version, lease));
        };
        let answer = match request {
            Request::Put { key, value, lease } => {
                if lease && !self.lives() {
                    return (Answer::Refused("lease-not-found"), 0);
                }
                let before = self.now().get(&key).map(|version| (key, *version));
                let lease = if lease { LEASE } else { 0 };
                self.change(|keys, revision| put(keys, revision, key, value, lease));
                Answer::Previous(before)
            }
            Request::Delete(key) => {
                let before = self.now().iter().map(|(key, version)| (*key, *version));
                let gone = |other: usize| key.is_none_or(|key| key == other);
                let deleted = before.filter(|(other, _)| gone(*other)).collect();
                self.change(|keys, _| keys.retain(|other, _| !gone(*other)));
                Answer::Deleted(deleted)
            }
            Request::Range {
                key,
                serializable,
                at,
            } => {
                let header = seen.filter(|_| serializable).unwrap_or(self.revision());
                let at = at.unwrap_or(header);
                if at > header {
                    return (Answer::Refused("future"), 0);
                }
                let all = self.at(at).iter().map(|(key, version)| (*key, *version));
                let found = all.filter(|(other, _)| key.is_none_or(|key| key == *other));
                return (Answer::Kvs(found.collect()), header);
            }
            Request::Txn {
                key,
                modified,
                values,
            } => {
                let is = self.now().get(&key).map_or(0, |version| version.2);
                self.change(|keys, revision| {
                    if is == modified {
                        put(keys, revision, 0, values[0], 0);
                        put(keys, revision, 1, values[1], 0);
                    } else {
                        put(keys, revision, key, values[2], 0);
                    }
                });
                Answer::Branch(is == modified)
            }
            Request::Grant => {
                self.granted = true;
                Answer::Done
            }
            Request::Revoke => {
                if !self.lives() {
                    return (Answer::Refused("lease-not-found"), 0);
                }
                self.end();
                Answer::Done
            }
        };
        (answer, self.revision())
    }
}

/// What a watch of both keys heard.
#[derive(Clone, Debug)]
struct Watch {
    start: i64,
    previous: bool,
    /// With the header's revision; without events: progress.
    notices: Vec<(Vec<Event>, i64)>,
}

/// Key, revision, new version, previous version.
type Event = (usize, i64, Option<Version>, Option<Version>);

/// All events from a revision on.
fn events(state: &State, start: i64) -> Vec<Event> {
    let mut events = Vec::new();
    for revision in start.max(2)..=state.revision() {
        let (before, after) = (state.at(revision - 1), state.at(revision));
        for key in 0..KEYS.len() {
            let (old, new) = (before.get(&key).copied(), after.get(&key).copied());
            if old != new {
                events.push((key, revision, new, old));
            }
        }
    }
    events
}

impl Watch {
    fn is_right(&self, state: &State) -> bool {
        let expected = events(state, self.start);
        let mut told = 0;
        // The last revision that an event or a notice of progress told of.
        let mut known = 0;
        for (events, header) in &self.notices {
            if events.is_empty() {
                let missing = expected.get(told).is_some_and(|event| event.1 <= *header);
                if missing || *header < known {
                    return false;
                }
                known = *header;
                continue;
            }
            for event in events {
                let mut wanted = match expected.get(told) {
                    Some(wanted) => *wanted,
                    None => return false,
                };
                if !self.previous {
                    wanted.3 = event.3;
                }
                if wanted != *event || event.1 > *header {
                    return false;
                }
                told += 1;
            }
            // A revision comes as a whole.
            let last = events.last().map_or(0, |event| event.1);
            known = last;
            if expected.get(told).is_some_and(|event| event.1 == last) {
                return false;
            }
        }
        true
    }
}

struct Search<'a> {
    steps: &'a [Step],
    watch: &'a Watch,
    revision_max: i64,
    seen: BTreeSet<(u32, State)>,
}

impl Search<'_> {
    fn finds_a_run(&mut self, done: u32, state: &State) -> bool {
        let steps = self.steps;
        let is_open = |index: &usize| done & (1 << index) == 0;
        let open = || (0..steps.len()).filter(is_open);
        let must = open().filter(|index| steps[*index].answer.is_some());
        let deadline = must.map(|index| steps[index].returned).min();
        if deadline.is_none() && self.watch.is_right(state) {
            return true;
        }
        if !self.seen.insert((done, state.clone())) {
            return false;
        }
        let deadline = deadline.unwrap_or(u64::MAX);
        for index in open().filter(|index| steps[*index].invoked < deadline) {
            let step = &steps[index];
            let seen = step.answer.as_ref().map(|(_, header)| *header);
            if seen.is_some_and(|seen| seen > state.revision() + 1) {
                continue;
            }
            let is_old = matches!(
                step.request,
                Request::Range {
                    serializable: true,
                    ..
                }
            );
            if is_old && seen.is_some_and(|seen| seen > state.revision() || seen < 1) {
                continue;
            }
            let mut next = state.clone();
            let answer = next.apply(step.request, seen);
            let fits = step.answer.as_ref().is_none_or(|wanted| *wanted == answer);
            if fits && self.finds_a_run(done | 1 << index, &next) {
                return true;
            }
        }
        if state.lives() {
            let mut next = state.clone();
            next.end();
            if self.finds_a_run(done, &next) {
                return true;
            }
        }
        // Others write elsewhere.
        if state.revision() < self.revision_max {
            let mut next = state.clone();
            next.revisions.push(next.now().clone());
            return self.finds_a_run(done, &next);
        }
        false
    }
}

fn brute_force(steps: &[Step], watch: &Watch) -> bool {
    let headers = steps
        .iter()
        .flat_map(|step| &step.answer)
        .map(|answer| answer.1);
    let watched = watch.notices.iter().map(|notice| notice.1);
    let revision_max = headers.chain(watched).max().unwrap_or(1) + 1;
    let mut search = Search {
        steps,
        watch,
        revision_max,
        seen: BTreeSet::new(),
    };
    search.finds_a_run(0, &State::new())
}

/// A run of a real etcd, some of whose answers get lost.
fn real_run(random: &mut Random) -> (Vec<Step>, Watch) {
    let (count, longest) = (3 + random.below(4), 1 + random.below(4));
    let unknowns = 2 + random.below(6);
    let mut state = State::new();
    let mut values = 0;
    let mut has_grant = false;
    let mut steps = Vec::new();
    for (invoked, _, returned) in intervals(random, count, longest) {
        if random.one_in(8) {
            state.revisions.push(state.now().clone());
        }
        if state.lives() && random.one_in(6) {
            state.end();
        }
        let mut value = || {
            values += 1;
            values
        };
        let key = random.below(2);
        let any_key = (!random.one_in(3)).then_some(key);
        let at = state.revision() - random.below(3) as i64 + random.below(2) as i64;
        let request = match random.below(if has_grant { 13 } else { 11 }) {
            0 if !has_grant => Request::Grant,
            0..=2 => Request::Put {
                key,
                value: value(),
                lease: has_grant && random.one_in(2),
            },
            3..=4 => Request::Delete(any_key),
            5..=6 => Request::Range {
                key: any_key,
                serializable: false,
                at: None,
            },
            7 => Request::Range {
                key: any_key,
                serializable: true,
                at: None,
            },
            8 if at > 0 => Request::Range {
                key: any_key,
                serializable: false,
                at: Some(at),
            },
            8..=10 => {
                let modified = state.now().get(&key).map_or(0, |version| version.2);
                let modified = if random.one_in(3) {
                    modified + 1
                } else {
                    modified
                };
                Request::Txn {
                    key,
                    modified,
                    values: [value(), value(), value()],
                }
            }
            11 => Request::Revoke,
            _ => Request::Put {
                key,
                value: value(),
                lease: true,
            },
        };
        has_grant |= request == Request::Grant;
        let is_read = matches!(request, Request::Range { .. });
        let is_unknown = !is_read && random.one_in(unknowns);
        let answer = answer(&mut state, random, request, is_unknown, |random| {
            random.one_in(2)
        });
        steps.push(Step {
            request,
            answer,
            invoked,
            returned,
        });
    }
    (steps, real_watch(random, &state))
}

/// Does what is asked for. What is of unknown outcome may not be done, and is not answered.
fn answer(
    state: &mut State,
    random: &mut Random,
    request: Request,
    is_unknown: bool,
    is_done: impl FnOnce(&mut Random) -> bool,
) -> Option<(Answer, i64)> {
    let seen = 1 + random.below(state.revision() as usize) as i64;
    if is_unknown && !is_done(random) {
        return None;
    }
    Some(state.apply(request, Some(seen))).filter(|_| !is_unknown)
}

fn real_watch(random: &mut Random, state: &State) -> Watch {
    let start = 1 + random.below(state.revision() as usize + 1) as i64;
    let previous = random.one_in(2);
    let mut notices: Vec<(Vec<Event>, i64)> = Vec::new();
    let told = if random.one_in(3) {
        0
    } else {
        state.revision()
    };
    for mut event in events(state, start)
        .into_iter()
        .filter(|event| event.1 <= told)
    {
        if !previous {
            event.3 = None;
        }
        match notices.last_mut() {
            Some((events, _)) if events.last().unwrap().1 == event.1 || random.one_in(3) => {
                events.push(event);
            }
            _ => notices.push((vec![event], state.revision())),
        }
    }
    if told > 0 && random.one_in(2) {
        notices.push((Vec::new(), state.revision()));
    }
    Watch {
        start,
        previous,
        notices,
    }
}

/// Changes something that was told.
fn distort(random: &mut Random, steps: &mut [Step], watch: &mut Watch) {
    if random.one_in(3) && !watch.notices.is_empty() {
        return distort_watch(random, watch);
    }
    let step = random.below(steps.len());
    let Some((answer, header)) = &mut steps[step].answer else {
        return;
    };
    let shift = if random.one_in(2) { 1 } else { -1 };
    match answer {
        Answer::Kvs(kvs) | Answer::Deleted(kvs) if !kvs.is_empty() && !random.one_in(3) => {
            let kv = random.below(kvs.len());
            match random.below(6) {
                0 => drop(kvs.remove(kv)),
                1 => kvs[kv].1.0 = 1 + random.below(6) as u8,
                2 => kvs[kv].1.1 += shift,
                3 => kvs[kv].1.2 += shift,
                4 => kvs[kv].1.3 += shift,
                _ => kvs[kv].1.4 = LEASE - kvs[kv].1.4,
            }
        }
        Answer::Previous(previous) if random.one_in(2) => *previous = None,
        Answer::Branch(succeeded) if random.one_in(2) => *succeeded = !*succeeded,
        Answer::Refused(_) => {}
        _ => *header = (*header + shift).max(1),
    }
}

fn distort_watch(random: &mut Random, watch: &mut Watch) {
    let notice = random.below(watch.notices.len());
    let shift = if random.one_in(2) { 1 } else { -1 };
    let (events, header) = &mut watch.notices[notice];
    if events.is_empty() {
        *header = (*header + shift).max(1);
        return;
    }
    let event = random.below(events.len());
    match random.below(7) {
        0 if events.len() > 1 => drop(events.remove(event)),
        0 => drop(watch.notices.remove(notice)),
        1 => {
            let again = events[event];
            events.push(again);
        }
        2 => events[event].3 = None,
        3 => events[event].2 = None,
        4 => {
            events[event].1 += shift;
            if let Some(version) = &mut events[event].2 {
                version.2 += shift;
            }
        }
        // Of deletions nobody may know who made them, so any order may be theirs.
        5 => {
            let are_puts = |pair: &[Event]| {
                pair[0].1 == pair[1].1 && pair.iter().all(|event| event.2.is_some())
            };
            if let Some(pair) = events.windows(2).position(are_puts) {
                events.swap(pair, pair + 1);
            }
        }
        _ => watch.start += shift,
    }
}

fn kv(key: usize, version: &Version) -> Value {
    let (value, create, modified, count, lease) = version;
    json!([KEYS[key], value.to_string(), create, modified, count, lease])
}

fn kvs(kvs: &[(usize, Version)]) -> Vec<Value> {
    kvs.iter().map(|(key, version)| kv(*key, version)).collect()
}

fn as_op(step: &Step) -> Op {
    let span = |key: Option<usize>| match key {
        Some(key) => json!({"key": KEYS[key]}),
        None => json!({"key": "a", "end": "c"}),
    };
    let (f, invoke) = match step.request {
        Request::Put { key, value, lease } => {
            let lease = if lease { LEASE } else { 0 };
            let value = value.to_string();
            (
                "put",
                json!({"key": KEYS[key], "value": value, "lease": lease, "prev_kv": true}),
            )
        }
        Request::Delete(key) => {
            let mut request = span(key);
            request["prev_kv"] = json!(true);
            ("delete", request)
        }
        Request::Range {
            key,
            serializable,
            at,
        } => {
            let mut request = span(key);
            request["serializable"] = json!(serializable);
            request["revision"] = json!(at);
            ("range", request)
        }
        Request::Txn {
            key,
            modified,
            values,
        } => {
            let put = |key: usize, value: u8| json!({"put": {"key": KEYS[key], "value": value.to_string()}});
            let request = json!({
                "if": [["mod", KEYS[key], "=", modified]],
                "then": [put(0, values[0]), put(1, values[1])],
                "else": [put(key, values[2])],
            });
            ("txn", request)
        }
        Request::Grant => ("grant", json!({"lease": LEASE, "ttl": 0})),
        Request::Revoke => ("revoke", json!({"lease": LEASE})),
    };
    let (result, revision, outcome) = match &step.answer {
        None => (Value::Null, None, Outcome::Info),
        Some((answer, header)) => {
            let result = match answer {
                Answer::Done if f == "grant" => json!({"ttl": 0}),
                Answer::Done => Value::Null,
                Answer::Previous(before) => {
                    json!({"prev": before.as_ref().map(|(key, version)| kv(*key, version))})
                }
                Answer::Deleted(before) => {
                    json!({"deleted": before.len(), "prev": kvs(before)})
                }
                Answer::Kvs(found) => json!({"kvs": kvs(found), "count": found.len()}),
                Answer::Branch(true) => {
                    json!({"succeeded": true, "results": [{"put": {}}, {"put": {}}]})
                }
                Answer::Branch(false) => json!({"succeeded": false, "results": [{"put": {}}]}),
                Answer::Refused(why) => json!({"refused": why}),
            };
            (result, Some(*header), Outcome::Ok)
        }
    };
    Op {
        f,
        invoke: Json::new(&invoke).unwrap(),
        result: Json::new(&result).unwrap(),
        outcome,
        revision,
        invoked: step.invoked,
        returned: step.returned,
    }
}

/// The operations of a watch, after all others.
fn watch_ops(watch: &Watch, after: u64) -> Vec<Op> {
    let request = json!({
        "watch": 1, "key": "a", "end": "c", "start": watch.start, "prev_kv": watch.previous,
    });
    let mut ops = vec![("watch", request, Value::Null, 1)];
    for (events, header) in &watch.notices {
        let events: Vec<Value> = events.iter().map(event_json).collect();
        let notice = json!({"watch": 1, "events": events});
        ops.push(("notice", Value::Null, notice, *header));
    }
    let timed = ops.into_iter().zip((after + 1..).step_by(2));
    let op = |((f, invoke, result, revision), time)| Op {
        f,
        invoke: Json::new(&invoke).unwrap(),
        result: Json::new(&result).unwrap(),
        outcome: Outcome::Ok,
        revision: Some(revision),
        invoked: time,
        returned: time + 1,
    };
    timed.map(op).collect()
}

fn event_json((key, revision, new, old): &Event) -> Value {
    let old = old.as_ref().map(|version| kv(*key, version));
    match new {
        Some(version) => json!({"put": [kv(*key, version), old]}),
        None => json!({"delete": [KEYS[*key], revision, old]}),
    }
}

fn history_of(steps: &[Step], watch: &Watch) -> History {
    let mut ops: Vec<Op> = steps.iter().map(as_op).collect();
    let end = ops.iter().map(|op| op.returned).max().unwrap();
    ops.extend(watch_ops(watch, end));
    etcd_history(&ops)
}

/// Compares the checker with its twin on one history; the kind of the violation.
fn judged_alike(steps: &[Step], watch: &Watch, is_real: bool) -> Option<&'static str> {
    let expected = brute_force(steps, watch);
    assert!(
        expected || !is_real,
        "the twin refuses a real run: {steps:?} {watch:?}"
    );
    let verdict = check(&history_of(steps, watch), Model::Etcd).unwrap();
    let kind = match &verdict {
        Verdict::Valid(_) => None,
        Verdict::Violation(violation) => Some(violation.kind.name),
        other => panic!("{other}: {steps:?} {watch:?}"),
    };
    assert_eq!(kind.is_none(), expected, "{verdict}\n{steps:?}\n{watch:?}");
    kind
}

/// A real run of puts, most of them of unknown outcome, and of reads that count them:
/// what a version says of the puts before it decides how many of them happened, and
/// nothing says which.
fn run_of_unknown_puts(random: &mut Random) -> (Vec<Step>, Watch) {
    let (count, longest) = (4 + random.below(3), 1 + random.below(4));
    let mut state = State::new();
    let mut steps = Vec::new();
    for (value, (invoked, _, returned)) in (1..).zip(intervals(random, count, longest)) {
        if random.one_in(10) {
            state.revisions.push(state.now().clone());
        }
        let key = usize::from(random.one_in(6));
        let (lease, is_put) = (false, !random.one_in(4));
        let request = if is_put {
            Request::Put { key, value, lease }
        } else {
            Request::Range {
                key: (!random.one_in(3)).then_some(key),
                serializable: random.one_in(4),
                at: None,
            }
        };
        let is_unknown = is_put && !random.one_in(4);
        let answer = answer(&mut state, random, request, is_unknown, |random| {
            !random.one_in(3)
        });
        steps.push(Step {
            request,
            answer,
            invoked,
            returned,
        });
    }
    (steps, real_watch(random, &state))
}

/// How many puts of unknown outcome happened that nobody saw, at least: by the greatest
/// version that was told.
fn counted_unseen(steps: &[Step]) -> i64 {
    let answered =
        |step: &&Step| matches!(step.request, Request::Put { .. }) && step.answer.is_some();
    let answered = steps.iter().filter(answered).count() as i64;
    let version = |step: &Step| match &step.answer {
        Some((Answer::Kvs(kvs), _)) => kvs.iter().map(|(_, version)| version.3).max(),
        Some((Answer::Previous(previous), _)) => previous.map(|(_, version)| version.3),
        _ => None,
    };
    // The value itself tells of one.
    steps.iter().filter_map(version).max().unwrap_or(0) - answered - 1
}

#[test]
fn which_of_many_unknown_puts_happened_is_found_as_a_search_through_all_runs_finds_it() {
    let mut random = Random(2);
    let (mut valid, mut invalid, mut of_many) = (0, 0, [0, 0]);
    for _ in 0..HISTORIES / 8 {
        let (mut steps, mut watch) = run_of_unknown_puts(&mut random);
        let is_real = random.one_in(3);
        for _ in 0..if is_real { 0 } else { 1 + random.below(2) } {
            distort(&mut random, &mut steps, &mut watch);
        }
        let is_valid = judged_alike(&steps, &watch, is_real).is_none();
        *if is_valid { &mut valid } else { &mut invalid } += 1;
        if counted_unseen(&steps) >= 2 {
            of_many[usize::from(is_valid)] += 1;
        }
    }
    eprintln!("{valid} valid, {invalid} not; of two or more that nobody saw: {of_many:?}");
    assert!(valid.min(invalid) > 500 && of_many[0].min(of_many[1]) > 20);
}

#[test]
fn the_checker_of_etcd_agrees_with_a_search_through_all_runs() {
    let mut random = Random(1);
    let (mut valid, mut kinds) = (0, BTreeMap::<&str, u32>::new());
    let (mut silent, mut expired) = (0, 0);
    for number in 0..HISTORIES {
        let (mut steps, mut watch) = real_run(&mut random);
        let is_real = random.one_in(3);
        if !is_real {
            distort(&mut random, &mut steps, &mut watch);
        }
        match judged_alike(&steps, &watch, is_real) {
            None => valid += 1,
            Some(kind) => {
                *kinds.entry(kind).or_default() += 1;
                continue;
            }
        }
        // A third of the valid ones, for the sake of time.
        if number % 3 == 0 {
            let history = history_of(&steps, &watch);
            let order = replay::order_of(&history, Model::Etcd);
            let of_one = replay::etcd::replay(&history, &order);
            silent += of_one.0;
            expired += of_one.1;
        }
    }
    eprintln!(
        "{valid} valid, {silent} of unknown outcome in an order, {expired} leases ended, {kinds:#?}"
    );
    assert!(
        valid as usize > HISTORIES / 3 && kinds.len() >= 12,
        "{valid} {kinds:?}"
    );
    assert!(silent > 1_000 && expired > 20, "{silent} {expired}");
}

/// A history of which only some of its answers are known, and perhaps what its watch heard.
fn with_answers_of(
    steps: &[Step],
    watch: &Watch,
    known: &BTreeSet<usize>,
    is_watch_known: bool,
) -> (Vec<Step>, Watch) {
    let (mut steps, mut watch) = (steps.to_vec(), watch.clone());
    for (index, step) in steps.iter_mut().enumerate() {
        if !known.contains(&index) {
            step.answer = None;
        }
    }
    if !is_watch_known {
        watch.notices.clear();
    }
    (steps, watch)
}

/// The steps that a witness names, and whether it names the watch.
fn witness_of(steps: &[Step], violation: &Violation) -> (BTreeSet<usize>, bool) {
    let named = violation.witness.iter();
    let named = named.map(|operation| operation.process as usize);
    let (of_steps, of_watch): (BTreeSet<usize>, BTreeSet<usize>) =
        named.partition(|process| *process < steps.len());
    (of_steps, !of_watch.is_empty())
}

/// The answers of the witness alone are wrong, as the twin finds, and without any of them that is
/// not wrong any more, or in another way, or takes a search to tell. An operation of which the answer is not needed is there
/// because it was asked for.
fn assert_proof(steps: &[Step], watch: &Watch, violation: &Violation) {
    let (known, is_watch_known) = witness_of(steps, violation);
    let known_alone = |known: &BTreeSet<usize>, is_watch_known: bool| {
        with_answers_of(steps, watch, known, is_watch_known)
    };
    let is_right = |(steps, watch): &(Vec<Step>, Watch)| {
        let is_same = || {
            let verdict = check(&history_of(steps, watch), Model::Etcd).unwrap();
            // What takes a search to refute it is told otherwise.
            let is_same = |other: &Violation| {
                other.kind == violation.kind && !other.sentence.starts_with(PROOF)
            };
            verdict.violation().is_some_and(is_same)
        };
        brute_force(steps, watch) || !is_same()
    };
    let alone = known_alone(&known, is_watch_known);
    let is_proof = !brute_force(&alone.0, &alone.1);
    assert!(is_proof, "no proof: {violation}\n{steps:?}\n{watch:?}");
    if !violation.also.is_empty() {
        return;
    }
    for step in &known {
        let mut fewer = known.clone();
        fewer.remove(step);
        let fewer = known_alone(&fewer, is_watch_known);
        let is_asked_for = || {
            let mut fewer = fewer.clone();
            fewer.0.remove(*step);
            violation.kind.name == "never-written" || is_right(&fewer)
        };
        assert!(
            is_right(&fewer) || is_asked_for(),
            "{step} is not needed: {violation}\n{steps:?}\n{watch:?}"
        );
    }
    let needs_watch = !is_watch_known || is_right(&known_alone(&known, false));
    assert!(
        needs_watch,
        "the watch is not needed: {violation}\n{steps:?}\n{watch:?}"
    );
}

/// How the sentence of a witness begins that proves a violation whatever came of all others.
const PROOF: &str = "given the operations that are listed, and whatever came of the rest, ";

/// How the note begins of a witness that is none.
const NO_PROOF: &str = "these operations prove it only together with others";

#[test]
fn a_witness_is_a_proof_whatever_came_of_the_rest_and_none_of_it_can_be_spared() {
    let mut random = Random(3);
    let (mut own, mut found, mut noted, mut without_proof) = (0, 0, 0, 0);
    for number in 0..HISTORIES / 12 {
        let (mut steps, mut watch) = match number % 2 {
            0 => real_run(&mut random),
            _ => run_of_unknown_puts(&mut random),
        };
        for _ in 0..1 + random.below(2) {
            distort(&mut random, &mut steps, &mut watch);
        }
        let verdict = check(&history_of(&steps, &watch), Model::Etcd).unwrap();
        let Some(violation) = verdict.violation() else {
            continue;
        };
        if violation.also.iter().any(|note| note.starts_with(NO_PROOF)) {
            without_proof += 1;
            continue;
        }
        // The twin takes its time.
        let is_found = violation.sentence.starts_with(PROOF);
        if is_found || number % 8 < 2 {
            assert_proof(&steps, &watch, violation);
        }
        noted += u32::from(!violation.also.is_empty());
        *if is_found { &mut found } else { &mut own } += 1;
    }
    eprintln!(
        "{own} by themselves, {found} after a search; of {noted} perhaps fewer would do, \
         {without_proof} without"
    );
    assert!(own > 500 && found > 80, "{own} {found}");
    assert!(
        (noted + without_proof) * 20 < found,
        "{noted} {without_proof}"
    );
}

//! What the tests share: a small random generator and histories from operations.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each of those who use it uses a part"
)]

pub mod busy;
pub mod corpus;
pub mod election_twin;
pub mod elections;
pub mod etcd;
pub mod etcd_twin;
pub mod frontier;
pub mod linearization;
pub mod lock_twin;
pub mod locks;
pub mod losses;
pub mod naive;
pub mod objects;
pub mod planted;
pub mod queues;
pub mod register_logs;
pub mod reliable;
pub mod replay;
pub mod reports;
pub mod transactions;
pub mod versions;

use std::collections::VecDeque;

use etcd_checker::History;
use etcd_checker::history::{
    Event, EventKind, Evidence, Header, Json, MicroOperation, OperationId, Outcome, Process,
    Recorder, Source,
};

/// SplitMix64: tests must draw the same histories on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// One operation with the places of its events; the time of an event is its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    pub f: &'static str,
    pub invoke: Json,
    pub result: Json,
    pub outcome: Outcome,
    pub revision: Option<i64>,
    pub invoked: u64,
    /// Ignored when the outcome is open.
    pub returned: u64,
}

impl Op {
    /// A dequeue without an answer.
    pub fn dequeue(outcome: Outcome, invoked: u64, returned: u64) -> Self {
        Self {
            f: "dequeue",
            invoke: Json::NULL,
            result: Json::NULL,
            outcome,
            revision: None,
            invoked,
            returned,
        }
    }
}

/// A history of these operations, each by a process of its own.
pub fn history(model: &str, parameters: &str, ops: &[Op]) -> History {
    let source = Source::Other {
        description: "test".to_owned(),
    };
    let parameters =
        Json::new(&serde_json::from_str::<serde_json::Value>(parameters).unwrap()).unwrap();
    let header = Header::new("test", model, source).with_parameters(parameters);
    let mut events = Vec::new();
    for (process, op) in (0..).zip(ops) {
        let mut push = |time, kind, value: &Json, revision: Option<i64>| {
            let event = Event::new(time, Process::Number(process), kind, op.f);
            events.push(event.with_value(value.clone()).with_revision(revision));
        };
        push(op.invoked, EventKind::Invoke, &op.invoke, None);
        let kind = match op.outcome {
            Outcome::Ok => EventKind::Ok,
            Outcome::Fail => EventKind::Fail,
            Outcome::Info => EventKind::Info,
            Outcome::Open => continue,
        };
        push(op.returned, kind, &op.result, op.revision);
    }
    events.sort_by_key(Event::time);
    History::new(header, events).unwrap()
}

/// The operations that a witness names. The line of an event is its index plus 2.
pub fn witness_ops(history: &History, ops: &[Op], lines: impl Iterator<Item = usize>) -> Vec<Op> {
    lines
        .map(|line| {
            let Process::Number(process) = history.events()[line - 2].process() else {
                panic!("nemesis in a witness")
            };
            ops[process as usize].clone()
        })
        .collect()
}

/// Random places for the events of `count` operations, and the order in which they
/// take effect: `(invoked, effect, returned)`, ascending by effect, all distinct.
pub fn intervals(random: &mut Random, count: usize, longest: usize) -> Vec<(u64, u64, u64)> {
    let mut intervals = Vec::new();
    for number in 0..count as u64 {
        let effect = number * 1_000 + 100_000;
        let before = random.below(longest) as u64 * 700 + random.below(99) as u64 * 7 + 3;
        let after = random.below(longest) as u64 * 700 + random.below(99) as u64 * 7 + 5;
        // Distinct places: the number breaks ties.
        intervals.push((
            (effect - before) * 16 + number,
            effect * 16,
            (effect + after) * 16 + 8 + number,
        ));
    }
    intervals
}

/// A header for a history of this model.
pub fn header(model: &str) -> Header {
    Header::new(
        "test",
        model,
        Source::Other {
            description: "test".to_owned(),
        },
    )
}

/// What a client of a simulated object is doing.
enum Doing {
    Nothing,
    /// Value to enqueue, or none to dequeue.
    Asked(OperationId, Option<u64>),
    Done(OperationId, Json),
}

/// A real queue of about 8 to 32 values, under clients that are never idle.
pub fn busy_queue(random: &mut Random, operations: usize, clients: usize) -> History {
    let mut recorder = Recorder::new(header("fifo-queue"));
    let mut doing: Vec<Doing> = (0..clients).map(|_| Doing::Nothing).collect();
    let mut queue = VecDeque::new();
    let (mut begun, mut ended, mut values, mut time) = (0, 0, 0, 0);
    while ended < operations {
        time += 100 + random.below(1_000) as u64;
        let client = random.below(clients);
        doing[client] = match std::mem::replace(&mut doing[client], Doing::Nothing) {
            Doing::Nothing if begun == operations => continue,
            Doing::Nothing => {
                begun += 1;
                let enqueue = queue.len() < 8 || queue.len() < 32 && random.one_in(2);
                values += u64::from(enqueue);
                let (f, value) = if enqueue {
                    ("enqueue", Some(values))
                } else {
                    ("dequeue", None)
                };
                let argument = Json::from(value.map(|value| format!("c{client}-{value}")));
                Doing::Asked(recorder.invoke(time, client as u64, f, argument), value)
            }
            Doing::Asked(id, Some(value)) => {
                let value = format!("c{client}-{value}");
                queue.push_back(value.clone());
                Doing::Done(id, Json::from(value))
            }
            Doing::Asked(id, None) => Doing::Done(id, Json::from(queue.pop_front())),
            Doing::Done(id, result) => {
                ended += 1;
                recorder.ok(id, time, result, Evidence::NONE);
                Doing::Nothing
            }
        };
    }
    recorder.finish()
}

/// What a transaction read and wrote, and its revision, 0 when it only read.
type Answer = (Json, i64);

/// A bank of five accounts of 100 under transfers and read-all transactions. One
/// answer in `lost` is lost, after or instead of the effect; none are when it is 0.
pub fn busy_bank(random: &mut Random, operations: usize, clients: usize, lost: usize) -> History {
    let parameters: serde_json::Value =
        serde_json::json!({"accounts": ["a0", "a1", "a2", "a3", "a4"], "total": 500});
    let mut recorder =
        Recorder::new(header("bank").with_parameters(Json::new(&parameters).unwrap()));
    let keys = ["a0", "a1", "a2", "a3", "a4"];
    let opening = recorder.invoke(0, 99, "txn", Json::NULL);
    let writes: Vec<_> = keys
        .iter()
        .map(|key| MicroOperation::write(*key, "100"))
        .collect();
    recorder.ok(opening, 1, &writes[..], Evidence::revision(2));
    let mut accounts = [(100_i64, 2_i64); 5];
    let mut revision = 2;
    let mut doing: Vec<Option<(OperationId, Option<Answer>)>> = vec![None; clients];
    let (mut begun, mut ended, mut time) = (0, 0, 0);
    while ended < operations {
        time += 100 + random.below(1_000) as u64;
        let client = random.below(clients);
        doing[client] = match doing[client].take() {
            None if begun == operations => continue,
            None => {
                begun += 1;
                Some((
                    recorder.invoke(time, client as u64, "txn", Json::NULL),
                    None,
                ))
            }
            Some((id, None)) => {
                let read = |account: usize| {
                    let (balance, revision) = accounts[account];
                    MicroOperation::read(keys[account], balance.to_string(), revision)
                };
                if random.one_in(4) {
                    let reads: Vec<_> = (0..5).map(read).collect();
                    doing[client] = Some((id, Some((Json::from(&reads[..]), 0))));
                    continue;
                }
                let (from, to) = (random.below(5), random.below(4));
                let to = (from + 1 + to) % 5;
                let amount = accounts[from].0 / 2;
                let (left, right) = (accounts[from].0 - amount, accounts[to].0 + amount);
                let micro = [
                    read(from),
                    read(to),
                    MicroOperation::write(keys[from], left.to_string()),
                    MicroOperation::write(keys[to], right.to_string()),
                ];
                let value = Json::from(&micro[..]);
                let is_lost = lost > 0 && random.one_in(lost);
                if !is_lost || random.one_in(2) {
                    revision += 1;
                    (accounts[from], accounts[to]) = ((left, revision), (right, revision));
                }
                if is_lost {
                    let attempted = if random.one_in(4) { Json::NULL } else { value };
                    recorder.info_attempted(id, time, "no answer", attempted, Evidence::NONE);
                    ended += 1;
                    None
                } else {
                    Some((id, Some((value, revision))))
                }
            }
            Some((id, Some((value, revision)))) => {
                ended += 1;
                let evidence = if revision > 0 {
                    Evidence::revision(revision)
                } else {
                    Evidence::NONE
                };
                recorder.ok(id, time, value, evidence);
                None
            }
        };
    }
    recorder.finish()
}

//! What the tests share: a small random generator and histories from operations.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::borrow::Cow;

use etcd_checker::History;
use etcd_checker::history::{Event, EventKind, Header, Json, Outcome, Process, Source};

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
        let mut push = |time, kind, value: &Json, revision| {
            events.push(Event {
                line: 0,
                time,
                process: Process::Number(process),
                client: None,
                kind,
                f: Cow::Borrowed(op.f),
                value: value.clone(),
                revision,
                mod_revision: None,
                error: None,
            });
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
    events.sort_by_key(|event| event.time);
    History::new(header, events).unwrap()
}

/// The operations that a witness names. The line of an event is its index plus 2.
pub fn witness_ops(history: &History, ops: &[Op], lines: impl Iterator<Item = usize>) -> Vec<Op> {
    lines
        .map(|line| {
            let Process::Number(process) = history.events()[line - 2].process else {
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

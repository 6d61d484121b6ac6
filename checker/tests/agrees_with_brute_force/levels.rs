//! The level that the checker finds is the one that a search through all orders
//! finds, by definitions that know no dependencies and no cycles; on many small random
//! histories with attempts and transactions of unknown outcome.

#![expect(
    clippy::needless_range_loop,
    reason = "a key is a number and indexes more than one list"
)]

use std::collections::{BTreeMap, BTreeSet};

use etcd_checker::history::{Json, MicroOperation, Outcome};
use etcd_checker::search::Budget;
use etcd_checker::txn::{self, Level};
use etcd_checker::{History, Verdict};

use crate::support::{Random, intervals};

const HISTORIES: usize = 120_000;
const KEYS: [&str; 3] = ["x", "y", "z"];

/// Key, value, mod revision; absent keys have no value and revision 0.
type Read = (usize, Option<u32>, i64);

#[derive(Clone, Debug)]
struct Txn {
    reads: Vec<Read>,
    writes: Vec<(usize, Option<u32>)>,
    /// 0 when it wrote nothing.
    revision: i64,
    outcome: Outcome,
    invoked: u64,
    returned: u64,
    attempts: Vec<Attempt>,
}

/// What a run of the closure has read, between the transaction's events, one after the
/// other.
#[derive(Clone, Debug)]
struct Attempt {
    reads: Vec<Read>,
    begin: u64,
    end: u64,
}

impl Txn {
    fn committed(&self) -> bool {
        self.outcome == Outcome::Ok
    }
}

// ---- The twin: all orders, all choices of who committed. ----

/// A transaction as the twin sees it.
#[derive(Clone, Debug)]
struct Actor {
    reads: Vec<Read>,
    writes: Vec<(usize, Option<u32>)>,
    revision: i64,
    optional: bool,
    invoked: u64,
    returned: u64,
}

struct Twin {
    actors: Vec<Actor>,
    level: Level,
}

impl Twin {
    fn satisfied(txns: &[Txn], level: Level) -> bool {
        let mut actors: Vec<Actor> = Vec::new();
        for txn in txns.iter().filter(|txn| txn.outcome != Outcome::Fail) {
            actors.push(Actor {
                reads: txn.reads.clone(),
                writes: txn.writes.clone(),
                revision: if txn.committed() { txn.revision } else { 0 },
                optional: !txn.committed(),
                invoked: txn.invoked,
                returned: if txn.committed() {
                    txn.returned
                } else {
                    u64::MAX
                },
            });
        }
        // What wrote nothing and whose client learnt nothing says nothing.
        actors.retain(|actor| !actor.optional || !actor.writes.is_empty());
        if level == Level::Opaque {
            actors.extend(attempts(txns));
        }
        let optional: Vec<usize> = (0..actors.len())
            .filter(|at| actors[*at].optional)
            .collect();
        (0..1_u32 << optional.len()).any(|choice| {
            let out: BTreeSet<usize> = (0..optional.len())
                .filter(|bit| choice & (1 << bit) == 0)
                .map(|bit| optional[bit])
                .collect();
            let chosen = (0..actors.len()).filter(|at| !out.contains(at));
            let twin = Twin {
                actors: chosen.map(|at| actors[at].clone()).collect(),
                level,
            };
            twin.any_order(&mut Vec::new())
        })
    }

    /// All orders of the commits.
    fn any_order(&self, order: &mut Vec<usize>) -> bool {
        if order.len() == self.actors.len() {
            return self.explains(order);
        }
        (0..self.actors.len()).any(|next| {
            if order.contains(&next) || !self.may_follow(order, next) {
                return false;
            }
            order.push(next);
            let found = self.any_order(order);
            order.pop();
            found
        })
    }

    fn may_follow(&self, order: &[usize], next: usize) -> bool {
        // Nobody that is still to come had returned before this one began.
        let is_late = |other: usize| {
            other != next
                && !order.contains(&other)
                && self.actors[other].returned < self.actors[next].invoked
        };
        let counts_time = matches!(self.level, Level::Opaque | Level::StrictSerializable);
        if counts_time && (0..self.actors.len()).any(is_late) {
            return false;
        }
        let reader = &self.actors[next];
        if counts_time || self.level == Level::Serializable {
            // Only to save time: `explains` looks at everything.
            return reader.reads.iter().all(|(key, value, _)| {
                let wrote = |at: &usize| {
                    let writes = self.actors[*at].writes.iter();
                    writes.rev().find(|write| write.0 == *key)
                };
                let last = order.iter().rev().find_map(wrote);
                last.and_then(|write| write.1) == *value
            });
        }
        // Who may see any past state and changes nothing may as well come last.
        let is_before = |other: usize| {
            let writes = !self.actors[other].writes.is_empty();
            !order.contains(&other) && (writes || other < next)
        };
        !reader.writes.is_empty() || !(0..self.actors.len()).any(|at| at != next && is_before(at))
    }

    /// Whether the level explains all reads when the commits have this order.
    fn explains(&self, order: &[usize]) -> bool {
        // By writer: the revision that readers saw, or its own.
        let mut revisions: BTreeMap<usize, i64> = BTreeMap::new();
        for at in order {
            if self.actors[*at].revision > 0 && !self.actors[*at].writes.is_empty() {
                revisions.insert(*at, self.actors[*at].revision);
            }
        }
        order.iter().enumerate().all(|(place, at)| {
            let reader = &self.actors[*at];
            let snapshots: Vec<usize> = match self.level {
                Level::Opaque | Level::StrictSerializable | Level::Serializable => vec![place],
                _ => (0..=place).rev().collect(),
            };
            match self.level {
                // Each read may be of a state of its own, none of the future.
                Level::ReadCommitted | Level::ItemCutIsolation => {
                    let mut seen: BTreeMap<usize, Read> = BTreeMap::new();
                    reader.reads.iter().all(|read| {
                        let repeats = *seen.entry(read.0).or_insert(*read) == *read;
                        let is_fine = repeats || self.level == Level::ReadCommitted;
                        is_fine
                            && snapshots
                                .iter()
                                .any(|end| self.sees(&order[..*end], read, *at, &mut revisions))
                    })
                }
                _ => snapshots.into_iter().any(|end| {
                    let overlapping = &order[end..place];
                    let mut kept = revisions.clone();
                    let all = reader
                        .reads
                        .iter()
                        .all(|read| self.sees(&order[..end], read, *at, &mut kept));
                    let is_first = !overlapping
                        .iter()
                        .any(|other| self.overwrite_each_other(*other, *at));
                    if all && is_first {
                        revisions = kept;
                    }
                    all && is_first
                }),
            }
        }) && self.in_order_of_revisions(order, &revisions)
    }

    fn overwrite_each_other(&self, one: usize, other: usize) -> bool {
        let keys = |at: usize| self.actors[at].writes.iter().map(|(key, _)| *key);
        keys(one).any(|key| keys(other).any(|other| other == key))
    }

    /// Whether a read is of what the last writer in `past` left.
    fn sees(
        &self,
        past: &[usize],
        read: &Read,
        reader: usize,
        revisions: &mut BTreeMap<usize, i64>,
    ) -> bool {
        let (key, value, revision) = *read;
        let wrote = |at: &usize| {
            let write = self.actors[*at].writes.iter().find(|write| write.0 == key);
            write.map(|write| (*at, write.1))
        };
        match past.iter().rev().find_map(wrote) {
            None => value.is_none(),
            Some((writer, _)) if writer == reader => false,
            Some((_, left)) if left != value => false,
            Some(_) if value.is_none() => true,
            Some((writer, _)) => {
                let taken = revisions
                    .iter()
                    .any(|(other, at)| *at == revision && *other != writer);
                !taken && *revisions.entry(writer).or_insert(revision) == revision
            }
        }
    }

    /// Each key's versions come in the order of their revisions, as far as these are
    /// known.
    fn in_order_of_revisions(&self, order: &[usize], revisions: &BTreeMap<usize, i64>) -> bool {
        (0..KEYS.len()).all(|key| {
            let wrote = |at: &&usize| self.actors[**at].writes.iter().any(|write| write.0 == key);
            let writers = order.iter().filter(wrote);
            let known: Vec<i64> = writers
                .filter_map(|at| revisions.get(at).copied())
                .collect();
            known.is_sorted_by(|one, other| one < other)
        })
    }
}

/// Attempts as transactions that only read: the first from its beginning, each of the others
/// from the end of the one before.
fn attempts(txns: &[Txn]) -> Vec<Actor> {
    let mut all = Vec::new();
    for txn in txns {
        let mut ended = None;
        for attempt in &txn.attempts {
            all.push(Actor {
                reads: attempt.reads.clone(),
                writes: Vec::new(),
                revision: 0,
                optional: false,
                invoked: ended.unwrap_or(attempt.begin),
                returned: attempt.end,
            });
            ended = Some(attempt.end);
        }
    }
    all
}

// ---- Random histories. ----

#[derive(Clone, Copy, PartialEq)]
struct Cell {
    value: Option<u32>,
    revision: i64,
}

/// How a run goes wrong.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Sound,
    /// Attempts mix states.
    MixedAttempts,
    /// Everything reads from a past state.
    Stale,
    /// From one past state each, and the first to commit wins.
    Snapshot,
    /// Each read from a past state of its own.
    Committed,
    /// Some reads are of something else altogether.
    Garbage,
}

const MODES: [Mode; 6] = [
    Mode::Sound,
    Mode::MixedAttempts,
    Mode::Stale,
    Mode::Snapshot,
    Mode::Committed,
    Mode::Garbage,
];

fn random_run(random: &mut Random) -> Vec<Txn> {
    let mode = MODES[random.below(MODES.len())];
    let keys = 1 + random.below(KEYS.len());
    let longest = 1 + random.below(5);
    let deletions = 3 + random.below(8);
    let unknowns = 3 + random.below(6);
    let count = 3 + random.below(3);
    // The states after each revision, from 0.
    let mut states = vec![
        [Cell {
            value: None,
            revision: 0,
        }; KEYS.len()],
    ];
    let mut values = 0;
    let mut txns = Vec::new();
    for (number, (invoked, _, returned)) in (0..).zip(intervals(random, count, longest)) {
        let (invoked, returned) = (invoked * 4_096, returned * 4_096);
        let now = states.len() - 1;
        let past = |random: &mut Random| now.saturating_sub(random.below(3));
        let own = match mode {
            Mode::Stale | Mode::Snapshot => past(random),
            _ => now,
        };
        let read = |random: &mut Random, mixed: bool, from: usize| -> Vec<Read> {
            let mut reads = Vec::new();
            for key in 0..keys {
                let twice = usize::from(mixed && random.one_in(6));
                for _ in 0..usize::from(random.one_in(2)) + twice {
                    let state = if mixed { past(random) } else { from };
                    let Cell { value, revision } = states[state][key];
                    reads.push((key, value, if value.is_some() { revision } else { 0 }));
                }
            }
            reads
        };
        let mut attempts = Vec::new();
        // Distinct times: no others have this remainder.
        let mut time = invoked + 1 + number * 16;
        let mut later = |random: &mut Random| {
            time += 1 + (returned - time) / 4_096 * random.below(3) as u64 / 6 * 4_096;
            time
        };
        for _ in 0..random.below(3) {
            let reads = read(random, mode == Mode::MixedAttempts, own);
            let (begin, end) = (later(random), later(random));
            attempts.push(Attempt { reads, begin, end });
        }
        let mut reads = read(random, mode == Mode::Committed, own);
        if mode == Mode::Garbage && random.one_in(3) && values > 0 {
            let (key, value) = (random.below(keys), 1 + random.below(values as usize) as u32);
            reads.retain(|read| read.0 != key);
            let writer = txns
                .iter()
                .find(|txn: &&Txn| txn.writes.iter().any(|write| write.1 == Some(value)));
            let revision = writer.map_or(99, |txn| txn.revision.max(1));
            reads.push((key, Some(value), revision));
        }
        let mut writes = Vec::new();
        for key in 0..keys {
            let changed = states[now][key] != states[own][key];
            if random.one_in(2) || mode == Mode::Snapshot && changed {
                continue;
            }
            values += 1;
            let value = if random.one_in(deletions) {
                None
            } else {
                Some(values)
            };
            writes.push((key, value));
        }
        if writes.iter().all(|(_, value)| value.is_none()) {
            writes.clear();
        }
        let outcome = match random.below(unknowns) {
            0 => [Outcome::Info, Outcome::Fail][random.below(2)],
            _ => Outcome::Ok,
        };
        let happens = outcome == Outcome::Ok || outcome == Outcome::Info && random.one_in(2);
        let mut revision = 0;
        if happens && !writes.is_empty() {
            let mut state = states[now];
            revision = states.len() as i64;
            for (key, value) in &writes {
                state[*key] = Cell {
                    value: *value,
                    revision,
                };
            }
            states.push(state);
        }
        txns.push(Txn {
            reads,
            writes,
            revision,
            outcome,
            invoked,
            returned,
            attempts,
        });
    }
    txns
}

// ---- As the checker gets it. ----

fn micro(reads: &[Read], writes: &[(usize, Option<u32>)]) -> Json {
    let text = |value: &Option<u32>| value.map(|value| value.to_string().into());
    let reads = reads
        .iter()
        .map(|(key, value, revision)| MicroOperation::Read {
            key: KEYS[*key].into(),
            value: text(value),
            mod_revision: Some(*revision),
        });
    let writes = writes.iter().map(|(key, value)| MicroOperation::Write {
        key: KEYS[*key].into(),
        value: text(value),
    });
    let all: Vec<_> = reads.chain(writes).collect();
    Json::from(&all[..])
}

fn history(txns: &[Txn], promise: Level) -> History {
    let mut lines = Vec::new();
    let mut process = 0;
    for (client, txn) in txns.iter().enumerate() {
        let mut push = |time: u64, process: usize, kind: &str, f: &str, value: Json, revision| {
            let revision = match revision {
                0 => String::new(),
                revision => format!(r#","revision":{revision}"#),
            };
            lines.push((
                time,
                format!(
                    r#"{{"time":{time},"process":{process},"client":{client},"type":"{kind}","f":"{f}","value":{value}{revision}}}"#,
                    value = value.as_str()
                ),
            ));
        };
        process += 2;
        push(txn.invoked, process, "invoke", "txn", Json::NULL, 0);
        for Attempt { reads, begin, end } in &txn.attempts {
            push(*begin, process + 1, "invoke", "attempt", Json::NULL, 0);
            push(*end, process + 1, "ok", "attempt", micro(reads, &[]), 0);
        }
        let kind = match txn.outcome {
            Outcome::Ok => "ok",
            Outcome::Fail => "fail",
            _ => "info",
        };
        let revision = if txn.committed() { txn.revision } else { 0 };
        let value = micro(&txn.reads, &txn.writes);
        push(txn.returned, process, kind, "txn", value, revision);
    }
    lines.sort();
    let mut text = format!(
        r#"{{"format":"etcd-recipes-history","version":1,"workload":"test","model":"stm","source":{{"kind":"other"}},"parameters":{{"promise":"{promise}"}}}}"#
    );
    for (_, line) in lines {
        text.push('\n');
        text += &line;
    }
    History::read_from(text.as_bytes()).unwrap()
}

#[test]
fn the_strongest_level_is_that_of_a_search_through_all_orders() {
    let mut random = Random(23);
    let mut found: BTreeMap<String, u32> = BTreeMap::new();
    let mut inexact = 0;
    for number in 0..HISTORIES {
        let txns = random_run(&mut random);
        let expected = strongest(&txns);
        let promise = Level::ALL[random.below(Level::ALL.len())];
        let verdict = txn::check_levels(&history(&txns, promise), &Budget::default()).unwrap();
        let (guarantee, is_valid) = match &verdict {
            Verdict::Valid(summary) => (summary.guarantee, true),
            Verdict::Violation(violation) => (violation.guarantee, false),
            Verdict::Unknown { .. } => {
                inexact += 1;
                continue;
            }
            other => panic!("history {number}: {other}"),
        };
        let name = expected.map_or("none", Level::name);
        let context = || format!("history {number}, promise {promise}: {verdict}\n{txns:#?}");
        let keeps = expected.is_some_and(|level| level <= promise);
        assert_eq!(is_valid, keeps, "{name} expected, {}", context());
        match guarantee {
            Some(guarantee) if !guarantee.is_exact => {
                inexact += 1;
                let level: Level = guarantee.name.parse().unwrap();
                assert!(
                    expected.is_some_and(|expected| expected <= level),
                    "{}",
                    context()
                );
            }
            guarantee => {
                let found = guarantee.map_or("none", |guarantee| guarantee.name);
                assert_eq!(found, name, "{}", context());
            }
        }
        *found.entry(name.to_owned()).or_default() += 1;
    }
    println!("{found:?}, {inexact} not exact");
    assert!(found.len() == Level::ALL.len() + 1, "{found:?}");
    assert!(found.values().all(|count| *count > 100), "{found:?}");
    assert!(inexact * 20 < HISTORIES, "{inexact} not exact");
}

/// By the twin.
fn strongest(txns: &[Txn]) -> Option<Level> {
    // Attempts see only what was committed, or no level holds.
    let sound = txns.iter().flat_map(|txn| {
        let attempts = txn.attempts.iter().map(|attempt| Txn {
            reads: attempt.reads.clone(),
            writes: Vec::new(),
            revision: 0,
            outcome: Outcome::Ok,
            ..txn.clone()
        });
        attempts.chain([txn.clone()])
    });
    let sound: Vec<Txn> = sound.collect();
    if !Twin::satisfied(&sound, Level::ReadCommitted) {
        return None;
    }
    Level::ALL
        .into_iter()
        .find(|level| Twin::satisfied(txns, *level))
}

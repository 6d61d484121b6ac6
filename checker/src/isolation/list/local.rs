//! What is wrong with lists without a cycle: what was read was never, or not so, written.

use super::super::anomaly::Anomaly;
use super::super::explain::{shown, who};
use super::super::findings::Findings;
use super::super::txns::{MicroOp, NONE, Status, Txns, What};
use crate::verdict::count;

use super::versions::{INCOMPATIBLE, Versions};

/// Notes everything that a look at single keys and single transactions shows.
pub(super) fn find(txns: &Txns<'_>, versions: &Versions, findings: &mut Findings) {
    let mut local = Local {
        view: View { txns, versions },
        findings,
        at: vec![0; txns.values.len()],
        lists: 0,
        touched: vec![(NONE, 0); txns.keys.len()],
    };
    for key in 0..txns.keys.len() {
        let key = u32::try_from(key).expect("keys are few");
        let reader = versions.longest_reader[key as usize];
        if reader != NONE {
            local.judge_list(reader, key, versions.elements(key));
        }
    }
    // Who first read a version and wrote the key.
    let mut updater = vec![NONE; versions.numbers()];
    let mut states = Vec::new();
    for txn in 0..txns.len() {
        let txn = u32::try_from(txn).expect("transactions are few");
        if txns.committed(txn) {
            local.judge_reads(txn);
            local.judge_itself(txn, &mut states, &mut updater);
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy)]
struct View<'t, 'h> {
    txns: &'t Txns<'h>,
    versions: &'t Versions,
}

struct Local<'t, 'h> {
    view: View<'t, 'h>,
    findings: &'t mut Findings,
    /// By value: in which list it was met last.
    at: Vec<u32>,
    /// How many lists were judged.
    lists: u32,
    /// By key: which transaction was met last with it, and its state.
    touched: Vec<(u32, usize)>,
}

/// What a transaction knows of a key.
struct State {
    /// What was read last, as an index of what was seen; [`NONE`] before the first read.
    seen: u32,
    /// What was appended since.
    appended: Vec<u32>,
    /// The first version that was read, before any append of its own; [`NONE`] otherwise.
    updates: u32,
    /// All that was read.
    reads: Vec<u32>,
}

impl Local<'_, '_> {
    /// Judges the elements that a reader saw in their order.
    fn judge_list(&mut self, reader: u32, key: u32, list: &[u32]) {
        let view = self.view;
        let txns = view.txns;
        self.lists += 1;
        // The last that a failed transaction has appended.
        let mut failed = None;
        for value in list.iter().copied() {
            if self.at[value as usize] == self.lists {
                self.repeated(reader, key, value);
                continue;
            }
            self.at[value as usize] = self.lists;
            let Some(writer) = txns.writer(value) else {
                self.findings.add(txns, Anomaly::GarbageRead, || {
                    let (who, key, value) = view.names(reader, key, value);
                    let sentence = format!("{who} read {value} in {key}, but nobody appended it");
                    (sentence, vec![reader])
                });
                continue;
            };
            match (txns.status(writer), failed) {
                (Status::Failed, _) => {
                    failed = Some(value);
                    self.aborted(reader, key, value, writer);
                }
                (Status::Committed, Some(base)) => {
                    self.dirty_update(reader, key, base, value);
                    failed = None;
                }
                _ => {}
            }
            // If others are in between, that shows as a cycle.
            let before = txns.values[value as usize].before;
            if before != NONE && self.at[before as usize] != self.lists {
                self.torn(reader, key, before, value);
            }
        }
    }

    fn repeated(&mut self, reader: u32, key: u32, value: u32) {
        let view = self.view;
        self.findings
            .add(view.txns, Anomaly::DuplicateElements, || {
                let (who, key, shown) = view.names(reader, key, value);
                let sentence =
                    format!("{who} read {shown} twice in {key}, but it was appended once");
                let writer = view.txns.writer(value);
                (sentence, writer.into_iter().chain([reader]).collect())
            });
    }

    fn torn(&mut self, reader: u32, key: u32, before: u32, value: u32) {
        let view = self.view;
        let txns = view.txns;
        self.findings.add(txns, Anomaly::TornAppend, || {
            let writer = txns.values[value as usize].writer;
            let (reads, shown_key, value) = view.names(reader, key, value);
            let before = txns.show_value(before);
            let sentence = format!(
                "{} appended {before} and then {value} to {shown_key}, yet {reads} read {value} without {before} before it",
                who(txns, writer),
            );
            (sentence, vec![writer, reader])
        });
    }

    fn aborted(&mut self, reader: u32, key: u32, value: u32, writer: u32) {
        let view = self.view;
        self.findings.add(view.txns, Anomaly::G1a, || {
            let (who, key, value) = view.names(reader, key, value);
            let sentence = format!(
                "{who} read {value} in {key}, but the transaction that appended it had failed"
            );
            (sentence, vec![writer, reader])
        });
    }

    fn dirty_update(&mut self, reader: u32, key: u32, base: u32, value: u32) {
        let view = self.view;
        let txns = view.txns;
        self.findings.add(txns, Anomaly::DirtyUpdate, || {
            let writers = [base, value].map(|value| txns.values[value as usize].writer);
            let sentence = format!(
                "{} appended {} to {} after {}, whose transaction had failed",
                who(txns, writers[1]),
                txns.show_value(value),
                txns.show_key(key),
                txns.show_value(base),
            );
            (sentence, vec![writers[0], writers[1], reader])
        });
    }

    /// Compares what a transaction read with what others wrote.
    fn judge_reads(&mut self, txn: u32) {
        let view = self.view;
        let txns = view.txns;
        for micro in txns.micro(txn) {
            let What::Read(seen) = micro.what else {
                continue;
            };
            let list = view.versions.list(micro.key, seen);
            if view.versions.version[seen as usize] == INCOMPATIBLE {
                self.incompatible(txn, micro.key, seen);
                self.judge_list(txn, micro.key, list);
            }
            let Some(last) = list.last() else {
                continue;
            };
            let after = txns.values[*last as usize].after;
            let writer = txns.values[*last as usize].writer;
            if after != NONE && writer != txn && txns.status(writer) != Status::Failed {
                self.findings.add(txns, Anomaly::G1b, || {
                    let (reads, key, last) = view.names(txn, micro.key, *last);
                    let sentence = format!(
                        "{reads} read {key} up to {last}, but {} appended {} right after it: that state was never committed",
                        who(txns, writer),
                        txns.show_value(after),
                    );
                    (sentence, vec![writer, txn])
                });
            }
        }
    }

    fn incompatible(&mut self, txn: u32, key: u32, seen: u32) {
        let view = self.view;
        let txns = view.txns;
        self.findings.add(txns, Anomaly::IncompatibleOrder, || {
            let other = view.versions.longest_reader[key as usize];
            let (mine, longest) = (view.versions.list(key, seen), view.versions.elements(key));
            let same = mine.iter().zip(longest).take_while(|(a, b)| a == b).count();
            let at = |list: &[u32]| list.get(same).map(|value| txns.show_value(*value));
            let nothing = || "nothing".to_owned();
            let sentence = format!(
                "{} read {} with {} where {} read {}, after {}: neither is the beginning of the other",
                who(txns, txn),
                txns.show_key(key),
                at(mine).unwrap_or_else(nothing),
                who(txns, other),
                at(longest).unwrap_or_else(nothing),
                count(same as u64, "common element"),
            );
            (sentence, vec![txn, other])
        });
    }

    /// Compares what a transaction read with what it had read and written itself, and
    /// looks for another that updated the same version.
    fn judge_itself(&mut self, txn: u32, states: &mut Vec<State>, updater: &mut [u32]) {
        let view = self.view;
        let micro = view.txns.micro(txn);
        if self.touches_once(txn) {
            return;
        }
        states.clear();
        for one in micro {
            let touched = &mut self.touched[one.key as usize];
            if touched.1 == usize::MAX {
                *touched = (txn, states.len());
                states.push(State::new());
            }
            let state = &mut states[touched.1];
            match one.what {
                What::Write(value) => {
                    if state
                        .reads
                        .iter()
                        .any(|seen| view.holds(one.key, *seen, value))
                    {
                        self.future_read(txn, one.key, value);
                    }
                    let first = state.appended.is_empty();
                    state.appended.push(value);
                    if first && state.updates != NONE {
                        let number = view.versions.number(one.key, state.updates);
                        state.updates = NONE;
                        match updater[number] {
                            NONE => updater[number] = txn,
                            other if other == txn => {}
                            other => self.lost_update(other, txn, one.key),
                        }
                    }
                }
                What::Read(seen) => {
                    self.judge_read(txn, state, *one, seen);
                    let version = view.versions.version[seen as usize];
                    if state.reads.is_empty()
                        && state.appended.is_empty()
                        && version != INCOMPATIBLE
                    {
                        state.updates = version;
                    }
                    state.appended.clear();
                    state.seen = seen;
                    state.reads.push(seen);
                }
            }
        }
    }

    /// Whether a transaction touches each key but once, as most do: then it cannot
    /// contradict itself.
    fn touches_once(&mut self, txn: u32) -> bool {
        let mut once = true;
        for micro in self.view.txns.micro(txn) {
            let touched = &mut self.touched[micro.key as usize];
            once &= touched.0 != txn;
            *touched = (txn, usize::MAX);
        }
        once
    }

    /// Whether a read must see what its transaction knows already, and does not.
    fn judge_read(&mut self, txn: u32, state: &State, micro: MicroOp, seen: u32) {
        let list = self.view.versions.list(micro.key, seen);
        let Some(rest) = list.strip_suffix(state.appended.as_slice()) else {
            return self.internal(txn, state, micro.key, list);
        };
        if state.seen != NONE && rest != self.view.versions.list(micro.key, state.seen) {
            self.internal(txn, state, micro.key, list);
        }
    }

    fn internal(&mut self, txn: u32, state: &State, key: u32, list: &[u32]) {
        let view = self.view;
        let txns = view.txns;
        self.findings.add(txns, Anomaly::Internal, || {
            let mut known = Vec::new();
            if state.seen != NONE {
                let list = view.versions.list(key, state.seen);
                known.push(format!("had read {}", shown(txns, list)));
            }
            if !state.appended.is_empty() {
                known.push(format!("had appended {}", shown(txns, &state.appended)));
            }
            let sentence = format!(
                "{} read {} as {}, though it {} itself right before",
                who(txns, txn),
                txns.show_key(key),
                shown(txns, list),
                known.join(" and ")
            );
            (sentence, vec![txn])
        });
    }

    fn future_read(&mut self, txn: u32, key: u32, value: u32) {
        let view = self.view;
        self.findings.add(view.txns, Anomaly::FutureRead, || {
            let (who, key, value) = view.names(txn, key, value);
            let sentence = format!("{who} read {value} in {key} before it appended that itself");
            (sentence, vec![txn])
        });
    }

    fn lost_update(&mut self, first: u32, second: u32, key: u32) {
        let view = self.view;
        let txns = view.txns;
        self.findings.add(txns, Anomaly::LostUpdate, || {
            let sentence = format!(
                "{} and {} both read the same version of {} and appended to it: whichever came second missed the other",
                who(txns, first),
                who(txns, second),
                txns.show_key(key)
            );
            (sentence, vec![first, second])
        });
    }
}

impl View<'_, '_> {
    /// Whether what was seen holds a value.
    fn holds(&self, key: u32, seen: u32, value: u32) -> bool {
        match self.versions.version[seen as usize] {
            INCOMPATIBLE => self.versions.list(key, seen).contains(&value),
            version => self.versions.place[value as usize] < version,
        }
    }

    fn names(&self, txn: u32, key: u32, value: u32) -> (String, String, String) {
        let txns = self.txns;
        (who(txns, txn), txns.show_key(key), txns.show_value(value))
    }
}

impl State {
    fn new() -> Self {
        Self {
            seen: NONE,
            appended: Vec::new(),
            updates: NONE,
            reads: Vec::new(),
        }
    }
}

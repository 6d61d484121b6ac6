//! What is wrong with reads and writes without a cycle.

use rustc_hash::FxHashMap;

use super::super::anomaly::Anomaly;
use super::super::explain::who;
use super::super::findings::Findings;
use super::super::txns::{NONE, Status, Txns, What};
use super::versions::{NOTHING, Versions};

/// Notes everything that a look at single transactions and single values shows. Returns a
/// transaction that read what nobody wrote, and the value, if that may be what the key
/// held before the history begins.
pub(super) fn find(
    txns: &Txns<'_>,
    versions: &Versions,
    findings: &mut Findings,
) -> Option<(u32, u32)> {
    let mut local = Local {
        txns,
        versions,
        findings,
        unwritten: Unwritten::of(txns, versions),
        updaters: FxHashMap::default(),
    };
    let mut perhaps_initial = None;
    for txn in 0..txns.len() {
        let txn = u32::try_from(txn).expect("transactions are few");
        if txns.committed(txn) {
            let read = local.judge(txn);
            perhaps_initial = perhaps_initial.or(read.map(|value| (txn, value)));
        }
    }
    perhaps_initial
}

/// What is known of the values that nobody wrote, by key.
struct Unwritten {
    /// The only one that was read; [`NONE`] when there is none.
    only: Vec<u32>,
    /// Whether one of those that were read was certainly never there: when there are two,
    /// or the key was also seen without a value.
    is_certain: Vec<bool>,
}

impl Unwritten {
    fn of(txns: &Txns<'_>, versions: &Versions) -> Self {
        let keys = txns.keys.len();
        let mut unwritten = Self {
            only: vec![NONE; keys],
            is_certain: vec![false; keys],
        };
        for micro in &txns.micro {
            let What::Read(seen) = micro.what else {
                continue;
            };
            let (key, value) = (micro.key as usize, versions.read[seen as usize]);
            if value == NOTHING {
                unwritten.is_certain[key] = true;
            } else if txns.writer(value).is_none() {
                let only = std::mem::replace(&mut unwritten.only[key], value);
                unwritten.is_certain[key] |= only != NONE && only != value;
            }
        }
        unwritten
    }
}

struct Local<'t, 'h> {
    txns: &'t Txns<'h>,
    versions: &'t Versions,
    findings: &'t mut Findings,
    unwritten: Unwritten,
    /// By key and value read: who wrote the key after it had read that.
    updaters: FxHashMap<(u32, u32), u32>,
}

/// What a transaction knows of a key.
struct State {
    key: u32,
    value: u32,
    /// What it read before it wrote; [`NONE`] with `has_read` unset if nothing.
    first_read: u32,
    has_read: bool,
    has_written: bool,
}

impl Local<'_, '_> {
    /// Judges a transaction. Returns what it read that may have been there before.
    fn judge(&mut self, txn: u32) -> Option<u32> {
        let mut states: Vec<State> = Vec::new();
        let mut perhaps_initial = None;
        for (at, micro) in self.txns.micro(txn).iter().enumerate() {
            let key = micro.key;
            let known = states.iter().position(|state| state.key == key);
            match micro.what {
                What::Write(value) => {
                    let known = known.unwrap_or_else(|| push(&mut states, key));
                    let state = &mut states[known];
                    if !state.has_written && state.has_read {
                        let read = state.first_read;
                        self.judge_update(txn, key, read, value);
                    }
                    let state = &mut states[known];
                    state.has_written = true;
                    state.value = value;
                }
                What::Read(seen) => {
                    let value = self.versions.read[seen as usize];
                    if self.judge_read(txn, at, key, value) {
                        perhaps_initial = perhaps_initial.or(Some(value));
                    }
                    match known {
                        Some(known) => {
                            let before = states[known].value;
                            if before != value {
                                let wrote = states[known].has_written;
                                self.internal(txn, key, before, value, wrote);
                            }
                            states[known].value = value;
                        }
                        None => {
                            let known = push(&mut states, key);
                            let state = &mut states[known];
                            (state.value, state.first_read) = (value, value);
                            state.has_read = true;
                        }
                    }
                }
            }
        }
        perhaps_initial
    }

    /// Compares what was read with who wrote it. Returns whether it may have been there
    /// before anybody wrote.
    fn judge_read(&mut self, txn: u32, at: usize, key: u32, value: u32) -> bool {
        if value == NOTHING {
            return false;
        }
        let txns = self.txns;
        let names = || (who(txns, txn), txns.show_key(key), txns.show_value(value));
        let Some(writer) = txns.writer(value) else {
            if !self.unwritten.is_certain[key as usize] {
                return true;
            }
            self.findings.add(txns, Anomaly::GarbageRead, || {
                let (who, key, value) = names();
                let sentence = format!("{who} read {value} in {key}, but nobody wrote it");
                (sentence, vec![txn])
            });
            return false;
        };
        let after = txns.values[value as usize].after;
        if writer == txn {
            let earlier = &txns.micro(txn)[..at];
            if !earlier.iter().any(|micro| micro.what == What::Write(value)) {
                self.findings.add(txns, Anomaly::FutureRead, || {
                    let (who, key, value) = names();
                    let sentence =
                        format!("{who} read {value} in {key} before it wrote that itself");
                    (sentence, vec![txn])
                });
            }
        } else if txns.status(writer) == Status::Failed {
            self.findings.add(txns, Anomaly::G1a, || {
                let (who, key, value) = names();
                let sentence = format!(
                    "{who} read {value} in {key}, but the transaction that wrote it had failed"
                );
                (sentence, vec![writer, txn])
            });
        } else if after != NONE {
            self.findings.add(txns, Anomaly::G1b, || {
                let (reads, key, value) = names();
                let sentence = format!(
                    "{reads} read {value} in {key}, but {} wrote {} over it: that state was never committed",
                    who(txns, writer),
                    txns.show_value(after),
                );
                (sentence, vec![writer, txn])
            });
        }
        false
    }

    /// A transaction read a key and then wrote it.
    fn judge_update(&mut self, txn: u32, key: u32, read: u32, value: u32) {
        let txns = self.txns;
        let writer = if read == NOTHING {
            None
        } else {
            txns.writer(read)
        };
        if let Some(writer) = writer
            && txns.status(writer) == Status::Failed
        {
            self.findings.add(txns, Anomaly::DirtyUpdate, || {
                let sentence = format!(
                    "{} read {} in {} and wrote {} over it, although the transaction of the first had failed",
                    who(txns, txn),
                    txns.show_value(read),
                    txns.show_key(key),
                    txns.show_value(value),
                );
                (sentence, vec![writer, txn])
            });
        }
        let other = *self.updaters.entry((key, read)).or_insert(txn);
        if other != txn {
            self.findings.add(txns, Anomaly::LostUpdate, || {
                let sentence = format!(
                    "{} and {} both read {} as {} and wrote it: whichever came second missed the other",
                    who(txns, other),
                    who(txns, txn),
                    txns.show_key(key),
                    show(txns, read),
                );
                (sentence, vec![other, txn])
            });
        }
    }

    fn internal(&mut self, txn: u32, key: u32, before: u32, value: u32, wrote: bool) {
        let txns = self.txns;
        self.findings.add(txns, Anomaly::Internal, || {
            let sentence = format!(
                "{} read {} as {}, though it had {} {} itself right before",
                who(txns, txn),
                txns.show_key(key),
                show(txns, value),
                if wrote { "written or read" } else { "read" },
                show(txns, before),
            );
            (sentence, vec![txn])
        });
    }
}

fn push(states: &mut Vec<State>, key: u32) -> usize {
    states.push(State {
        key,
        value: NOTHING,
        first_read: NOTHING,
        has_read: false,
        has_written: false,
    });
    states.len() - 1
}

/// A value as it is shown to people.
pub(super) fn show(txns: &Txns<'_>, value: u32) -> String {
    match value {
        NOTHING => "nothing".to_owned(),
        value => txns.show_value(value),
    }
}

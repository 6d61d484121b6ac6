//! The versions of each register: who wrote them, and who read them.

use std::borrow::Cow;

use super::super::txns::{NONE, Status, Txns, What};

/// A read that found nothing: what a key holds before anybody wrote it.
pub(super) const NOTHING: u32 = NONE;

/// What a transaction left behind in a key; first of each key, that nothing was there; and
/// values that were read although nobody wrote them.
pub(super) struct Version {
    /// The last value that its transaction wrote to the key, or [`NOTHING`].
    pub(super) value: u32,
    /// Who wrote it; [`NONE`] if that is nobody of this history.
    pub(super) writer: u32,
    /// The others that read it, ascending, each once.
    pub(super) readers: Vec<u32>,
}

/// What the reads say.
pub(super) struct Versions {
    /// By what was seen: the value, or [`NOTHING`].
    pub(super) read: Vec<u32>,
    /// By transaction: whether it took effect, as it knows or as somebody has seen.
    pub(super) happened: Vec<bool>,
    /// By key.
    pub(super) keys: Vec<Vec<Version>>,
    /// By value: its place among the versions of the key, or [`NONE`] where it was
    /// overwritten by its own transaction, or did not happen.
    place: Vec<u32>,
}

impl Versions {
    /// `with_unwritten`: what was read although nobody wrote it counts, too.
    pub(super) fn of(txns: &mut Txns<'_>, with_unwritten: bool) -> Self {
        let read = values_read(txns);
        let happened = happened(txns, &read);
        let mut versions = Self {
            read,
            happened,
            keys: Vec::new(),
            place: vec![NONE; txns.values.len()],
        };
        let before = || Version {
            value: NOTHING,
            writer: NONE,
            readers: Vec::new(),
        };
        versions.keys = txns.keys.iter().map(|_| vec![before()]).collect();
        versions.add_writes(txns);
        if with_unwritten {
            versions.add_unwritten(txns);
        }
        versions.add_reads(txns);
        versions
    }

    /// The same as these transactions, ascending, know them.
    pub(super) fn among(&self, txns: &[u32]) -> Self {
        let is_in = |txn: u32| txns.binary_search(&txn).is_ok();
        let version = |version: &Version| Version {
            value: version.value,
            writer: if is_in(version.writer) {
                version.writer
            } else {
                NONE
            },
            readers: version
                .readers
                .iter()
                .copied()
                .filter(|txn| is_in(*txn))
                .collect(),
        };
        let mut happened = vec![false; self.happened.len()];
        for txn in txns {
            happened[*txn as usize] = self.happened[*txn as usize];
        }
        Self {
            read: self.read.clone(),
            happened,
            keys: self
                .keys
                .iter()
                .map(|versions| versions.iter().map(version).collect())
                .collect(),
            place: self.place.clone(),
        }
    }

    fn add_writes(&mut self, txns: &Txns<'_>) {
        for (id, value) in (0..).zip(&txns.values) {
            let is_last = value.writer != NONE && value.after == NONE;
            if is_last && self.happened[value.writer as usize] {
                let versions = &mut self.keys[value.key as usize];
                self.place[id] = u32::try_from(versions.len()).unwrap_or(NONE);
                versions.push(Version {
                    value: u32::try_from(id).unwrap_or(NONE),
                    writer: value.writer,
                    readers: Vec::new(),
                });
            }
        }
    }

    /// What was read although nobody wrote it was there too, unless it was made up: before the
    /// history began, or by somebody who is not part of it.
    fn add_unwritten(&mut self, txns: &Txns<'_>) {
        for id in &self.read {
            if *id == NOTHING || txns.writer(*id).is_some() || self.place[*id as usize] != NONE {
                continue;
            }
            let versions = &mut self.keys[txns.values[*id as usize].key as usize];
            self.place[*id as usize] = u32::try_from(versions.len()).unwrap_or(NONE);
            versions.push(Version {
                value: *id,
                writer: NONE,
                readers: Vec::new(),
            });
        }
    }

    fn add_reads(&mut self, txns: &Txns<'_>) {
        for txn in 0..txns.len() {
            let txn = u32::try_from(txn).unwrap_or(NONE);
            for micro in txns.micro(txn) {
                let What::Read(seen) = micro.what else {
                    continue;
                };
                let Some(place) = self.version_read(txns, seen) else {
                    continue;
                };
                let version = &mut self.keys[micro.key as usize][place];
                if version.writer != txn && version.readers.last() != Some(&txn) {
                    version.readers.push(txn);
                }
            }
        }
    }

    /// The place of the version that was read, among those of its key: that of the
    /// transaction whose write was seen, if it took effect.
    pub(super) fn version_read(&self, txns: &Txns<'_>, seen: u32) -> Option<usize> {
        let mut value = self.read[seen as usize];
        if value == NOTHING {
            return Some(0);
        }
        while txns.values[value as usize].after != NONE {
            value = txns.values[value as usize].after;
        }
        let place = self.place[value as usize];
        (place != NONE).then_some(place as usize)
    }

    /// The version of a key with this value, where its transaction left it behind.
    pub(super) fn left_behind(&self, key: u32, value: u32) -> Option<&Version> {
        let place = self.place[value as usize];
        (place != NONE).then(|| &self.keys[key as usize][place as usize])
    }

    /// The place of the version that a transaction left behind in a key.
    pub(super) fn version_written(&self, txns: &Txns<'_>, txn: u32, key: u32) -> Option<usize> {
        let last = txns
            .micro(txn)
            .iter()
            .rev()
            .find_map(|micro| match micro.what {
                What::Write(value) if micro.key == key => Some(value),
                _ => None,
            })?;
        let place = self.place[last as usize];
        (place != NONE).then_some(place as usize)
    }
}

/// By what was seen: the value. What nobody wrote becomes a value.
fn values_read(txns: &mut Txns<'_>) -> Vec<u32> {
    let mut read = vec![NOTHING; txns.seen.len()];
    for index in 0..txns.micro.len() {
        let micro = txns.micro[index];
        let What::Read(seen) = micro.what else {
            continue;
        };
        let seen = seen as usize;
        read[seen] = match txns.seen[seen].clone() {
            text if text == "null" => NOTHING,
            Cow::Borrowed(text) => txns.value(micro.key, text),
            Cow::Owned(text) => txns.value_of(micro.key, &text),
        };
    }
    read
}

/// Who took effect: who knows it, and those of whom somebody has read something.
fn happened(txns: &Txns<'_>, read: &[u32]) -> Vec<bool> {
    let mut happened: Vec<bool> = txns
        .txns
        .iter()
        .map(|txn| txn.status == Status::Committed)
        .collect();
    for value in read.iter().filter(|value| **value != NOTHING) {
        if let Some(writer) = txns.writer(*value) {
            happened[writer as usize] |= txns.status(writer) != Status::Failed;
        }
    }
    happened
}

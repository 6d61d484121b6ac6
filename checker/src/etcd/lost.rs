//! Changes that happened for certain, and that a watch passed over.
//!
//! Whatever became of writes of unknown outcome, what was acknowledged happened at the revision
//! of its answer, and what a read showed was written at its mod revision. A watch that was told of
//! everything up to a later revision, and not of that, has lost it: the write or the read, the
//! request for the watch and its last notice prove it without a search.
//!
//! O(n log n) in the size of the history, for each watch of a key.

use rustc_hash::FxHashSet;

use super::facts::{By, Effect, Facts, Seen};
use super::kinds::WATCH_LOST;
use super::log::Log;
use super::message::{KeyValue, UNKNOWN};
use super::watch::Coverage;
use crate::verdict::{Class, Violation};

/// A change of a key that somebody was told of.
struct Certain {
    key: usize,
    revision: i64,
    is_put: bool,
    /// Whose answer says so.
    entry: usize,
}

/// The first change that a watch lost. `facts` are those of reads and writes, which contradict
/// nothing by themselves.
pub(super) fn find(log: &Log<'_>, facts: &Facts<'_>, coverage: &Coverage) -> Option<Violation> {
    let certain = (0..log.keys.len()).flat_map(|key| certain(facts, key));
    let lost = certain.filter_map(|change| {
        let watch = coverage.missed_by(change.key, change.revision, change.is_put)?;
        Some((change, watch))
    });
    let (change, watch) = lost.min_by_key(|(change, _)| (change.revision, change.entry))?;
    let entries = std::iter::once(change.entry).chain(coverage.witness(watch));
    let witness = entries.map(|entry| log.operation(entry));
    let sentence = sentence(log, change.key, change.revision, change.is_put);
    Some(Violation::new(Class::Safety, WATCH_LOST, sentence, witness))
}

/// What a watch lost, in words.
pub(super) fn sentence(log: &Log<'_>, key: usize, revision: i64, is_put: bool) -> String {
    let name = &log.keys[key];
    let what = if is_put { "written" } else { "deleted" };
    format!(
        "`{name}` was {what} at revision {revision}, but a watch of it that heard of later \
         revisions never heard of that"
    )
}

fn certain<'f>(facts: &'f Facts<'_>, key: usize) -> impl Iterator<Item = Certain> + 'f {
    let change = move |revision, is_put, entry| Certain {
        key,
        revision,
        is_put,
        entry,
    };
    let of_key = &facts.facts[key];
    let was_there = |seen: &Seen<'_>| matches!(seen, Seen::Present | Seen::Version(_));
    let found = of_key.iter().filter(move |fact| was_there(&fact.seen));
    // Who deletes a key, and says that it was there right before.
    let met: FxHashSet<(usize, i64)> = found.map(|fact| (fact.entry, fact.revision)).collect();
    let made = facts.changes[key].iter().filter_map(move |made| {
        let By::Entry(entry) = made.by else {
            return None;
        };
        let is_put = matches!(made.effect, Effect::Put { .. });
        let is_certain = is_put || met.contains(&(entry, made.revision - 1));
        is_certain.then(|| change(made.revision, is_put, entry))
    });
    let read = of_key.iter().filter_map(move |fact| match fact.seen {
        Seen::Version(KeyValue(_, _, _, modified, ..)) if *modified != UNKNOWN => {
            Some(change(*modified, true, fact.entry))
        }
        _ => None,
    });
    made.chain(read)
}

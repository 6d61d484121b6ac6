//! What a watch tells of its events together: that none was left out between two revisions, and
//! that those of one revision come as they were written.
//!
//! Every revision is a change of some key, so to a watch of all keys none can be missing,
//! whoever wrote it. And the changes of one revision have an order, that of the operations of the
//! transaction (etcd numbers them: main and sub revision), so all watches hear of them in that
//! one.
//!
//! ```text
//! revision              2        3                    4
//! changes               put a    put a, put b (txn)   another client's
//! watch 1, of all keys  put a    put b, put a         b before a: watch-unordered
//! watch 2, of all keys  put a    put a, put b         and progress 4: watch-lost-event
//! ```
//!
//! O(n log n) for n events.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::kinds::{WATCH_LOST, WATCH_UNORDERED};
use super::log::{Call, Log, Reply};
use super::message::{Notice, TxnOp, WatchEvent};
use super::watch::{Heard, Watches};
use crate::verdict::{Class, Violation};

/// The first watch of all keys to which a revision is missing.
pub(super) fn find_gap(log: &Log<'_>, watches: &Watches<'_>) -> Option<Violation> {
    watches.all().iter().find_map(|heard| gap(log, heard))
}

fn gap(log: &Log<'_>, heard: &Heard<'_>) -> Option<Violation> {
    let watch = heard.watch;
    if !watch.span.is_everything() || watch.no_put || watch.no_delete {
        return None;
    }
    let lost = |entry: usize, missing: i64, heard_of: String| {
        let sentence = format!(
            "watch {} of all keys {heard_of}, and never of revision {missing}, though each \
             revision is a change of some key",
            watch.watch
        );
        let witness = [heard.request, entry].map(|entry| log.operation(entry));
        Some(Violation::new(Class::Safety, WATCH_LOST, sentence, witness))
    };
    // Revision 1 is an empty store.
    let mut next = heard.from.map(|from| from.max(2));
    for &(entry, notice) in &heard.notices {
        if notice.compacted.is_some() {
            return None;
        }
        for revision in notice.events.iter().map(WatchEvent::revision) {
            if let Some(missing) = next.filter(|next| *next < revision) {
                return lost(entry, missing, format!("heard of revision {revision}"));
            }
            next = next.max(Some(revision + 1));
        }
        if notice.events.is_empty() {
            let header = log.entries[entry].header();
            if let Some(missing) = next.filter(|next| *next <= header) {
                let told = format!("was told that it had heard of everything up to {header}");
                return lost(entry, missing, told);
            }
            next = next.or(Some(header + 1));
        }
    }
    None
}

/// What is known of the order of the changes of a revision.
enum Known<'k, 'a> {
    /// The operation that made them, and the branch of it that was taken.
    Written { entry: usize, branch: bool },
    /// The watch that heard of them first.
    Heard {
        watch: &'k Heard<'a>,
        told: &'k [Told<'a>],
    },
}

/// The first watch that heard of the changes of one revision in another order than they were
/// made, or than another watch did.
pub(super) fn find_shuffled(log: &Log<'_>, watches: &Watches<'_>) -> Option<Violation> {
    let mut written: BTreeMap<i64, usize> = BTreeMap::new();
    for (index, entry) in log.entries.iter().enumerate() {
        if entry.wrote() && matches!(entry.call, Call::Txn(..) | Call::Delete(..)) {
            written.insert(entry.header(), index);
        }
    }
    let mut first_heard: BTreeMap<i64, (&Heard<'_>, Vec<Told<'_>>)> = BTreeMap::new();
    for heard in watches.all() {
        for told in together(heard) {
            let revision = told[0].event.revision();
            let by = written
                .get(&revision)
                .map(|entry| (*entry, succeeded(log, *entry)));
            let known = match by.or_else(|| writer(log, &told)) {
                Some((entry, branch)) => Known::Written { entry, branch },
                None => {
                    let Some((watch, told)) = first_heard.get(&revision) else {
                        first_heard.insert(revision, (heard, told));
                        continue;
                    };
                    Known::Heard { watch, told }
                }
            };
            if let Some(violation) = shuffled(log, heard, &told, &known) {
                return Some(violation);
            }
        }
    }
    None
}

/// A change that a watch heard of by a notice.
#[derive(Clone, Copy)]
struct Told<'a> {
    event: &'a WatchEvent<'a>,
    notice: usize,
}

/// The changes of each revision of which a watch heard more than one.
fn together<'a>(heard: &Heard<'a>) -> Vec<Vec<Told<'a>>> {
    let of_notice = |&(notice, told): &(usize, &'a Notice<'a>)| {
        told.events.iter().map(move |event| Told { event, notice })
    };
    let all: Vec<Told<'a>> = heard.notices.iter().flat_map(of_notice).collect();
    let is_one = |one: &Told<'_>, other: &Told<'_>| one.event.revision() == other.event.revision();
    let together = all.chunk_by(is_one).filter(|told| told.len() > 1);
    together.map(<[_]>::to_vec).collect()
}

/// The transaction of unknown outcome that wrote one of the values, and the branch of it.
fn writer(log: &Log<'_>, told: &[Told<'_>]) -> Option<(usize, bool)> {
    told.iter().find_map(|told| {
        let WatchEvent::Put(version, _) = told.event else {
            return None;
        };
        let value = (log.key(&version.0), version.1.clone()?);
        let writer = log.only_writer(&value)?;
        let is_txn = matches!(log.entries[writer.entry].call, Call::Txn(..));
        is_txn.then_some((writer.entry, writer.branch))
    })
}

fn succeeded(log: &Log<'_>, entry: usize) -> bool {
    matches!(&log.entries[entry].call, Call::Txn(_, Reply::Done(result)) if result.succeeded)
}

fn shuffled(
    log: &Log<'_>,
    heard: &Heard<'_>,
    told: &[Told<'_>],
    known: &Known<'_, '_>,
) -> Option<Violation> {
    let keys = told.iter().map(|told| told.event.key());
    let (of_whom, places): (_, Vec<_>) = match known {
        Known::Written { entry, branch } => {
            let places = keys.map(|key| place(log, *entry, *branch, key));
            ("they were made", places.collect())
        }
        Known::Heard { told: first, .. } => {
            let first = first.iter().enumerate();
            let first: FxHashMap<&str, usize> = first
                .map(|(place, told)| (told.event.key(), place))
                .collect();
            let places = keys.map(|key| Some((*first.get(key)?, 0)));
            ("another watch heard of them", places.collect())
        }
    };
    let placed = told.iter().zip(places);
    let placed = placed.filter_map(|(told, place)| Some((told, place?)));
    let placed: Vec<(&Told<'_>, (usize, usize))> = placed.collect();
    let pair = placed.windows(2).find(|pair| pair[1].1 < pair[0].1)?;
    let [(early, _), (late, _)] = [pair[0], pair[1]];
    let sentence = format!(
        "watch {} heard of `{}` before `{}` at revision {}, and not in the order in which {of_whom}",
        heard.watch.watch,
        early.event.key(),
        late.event.key(),
        early.event.revision(),
    );
    let mut entries = vec![heard.request, early.notice, late.notice];
    match known {
        Known::Written { entry, .. } => entries.push(*entry),
        Known::Heard { watch, told } => {
            entries.push(watch.request);
            let are_they = |told: &&Told<'_>| {
                [early, late]
                    .iter()
                    .any(|one| one.event.key() == told.event.key())
            };
            entries.extend(told.iter().filter(are_they).map(|told| told.notice));
        }
    }
    entries.sort_unstable();
    entries.dedup();
    let witness = entries.into_iter().map(|entry| log.operation(entry));
    Some(Violation::new(
        Class::Safety,
        WATCH_UNORDERED,
        sentence,
        witness,
    ))
}

/// Which operation of a branch changes a key; those of one operation are in the order of the keys.
fn place(log: &Log<'_>, entry: usize, branch: bool, key: &str) -> Option<(usize, usize)> {
    let number = log.key(key);
    let changes = |op: &TxnOp<'_>| match op {
        TxnOp::Range(_) => false,
        TxnOp::Put(put) => put.key == key,
        TxnOp::Delete(delete) => log.span(&delete.span).contains(&number),
    };
    let place = match &log.entries[entry].call {
        Call::Txn(txn, _) => txn.branch(branch).iter().position(changes)?,
        _ => 0,
    };
    Some((place, number))
}

//! What watches promise, as far as each shows by itself, and what they have heard
//! of, for the rest.
//!
//! The promises are those of etcd's documentation ("KV API guarantees", section on
//! watches): ordered, unique, reliable, atomic, resumable, bookmarkable; and of the
//! options of a request: filtered, with the right previous versions.
//!
//! ```text
//! revision           5        6        7        8
//! changes            put a    put b    delete a put b
//! watch 1 hears      put a    put b             put b      7 was passed over:
//!                                                          watch-lost-event
//! watch 2 hears      put b, and then put a                 5 after 6: watch-unordered
//! watch 3 hears      progress 6, and then put b            6 again: watch-progress
//! watch 4 hears      put b, and then progress 5            5 after 6: watch-progress
//! ```
//!
//! What a watch hears must be the changes to its keys, from its start revision on, without a
//! gap and in order, as far as its last event or notice of progress (its *frontier*). Order,
//! uniqueness, whole revisions, filters and headers show in what one watch heard (here); that
//! the events are those that happened, and that none up to the frontier is missing, shows in the
//! replay of all writes (`solve`), which is told by [`Coverage`] what was certainly passed over.
//!
//! O(n log n) for n events, which are kept in order of revision and key for each watch; whether a
//! change was passed over takes a look at each watch of its key.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::compaction::Compactions;
use super::facts::{Fact, Facts, How, Seen};
use super::kinds::{
    FALSE_COMPACTED, WATCH_DUPLICATE, WATCH_FILTER, WATCH_HEADER, WATCH_PROGRESS, WATCH_START,
    WATCH_TORN, WATCH_UNORDERED,
};
use super::log::{Call, Log, Reply};
use super::message::{Notice, Watch, WatchEvent};
use super::order::Order;
use crate::history::{HistoryError, Problem};
use crate::verdict::{Class, Kind, Violation};

/// What watches have certainly been told everything about.
#[derive(Default)]
pub(super) struct Coverage {
    /// By key.
    by_key: Vec<Vec<Covered>>,
    /// Keys and revisions that each watch has heard of.
    heard: Vec<FxHashSet<(usize, i64)>>,
    /// The operation that asked for each watch.
    requests: Vec<usize>,
    /// The notice by which each had heard of everything up to its frontier.
    last: Vec<Option<usize>>,
    /// The operation that asked for the watch of each notice with events.
    asked: BTreeMap<usize, usize>,
}

#[derive(Clone, Copy)]
struct Covered {
    watch: usize,
    from: i64,
    through: i64,
    puts: bool,
    deletions: bool,
}

impl Coverage {
    /// A watch that has been told everything about this revision of this key, but
    /// not of this change.
    pub(super) fn missed_by(&self, key: usize, revision: i64, is_put: bool) -> Option<usize> {
        let missed = |covered: &&Covered| {
            covered.from <= revision
                && revision <= covered.through
                && (if is_put {
                    covered.puts
                } else {
                    covered.deletions
                })
                && !self.heard[covered.watch].contains(&(key, revision))
        };
        let covered = self.by_key.get(key)?.iter().find(missed)?;
        Some(covered.watch)
    }

    /// Whether no watch was told of anything.
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.iter().all(Vec::is_empty)
    }

    /// Whether a watch was told of all changes of a key up to this revision.
    pub(super) fn knows_all(&self, key: usize, revision: i64) -> bool {
        // Revision 1 is an empty store.
        let knows = |covered: &Covered| {
            covered.from <= 2 && revision <= covered.through && covered.puts && covered.deletions
        };
        let covered = self.by_key.get(key);
        covered.is_some_and(|covered| covered.iter().any(knows))
    }

    /// The operation that asked for the watch that a notice is from.
    pub(super) fn request_of(&self, notice: usize) -> Option<usize> {
        self.asked.get(&notice).copied()
    }

    /// The operations that show how far a watch has come.
    pub(super) fn witness(&self, watch: usize) -> impl Iterator<Item = usize> {
        std::iter::once(self.requests[watch]).chain(self.last[watch])
    }
}

/// A watch and all that it heard, in order.
pub(super) struct Heard<'a> {
    pub(super) request: usize,
    pub(super) watch: &'a Watch<'a>,
    /// The first revision that it hears of.
    pub(super) from: Option<i64>,
    pub(super) notices: Vec<(usize, &'a Notice<'a>)>,
}

/// All watches of a history.
pub(super) struct Watches<'a> {
    watches: Vec<Heard<'a>>,
}

impl<'a> Watches<'a> {
    pub(super) fn of(log: &'a Log<'_>) -> Result<Self, HistoryError> {
        let mut watches: Vec<Heard<'a>> = Vec::new();
        let mut by_name: BTreeMap<u64, usize> = BTreeMap::new();
        let mut by_stream: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, entry) in log.entries.iter().enumerate() {
            match &entry.call {
                Call::Watch(watch, reply) => {
                    if let Some(before) = by_name.insert(watch.watch, watches.len()) {
                        let since = log.operation(watches[before].request).invoke.line();
                        let problem = Problem::WatchedTwice {
                            watch: watch.watch,
                            since,
                        };
                        return Err(HistoryError::at(entry.operation.invoke.line(), problem));
                    }
                    if let Some(stream) = watch.stream {
                        by_stream.entry(stream).or_default().push(watches.len());
                    }
                    // From "now" on: what the answer says is the last revision before.
                    let from = match (watch.start, reply) {
                        (0, Reply::Done(())) => Some(entry.header() + 1),
                        (0, _) => None,
                        (start, _) => Some(start),
                    };
                    watches.push(Heard {
                        request: index,
                        watch,
                        from,
                        notices: Vec::new(),
                    });
                }
                Call::Notice(notice) if entry.operation.ok().is_some() => {
                    let named = notice.watch.and_then(|watch| by_name.get(&watch));
                    let streams = notice.stream.and_then(|stream| by_stream.get(&stream));
                    for &watch in named.into_iter().chain(streams.into_iter().flatten()) {
                        watches[watch].notices.push((index, notice));
                    }
                }
                _ => {}
            }
        }
        Ok(Watches { watches })
    }

    pub(super) fn all(&self) -> &[Heard<'a>] {
        &self.watches
    }

    /// What a watch did that it must not whatever happened to the keys.
    pub(super) fn find_wrong(
        &self,
        log: &Log<'_>,
        order: &Order,
        compactions: &Compactions,
    ) -> Option<Violation> {
        self.watches
            .iter()
            .find_map(|heard| heard.find_wrong(log, order, compactions))
    }

    /// What watches have been told everything about.
    pub(super) fn coverage(&self, log: &Log<'_>) -> Coverage {
        let mut coverage = Coverage {
            by_key: vec![Vec::new(); log.keys.len()],
            ..Coverage::default()
        };
        for (index, heard) in self.watches.iter().enumerate() {
            let events = heard.notices.iter().flat_map(|(_, notice)| &notice.events);
            let places = events.map(|event| (log.key(event.key()), event.revision()));
            coverage.heard.push(places.collect());
            coverage.requests.push(heard.request);
            let notices = heard
                .notices
                .iter()
                .map(|(notice, _)| (*notice, heard.request));
            coverage.asked.extend(notices);
            let (through, last) = heard.frontier(log);
            coverage.last.push(last);
            let Some(from) = heard.from else { continue };
            for key in log.span(&heard.watch.span) {
                coverage.by_key[key].push(Covered {
                    watch: index,
                    from,
                    through,
                    puts: !heard.watch.no_put,
                    deletions: !heard.watch.no_delete,
                });
            }
        }
        coverage
    }

    /// Adds what watches heard to what is known of the keys.
    pub(super) fn tell(
        &self,
        log: &'a Log<'_>,
        order: &Order,
        compactions: &Compactions,
        facts: &mut Facts<'a>,
    ) {
        for heard in &self.watches {
            for &(entry, notice) in &heard.notices {
                for event in &notice.events {
                    heard.tell(log, (order, compactions), entry, event, facts);
                }
            }
        }
    }
}

impl<'a> Heard<'a> {
    /// Up to which revision it has been told everything, and by which notice.
    fn frontier(&self, log: &Log<'_>) -> (i64, Option<usize>) {
        let mut frontier = (0, None);
        for &(entry, notice) in &self.notices {
            let through = match notice.events.last() {
                Some(event) if notice.fragment => event.revision() - 1,
                Some(event) => event.revision(),
                None if notice.compacted.is_some() => 0,
                None => log.entries[entry].header(),
            };
            if through > frontier.0 {
                frontier = (through, Some(entry));
            }
        }
        frontier
    }

    fn tell(
        &self,
        log: &Log<'_>,
        (order, compactions): (&Order, &Compactions),
        entry: usize,
        event: &'a WatchEvent<'a>,
        facts: &mut Facts<'a>,
    ) {
        let key = log.key(event.key());
        let revision = event.revision();
        let (seen, previous, is_creation) = match event {
            WatchEvent::Put(kv, previous) => (Seen::Writing(kv), previous, kv.4 == 1),
            WatchEvent::Delete(_, _, previous) => (Seen::Deletion, previous, false),
        };
        let fact = |revision, seen, how| Fact {
            revision,
            seen,
            how,
            entry,
        };
        facts.fact(key, fact(revision, seen, How::Event));
        if !self.watch.prev_kv {
            return;
        }
        let seen = match previous {
            Some(previous) => Seen::Version(previous),
            // What is compacted cannot be sent.
            None if !is_creation
                && compactions.may_reach(revision, log.operation(entry).completed, order) =>
            {
                return;
            }
            None => Seen::Absent,
        };
        facts.fact(key, fact(revision - 1, seen, How::EventPrevious));
    }

    fn find_wrong(
        &self,
        log: &Log<'_>,
        order: &Order,
        compactions: &Compactions,
    ) -> Option<Violation> {
        let name = self.watch.watch;
        let violation = |kind: Kind, sentence: String, entries: &[usize]| {
            let operations = [self.request].into_iter().chain(entries.iter().copied());
            let witness = operations.map(|entry| log.operation(entry));
            Some(Violation::new(Class::Safety, kind, sentence, witness))
        };
        let keys = log.span(&self.watch.span);
        let mut heard: BTreeMap<(i64, &str), usize> = BTreeMap::new();
        // The last revision that was told of, by which notice, and whether the
        // notice goes on.
        let mut last: Option<(i64, usize, bool)> = None;
        let mut progress: Option<(i64, usize)> = None;
        for &(entry, notice) in &self.notices {
            let header = log.entries[entry].header();
            if let Some(compacted) = notice.compacted {
                let next = last.map(|(revision, ..)| revision + 1).or(self.from);
                let event = log.operation(entry).completed;
                if next.is_some_and(|next| next >= compacted)
                    || !compactions.may_reach(compacted, event, order)
                {
                    let sentence = format!(
                        "watch {name} was ended because everything before revision {compacted} \
                         were compacted, but that was not so, or nothing that it had not heard of"
                    );
                    return violation(FALSE_COMPACTED, sentence, &[entry]);
                }
                continue;
            }
            if notice.events.is_empty() {
                if let Some((known, before, _)) = last.filter(|(known, ..)| header < *known) {
                    let sentence = format!(
                        "watch {name} was told that it had heard of everything up to revision \
                         {header} after it had heard of revision {known}"
                    );
                    return violation(WATCH_PROGRESS, sentence, &[before, entry]);
                }
                if let Some((told, before)) = progress.filter(|(told, _)| header < *told) {
                    let sentence = format!(
                        "watch {name} was told that it had heard of everything up to revision \
                         {header} after it had been told so of revision {told}"
                    );
                    return violation(WATCH_PROGRESS, sentence, &[before, entry]);
                }
                progress = Some((header, entry));
                continue;
            }
            for event in &notice.events {
                let (key, revision) = (event.key(), event.revision());
                let what = format!("watch {name} heard of `{key}` at revision {revision}");
                let is_wanted = match event {
                    WatchEvent::Put(..) => !self.watch.no_put,
                    WatchEvent::Delete(..) => !self.watch.no_delete,
                };
                if !keys.contains(&log.key(key)) || !is_wanted {
                    let sentence = format!("{what}, which it had not asked for");
                    return violation(WATCH_FILTER, sentence, &[entry]);
                }
                if let Some(from) = self.from.filter(|from| revision < *from) {
                    let sentence = format!("{what}, but it begins at revision {from}");
                    return violation(WATCH_START, sentence, &[entry]);
                }
                if let Some(&before) = heard.get(&(revision, key)) {
                    let sentence = format!("{what} twice");
                    return violation(WATCH_DUPLICATE, sentence, &[before, entry]);
                }
                heard.insert((revision, key), entry);
                if let Some((known, before, _)) = last.filter(|(known, ..)| revision < *known) {
                    let sentence = format!("{what} after it had heard of revision {known}");
                    return violation(WATCH_UNORDERED, sentence, &[before, entry]);
                }
                if let Some((told, before)) = progress.filter(|(told, _)| revision <= *told) {
                    let sentence = format!(
                        "{what} after it had been told that it had heard of everything up to \
                         revision {told}"
                    );
                    return violation(WATCH_PROGRESS, sentence, &[before, entry]);
                }
                if let Some((_, before, false)) =
                    last.filter(|(known, before, _)| *known == revision && *before != entry)
                {
                    let sentence = format!("{what} in another answer than of the rest of it");
                    return violation(WATCH_TORN, sentence, &[before, entry]);
                }
                if revision > header {
                    let sentence = format!("{what}, under a header of revision {header}");
                    return violation(WATCH_HEADER, sentence, &[entry]);
                }
                last = Some((revision, entry, notice.fragment));
            }
            if let Some((_, _, goes_on)) = &mut last {
                *goes_on = notice.fragment;
            }
        }
        None
    }
}

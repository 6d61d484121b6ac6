//! Versions that contradict each other, however many writes of unknown outcome happened.
//!
//! ```text
//! seen of a     version 3                          version 6      3 puts between
//! revision      10        12         14            17
//! put a         |         answered   unknown       answered       1 of unknown outcome
//! ```
//!
//! A version counts the puts since its key was created. So between two versions of one creation
//! there were as many as their numbers differ; those whose revision is not known took free
//! revisions there, and had been asked for by then. That is counted for each key by itself, from
//! its first version on: as many as were needed up to one must have been asked for before it. What
//! fails here fails however the search places them, which would try all ways to do it.
//!
//! And what is said of one version is the same whenever it is seen, and as it was written.
//!
//! O(n log n) for n answers.

use std::fmt;

use super::explain::in_context;
use super::facts::{Change, Effect, Fact, Seen};
use super::kinds::{WRONG_LEASE, WRONG_VERSION};
use super::log::puts;
use super::message::{EARLIER, KeyValue, UNKNOWN};
use super::solve::{Contradiction, Solver};
use crate::verdict::{Kind, count};

/// A version that an answer or a watch showed.
#[derive(Clone, Copy)]
struct Shown<'a> {
    fact: Fact<'a>,
    kv: &'a KeyValue<'a>,
}

/// Between two versions of one creation.
struct Between<'a> {
    /// The first of them, if it is not the creation itself.
    from: Option<Shown<'a>>,
    start: i64,
    to: Shown<'a>,
    /// How many puts there were.
    needed: i64,
    /// How many of these are not known.
    hidden: usize,
}

impl Between<'_> {
    fn end(&self) -> i64 {
        self.to.kv.3
    }

    fn entries(&self) -> impl Iterator<Item = usize> {
        let from = self.from.map(|from| from.fact.entry);
        from.into_iter().chain([self.to.fact.entry])
    }
}

/// The first key whose versions contradict each other.
pub(super) fn find_wrong<'a>(solver: &Solver<'a>) -> Option<Contradiction<'a>> {
    (0..solver.log.keys.len()).find_map(|key| {
        let shown = shown(solver, key);
        find_unlike(solver, key, &shown).or_else(|| find_miscounted(solver, key, &shown))
    })
}

/// The versions of a key that were seen, in the order in which they were written.
fn shown<'a>(solver: &Solver<'a>, key: usize) -> Vec<Shown<'a>> {
    let facts = solver.facts.facts[key].iter();
    let shown = facts.filter_map(|fact| match fact.seen {
        Seen::Version(kv) | Seen::Writing(kv) if kv.3 != UNKNOWN => Some(Shown { fact: *fact, kv }),
        _ => None,
    });
    let mut shown: Vec<Shown<'a>> = shown.collect();
    shown.sort_by_key(|shown| (shown.kv.3, shown.fact.entry));
    shown
}

/// Two that tell different things of one version, or one that tells another lease than its write.
fn find_unlike<'a>(
    solver: &Solver<'a>,
    key: usize,
    shown: &[Shown<'a>],
) -> Option<Contradiction<'a>> {
    let name = &solver.log.keys[key];
    let differs = |kind: Kind, one: &Shown<'a>, other: &Shown<'a>| {
        let sentence = format!(
            "`{name}` was seen as {}, and as {}",
            one.kv_of(),
            other.kv_of()
        );
        let kind = in_context(kind, other.fact.how);
        told(kind, sentence, [one.fact.entry, other.fact.entry])
    };
    for of_one in shown.chunk_by(|one, other| one.kv.3 == other.kv.3) {
        let mut with_value = of_one.iter().filter(|shown| shown.kv.1.is_some());
        if let Some(first) = with_value.next()
            && let Some(other) = with_value.find(|other| other.kv.1 != first.kv.1)
        {
            return Some(differs(WRONG_VERSION, first, other));
        }
        for field in [create, version, lease] {
            let mut known = of_one.iter().filter(|shown| field(shown.kv).is_some());
            let Some(first) = known.next() else { continue };
            if let Some(other) = known.find(|other| field(other.kv) != field(first.kv)) {
                let is_lease = lease(first.kv) != lease(other.kv);
                let kind = if is_lease { WRONG_LEASE } else { WRONG_VERSION };
                return Some(differs(kind, first, other));
            }
        }
        let with_value = of_one.iter().find(|shown| shown.kv.1.is_some());
        let with_lease = of_one.iter().find(|shown| lease(shown.kv).is_some());
        let (Some(one), Some(other)) = (with_value, with_lease) else {
            continue;
        };
        let place = (key, one.kv.1.clone()?);
        let writer = solver.log.writers.get(&place);
        let Some(writer) = writer.filter(|_| !solver.log.repeated.contains(&place)) else {
            continue;
        };
        let of_key = |put: &super::message::Put<'_>| put.key == *name;
        let wrote = puts(&solver.log.entries[writer.entry].call);
        let mut wrote = wrote
            .into_iter()
            .filter(|(put, branch)| of_key(put) && *branch == writer.branch);
        let (put, _) = wrote.next()?;
        if lease(other.kv) != Some(put.lease) {
            let attached = |lease: i64| match lease {
                0 => "no lease".to_owned(),
                lease => format!("lease {lease}"),
            };
            let sentence = format!(
                "`{name}` was seen as {}, but it was written with {}, and is said to have {}",
                other.kv_of(),
                attached(put.lease),
                attached(other.kv.5)
            );
            let kind = in_context(WRONG_LEASE, other.fact.how);
            let entries = [writer.entry, one.fact.entry, other.fact.entry];
            return Some(told(kind, sentence, entries));
        }
    }
    None
}

/// Versions between which there was not room for as many puts as they count, or that count more
/// than had been asked for.
fn find_miscounted<'a>(
    solver: &Solver<'a>,
    key: usize,
    shown: &[Shown<'a>],
) -> Option<Contradiction<'a>> {
    let name = &solver.log.keys[key];
    let mut asked: Vec<i64> = Vec::new();
    for one in solver.pending.iter().filter(|one| !one.is_placed) {
        let effects = one.branches.iter().flat_map(|branch| &branch.effects);
        let mut puts = effects.filter(|(of, effect)| *of == key && is_put(effect));
        asked.extend(puts.next().map(|_| one.after));
    }
    asked.sort_unstable();
    let mut before: Vec<Between<'a>> = Vec::new();
    for between in betweens(solver, key, shown) {
        let needed = count(u64::try_from(between.needed).unwrap_or(0), "put");
        let since = format!(
            "`{name}` was seen as {}, so there were {needed} since revision {}",
            between.to.kv_of(),
            between.start
        );
        let known = known_puts(solver, key, &between);
        if between.needed < known.len() as i64 {
            let sentence = format!("{since}, but {} are known", known.len());
            let enough = usize::try_from(between.needed + 1).unwrap_or(1);
            let known = known.iter().take(enough.max(1));
            let known = known.flat_map(|change| entries_of(solver, shown, change));
            return Some(miscounted(&between, sentence, known));
        }
        let room = solver.gaps.within(between.start + 1, between.end());
        let room = room.take(between.hidden).count();
        if room < between.hidden {
            let sentence = format!(
                "{since}; {} are not known, and no more than {room} of the revisions there can be \
                 theirs",
                between.hidden
            );
            return Some(miscounted(&between, sentence, []));
        }
        let available = asked.partition_point(|after| *after < between.end());
        let end = between.end();
        before.push(between);
        // The fewest versions, back from here, that need more.
        let mut hidden = 0;
        let first = before.iter().rposition(|one| {
            hidden += one.hidden;
            hidden > available
        });
        if let Some(first) = first {
            let between = &before[before.len() - 1];
            let sentence = format!(
                "`{name}` was seen as {}, so since revision {} there were {} that are not known, \
                 but by revision {end} only {available} of unknown outcome had been asked for",
                between.to.kv_of(),
                before[first].start,
                count(hidden as u64, "put"),
            );
            let others = before[first..].iter().flat_map(Between::entries);
            return Some(miscounted(between, sentence, others));
        }
        if before.last().is_some_and(|one| one.hidden == 0) {
            before.pop();
        }
    }
    None
}

/// What lies between each version of a creation and the next that was seen.
fn betweens<'a>(solver: &Solver<'a>, key: usize, shown: &[Shown<'a>]) -> Vec<Between<'a>> {
    let mut betweens = Vec::new();
    let mut last: Option<(i64, i64, i64, Option<Shown<'a>>)> = None;
    for one in shown {
        let (Some(created), Some(number)) = (create(one.kv), version(one.kv)) else {
            continue;
        };
        let known = last.filter(|(creation, ..)| *creation == created);
        let (_, start, before, from) = known.unwrap_or((created, created, 1, None));
        last = Some((created, one.kv.3, number, Some(*one)));
        if one.kv.3 <= start && number == before {
            continue;
        }
        let mut between = Between {
            from,
            start,
            to: *one,
            needed: number - before,
            hidden: 0,
        };
        let known = known_puts(solver, key, &between).len();
        let needed = usize::try_from(between.needed).unwrap_or(0);
        between.hidden = needed.saturating_sub(known);
        betweens.push(between);
    }
    betweens
}

/// The puts between two versions, and the second itself, whose revision is known.
fn known_puts<'a>(solver: &Solver<'a>, key: usize, between: &Between<'a>) -> Vec<Change<'a>> {
    let changes = &solver.facts.changes[key];
    let first = changes.partition_point(|change| change.revision <= between.start);
    let changes = changes[first..].iter();
    let there = changes.take_while(|change| change.revision <= between.end());
    there
        .filter(|change| is_put(&change.effect))
        .copied()
        .collect()
}

/// The operation that made a change, or who saw it if nobody was told.
fn entries_of<'a>(solver: &Solver<'a>, shown: &[Shown<'a>], change: &Change<'a>) -> Option<usize> {
    let super::facts::By::Entry(entry) = change.by else {
        return None;
    };
    let seen = || shown.iter().find(|shown| shown.kv.3 == change.revision);
    match solver.log.entries[entry].wrote() {
        true => Some(entry),
        false => seen().map(|shown| shown.fact.entry),
    }
}

fn miscounted<'a>(
    between: &Between<'a>,
    sentence: String,
    others: impl IntoIterator<Item = usize>,
) -> Contradiction<'a> {
    let kind = in_context(WRONG_VERSION, between.to.fact.how);
    told(kind, sentence, between.entries().chain(others))
}

fn told<'a>(
    kind: Kind,
    sentence: String,
    entries: impl IntoIterator<Item = usize>,
) -> Contradiction<'a> {
    Contradiction::Told {
        kind,
        sentence,
        entries: entries.into_iter().collect(),
    }
}

fn is_put(effect: &Effect<'_>) -> bool {
    matches!(effect, Effect::Put { .. })
}

fn create(kv: &KeyValue<'_>) -> Option<i64> {
    Some(kv.2).filter(|create| ![UNKNOWN, EARLIER].contains(create))
}

fn version(kv: &KeyValue<'_>) -> Option<i64> {
    Some(kv.4).filter(|version| *version != UNKNOWN)
}

fn lease(kv: &KeyValue<'_>) -> Option<i64> {
    Some(kv.5).filter(|lease| *lease != UNKNOWN)
}

impl Shown<'_> {
    fn kv_of(&self) -> impl fmt::Display {
        let KeyValue(_, value, created, modified, number, attached) = self.kv;
        let value = value.as_ref().map_or("a value", |value| value.as_ref());
        let mut text = format!("\"{value}\" of revision {modified}");
        if *number != UNKNOWN {
            text += &format!(", version {number}");
        }
        if create(self.kv).is_some() {
            text += &format!(", created at revision {created}");
        }
        if lease(self.kv).is_some_and(|lease| lease > 0) {
            text += &format!(", attached to lease {attached}");
        }
        text
    }
}

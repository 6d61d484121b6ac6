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

use std::collections::BTreeSet;

use super::explain::{in_context, other_lease, show};
use super::facts::{By, Change, Effect, Fact, Seen};
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
    /// Those whose revision is known, the second version's among them.
    known: Vec<Change<'a>>,
}

impl Between<'_> {
    fn end(&self) -> i64 {
        self.to.kv.3
    }

    /// How many puts are not known.
    fn hidden(&self) -> usize {
        let needed = usize::try_from(self.needed).unwrap_or(0);
        needed.saturating_sub(self.known.len())
    }

    fn entries(&self) -> impl Iterator<Item = usize> {
        let from = self.from.map(|from| from.fact.entry);
        from.into_iter().chain([self.to.fact.entry])
    }
}

/// The first key whose versions contradict each other.
pub(super) fn find_wrong<'a>(solver: &Solver<'a>) -> Option<Contradiction<'a>> {
    let asked = asked(solver);
    asked.iter().enumerate().find_map(|(key, asked)| {
        let shown = shown(solver, key);
        find_unlike(solver, key, &shown).or_else(|| find_miscounted(solver, key, &shown, asked))
    })
}

/// By key the last revision before each put of unknown outcome can have happened, in order.
fn asked(solver: &Solver<'_>) -> Vec<Vec<i64>> {
    let mut asked = vec![Vec::new(); solver.log.keys.len()];
    for one in solver.pending.iter().filter(|one| !one.is_placed) {
        let effects = one.branches.iter().flat_map(|branch| &branch.effects);
        let puts = effects.filter(|(_, effect)| is_put(effect));
        // Of two branches one is taken.
        let keys: BTreeSet<usize> = puts.map(|(key, _)| *key).collect();
        for key in keys {
            asked[key].push(one.after);
        }
    }
    asked.iter_mut().for_each(|asked| asked.sort_unstable());
    asked
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
    let mut of_each = shown.chunk_by(|one, other| one.kv.3 == other.kv.3);
    of_each.find_map(|of_one| {
        if let Some((one, other)) = differing(of_one, |kv| kv.1.as_ref())
            .or_else(|| differing(of_one, create))
            .or_else(|| differing(of_one, version))
            .or_else(|| differing(of_one, lease))
        {
            let is_lease = lease(one.kv) != lease(other.kv);
            let kind = if is_lease { WRONG_LEASE } else { WRONG_VERSION };
            let (first, second) = (one.told(), other.told());
            let sentence = format!("`{name}` was seen as {first}, and as {second}");
            let entries = [one.fact.entry, other.fact.entry];
            return Some(told(in_context(kind, other.fact.how), sentence, entries));
        }
        let one = of_one.iter().find(|shown| shown.kv.1.is_some())?;
        let other = of_one.iter().find(|shown| lease(shown.kv).is_some())?;
        let writer = solver.log.only_writer(&(key, one.kv.1.clone()?))?;
        let wrote = puts(&solver.log.entries[writer.entry].call);
        let mut wrote = wrote.into_iter();
        let (put, _) = wrote.find(|(put, branch)| put.key == *name && *branch == writer.branch)?;
        (lease(other.kv) != Some(put.lease)).then(|| {
            let why = other_lease(put.lease, other.kv.5);
            let sentence = format!("`{name}` was seen as {}, but {why}", other.told());
            let entries = [writer.entry, one.fact.entry, other.fact.entry];
            told(in_context(WRONG_LEASE, other.fact.how), sentence, entries)
        })
    })
}

/// The first that tells this of a version, and one that tells something else.
fn differing<'s, 'a, T: PartialEq>(
    of_one: &'s [Shown<'a>],
    told: impl Fn(&'a KeyValue<'a>) -> Option<T>,
) -> Option<(&'s Shown<'a>, &'s Shown<'a>)> {
    let mut known = of_one.iter().filter(|shown| told(shown.kv).is_some());
    let first = known.next()?;
    let other = known.find(|other| told(other.kv) != told(first.kv))?;
    Some((first, other))
}

/// Versions between which there was not room for as many puts as they count, or that count more
/// than had been asked for.
fn find_miscounted<'a>(
    solver: &Solver<'a>,
    key: usize,
    shown: &[Shown<'a>],
    asked: &[i64],
) -> Option<Contradiction<'a>> {
    let betweens = betweens(solver, key, shown);
    let name = &solver.log.keys[key];
    let seen = |between: &Between<'a>| format!("`{name}` was seen as {}", between.to.told());
    let since = |between: &Between<'a>| {
        let needed = count(u64::try_from(between.needed).unwrap_or(0), "put");
        let (seen, start) = (seen(between), between.start);
        format!("{seen}, so there were {needed} since revision {start}")
    };
    let mut all_hidden = 0;
    for (place, between) in betweens.iter().enumerate() {
        if between.needed < between.known.len() as i64 {
            let (since, known) = (since(between), between.known.len());
            let sentence = format!("{since}, but {known} are known");
            let enough = usize::try_from(between.needed).unwrap_or(0) + 1;
            let enough = between.known.iter().take(enough);
            let enough = enough.filter_map(|change| entry_of(solver, shown, change));
            return Some(miscounted(between, sentence, enough));
        }
        let hidden = between.hidden();
        let room = solver.gaps.within(between.start + 1, between.end());
        let room = room.take(hidden).count();
        if room < hidden {
            let sentence = format!(
                "{}; {hidden} are not known, and no more than {room} of the revisions there can \
                 be theirs",
                since(between)
            );
            return Some(miscounted(between, sentence, []));
        }
        all_hidden += hidden;
        let end = between.end();
        let available = asked.partition_point(|after| *after < end);
        if all_hidden > available {
            // The fewest versions, back from here, that need more.
            let mut hidden = 0;
            let first = betweens[..=place].iter().rposition(|one| {
                hidden += one.hidden();
                hidden > available
            })?;
            let sentence = format!(
                "{}, so since revision {} there were {} that are not known, but by revision {end} \
                 only {available} of unknown outcome had been asked for",
                seen(between),
                betweens[first].start,
                count(hidden as u64, "put"),
            );
            let needing = betweens[first..=place]
                .iter()
                .filter(|one| one.hidden() > 0);
            return Some(miscounted(
                between,
                sentence,
                needing.flat_map(Between::entries),
            ));
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
        betweens.push(Between {
            from,
            start,
            to: *one,
            needed: number - before,
            known: known_puts(solver, key, start, one.kv.3),
        });
    }
    betweens
}

/// The puts after one revision and up to another one that are known.
fn known_puts<'a>(solver: &Solver<'a>, key: usize, start: i64, end: i64) -> Vec<Change<'a>> {
    let changes = &solver.facts.changes[key];
    let first = changes.partition_point(|change| change.revision <= start);
    let there = changes[first..].iter();
    let there = there.take_while(|change| change.revision <= end);
    there
        .filter(|change| is_put(&change.effect))
        .copied()
        .collect()
}

/// The operation that made a change, or who saw it if nobody was told.
fn entry_of<'a>(solver: &Solver<'a>, shown: &[Shown<'a>], change: &Change<'a>) -> Option<usize> {
    let By::Entry(entry) = change.by else {
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
    fn told(&self) -> String {
        let mut text = show(self.kv);
        if let Some(created) = create(self.kv) {
            text += &format!(", created at revision {created}");
        }
        if let Some(attached) = lease(self.kv).filter(|lease| *lease > 0) {
            text += &format!(", attached to lease {attached}");
        }
        text
    }
}

//! Operations that prove a violation by themselves, whatever came of all others.
//!
//! What contradicts what first need be no proof. Writes of unknown outcome might explain it, and
//! each of the things that may have happened is refuted by something else; or it rests on
//! operations that are not listed; or fewer would do. So the history is judged again with only
//! these answers known (`reduced`), and if that is not wrong, with more of them, the nearest first
//! and twice as many each time, until it is. Then as many are taken away again as can be, in
//! halves first and in the end each by itself.
//!
//! What a watch heard is known as a whole, or not at all: that a change is missing shows only
//! in all of it.
//!
//! O(n) and a search for each of at most `JUDGED_MAX` histories.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::explanation;
use super::kinds::NEVER_WRITTEN;
use super::log::{Call, Log};
use super::reduced::{concerned, reduced, touched};
use crate::history::Outcome;
use crate::search::Budget;
use crate::verdict::{Kind, MAY_BE_FEWER, Verdict, Violation, WitnessOperation};

/// How many histories are judged, at most.
const JUDGED_MAX: u32 = 128;

/// The part of the budget that each may take.
const BUDGET_DIVISOR: u32 = 400;

/// More operations than these nobody reads.
const LISTED_MAX: usize = 32;

/// Lists operations that prove it by themselves instead of those that are listed, or says that
/// they do not, and what is wrong otherwise.
pub(super) fn prove(log: &Log<'_>, violation: &mut Violation, otherwise: Option<Violation>) {
    let units = Units::of(log);
    prove_with(&mut Search::of(log, &units), violation, otherwise);
}

/// As [`prove`], with this search.
fn prove_with(
    search: &mut Search<'_, '_>,
    violation: &mut Violation,
    otherwise: Option<Violation>,
) {
    let (log, units) = (search.log, search.units);
    let mut listed = entries_of(log, violation);
    listed.extend(otherwise.iter().flat_map(|other| entries_of(log, other)));
    let found = search.proof(&listed);
    let Some((known, proven)) = found.filter(|(known, _)| known.len() <= LISTED_MAX) else {
        let note = "these operations prove it only together with others that are not listed";
        violation.also.push(note.to_owned());
        return otherwise.map_or((), |otherwise| unless(violation, otherwise));
    };
    violation.kind = proven.violation.kind;
    violation.sentence = given_what_is_listed(&proven.violation.sentence);
    let mut named = entries_of(log, &proven.violation);
    named.extend(listed);
    let shown = units.shown(&known, &named);
    let shown = shown.iter().map(|entry| log.operation(*entry));
    violation.witness = shown.map(WitnessOperation::of).collect();
    if !search.is_certain {
        violation.also.push(MAY_BE_FEWER.to_owned());
    }
}

/// Leaves out what is listed without need, where what is listed proves it by itself; if it does
/// not, lists what does.
pub(super) fn tighten(log: &Log<'_>, violation: &mut Violation) {
    let units = Units::of(log);
    let mut search = Search::of(log, &units);
    let listed = entries_of(log, violation);
    let start = units.of_entries(log, &listed);
    let Some(proven) = search.judge(&start) else {
        if search.is_certain {
            prove_with(&mut search, violation, None);
        }
        return;
    };
    if proven.violation.kind != violation.kind {
        return;
    }
    // What is left must be wrong in the same way: that a transaction was torn is not told by a
    // revision which it cannot have had, either.
    search.kind = Some(violation.kind);
    let mut found = (start, proven);
    search.without_any(&mut found);
    let (known, proven) = found;
    let shown = units.shown(&known, &listed);
    let mut needed = entries_of(log, &proven.violation);
    needed.extend(&shown);
    // Whoever asked for what is seen is listed whatever came of it, if it were another thing
    // without that.
    let is_asked_for = violation.kind == NEVER_WRITTEN;
    needed.retain(|entry| {
        shown.contains(entry) || is_asked_for || search.judge_without(&known, *entry).is_none()
    });
    if !search.is_certain {
        violation.also.push(MAY_BE_FEWER.to_owned());
    }
    if listed.is_subset(&needed) {
        return;
    }
    let needed = needed.iter().map(|entry| log.operation(*entry));
    violation.sentence = match proven.is_whatever_came {
        true => given_what_is_listed(&proven.violation.sentence),
        false => proven.violation.sentence,
    };
    violation.witness = needed.map(WitnessOperation::of).collect();
}

fn given_what_is_listed(sentence: &str) -> String {
    format!("given the operations that are listed, and whatever came of the rest, {sentence}")
}

/// Something else could explain it, if that were not impossible too.
fn unless(violation: &mut Violation, otherwise: Violation) {
    if violation.sentence != otherwise.sentence {
        violation.sentence += &format!(
            "; and if something of which nobody was told had happened: {}",
            otherwise.sentence
        );
    }
    violation.witness.extend(otherwise.witness);
    violation.witness.sort_by_key(|operation| operation.event);
    violation.witness.dedup_by_key(|operation| operation.event);
}

/// The operations that a violation lists.
fn entries_of(log: &Log<'_>, violation: &Violation) -> BTreeSet<usize> {
    let event = |entry: &super::log::Entry<'_>| entry.operation.event();
    let witness = violation.witness.iter();
    let listed =
        witness.filter_map(|told| log.entries.binary_search_by_key(&told.event, event).ok());
    listed.collect()
}

/// What is known or not known together: a request with its answer, or a watch with all that it
/// heard. What has no answer is none of it.
struct Units {
    entries: Vec<Vec<usize>>,
    /// The units of each operation.
    of: BTreeMap<usize, Vec<usize>>,
}

impl Units {
    fn of(log: &Log<'_>) -> Self {
        let mut units = Units {
            entries: Vec::new(),
            of: BTreeMap::new(),
        };
        let mut by_name: BTreeMap<u64, usize> = BTreeMap::new();
        let mut by_stream: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (index, entry) in log.entries.iter().enumerate() {
            match &entry.call {
                Call::Notice(notice) => {
                    let named = notice.watch.and_then(|watch| by_name.get(&watch));
                    let streams = notice.stream.and_then(|stream| by_stream.get(&stream));
                    for &unit in named.into_iter().chain(streams.into_iter().flatten()) {
                        units.entries[unit].push(index);
                        units.of.entry(index).or_default().push(unit);
                    }
                    continue;
                }
                Call::Follow => continue,
                Call::Watch(watch, _) => {
                    by_name.insert(watch.watch, units.entries.len());
                    if let Some(stream) = watch.stream {
                        by_stream
                            .entry(stream)
                            .or_default()
                            .push(units.entries.len());
                    }
                }
                _ if !matches!(entry.operation.outcome(), Outcome::Ok | Outcome::Fail) => continue,
                _ => {}
            }
            units.of.insert(index, vec![units.entries.len()]);
            units.entries.push(vec![index]);
        }
        units
    }

    /// Those of these operations; of a notice the watches that are listed with it, if any are.
    fn of_entries(&self, log: &Log<'_>, entries: &BTreeSet<usize>) -> Vec<usize> {
        let is_notice = |entry: usize| matches!(log.entries[entry].call, Call::Notice(_));
        let mut units: BTreeSet<usize> = BTreeSet::new();
        let (notices, others): (Vec<usize>, Vec<usize>) =
            entries.iter().partition(|entry| is_notice(**entry));
        for entry in others {
            units.extend(self.of.get(&entry).into_iter().flatten());
        }
        for entry in notices {
            let of_notice = self.of.get(&entry).into_iter().flatten();
            if !of_notice.clone().any(|unit| units.contains(unit)) {
                units.extend(of_notice);
            }
        }
        units.into_iter().collect()
    }

    fn known(&self, units: &[usize]) -> BTreeSet<usize> {
        let entries = units.iter().flat_map(|unit| &self.entries[*unit]);
        entries.copied().collect()
    }

    /// The operations to show: of all that a watch heard those that were named, or else the
    /// last.
    fn shown(&self, units: &[usize], named: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut shown = BTreeSet::new();
        for unit in units {
            let (request, heard) = self.entries[*unit].split_first().expect("it has one");
            shown.insert(*request);
            let of_those = heard.iter().filter(|notice| named.contains(notice));
            let before = shown.len();
            shown.extend(of_those);
            if shown.len() == before {
                shown.extend(heard.last());
            }
        }
        shown
    }
}

/// What is wrong whatever came of what is not known.
struct Proven {
    violation: Violation,
    /// Whether writes of unknown outcome might explain what it says, and something else is wrong
    /// then.
    is_whatever_came: bool,
}

struct Search<'s, 'h> {
    log: &'s Log<'h>,
    units: &'s Units,
    budget: Budget,
    /// How many histories may still be judged.
    left: u32,
    /// Whether each of those that are left is known to be needed.
    is_certain: bool,
    /// What it must be that is wrong, if it must be the same.
    kind: Option<Kind>,
}

impl<'s, 'h> Search<'s, 'h> {
    fn of(log: &'s Log<'h>, units: &'s Units) -> Self {
        Search {
            log,
            units,
            budget: Budget {
                time: Some(log.budget.time.unwrap_or(Duration::from_secs(60)) / BUDGET_DIVISOR),
                ..log.budget
            },
            left: JUDGED_MAX,
            is_certain: true,
            kind: None,
        }
    }

    /// A proof, and what it proves.
    fn proof(&mut self, listed: &BTreeSet<usize>) -> Option<(Vec<usize>, Proven)> {
        let start = self.units.of_entries(self.log, listed);
        let mut found = self.with_nearest(start)?;
        self.is_certain = true;
        self.without_any(&mut found);
        Some(found)
    }

    /// Takes away what can be, in halves first and in the end each by itself.
    fn without_any(&mut self, found: &mut (Vec<usize>, Proven)) {
        let mut size = found.0.len();
        while size > 1 {
            size = size.div_ceil(2);
            self.without(size, found);
        }
    }

    /// What is wrong when only this is known.
    fn judge(&mut self, units: &[usize]) -> Option<Proven> {
        self.judged(units, None)
    }

    /// The same if one operation had never been asked for.
    fn judge_without(&mut self, units: &[usize], entry: usize) -> Option<Proven> {
        self.judged(units, Some(entry))
    }

    fn judged(&mut self, units: &[usize], without: Option<usize>) -> Option<Proven> {
        if self.left == 0 {
            self.is_certain = false;
            return None;
        }
        self.left -= 1;
        let known = self.units.known(units);
        let reduced = reduced(self.log, &known, without, self.budget).ok();
        let verdict = reduced.map(|reduced| explanation(&reduced));
        let Some(Ok(verdict)) = verdict else {
            self.is_certain = false;
            return None;
        };
        let found = *verdict.err()?;
        match found.verdict {
            Verdict::Violation(violation) => {
                let is_it = self.kind.is_none_or(|kind| kind == violation.kind);
                let proven = Proven {
                    violation,
                    is_whatever_came: found.otherwise.is_some(),
                };
                is_it.then_some(proven)
            }
            _ => {
                self.is_certain = false;
                None
            }
        }
    }

    /// Adds the nearest, twice as many each time, until it is wrong.
    fn with_nearest(&mut self, start: Vec<usize>) -> Option<(Vec<usize>, Proven)> {
        if let Some(proven) = self.judge(&start) {
            return Some((start, proven));
        }
        let nearest = self.nearest(&start);
        let (mut units, mut rest) = (start, &nearest[..]);
        let mut size = 2;
        while !rest.is_empty() && self.left > 0 {
            let (next, others) = rest.split_at(size.min(rest.len()));
            units.extend(next);
            rest = others;
            size *= 2;
            if let Some(proven) = self.judge(&units) {
                return Some((units, proven));
            }
        }
        None
    }

    /// All others, nearest first: those that tell of the same keys or of leases before others,
    /// and by how far their revisions are.
    fn nearest(&self, start: &[usize]) -> Vec<usize> {
        let log = self.log;
        let known = self.units.known(start);
        let keys = concerned(log, &known);
        let revisions = known.iter().map(|entry| log.entries[*entry].header());
        let revisions = revisions.filter(|revision| *revision > 0);
        let low = revisions.clone().min().unwrap_or(0);
        let high = revisions.max().unwrap_or(0);
        let distance = |entry: &usize| {
            let header = log.entries[*entry].header();
            let is_about_keys = touched(log, *entry)
                .into_iter()
                .any(|span| keys.range(span).next().is_some());
            let is_about_leases = !matches!(
                log.entries[*entry].call,
                Call::Range(..) | Call::Put(..) | Call::Delete(..) | Call::Txn(..)
            );
            let far = (low - header).max(header - high).max(0);
            (!is_about_keys && !is_about_leases, far)
        };
        let others = (0..self.units.entries.len()).filter(|unit| !start.contains(unit));
        let mut others: Vec<usize> = others.collect();
        others.sort_by_cached_key(|unit| self.units.entries[*unit].iter().map(distance).min());
        others
    }

    /// Takes away so many at a time, the last first, where it is wrong without them.
    fn without(&mut self, size: usize, found: &mut (Vec<usize>, Proven)) {
        let mut end = found.0.len();
        while end > 0 {
            let start = end.saturating_sub(size);
            let mut fewer = found.0.clone();
            fewer.drain(start..end);
            if let Some(proven) = self.judge(&fewer) {
                *found = (fewer, proven);
            }
            end = start;
        }
    }
}

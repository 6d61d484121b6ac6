//! Who deleted what watches heard was deleted, where they heard of everything.
//!
//! Where watches have told of all changes of all keys, the state at each revision is known. Where
//! values are unique it is known too who put them; what is left is who made the revisions at
//! which keys were only deleted. An operation of unknown outcome may have made one of them when
//! it deletes just those keys in the state before, its comparisons hold there, and the revision
//! did not exist when it began. Each makes one revision at most: so that is a matching of
//! revisions with operations, and there is no other question.
//!
//! ```text
//! watch of all:    put a=1 @2    put b=2 @3    delete b @4    delete a, b... @5: not b again
//! delete a..z  |---- ...                                      after revision 1: it may be 5
//! txn: if mod(b)=3 then delete b    |---- ...                 it may be 4, not 5
//! ```
//!
//! O(d u) for d deletions and u operations of unknown outcome, and seldom near it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::facts::{By, Change, Effect, Fact, Seen};
use super::message::UNKNOWN;
use super::solve::{Branch, Solver, holds};
use super::timeline::{State, Timeline, replay, state_at};
use super::watch::Coverage;

/// How sure it is that another assignment would not do better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assigned {
    /// Whatever is wrong after it is wrong after every other one.
    Exactly,
    /// Not everything is known, so that it is a guess.
    Perhaps,
}

/// Whether an operation may have made a revision.
#[derive(Clone, Copy, PartialEq, Eq)]
enum May {
    Yes,
    No,
    NobodyKnows,
}

/// What watches heard.
struct Heard<'a> {
    /// The states of each key.
    timelines: Vec<Timeline<'a>>,
    /// The keys that were deleted at each revision.
    deleted: BTreeMap<i64, BTreeSet<usize>>,
    /// Whether all changes of all keys are known, up to the last revision that anybody told of,
    /// and who made those that wrote.
    is_everything: bool,
}

impl<'a> Solver<'a> {
    /// Lets operations of unknown outcome have deleted what was deleted and nobody else did.
    pub(super) fn assign_deletions(&mut self) -> Assigned {
        let heard = self.heard();
        let mut is_known = heard.is_everything;
        let unexplained: Vec<i64> = (heard.deleted.keys().copied())
            .filter(|revision| !self.is_taken(&heard, *revision))
            .collect();
        let by_key = self.candidates_by_key();
        let mut able = Vec::with_capacity(unexplained.len());
        for revision in &unexplained {
            let first = heard.deleted[revision].first();
            let candidates = first.and_then(|key| by_key.get(key)).into_iter().flatten();
            let mut of_revision = Vec::new();
            for &(pending, branch) in candidates {
                match self.may_make(&heard, pending, branch, *revision) {
                    May::Yes => of_revision.push((pending, branch)),
                    May::No => {}
                    May::NobodyKnows => is_known = false,
                }
            }
            // Those that began last can have made the fewest others.
            of_revision.sort_by_key(|(pending, _)| std::cmp::Reverse(self.pending[*pending].after));
            able.push(of_revision);
        }
        for (place, (pending, branch)) in matching(&able) {
            self.insert(pending, branch, unexplained[place]);
        }
        match is_known {
            true => Assigned::Exactly,
            false => Assigned::Perhaps,
        }
    }

    fn heard(&self) -> Heard<'a> {
        let mut deleted: BTreeMap<i64, BTreeSet<usize>> = BTreeMap::new();
        let mut timelines = Vec::with_capacity(self.log.keys.len());
        let mut all_written = true;
        for key in 0..self.log.keys.len() {
            let changes = self.changes_heard(key);
            for change in &changes {
                match change.effect {
                    Effect::Put { lease, .. } => all_written &= lease != UNKNOWN,
                    _ => drop(deleted.entry(change.revision).or_default().insert(key)),
                }
            }
            let nothing = Coverage::default();
            timelines.push(replay(key, changes.iter(), &[], &nothing).0);
        }
        let last = self.last_revision();
        let mut keys = 0..self.log.keys.len();
        Heard {
            timelines,
            deleted,
            is_everything: all_written && keys.all(|key| self.coverage.knows_all(key, last)),
        }
    }

    /// What happened to a key, as watches told it.
    fn changes_heard(&self, key: usize) -> Vec<Change<'a>> {
        let change = |fact: &Fact<'a>| {
            let effect = match fact.seen {
                Seen::Deletion => Effect::Delete,
                Seen::Writing(written) => Effect::Put {
                    value: written.1.as_deref()?,
                    lease: self.lease_of(key, fact.revision).unwrap_or(UNKNOWN),
                },
                _ => return None,
            };
            Some(Change {
                revision: fact.revision,
                effect,
                by: By::Entry(fact.entry),
            })
        };
        let mut changes: Vec<Change<'a>> =
            self.facts.facts[key].iter().filter_map(change).collect();
        changes.dedup_by_key(|change| change.revision);
        changes
    }

    /// The lease with which a key was written at a revision, if it is known who did that.
    fn lease_of(&self, key: usize, revision: i64) -> Option<i64> {
        let changes = &self.facts.changes[key];
        let first = changes.partition_point(|change| change.revision < revision);
        let here = changes[first..].iter();
        let mut here = here.take_while(|change| change.revision == revision);
        here.find_map(|change| match change.effect {
            Effect::Put { lease, .. } => Some(lease),
            _ => None,
        })
    }

    /// The last revision that anything is known of.
    fn last_revision(&self) -> i64 {
        let facts = self.facts.facts.iter().flatten().map(|fact| fact.revision);
        let changes = (self.facts.changes.iter().flatten()).map(|change| change.revision);
        let joint = self.facts.joint.iter().map(|joint| joint.revision);
        let last = facts.chain(changes).chain(joint).max();
        last.unwrap_or_default()
    }

    /// Whether it is known who made a revision.
    fn is_taken(&self, heard: &Heard<'_>, revision: i64) -> bool {
        let ends = |key: &usize| {
            let before = state_at(&heard.timelines[*key], revision - 1).version;
            let changes = self.facts.changes[*key].iter();
            let mut here = changes.filter(|change| change.revision == revision);
            here.any(|change| {
                matches!(change.effect, Effect::End(lease)
                    if before.is_some_and(|version| version.lease == lease))
            })
        };
        self.occupied.contains_key(&revision)
            || (self.revoked.get(&revision)).is_some_and(|keys| keys.iter().any(ends))
    }

    /// What may have deleted each key, and nothing else.
    fn candidates_by_key(&self) -> BTreeMap<usize, Vec<(usize, usize)>> {
        let mut by_key: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for (index, one) in self.pending.iter().enumerate() {
            for (number, branch) in one.branches.iter().enumerate() {
                let puts = |(_, effect): &(usize, Effect<'_>)| matches!(effect, Effect::Put { .. });
                if one.is_placed || branch.effects.iter().any(puts) {
                    continue;
                }
                for (key, _) in &branch.effects {
                    let of_key = by_key.entry(*key).or_default();
                    // A transaction may delete a key twice.
                    if of_key.last() != Some(&(index, number)) {
                        of_key.push((index, number));
                    }
                }
            }
        }
        by_key
    }

    fn may_make(&self, heard: &Heard<'_>, pending: usize, branch: usize, revision: i64) -> May {
        let one = &self.pending[pending];
        if revision <= one.after || revision >= one.before {
            return May::No;
        }
        let branch_of = &one.branches[branch];
        let deletes = self.deletes_just(heard, branch_of, revision);
        if deletes == May::No || !self.leases_live(pending, branch, revision) {
            return May::No;
        }
        match self.condition_holds(heard, branch_of, revision) {
            May::Yes => deletes,
            other => other,
        }
    }

    /// Whether a branch deletes those keys that were deleted.
    fn deletes_just(&self, heard: &Heard<'_>, branch: &Branch<'_>, revision: i64) -> May {
        let deleted = &heard.deleted[&revision];
        if !touches_all(branch, deleted) {
            return May::No;
        }
        let mut may = May::Yes;
        for (key, effect) in &branch.effects {
            if !self.coverage.knows_all(*key, revision) {
                may = May::NobodyKnows;
                continue;
            }
            let before = state_at(&heard.timelines[*key], revision - 1).version;
            let deletes = match (effect, before) {
                (Effect::End(_), Some(version)) if version.lease == UNKNOWN => {
                    may = May::NobodyKnows;
                    continue;
                }
                (Effect::End(lease), Some(version)) => version.lease == *lease,
                (_, before) => before.is_some(),
            };
            if deletes != deleted.contains(key) {
                return May::No;
            }
        }
        may
    }

    fn condition_holds(&self, heard: &Heard<'_>, branch: &Branch<'_>, revision: i64) -> May {
        let Some((compares, expected)) = branch.condition else {
            return May::Yes;
        };
        let before = |key: usize| -> State<'_> { state_at(&heard.timelines[key], revision - 1) };
        let is_known = compares.iter().all(|compare| {
            let key = self.log.key(&compare.1);
            let lease = before(key).version.map(|version| version.lease);
            self.coverage.knows_all(key, revision - 1) && lease != Some(UNKNOWN)
        });
        let mut each = compares.iter();
        match each.all(|compare| holds(compare, &before(self.log.key(&compare.1)))) == expected {
            _ if !is_known => May::NobodyKnows,
            true => May::Yes,
            false => May::No,
        }
    }
}

fn touches_all(branch: &Branch<'_>, keys: &BTreeSet<usize>) -> bool {
    /// Among so many a key is found sooner than a set is made of them.
    const FEW: usize = 16;
    let touched = branch.effects.iter().map(|(key, _)| *key);
    if branch.effects.len() > FEW {
        return keys.is_subset(&touched.collect());
    }
    keys.iter()
        .all(|key| touched.clone().any(|other| other == *key))
}

/// Pairs of places with those who take them.
struct Matching {
    /// Who takes each place, and how.
    of_place: Vec<Option<(usize, usize)>>,
    /// The place of each that has one.
    place_of: BTreeMap<usize, usize>,
}

/// As many places as can be taken by those who are able to, each by one who takes no other: by
/// augmenting paths.
fn matching(able: &[Vec<(usize, usize)>]) -> Vec<(usize, (usize, usize))> {
    let mut matching = Matching {
        of_place: vec![None; able.len()],
        place_of: BTreeMap::new(),
    };
    for place in 0..able.len() {
        matching.take(able, place);
    }
    let places = matching.of_place.into_iter().enumerate();
    places
        .filter_map(|(place, taken)| Some((place, taken?)))
        .collect()
}

impl Matching {
    /// Finds somebody for a place, if need be by giving others other places: breadth first.
    fn take(&mut self, able: &[Vec<(usize, usize)>], place: usize) {
        // For which place each was asked first, and how it would take that.
        let mut asked: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        let mut places = VecDeque::from([place]);
        while let Some(wanted) = places.pop_front() {
            for &(one, how) in &able[wanted] {
                if asked.contains_key(&one) {
                    continue;
                }
                asked.insert(one, (wanted, how));
                match self.place_of.get(&one) {
                    Some(other) => places.push_back(*other),
                    None => return self.move_up(one, &asked),
                }
            }
        }
    }

    /// Gives this one the place for which it was asked, whoever had that the one for which it was
    /// asked, and so on.
    fn move_up(&mut self, free: usize, asked: &BTreeMap<usize, (usize, usize)>) {
        let mut next = Some(free);
        while let Some(one) = next {
            let (place, how) = asked[&one];
            self.place_of.insert(one, place);
            let before = self.of_place[place].replace((one, how));
            next = before.map(|(before, _)| before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many places can be taken, by trying all ways.
    fn most(able: &[Vec<(usize, usize)>], taken: &mut BTreeSet<usize>) -> usize {
        let Some((first, others)) = able.split_first() else {
            return 0;
        };
        let mut most_of_all = most(others, taken);
        for &(one, _) in first {
            if taken.insert(one) {
                most_of_all = most_of_all.max(1 + most(others, taken));
                taken.remove(&one);
            }
        }
        most_of_all
    }

    #[test]
    fn as_many_places_are_taken_as_can_be() {
        let mut state = 1_u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            usize::try_from((state >> 33) % bound).unwrap()
        };
        for _ in 0..3_000 {
            let places = below(6);
            let able: Vec<Vec<(usize, usize)>> = (0..places)
                .map(|_| (0..below(4)).map(|_| (below(6), below(2))).collect())
                .collect();
            let pairs = matching(&able);
            let takers: BTreeSet<usize> = pairs.iter().map(|(_, (one, _))| *one).collect();
            assert_eq!(takers.len(), pairs.len(), "nobody takes two of {able:?}");
            assert!(
                pairs
                    .iter()
                    .all(|(place, taken)| able[*place].contains(taken))
            );
            assert_eq!(pairs.len(), most(&able, &mut BTreeSet::new()), "{able:?}");
        }
    }
}

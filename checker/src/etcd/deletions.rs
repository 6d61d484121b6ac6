//! Deletions of unknown outcome that watches heard of.
//!
//! A watch says that a key was deleted at a revision, but not by whom. When no answer
//! explains it, one of the deletions of unknown outcome did. Often it does not matter
//! which, and then nothing need be searched:
//!
//! - They do the same, and each is only bound to come after what was known when it
//!   began. So of those that may have come by then the one that began last will do: if
//!   it was matched with another revision, and this one with a deletion that began
//!   before it, the two can be exchanged. (One that began earlier would not do: it may
//!   be the only one that explains an earlier deletion, of which no watch heard.)
//! - A transaction that deletes a key if its mod revision is m does so only while it is.
//!   Where a watch has heard of every change of the key, the mod revision at each
//!   revision is known, so that says which of them may have come, and of those any will
//!   do.
//!
//! Where anything else may have deleted the key, such as the end of a lease, nothing is
//! decided here.

use std::collections::BTreeMap;

use super::facts::{Effect, Fact, Seen};
use super::message::{Compare, Relation, Target};
use super::solve::{Pending, Solver};

/// What may have deleted one key.
#[derive(Default)]
struct Candidates {
    /// Plain deletions, and those under the condition of a mod revision, each in the
    /// order of the revisions that they come after.
    plain: Vec<usize>,
    conditional: BTreeMap<i64, Vec<usize>>,
    /// The smallest revision after which something else may have.
    others_after: Option<i64>,
}

impl Solver<'_> {
    /// Lets those happen of which it does not matter which.
    pub(super) fn place_deletions(&mut self) {
        let mut by_key: BTreeMap<usize, Candidates> = BTreeMap::new();
        for (index, one) in self.pending.iter().enumerate() {
            if !one.is_placed {
                note(&mut by_key, index, one, |key| self.log_key(key));
            }
        }
        for (key, candidates) in by_key {
            self.place_deletions_of(key, candidates);
        }
    }

    fn place_deletions_of(&mut self, key: usize, mut candidates: Candidates) {
        let after = |index: &usize| self.pending[*index].after;
        candidates.plain.sort_by_key(after);
        candidates
            .conditional
            .values_mut()
            .for_each(|list| list.sort_by_key(after));
        let is_deletion = |seen: &Seen<'_>| matches!(seen, Seen::Deletion);
        let heard = self.facts.facts[key].iter();
        let mut heard: Vec<i64> = heard
            .filter(|fact| is_deletion(&fact.seen))
            .map(|fact| fact.revision)
            .collect();
        heard.dedup();
        for revision in heard {
            let changes = &self.facts.changes[key];
            let is_explained = changes
                .binary_search_by_key(&revision, |change| change.revision)
                .is_ok();
            if is_explained
                || self.occupied.contains_key(&revision)
                || candidates
                    .others_after
                    .is_some_and(|after| after < revision)
            {
                continue;
            }
            let pending = &self.pending;
            let take = |list: &mut Vec<usize>| {
                let allowed = list.partition_point(|index| pending[*index].after < revision);
                allowed.checked_sub(1).map(|last| list.remove(last))
            };
            // What is conditional can come only now, what is not can come later too.
            let knows_all = self.coverage.knows_all(key, revision);
            if !knows_all && !candidates.conditional.is_empty() {
                continue;
            }
            let modified = self.mod_revision_before(key, revision);
            let conditional = modified
                .filter(|_| knows_all)
                .and_then(|modified| candidates.conditional.get_mut(&modified));
            let chosen = conditional
                .and_then(take)
                .or_else(|| take(&mut candidates.plain));
            if let Some(chosen) = chosen {
                self.insert(chosen, 0, revision);
            }
        }
    }

    /// The mod revision of a key right before a revision, by what watches heard.
    fn mod_revision_before(&self, key: usize, revision: i64) -> Option<i64> {
        let facts = &self.facts.facts[key];
        let before = facts.partition_point(|fact| fact.revision < revision);
        let tells = |fact: &&Fact<'_>| matches!(fact.seen, Seen::Writing(_) | Seen::Deletion);
        let last = facts[..before].iter().rev().find(tells)?;
        matches!(last.seen, Seen::Writing(_)).then_some(last.revision)
    }
}

fn note(
    by_key: &mut BTreeMap<usize, Candidates>,
    index: usize,
    one: &Pending<'_>,
    key_of: impl Fn(&str) -> usize,
) {
    let does_nothing = |branch: usize| {
        let other = one.branches.get(branch);
        other.is_none_or(|branch| branch.effects.is_empty())
    };
    if let Some(first) = one.branches.first()
        && let [(key, Effect::Delete)] = first.effects.as_slice()
        && does_nothing(1)
        && one.before == i64::MAX
    {
        let candidates = by_key.entry(*key).or_default();
        match first.condition {
            None => return candidates.plain.push(index),
            Some(([], true)) => return candidates.plain.push(index),
            Some(([Compare(Target::Mod, compared, Relation::Equal, modified)], true))
                if key_of(compared) == *key =>
            {
                let list = candidates.conditional.entry(*modified).or_default();
                return list.push(index);
            }
            _ => {}
        }
    }
    for branch in &one.branches {
        for (key, effect) in &branch.effects {
            if matches!(effect, Effect::Delete | Effect::End(_)) {
                let others = &mut by_key.entry(*key).or_default().others_after;
                *others = Some(others.map_or(one.after, |after| after.min(one.after)));
            }
        }
    }
}

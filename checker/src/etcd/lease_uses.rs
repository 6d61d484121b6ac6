//! When leases were put to use and when they ended, by what is known to have happened.
//!
//! The search asks this of each place that it tries, while what has happened changes little from
//! one place to the next: so it is kept, and each answer takes O(log n).

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::facts::{Change, Effect};

/// Revisions, and how many changes each made.
type Revisions = BTreeMap<i64, usize>;

#[derive(Default)]
pub(super) struct LeaseUses {
    /// At which each lease ended.
    ended: FxHashMap<i64, Revisions>,
    /// At which each key was put with each lease.
    put: FxHashMap<(usize, i64), Revisions>,
}

impl LeaseUses {
    /// Those of these changes, by key.
    pub(super) fn of(changes: &[Vec<Change<'_>>]) -> Self {
        let mut uses = Self::default();
        for (key, changes) in changes.iter().enumerate() {
            for change in changes {
                uses.add(key, &change.effect, change.revision);
            }
        }
        uses
    }

    pub(super) fn add(&mut self, key: usize, effect: &Effect<'_>, revision: i64) {
        if let Some(revisions) = self.revisions(key, effect) {
            *revisions.entry(revision).or_default() += 1;
        }
    }

    /// Takes back what was added.
    pub(super) fn remove(&mut self, key: usize, effect: &Effect<'_>, revision: i64) {
        let Some(revisions) = self.revisions(key, effect) else {
            return;
        };
        match revisions.get_mut(&revision) {
            Some(changes) if *changes > 1 => *changes -= 1,
            _ => drop(revisions.remove(&revision)),
        }
    }

    /// Whether the lease ended before this revision.
    pub(super) fn has_ended_before(&self, lease: i64, revision: i64) -> bool {
        let ended = self.ended.get(&lease);
        ended.is_some_and(|ended| ended.range(..revision).next().is_some())
    }

    /// Whether the key was put with the lease after this revision.
    pub(super) fn is_put_after(&self, key: usize, lease: i64, revision: i64) -> bool {
        let put = self.put.get(&(key, lease));
        put.is_some_and(|put| put.range(revision.saturating_add(1)..).next().is_some())
    }

    fn revisions(&mut self, key: usize, effect: &Effect<'_>) -> Option<&mut Revisions> {
        match *effect {
            Effect::End(lease) => Some(self.ended.entry(lease).or_default()),
            // Most puts have no lease, and nobody asks for those.
            Effect::Put { lease, .. } if lease > 0 => {
                Some(self.put.entry((key, lease)).or_default())
            }
            Effect::Put { .. } | Effect::Delete => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::etcd::facts::By;

    #[test]
    fn what_is_known_is_what_the_changes_say() {
        let mut state = 1_u64;
        let mut below = |bound: u64| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 33) % bound
        };
        let signed = |number: u64| i64::try_from(number).unwrap();
        let mut changes: Vec<Vec<Change<'_>>> = vec![Vec::new(); 3];
        let mut uses = LeaseUses::of(&changes);
        for step in 0..3_000 {
            let key = usize::try_from(below(3)).unwrap();
            let lease = signed(1 + below(3));
            if below(2) == 0 && !changes[key].is_empty() {
                let change = changes[key].swap_remove(0);
                uses.remove(key, &change.effect, change.revision);
            } else {
                let effect = match below(3) {
                    0 => Effect::End(lease),
                    1 => Effect::Put { value: "", lease },
                    _ => Effect::Delete,
                };
                let revision = signed(below(6));
                uses.add(key, &effect, revision);
                changes[key].push(Change {
                    revision,
                    effect,
                    by: By::EndOf(0),
                });
            }
            if step == 1_500 {
                uses = LeaseUses::of(&changes);
            }
            let (asked, revision) = (signed(1 + below(3)), signed(below(6)));
            let ends = |change: &Change<'_>| {
                matches!(change.effect, Effect::End(lease) if lease == asked)
                    && change.revision < revision
            };
            assert_eq!(
                uses.has_ended_before(asked, revision),
                changes.iter().flatten().any(ends)
            );
            let puts = |change: &Change<'_>| {
                matches!(change.effect, Effect::Put { lease, .. } if lease == asked)
                    && change.revision > revision
            };
            assert_eq!(
                uses.is_put_after(key, asked, revision),
                changes[key].iter().any(puts)
            );
        }
    }
}

//! Things that may have happened of which it makes no difference which of them did.
//!
//! Puts of one key with values that nobody saw, deletions of the same keys: of those that may
//! have come by a revision the one that could come last is as good as any, for wherever else it
//! could be, the others could be instead. Only that one is tried there.

use std::collections::BTreeMap;

use super::facts::Effect;
use super::solve::{Branch, Pending, SeenValues};

/// Groups of things that do the same, by their index. Of those of a group that may have come by
/// some revision the last is the one to try.
#[derive(Default)]
pub(super) struct Alike(Vec<Vec<usize>>);

/// What something does, as far as anybody can tell.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Deed<'a> {
    /// The value is left out if nobody saw it.
    Put(usize, Option<&'a str>, i64),
    Delete(usize),
    End(usize, i64),
}

/// The deeds of a branch, and the leases that must live for them.
type Deeds<'a> = (Vec<Deed<'a>>, Vec<i64>);

impl Alike {
    pub(super) fn of(pending: &[Pending<'_>], seen: &SeenValues<'_>) -> Self {
        let mut groups: BTreeMap<(i64, Vec<Deeds<'_>>), Vec<usize>> = BTreeMap::new();
        let mut alone = Vec::new();
        for (index, one) in pending.iter().enumerate() {
            let branches = one.branches.iter().map(|branch| deeds(branch, seen));
            match branches.collect::<Option<Vec<_>>>() {
                Some(deeds) => groups.entry((one.before, deeds)).or_default().push(index),
                None => alone.push(vec![index]),
            }
        }
        let mut groups: Vec<Vec<usize>> = groups.into_values().chain(alone).collect();
        for group in &mut groups {
            // Of those that may come at the same revisions the first is as good as any.
            group.sort_by_key(|index| (pending[*index].after, usize::MAX - index));
        }
        Self(groups)
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &[usize]> {
        self.0.iter().map(Vec::as_slice)
    }
}

/// What a branch does; none when that is done under a condition, which is one of its own.
fn deeds<'a>(branch: &Branch<'a>, seen: &SeenValues<'_>) -> Option<Deeds<'a>> {
    if branch.condition.is_some() {
        return None;
    }
    let deed = |(key, effect): &(usize, Effect<'a>)| match *effect {
        Effect::Put { value, lease } => {
            let value = Some(value).filter(|value| seen.contains(&(*key, *value)));
            Deed::Put(*key, value, lease)
        }
        Effect::Delete => Deed::Delete(*key),
        Effect::End(lease) => Deed::End(*key, lease),
    };
    let deeds = branch.effects.iter().map(deed).collect();
    Some((deeds, branch.leases.clone()))
}

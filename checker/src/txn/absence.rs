//! What it means that a key was absent.

use super::extract::Txns;
use super::model::Model;

/// Which keys a transaction of unknown outcome may have deleted, unseen: a deletion
/// leaves no version that a reader could name.
pub(super) struct Deletable {
    any: bool,
    keys: Vec<bool>,
}

/// Where among the versions of a key a reader stood who found it absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Absence {
    /// The version that it saw at the earliest; none for the time before the first.
    pub(super) after: Option<usize>,
    /// The version that it certainly missed.
    pub(super) before: Option<usize>,
    /// Whether it may have seen a later one.
    pub(super) is_ambiguous: bool,
    /// Whether it may have seen something else than a known version.
    pub(super) is_unseen: bool,
}

impl Deletable {
    pub(super) fn of(txns: &Txns<'_>, commits: &[Option<i64>]) -> Self {
        let mut keys = vec![false; txns.keys.len()];
        for (txn, _) in txns
            .txns
            .iter()
            .zip(commits)
            .filter(|(_, revision)| revision.is_none())
        {
            txn.writes
                .iter()
                .filter(|write| write.value.is_none())
                .for_each(|write| keys[write.key] = true);
        }
        Self {
            any: !txns.blank.is_empty(),
            keys,
        }
    }

    pub(super) fn may_be(&self, key: usize) -> bool {
        self.any || self.keys[key]
    }

    /// Where a reader stood; none where the key never was absent.
    ///
    /// Whoever comes after a later absence comes after the first one too, and whoever
    /// comes before an earlier version comes before those behind it: so the first and the
    /// last tell what is certain.
    pub(super) fn absence(&self, model: &Model, key: usize) -> Option<Absence> {
        let versions = &model.versions[key];
        let is_before = versions.first().is_none_or(|first| first.writer.is_some());
        let deletions = (0..versions.len())
            .filter(|version| !versions[*version].present)
            .map(Some);
        let mut absences = is_before.then_some(None).into_iter().chain(deletions);
        if self.may_be(key) {
            return Some(Absence {
                after: None,
                before: None,
                is_ambiguous: true,
                is_unseen: !is_before,
            });
        }
        let first = absences.next()?;
        let last = absences.last();
        // Of deletions at one revision only one found something, and nobody knows which.
        let is_shared = |version: usize| {
            let next = versions.get(version + 1);
            next.is_some_and(|next| next.revision == versions[version].revision)
        };
        let is_unseen = first.is_some_and(is_shared);
        let after_last = last.unwrap_or(first).map_or(0, |version| version + 1);
        Some(Absence {
            after: first.filter(|_| !is_unseen),
            before: Some(after_last).filter(|next| *next < versions.len()),
            is_ambiguous: last.is_some(),
            is_unseen,
        })
    }
}

//! Revisions that nobody is known to have taken.

use std::collections::BTreeMap;

/// All revisions but those that were taken.
#[derive(Default)]
pub(super) struct Gaps {
    /// The first and the last revision of each run of taken ones.
    taken: BTreeMap<i64, i64>,
}

impl Gaps {
    /// Without these revisions.
    pub(super) fn of(taken: impl IntoIterator<Item = i64>) -> Self {
        let mut gaps = Self::default();
        taken.into_iter().for_each(|revision| gaps.take(revision));
        gaps
    }

    pub(super) fn take(&mut self, revision: i64) {
        let before = self.taken.range(..=revision).next_back();
        let mut first = revision;
        if let Some((&start, &end)) = before {
            if end >= revision {
                return;
            }
            if end + 1 == revision {
                first = start;
            }
        }
        let last = self.taken.remove(&(revision + 1)).unwrap_or(revision);
        self.taken.insert(first, last);
    }

    pub(super) fn give_back(&mut self, revision: i64) {
        let Some((&first, &last)) = self.taken.range(..=revision).next_back() else {
            return;
        };
        if last < revision {
            return;
        }
        self.taken.remove(&first);
        if first < revision {
            self.taken.insert(first, revision - 1);
        }
        if revision < last {
            self.taken.insert(revision + 1, last);
        }
    }

    /// The free revisions from the first to the last of these, in order.
    pub(super) fn within(&self, first: i64, last: i64) -> impl Iterator<Item = i64> + '_ {
        let mut next = first;
        std::iter::from_fn(move || {
            if let Some((_, &end)) = self.taken.range(..=next).next_back()
                && end >= next
            {
                next = end + 1;
            }
            if next > last {
                return None;
            }
            next += 1;
            Some(next - 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_is_free() {
        let mut gaps = Gaps::of([5, 3, 4, 9, 4]);
        let free = |gaps: &Gaps| gaps.within(2, 11).collect::<Vec<_>>();
        assert_eq!(free(&gaps), [2, 6, 7, 8, 10, 11]);
        gaps.give_back(4);
        assert_eq!(free(&gaps), [2, 4, 6, 7, 8, 10, 11]);
        gaps.take(4);
        gaps.take(2);
        gaps.give_back(7);
        assert_eq!(free(&gaps), [6, 7, 8, 10, 11]);
        assert_eq!(gaps.within(9, 9).next(), None);
        assert_eq!(gaps.within(6, 5).next(), None);
    }
}

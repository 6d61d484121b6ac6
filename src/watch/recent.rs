//! The keys of the latest puts under a prefix: what a consumer that was woken
//! can try to take without reading first.

use std::collections::VecDeque;

/// A put that a watch has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Put {
    pub(crate) key: Vec<u8>,
    pub(crate) mod_revision: i64,
}

/// The latest puts, no more than a given number.
///
/// Invariant: holds every put after `complete_after` and up to the latest one
/// that was noted, in order of revision.
#[derive(Debug, Default)]
pub(crate) struct RecentPuts {
    capacity: usize,
    /// Zero: not begun.
    complete_after: i64,
    puts: VecDeque<Put>,
}

impl RecentPuts {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    /// From now on, puts after this revision are noted.
    pub(crate) fn begin_after(&mut self, revision: i64) {
        self.puts.clear();
        self.complete_after = revision;
    }

    /// Notes a put. A watch that was opened again may show one twice.
    pub(crate) fn note(&mut self, key: &[u8], mod_revision: i64) {
        let known = |put: &Put| put.mod_revision == mod_revision && put.key == key;
        let last = self.puts.back().map_or(0, |put| put.mod_revision);
        let is_seen = mod_revision < last || self.puts.iter().rev().take(128).any(known);
        if self.capacity == 0 || mod_revision <= self.complete_after || is_seen {
            return;
        }
        self.puts.push_back(Put {
            key: key.to_vec(),
            mod_revision,
        });
        if self.puts.len() > self.capacity
            && let Some(oldest) = self.puts.pop_front()
        {
            self.complete_after = oldest.mod_revision;
        }
    }

    /// All puts after `revision`, and the revision up to which these are all.
    /// `None` if some may be missing.
    pub(crate) fn after(&self, revision: i64) -> Option<(Vec<Put>, i64)> {
        if self.capacity == 0 || self.complete_after == 0 || revision < self.complete_after {
            return None;
        }
        let last = self.puts.back().map_or(0, |put| put.mod_revision);
        let first = self
            .puts
            .partition_point(|put| put.mod_revision <= revision);
        let puts = self.puts.range(first..).cloned().collect();
        Some((puts, last.max(revision)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(capacity: usize, begin: i64, revisions: &[i64]) -> RecentPuts {
        let mut recent = RecentPuts::new(capacity);
        recent.begin_after(begin);
        for revision in revisions {
            recent.note(format!("k/{revision}").as_bytes(), *revision);
        }
        recent
    }

    fn revisions(answer: Option<(Vec<Put>, i64)>) -> Option<(Vec<i64>, i64)> {
        answer.map(|(puts, upto)| (puts.iter().map(|put| put.mod_revision).collect(), upto))
    }

    #[test]
    fn nothing_is_told_about_what_was_not_seen() {
        assert_eq!(noted(4, 10, &[]).after(9), None);
        assert_eq!(revisions(noted(4, 10, &[]).after(12)), Some((vec![], 12)));
        assert_eq!(RecentPuts::new(4).after(12), None);
        assert_eq!(noted(0, 10, &[11]).after(10), None);
    }

    #[test]
    fn puts_after_a_revision_come_in_order_and_once() {
        let recent = noted(8, 10, &[11, 12, 12, 11, 15]);
        assert_eq!(revisions(recent.after(11)), Some((vec![12, 15], 15)));
        assert_eq!(revisions(recent.after(15)), Some((vec![], 15)));
    }

    #[test]
    fn what_was_forgotten_is_not_passed_over_in_silence() {
        let recent = noted(2, 10, &[11, 12, 13]);
        assert_eq!(recent.after(10), None);
        assert_eq!(revisions(recent.after(11)), Some((vec![12, 13], 13)));
    }
}

//! When transactions can have happened in an order that explains all reads.
//!
//! Real time says of each only that it was not before its invocation and not after its return.
//! What was read says more:
//!
//! - Who reads a version comes after its writer: it begins no earlier, and its writer ends no
//!   later.
//! - A version is there from its writer to the last of its readers. So all who met one
//!   version of a key come before all who met another, or behind them. If one version was met by
//!   somebody who had returned before another who met a second one was invoked, the first version
//!   was there before the second.
//! - Whoever met the earlier version comes before the writer of the later one.
//!
//! ```text
//! w x=1   |---------------------------|       1 was met before r x=2 began, so it came before
//! r x=1      |----|                           2: w x=1 ends before that did, and w x=2
//! w x=2     |------------------|              begins no earlier than r x=1
//! r x=2               |--------|
//! ```
//!
//! Each of these may tell more of others, so it goes in rounds; a few find nearly all. A round
//! sorts the versions: O(n log n).

use super::orders::Interval;
use super::versions::Version;
use crate::isolation::txns::NONE;

/// After so many rounds the rest is left to the search.
const ROUNDS_MAX: usize = 4;
/// A round that narrows fewer than one of so many times is the last.
const FEW: usize = 100;

/// The times of some transactions, by their number from `first` on.
pub(super) struct Times<'s> {
    pub(super) spans: &'s mut [Interval],
    pub(super) first: u32,
    /// Whether they are asked about at all, likewise.
    pub(super) is_in: &'s [bool],
}

/// Those who met a version of a key.
struct Cluster {
    /// When the first of them had happened.
    end: u32,
    /// When the last of them began.
    begin: u32,
    /// Its place among the versions.
    place: u32,
}

/// What was found of clusters so far: the best of them, and the best of the others.
#[derive(Clone, Copy)]
struct Best {
    value: u32,
    of: u32,
    other: u32,
}

impl Best {
    /// The best of all but one.
    fn without(self, place: u32) -> u32 {
        match self.of == place {
            true => self.other,
            false => self.value,
        }
    }
}

/// Narrows the times by what was read of these keys. Whether they are times still: if not, there
/// is no order.
pub(super) fn narrow(times: &mut Times<'_>, keys: &[&[Version]]) -> bool {
    let mut clusters = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let mut narrowed = 0;
        for versions in keys {
            narrowed += times.meet(versions, &mut clusters);
            narrowed += times.begin_later(versions, &mut clusters);
            narrowed += times.end_earlier(versions, &mut clusters);
        }
        if narrowed * FEW <= times.spans.len() {
            break;
        }
    }
    times.spans.iter().all(|(begin, end)| begin <= end)
}

impl Times<'_> {
    fn is_in(&self, txn: u32) -> bool {
        let at = txn.checked_sub(self.first);
        at.is_some_and(|at| self.is_in.get(at as usize).is_some_and(|is_in| *is_in))
    }

    fn span(&mut self, txn: u32) -> &mut Interval {
        &mut self.spans[(txn - self.first) as usize]
    }

    fn begin_at(&mut self, txn: u32, begin: u32) -> usize {
        let span = self.span(txn);
        let is_later = begin > span.0;
        span.0 = span.0.max(begin);
        usize::from(is_later)
    }

    fn end_at(&mut self, txn: u32, end: u32) -> usize {
        let span = self.span(txn);
        let is_earlier = end < span.1;
        span.1 = span.1.min(end);
        usize::from(is_earlier)
    }

    /// Readers come after the writer. Notes the clusters of a key; returns how many times were
    /// narrowed.
    fn meet(&mut self, versions: &[Version], clusters: &mut Vec<Cluster>) -> usize {
        clusters.clear();
        let mut narrowed = 0;
        for (place, version) in (0_u32..).zip(versions) {
            // Of what nobody wrote it is not known when it was there, but that nothing was
            // there first.
            let (mut begin, mut end) = match version.writer {
                NONE if place == 0 => (0, 0),
                writer if writer != NONE && self.is_in(writer) => *self.span(writer),
                _ => continue,
            };
            let wrote = begin;
            for reader in &version.readers {
                if self.is_in(*reader) {
                    narrowed += self.begin_at(*reader, wrote);
                    let span = *self.span(*reader);
                    (begin, end) = (begin.max(span.0), end.min(span.1));
                }
            }
            if version.writer != NONE {
                narrowed += self.end_at(version.writer, end);
            }
            clusters.push(Cluster { end, begin, place });
        }
        narrowed
    }

    /// The writer of a version begins after all who met an earlier one.
    fn begin_later(&mut self, versions: &[Version], clusters: &mut [Cluster]) -> usize {
        clusters.sort_by_key(|cluster| cluster.end);
        let mut best = Best {
            value: 0,
            of: NONE,
            other: 0,
        };
        let mut latest = Vec::with_capacity(clusters.len());
        for cluster in &*clusters {
            if cluster.begin > best.value {
                (best.other, best.value, best.of) = (best.value, cluster.begin, cluster.place);
            } else {
                best.other = best.other.max(cluster.begin);
            }
            latest.push(best);
        }
        let mut narrowed = 0;
        for cluster in &*clusters {
            let earlier = clusters.partition_point(|other| other.end < cluster.begin);
            let writer = versions[cluster.place as usize].writer;
            if earlier > 0 && writer != NONE {
                let begin = latest[earlier - 1].without(cluster.place);
                narrowed += self.begin_at(writer, begin);
            }
        }
        narrowed
    }

    /// All who met a version end before the writer of a later one does.
    fn end_earlier(&mut self, versions: &[Version], clusters: &mut [Cluster]) -> usize {
        clusters.sort_by_key(|cluster| cluster.begin);
        let mut best = Best {
            value: NONE,
            of: NONE,
            other: NONE,
        };
        let mut earliest = vec![best; clusters.len() + 1];
        for (at, cluster) in clusters.iter().enumerate().rev() {
            let writer = versions[cluster.place as usize].writer;
            if writer != NONE {
                let end = self.span(writer).1;
                if end < best.value {
                    (best.other, best.value, best.of) = (best.value, end, cluster.place);
                } else {
                    best.other = best.other.min(end);
                }
            }
            earliest[at] = best;
        }
        let mut narrowed = 0;
        for cluster in &*clusters {
            let later = clusters.partition_point(|other| other.begin <= cluster.end);
            let end = earliest[later].without(cluster.place);
            if end == NONE {
                continue;
            }
            let version = &versions[cluster.place as usize];
            if version.writer != NONE {
                narrowed += self.end_at(version.writer, end);
            }
            for reader in &version.readers {
                if self.is_in(*reader) {
                    narrowed += self.end_at(*reader, end);
                }
            }
        }
        narrowed
    }
}

#[cfg(test)]
mod tests {
    use super::super::versions::{NOTHING, Version};
    use super::{Interval, NONE, Times, narrow};

    fn version(writer: u32, readers: &[u32]) -> Version {
        Version {
            value: NOTHING,
            writer,
            readers: readers.to_vec(),
        }
    }

    fn narrowed(spans: &[Interval], versions: &[Version]) -> (Vec<Interval>, bool) {
        let mut spans = spans.to_vec();
        let is_in = vec![true; spans.len()];
        let mut times = Times {
            spans: &mut spans,
            first: 0,
            is_in: &is_in,
        };
        let are_times = narrow(&mut times, &[versions]);
        (spans, are_times)
    }

    /// The picture above.
    #[test]
    fn who_met_a_later_version_came_later() {
        let spans = [(0, 20), (3, 6), (2, 19), (8, 15)];
        let versions = [version(NONE, &[]), version(0, &[1]), version(2, &[3])];
        let (spans, are_times) = narrowed(&spans, &versions);
        assert!(are_times);
        assert_eq!(spans, [(0, 6), (3, 6), (3, 15), (8, 15)]);
    }

    #[test]
    fn who_found_nothing_came_before_all_writers() {
        let spans = [(1, 20), (2, 9), (3, 30)];
        let versions = [version(NONE, &[2]), version(0, &[]), version(1, &[])];
        let (spans, are_times) = narrowed(&spans, &versions);
        assert!(are_times);
        assert_eq!(spans, [(3, 20), (3, 9), (3, 9)]);
    }

    #[test]
    fn a_value_of_long_ago_leaves_no_times() {
        let spans = [(0, 1), (2, 3), (4, 5)];
        let versions = [version(NONE, &[]), version(0, &[2]), version(1, &[])];
        assert!(!narrowed(&spans, &versions).1);
    }
}

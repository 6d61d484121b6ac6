//! Which watches want to hear of a key.

use std::collections::{BTreeMap, BTreeSet};

use super::batch::WatchSpec;
use super::stream::WatchKey;
use crate::store::KeyRange;

/// A set of watches that is asked by key.
///
/// Watches of one key and of a prefix, which nearly all are, are found by the key;
/// those of other ranges are looked at one by one.
#[derive(Debug, Default)]
pub(super) struct Interest {
    keys: BTreeMap<Vec<u8>, BTreeSet<WatchKey>>,
    prefixes: BTreeMap<Vec<u8>, BTreeSet<WatchKey>>,
    /// How many of the prefixes have each length.
    prefix_lengths: BTreeMap<usize, usize>,
    ranges: BTreeMap<WatchKey, (Vec<u8>, Vec<u8>)>,
}

impl Interest {
    pub(super) fn insert(&mut self, id: WatchKey, spec: &WatchSpec) {
        match Place::of(spec) {
            Place::Key(key) => {
                self.keys.entry(key.to_vec()).or_default().insert(id);
            }
            Place::Prefix(prefix) => {
                let watches = self.prefixes.entry(prefix.to_vec()).or_insert_with(|| {
                    *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
                    BTreeSet::new()
                });
                watches.insert(id);
            }
            Place::Range => {
                self.ranges
                    .insert(id, (spec.key.clone(), spec.range_end.clone()));
            }
        }
    }

    pub(super) fn remove(&mut self, id: WatchKey, spec: &WatchSpec) {
        match Place::of(spec) {
            Place::Key(key) => {
                remove(&mut self.keys, key, id);
            }
            Place::Prefix(prefix) => {
                if remove(&mut self.prefixes, prefix, id)
                    && let Some(count) = self.prefix_lengths.get_mut(&prefix.len())
                {
                    *count -= 1;
                    if *count == 0 {
                        self.prefix_lengths.remove(&prefix.len());
                    }
                }
            }
            Place::Range => {
                self.ranges.remove(&id);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.prefixes.is_empty() && self.ranges.is_empty()
    }

    /// Calls `each` with the watches that want to hear of `key`.
    pub(super) fn of(&self, key: &[u8], mut each: impl FnMut(WatchKey)) {
        let of_key = self.keys.get(key).into_iter();
        let lengths = self.prefix_lengths.range(..=key.len());
        let of_prefix = lengths.filter_map(|(&length, _)| self.prefixes.get(&key[..length]));
        of_key
            .chain(of_prefix)
            .flatten()
            .copied()
            .for_each(&mut each);
        for (&id, (start, end)) in &self.ranges {
            if KeyRange::new(start, end).contains(key) {
                each(id);
            }
        }
    }
}

/// Where a watch is kept.
enum Place<'a> {
    Key(&'a [u8]),
    Prefix(&'a [u8]),
    Range,
}

impl<'a> Place<'a> {
    fn of(spec: &'a WatchSpec) -> Self {
        match spec.range() {
            KeyRange::One(key) => Place::Key(key),
            // No key lies before these.
            KeyRange::From(b"" | b"\0") => Place::Prefix(b""),
            KeyRange::Between(start, end) if is_prefix_range(start, end) => Place::Prefix(start),
            KeyRange::Between(..) | KeyRange::From(_) => Place::Range,
        }
    }
}

/// Whether the keys from `start` to `end` are those that begin with `start`.
fn is_prefix_range(start: &[u8], end: &[u8]) -> bool {
    match (start.split_last(), end.split_last()) {
        (Some((last, start)), Some((end_last, end))) => {
            start == end && last.checked_add(1) == Some(*end_last)
        }
        _ => false,
    }
}

/// Removes a watch; whether it was the last one there.
fn remove(places: &mut BTreeMap<Vec<u8>, BTreeSet<WatchKey>>, place: &[u8], id: WatchKey) -> bool {
    let Some(watches) = places.get_mut(place) else {
        return false;
    };
    watches.remove(&id);
    let is_empty = watches.is_empty();
    if is_empty {
        places.remove(place);
    }
    is_empty
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::watch::StreamId;

    const RANGES: [(&[u8], &[u8]); 11] = [
        (b"a", b""),
        (b"a", b"b"),
        (b"a/", b"a0"),
        (b"a\xff", b"b"),
        (b"a", b"c"),
        (b"\0", b"\0"),
        (b"b", b"\0"),
        (b"a/", b"a1"),
        (b"\xff", b"\xff\xff"),
        (b"a/1", b""),
        (b"a", b"b"),
    ];

    fn watches() -> Vec<(WatchKey, WatchSpec)> {
        let watch = |(number, (key, range_end)): (i64, (&[u8], &[u8]))| {
            let id = WatchKey {
                stream: StreamId(1),
                watch_id: number,
            };
            let spec = WatchSpec {
                key: key.to_vec(),
                range_end: range_end.to_vec(),
                ..WatchSpec::default()
            };
            (id, spec)
        };
        (0..).zip(RANGES).map(watch).collect()
    }

    /// Finds what looking at each watch finds.
    fn assert_right(interest: &Interest, watches: &[(WatchKey, WatchSpec)]) {
        let keys: [&[u8]; 8] = [
            b"a",
            b"a/",
            b"a/1",
            b"a\xff\xff",
            b"b",
            b"\0",
            b"\xff",
            b"\xff\xff",
        ];
        for key in keys {
            let mut found = Vec::new();
            interest.of(key, |id| found.push(id));
            found.sort();
            let wanted = watches
                .iter()
                .filter(|(_, spec)| spec.range().contains(key));
            let wanted: Vec<WatchKey> = wanted.map(|(id, _)| *id).collect();
            assert_eq!(found, wanted, "{key:?}");
        }
        assert_eq!(interest.is_empty(), watches.is_empty());
    }

    #[test]
    fn watches_are_found_by_key_however_they_are_kept() {
        let mut watches = watches();
        let mut interest = Interest::default();
        for (id, spec) in &watches {
            interest.insert(*id, spec);
        }
        assert_right(&interest, &watches);
        while let Some((id, spec)) = watches.pop() {
            interest.remove(id, &spec);
            assert_right(&interest, &watches);
        }
    }
}

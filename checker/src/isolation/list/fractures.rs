//! Fractured reads: one append of a transaction was seen, and another was not.
//!
//! A list shows the appends of all transactions before, not only those of the last one. So a
//! transaction that has read `x` has seen whoever appended to what it read of it, and must not
//! miss what they appended to `y` if it has read that, too.
//!
//! ```text
//! T1  append x 1, append y 1
//! T2  append x 2
//! T3  r x = [1, 2], r y = []           T1 was seen in x, and missed in y
//! ```
//!
//! For each two keys that a transaction appended to, and each place in the first, the furthest
//! place in the second of all up to there is noted: what was read of the second must reach
//! behind it. So is the furthest one of anybody else, for who reads may be the first. O(w^2 + r^2)
//! for transactions with w writes and r reads.

use rustc_hash::FxHashMap;

use super::super::anomaly::Anomaly;
use super::super::explain::who;
use super::super::findings::Findings;
use super::super::txns::{NONE, Txns, What};
use super::edges::happened;
use super::versions::{INCOMPATIBLE, Versions};

/// What was appended to two keys by one transaction: the place in the one, and the furthest place
/// in the other by it or those before.
type Pairs = FxHashMap<(u32, u32), Vec<(u32, Furthest)>>;

/// The furthest places by two transactions, and who they were; nobody is `NONE`.
#[derive(Clone, Copy)]
struct Furthest([(u32, u32); 2]);

impl Furthest {
    const NOWHERE: Self = Self([(0, NONE); 2]);

    fn add(&mut self, place: u32, writer: u32) {
        let [first, second] = &mut self.0;
        if writer == first.1 {
            first.0 = place.max(first.0);
        } else if first.1 == NONE || place > first.0 {
            *second = std::mem::replace(first, (place, writer));
        } else if second.1 == NONE || place > second.0 {
            *second = (place, writer);
        }
    }

    /// The furthest by another one than this.
    fn of_others(&self, txn: u32) -> Option<(u32, u32)> {
        let mut others = self
            .0
            .iter()
            .filter(|(_, writer)| ![NONE, txn].contains(writer));
        others.next().copied()
    }
}

/// Notes the fractured reads.
pub(super) fn find(txns: &Txns<'_>, versions: &Versions, findings: &mut Findings) {
    let pairs = pairs(txns, versions);
    for txn in 0..txns.len() {
        let txn = u32::try_from(txn).expect("transactions are few");
        if !txns.committed(txn) {
            continue;
        }
        let reads: Vec<(u32, u32)> = reads(txns, versions, txn);
        for (seen_in, seen) in &reads {
            for (missed_in, read) in &reads {
                let Some(pairs) = pairs.get(&(*seen_in, *missed_in)) else {
                    continue;
                };
                let end = pairs.partition_point(|(place, ..)| place < seen);
                // What it has appended itself is `internal`.
                let last = end
                    .checked_sub(1)
                    .and_then(|last| pairs[last].1.of_others(txn));
                if let Some((_, writer)) = last.filter(|(furthest, _)| furthest >= read) {
                    note(txns, findings, txn, writer, [*seen_in, *missed_in]);
                }
            }
        }
    }
}

/// By key: how many elements a transaction read of it.
fn reads(txns: &Txns<'_>, versions: &Versions, txn: u32) -> Vec<(u32, u32)> {
    let micro = txns.micro(txn).iter();
    let reads = micro.filter_map(|micro| match micro.what {
        What::Read(seen) => Some((micro.key, versions.version[seen as usize])),
        What::Write(_) => None,
    });
    reads
        .filter(|(_, version)| *version != INCOMPATIBLE)
        .collect()
}

fn pairs(txns: &Txns<'_>, versions: &Versions) -> Pairs {
    let happened = happened(txns, versions);
    let mut pairs = Pairs::default();
    for (txn, happened) in (0..).zip(happened) {
        if !happened {
            continue;
        }
        let micro = txns.micro(txn).iter();
        let places: Vec<(u32, u32)> = micro
            .filter_map(|micro| match micro.what {
                What::Write(value) => Some((micro.key, versions.place[value as usize])),
                What::Read(_) => None,
            })
            .collect();
        for (one, place) in places.iter().filter(|(_, place)| *place != NONE) {
            for (other, furthest) in places.iter().filter(|(other, _)| other != one) {
                let pairs = pairs.entry((*one, *other)).or_default();
                pairs.push((*place, Furthest([(*furthest, txn), (0, NONE)])));
            }
        }
    }
    for pairs in pairs.values_mut() {
        pairs.sort_unstable_by_key(|(place, _)| *place);
        let mut all = Furthest::NOWHERE;
        for (_, furthest) in pairs {
            let (place, writer) = furthest.0[0];
            all.add(place, writer);
            *furthest = all;
        }
    }
    pairs
}

fn note(txns: &Txns<'_>, findings: &mut Findings, txn: u32, writer: u32, keys: [u32; 2]) {
    findings.add(txns, Anomaly::FracturedRead, || {
        let [seen, missed] = keys.map(|key| txns.show_key(key));
        let sentence = format!(
            "{} read what {} had appended to {seen}, and not what it had appended to {missed}",
            who(txns, txn),
            who(txns, writer),
        );
        (sentence, vec![writer, txn])
    });
}

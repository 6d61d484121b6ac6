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
//! behind it. O(w^2 + r^2) for transactions with w writes and r reads.

use rustc_hash::FxHashMap;

use super::super::anomaly::Anomaly;
use super::super::explain::who;
use super::super::findings::Findings;
use super::super::txns::{NONE, Txns, What};
use super::edges::happened;
use super::versions::{INCOMPATIBLE, Versions};

/// What was appended to two keys by one transaction: the place in the one, the furthest place in
/// the other by it or those before, and who that was.
type Pairs = FxHashMap<(u32, u32), Vec<(u32, u32, u32)>>;

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
                let last = end.checked_sub(1).map(|last| pairs[last]);
                let Some((_, furthest, writer)) = last else {
                    continue;
                };
                // What it has appended itself is `internal`.
                if furthest >= *read && writer != txn {
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
                pairs.push((*place, *furthest, txn));
            }
        }
    }
    for pairs in pairs.values_mut() {
        pairs.sort_unstable();
        let mut best = (0, NONE);
        for (_, furthest, writer) in pairs {
            if best.1 == NONE || *furthest > best.0 {
                best = (*furthest, *writer);
            }
            (*furthest, *writer) = best;
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

//! Which answers a violation needs.

/// The smallest set of operations, one by one, whose answers alone make the
/// history impossible: `violates` is told for each operation whether its answer
/// counts. Taking an answer away must never make a possible history impossible.
pub(super) fn needed(count: usize, violates: impl Fn(&[bool]) -> bool) -> Vec<usize> {
    let mut counts = vec![true; count];
    drop_ends(&mut counts, &violates);
    let mut kept: Vec<usize> = (0..count).filter(|index| counts[*index]).collect();
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        while start < kept.len() {
            let chunk = start..(start + size).min(kept.len());
            for index in &kept[chunk.clone()] {
                counts[*index] = false;
            }
            if violates(&counts) {
                kept.drain(chunk);
            } else {
                for index in &kept[chunk.clone()] {
                    counts[*index] = true;
                }
                start = chunk.end;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
    kept
}

/// Most answers lie before or after what went wrong.
fn drop_ends(counts: &mut [bool], violates: &impl Fn(&[bool]) -> bool) {
    let total = counts.len();
    let with = |from: usize, to: usize| {
        let counts: Vec<bool> = (0..total)
            .map(|index| from <= index && index < to)
            .collect();
        violates(&counts)
    };
    let to = smallest(total, |to| with(0, to));
    let from = total - smallest(total, |dropped| with(total - dropped, to));
    for (index, counts) in counts.iter_mut().enumerate() {
        *counts = from <= index && index < to;
    }
}

/// The smallest number up to `most` of which this holds, as it does of `most` and
/// of every number above one of which it holds.
fn smallest(most: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    high
}

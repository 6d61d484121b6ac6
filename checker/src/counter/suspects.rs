//! Which sums cannot be, however many operations overlap.
//!
//! Between two operations that told a sum, of which one had returned when the other one began,
//! only that can have been added which had begun when the later one returned and was not over
//! when the earlier one began:
//!
//! ```text
//! add 3      |-----|
//! read -> 3          |---|
//! add 2                 |------|          at most 2 can have come to it
//! read -> 6                       |---|   so it is too much
//! ```
//!
//! And where nobody subtracts no two additions meet the same sum. All of it is found in a walk
//! through the operations, O(n log n), where a search may take long to come there.

use super::Ask;
use crate::search::Call;

type Asked<'c> = Call<&'c (u32, Ask), &'c i64>;

/// How many impossible sums of one kind are suspected.
const MOST: usize = 8;

/// Operations on one counter, alone or two of them, whose sums cannot be.
pub(super) fn impossible(calls: &[Asked<'_>], initial: i128) -> Vec<Vec<usize>> {
    let mut told: Vec<Telling> = (0..calls.len())
        .filter_map(|call| Telling::of(calls, call))
        .collect();
    let mut found = too_far(calls, &told, initial, |number| number.max(0), i128::lt);
    found.extend(too_far(
        calls,
        &told,
        initial,
        |number| number.min(0),
        i128::gt,
    ));
    if calls.iter().all(|call| call.input.1.number() >= 0) {
        found.extend(met_twice(&mut told));
    }
    found
}

/// An operation that told a sum.
struct Telling {
    call: usize,
    invoked: u64,
    returned: u64,
    met: i128,
    number: i128,
}

impl Telling {
    fn of(calls: &[Asked<'_>], index: usize) -> Option<Self> {
        let call = &calls[index];
        Some(Self {
            call: index,
            invoked: call.invoked,
            returned: call.returned?,
            met: call.input.1.met(*call.output?),
            number: call.input.1.number(),
        })
    }
}

/// Those that met a sum beyond what an earlier one and all that can have been added since come
/// to, with that one. What is added counts as far as `part` says, and is too little if the sum
/// that it comes to `is_short` of the one that was met.
fn too_far(
    calls: &[Asked<'_>],
    told: &[Telling],
    initial: i128,
    part: impl Fn(i128) -> i128,
    is_short: impl Fn(&i128, &i128) -> bool,
) -> Vec<Vec<usize>> {
    let begun = Added::of(calls, &part, |call| Some(call.invoked));
    let over = Added::of(calls, &part, |call| call.returned);
    let mut earlier: Vec<&Telling> = told.iter().collect();
    earlier.sort_unstable_by_key(|told| told.returned);
    let mut later = earlier.clone();
    later.sort_unstable_by_key(|told| told.invoked);
    let mut earlier = earlier.into_iter().peekable();
    // The sum without all that can be added to it later. What was there at first is before all.
    let mut least = (initial, None);
    // The one after which least can have been added.
    let mut last: Option<(&Telling, i128)> = None;
    let mut found = Vec::new();
    for told in later {
        while let Some(before) = earlier.next_if(|before| before.returned < told.invoked) {
            let own = before.number - part(before.number);
            let sum = before.met + own - over.before(before.invoked);
            if is_short(&sum, &least.0) {
                least = (sum, Some(before.call));
            }
            if last.is_none_or(|(last, _)| last.invoked < before.invoked) {
                last = Some((before, sum));
            }
        }
        let since = begun.by(told.returned) - part(told.number);
        let last = last.map(|(last, sum)| (sum, Some(last.call)));
        let mut proofs = [(initial, None)].into_iter().chain(last).chain([least]);
        if let Some((_, before)) = proofs.find(|(sum, _)| is_short(&(sum + since), &told.met)) {
            found.push(before.into_iter().chain([told.call]).collect());
        }
        if found.len() == MOST {
            break;
        }
    }
    found
}

/// What was added by some instant.
struct Added(Vec<(u64, i128)>);

impl Added {
    fn of(
        calls: &[Asked<'_>],
        part: impl Fn(i128) -> i128,
        instant: impl Fn(&Asked<'_>) -> Option<u64>,
    ) -> Self {
        let added = |call| Some((instant(call)?, part(call.input.1.number())));
        let mut sums: Vec<(u64, i128)> = calls.iter().filter_map(added).collect();
        sums.sort_unstable_by_key(|(instant, _)| *instant);
        let mut sum = 0;
        for (_, added) in &mut sums {
            sum += *added;
            *added = sum;
        }
        Self(sums)
    }

    fn by(&self, end: u64) -> i128 {
        self.first(self.0.partition_point(|(instant, _)| *instant <= end))
    }

    fn before(&self, end: u64) -> i128 {
        self.first(self.0.partition_point(|(instant, _)| *instant < end))
    }

    fn first(&self, many: usize) -> i128 {
        many.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// Additions of which one met a sum that another one had already added to, in part.
fn met_twice(told: &mut Vec<Telling>) -> Vec<Vec<usize>> {
    told.retain(|told| told.number > 0);
    told.sort_unstable_by_key(|told| (told.met, told.returned));
    let overlap = |pair: &[Telling]| pair[1].met < pair[0].met + pair[0].number;
    let pairs = told.windows(2).filter(|pair| overlap(pair));
    pairs
        .take(MOST)
        .map(|pair| vec![pair[0].call, pair[1].call])
        .collect()
}

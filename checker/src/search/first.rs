//! From when on there is no order.

use std::time::Instant;

use super::explore::{Explored, Stuck, explore};
use super::parts::Part;
use super::plan::{Known, Plan};
use super::{Budget, Call, Clock, Kept, Others, Sequential};

/// How many bytes a search for the first return that is too early may take, and how many more
/// for each call. One that goes straight takes less.
pub(super) const FIRST_BYTES: usize = 16 << 20;
const FIRST_BYTES_PER_CALL: usize = 256;

/// The first return up to which the calls have no order, and what is known by then.
///
/// The search may have given up at an earlier one, for it knew what became of the calls
/// that returned later. The later the end, the less orders there are; it is seldom much
/// later, so steps double. Where a search takes long, the first search has the last word.
pub(super) fn first_stuck<'c, M: Sequential + ?Sized>(
    model: &M,
    part: &Part<'c, M>,
    stuck: Stuck,
    budget: &Budget,
    end: Option<Instant>,
) -> (Stuck, Vec<Known<'c, M>>) {
    let mut returns: Vec<u64> = part.calls.iter().filter_map(|call| call.returned).collect();
    returns.sort_unstable();
    returns.dedup();
    let budget = Budget {
        memory_bytes: (budget.memory_bytes)
            .min(FIRST_BYTES + FIRST_BYTES_PER_CALL * part.calls.len()),
        ..*budget
    };
    let stuck_by = |time: u64| {
        let calls = known_by(&part.calls, time);
        // What begins later cannot help.
        let begun: Vec<u32> = (0..)
            .zip(&calls)
            .filter_map(|(index, call)| (call.invoked <= time).then_some(index))
            .collect();
        let known: Vec<Known<'_, M>> = (begun.iter()).map(|call| calls[*call as usize]).collect();
        let kept = if M::OUTPUTS_REFER_TO_CALLS {
            model.what_matters(&known, Others::AtAnyTime)
        } else {
            (0..known.len()).map(Kept::as_it_is).collect()
        };
        let begun: Vec<u32> = kept.iter().map(|kept| begun[kept.call]).collect();
        let simpler = kept.iter().map(|kept| kept.of(&known)).collect();
        let plan = Plan::of(model, simpler);
        let clock = Clock::until(end, None);
        match explore(model, &part.key, &plan, &budget, &clock) {
            Explored::Stuck(mut stuck) => {
                for call in stuck.order.iter_mut().chain([&mut stuck.call]) {
                    *call = begun[*call as usize];
                }
                Some((stuck, calls))
            }
            Explored::Linearizable(_) | Explored::Unknown(..) => None,
        }
    };
    let time = part.calls[stuck.call as usize].returned;
    let mut low = returns.partition_point(|other| Some(*other) < time);
    let mut high = returns.len();
    let mut found = (stuck, part.calls.clone());
    let mut step = 1;
    while low < high {
        let place = (low + step - 1).min(high - 1);
        match stuck_by(returns[place]) {
            Some(earlier) => (found, high, step) = (earlier, place, 1),
            None => (low, step) = (place + 1, 2 * step),
        }
    }
    found
}

/// What is known at an instant. Calls that begin later are unknown, and stay at their
/// place.
fn known_by<'c, I, O>(calls: &[Call<&'c I, &'c O>], time: u64) -> Vec<Call<&'c I, &'c O>> {
    let at = |call: &Call<&'c I, &'c O>| {
        let is_over = call.returned.is_some_and(|returned| returned <= time);
        if is_over { *call } else { unknown(call) }
    };
    calls.iter().map(at).collect()
}

pub(super) fn unknown<'c, I, O>(call: &Call<&'c I, &'c O>) -> Call<&'c I, &'c O> {
    Call {
        output: None,
        returned: None,
        ..*call
    }
}

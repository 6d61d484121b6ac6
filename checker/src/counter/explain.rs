//! What is said of a sum that cannot be.

use super::{Ask, Counters};
use crate::anomaly;
use crate::search::{Budget, Call, Failure, Found, Sequential, search};

type Asked = Call<(u32, Ask), i64>;

/// How many operations on a counter may be looked at in all orders, and how many bytes that may
/// take.
const OPERATIONS_MAX: usize = 4_000;
const BYTES_MAX: usize = 1 << 20;

impl Counters<'_> {
    /// Whether nobody subtracts, and the refuted operation met less than it can have met.
    pub(super) fn is_too_small(&self, calls: &[Asked], failure: &Failure) -> bool {
        let refuted = &calls[failure.refuted];
        let Some(met) = sum_met(refuted) else {
            return false;
        };
        let name = refuted.input.0;
        let others = || {
            let others = calls.iter().enumerate();
            others.filter(|(_, call)| call.input.0 == name)
        };
        if others().any(|(_, call)| call.input.1.number() < 0) {
            return false;
        }
        // The sum of all that was certainly added before, or that somebody was told before.
        let before = |call: &Asked, at: u64| call.returned.is_some_and(|returned| returned < at);
        let over = || others().filter(|(_, call)| before(call, refuted.invoked));
        let added: i128 = over().map(|(_, call)| call.input.1.number()).sum();
        let told = over().filter_map(|(_, call)| Some(sum_met(call)? + call.input.1.number()));
        let least = told.chain([i128::from(self.initial) + added]).max();
        least.is_some_and(|least| met < least)
            || others().count() <= OPERATIONS_MAX && self.is_more_in_all_orders(calls, failure)
    }

    /// Whether the refuted operation met more in all orders of what else is known.
    fn is_more_in_all_orders(&self, calls: &[Asked], failure: &Failure) -> bool {
        let refuted = &calls[failure.refuted];
        let told = |(index, call): (usize, &Asked)| {
            let has_begun = refuted.returned.is_none_or(|end| call.invoked <= end);
            let counts = anomaly::is_known(failure, index, call);
            let is_over = counts || !failure.others.is_at_any_time();
            let is_it = index == failure.refuted;
            let output = call.output.filter(|_| counts);
            (call.input.0 == refuted.input.0 && has_begun).then(|| Call {
                input: call.input.1,
                output: output.map(|told| {
                    if is_it {
                        Told::AtMost(told)
                    } else {
                        Told::Just(told)
                    }
                }),
                invoked: call.invoked,
                returned: call.returned.filter(|_| is_over),
            })
        };
        let calls: Vec<Call<Ask, Told>> = calls.iter().enumerate().filter_map(told).collect();
        let budget = Budget {
            time: None,
            memory_bytes: BYTES_MAX,
        };
        let sums = Sums {
            initial: self.initial,
        };
        matches!(search(&sums, &calls, &budget), Found::NotLinearizable(_))
    }

    /// Why the sum that the refuted operation met cannot be, in numbers.
    pub(super) fn clause(&self, calls: &[Asked], failure: &Failure) -> Option<String> {
        let Some((least, most)) = self.sums_met(calls, failure) else {
            return grown(calls, failure);
        };
        Some(if least == most {
            format!("it can only have met the sum {least}")
        } else {
            format!("it can only have met a sum from {least} to {most}")
        })
    }

    /// The least and the greatest sum that the refuted operation can have met, if it met neither
    /// of these nor one in between: what is listed and had returned before counts, and all else
    /// that had begun may.
    fn sums_met(&self, calls: &[Asked], failure: &Failure) -> Option<(i128, i128)> {
        let refuted = &calls[failure.refuted];
        let name = refuted.input.0;
        let met = sum_met(refuted)?;
        let (mut least, mut most) = (i128::from(self.initial), i128::from(self.initial));
        for (index, call) in calls.iter().enumerate() {
            let has_begun = refuted.returned.is_none_or(|end| call.invoked <= end);
            if index == failure.refuted || call.input.0 != name || !has_begun {
                continue;
            }
            let is_over = call.returned.is_some_and(|end| end < refuted.invoked);
            let is_certain = is_over && failure.witness.contains(&index);
            let number = call.input.1.number();
            least += if is_certain { number } else { number.min(0) };
            most += if is_certain { number } else { number.max(0) };
        }
        (!(least..=most).contains(&met)).then_some((least, most))
    }
}

/// Why one operation cannot have met a sum that long after another one told its own, where these
/// two prove it.
fn grown(calls: &[Asked], failure: &Failure) -> Option<String> {
    let [earlier, later] = *failure.witness else {
        return None;
    };
    let (earlier, later) = (&calls[earlier], &calls[later]);
    let (met, told) = (
        sum_met(later)?,
        sum_met(earlier)? + earlier.input.1.number(),
    );
    if earlier.returned >= Some(later.invoked) {
        return None;
    }
    let may_be_between = |call: &&Asked| {
        let is_over = call
            .returned
            .is_some_and(|returned| returned < earlier.invoked);
        call.input.0 == later.input.0
            && later
                .returned
                .is_none_or(|returned| call.invoked <= returned)
            && (failure.others.is_at_any_time() || !is_over)
            && ![earlier, later].iter().any(|one| std::ptr::eq(*one, *call))
    };
    let (mut least, mut most) = (0_i128, 0_i128);
    for call in calls.iter().filter(may_be_between) {
        least += call.input.1.number().min(0);
        most += call.input.1.number().max(0);
    }
    let change = met - told;
    let added = match (least, most) {
        (0, 0) => "nothing".to_owned(),
        (least, most) if least == most => format!("only {most}"),
        (least, most) => format!("only from {least} to {most}"),
    };
    (!(least..=most).contains(&change)).then(|| {
        format!(
            "the sum went from {told} to {met}, by {change}, from one operation that is listed to \
             the next, and {added} can have been added in between"
        )
    })
}

/// The sum that a call met, if it was told one.
fn sum_met(call: &Asked) -> Option<i128> {
    Some(call.input.1.met(call.output?))
}

/// What was told of a sum.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    Just(i64),
    /// Or less.
    AtMost(i64),
}

/// One counter.
struct Sums {
    initial: i64,
}

impl Sequential for Sums {
    type State = i128;
    type Input = Ask;
    type Output = Told;
    type Part = ();

    fn part(&self, _: &Ask) {}

    fn initial(&self, (): &()) -> i128 {
        i128::from(self.initial)
    }

    fn step(&self, sum: &i128, ask: &Ask, told: Option<&Told>) -> impl IntoIterator<Item = i128> {
        let (after, result) = ask.of(*sum);
        let is_so = match told {
            Some(Told::Just(told)) => i128::from(*told) == result,
            Some(Told::AtMost(told)) => i128::from(*told) >= result,
            None => true,
        };
        is_so.then_some(after)
    }

    fn only_reads(&self, ask: &Ask, _: Option<&Told>) -> bool {
        ask.number() == 0
    }
}

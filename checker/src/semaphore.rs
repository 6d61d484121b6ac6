//! Semaphores: so many permits are out at a time, and no more.
//!
//! # The question
//!
//! Clients `acquire` and `release` permits, of which there is a fixed number. Is there an
//! order of all operations, each at some instant between its invocation and its return, in
//! which never more permits are out than there are, and none comes back that is not out?
//!
//! ```text
//! two permits
//! acquire  |-----|
//! acquire    |-----|
//! acquire             |-----|             a third one is out: no order
//! release                        |-----|
//! ```
//!
//! # The answer
//!
//! Semaphores are independent of each other. What is valid mostly has an order that is found as
//! it goes along (`mutex/turns.rs`). Otherwise the state is one number. Operations on so
//! many permits are equal and in the order of their returns, so a [search](crate::search)
//! that remembers where it has been takes O(n k^2) for k operations that overlap, if all
//! are on one permit at a time.
//!
//! # Pending operations
//!
//! Those of unknown outcome may take effect at any time after their invocation, or never.
//! All that is exact.
//!
//! The twin in `tests/`, which tries all orders, agrees on many small random histories.

use serde::Deserialize;

use crate::anomaly;
use crate::history::{History, HistoryError, Operation, Problem};
use crate::keyed::{Keyed, got, parameters, unknown_operation};
use crate::mutex::turns::{self, Does, Rooms, Turn, Turned, Who};
use crate::names::Names;
use crate::object::Object;
use crate::search::{Budget, Call, Failure, Named, Sequential};
use crate::verdict::{Kind, Verdict, count};

/// Decides whether the history is that of semaphores.
///
/// Operations: `acquire`, `try-acquire` (whose result is `false` when there were not
/// enough permits) and `release`, of as many permits as the value says, or one when it is
/// null. The header's parameters must have `permits`: how many there are.
///
/// # Errors
/// When an event is no such operation, or the number of permits is missing.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    turns::check::<Semaphores<'_>>(history, budget)
}

/// What semaphores there are.
pub(crate) struct Semaphores<'h> {
    names: Names<'h>,
    permits: u64,
}

#[derive(Deserialize, Default)]
struct Parameters {
    permits: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Acquire,
    TryAcquire,
    Release,
}

impl<'h> Object<'h> for Semaphores<'h> {
    fn of(history: &'h History) -> Result<Self, HistoryError> {
        let Parameters { permits } = parameters(history)?;
        let permits = permits.ok_or_else(|| {
            let detail = "\"permits\", how many there are".to_owned();
            HistoryError::at(1, Problem::Parameters { detail })
        })?;
        Ok(Self {
            names: Names::default(),
            permits,
        })
    }

    fn call(
        &mut self,
        operation: &Operation<'h>,
    ) -> Result<((u32, Ask, u64), Option<bool>), HistoryError> {
        let event = operation.invoke;
        let keyed = Keyed::of(event)?;
        let permits: Option<u64> = keyed.parse(event, "a number of permits, or null")?;
        let name = keyed.key.unwrap_or_default();
        let ask = match event.f() {
            "acquire" => Ask::Acquire,
            "try-acquire" => Ask::TryAcquire,
            "release" => Ask::Release,
            _ => {
                let known = "acquire, try-acquire and release";
                return Err(unknown_operation(event, "semaphore", known));
            }
        };
        let answer = match operation.ok() {
            Some(ok) => {
                // One permit is what no number means.
                let asked = if permits.is_none() { "1" } else { keyed.value };
                got(ask == Ask::TryAcquire, asked, Keyed::of(ok)?.value, ok)?
            }
            None => None,
        };
        Ok(((self.names.number(name), ask, permits.unwrap_or(1)), answer))
    }

    /// More than all permits can never be taken, whoever else has some.
    fn named(&self, calls: &[Call<(u32, Ask, u64), bool>], failure: &Failure) -> Named {
        let (_, ask, permits) = calls[failure.refuted].input;
        let is_taken = calls[failure.refuted].output != Some(false);
        let clause = (permits > self.permits && is_taken).then(|| {
            let does = if ask == Ask::Release {
                "gives back"
            } else {
                "takes"
            };
            let all = match self.permits {
                1 => "there is only 1".to_owned(),
                all => format!("there are only {all}"),
            };
            format!("it {does} {}, and {all}", count(permits, "permit"))
        });
        Named {
            kind: self.kind(calls, failure),
            clause,
        }
    }

    fn kind(&self, calls: &[Call<(u32, Ask, u64), bool>], failure: &Failure) -> Kind {
        let refuted = &calls[failure.refuted];
        match anomaly::wrong_entry(refuted.input.1 == Ask::Release, refuted.output) {
            anomaly::MUTUAL_EXCLUSION => TOO_MANY,
            other => other,
        }
    }

    fn may_wait(operation: &Operation<'h>) -> bool {
        operation.invoke.f() == "acquire"
    }
}

impl<'h> Turned<'h> for Semaphores<'h> {
    fn rooms(&self) -> Option<Rooms> {
        Some(Rooms {
            places: self.permits,
            knows_who_is_inside: false,
        })
    }

    fn turn(&self, (name, ask, permits): &Self::Input, output: Option<&bool>) -> Turn {
        Turn {
            room: *name,
            who: Who {
                owner: 0,
                places: *permits,
            },
            does: match (ask, output) {
                (Ask::Release, _) => Does::Leaves,
                (Ask::TryAcquire, Some(false)) => Does::IsRefused,
                (Ask::Acquire | Ask::TryAcquire, _) => Does::Enters,
            },
        }
    }
}

const TOO_MANY: Kind = Kind {
    name: anomaly::MUTUAL_EXCLUSION.name,
    meaning: "more permits were taken than there are",
};

/// Of how many permits all numbers are told that may be out.
const TOLD_MAX: u64 = 64;

impl Sequential for Semaphores<'_> {
    /// How many permits are out.
    type State = u64;
    type Input = (u32, Ask, u64);
    type Output = bool;
    type Part = u32;

    fn part(&self, (name, ..): &Self::Input) -> u32 {
        *name
    }

    fn initial(&self, _: &u32) -> u64 {
        0
    }

    fn step(
        &self,
        out: &u64,
        (_, ask, permits): &Self::Input,
        output: Option<&bool>,
    ) -> impl IntoIterator<Item = u64> {
        let acquired = out.checked_add(*permits).filter(|out| *out <= self.permits);
        match (ask, output) {
            (Ask::Acquire, _) | (Ask::TryAcquire, Some(true)) => acquired,
            (Ask::TryAcquire, Some(false)) => acquired.is_none().then_some(*out),
            (Ask::TryAcquire, None) => Some(acquired.unwrap_or(*out)),
            (Ask::Release, _) => out.checked_sub(*permits),
        }
    }

    fn only_reads(&self, _: &Self::Input, output: Option<&bool>) -> bool {
        output == Some(&false)
    }

    fn states_after(
        &self,
        (_, ask, permits): &Self::Input,
        output: Option<&bool>,
    ) -> Option<Vec<u64>> {
        let all = self.permits;
        let left = all.saturating_sub(*permits);
        let out = match (ask, output) {
            (Ask::Acquire, _) | (Ask::TryAcquire, Some(true)) => *permits..=all,
            (Ask::TryAcquire, Some(false)) => (all + 1).saturating_sub(*permits)..=all,
            (Ask::TryAcquire, None) => return None,
            (Ask::Release, _) => 0..=left,
        };
        (all <= TOLD_MAX).then(|| out.collect())
    }

    fn show(&self, out: &u64) -> String {
        format!("{out} of {} taken", count(self.permits, "permit"))
    }
}

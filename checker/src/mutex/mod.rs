//! Mutexes without tokens: one holder at a time.
//!
//! # The question
//!
//! Clients `acquire` and `release` a mutex, or one for each name. Is there an order of all
//! operations, each at some instant between its invocation and its return, in which
//! nobody acquires what is held, and nobody releases what is not?
//!
//! ```text
//! acquire  A |-----|
//! acquire  B            |-----|                A still holds it: no order
//! release  A                       |-----|
//! ```
//!
//! Locks in a store with leases cannot promise that, and histories of the recipes have
//! tokens: [`lock`](crate::lock) tells what a lease explains from what nothing does.
//!
//! # What may differ
//!
//! - Owners: without them anybody may release what somebody acquired, as with Knossos'
//!   `mutex`; with them only the owner.
//! - Re-entrance: an owner may acquire what it holds, and must release it as often.
//! - `try-acquire` answers `false` when the mutex was held by somebody else, or, without
//!   re-entrance, by anybody.
//!
//! # The answer
//!
//! Mutexes are independent of each other. What is valid mostly has an order that is found as
//! it goes along (`turns`). Otherwise, with owners, or without anything but `acquire`
//! and `release`, the state is who holds it and how often, and a [search](crate::search)
//! hardly branches: equal operations are in the order of their returns, and what is held
//! can only be released. O(n k) for k operations that overlap; O(n 2^k) at worst where
//! `try-acquire`, or operations of unknown outcome, leave open who held it.
//!
//! # Pending operations
//!
//! An `acquire` or `release` of unknown outcome may take effect at any time after its
//! invocation, or never. All that is exact.
//!
//! The twin in `tests/`, which tries all orders, agrees on many small random histories.

mod ask;
pub(crate) mod turns;

use serde::Deserialize;

use crate::anomaly;
use crate::history::{History, HistoryError, Operation};
use crate::keyed::{parameters, unknown_operation};
use crate::names::Names;
use crate::object::Object;
use crate::search::{Budget, Call, Failure, Sequential};
use crate::verdict::{Kind, Verdict};

use turns::{Does, Rooms, Turn, Turned, Who};

pub(crate) use ask::{Asked, Mode, answer};

/// Whether the history is one of `acquire` and `release`, not of the recipes' locks with
/// tokens.
pub(crate) fn is_of(history: &History) -> bool {
    let first = history
        .events()
        .iter()
        .find(|event| !matches!(event.process(), crate::history::Process::Nemesis));
    first.is_some_and(|event| event.f().ends_with("acquire") || event.f().ends_with("release"))
}

/// Decides whether the history is that of mutexes that one holds at a time.
///
/// Operations: `acquire`, `try-acquire` (whose result is `false` when the mutex was held)
/// and `release`. Values are null, or objects with a `lock` and an `owner`. The header's
/// parameters may have `owners` and `reentrant`, both false when left out; a mutex that is
/// reentrant has owners.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    turns::check::<Mutexes<'_>>(history, budget)
}

/// What mutexes there are.
pub(crate) struct Mutexes<'h> {
    locks: Names<'h>,
    owners: Names<'h>,
    parameters: Parameters,
}

#[derive(Deserialize, Default)]
struct Parameters {
    #[serde(default)]
    owners: bool,
    #[serde(default)]
    reentrant: bool,
}

/// Who holds a mutex, and how often; none when it is free.
type Held = Option<(u32, u32)>;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Acquire,
    TryAcquire,
    Release,
}

impl<'h> Object<'h> for Mutexes<'h> {
    fn of(history: &'h History) -> Result<Self, HistoryError> {
        Ok(Self {
            locks: Names::default(),
            owners: Names::default(),
            parameters: parameters(history)?,
        })
    }

    fn call(
        &mut self,
        operation: &Operation<'h>,
    ) -> Result<((u32, u32, Ask), Option<bool>), HistoryError> {
        let mut asked = Asked::of(operation)?;
        let lock = self.locks.number(std::mem::take(&mut asked.lock));
        let Parameters { owners, reentrant } = self.parameters;
        let owner = if owners || reentrant {
            self.owners.number(asked.owner(operation))
        } else {
            0
        };
        let ask = match operation.invoke.f() {
            "acquire" => Ask::Acquire,
            "try-acquire" => Ask::TryAcquire,
            "release" => Ask::Release,
            _ => {
                let known = "acquire, try-acquire and release";
                return Err(unknown_operation(operation.invoke, "mutex", known));
            }
        };
        let answer = ask::answer(operation, ask == Ask::TryAcquire)?;
        Ok(((lock, owner, ask), answer))
    }

    fn kind(&self, calls: &[Call<(u32, u32, Ask), bool>], failure: &Failure) -> Kind {
        let refuted = &calls[failure.refuted];
        anomaly::wrong_entry(refuted.input.2 == Ask::Release, refuted.output)
    }

    fn may_wait(operation: &Operation<'h>) -> bool {
        operation.invoke.f() == "acquire"
    }
}

impl<'h> Turned<'h> for Mutexes<'h> {
    fn rooms(&self) -> Option<Rooms> {
        // Who is inside may come in again.
        (!self.parameters.reentrant).then_some(Rooms {
            places: 1,
            knows_who_is_inside: self.parameters.owners,
        })
    }

    fn turn(&self, (lock, owner, ask): &Self::Input, output: Option<&bool>) -> Turn {
        Turn {
            room: *lock,
            who: Who {
                owner: *owner,
                places: 1,
            },
            does: match (ask, output) {
                (Ask::Release, _) => Does::Leaves,
                (Ask::TryAcquire, Some(false)) => Does::IsRefused,
                (Ask::Acquire | Ask::TryAcquire, _) => Does::Enters,
            },
        }
    }
}

impl Sequential for Mutexes<'_> {
    type State = Held;
    type Input = (u32, u32, Ask);
    type Output = bool;
    type Part = u32;

    fn part(&self, (lock, ..): &Self::Input) -> u32 {
        *lock
    }

    fn initial(&self, _: &u32) -> Held {
        None
    }

    fn step(
        &self,
        state: &Held,
        (_, owner, ask): &Self::Input,
        output: Option<&bool>,
    ) -> impl IntoIterator<Item = Held> {
        let acquired = match state {
            None => Some((*owner, 1)),
            Some((holder, times)) if holder == owner && self.parameters.reentrant => {
                Some((*owner, times + 1))
            }
            Some(_) => None,
        };
        match (ask, output) {
            (Ask::Acquire, _) | (Ask::TryAcquire, Some(true)) => acquired.map(Some),
            (Ask::TryAcquire, Some(false)) => acquired.is_none().then_some(*state),
            (Ask::TryAcquire, None) => Some(acquired.or(*state)),
            (Ask::Release, _) => match state {
                Some((holder, times)) if holder == owner => {
                    Some((*times > 1).then(|| (*owner, times - 1)))
                }
                _ => None,
            },
        }
    }

    fn only_reads(&self, _: &Self::Input, output: Option<&bool>) -> bool {
        output == Some(&false)
    }

    fn states_after(
        &self,
        (_, owner, ask): &Self::Input,
        output: Option<&bool>,
    ) -> Option<Vec<Held>> {
        let Parameters { owners, reentrant } = self.parameters;
        let after = match (ask, output) {
            // Nobody knows how often.
            _ if reentrant => return None,
            (Ask::Acquire, _) | (Ask::TryAcquire, Some(true)) => Some((*owner, 1)),
            (Ask::TryAcquire, Some(false)) if !owners => Some((*owner, 1)),
            (Ask::Release, _) => None,
            (Ask::TryAcquire, _) => return None,
        };
        Some(vec![after])
    }

    fn show(&self, state: &Held) -> String {
        let is_owned = self.parameters.owners || self.parameters.reentrant;
        match state {
            None => "a free mutex".to_owned(),
            Some(_) if !is_owned => "a mutex that is held".to_owned(),
            Some((owner, 1)) => format!("a mutex held by {}", self.owners.text(*owner)),
            Some((owner, times)) => {
                format!("a mutex held {times} times by {}", self.owners.text(*owner))
            }
        }
    }
}

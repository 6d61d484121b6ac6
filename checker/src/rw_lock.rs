//! Read-write locks without tokens: one writer, or any number of readers.
//!
//! # The question
//!
//! Clients `acquire` and `release` a lock to read or to write. Is there an order of all
//! operations, each at some instant between its invocation and its return, in which no
//! writer is inside with anybody else?
//!
//! ```text
//! acquire read   A |-----|
//! acquire read   B     |-----|                         both are inside
//! acquire write  C               |-----|               A has not left: no order
//! release read   B           |-----|
//! release read   A                          |-----|
//! ```
//!
//! Locks in a store with leases cannot promise that, and histories of the recipes have
//! tokens: see [`lock`](crate::lock).
//!
//! # The answer
//!
//! Locks are independent of each other. What is valid mostly has an order that is found as it
//! goes along (`mutex/turns.rs`). Otherwise the state is who is inside, and a
//! [search](crate::search) remembers where it has been. Without owners equal operations
//! are in the order of their returns, so that it hardly branches: O(n k^3) for k operations
//! that overlap. With owners it is O(n 2^k) at worst.
//!
//! # Pending operations
//!
//! Those of unknown outcome may take effect at any time after their invocation, or never.
//! All that is exact.
//!
//! The twin in `tests/`, which tries all orders, agrees on many small random histories.

use serde::Deserialize;

use crate::anomaly;
use crate::history::{History, HistoryError, Operation};
use crate::keyed::{parameters, unknown_operation};
use crate::mutex::turns::{self, Does, Rooms, Turn, Turned, Who};
use crate::mutex::{Asked, Mode, answer};
use crate::names::Names;
use crate::object::Object;
use crate::search::{Budget, Call, Failure, Sequential};
use crate::verdict::{Kind, Verdict};

/// Decides whether the history is that of locks that have one writer, or any number of
/// readers, at a time.
///
/// Operations: `acquire`, `try-acquire` (whose result is `false` when the lock was held in
/// a way that excludes it) and `release`. Values are objects with a `mode`, `read` or
/// `write`, and perhaps a `lock` and an `owner`. The header's parameters may have `owners`:
/// whether only those release who acquired, false when left out.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    turns::check::<RwLocks<'_>>(history, budget)
}

/// What locks there are.
pub(crate) struct RwLocks<'h> {
    locks: Names<'h>,
    owners: Names<'h>,
    parameters: Parameters,
}

#[derive(Deserialize, Default)]
struct Parameters {
    #[serde(default)]
    owners: bool,
}

/// Who is inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Inside {
    Writer(u32),
    /// Each as often as it is inside, in order.
    Readers(Vec<u32>),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Acquire,
    TryAcquire,
    Release,
}

impl<'h> Object<'h> for RwLocks<'h> {
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
    ) -> Result<((u32, u32, Ask, Mode), Option<bool>), HistoryError> {
        let mut asked = Asked::of(operation)?;
        let lock = self.locks.number(std::mem::take(&mut asked.lock));
        let mode = asked.mode.unwrap_or(Mode::Write);
        let owner = if self.parameters.owners {
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
                return Err(unknown_operation(operation.invoke, "rwlock", known));
            }
        };
        let answer = answer(operation, ask == Ask::TryAcquire)?;
        Ok(((lock, owner, ask, mode), answer))
    }

    fn kind(&self, calls: &[Call<(u32, u32, Ask, Mode), bool>], failure: &Failure) -> Kind {
        let refuted = &calls[failure.refuted];
        anomaly::wrong_entry(refuted.input.2 == Ask::Release, refuted.output)
    }

    fn may_wait(operation: &Operation<'h>) -> bool {
        operation.invoke.f() == "acquire"
    }
}

/// So many may read at a time, since there are not more operations.
const PLACES: u64 = u32::MAX as u64;

impl<'h> Turned<'h> for RwLocks<'h> {
    fn rooms(&self) -> Option<Rooms> {
        Some(Rooms {
            places: PLACES,
            knows_who_is_inside: true,
        })
    }

    fn turn(&self, (lock, owner, ask, mode): &Self::Input, output: Option<&bool>) -> Turn {
        Turn {
            room: *lock,
            who: Who {
                owner: *owner,
                places: if *mode == Mode::Write { PLACES } else { 1 },
            },
            does: match (ask, output) {
                (Ask::Release, _) => Does::Leaves,
                (Ask::TryAcquire, Some(false)) => Does::IsRefused,
                (Ask::Acquire | Ask::TryAcquire, _) => Does::Enters,
            },
        }
    }
}

fn acquired(state: &Inside, owner: u32, mode: Mode) -> Option<Inside> {
    match (state, mode) {
        (Inside::Readers(readers), Mode::Read) => {
            let mut readers = readers.clone();
            let place = readers.partition_point(|reader| *reader < owner);
            readers.insert(place, owner);
            Some(Inside::Readers(readers))
        }
        (Inside::Readers(readers), Mode::Write) => {
            readers.is_empty().then_some(Inside::Writer(owner))
        }
        (Inside::Writer(_), _) => None,
    }
}

fn released(state: &Inside, owner: u32, mode: Mode) -> Option<Inside> {
    match (state, mode) {
        (Inside::Readers(readers), Mode::Read) => {
            let place = readers.iter().position(|reader| *reader == owner)?;
            let mut readers = readers.clone();
            readers.remove(place);
            Some(Inside::Readers(readers))
        }
        (Inside::Writer(writer), Mode::Write) => {
            (*writer == owner).then_some(Inside::Readers(Vec::new()))
        }
        _ => None,
    }
}

impl Sequential for RwLocks<'_> {
    type State = Inside;
    type Input = (u32, u32, Ask, Mode);
    type Output = bool;
    type Part = u32;

    fn part(&self, (lock, ..): &Self::Input) -> u32 {
        *lock
    }

    fn initial(&self, _: &u32) -> Inside {
        Inside::Readers(Vec::new())
    }

    fn step(
        &self,
        state: &Inside,
        (_, owner, ask, mode): &Self::Input,
        output: Option<&bool>,
    ) -> impl IntoIterator<Item = Inside> {
        let acquired = || acquired(state, *owner, *mode);
        match (ask, output) {
            (Ask::Acquire, _) | (Ask::TryAcquire, Some(true)) => acquired(),
            (Ask::TryAcquire, Some(false)) => acquired().is_none().then(|| state.clone()),
            (Ask::TryAcquire, None) => Some(acquired().unwrap_or_else(|| state.clone())),
            (Ask::Release, _) => released(state, *owner, *mode),
        }
    }

    fn only_reads(&self, _: &Self::Input, output: Option<&bool>) -> bool {
        output == Some(&false)
    }

    fn states_after(
        &self,
        (_, owner, ask, mode): &Self::Input,
        output: Option<&bool>,
    ) -> Option<Vec<Inside>> {
        let after = match (mode, ask, output) {
            (Mode::Write, Ask::Acquire, _) | (Mode::Write, Ask::TryAcquire, Some(true)) => {
                Inside::Writer(*owner)
            }
            (Mode::Write, Ask::Release, _) => Inside::Readers(Vec::new()),
            _ => return None,
        };
        Some(vec![after])
    }

    fn heap_bytes(&self, state: &Inside) -> usize {
        match state {
            Inside::Writer(_) => 0,
            Inside::Readers(readers) => readers.capacity() * size_of::<u32>(),
        }
    }

    fn show(&self, state: &Inside) -> String {
        let who = |owner: &u32| {
            if self.parameters.owners {
                format!(": {}", self.owners.text(*owner))
            } else {
                String::new()
            }
        };
        match state {
            Inside::Writer(writer) => format!("a lock with a writer{}", who(writer)),
            Inside::Readers(readers) => match readers.as_slice() {
                [] => "a free lock".to_owned(),
                [one] => format!("a lock with one reader{}", who(one)),
                many => format!("a lock with {} readers", many.len()),
            },
        }
    }
}

//! Linearizability of any object that has a sequential description.
//!
//! # The question
//!
//! A [`Sequential`] says what an object does when operations come one by one. Here are
//! calls that overlap, of which some never returned. Is there an order of them, each at
//! some instant between its invocation and its return, that the object can do?
//!
//! ```text
//! write 1  |-----|
//! write 2     |--------------------- ...          no answer: it may happen, or not
//! read -> 1            |---|
//! read -> 2                   |---|               then it happened just before
//! read -> 1                           |---|       and nothing can explain this
//! ```
//!
//! # The answer
//!
//! Depth-first search with a memory (Wing and Gong 1993, Lowe 2017): walk over the
//! events; a return can be passed once its call has taken effect; what has been invoked
//! can take effect at any time. That is exponential in the number of calls that overlap,
//! and in nothing else. What is done here so that it seldom is:
//!
//! - *A place is small.* Calls are named by slots that are used again (as the processes
//!   of Lowe's just-in-time linearization), so where the search has been is a word or
//!   two for each step, not a bit for each call, and states are kept once. A straight run
//!   over n calls takes O(n) memory.
//! - *Reads do not branch.* A call that leaves every state as it is in which it can
//!   happen ([`Sequential::only_reads`]) is let happen as soon as it can: that is in
//!   nobody's way.
//! - *Equal calls do not branch.* Of two that are equal the one that returns first may as
//!   well happen first.
//! - *Places that are worse are not visited*: those that differ from another one in less
//!   reads, or in more calls of unknown outcome made use of.
//! - *The next read is looked at ahead*: a state is not gone on from when it cannot become the
//!   one that the next read has seen ([`Sequential::can_become`]).
//! - *What is tried first* an object may say ([`Sequential::preference`]): a register that something
//!   writes which the next read needs.
//! - *A mistake may be seen late.* Where the search has come no further for long it goes on from
//!   an earlier place, and comes back when nothing else is left.
//! - *Parts are searched one by one*, several at a time.
//! - *An order may be plain* ([`Sequential::order`]), as that of a register in which each value is
//!   written once.
//! - *A part of the question may have no answer* ([`Sequential::aspects`]), as that about one
//!   element of a set. It is asked where the search takes long.
//! - *A few calls may prove it.* Where the search takes long, those are looked for next to where
//!   it came no further, as for a witness; so calls of unknown outcome, which make the
//!   search exponential, hide no plain fault.
//!
//! # Pending calls
//!
//! A call that did not return may take effect at any time after its invocation, or never.
//! It has a bit of its own; it is not made to happen, and where it changes nothing it
//! does not.
//!
//! # Evidence
//!
//! [`Found::Linearizable`] has the order. [`Found::NotLinearizable`] has the longest
//! prefix that can be explained, and a *witness*: calls of which each is needed. A call is
//! left out of it when there is no order even if nobody knew what came of that call; so the
//! witness breaks the promise whatever happened to the others, and with any one of its calls
//! unknown as well there would be an order.
//!
//! ```text
//! acquire  |-----|                             both prove it, for nobody released in between;
//! release          |-----|                     the others are of no interest
//! acquire                    |-----|       <-
//! acquire                             |-----|  <-
//! ```
//!
//! Some calls prove it even if the others took effect at any later time ([`Others::AtAnyTime`]):
//! whoever reads them needs to see nothing else. An object guesses them
//! ([`Sequential::suspects`]). Otherwise the others are said to have taken effect while they went
//! on ([`Others::InTheirTime`]), as they have; so those that were over, or had not begun, need
//! not be listed. Where even that takes many, what was over before is given
//! ([`Others::InTheirTimeSince`]).
//!
//! Finding a witness takes tries, each a search with less known, and the less is known the
//! longer it may take. [`Sequential::what_matters`] says what need not be tried. Without a guess
//! that is right the search begins with the calls that returned last, or with all, and leaves
//! out halves, quarters and so on. Where it is not known whether each call of a witness is
//! needed, [`Failure::is_minimal`] says so.
//!
//! # Budget
//!
//! Time and memory are bounded ([`Budget`]); when they do not suffice the answer is
//! [`Found::Unknown`]. All answers but that one are the same on every machine.
//!
//! Modules: `plan` sorts the calls out, `explore` searches, `look_ahead` says where not to and `leaps` where it goes on elsewhere, `cache`, `states` and `table`
//! are its memory, `aspects` asks smaller questions, `parts` runs several searches, `first` finds the instant from which there is
//! no order, `minimal` finds the witness, `history` is for calls that come from a [`History`](crate::History).

mod aspects;
mod budget;
mod cache;
mod explore;
mod first;
mod history;
mod leaps;
mod look_ahead;
mod minimal;
mod parts;
mod plan;
mod sequential;
mod states;
mod suspects;
mod table;

use std::ops::RangeInclusive;

use serde::Serialize;

pub use aspects::{Aspect, Reduced};
pub use budget::{Budget, Clock, Limit};
pub use history::{Calls, FailedCall, check_history};
pub(crate) use history::{NON_LINEARIZABLE, Named, given};

pub use sequential::{Kept, Sequential};
pub(crate) use suspects::nearest;

/// One call of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<I, O> {
    /// What was asked.
    pub input: I,
    /// What came of it; none when nobody knows.
    pub output: Option<O>,
    /// When it began, in any unit. Calls of which one begins when the other one returns
    /// count as concurrent.
    pub invoked: u64,
    /// When it had certainly taken effect; none when it may still do so, or never.
    pub returned: Option<u64>,
}

impl<I, O> Call<I, O> {
    /// A call that returned this output.
    pub fn returned(input: I, output: O, during: RangeInclusive<u64>) -> Self {
        Self {
            input,
            output: Some(output),
            invoked: *during.start(),
            returned: Some(*during.end()),
        }
    }

    /// A call that may have taken effect, or not.
    pub fn pending(input: I, invoked: u64) -> Self {
        Self {
            input,
            output: None,
            invoked,
            returned: None,
        }
    }
}

/// What may have become of the calls that a witness does not name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Others {
    /// Anything: they took effect at any time after their invocation, or never.
    #[default]
    AtAnyTime,
    /// They took effect while they went on, or never, whatever came of them.
    InTheirTime,
    /// The same, and those that had returned before this instant did what is known of them. Of a
    /// history it is a line: theirs are before it.
    InTheirTimeSince(u64),
}

impl Others {
    pub(crate) fn is_at_any_time(&self) -> bool {
        *self == Self::AtAnyTime
    }

    /// Whether it is given what came of one that returned then, though it is not listed.
    pub(crate) fn gives(self, returned: Option<u64>) -> bool {
        let Self::InTheirTimeSince(since) = self else {
            return false;
        };
        returned.is_some_and(|returned| returned < since)
    }
}

/// What a search came to. Calls are named by their index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is an order: these calls, one after the other. Pending calls that are not
    /// among them did not happen.
    Linearizable(Vec<usize>),
    /// There is none.
    NotLinearizable(Failure),
    /// The budget did not suffice.
    Unknown(Limit),
}

/// Why there is no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Calls that prove it, in the order of their invocations. If nobody knew what came
    /// of any one of them there would be an order; of all other calls nothing need be
    /// known but what `others` says.
    pub witness: Vec<usize>,
    /// What the others may have done.
    pub others: Others,
    /// The call of the witness that cannot take effect before it returns, when nothing is
    /// known but the witness; ..
    pub refuted: usize,
    /// .. and in which states, as people read them, it can find the object.
    pub meets: Vec<String>,
    /// Whether that is certain of each call of the witness. It is not where the budget
    /// did not suffice to find out.
    pub is_minimal: bool,
    /// The call that could not take effect before it returned. Without its return, and
    /// all that came after it, there is an order. It is the one that is `refuted` where not all
    /// orders were tried, since a few calls prove that there is none.
    pub stuck: usize,
    /// The calls that took effect in such an order; none where not all orders were tried.
    pub prefix: Vec<usize>,
    /// In which states the object may have been then, as people read them, after all
    /// possible orders; none where those were not tried.
    pub states: Vec<String>,
}

impl Failure {
    /// Gives calls other numbers.
    fn rename(&mut self, number: impl Fn(usize) -> usize) {
        for call in self.witness.iter_mut().chain(&mut self.prefix) {
            *call = number(*call);
        }
        self.stuck = number(self.stuck);
        self.refuted = number(self.refuted);
    }
}

/// Whether there is an order of the calls that the object can do.
pub fn search<M: Sequential + ?Sized>(
    model: &M,
    calls: &[Call<M::Input, M::Output>],
    budget: &Budget,
) -> Found {
    parts::search(model, calls, budget)
}

//! Barriers: one that is held and released, a double barrier and a cyclic one.
//!
//! # The barrier
//!
//! It stands or it does not. `hold` raises it, `release` takes it down, `wait`
//! returns when it does not stand. Is there an order of all operations that
//! respects real time and in which every answer is right?
//!
//! ```text
//! hold -> true  |---|
//! wait                  |-----|              returned, and only then
//! release -> true                  |---|     somebody began: early-wait
//! ```
//!
//! The state is one bit, so the orders are searched as they come: at each answer
//! those operations take effect that this answer needs, and no others (Lowe's
//! *just-in-time linearization*). What is kept between two answers is a set of
//! *configurations*: the bit, which operations took effect ahead of their answer,
//! how many of unknown outcome were needed, and when the bit was last the other
//! way, which is all that waits and refusals ask for. Operations of a kind are
//! interchangeable, so the one whose answer comes first goes first, and a
//! configuration that needed more than another is dropped. That keeps the set
//! small however long the history is.
//!
//! A hold with a lease may also fall by itself, at any time after the last event
//! that says that the lease can be relied on.
//!
//! # The double barrier
//!
//! A *round* is `count` participants that enter together: at some instant all of
//! them are between call and return of their `enter`. They are inside until they
//! begin to `leave` or lose their lease; no leave returns before that is true of
//! all of them, and no round begins before. Which enters make a round is not in
//! the history, but nearly always forced: two participants that are inside at the
//! same time are of the same round, and the first to return fixes the instant.
//! Where it is not forced, all ways are tried, within a budget. An enter of
//! unknown outcome may be anybody's companion from its call on, once.
//!
//! # The cyclic barrier
//!
//! A `wait` says which round it was of, and its place in the round. A round is
//! over at one instant, at which all of its participants were waiting, `count` of
//! them; rounds are over in the order of their numbers, which begin at 1. What is
//! left to decide is whether waits of unknown outcome can fill the places that no
//! answer names: each one place, at an instant after its call and before its lease
//! was certainly gone. Rounds are taken in order. At an instant it is best to take
//! those that are gone soonest; at which instant is best depends on who comes later
//! and does not stay, so all instants are kept at which such a one is new, unless
//! another way leaves at least as much.
//!
//! # Cost
//!
//! - The barrier: O(n c), for n operations and c configurations at an answer. What is worse
//!   than another one is dropped, so there are few of them.
//! - The barrier of which nobody's hold falls with a lease mostly has an order that is found as
//!   it goes along (`mutex/turns.rs`).
//! - The double barrier: O(n log n) where those who return one after the other make the rounds, as
//!   they do if nobody is lost; otherwise each attempt to fill a round is a step, and there may be
//!   very many.
//! - The cyclic barrier: O(n log n) without unknown outcomes; with them O(n w^2 u) at
//!   worst, for w ways worth keeping to use u waits of unknown outcome.
//!
//! All three keep to the [budget](crate::search::Budget) of time and memory that every search
//! has; where it does not suffice the verdict is *unknown*.
//!
//! # The order of a valid history
//!
//! Of the barrier that is held and released: all operations that took effect; between two of
//! them it may fall with a lease. Of the cyclic barrier: the waits that returned, round by round,
//! those of a round at one instant and in the order of their places, and the closes. Waits of
//! unknown outcome that filled places are left out, because nobody can tell which they were. Of
//! the double barrier: the enters and leaves that returned, those of a round at one instant each;
//! a leave that did not say that its lease could be relied on may come later. Who filled the
//! places that are left is not told here either.
//!
//! # Witnesses
//!
//! An operation is spared when its answer is not needed: when the history stays impossible
//! although nothing is known of it but what it asked, and when it began. Then it may have taken
//! effect at any time after that, or never ([`Others::AtAnyTime`]). Where that takes more than a
//! few operations, and less do if those that are spared were over by their return, if they took
//! effect at all, that is said ([`Others::InTheirTime`]). What asked with a lease that could be
//! relied on says so when it begins, so it is not listed for that; sentences name its line.
//!
//! What is left cannot be spared, one by one; unless such a question takes more than 300 000
//! steps, or the time is over: then the operation stays, and that is told.
//!
//! In a long history of a double or cyclic barrier that is asked of a *window* around what is wrong,
//! which is made larger until it is impossible by itself. Of the operations before it only those
//! matter that may have taken effect in it: if the others did so in their time, those that went on;
//! if at any time, no more than the rounds of those that are listed need. Of a cyclic barrier the
//! rounds before those of which something is known are not asked about, so an operation is left out
//! only if it can be; that the ones that are left cannot be is seen where more is known of the rounds
//! before, or else not at all.
//!
//! Whoever lost its session could have filled a place of a cyclic barrier at any later time, if it
//! were not known that its lease was gone. So where many did, that a round was early rests on the
//! closes of all of them. Where that is more than eight operations, what had ended before is given
//! ([`Others::InTheirTimeSince`]); each question then goes on from the rounds that were over by
//! then (`cyclic/since.rs`).
//!
//! That somebody was refused for no reason rests on all who came and left before. Where these
//! are more than a few, they are given ([`Others::InTheirTimeSince`]). So they are where very
//! many raise a barrier and take it down at the same time. What proves it is looked for next to
//! the answer that is wrong (`simple/witness.rs`): that is O(n c) in all, and some tries on what
//! came last, whose number is bounded.
//!
//! [`Others::AtAnyTime`]: crate::search::Others::AtAnyTime
//! [`Others::InTheirTime`]: crate::search::Others::InTheirTime
//! [`Others::InTheirTimeSince`]: crate::search::Others::InTheirTimeSince

mod bounds;
mod cyclic;
mod double;
mod minimal;
mod pool;
mod rounds;
mod simple;
mod value;

pub use cyclic::check as check_cyclic;
pub(crate) use cyclic::linearization as linearization_of_cyclic;
pub use double::check as check_double;
pub(crate) use double::linearization as linearization_of_double;
pub use simple::check as check_barrier;
pub(crate) use simple::linearization as linearization_of_barrier;

//! Leader election: one leader per term, seen by all in one order, exactly and in
//! linear time.
//!
//! # The question
//!
//! A candidate puts a key of its own under the election's name. The *term* of a
//! candidacy is the revision that created its key. **The leader at a revision is
//! the candidate with the smallest term among those whose keys exist at that
//! revision**, with the value that its key has; without any key the election is
//! vacant. Clients campaign, proclaim values, resign, ask who leads, observe, and
//! act because they believe to lead. Was everything that they were told true at
//! some instant while they asked?
//!
//! ```text
//! revision      5       6       7       8       9       10
//! key a     |-term 5--------------------|                     leads from 5 to 8
//! key b             |-term 6----|                             never leads
//! key c                     |-term 7----|------------------|  leads from 8 on
//! ```
//!
//! A campaign of `b` that returns here "you lead" is wrong, however late it does:
//! its key died while it waited. It has believed that those before it had gone
//! means that it is first.
//!
//! # The record of the keys
//!
//! One client *watches* the keys from the beginning to the end and writes down every
//! change that etcd tells it of (operation `watch`). With that, the terms, when each
//! led, and what it proclaimed, are known as a function of the revision. Without it
//! the verdict is *unknown*.
//!
//! # The answer
//!
//! What is not known is when, in real time, each revision happened. Everything that a
//! client was told comes down to two kinds of bounds:
//!
//! - revision `x` had *happened by* event `c`: a campaign that returned with term `t`
//!   had seen the revision at which `t` began to lead; a write had happened when it
//!   was acknowledged; an answer "as of revision `r`" cannot come before `r`.
//! - revision `x` had *not happened before* event `i`: a write does not happen before
//!   it was invoked; who was told, by a call invoked at `i`, that `t` leads was told so
//!   of an instant after `i`, so that the revision that ended `t` comes later still.
//!
//! All operations can be explained together exactly when no revision that had not
//! happened before event `i` is at or below one that had happened by an earlier event
//! `c`: then giving each revision the latest of the lower bounds at or below it keeps
//! all bounds and the order of revisions. An operation that needs an instant at which
//! the state lies within `[a, b)` finds one, because `a` happened by its return and `b`
//! not before its invocation. So the check is one pass over the events with one
//! number, the largest revision that had happened so far, and a conflict is between
//! two operations: they are the witness.
//!
//! What the record alone refutes comes first, because it is easier to understand: a
//! term that never led, a value that nobody proposed, a write under a term that had
//! ended.
//!
//! # Pending operations
//!
//! A campaign whose outcome is unknown may have put its key, and a proclamation its
//! value: the record shows whether it did. An operation that failed did not give its
//! client leadership; a campaign that failed may have stood for a while.
//!
//! # The witness
//!
//! What the record says of the keys counts as known; the `watch` that told of the end of a term is
//! listed where the sentence names it. Apart from that a witness is what refutes the record, and
//! none of it can be left out: were nothing known of one of these operations, neither when it was
//! asked for nor what came of it, there would be no violation. An observer is told nothing older
//! than its first question, which is therefore listed with the answer.
//!
//! # The order of a valid history
//!
//! A campaign takes effect when its candidate begins to lead, also if nobody was told so;
//! a proclamation, a write, a mark when etcd applied it; an act, and an answer to who asks once,
//! when the leader was the one it says. A resignation ends the term, or does nothing after the
//! lease has. Between two of them a lease may end. What an observer is told may be long over, and
//! is only in order for this observer; a `run` campaigns as often as it likes; and a `watch` is the
//! record of it all: these are left out.
//!
//! # Cost
//!
//! A sort of the terms and a binary search in the record for each answer, and one pass over the
//! events: O(n log n) for n operations and changes of keys. The twin in `tests/`, which tries all
//! times at which the revisions can have happened, agrees on many small random histories.
//!
//! # What is left out
//!
//! Judged is who leads. Two answers to one client whose revisions go back are right if what they
//! say of the leader held at some instant of each: whether etcd's own reads are linearizable is a
//! question for the model `etcd`.
//!
//! Answers without a revision that say "vacant" fit every vacancy; the check takes
//! them at their word and says *unknown* if nothing else is wrong.

mod bounds;
mod claims;
mod extract;
mod order;
mod record;
mod waiting;

use crate::history::{History, HistoryError};
use crate::linearization::Linearization;
use crate::verdict::{Summary, Verdict};

use extract::Election;

/// Decides whether the history is that of an election.
///
/// Operations: `campaign`, `proclaim`, `resign`, `leader`, `observe`, `run`, `act`,
/// `write`, `mark` and `watch`; `docs/history-format.md` in the repository says what
/// their values are.
///
/// # Errors
/// When an event is no such operation, two operations propose the same value, or the
/// record of the keys contradicts itself.
pub fn check(history: &History) -> Result<Verdict, HistoryError> {
    let election = Election::of(history)?;
    let mut claims = claims::Claims::of(&election)?;
    Ok(verdict(history, &election, &mut claims))
}

/// In which order candidates led, wrote and resigned, and others saw them lead.
pub(crate) fn linearization(history: &History) -> Result<Linearization, HistoryError> {
    let election = Election::of(history)?;
    let mut claims = claims::Claims::of(&election)?;
    let verdict = verdict(history, &election, &mut claims);
    if !verdict.is_valid() {
        return Ok(Linearization::of_no_valid(&verdict));
    }
    Ok(order::of(&election, &claims.bounds))
}

fn verdict(history: &History, election: &Election<'_>, claims: &mut claims::Claims) -> Verdict {
    let violation = claims
        .violation
        .take()
        .or_else(|| bounds::find_conflict(election, &claims.bounds))
        .or_else(|| waiting::find_stuck(election, history));
    match (violation, claims.gap.take()) {
        (Some(violation), _) => Verdict::Violation(violation),
        (None, Some(reason)) => Verdict::Unknown { reason },
        (None, None) => Verdict::Valid(Summary::of(election.operations.iter())),
    }
}

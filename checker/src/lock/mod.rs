//! Locks: who was let in while somebody else was inside, and why.
//!
//! # The question
//!
//! Clients `lock` and `unlock`, and `write` to what the lock protects while they
//! hold it. A lock in a store with leases cannot promise that two clients never
//! *believe* that they hold it: a client that stands still does not notice that its
//! lease has ended and that the lock was given away. So two holdings that overlap in
//! real time are one of two things, and only the store can tell which:
//!
//! ```text
//! holder 5   |== key 5 alive ==========| lease ends
//! believes   |----------- paused ------------------------| its write comes late
//! holder 7        waits                |== granted ============|      excused
//!
//! holder 5   |== key 5 alive ==========================|
//! holder 7        |== granted ============|                           both-alive
//! ```
//!
//! A holding is named by its *token*, the revision at which its key was created. The
//! history says at which revision a holder knew that it was the owner (evidence of
//! `lock`), and when each key was deleted, and whether that was the end of its lease
//! (marks of the one who ran it). Everything follows from comparing these revisions,
//! which etcd assigned, with one another, and from the order of the events.
//!
//! # The answer
//!
//! Write `T` for the token of a holding, `R` for the revision at which it knew itself
//! owner, `D` for the revision at which its key was deleted (never: infinite). Two
//! holdings *conflict* unless both are shared ones of a read-write lock. For all
//! holdings of one lock:
//!
//! - **same-token**: no two holdings have the same `T`, unless the first is over and
//!   nobody knows whether its unlock has deleted the key.
//! - **granted-without-key**: `R < D`.
//! - **both-alive**, **overtaken**: for conflicting holdings with `T1 < T2` it holds that
//!   `D1 <= R2`: whoever came first is gone before the next one is let in. If the
//!   holdings overlap in real time, both were inside; otherwise the order of arrival
//!   was broken.
//! - **key-deleted**: a key that was not deleted by the end of its lease is deleted by
//!   its holder's `unlock`, and not before that was invoked.
//! - **unlock-left-key**: an `unlock` that returned has deleted the key.
//! - **fence-broken**: a guarded write happens while its key is alive, and not after one
//!   with a larger token.
//! - **token-order**: a lock that was asked for after another one was granted gets a
//!   larger token.
//! - **stale-write**: a write without a guard does not happen after a later holder was
//!   let in. This is what a lock cannot prevent and a guard does.
//! - **stuck**: nobody waits at the end for a lock that nobody holds.
//!
//! Overlaps that a lease explains are no violation; a valid verdict counts them in a
//! note. If the history does not say when a key was deleted whose holding overlaps
//! with another one, the verdict is *unknown*.
//!
//! # Pending operations
//!
//! A lock that was not granted, or of which nobody knows, can only have been in
//! somebody's way: it forbids nothing, and is left out. An unlock of unknown outcome
//! may have deleted its key at any time after it was invoked. A write of unknown
//! outcome, if it was guarded, is etcd's affair; if not, it may never have happened.
//!
//! # The witness
//!
//! What the marks say of the keys counts as known. Apart from that the witness of a violation
//! lists what it rests on and no more; an unlock that it does not list may have happened at any
//! time after the grant. So *same-token* lists the unlock of the first holding, if there is one;
//! *key-deleted* and *unlock-left-key* list who showed how far etcd had come. Of *both-alive*
//! the unlocks are left out: without them it would be *overtaken*, and wrong all the same. A
//! *stale-write* lists what was overwritten only if it began before the later grant was told.
//!
//! # The order of a valid history
//!
//! Grants of one lock come in the order of their tokens, each behind all that conflicting
//! holders before it did: their grant, their writes, and the unlock that freed the lock. A
//! holding that ended with its lease has no such unlock; one that came too late freed nothing
//! and stands anywhere behind its grant. An unlock of unknown outcome is part of it if its key
//! was deleted, and not by the lease. What was refused changed nothing and is left out, because
//! nothing is promised of it: attempts that did not get the lock, writes that the guard stopped.
//!
//! # Cost
//!
//! A sort of the holdings by token and of the writes by revision, and one pass over
//! the events: O(n log n). The twin in `tests/`, which replays all revisions one by
//! one, agrees on many small random histories.

mod extract;
mod grants;
mod order;
mod writes;

use crate::history::{History, HistoryError};
use crate::linearization::Linearization;
use crate::liveness::{Deadline, STUCK};
use crate::verdict::{Class, Summary, Verdict, Violation, count};

use extract::Locks;

/// Decides whether the history is that of locks of which each has one holder at a
/// time.
///
/// # Errors
/// When an event is no operation on a lock, or names a token that nobody got.
pub fn check_mutex(history: &History) -> Result<Verdict, HistoryError> {
    check(history, "mutex")
}

/// Decides whether the history is that of locks that have one writer, or any number
/// of readers, at a time.
///
/// # Errors
/// When an event is no operation on a lock, or names a token that nobody got.
pub fn check_rw_lock(history: &History) -> Result<Verdict, HistoryError> {
    check(history, "rwlock")
}

/// In which order mutexes were granted, used and freed.
pub(crate) fn linearization_of_mutex(history: &History) -> Result<Linearization, HistoryError> {
    linearization(history, "mutex")
}

/// In which order read-write locks were granted, used and freed.
pub(crate) fn linearization_of_rw_lock(history: &History) -> Result<Linearization, HistoryError> {
    linearization(history, "rwlock")
}

fn linearization(history: &History, model: &'static str) -> Result<Linearization, HistoryError> {
    let (locks, twice) = Locks::of(history, model)?;
    let verdict = verdict(history, &locks, twice);
    if !verdict.is_valid() {
        return Ok(Linearization::of_no_valid(&verdict));
    }
    Ok(order::of(&locks))
}

fn check(history: &History, model: &'static str) -> Result<Verdict, HistoryError> {
    let (locks, twice) = Locks::of(history, model)?;
    Ok(verdict(history, &locks, twice))
}

fn verdict(history: &History, locks: &Locks<'_>, twice: Option<Violation>) -> Verdict {
    let by_revision = writes::by_revision(locks);
    let violation = twice
        .or_else(|| grants::find_granted_without_key(locks))
        .or_else(|| grants::find_let_in_too_early(locks))
        .or_else(|| grants::find_deleted_by_another(locks))
        .or_else(|| writes::find_broken_fence(locks, &by_revision))
        .or_else(|| grants::find_key_left(locks))
        .or_else(|| grants::find_token_out_of_order(locks))
        .or_else(|| writes::find_stale(locks, &by_revision))
        .or_else(|| find_stuck(locks, history));
    if let Some(violation) = violation {
        return Verdict::Violation(violation);
    }
    let overlaps = grants::overlaps(locks);
    if let Some(unknown) = overlaps.unexplained {
        let grant = &locks.grants[unknown];
        let reason = format!(
            "the holding of {} with token {} overlaps with another one, and the history does not say when its key was deleted; \
             record a `key` mark for each key, and `keys-watched` at the end",
            locks.name(grant),
            grant.token
        );
        return Verdict::Unknown { reason };
    }
    let mut summary = Summary::of(locks.operations.iter());
    if overlaps.excused > 0 {
        let times = count(overlaps.excused, "time");
        summary.notes.push(format!(
            "{times} a lock was granted while an earlier holder still believed that it held it: its lease had ended"
        ));
    }
    Verdict::Valid(summary)
}

/// An operation that had to finish and did not. Who waits for a lock may wait for as
/// long as somebody holds it.
fn find_stuck(locks: &Locks<'_>, history: &History) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let mut stuck = deadline.overdue(locks.operations.iter());
    stuck.retain(|operation| !locks.waits_for_a_holder(operation));
    let (first, others) = stuck.split_first()?;
    let mut sentence = deadline.sentence(first);
    if extract::is_lock(first) {
        sentence += ", although nobody held the lock";
        let alike = locks.held_under_a_similar_name(first);
        if let Some(name) = alike {
            sentence += &format!(
                "; {name} was held, which is another lock whose name begins alike, and must not matter"
            );
        }
    }
    let mut violation = Violation::new(Class::Liveness, STUCK, sentence, [*first]);
    if !others.is_empty() {
        violation.also.push(format!(
            "{} had not finished either",
            count(others.len() as u64, "other operation")
        ));
    }
    Some(violation)
}

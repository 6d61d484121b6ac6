//! etcd itself: its requests and answers, judged by its own promises, in linear time.
//!
//! # The question
//!
//! Clients send etcd's plain requests: reads, writes, transactions, leases,
//! compactions, watches. Every answer has a header with the store's revision, every
//! version of a key the revisions that created and wrote it. Is there a run of a
//! correct etcd, seen by other clients too, in which every answer is right?
//!
//! ```text
//! put a=1      |-----| revision 5
//! put b=1            |--------- ...            its client never knows
//! range a..c             |----| a=1, b absent; revision 5
//! range a..c                    |----| a=1, b=1 of revision 6; revision 6
//! range a..c                            |----| a=1; revision 5      stale-read
//! ```
//!
//! # Why it takes no search
//!
//! A revision is a place in the order of all writes. So each answer says where it
//! belongs, and there is nothing to guess:
//!
//! - A write that was answered happened at its header's revision: no two at one, and
//!   above every revision that was known before the write began ([`same-revision`,
//!   `revision-goes-back`]).
//! - A read that is linearizable shows the state at its header's revision, which is
//!   not below any that was known before it began (`stale-read`). A serializable one
//!   may be older; it still shows the state at its header's revision.
//! - The state at each revision follows from the writes by counting: value, create
//!   revision, mod revision, version, lease. Each answer is compared with it, each
//!   comparison and each previous version too.
//!
//! Conversely, when all that holds, taking writes by revision, and between two writes
//! the reads of that revision in the order of their invocations, is a run of etcd
//! that respects real time. Revisions that no answer shows belong to other clients,
//! who write elsewhere: gaps prove nothing, but to a watch of all keys.
//!
//! Revisions are part of what etcd promises, so a violation holds from what the
//! clients were told. They are never taken for more than that: the time at which a
//! watch hears of something decides nothing.
//!
//! # Writes of unknown outcome
//!
//! Values are unique, so a value that anybody saw says which write it was, at which
//! revision, and for a transaction which branch was taken: then all of it happened
//! there. What nobody saw need not have happened, *unless* something else shows it: a
//! key that is gone, a version that counts one write more, a condition that held.
//! Deletions have no value, and the end of a lease has no client. So there the
//! checker searches: it takes the first difference between replay and answers, and
//! tries every operation of unknown outcome that could explain it, at every free
//! revision since the key's state was last certain. What was seen narrows that: a
//! version says when its key was created and how often it was written since, so whether
//! a put is missing, and between which revisions. A difference that nothing explains
//! ends the attempt.
//!
//! That is complete. Let some set of outcomes explain the history, and let what was
//! tried so far be part of it. Up to the last answer that fits and shows the key
//! entirely, both give the key the same state, for an answer names the version with
//! its revision. So what is missing touches the key after it, and one of the attempts
//! is right. Which branch a transaction took, or whether all its conditions held, is
//! a difference like others. Runs have a handful of unknown outcomes; where there are
//! so many that the time does not suffice to try them, the verdict is *unknown*. The time of
//! the [budget](crate::search::Budget) is counted in attempts, 50 000 for a minute, so that the
//! verdict is the same on every machine, unless it is so slow that the time itself is over
//! before. An attempt is taken back before the next one, so they hold no memory.
//!
//! Where watches have told of all changes of all keys nothing is searched: the state at each
//! revision is known, and who deleted what is a matching of revisions with operations (`assigned`).
//!
//! # Leases
//!
//! A lease ends once, by a revocation or when its time is over, and with it go all
//! keys attached to it, in one revision. It cannot end by itself before the time to
//! live has passed since the *invocation* of the last grant or renewal that was
//! *answered*: the server starts counting later than that, and only a renewal whose
//! answer came is known to have been counted. Both clocks run at the same rate, up to
//! one part in a thousand. So the end takes a revision above all that were known at
//! that instant. An answer that a lease does not exist is one that its keys are gone.
//!
//! # Watches
//!
//! What a watch heard is compared with the same replay: each event is a change that
//! happened, as it happened ([`watch-invented-event`, `watch-wrong-event`]), and up to
//! the last event or notice of progress no change is missing (`watch-lost-event`).
//! That is reliable, resumable and bookmarkable at once, since a watch that resumes is
//! one with a start revision. Order, uniqueness, atomicity and filters show in the
//! watch alone. What two watches heard is combined: an event that one heard of, and
//! another one passed over, is an event lost. To a watch of all keys no revision may be
//! missing, whoever wrote it, and the changes of one revision come as they were written
//! (`sequence`).
//!
//! # What proves a violation
//!
//! Where writes of unknown outcome might explain it, operations are sought that are a violation
//! by themselves, whatever came of all others (`proof`).
//!
//! # Cost
//!
//! O(n log n) for n operations, and for each write of unknown outcome that must be
//! searched for, one replay of the keys that it touches.
//!
//! # What is left out
//!
//! Nested transactions, comparisons of values or ranges, sorting, filters by revision,
//! puts that keep value or lease. A value that two
//! writes of one key share says who wrote it only where the revision does; leases are
//! granted once. What a lease's status says of its time, and whether it lists all its
//! keys, is not judged: a leader may answer that before it has applied the last write.

mod alike;
mod assigned;
mod compaction;
mod counted;
mod deletions;
mod explain;
mod facts;
mod gaps;
mod kinds;
mod lease;
mod lease_uses;
mod linearization;
mod log;
mod lost;
pub mod message;
mod order;
mod proof;
mod reduced;
mod sequence;
mod solve;
mod timeline;
mod watch;

use std::collections::BTreeMap;

use crate::history::{History, HistoryError};
use crate::liveness::{Deadline, STUCK};
use crate::search::Budget;
use crate::verdict::{Class, Summary, Verdict, Violation, asked, count};

pub(crate) use linearization::linearization;

use compaction::Compactions;
use facts::Facts;
use kinds::{NONSENSE, REVISION_GOES_BACK, SAME_REVISION, STALE_READ};
use lease::Lives;
use log::Log;
use order::Order;
use solve::{Placed, Solution, solve};
use watch::{Coverage, Watches};

/// The part of the budget that it may take to find out whether reads and writes are wrong by
/// themselves, where it is known that something is.
const BLAME_DIVISOR: u32 = 120;

/// Decides whether the history is one of etcd.
///
/// # Errors
/// When an event is none of etcd's requests, an answer lacks its revision, or two
/// writes have the same key and value.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    let log = Log::of(history, budget)?;
    let violation = match explanation(&log)? {
        Ok(_) => find_stuck(history, &log),
        Err(found) => return Ok((*found).proven(&log)),
    };
    Ok(violation.map_or_else(
        || {
            let operations: Vec<_> = log.entries.iter().map(|entry| entry.operation).collect();
            Verdict::Valid(Summary::of(&operations))
        },
        Verdict::Violation,
    ))
}

/// What the history is instead of right.
struct Found {
    verdict: Verdict,
    /// What is wrong if something else happened of which nobody was told: where writes of unknown
    /// outcome might explain it, what is listed contradicts itself only as far as none of them
    /// happened, or one in particular.
    otherwise: Option<Violation>,
}

impl Found {
    fn sure(violation: Violation) -> Box<Self> {
        let verdict = Verdict::Violation(violation);
        Box::new(Found {
            verdict,
            otherwise: None,
        })
    }

    fn proven(mut self, log: &Log<'_>) -> Verdict {
        if let Verdict::Violation(violation) = &mut self.verdict {
            match self.otherwise {
                Some(otherwise) => proof::prove(log, violation, Some(otherwise)),
                None => proof::tighten(log, violation),
            }
        }
        self.verdict
    }
}

/// Where the writes happened whose answers do not say it, so that all answers are right, or why
/// they are not.
fn explanation(log: &Log<'_>) -> Result<Result<Vec<Placed>, Box<Found>>, HistoryError> {
    let watches = Watches::of(log)?;
    let order = Order::of(log);
    let lives = Lives::of(log);
    let compactions = Compactions::of(log);
    let facts = Facts::of(log, &order);
    let simple = find_nonsense(log, &facts)
        .or_else(|| find_same_revision(log))
        .or_else(|| find_out_of_order(log, &order))
        .or_else(|| lease::find_wrong(log, &order, &lives))
        .or_else(|| compaction::find_wrong(log, &order, &compactions))
        .or_else(|| explain::not_written(log, &facts));
    if let Some(violation) = simple {
        return Ok(Err(Found::sure(violation)));
    }
    // Watches tell of writes that nobody was told of, so with them there is less to search.
    // What they do wrong by themselves is no matter of that.
    let wrong_watch = watches.find_wrong(log, &order, &compactions);
    let coverage = watches.coverage(log);
    let mut told = Facts::of(log, &order);
    watches.tell(log, &order, &compactions, &mut told);
    let all = match explain::refused(log, &told, &coverage) {
        Some(violation) => Err(Found::sure(violation)),
        None => judge(log, &order, &lives, told, &coverage, &log.budget),
    };
    let gap = || sequence::find_gap(log, &watches);
    let wrong_sequence = gap().or_else(|| sequence::find_shuffled(log, &watches));
    let (wrong_watch, all) = match (wrong_watch, all) {
        (None, Ok(placed)) => {
            return Ok(wrong_sequence.map_or(Ok(placed), |wrong| Err(Found::sure(wrong))));
        }
        (wrong_watch, all) => (wrong_watch, all.err()),
    };
    let lost = lost::find(log, &facts, &coverage);
    // Reads and writes alone, so that a watch is not to blame for what they show.
    let nothing = Coverage::default();
    let short = Budget {
        time: log.budget.time.map(|time| time / BLAME_DIVISOR),
        ..log.budget
    };
    let alone = judge(log, &order, &lives, facts, &nothing, &short).err();
    // Where these are right by themselves, what a watch lost for certain comes before what the
    // search says, which begins with what writes of unknown outcome may explain.
    let of_watch = wrong_watch.or(lost).or(wrong_sequence).map(Found::sure);
    let found: Vec<Box<Found>> = [alone, of_watch, all].into_iter().flatten().collect();
    let mut each = found.iter();
    let first = each.position(|found| found.verdict.violation().is_some());
    let first = first.unwrap_or(0);
    let first = found.into_iter().nth(first);
    Ok(Err(first.expect("something was found")))
}

/// What must have happened for the replay to show what was seen, or what it says against that.
fn judge<'a>(
    log: &'a Log<'a>,
    order: &Order,
    lives: &Lives,
    facts: Facts<'a>,
    coverage: &'a Coverage,
    budget: &Budget,
) -> Result<Vec<Placed>, Box<Found>> {
    match solve(log, order, lives, facts, coverage, budget) {
        Solution::Possible(placed) => Ok(placed),
        Solution::Impossible(found) => {
            let (first, otherwise) = *found;
            let mut violation = explain::explain(log, lives, coverage, &first);
            let mut otherwise =
                otherwise.map(|otherwise| explain::explain(log, lives, coverage, &otherwise));
            // A lease that ended by itself is no operation that was asked for.
            if let Some(otherwise) = &mut otherwise
                && otherwise.kind == kinds::LEASE_LEFT_KEYS
            {
                std::mem::swap(&mut violation, otherwise);
            }
            let verdict = Verdict::Violation(violation);
            Err(Box::new(Found { verdict, otherwise }))
        }
        Solution::Unknown(first, pending) => {
            let reason = first.map(|first| explain::explain(log, lives, coverage, &first));
            let what = match reason {
                Some(violation) => format!(" that {}", violation.sentence),
                None => " what was seen".to_owned(),
            };
            let verdict = Verdict::Unknown {
                reason: format!(
                    "{} of unknown outcome may explain{what}. There are more ways in which they \
                     can have happened than were tried; an answer that shows a state between \
                     would tell which",
                    count(pending as u64, "write"),
                ),
            };
            let otherwise = None;
            Err(Box::new(Found { verdict, otherwise }))
        }
    }
}

fn find_nonsense(log: &Log<'_>, facts: &Facts<'_>) -> Option<Violation> {
    let (entry, how) = facts.nonsense.first()?;
    let operation = log.operation(*entry);
    let sentence = format!("the answer to `{}` {how}", asked(operation));
    Some(Violation::new(
        Class::Safety,
        NONSENSE,
        sentence,
        [operation],
    ))
}

fn find_same_revision(log: &Log<'_>) -> Option<Violation> {
    let mut takers: BTreeMap<i64, usize> = BTreeMap::new();
    for (index, entry) in log.entries.iter().enumerate() {
        if !entry.wrote() {
            continue;
        }
        if let Some(before) = takers.insert(entry.header(), index) {
            let sentence = format!("two writes took revision {}", entry.header());
            let witness = [log.operation(before), &entry.operation];
            return Some(Violation::new(
                Class::Safety,
                SAME_REVISION,
                sentence,
                witness,
            ));
        }
    }
    None
}

/// Answers that contradict real time.
fn find_out_of_order(log: &Log<'_>, order: &Order) -> Option<Violation> {
    for entry in &log.entries {
        let (known, teller) = order.known_before(entry.operation.invoked);
        let revision = entry.header();
        let (kind, sentence) = if entry.wrote() && revision <= known {
            let why = match teller {
                Some(_) => format!("revision {known} was known before it began"),
                None => format!("revision {known} is that of an empty store"),
            };
            let sentence = format!("a write took revision {revision}, but {why}");
            (REVISION_GOES_BACK, sentence)
        } else if entry.is_linearizable() && !entry.wrote() && revision < known {
            let sentence = format!(
                "an answer shows revision {revision}, but revision {known} was known before it \
                 was asked for"
            );
            (STALE_READ, sentence)
        } else {
            continue;
        };
        let teller = teller.map(|teller| log.operation(teller));
        let witness = teller.into_iter().chain([&entry.operation]);
        return Some(Violation::new(Class::Safety, kind, sentence, witness));
    }
    None
}

/// An operation that had to finish and did not.
fn find_stuck(history: &History, log: &Log<'_>) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let operations: Vec<_> = log.entries.iter().map(|entry| entry.operation).collect();
    let stuck = deadline.overdue(&operations);
    let (first, others) = stuck.split_first()?;
    let sentence = deadline.sentence(first);
    let mut violation = Violation::new(Class::Liveness, STUCK, sentence, [*first]);
    if !others.is_empty() {
        violation.also.push(format!(
            "{} had not finished either",
            count(others.len() as u64, "other operation")
        ));
    }
    Some(violation)
}

//! Enqueueing: an item gets the sequence number after the last one of its
//! priority.
//!
//! ```text
//! If Create([name/00007/..0012, name/00007/:)) = 0
//! Then Put(__name/00007, ""), Put(name/00007/..0012, value)
//! Else (the same with a larger number, at last) Get(last of name/00007/)
//! ```
//!
//! Go reads the last key first and then compares the bookkeeping key's
//! modification revision. Here the last number is remembered and the range from
//! the new key on must be empty, which says the same and more: nothing is
//! overwritten even if the bookkeeping key was deleted. One round trip does, and
//! where other producers were faster, the answer says where to go on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use etcd_client::{
    Compare, CompareOp, GetOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse, TxnResponse,
};

use super::layout::{SEQUENCE_END, bookkeeping_key, from_sequence, item_key, sequence_after};
use super::{Enqueued, Inner};
use crate::error::Error;
use crate::keys::Name;
use crate::request::{Purpose, revision_of};
use crate::runtime;
use crate::telemetry;

/// How far behind the expected number to try, one after the other in one
/// transaction, in microseconds (see [`Positions`]).
const STEPS: [u64; 2] = [0, 5_000];

/// A larger value is sent once in a transaction, not once for each step: etcd
/// limits the size of requests, and what they carry takes time.
const SMALL_VALUE: usize = 4 * 1024;

/// From this number on they are no longer given away by the microsecond.
const SPARSE_END: u64 = SEQUENCE_END / 10;

/// In a priority of which nothing is known, so many items may have been put at
/// most; else it is read first, because to look through a long range takes etcd
/// long.
const FEW: i64 = 64;

/// What is known of the sequence numbers.
///
/// They grow by the microsecond, those of all priorities together: whoever saw
/// number `n` a while ago expects that others have gone on from there by the time
/// that has passed since. So producers that know nothing of each other rarely want
/// the same number, and whoever goes on from an old one seldom meets what was put
/// since. The gaps do no harm: only the order matters, and the numbers last for
/// thirty years of this.
#[derive(Debug, Default)]
pub(super) struct Positions(Mutex<Numbers>);

#[derive(Debug, Default)]
struct Numbers {
    /// The highest number that was seen below [`SPARSE_END`], and when the request
    /// was sent that saw it.
    clock: Option<(u64, Instant)>,
    /// The number after the last one of each priority.
    next: BTreeMap<u16, u64>,
}

impl Positions {
    fn lock(&self) -> MutexGuard<'_, Numbers> {
        // Whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    /// The first number to try now.
    fn first(&self, priority: u16, now: Instant) -> u64 {
        let next = self.next.get(&priority).copied().unwrap_or(0);
        next.max(self.time(now).unwrap_or(0))
    }

    fn time(&self, now: Instant) -> Option<u64> {
        let (seen, since) = self.clock?;
        let passed = now.saturating_duration_since(since).as_micros();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        Some(seen.saturating_add(passed).min(SPARSE_END))
    }

    /// Whether the first number will be near the last one that there is.
    fn knows(&self, priority: u16) -> bool {
        self.clock.is_some() || self.next.contains_key(&priority)
    }

    /// The last number of a priority was the one before `next`, when a request was
    /// answered that had been sent at this time.
    fn saw(&mut self, priority: u16, next: u64, sent: Instant) {
        self.next.insert(priority, next);
        if next < SPARSE_END && self.time(sent).is_none_or(|time| time < next) {
            self.clock = Some((next, sent));
        }
    }
}

/// What an attempt came to.
enum Attempt {
    Done {
        sequence: u64,
    },
    /// Others were faster; where to go on.
    Behind {
        next: u64,
    },
}

impl Inner {
    pub(super) async fn put(&self, value: Vec<u8>, priority: u16) -> Result<Enqueued, Error> {
        let why = Purpose {
            operation: "enqueue into",
            target: self.name.as_str(),
        };
        #[cfg(feature = "harness")]
        if self.overwrites() {
            return self.put_without_comparing(why, value, priority).await;
        }
        loop {
            let steps = if value.len() <= SMALL_VALUE {
                STEPS.len()
            } else {
                1
            };
            let sent = runtime::now();
            let (first, knows) = {
                let numbers = self.positions.lock();
                (numbers.first(priority, sent), numbers.knows(priority))
            };
            let guesses: Vec<u64> = STEPS
                .iter()
                .take(steps)
                .map(|step| first + step)
                .filter(|guess| *guess < SEQUENCE_END)
                .collect();
            let txn = attempt(&self.name, priority, &guesses, knows, &value);
            let answer = match self.requests.write(why, txn).await {
                Ok(answer) => answer,
                #[cfg(feature = "harness")]
                Err(error) if self.takes_for_done(&error) => {
                    return Ok(Enqueued {
                        key: String::new(),
                        revision: 0,
                    });
                }
                Err(error) => return Err(error),
            };
            let revision = revision_of(answer.header());
            match self.attempt_outcome(answer, priority, &guesses)? {
                Attempt::Done { sequence } => {
                    self.positions.lock().saw(priority, sequence + 1, sent);
                    let key = item_key(&self.name, priority, sequence);
                    tracing::debug!(key, revision, "enqueued");
                    telemetry::done_at(revision);
                    return Ok(Enqueued { key, revision });
                }
                Attempt::Behind { next } => {
                    tracing::debug!(queue = self.name.as_str(), priority, "others were faster");
                    self.positions.lock().saw(priority, next, sent);
                }
            }
        }
    }

    fn attempt_outcome(
        &self,
        answer: TxnResponse,
        priority: u16,
        guesses: &[u64],
    ) -> Result<Attempt, Error> {
        let unreadable = || Error::unreadable_answer("enqueue into", self.name.as_str());
        let mut level = answer;
        for (index, guess) in guesses.iter().enumerate() {
            let succeeded = level.succeeded();
            let mut answers = level.op_responses();
            if succeeded {
                return Ok(Attempt::Done { sequence: *guess });
            }
            if index + 1 == guesses.len() {
                let next = self.next_in(&answers, priority)?;
                return Ok(Attempt::Behind { next });
            }
            let Some(TxnOpResponse::Txn(inner)) = answers.pop() else {
                return Err(unreadable());
            };
            level = inner;
        }
        Err(unreadable())
    }

    /// What the read of a failed attempt says.
    fn next_in(&self, answers: &[TxnOpResponse], priority: u16) -> Result<u64, Error> {
        let [TxnOpResponse::Get(last)] = answers else {
            return Err(Error::unreadable_answer("enqueue into", self.name.as_str()));
        };
        let Some(kv) = last.kvs().first() else {
            return Ok(0);
        };
        sequence_after(&self.name, priority, kv.key()).ok_or_else(|| {
            Error::foreign_data(
                &String::from_utf8_lossy(kv.key()),
                "no sequence number sorts behind it, so nothing can be enqueued",
            )
        })
    }
}

/// Puts the item with the first of these numbers behind which there is nothing,
/// else reads where to go on.
fn attempt(name: &Name, priority: u16, guesses: &[u64], knows: bool, value: &[u8]) -> Txn {
    let book = bookkeeping_key(name, priority);
    let (first, rest) = guesses.split_first().expect("a number is left");
    let (start, end) = from_sequence(name, priority, *first);
    let otherwise = if rest.is_empty() {
        read_last(name, priority)
    } else {
        TxnOp::txn(attempt(name, priority, rest, knows, value))
    };
    let is_last = Compare::create_revision(start.as_str(), CompareOp::Equal, 0).with_range(end);
    let mut compares = vec![is_last];
    if !knows {
        compares.insert(0, Compare::version(book.as_str(), CompareOp::Less, FEW));
    }
    Txn::new()
        .when(compares)
        .and_then([TxnOp::put(book, "", None), TxnOp::put(start, value, None)])
        .or_else([otherwise])
}

/// Reads the last key of a priority.
pub(super) fn read_last(name: &Name, priority: u16) -> TxnOp {
    let (start, end) = from_sequence(name, priority, 0);
    let last = GetOptions::new()
        .with_range(end)
        .with_sort(SortTarget::Key, SortOrder::Descend)
        .with_limit(1)
        .with_keys_only();
    TxnOp::get(start, Some(last))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_go_on_with_time_in_all_priorities() {
        let start = runtime::now();
        let at = |micros| start + Duration::from_micros(micros);
        let mut numbers = Numbers::default();
        assert_eq!(numbers.first(3, start), 0);
        assert!(!numbers.knows(3));
        numbers.saw(3, 1_000, at(0));
        assert_eq!(numbers.first(3, at(500)), 1_500);
        assert_eq!(numbers.first(7, at(500)), 1_500);
        assert!(numbers.knows(7));
        // Somebody who is behind does not hold it back.
        numbers.saw(3, 1_200, at(600));
        assert_eq!(numbers.first(3, at(600)), 1_600);
    }

    #[test]
    fn a_number_near_the_end_is_no_time_for_others() {
        let start = runtime::now();
        let mut numbers = Numbers::default();
        numbers.saw(3, SEQUENCE_END - 2, start);
        assert_eq!(numbers.first(3, start), SEQUENCE_END - 2);
        assert_eq!(numbers.first(7, start), 0);
        numbers.saw(7, SPARSE_END - 1, start);
        let later = start + Duration::from_secs(1);
        assert_eq!(numbers.first(8, later), SPARSE_END);
    }
}

//! Enqueueing: an item gets the sequence number after the last one of its
//! priority.
//!
//! ```text
//! If Version(__name/00007) < v + 64 and Create([name/00007/..0012, name/00007/:)) = 0
//! Then Put(__name/00007, ""), Put(name/00007/..0012, value)
//! Else (the same with a larger number, at last) Get(last of name/00007/), Get(__name/00007)
//! ```
//!
//! Go reads the last key first and then compares the bookkeeping key's
//! modification revision. Here the last number is remembered and the range from
//! the new key on must be empty, which says the same and more: nothing is
//! overwritten even if the bookkeeping key was deleted. One round trip does, and
//! where other producers were faster, the answer says where to go on. The first
//! compare keeps etcd from looking through a long range when what is remembered
//! is old.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use etcd_client::{
    Compare, CompareOp, GetOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse,
    TxnResponse,
};

use super::layout::{SEQUENCE_END, bookkeeping_key, from_sequence, item_key, sequence_after};
use super::{Enqueued, Inner};
use crate::error::Error;
use crate::keys::Name;
use crate::request::{Purpose, revision_of};

/// How far behind the remembered number to try, one after the other in one
/// transaction. The gaps that this leaves do no harm: only the order matters,
/// and at the largest step each time, the numbers last for 10^14 items.
const STEPS: [u64; 3] = [0, 8, 64];

/// A larger value is sent once in a transaction, not once for each step: etcd
/// limits the size of requests, and what they carry takes time.
const SMALL_VALUE: usize = 4 * 1024;

/// Once so many items were put by others, what is remembered is old.
const OLD: i64 = 64;

/// What is remembered of a priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Position {
    /// The sequence number after the last one that was seen.
    next: u64,
    /// The version of the bookkeeping key, which counts the items, at that time.
    version: i64,
}

/// The last sequence number of each priority, as far as this handle knows.
#[derive(Debug, Default)]
pub(super) struct Positions(Mutex<BTreeMap<u16, Position>>);

impl Positions {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Position>> {
        // Whole at every moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, priority: u16) -> Position {
        self.lock().get(&priority).copied().unwrap_or_default()
    }

    fn set(&self, priority: u16, position: Position) {
        self.lock().insert(priority, position);
    }
}

/// What an attempt came to.
enum Attempt {
    Done {
        sequence: u64,
        version: i64,
    },
    /// Others were faster; where to go on.
    Behind(Position),
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
        let mut position = self.positions.get(priority);
        loop {
            let steps = if value.len() <= SMALL_VALUE { 3 } else { 1 };
            let guesses: Vec<u64> = STEPS
                .iter()
                .take(steps)
                .map(|step| position.next + step)
                .filter(|guess| *guess < SEQUENCE_END)
                .collect();
            let txn = attempt(&self.name, priority, &guesses, position.version, &value);
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
                Attempt::Done { sequence, version } => {
                    let next = sequence + 1;
                    self.positions.set(priority, Position { next, version });
                    let key = item_key(&self.name, priority, sequence);
                    tracing::debug!(key, revision, "enqueued");
                    return Ok(Enqueued { key, revision });
                }
                Attempt::Behind(ahead) => {
                    tracing::debug!(queue = self.name.as_str(), priority, "others were faster");
                    self.positions.set(priority, ahead);
                    position = ahead;
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
                let version = match answers.first() {
                    Some(TxnOpResponse::Put(put)) => {
                        put.prev_key().map_or(0, etcd_client::KeyValue::version)
                    }
                    _ => return Err(unreadable()),
                };
                return Ok(Attempt::Done {
                    sequence: *guess,
                    version: version + 1,
                });
            }
            if index + 1 == guesses.len() {
                return self.position_in(&answers, priority).map(Attempt::Behind);
            }
            let Some(TxnOpResponse::Txn(inner)) = answers.pop() else {
                return Err(unreadable());
            };
            level = inner;
        }
        Err(unreadable())
    }

    /// What the reads of a failed attempt say.
    fn position_in(&self, answers: &[TxnOpResponse], priority: u16) -> Result<Position, Error> {
        let [TxnOpResponse::Get(last), TxnOpResponse::Get(book)] = answers else {
            return Err(Error::unreadable_answer("enqueue into", self.name.as_str()));
        };
        let next = match last.kvs().first() {
            None => 0,
            Some(kv) => sequence_after(&self.name, priority, kv.key()).ok_or_else(|| {
                Error::foreign_data(
                    &String::from_utf8_lossy(kv.key()),
                    "no sequence number sorts behind it, so nothing can be enqueued",
                )
            })?,
        };
        Ok(Position {
            next,
            version: book.kvs().first().map_or(0, etcd_client::KeyValue::version),
        })
    }
}

/// Puts the item with the first of these numbers behind which there is nothing,
/// else reads where to go on.
fn attempt(name: &Name, priority: u16, guesses: &[u64], version: i64, value: &[u8]) -> Txn {
    let book = bookkeeping_key(name, priority);
    let (first, rest) = guesses.split_first().expect("a number is left");
    let (start, end) = from_sequence(name, priority, *first);
    let counted = PutOptions::new().with_prev_key();
    let otherwise = if rest.is_empty() {
        read_position(name, priority)
    } else {
        vec![TxnOp::txn(attempt(name, priority, rest, version, value))]
    };
    Txn::new()
        .when([
            Compare::version(book.as_str(), CompareOp::Less, version + OLD),
            Compare::create_revision(start.as_str(), CompareOp::Equal, 0).with_range(end),
        ])
        .and_then([
            TxnOp::put(book, "", Some(counted)),
            TxnOp::put(start, value, None),
        ])
        .or_else(otherwise)
}

/// Reads the last key of a priority and its bookkeeping key.
pub(super) fn read_position(name: &Name, priority: u16) -> Vec<TxnOp> {
    let (start, end) = from_sequence(name, priority, 0);
    let last = GetOptions::new()
        .with_range(end)
        .with_sort(SortTarget::Key, SortOrder::Descend)
        .with_limit(1)
        .with_keys_only();
    vec![
        TxnOp::get(start, Some(last)),
        TxnOp::get(bookkeeping_key(name, priority), None),
    ]
}

//! Enqueueing: items get the numbers after the last one that was given out.
//!
//! ```text
//! If Version(tail) < v + 64 and Create([items/..12, items/:)) = 0
//! Then Put(items/..12, value) .. Put(tail, "12") Else (the same with larger numbers, at last) Get(tail)
//! ```
//!
//! What is remembered of the tail saves the read; where other producers were
//! faster, the answer says where to go on. The order of the numbers is that of
//! the commits, because nothing may lie behind a new item.

use std::sync::{Mutex, PoisonError};

use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};

use super::Inner;
use super::layout::{self, NUMBER_END};
use crate::error::Error;
use crate::keys::Name;
use crate::queue::Enqueued;
use crate::request::{Purpose, revision_of};
use crate::telemetry;

/// How many values one transaction may carry: etcd allows 128 operations.
pub(super) const BATCH_MAX: usize = 100;

/// How far behind the remembered number to try; see the priority queue.
const STEPS: [u64; 3] = [0, 8, 64];

/// More bytes than this are sent once in a transaction, not for each step.
const SMALL: usize = 4 * 1024;

/// Once so many batches were put by others, what is remembered is old.
const OLD: i64 = 64;

const OPERATION: &str = "enqueue into";

/// What is remembered of the tail.
#[derive(Debug, Clone, Copy, Default)]
struct Position {
    /// The number after the last one.
    next: u64,
    version: i64,
}

/// The last position that this handle knows.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<Position>);

impl Tail {
    fn get(&self) -> Position {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, position: Position) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }
}

impl Inner {
    pub(super) async fn put(&self, values: Vec<Vec<u8>>) -> Result<Vec<Enqueued>, Error> {
        if values.len() > BATCH_MAX {
            return Err(Error::invalid_option(
                OPERATION,
                self.name.as_str(),
                "a batch has 100 values at most",
            ));
        }
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let why = Purpose {
            operation: OPERATION,
            target: self.name.as_str(),
        };
        let bytes: usize = values.iter().map(Vec::len).sum();
        let steps = if bytes <= SMALL && values.len() <= 20 {
            3
        } else {
            1
        };
        let count = values.len() as u64;
        let mut position = self.tail.get();
        loop {
            if position.next + count + STEPS[steps - 1] >= NUMBER_END {
                let tail = layout::tail_key(&self.name);
                return Err(Error::foreign_data(&tail, "no numbers are left"));
            }
            let guesses: Vec<u64> = STEPS[..steps].iter().map(|s| position.next + s).collect();
            let txn = attempt(&self.name, &guesses, position.version, &values);
            let answer = self.requests.write(why, txn).await?;
            let revision = revision_of(answer.header());
            match self.read_attempt(answer, &guesses, count)? {
                Ok((first, after)) => {
                    self.tail.set(after);
                    tracing::debug!(
                        queue = self.name.as_str(),
                        first,
                        count,
                        revision,
                        "enqueued"
                    );
                    telemetry::done_at(revision);
                    let enqueued = (first..first + count).map(|number| Enqueued {
                        key: layout::item_key(&self.name, number),
                        revision,
                    });
                    return Ok(enqueued.collect());
                }
                Err(ahead) => {
                    self.tail.set(ahead);
                    position = ahead;
                }
            }
        }
    }

    /// The first number that was given, and the position after it; or where to go
    /// on, because others were faster.
    fn read_attempt(
        &self,
        answer: TxnResponse,
        guesses: &[u64],
        count: u64,
    ) -> Result<Result<(u64, Position), Position>, Error> {
        let unreadable = || Error::unreadable_answer(OPERATION, self.name.as_str());
        let mut level = answer;
        for guess in guesses {
            let succeeded = level.succeeded();
            match (succeeded, level.op_responses().pop()) {
                (true, Some(TxnOpResponse::Put(tail))) => {
                    let after = Position {
                        next: guess + count,
                        version: tail.prev_key().map_or(0, etcd_client::KeyValue::version) + 1,
                    };
                    return Ok(Ok((*guess, after)));
                }
                (false, Some(TxnOpResponse::Txn(inner))) => level = inner,
                (false, Some(TxnOpResponse::Get(tail))) => {
                    let Some(kv) = tail.kvs().first() else {
                        return Ok(Err(Position::default()));
                    };
                    let last = layout::number_of_tail(&self.name, kv.value())?;
                    return Ok(Err(Position {
                        next: last + 1,
                        version: kv.version(),
                    }));
                }
                _ => return Err(unreadable()),
            }
        }
        Err(unreadable())
    }
}

fn attempt(name: &Name, guesses: &[u64], version: i64, values: &[Vec<u8>]) -> Txn {
    let tail = layout::tail_key(name);
    let (first, rest) = guesses.split_first().expect("there is a guess");
    let (start, end) = layout::items_from(name, *first);
    let keys = (*first..).map(|number| layout::item_key(name, number));
    let mut then: Vec<TxnOp> = keys
        .zip(values)
        .map(|(key, value)| TxnOp::put(key, value.as_slice(), None))
        .collect();
    let last = *first + values.len() as u64 - 1;
    let counted = PutOptions::new().with_prev_key();
    then.push(TxnOp::put(tail.as_str(), last.to_string(), Some(counted)));
    let otherwise = if rest.is_empty() {
        TxnOp::get(tail.as_str(), None)
    } else {
        TxnOp::txn(attempt(name, rest, version, values))
    };
    Txn::new()
        .when([
            Compare::version(tail, CompareOp::Less, version + OLD),
            Compare::create_revision(start, CompareOp::Equal, 0).with_range(end),
        ])
        .and_then(then)
        .or_else([otherwise])
}

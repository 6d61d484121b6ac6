//! Software transactional memory: read and write any keys as if alone.
//!
//! A transaction is a closure. It reads and writes through a [`Transaction`],
//! which collects what was read and what is to be written; then one etcd txn
//! writes everything, provided that what was read has not changed. If it has,
//! the closure runs again.
//!
//! # What it promises, and what not
//!
//! [`Isolation`] says what each level gives, and [`Stm`] what all have in common.
//! It is a transaction on *one* etcd cluster, not a distributed one: what the
//! closure does elsewhere is not part of it and happens again when it runs again. A
//! commit whose answer is lost has an unknown outcome, and is not sent again
//! ([`StmError::is_outcome_unknown`]). There are no reads of ranges. Transactions
//! that keep touching the same keys make each other run again, without fairness.
//! The page `docs/guarantees.md` of the repository shows all of this with the
//! simulator's own output.
//!
//! # Keys
//!
//! Those that the closure names, and no others. Compares are of modification
//! revisions, as in etcd's Go STM, so that transactions of both may meet.
//!
//! - `transaction`: what the closure works with, and how it reads;
//! - `commit`: the txn at the end;
//! - `ahead`: what one transaction reveals for the next.

mod ahead;
mod commit;
#[cfg(feature = "harness")]
mod fault;
mod transaction;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::Client;

use self::ahead::Ahead;
use self::commit::Commit;
#[cfg(feature = "harness")]
pub use self::fault::StmFault;
use self::transaction::Snapshot;
pub use self::transaction::{Read, Transaction, Write};
use crate::error::Error;
use crate::request::{DEFAULT_REQUEST_DEADLINE, Requests};
use crate::runtime::{self, Either};
use crate::telemetry::{self, Call};

/// Runs transactions.
///
/// # What it promises
///
/// At every level but [`ReadCommitted`](Isolation::ReadCommitted), committed
/// transactions are strictly serializable: they take effect one after the other
/// at their commit revisions, each between its call and its return, and each
/// has read what was there at that moment. A transaction that wrote nothing
/// takes effect at its [`read_revision`](Committed::read_revision).
///
/// At the two snapshot levels also every *attempt* sees one state of the store,
/// the retry after a conflict included, so the closure never meets a
/// combination of values that never was. It may be a state from a few
/// milliseconds before the call, if clones of this `Stm` have just committed: then
/// the transaction begins with what that commit has revealed, and costs a single
/// request, its commit. What commits, or is handed back without a commit, is
/// compared with etcd all the same.
///
/// # What it does not promise
///
/// It is no transaction over several stores: what the closure does elsewhere is not undone,
/// and happens again with each attempt. A commit whose answer is lost is not sent again, so
/// its outcome is [unknown](StmError::is_outcome_unknown). There are no reads of ranges, and
/// no more than 128 keys in all (etcd's `--max-txn-ops`). Dropping the future of a run leaves
/// everything written or nothing.
///
/// ```
/// # async fn example(client: etcd_recipes::etcd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use etcd_recipes::{Error, Stm};
///
/// let stm = Stm::new(&client);
/// let done = stm
///     .run(|txn| async move {
///         let visits = txn.get("visits").await?.unwrap_or_default();
///         let visits = String::from_utf8_lossy(&visits).parse().unwrap_or(0) + 1;
///         txn.put("visits", visits.to_string());
///         Ok::<u64, Error>(visits)
///     })
///     .await?;
/// println!("visit {} at revision {:?}", done.value, done.revision);
/// # Ok(())
/// # }
/// # let run = etcd_sim::Simulation::builder().run(|simulation| async move {
/// #     example(simulation.client(0).await.unwrap()).await.unwrap();
/// # });
/// # run.unwrap();
/// ```
#[derive(Clone)]
pub struct Stm {
    requests: Requests,
    isolation: Isolation,
    max_attempts: Option<u32>,
    deadline: Option<Duration>,
    ahead: Arc<Ahead>,
    #[cfg(feature = "harness")]
    fault: Option<StmFault>,
}

/// What a transaction may see, and what makes it fail to commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// One snapshot for each attempt. Conflicts if a key that was read or
    /// written has changed since the snapshot.
    #[default]
    SerializableSnapshot,
    /// One snapshot for each attempt. Conflicts if a key that was read has
    /// changed since the snapshot; keys that were only written do not count.
    Serializable,
    /// An attempt may mix states of the store, but sees each key in one state.
    /// Conflicts if a key that was read has changed since it was read.
    RepeatableReads,
    /// Reads what some member has committed, which may be out of date. Never
    /// conflicts: **updates can be lost**. Only the writes are atomic.
    ReadCommitted,
}

impl Isolation {
    fn has_snapshot(self) -> bool {
        matches!(self, Self::SerializableSnapshot | Self::Serializable)
    }
}

/// A transaction that took effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// What the closure returned.
    pub value: T,
    /// The revision of the writes; none if nothing was written.
    pub revision: Option<i64>,
    /// A revision at which everything that was read held together; none if
    /// nothing was read, at [`Isolation::ReadCommitted`], and where only the
    /// commit made sure of it (the reads then held right before `revision`).
    pub read_revision: Option<i64>,
    /// How often the closure ran.
    pub attempts: u32,
}

/// Why a transaction did not take effect, or may not have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StmError<E> {
    /// The closure returned this error. Nothing was written. What it had read
    /// was consistent, except at [`Isolation::ReadCommitted`].
    #[error("the transaction was aborted: {0}")]
    Abort(E),
    /// A request failed, or the transaction was given up. Whether it may have
    /// taken effect is [`Error::is_outcome_unknown`].
    #[error(transparent)]
    Recipe(#[from] Error),
}

impl<E> StmError<E> {
    /// Whether the transaction may have taken effect, now or later.
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self, Self::Recipe(error) if error.is_outcome_unknown())
    }
}

impl Stm {
    /// Transactions at [`Isolation::SerializableSnapshot`], repeated until they
    /// commit.
    pub fn new(client: &Client) -> Self {
        Self {
            requests: Requests::new(client, DEFAULT_REQUEST_DEADLINE),
            isolation: Isolation::default(),
            max_attempts: None,
            deadline: None,
            ahead: Arc::default(),
            #[cfg(feature = "harness")]
            fault: None,
        }
    }

    /// Sets the isolation level.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Gives up after this many attempts (at least 1). Default: never.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts.max(1));
        self
    }

    /// Gives up after this time, counted from the call of [`run`](Self::run). A
    /// commit that is on its way then ends with an unknown outcome. Default:
    /// never.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How long to wait for the answer to one request. A commit that takes
    /// longer ends with an unknown outcome. Default: 5 s.
    #[must_use]
    pub fn request_deadline(mut self, deadline: Duration) -> Self {
        self.requests = self.requests.with_deadline(deadline);
        self
    }

    /// Runs a transaction: `body` once for each attempt, with a new
    /// [`Transaction`].
    ///
    /// `body` must leave no traces but in etcd and in what it returns, because
    /// it may run more than once, and may be dropped at an `await` when its
    /// snapshot was compacted away. Reads should go through the given
    /// transaction only. A transaction that writes nothing is read-only: it is not
    /// committed, at most compared with what etcd holds. At the snapshot levels it
    /// runs twice at most, however much others write.
    ///
    /// Up to 128 keys can be read, and as many written; at
    /// [`Isolation::SerializableSnapshot`] up to 128 keys read or written in
    /// all. etcd refuses more (`--max-txn-ops`).
    ///
    /// # Errors
    ///
    /// - [`StmError::Abort`]: `body` returned an error of its own.
    /// - [`StmError::Recipe`] with [an unknown outcome](Error::is_outcome_unknown):
    ///   the commit was sent and not answered. It is not sent again. A clone of
    ///   the transaction, kept by `body`, tells what was read and written.
    ///   Dropping the future while it commits leaves the outcome unknown too.
    /// - [`StmError::Recipe`] with any other error: nothing was written. A read
    ///   failed; etcd refused the commit; there were [too many
    ///   attempts](Error::is_too_many_attempts); or the
    ///   [deadline](Error::is_deadline_elapsed) passed.
    pub async fn run<T, E, B, F>(&self, body: B) -> Result<Committed<T>, StmError<E>>
    where
        B: FnMut(Transaction) -> F,
        F: Future<Output = Result<T, E>>,
    {
        let call = Call {
            recipe: "stm",
            operation: "run",
            name: "",
            lease: None,
        };
        let outcome_of = |error: &StmError<E>| match error {
            StmError::Abort(_) => "aborted",
            StmError::Recipe(error) => telemetry::outcome_of(error),
        };
        telemetry::observed_with(call, self.attempts(body), outcome_of).await
    }

    async fn attempts<T, E, B, F>(&self, mut body: B) -> Result<Committed<T>, StmError<E>>
    where
        B: FnMut(Transaction) -> F,
        F: Future<Output = Result<T, E>>,
    {
        let limit = Limit::new(self.deadline);
        let mut snapshot = self.snapshot_ahead();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let requests = limit.limited(&self.requests)?;
            let txn = self.begin(requests, snapshot.take());
            match attempt(&mut body, &txn, &self.ahead, &limit).await? {
                Attempt::Done { value, revision } => {
                    telemetry::stm_attempts(attempts);
                    return Ok(Committed {
                        value,
                        revision,
                        read_revision: txn.read_revision(),
                        attempts,
                    });
                }
                Attempt::Again(fresh) => snapshot = fresh,
            }
            if self.max_attempts.is_some_and(|most| attempts >= most) {
                return Err(Error::too_many_attempts(attempts).into());
            }
            if let Some(pause) = pause_after(attempts) {
                limit.left()?;
                runtime::sleep(pause).await;
                // What the failed commit has read is out of date by the pause, and would
                // meet a conflict again.
                if let Some(stale) = snapshot.take() {
                    let requests = limit.limited(&self.requests)?;
                    snapshot = commit::read_anew(stale, &requests).await?;
                }
            }
        }
    }
}

impl Stm {
    /// What the last commit has revealed. Not for whom a single attempt has to
    /// do, nor where there are no snapshots.
    fn snapshot_ahead(&self) -> Option<Snapshot> {
        #[cfg(feature = "harness")]
        if self.fault.is_some() {
            return None;
        }
        let may_conflict = self.max_attempts != Some(1);
        (may_conflict && self.isolation.has_snapshot())
            .then(|| self.ahead.take())
            .flatten()
    }

    #[cfg(not(feature = "harness"))]
    fn begin(&self, requests: Requests, snapshot: Option<Snapshot>) -> Transaction {
        Transaction::new(self.isolation, requests, snapshot)
    }

    #[cfg(feature = "harness")]
    fn begin(&self, requests: Requests, snapshot: Option<Snapshot>) -> Transaction {
        let read_at = fault::revision_of(snapshot.as_ref());
        Transaction::new(self.isolation, requests, snapshot).with_fault(self.fault, read_at)
    }
}

impl fmt::Debug for Stm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stm")
            .field("isolation", &self.isolation)
            .field("max_attempts", &self.max_attempts)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// What an attempt came to, if not an error.
enum Attempt<T> {
    Done {
        value: T,
        revision: Option<i64>,
    },
    /// It met a conflict, or its snapshot is gone. What the failed commit has
    /// read serves the next attempt.
    Again(Option<Snapshot>),
}

async fn attempt<T, E, B, F>(
    body: &mut B,
    txn: &Transaction,
    ahead: &Ahead,
    limit: &Limit,
) -> Result<Attempt<T>, StmError<E>>
where
    B: FnMut(Transaction) -> F,
    F: Future<Output = Result<T, E>>,
{
    // A snapshot that is gone ends the closure where it stands.
    let bounded = limit.apply(runtime::race(body(txn.clone()), txn.snapshot_lost()));
    let returned = match bounded.await? {
        Either::Left(returned) => returned,
        Either::Right(()) => return Ok(Attempt::Again(None)),
    };
    if txn.finish()? {
        return Ok(Attempt::Again(None));
    }
    match returned {
        Ok(value) => Ok(
            match commit::commit(txn, ahead, &limit.limited(txn.requests())?).await? {
                Commit::Done { revision } => Attempt::Done { value, revision },
                Commit::Conflict(snapshot) => Attempt::Again(snapshot),
            },
        ),
        #[cfg(feature = "harness")]
        Err(error) if txn.has_fault(StmFault::UnvalidatedAbort) => Err(StmError::Abort(error)),
        // What the closure objects to may be a state that never was.
        Err(error) => match commit::validate(txn, &limit.limited(txn.requests())?).await? {
            true => Err(StmError::Abort(error)),
            false => Ok(Attempt::Again(None)),
        },
    }
}

/// The pause before the attempt that follows attempt number `attempts`. None
/// after the first: what the failed commit has read is at its freshest then.
/// Later anything up to a bound that doubles from 8 ms to 128 ms: each commit
/// that fails costs etcd as much as one that succeeds, so those who have failed
/// twice let others finish. (10 clients on 5 accounts: 1.9 attempts for a transfer,
/// and 2.4 with bounds from 2 ms; with bounds from 16 ms on they mostly wait.)
fn pause_after(attempts: u32) -> Option<Duration> {
    let doublings = attempts.checked_sub(2)?.min(4);
    let bound_micros = 8_000 << doublings;
    Some(Duration::from_micros(runtime::random_u64() % bound_micros))
}

/// The deadline of a whole transaction.
struct Limit {
    start: Instant,
    deadline: Option<Duration>,
}

impl Limit {
    fn new(deadline: Option<Duration>) -> Self {
        Self {
            start: runtime::now(),
            deadline,
        }
    }

    /// What is left of the deadline, if there is one.
    fn left(&self) -> Result<Option<Duration>, Error> {
        let Some(deadline) = self.deadline else {
            return Ok(None);
        };
        let passed = runtime::now().saturating_duration_since(self.start);
        match deadline.checked_sub(passed) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(Self::elapsed(deadline)),
        }
    }

    /// Requests that take no longer than what is left.
    fn limited(&self, requests: &Requests) -> Result<Requests, Error> {
        Ok(match self.left()? {
            Some(left) => requests.limited_to(left),
            None => requests.clone(),
        })
    }

    /// Ends a future that commits nothing when the deadline passes.
    async fn apply<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        match (self.left()?, self.deadline) {
            (Some(left), Some(deadline)) => runtime::timeout(left, future)
                .await
                .map_err(|_| Self::elapsed(deadline)),
            _ => Ok(future.await),
        }
    }

    fn elapsed(deadline: Duration) -> Error {
        Error::deadline("run", "a transaction", deadline, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_attempt_follows_at_once_and_later_ones_after_a_bounded_pause() {
        assert_eq!(pause_after(1), None);
        for attempts in 2..40 {
            let bound = Duration::from_millis(8 << (attempts - 2).min(4));
            assert!(pause_after(attempts).unwrap() < bound);
        }
    }
}

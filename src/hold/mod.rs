//! A key that a session owns: what guards of locks and leaderships have in
//! common.
//!
//! The key lives no longer than the session's lease, and its create revision is
//! the *fencing token*: it rises from holder to holder, so whoever compares it
//! can refuse what comes from a holder that is no longer one.

use std::fmt;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp};

use crate::error::Error;
use crate::request::Purpose;
use crate::runtime;
use crate::session::{Loss, Session, Turn};

mod claim;
mod cleaner;
mod guarded;
mod line;

pub(crate) use claim::Claim;
pub(crate) use cleaner::Cleaner;
use cleaner::Cleanup;
pub use guarded::GuardedTxn;
pub(crate) use line::{stand_back, wait_in_line};

/// A key that a session owns.
///
/// # What it promises
///
/// The key was there, and the session's own, when the hold was made. It is given
/// back by releasing or dropping the hold, and by etcd when the lease ends.
/// Dropping deletes the key in the background, for as long as the session lives;
/// to know that it is done, release it.
///
/// # What it does not promise
///
/// That the key is still there *now*: the lease may have expired while this
/// process was paused or cut off. [`lost`](Self::lost) and [`check`](Self::check)
/// say what this process can know; [`txn`](Self::txn) lets etcd decide, at the
/// moment of the write, and is what to protect data in etcd with. For anything
/// outside of etcd hand over the [`fencing_token`](Self::fencing_token) and let
/// the other side refuse smaller ones.
#[must_use = "dropping it gives the key back"]
pub struct Hold {
    session: Session,
    key: String,
    create_revision: i64,
    turn: Option<Turn>,
    /// A request that creates the key may still be on its way.
    unsettled: bool,
    /// Where a mark stops requests that are late.
    void: Option<String>,
    released: bool,
}

/// How a key that was given back went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Released {
    /// This release deleted it.
    Now,
    /// It was gone when a release was answered. An earlier try whose answer was
    /// lost deleted it, or somebody else, or the end of its lease.
    Before,
}

impl Hold {
    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The session that owns it.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The lease that the key is attached to.
    pub fn lease_id(&self) -> i64 {
        self.session.lease_id()
    }

    /// The key's create revision: larger than that of everybody who held before.
    pub fn fencing_token(&self) -> i64 {
        self.create_revision
    }

    /// The condition that the key is still the one that is held, for use in a
    /// transaction of one's own.
    pub fn compare(&self) -> Compare {
        Compare::create_revision(self.key.as_str(), CompareOp::Equal, self.create_revision)
    }

    /// A transaction that does nothing unless the key is still held at that
    /// moment.
    pub fn txn(&self) -> GuardedTxn<'_> {
        GuardedTxn::new(self)
    }

    /// Nothing while the session can be relied on. Asks nobody.
    ///
    /// # Errors
    ///
    /// [Session lost](Error::is_session_lost).
    pub fn check(&self) -> Result<(), Error> {
        self.session.check()
    }

    /// Asks etcd whether the key is still held.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held) if it is not, [session lost] without asking
    /// if the session is, and whatever a read can fail with.
    ///
    /// [session lost]: Error::is_session_lost
    pub async fn confirm(&self) -> Result<(), Error> {
        self.check()?;
        let why = Purpose {
            operation: "hold",
            target: &self.key,
        };
        let options = GetOptions::new().with_keys_only();
        let answer = self
            .session
            .requests()
            .range(why, self.key.as_bytes(), options)
            .await?;
        let held = |kv: &etcd_client::KeyValue| kv.create_revision() == self.create_revision;
        if answer.kvs().first().is_some_and(held) {
            return Ok(());
        }
        Err(Error::not_held(why.operation, why.target))
    }

    /// Waits until the session is lost, and with it the key. Can be cancelled by
    /// dropping it.
    pub async fn lost(&self) -> Loss {
        self.session.lost().await
    }

    /// Deletes the key and waits until that is certain. Sent again while the
    /// outcome is unknown, or etcd is too busy, for at most twice the session's
    /// request deadline; it only ever deletes this very key, so that does no harm.
    /// The background goes on if this ends early, whatever the error.
    pub(crate) async fn release(self, operation: &'static str) -> Result<(), Error> {
        self.release_and_tell(operation).await.map(drop)
    }

    /// As [`release`](Self::release), and says how the key went.
    pub(crate) async fn release_and_tell(
        mut self,
        operation: &'static str,
    ) -> Result<Released, Error> {
        const PAUSE: Duration = Duration::from_millis(50);
        let requests = self.session.requests().clone();
        let patience = requests.deadline() * 2;
        let start = runtime::now();
        let mut unanswered = false;
        loop {
            let why = Purpose {
                operation,
                target: &self.key,
            };
            let txn = deletion(&self.key, self.create_revision);
            match requests.write(why, txn).await {
                Ok(answer) => {
                    self.released = true;
                    self.settle_later();
                    return match (answer.succeeded(), unanswered) {
                        (true, _) => Ok(Released::Now),
                        (false, true) => Ok(Released::Before),
                        (false, false) => Err(Error::not_held(operation, &self.key)),
                    };
                }
                Err(error) => {
                    let waited = runtime::now().saturating_duration_since(start);
                    let passes = error.is_refused() && !error.is_permission_denied();
                    let worth_it = error.is_outcome_unknown() || error.is_not_sent() || passes;
                    if !worth_it || waited >= patience || !self.session.is_alive() {
                        return Err(error);
                    }
                    unanswered |= error.is_outcome_unknown();
                    runtime::sleep(runtime::jittered(PAUSE)).await;
                }
            }
        }
    }

    /// The deletion of the key as an operation of a transaction that is guarded
    /// by [`compare`](Self::compare).
    pub(crate) fn delete_op(&self) -> TxnOp {
        TxnOp::delete(self.key.as_str(), None)
    }

    /// Whether a request that creates the key may still be on its way: it could
    /// create the key once more after it was deleted.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// The key was deleted in another way than by [`release`](Self::release).
    pub(crate) fn released_elsewhere(mut self) {
        self.released = true;
        self.settle_later();
    }

    /// Leaves the key to the session: nobody deletes it.
    pub(crate) fn leave(mut self) {
        self.released = true;
    }

    /// Looks after requests that may yet create the key.
    fn settle_later(&mut self) {
        if self.unsettled {
            let place = self.turn.as_ref().map(Turn::place);
            let cleanup = Cleanup::sweep(self.key.clone(), place);
            self.session.cleaner().give(cleanup);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.released {
            return;
        }
        let turn = self.turn.take();
        let key = std::mem::take(&mut self.key);
        let cleanup = Cleanup::held(key, self.create_revision, turn, self.unsettled);
        let cleanup = cleanup.with_void(self.void.take());
        self.session.cleaner().give(cleanup);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("key", &self.key)
            .field("lease", &format_args!("{:x}", self.lease_id()))
            .field("fencing_token", &self.create_revision)
            .finish_non_exhaustive()
    }
}

/// Deletes the key that was created at this revision, and no later one of the
/// same name.
fn deletion(key: &str, create_revision: i64) -> Txn {
    Txn::new()
        .when([Compare::create_revision(
            key,
            CompareOp::Equal,
            create_revision,
        )])
        .and_then([TxnOp::delete(key, None)])
}

#[cfg(test)]
mod tests;

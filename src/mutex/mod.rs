//! A lock that one session of a cluster has at a time.
//!
//! See [`Mutex`] for what it promises and, above all, what it does not.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, KeyValue};

use self::creation::Place;
#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::MutexFault;
use crate::error::Error;
use crate::hold::{Claim, Hold, stand_back, wait_in_line};
use crate::keys::Name;
use crate::request::Purpose;
use crate::runtime;
use crate::session::{Session, Turn};
use crate::telemetry::{self, Call};
use crate::watch::{Entry, Mirror};

mod creation;
#[cfg(feature = "harness")]
mod fault;
mod locker;

pub use self::locker::Locker;

/// A lock that one holder of a cluster has at a time, in order of arrival.
///
/// # Not mutual exclusion without fencing
///
/// A lock in etcd belongs to a lease. If its holder stands still, in a long
/// garbage collection or on a machine that was suspended, the lease ends, the
/// next one is let in, *and the first one does not know*. When it wakes up it
/// does what it was about to do. No lock service can prevent that; what it can do
/// is to let the write be refused.
///
/// The holder of the following run writes without a guard, and the simulation
/// stops it for a while (`etcd-recipes sim --bug mutex-unfenced`):
///
/// ```text
/// mutex with mutex-unfenced, seed 76: safety violation: stale-write (a write without a
///   guard happened after the lock had gone to somebody else)
///   process 3, which held `lock2` with token 19, wrote although process 0 had already
///   been granted the lock with token 37: the lease of the first holder had expired at
///   revision 38, so the lock was rightly given away; a write that compares the create
///   revision of the lock's key with the token would have been refused
///   the operations that prove it:
///     lines 35-36  0.259627 s - 0.259627 s  process 1 (client 1)
///       lock {"lock":"lock2"} -> ok 19 @19
///     lines 80-82  3.106922 s - 4.093000 s  process 0 (client 0)
///       lock {"lock":"lock2"} -> ok 37 @38
///     lines 134-135  6.475836 s - 6.475836 s  process 3 (client 1)
///       write {"lock":"lock2","token":19,"guarded":false} -> ok true @64
/// ```
///
/// With a guard the same run is valid, because etcd refuses the last write:
///
/// ```
/// # async fn example(session: etcd_recipes::Session) -> Result<(), etcd_recipes::Error> {
/// use etcd_recipes::Mutex;
/// use etcd_recipes::etcd_client::TxnOp;
///
/// let mutex = Mutex::new(&session, "jobs/clean-up")?;
/// let guard = mutex.lock().await?;
/// // Not `client.put(..)`: this is applied only while the lock is held.
/// guard.txn().and_then([TxnOp::put("jobs/state", "clean", None)]).commit().await?;
/// guard.unlock().await?;
/// # Ok(())
/// # }
/// # let run = etcd_sim::Simulation::builder().run(|simulation| async move {
/// #     let client = simulation.client(0).await.unwrap();
/// #     example(etcd_recipes::Session::new(&client).await.unwrap()).await.unwrap();
/// # });
/// # run.unwrap();
/// ```
///
/// What lies outside of etcd must check for itself: hand it the
/// [`fencing_token`](Hold::fencing_token), which rises from holder to holder, and
/// let it refuse a token that is smaller than one it has seen.
///
/// # What it promises
///
/// - At each moment at most one key is first in the line, and only its owner is
///   let in: two keys that are alive are never both holders.
/// - Order of arrival: who came first, by the revision at which etcd created its
///   key, is let in first. Who comes to a line of three or more that moves fast
///   stands back for up to 100 ms before it creates its key: that spares etcd work
///   and nearly doubles how often the lock can change hands. `try_lock` does not.
/// - A lock that returns knows that its own key was there. One whose session ends
///   while it waits returns an error at once.
/// - Tasks of one process that share a session are kept apart too, also through
///   several `Mutex` objects of the same name; so it is *not* reentrant: a task
///   that locks twice waits for itself.
/// - A lock whose future is dropped, that times out or fails leaves no key behind
///   that outlives the session; the background deletes it.
/// - A lock of another name never matters, not even one below it (`jobs` and
///   `jobs/x`).
///
/// # Keys
///
/// `name/<lease in lower hexadecimal>`, with the lease and an empty value, as
/// those of etcd's Go `concurrency.Mutex` and of its lock service: programs in
/// both languages may share a lock. Keys below the name that do not look so, or
/// have another lease than the one they are called after, are left out of account.
///
/// # Cost
///
/// One request to lock and one to unlock. Who has to wait opens, once for each
/// session and name (or once for all sessions that share
/// [`Watches`](crate::Watches)), a lasting watch and reads the line; further
/// waits need no further request.
#[derive(Clone)]
pub struct Mutex {
    inner: Arc<Inner>,
}

struct Inner {
    session: Session,
    name: Name,
    /// What the keys of all who stand in the line begin with.
    line: String,
    mirror: Mirror,
    #[cfg(feature = "harness")]
    fault: Option<MutexFault>,
}

impl Mutex {
    /// The lock called `name`, for this session. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [Invalid name](Error::is_invalid_name) if the name is empty, ends with
    /// `/`, has an empty part or a NUL.
    pub fn new(session: &Session, name: impl Into<String>) -> Result<Self, Error> {
        Self::make(
            session,
            name,
            #[cfg(feature = "harness")]
            None,
        )
    }

    fn make(
        session: &Session,
        name: impl Into<String>,
        #[cfg(feature = "harness")] fault: Option<MutexFault>,
    ) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let line = name.children();
        #[cfg(feature = "harness")]
        let line = if fault == Some(MutexFault::PrefixWithoutSeparator) {
            name.as_str().to_owned()
        } else {
            line
        };
        Ok(Self {
            inner: Arc::new(Inner {
                session: session.clone(),
                mirror: session.mirror(&line),
                name,
                line,
                #[cfg(feature = "harness")]
                fault,
            }),
        })
    }

    /// The lock's name.
    pub fn name(&self) -> &str {
        self.inner.name.as_str()
    }

    /// The session that locks it.
    pub fn session(&self) -> &Session {
        &self.inner.session
    }

    /// Waits for the lock as long as it takes.
    ///
    /// Can be cancelled by dropping it; the place in the line is then given up in
    /// the background. A future that is kept must be polled: those of a session
    /// stand in line, and one that is neither polled nor dropped holds up the
    /// others.
    ///
    /// # Errors
    ///
    /// [Session lost](Error::is_session_lost), as soon as it is;
    /// [not held](Error::is_not_held) if etcd has ended the lease or somebody
    /// deleted the key while it waited; [refused](Error::is_refused), [not
    /// sent](Error::is_not_sent). Whatever the error, the lock is not held. An
    /// unknown outcome is resolved by asking again until etcd answers.
    pub async fn lock(&self) -> Result<MutexGuard, Error> {
        telemetry::observed(self.inner.call("lock"), self.acquire()).await
    }

    /// As [`lock`](Self::lock), for no longer than `patience`.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock), and [deadline elapsed](Error::is_deadline_elapsed):
    /// the lock is not held, and the place in the line is given up.
    pub async fn lock_timeout(&self, patience: Duration) -> Result<MutexGuard, Error> {
        let limited = async {
            match runtime::timeout(patience, self.acquire()).await {
                Ok(locked) => locked,
                Err(runtime::Elapsed) => Err(Error::deadline("lock", self.name(), patience, None)),
            }
        };
        telemetry::observed(self.inner.call("lock"), limited).await
    }

    /// Takes the lock if nobody has it or waits for it, other tasks of this
    /// session included. Otherwise its key is deleted again, and nobody else's.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub async fn try_lock(&self) -> Result<Option<MutexGuard>, Error> {
        telemetry::observed(self.inner.call("try_lock"), self.try_acquire()).await
    }

    /// Runs `work` while the lock is held, and unlocks.
    ///
    /// The work is cancelled (its future is dropped) a tenth of the session's time to live,
    /// and at most a second, before the lease can end, as long as both clocks run at the
    /// same rate. That is no fence either: a process that stands still cancels
    /// nothing. Use the hold's [`txn`](Hold::txn) for what must not go wrong.
    ///
    /// Dropping the future at any time drops the work, and gives the lock back in the
    /// background. To take a new session and begin again is left to the caller, because the
    /// work can be run only once; [`Election::run`](crate::Election::run) does that.
    ///
    /// ```
    /// # async fn example(session: etcd_recipes::Session) -> Result<(), etcd_recipes::Error> {
    /// use etcd_recipes::Mutex;
    /// use etcd_recipes::etcd_client::TxnOp;
    ///
    /// let mutex = Mutex::new(&session, "jobs/clean-up")?;
    /// let written = mutex
    ///     .with(async |hold| hold.txn().and_then([TxnOp::put("state", "7", None)]).commit().await)
    ///     .await?;
    /// written?;
    /// # Ok(())
    /// # }
    /// # let run = etcd_sim::Simulation::builder().run(|simulation| async move {
    /// #     let client = simulation.client(0).await.unwrap();
    /// #     example(etcd_recipes::Session::new(&client).await.unwrap()).await.unwrap();
    /// # });
    /// # run.unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock): the work was not begun. [Session
    /// lost](Error::is_session_lost) also when it was cancelled, even if the lease is
    /// extended at the last moment. [Not
    /// held](Error::is_not_held) when the unlock finds that the key was gone
    /// before the work was done; its result is then dropped. Any other failure of
    /// the unlock is left to the background.
    pub async fn with<T>(&self, work: impl AsyncFnOnce(&Hold) -> T) -> Result<T, Error> {
        let (session, guard) = (self.session(), self.lock().await?);
        session.until_certain().await;
        let done = session.while_certain(std::future::pending(), work(&guard));
        let Some(done) = done.await else {
            let reason = "its lease was about to end";
            return Err(Error::session_lost(session.lease_id(), reason));
        };
        match guard.unlock().await {
            Err(error) if error.is_not_held() => Err(error),
            Ok(()) | Err(_) => Ok(done),
        }
    }

    async fn acquire(&self) -> Result<MutexGuard, Error> {
        let inner = &*self.inner;
        let turn = inner.turn().await?;
        let stands = |key: &str, entry: &Entry| inner.counts(key, entry.lease);
        stand_back(&inner.session, &inner.mirror, stands).await?;
        let (hold, place) = inner.enter(turn).await?;
        let revision = if place.is_first {
            place.revision
        } else {
            inner.wait(&hold).await?
        };
        Ok(self.guard(hold, revision))
    }

    async fn try_acquire(&self) -> Result<Option<MutexGuard>, Error> {
        let inner = &*self.inner;
        inner.session.check()?;
        let Some(turn) = inner.session.try_turn(&inner.line) else {
            return Ok(None);
        };
        let (hold, place) = inner.enter(Some(turn)).await?;
        if place.is_first {
            return Ok(Some(self.guard(hold, place.revision)));
        }
        // Some key is older, but it may be none of this line.
        match inner.look(&hold).await? {
            Some(revision) => Ok(Some(self.guard(hold, revision))),
            None => match hold.release("try to lock").await {
                // Somebody else has the lock; the background sees to the key.
                Ok(()) | Err(_) => Ok(None),
            },
        }
    }

    fn guard(&self, hold: Hold, revision: i64) -> MutexGuard {
        tracing::debug!(
            key = hold.key(),
            token = hold.fencing_token(),
            revision,
            "locked"
        );
        telemetry::held(hold.fencing_token(), revision);
        MutexGuard {
            hold,
            revision,
            inner: self.inner.clone(),
        }
    }
}

impl Inner {
    /// The turn of this task among those that share the session.
    async fn turn(&self) -> Result<Option<Turn>, Error> {
        #[cfg(feature = "harness")]
        if self.has(MutexFault::TwoObjects) {
            return Ok(None);
        }
        let turn = async { Ok(self.session.turn(&self.line).await) };
        self.session.while_alive(turn).await.map(Some)
    }

    /// Puts this session's key into the line.
    async fn enter(&self, turn: Option<Turn>) -> Result<(Hold, Place), Error> {
        let lease = self.session.lease_id();
        let key = self.name.lease_key(lease);
        let mut claim = Claim::new(&self.session, &key);
        if let Some(turn) = turn {
            claim = claim.with_turn(turn);
        }
        let why = Purpose {
            operation: "lock",
            target: self.name.as_str(),
        };
        let txn = creation::creation(&key, &self.line, lease);
        let answer = claim.send(why, txn).await?;
        let place = Place::of(&answer, &key, lease)?;
        Ok((claim.into_hold(place.token), place))
    }

    /// Waits until the key is first in the line; the revision at which it is.
    async fn wait(&self, hold: &Hold) -> Result<i64, Error> {
        #[cfg(feature = "harness")]
        if let Some(result) = self.wait_for_the_wrong_thing(hold).await {
            return result;
        }
        wait_in_line("lock", &self.mirror, hold, |key, entry| {
            self.counts(key, entry.lease)
        })
        .await
    }

    /// Reads the line; the revision if the key is first in it.
    async fn look(&self, hold: &Hold) -> Result<Option<i64>, Error> {
        let why = Purpose {
            operation: "lock",
            target: self.name.as_str(),
        };
        let options = GetOptions::new().with_prefix().with_keys_only();
        let line = self.line.as_bytes();
        let read = self.session.requests().range(why, line, options);
        let answer = self.session.while_alive(read).await?;
        let counts = |kv: &&KeyValue| kv.key_str().is_ok_and(|key| self.counts(key, kv.lease()));
        let line = answer.kvs().iter().filter(counts);
        let first = line.map(KeyValue::create_revision).min();
        let is_first = first == Some(hold.fencing_token());
        Ok(is_first.then(|| crate::request::revision_of(answer.header())))
    }

    /// Whether a key stands in this line.
    fn counts(&self, key: &str, lease: i64) -> bool {
        #[cfg(feature = "harness")]
        if self.has(MutexFault::PrefixWithoutSeparator) {
            return true;
        }
        self.name.lease_of(key) == Some(lease)
    }

    #[cfg(feature = "harness")]
    fn is_lock(&self, key: &str) -> bool {
        self.name.lease_of(key).is_some()
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        Call {
            recipe: "mutex",
            operation,
            name: self.name.as_str(),
            lease: Some(self.session.lease_id()),
        }
    }
}

impl fmt::Debug for Mutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex")
            .field("name", &self.name())
            .field("session", &self.session())
            .finish_non_exhaustive()
    }
}

/// A [`Mutex`] that is held: a [`Hold`] of its key.
///
/// Dropping it gives the lock back in the background, for as long as the session
/// lives. [`unlock`](Self::unlock) waits until that is done.
#[must_use = "dropping it unlocks"]
pub struct MutexGuard {
    hold: Hold,
    revision: i64,
    inner: Arc<Inner>,
}

impl MutexGuard {
    /// The revision at which this session knew that it was the holder. A read at
    /// this revision or a later one sees everything that earlier holders wrote
    /// through their guards.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// Gives the lock back, and waits until that is certain.
    ///
    /// Only the key of this very hold is deleted, so it is sent again as long as
    /// the outcome is unknown, and the background goes on if this fails or is
    /// dropped. After a lost answer a key that is gone counts as deleted by this,
    /// although it may have been lost just before.
    ///
    /// # Errors
    ///
    /// [Not held](Error::is_not_held): the lock was lost before, and somebody
    /// else may have had it since. Otherwise an unknown outcome, or that nothing
    /// could be sent, for twice the session's request deadline; or that the
    /// session is lost.
    pub async fn unlock(self) -> Result<(), Error> {
        let inner = self.inner.clone();
        telemetry::observed(inner.call("unlock"), self.release()).await
    }

    async fn release(self) -> Result<(), Error> {
        #[cfg(feature = "harness")]
        if self.inner.has(MutexFault::UnlockByName) {
            return self.unlock_by_name().await;
        }
        self.hold.release("unlock").await
    }
}

impl Deref for MutexGuard {
    type Target = Hold;

    fn deref(&self) -> &Hold {
        &self.hold
    }
}

impl fmt::Debug for MutexGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MutexGuard")
            .field("hold", &self.hold)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

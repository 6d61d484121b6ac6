//! A lock that one writer, or any number of readers, have at a time.
//!
//! See [`RwLock`] for what it promises and what it does not.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, GetOptions, GetResponse, KeyValue, PutOptions, SortOrder, SortTarget, Txn,
    TxnOp, TxnOpResponse, TxnResponse,
};

#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::RwLockFault;
use crate::error::Error;
use crate::hold::{Claim, Hold};
use crate::keys::Name;
use crate::line::wait_in_line;
use crate::request::{Purpose, revision_of};
use crate::runtime;
use crate::session::Session;
use crate::telemetry::{self, Call};
use crate::watch::Mirror;

#[cfg(feature = "harness")]
mod fault;

/// A lock that one writer, or any number of readers, have at a time.
///
/// # What it promises
///
/// - A writer is let in when nobody is inside; a reader when no writer is. Among
///   those whose keys are alive at etcd this has no exception.
/// - Fair, in order of arrival: a reader waits for writers that came before it, a
///   writer for everybody who did. So neither starves; a reader that comes after
///   a waiting writer waits behind it.
/// - A lock that returns knows that its own key was there. One whose session ends
///   while it waits returns an error at once.
/// - Every `read` and `write` is a holding of its own, also of tasks that share a
///   session. There is no upgrade: a task that holds `read` and asks for `write`
///   waits for itself.
/// - A lock whose future is dropped, that times out or fails leaves no key behind
///   that outlives the session.
///
/// # What it does not promise
///
/// That a holder notices in time that its lease has ended: like a
/// [`Mutex`](crate::Mutex), it is no mutual exclusion without fencing. Write
/// through the guard's [`txn`](Hold::txn), or hand the
/// [`fencing_token`](Hold::fencing_token) to what you write to. Among writers
/// tokens rise; readers need none.
///
/// # Keys
///
/// `name/read/<nanoseconds since 1970>` and `name/write/<..>`, with the lease and
/// an empty value, as those of etcd's Go `recipe.RWMutex`: programs in both
/// languages may share a lock. Keys of another form below the name, or without a
/// lease, are left out of account.
///
/// ```no_run
/// # async fn example(session: etcd_recipes::Session) -> Result<(), etcd_recipes::Error> {
/// use etcd_recipes::RwLock;
/// use etcd_recipes::etcd_client::TxnOp;
///
/// let lock = RwLock::new(&session, "config")?;
/// let reading = lock.read().await?;
/// reading.unlock().await?;
/// let writing = lock.write().await?;
/// writing.txn().and_then([TxnOp::put("config-value", "7", None)]).commit().await?;
/// writing.unlock().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RwLock {
    inner: Arc<Inner>,
}

struct Inner {
    session: Session,
    name: Name,
    mirror: Mirror,
    #[cfg(feature = "harness")]
    fault: Option<RwLockFault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Read,
    Write,
}

impl Mode {
    fn operation(self) -> &'static str {
        match self {
            Self::Read => "lock for reading",
            Self::Write => "lock for writing",
        }
    }

    fn part(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

impl RwLock {
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
        #[cfg(feature = "harness")] fault: Option<RwLockFault>,
    ) -> Result<Self, Error> {
        let name = Name::new(name)?;
        Ok(Self {
            inner: Arc::new(Inner {
                session: session.clone(),
                mirror: session.mirror(&name.children()),
                name,
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

    /// Waits until it may read, as long as it takes. Can be cancelled by dropping
    /// it; the place in the line is then given up in the background.
    ///
    /// # Errors
    ///
    /// [Session lost](Error::is_session_lost), as soon as it is;
    /// [not held](Error::is_not_held) if etcd has ended the lease or somebody
    /// deleted the key while it waited; [refused](Error::is_refused), [not
    /// sent](Error::is_not_sent). Whatever the error, the lock is not held. An
    /// unknown outcome is resolved by asking again until etcd answers.
    pub async fn read(&self) -> Result<RwLockReadGuard, Error> {
        let guard = telemetry::observed(self.inner.call("read"), self.lock(Mode::Read)).await?;
        Ok(RwLockReadGuard(guard))
    }

    /// Waits until it may write, as long as it takes. Can be cancelled by dropping
    /// it; the place in the line is then given up in the background.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn write(&self) -> Result<RwLockWriteGuard, Error> {
        let guard = telemetry::observed(self.inner.call("write"), self.lock(Mode::Write)).await?;
        Ok(RwLockWriteGuard(guard))
    }

    /// As [`read`](Self::read), for no longer than `patience`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and [deadline elapsed](Error::is_deadline_elapsed):
    /// the lock is not held, and the place in the line is given up.
    pub async fn read_timeout(&self, patience: Duration) -> Result<RwLockReadGuard, Error> {
        let limited = self.lock_timeout(Mode::Read, patience);
        let guard = telemetry::observed(self.inner.call("read"), limited).await?;
        Ok(RwLockReadGuard(guard))
    }

    /// As [`write`](Self::write), for no longer than `patience`.
    ///
    /// # Errors
    ///
    /// As [`read_timeout`](Self::read_timeout).
    pub async fn write_timeout(&self, patience: Duration) -> Result<RwLockWriteGuard, Error> {
        let limited = self.lock_timeout(Mode::Write, patience);
        let guard = telemetry::observed(self.inner.call("write"), limited).await?;
        Ok(RwLockWriteGuard(guard))
    }

    /// Takes the lock for reading if no writer has it or waits for it. Otherwise
    /// its key is deleted again.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn try_read(&self) -> Result<Option<RwLockReadGuard>, Error> {
        let tried = self.try_lock(Mode::Read);
        let guard = telemetry::observed(self.inner.call("try_read"), tried).await?;
        Ok(guard.map(RwLockReadGuard))
    }

    /// Takes the lock for writing if nobody has it or waits for it. Otherwise its
    /// key is deleted again.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub async fn try_write(&self) -> Result<Option<RwLockWriteGuard>, Error> {
        let tried = self.try_lock(Mode::Write);
        let guard = telemetry::observed(self.inner.call("try_write"), tried).await?;
        Ok(guard.map(RwLockWriteGuard))
    }

    async fn lock(&self, mode: Mode) -> Result<Guard, Error> {
        let inner = &*self.inner;
        let (hold, first_at) = inner.enter(mode).await?;
        let revision = match first_at {
            Some(revision) => revision,
            None => inner.wait(&hold, mode).await?,
        };
        Ok(self.guard(hold, revision))
    }

    async fn lock_timeout(&self, mode: Mode, patience: Duration) -> Result<Guard, Error> {
        match runtime::timeout(patience, self.lock(mode)).await {
            Ok(locked) => locked,
            Err(runtime::Elapsed) => Err(Error::deadline(
                mode.operation(),
                self.name(),
                patience,
                None,
            )),
        }
    }

    async fn try_lock(&self, mode: Mode) -> Result<Option<Guard>, Error> {
        let inner = &*self.inner;
        inner.session.check()?;
        let (hold, mut first_at) = inner.enter(mode).await?;
        if first_at.is_none() {
            first_at = inner.look(&hold, mode).await?;
        }
        match first_at {
            Some(revision) => Ok(Some(self.guard(hold, revision))),
            None => match hold.release("try to lock").await {
                // Somebody else has the lock; the background sees to the key.
                Ok(()) | Err(_) => Ok(None),
            },
        }
    }

    fn guard(&self, hold: Hold, revision: i64) -> Guard {
        tracing::debug!(
            key = hold.key(),
            token = hold.fencing_token(),
            revision,
            "locked"
        );
        Guard {
            hold,
            revision,
            inner: self.inner.clone(),
        }
    }
}

/// What the creation of a key came to.
enum Created {
    /// The key is ours, with this create revision.
    Own(i64),
    /// Somebody else has a key of this name.
    Taken,
}

impl Inner {
    /// Puts a key into the line; also the revision, if nothing was in its way then.
    async fn enter(&self, mode: Mode) -> Result<(Hold, Option<i64>), Error> {
        loop {
            let key = self.new_key(mode);
            let mut claim = Claim::new(&self.session, &key);
            let why = Purpose {
                operation: mode.operation(),
                target: self.name.as_str(),
            };
            let answer = claim.send(why, self.creation(mode, &key)).await?;
            match self.created(&answer, &claim)? {
                Created::Own(token) => {
                    let first_at = is_first(&answer, token).then(|| revision_of(answer.header()));
                    return Ok((claim.into_hold(token), first_at));
                }
                Created::Taken => {
                    tracing::debug!(key, "the key is taken; another one is drawn");
                    claim.abandon();
                }
            }
        }
    }

    fn new_key(&self, mode: Mode) -> String {
        let nanos = runtime::unique_nanos();
        format!("{}{}/{nanos}", self.name.children(), mode.part())
    }

    /// Creates the key unless it is there, and asks for the oldest that could be
    /// in its way. To be sent again after an unknown outcome: the key is there
    /// once.
    fn creation(&self, mode: Mode, key: &str) -> Txn {
        let in_the_way = match mode {
            Mode::Read => format!("{}write/", self.name.children()),
            Mode::Write => self.name.children(),
        };
        let oldest = GetOptions::new()
            .with_prefix()
            .with_sort(SortTarget::Create, SortOrder::Ascend)
            .with_limit(1);
        let oldest = TxnOp::get(in_the_way, Some(oldest));
        let put = PutOptions::new().with_lease(self.session.lease_id());
        Txn::new()
            .when([Compare::version(key, CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key, "", Some(put)), oldest.clone()])
            .or_else([TxnOp::get(key, None), oldest])
    }

    fn created(&self, answer: &TxnResponse, claim: &Claim) -> Result<Created, Error> {
        if answer.succeeded() {
            return Ok(Created::Own(revision_of(answer.header())));
        }
        let own = answer.op_responses().into_iter().next();
        let Some(TxnOpResponse::Get(own)) = own else {
            return Err(Error::unreadable_answer("lock", claim.key()));
        };
        // Only a request of ours that was not answered can have created it.
        let is_own = |kv: &&KeyValue| claim.is_unsettled() && kv.lease() == self.session.lease_id();
        let own = own.kvs().first().filter(is_own);
        Ok(own.map_or(Created::Taken, |kv| Created::Own(kv.create_revision())))
    }

    /// Waits until nothing is in the way; the revision at which that is so.
    async fn wait(&self, hold: &Hold, mode: Mode) -> Result<i64, Error> {
        #[cfg(feature = "harness")]
        if self.has(RwLockFault::ExpiredWaiter) {
            return self.wait_for_the_others_only(hold, mode).await;
        }
        wait_in_line(mode.operation(), &self.mirror, hold, |key, entry| {
            self.is_in_the_way_of(mode, key, entry.lease)
        })
        .await
    }

    /// Reads the line; the revision if nothing is in the way.
    async fn look(&self, hold: &Hold, mode: Mode) -> Result<Option<i64>, Error> {
        let why = Purpose {
            operation: mode.operation(),
            target: self.name.as_str(),
        };
        let options = GetOptions::new().with_prefix().with_keys_only();
        let line = self.name.children();
        let read = self.session.requests().range(why, line.as_bytes(), options);
        let answer: GetResponse = self.session.while_alive(read).await?;
        let token = hold.fencing_token();
        let is_own = |kv: &KeyValue| kv.create_revision() == token;
        let blocks = |kv: &KeyValue| {
            let key = kv.key_str().unwrap_or_default();
            kv.create_revision() < token && self.is_in_the_way_of(mode, key, kv.lease())
        };
        let is_free = answer.kvs().iter().any(is_own) && !answer.kvs().iter().any(blocks);
        Ok(is_free.then(|| revision_of(answer.header())))
    }

    /// Whether a key, if it is older, keeps somebody out.
    fn is_in_the_way_of(&self, mode: Mode, key: &str, lease: i64) -> bool {
        #[cfg(feature = "harness")]
        if mode == Mode::Read && self.has(RwLockFault::ReaderIgnoresWriters) {
            return false;
        }
        if lease == 0 {
            return false;
        }
        match self.mode_of(key) {
            Some(Mode::Write) => true,
            Some(Mode::Read) => mode == Mode::Write,
            None => false,
        }
    }

    /// What a key in the line asks for: `name/read/<decimal>` or
    /// `name/write/<decimal>`.
    fn mode_of(&self, key: &str) -> Option<Mode> {
        let below = key.strip_prefix(self.name.as_str())?.strip_prefix('/')?;
        let (part, id) = below.split_once('/')?;
        let is_decimal = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        let modes = [Mode::Read, Mode::Write];
        let mode = modes.into_iter().find(|mode| mode.part() == part)?;
        is_decimal.then_some(mode)
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        Call {
            recipe: "rw_lock",
            operation,
            name: self.name.as_str(),
            lease: Some(self.session.lease_id()),
        }
    }
}

/// Whether the answer to the creation shows that nothing older is in the way.
fn is_first(answer: &TxnResponse, token: i64) -> bool {
    let oldest = answer.op_responses().into_iter().nth(1);
    let Some(TxnOpResponse::Get(oldest)) = oldest else {
        return false;
    };
    let is_older = |kv: &KeyValue| kv.create_revision() < token;
    !oldest.kvs().first().is_some_and(is_older)
}

impl fmt::Debug for RwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock")
            .field("name", &self.name())
            .field("session", &self.session())
            .finish_non_exhaustive()
    }
}

/// What both kinds of guard consist of.
struct Guard {
    hold: Hold,
    revision: i64,
    inner: Arc<Inner>,
}

impl Guard {
    async fn unlock(self) -> Result<(), Error> {
        let inner = self.inner.clone();
        telemetry::observed(inner.call("unlock"), self.release()).await
    }

    async fn release(self) -> Result<(), Error> {
        #[cfg(feature = "harness")]
        if self.inner.has(RwLockFault::UnlockForgets) {
            self.forget().await;
            return Ok(());
        }
        self.hold.release("unlock").await
    }

    fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("hold", &self.hold)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

macro_rules! guard {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Dropping it gives the lock back in the background, for as long as the
        /// session lives. [`unlock`](Self::unlock) waits until that is done.
        #[must_use = "dropping it unlocks"]
        pub struct $name(Guard);

        impl $name {
            /// The revision at which this session knew that it was let in. A read
            /// at this revision or a later one sees everything that earlier
            /// writers wrote through their guards.
            pub fn revision(&self) -> i64 {
                self.0.revision
            }

            /// Gives the lock back, and waits until that is certain.
            ///
            /// Only the key of this very hold is deleted, so it is sent again as
            /// long as the outcome is unknown, and the background goes on if this
            /// fails or is dropped.
            ///
            /// # Errors
            ///
            /// [Not held](Error::is_not_held): the lock was lost before, and
            /// somebody else may have had it since. Otherwise an unknown outcome,
            /// or that nothing could be sent, for twice the session's request
            /// deadline; or that the session is lost.
            pub async fn unlock(self) -> Result<(), Error> {
                self.0.unlock().await
            }
        }

        impl Deref for $name {
            type Target = Hold;

            fn deref(&self) -> &Hold {
                &self.0.hold
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.debug(stringify!($name), f)
            }
        }
    };
}

guard! {
    /// An [`RwLock`] that is held for reading: a [`Hold`] of its key.
    RwLockReadGuard
}

guard! {
    /// An [`RwLock`] that is held for writing: a [`Hold`] of its key.
    RwLockWriteGuard
}

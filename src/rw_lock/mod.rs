//! A lock that one writer, or any number of readers, have at a time.
//!
//! See [`RwLock`] for what it promises and what it does not.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::RwLockFault;
use self::guard::Guard;
pub use self::guard::{RwLockReadGuard, RwLockWriteGuard};
use crate::error::Error;
use crate::hold::Hold;
use crate::keys::Name;
use crate::runtime;
use crate::session::Session;
use crate::telemetry::{self, Call};
use crate::watch::Mirror;

mod entry;
#[cfg(feature = "harness")]
mod fault;
mod guard;

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
/// ```
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
/// # let run = etcd_sim::Simulation::builder().run(|simulation| async move {
/// #     let client = simulation.client(0).await.unwrap();
/// #     example(etcd_recipes::Session::new(&client).await.unwrap()).await.unwrap();
/// # });
/// # run.unwrap();
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
        telemetry::held(hold.fencing_token(), revision);
        Guard {
            hold,
            revision,
            inner: self.inner.clone(),
        }
    }
}

impl Inner {
    fn call(&self, operation: &'static str) -> Call<'_> {
        Call {
            recipe: "rwlock",
            operation,
            name: self.name.as_str(),
            lease: Some(self.session.lease_id()),
        }
    }
}

impl fmt::Debug for RwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock")
            .field("name", &self.name())
            .field("session", &self.session())
            .finish_non_exhaustive()
    }
}

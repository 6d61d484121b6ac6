//! The plain face of a mutex: lock, unlock.

use std::fmt;
use std::sync::{Mutex as SyncMutex, PoisonError};

use super::{Mutex, MutexGuard};
use crate::error::Error;
use crate::session::Session;

/// A [`Mutex`] without guards, as etcd's Go `NewLocker`: whoever has it calls
/// [`lock`](Self::lock) and, some time later, [`unlock`](Self::unlock).
///
/// It promises what the mutex promises, with the same keys. It is for code that
/// cannot keep a guard; what a guard offers (the fencing token, guarded
/// transactions) it does not, so prefer [`Mutex`] where you can. Dropping a
/// locker that holds the lock gives it back.
///
/// ```
/// # async fn example(session: etcd_recipes::Session) -> Result<(), etcd_recipes::Error> {
/// use etcd_recipes::Locker;
///
/// let locker = Locker::new(&session, "jobs/clean-up")?;
/// locker.lock().await?;
/// println!("clean up");
/// locker.unlock().await?;
/// # Ok(())
/// # }
/// # let run = etcd_sim::Simulation::builder().run(|simulation| async move {
/// #     let client = simulation.client(0).await.unwrap();
/// #     example(etcd_recipes::Session::new(&client).await.unwrap()).await.unwrap();
/// # });
/// # run.unwrap();
/// ```
pub struct Locker {
    mutex: Mutex,
    guard: SyncMutex<Option<MutexGuard>>,
}

impl Locker {
    /// The lock called `name`. Nothing is sent.
    ///
    /// # Errors
    ///
    /// As [`Mutex::new`].
    pub fn new(session: &Session, name: impl Into<String>) -> Result<Self, Error> {
        Ok(Self {
            mutex: Mutex::new(session, name)?,
            guard: SyncMutex::default(),
        })
    }

    /// Waits for the lock as long as it takes. A second call waits for the
    /// [`unlock`](Self::unlock) of the first.
    ///
    /// # Errors
    ///
    /// As [`Mutex::lock`].
    pub async fn lock(&self) -> Result<(), Error> {
        let guard = self.mutex.lock().await?;
        let before = self.slot().replace(guard);
        // Only one guard of a mutex and a session exists at a time; a lost one may
        // still be here.
        drop(before);
        Ok(())
    }

    /// Gives the lock back.
    ///
    /// # Errors
    ///
    /// As [`MutexGuard::unlock`], and an invalid option if it is not locked.
    pub async fn unlock(&self) -> Result<(), Error> {
        let guard = self.slot().take();
        match guard {
            Some(guard) => guard.unlock().await,
            None => Err(Error::invalid_option(
                "unlock",
                self.mutex.name(),
                "it is not locked",
            )),
        }
    }

    /// Whether it was locked and not unlocked since. Asks nobody.
    pub fn is_locked(&self) -> bool {
        self.slot().is_some()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<MutexGuard>> {
        // Whole at every moment.
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Locker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locker")
            .field("name", &self.mutex.name())
            .field("locked", &self.is_locked())
            .finish_non_exhaustive()
    }
}

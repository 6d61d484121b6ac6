//! What whoever is inside a read-write lock has in hand.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::Inner;
#[cfg(feature = "harness")]
use super::RwLockFault;
use crate::error::Error;
use crate::hold::Hold;
use crate::telemetry;

/// What both kinds of guard consist of.
pub(super) struct Guard {
    pub(super) hold: Hold,
    pub(super) revision: i64,
    pub(super) inner: Arc<Inner>,
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
        pub struct $name(pub(super) Guard);

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
            /// What was given back cannot be given back again:
            ///
            /// ```compile_fail,E0382
            /// async fn twice(guard: etcd_recipes::RwLockWriteGuard) -> Result<(), etcd_recipes::Error> {
            ///     guard.unlock().await?;
            ///     guard.unlock().await
            /// }
            /// ```
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
    /// An [`RwLock`](super::RwLock) that is held for reading: a [`Hold`] of its key.
    RwLockReadGuard
}

guard! {
    /// An [`RwLock`](super::RwLock) that is held for writing: a [`Hold`] of its key.
    RwLockWriteGuard
}

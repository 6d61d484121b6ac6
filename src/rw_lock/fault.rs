//! Deliberately broken twins of the read-write lock. They exist to show that the
//! tests catch them.

use super::{Guard, Inner, Mode, RwLock};
use crate::error::Error;
use crate::hold::Hold;
use crate::session::Session;

/// What is wrong with a read-write lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RwLockFault {
    /// Who has waited does not look whether its own key is still there, nor
    /// whether its session lives, as in etcd's Go recipe (issue 16221 of
    /// etcd-io/etcd).
    ExpiredWaiter,
    /// Readers do not wait for writers.
    ReaderIgnoresWriters,
    /// An unlock forgets the key even if it was not deleted, as in etcd's Go
    /// recipe.
    UnlockForgets,
}

impl RwLock {
    /// A broken lock, or a whole one.
    ///
    /// # Errors
    ///
    /// As [`RwLock::new`].
    #[doc(hidden)]
    pub fn with_fault(
        session: &Session,
        name: impl Into<String>,
        fault: Option<RwLockFault>,
    ) -> Result<Self, Error> {
        Self::make(session, name, fault)
    }
}

impl Inner {
    pub(super) fn has(&self, fault: RwLockFault) -> bool {
        self.fault == Some(fault)
    }

    /// Waits for those before it to go, and for nothing else.
    pub(super) async fn wait_for_the_others_only(
        &self,
        hold: &Hold,
        mode: Mode,
    ) -> Result<i64, Error> {
        let token = hold.fencing_token();
        self.mirror
            .wait(token, |view| {
                let in_the_way = |key: &String, created: i64| {
                    created < token && self.is_in_the_way_of(mode, key, 1)
                };
                let mut line = view.keys.iter().map(|(key, e)| (key, e.create_revision));
                (!line.any(|(key, created)| in_the_way(key, created))).then_some(view.revision)
            })
            .await
    }
}

impl Guard {
    /// Sends the deletion once, and calls it done whatever comes of it.
    pub(super) async fn forget(self) {
        let mut kv = self.inner.session.client().kv_client();
        let delete = kv.delete(self.hold.key(), None);
        let deadline = self.inner.session.requests().deadline();
        let _ = crate::runtime::timeout(deadline, delete).await;
        self.hold.released_elsewhere();
    }
}

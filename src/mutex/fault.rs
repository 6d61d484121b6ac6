//! Deliberately broken twins of the mutex. They exist to show that the tests
//! catch them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Inner, Mutex, MutexGuard};
use crate::error::Error;
use crate::hold::Hold;
use crate::runtime;
use crate::session::Session;

/// What is wrong with a mutex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MutexFault {
    /// Who has waited does not look whether its own key is still there, nor
    /// whether its session lives, as etcd's Go recipe before 3.4.4 (pull request
    /// 11408 of etcd-io/etcd).
    ExpiredWaiter,
    /// Unlock deletes the key whoever created it, and is repeated after an
    /// unknown outcome, as etcd's Go recipe (issue 22082 of etcd-io/etcd).
    UnlockByName,
    /// Two tasks that share a session are not kept apart, as in etcd's Go recipe
    /// (issue 11360 of etcd-io/etcd).
    TwoObjects,
    /// All keys that begin with the name count, those of `lock2/..` and
    /// `lock/nested/..` too.
    PrefixWithoutSeparator,
    /// Who waits takes the lock when any key in the line is deleted.
    AnyDeleteWakes,
}

impl Mutex {
    /// A broken mutex, or a whole one.
    ///
    /// # Errors
    ///
    /// As [`Mutex::new`].
    #[doc(hidden)]
    pub fn with_fault(
        session: &Session,
        name: impl Into<String>,
        fault: Option<MutexFault>,
    ) -> Result<Self, Error> {
        Self::make(session, name, fault)
    }
}

impl Inner {
    pub(super) fn has(&self, fault: MutexFault) -> bool {
        self.fault == Some(fault)
    }

    /// The wait of those faults that wait for the wrong thing.
    pub(super) async fn wait_for_the_wrong_thing(&self, hold: &Hold) -> Option<Result<i64, Error>> {
        let token = hold.fencing_token();
        if self.has(MutexFault::ExpiredWaiter) {
            let first = self.mirror.wait(token, |view| {
                let earlier = |key: &String, created| created < token && self.is_lock(key);
                let mut line = view.keys.iter().map(|(key, e)| (key, e.create_revision));
                (!line.any(|(key, created)| earlier(key, created))).then_some(view.revision)
            });
            return Some(first.await);
        }
        if self.has(MutexFault::AnyDeleteWakes) {
            let mut seen: Option<BTreeSet<String>> = None;
            let any_delete = self.mirror.wait(token, |view| {
                let is_first = view.keys.values().all(|e| e.create_revision >= token);
                let before = seen.get_or_insert_with(|| view.keys.keys().cloned().collect());
                let gone = before.iter().any(|key| !view.keys.contains_key(key));
                before.extend(view.keys.keys().cloned());
                (is_first || gone).then_some(view.revision)
            });
            return Some(hold.session().while_alive(any_delete).await);
        }
        None
    }
}

impl MutexGuard {
    /// Deletes whatever has the key's name, and goes on trying in the background
    /// when the outcome is unknown.
    pub(super) async fn unlock_by_name(self) -> Result<(), Error> {
        const OPERATION: &str = "unlock";
        let Self { hold, inner, .. } = self;
        let key = hold.key().to_owned();
        let kv = inner.session.client().kv_client();
        let deadline = inner.session.requests().deadline();
        let delete = move || {
            let (key, mut kv) = (key.clone(), kv.clone());
            async move {
                match runtime::timeout(deadline, kv.delete(key.as_str(), None)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(Error::mutation(OPERATION, &key, error)),
                    Err(runtime::Elapsed) => {
                        Err(Error::mutation_deadline(OPERATION, &key, deadline))
                    }
                }
            }
        };
        let result = delete().await;
        hold.released_elsewhere();
        if result.is_err() {
            runtime::spawn_detached(async move {
                loop {
                    // Time enough for the session to lock again.
                    runtime::sleep(runtime::jittered(Duration::from_millis(40))).await;
                    if delete().await.is_ok() {
                        return;
                    }
                }
            });
        }
        result
    }
}

//! Creating a key so that nothing is left behind, whatever happens meanwhile.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Txn, TxnResponse};
use tokio::sync::oneshot;

use super::Hold;
use super::cleaner::Cleanup;
use crate::error::{self, Error};
use crate::request::{Purpose, Requests};
use crate::runtime;
use crate::session::{Loss, Session, Shared, Turn};

/// The intention to own a key: made before the request that creates it is sent.
///
/// Dropped at any time, it has the key deleted in the background if it belongs
/// to the session by then.
#[must_use]
pub(crate) struct Claim {
    session: Session,
    key: String,
    turn: Option<Turn>,
    creation: Option<oneshot::Receiver<Creation>>,
    /// A request that was not answered may still create the key.
    unsettled: bool,
    /// A request was sent that may have created the key.
    sent: bool,
    /// Where a mark stops requests that are late.
    void: Option<String>,
}

/// How the requests that create a key ended.
pub(super) struct Creation {
    result: Result<TxnResponse, Error>,
    pub(super) unsettled: bool,
}

impl Claim {
    pub(crate) fn new(session: &Session, key: impl Into<String>) -> Self {
        Self {
            session: session.clone(),
            key: key.into(),
            turn: None,
            creation: None,
            unsettled: false,
            sent: false,
            void: None,
        }
    }

    /// The requests that create the key do nothing once this other key is there: who
    /// cleans up puts it first, if one of them may still be on its way.
    pub(crate) fn with_void(mut self, void: String) -> Self {
        self.void = Some(void);
        self
    }

    /// Keeps the turn until the key is gone. Needed where the key is a function
    /// of the lease.
    pub(crate) fn with_turn(mut self, turn: Turn) -> Self {
        self.turn = Some(turn);
        self
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Whether a request was not answered that may have created the key.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Somebody else has the key: there is nothing to clean up.
    pub(crate) fn abandon(mut self) {
        self.sent = false;
    }

    /// Sends a transaction that creates the key, again while its outcome is
    /// unknown and the session lives: so it must do the same when done twice.
    ///
    /// It goes on when this future is dropped; then the claim, when it is dropped
    /// in turn, waits in the background for the answer before it cleans up.
    pub(crate) async fn send(&mut self, why: Purpose<'_>, txn: Txn) -> Result<TxnResponse, Error> {
        let (done, creation) = oneshot::channel();
        let attempts = Attempts {
            requests: self.session.requests().clone(),
            session: self.session.cleaner().session().clone(),
            operation: why.operation,
            target: why.target.to_owned(),
        };
        self.sent = true;
        runtime::spawn_detached(async move {
            // Nobody may be there to hear it.
            let _ = done.send(attempts.run(txn).await);
        });
        let creation = self.creation.insert(creation);
        let session = &self.session;
        let created = session
            .while_alive(async move {
                // Only a runtime that ends drops the task.
                let gone = |_| Error::unreadable_answer(why.operation, why.target);
                creation.await.map_err(gone)
            })
            .await?;
        self.creation = None;
        self.unsettled |= created.unsettled;
        if let Err(error) = &created.result {
            self.sent = error.is_outcome_unknown() || self.unsettled;
        }
        created.result
    }

    /// The answer says that the key was not created: there is nothing to clean up,
    /// unless an earlier request was not answered.
    pub(crate) fn came_to_nothing(mut self) {
        self.sent = self.unsettled;
    }

    /// The key is there, and was created at this revision.
    pub(crate) fn into_hold(mut self, create_revision: i64) -> Hold {
        self.sent = false;
        Hold {
            session: self.session.clone(),
            key: std::mem::take(&mut self.key),
            create_revision,
            turn: self.turn.take(),
            unsettled: self.unsettled,
            void: self.void.take(),
            released: false,
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.sent {
            let key = std::mem::take(&mut self.key);
            let (creation, turn) = (self.creation.take(), self.turn.take());
            let cleanup = Cleanup::claimed(key, creation, turn, self.unsettled);
            let cleanup = cleanup.with_void(self.void.take());
            self.session.cleaner().give(cleanup);
        }
    }
}

/// Sends a transaction until it is answered.
struct Attempts {
    requests: Requests,
    session: Arc<Shared>,
    operation: &'static str,
    target: String,
}

impl Attempts {
    async fn run(self, txn: Txn) -> Creation {
        const FIRST_PAUSE: Duration = Duration::from_millis(20);
        const LONGEST_PAUSE: Duration = Duration::from_secs(1);
        let mut pause = FIRST_PAUSE;
        let mut unsettled = false;
        loop {
            let why = Purpose {
                operation: self.operation,
                target: &self.target,
            };
            let error = match self.requests.write(why, txn.clone()).await {
                Ok(answer) => {
                    let result = Ok(answer);
                    return Creation { result, unsettled };
                }
                Err(error) => error,
            };
            unsettled |= error.is_outcome_unknown();
            let again = error.is_outcome_unknown() || (unsettled && error.is_not_sent());
            if !again || self.session.loss().is_some() {
                let result = Err(self.explained(error));
                return Creation { result, unsettled };
            }
            tracing::debug!(key = self.target, %error, "sent again; it does no more than once");
            runtime::sleep(runtime::jittered(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A lease that etcd does not know is a lost session.
    fn explained(&self, error: Error) -> Error {
        if error.etcd_error().is_some_and(error::is_lease_not_found) {
            self.session.lose(Loss::Gone);
            return Error::session_lost(self.session.lease(), &Loss::Gone.to_string());
        }
        error
    }
}

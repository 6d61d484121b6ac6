//! Deleting keys in the background: what was dropped, and what a request whose
//! answer was lost may yet create.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{GetOptions, KeyValue, PutOptions, Txn, TxnOp};
use tokio::sync::{mpsc, oneshot};

use super::claim::Creation;
use super::deletion;
use crate::error::Error;
use crate::request::{Purpose, Requests};
use crate::runtime::{self, Either};
use crate::session::{Place, Shared, Turn};

/// Takes keys to delete, at any time and from any place, also where nothing can
/// be awaited.
#[derive(Debug)]
pub(crate) struct Cleaner {
    jobs: mpsc::UnboundedSender<Cleanup>,
    session: Arc<Shared>,
}

impl Cleaner {
    /// Starts it; it ends when the session's last handle is dropped, after what
    /// was given to it.
    pub(crate) fn start(requests: Requests, session: Arc<Shared>) -> Self {
        let (jobs, mut given) = mpsc::unbounded_channel::<Cleanup>();
        let desk = Desk {
            requests,
            session: session.clone(),
        };
        runtime::spawn_detached(async move {
            while let Some(cleanup) = given.recv().await {
                let desk = desk.clone();
                runtime::spawn_detached(async move { desk.do_while_alive(cleanup).await });
            }
        });
        Self { jobs, session }
    }

    pub(crate) fn session(&self) -> &Arc<Shared> {
        &self.session
    }

    /// Nothing is cleaned up when the runtime has ended: the lease does it.
    pub(crate) fn give(&self, cleanup: Cleanup) {
        let _ = self.jobs.send(cleanup);
    }
}

/// A key to delete.
pub(crate) struct Cleanup {
    key: String,
    first: First,
    /// Kept until the key is gone, so that nobody of this session uses it.
    turn: Option<Turn>,
    place: Option<Place>,
    /// Requests that were not answered may still create the key.
    unsettled: bool,
    /// A key that stops them.
    void: Option<String>,
}

/// What to do first.
enum First {
    /// Delete the key that was created at this revision.
    Held(i64),
    /// Wait until the creation is answered, then delete the key if it is ours.
    Claimed(Option<oneshot::Receiver<Creation>>),
    /// Nothing: it is gone.
    Nothing,
}

impl std::fmt::Debug for Cleanup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cleanup")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Cleanup {
    pub(super) fn held(
        key: String,
        create_revision: i64,
        turn: Option<Turn>,
        unsettled: bool,
    ) -> Self {
        Self::new(key, First::Held(create_revision), turn, unsettled)
    }

    pub(super) fn claimed(
        key: String,
        creation: Option<oneshot::Receiver<Creation>>,
        turn: Option<Turn>,
        unsettled: bool,
    ) -> Self {
        Self::new(key, First::Claimed(creation), turn, unsettled)
    }

    /// The key is gone, but may come back.
    pub(super) fn sweep(key: String, place: Option<Place>) -> Self {
        Self {
            place,
            ..Self::new(key, First::Nothing, None, true)
        }
    }

    fn new(key: String, first: First, turn: Option<Turn>, unsettled: bool) -> Self {
        Self {
            key,
            first,
            place: turn.as_ref().map(Turn::place),
            turn,
            unsettled,
            void: None,
        }
    }

    /// The same with a key that stops requests that are late.
    pub(super) fn with_void(mut self, void: Option<String>) -> Self {
        self.void = void;
        self
    }
}

/// What it takes to clean up.
#[derive(Clone)]
struct Desk {
    requests: Requests,
    session: Arc<Shared>,
}

impl Desk {
    /// A lost session needs no cleaning: etcd deletes its keys.
    async fn do_while_alive(self, cleanup: Cleanup) {
        let lost = self.session.lost();
        if let Either::Left(_) = runtime::race(lost, self.clean(cleanup)).await {
            tracing::trace!("the session ended before it was cleaned up after");
        }
    }

    async fn clean(&self, cleanup: Cleanup) {
        let Cleanup {
            key,
            mut first,
            turn,
            mut unsettled,
            void,
            ..
        } = cleanup;
        if let First::Claimed(creation) = &mut first
            && let Some(creation) = creation.take()
        {
            unsettled |= creation.await.is_ok_and(|creation| creation.unsettled);
        }
        if let Some(void) = void.filter(|_| unsettled) {
            self.mark(&void).await;
        }
        match first {
            First::Held(create_revision) => self.delete(&key, create_revision).await,
            First::Claimed(_) => self.delete_own(&key).await,
            First::Nothing => {}
        }
        drop(turn);
        if unsettled {
            self.sweep(&key, cleanup.place).await;
        }
    }

    /// Deletes the key if it comes to life although nobody uses it: a request
    /// that was given up may still arrive. How late has no bound; each pause is
    /// four times the one before.
    async fn sweep(&self, key: &str, place: Option<Place>) {
        let mut pause = self.requests.deadline();
        for _ in 0..4 {
            runtime::sleep(pause).await;
            let turn = match &place {
                Some(place) => Some(place.turn().await),
                None => None,
            };
            self.delete_own(key).await;
            drop(turn);
            pause *= 4;
        }
    }

    /// Puts a key that lives as long as the session.
    async fn mark(&self, void: &str) {
        let leased = PutOptions::new().with_lease(self.session.lease());
        let txn = Txn::new().and_then([TxnOp::put(void, "", Some(leased))]);
        let mut refusals = Refusals::default();
        loop {
            let why = Purpose {
                operation: "clean up",
                target: void,
            };
            match self.requests.write(why, txn.clone()).await {
                Ok(_) => return,
                Err(error) if refusals.are_final(&error) => return,
                Err(_) => self.pause().await,
            }
        }
    }

    /// Deletes the key if it belongs to the session.
    async fn delete_own(&self, key: &str) {
        let own = |kv: &KeyValue| kv.lease() == self.session.lease();
        let mut refusals = Refusals::default();
        loop {
            let why = Purpose {
                operation: "clean up",
                target: key,
            };
            let options = GetOptions::new().with_keys_only();
            match self.requests.range(why, key.as_bytes(), options).await {
                Ok(answer) => {
                    if let Some(kv) = answer.kvs().first().filter(|kv| own(kv)) {
                        self.delete(key, kv.create_revision()).await;
                    }
                    return;
                }
                Err(error) if refusals.are_final(&error) => return,
                Err(_) => self.pause().await,
            }
        }
    }

    async fn delete(&self, key: &str, create_revision: i64) {
        let mut refusals = Refusals::default();
        loop {
            let why = Purpose {
                operation: "clean up",
                target: key,
            };
            match self
                .requests
                .write(why, deletion(key, create_revision))
                .await
            {
                Ok(answer) => {
                    let deleted = answer.succeeded();
                    tracing::debug!(key, create_revision, deleted, "cleaned up");
                    return;
                }
                Err(error) if refusals.are_final(&error) => return,
                Err(_) => self.pause().await,
            }
        }
    }

    async fn pause(&self) {
        runtime::sleep(runtime::jittered(Duration::from_millis(200))).await;
    }
}

/// How often etcd may refuse the token of a client before it is believed that it always will:
/// a token that was just renewed may not have got about yet, and a client that does not renew
/// it never has another one. Whoever waits for the key's turn waits for as long.
const TOKEN_REFUSALS_MAX: u32 = 10;

/// What etcd has refused so far.
#[derive(Default)]
struct Refusals {
    of_token: u32,
}

impl Refusals {
    /// Whether it makes no sense to go on after this error.
    fn are_final(&mut self, error: &Error) -> bool {
        self.of_token += u32::from(error.is_token_expired());
        let are_final = error.is_permission_denied() || self.of_token >= TOKEN_REFUSALS_MAX;
        if are_final {
            tracing::warn!(%error, "a key stays until its lease ends");
        }
        are_final
    }
}

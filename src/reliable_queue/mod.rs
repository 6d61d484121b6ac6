//! A queue that loses nothing: who takes an item only *claims* it, and an item
//! whose consumer dies before it acknowledges comes back.
//!
//! ```no_run
//! # async fn example(client: etcd_recipes::etcd_client::Client) -> Result<(), etcd_recipes::Error> {
//! # fn work_on(_: &[u8]) {}
//! use etcd_recipes::{ReliableQueue, Session};
//!
//! let session = Session::new(&client).await?;
//! let queue = ReliableQueue::new(&session, "jobs")?;
//! queue.enqueue("clean up").await?;
//! loop {
//!     let claim = queue.claim().await?;
//!     work_on(&claim.item.value);
//!     claim.acknowledge().await?;
//! }
//! # }
//! ```
//!
//! # What it promises
//!
//! - **Nothing is lost.** An item stays in etcd until it is acknowledged. One that
//!   nobody has claimed is found by the next consumer that looks, whatever failed
//!   before: what is claimed and what is not follows from the keys alone.
//! - **No two at once.** An item is never claimed twice at the same time, as etcd
//!   sees it. A consumer whose lease has ended no longer has its claims, even if
//!   it does not know yet; its acknowledgement is refused then.
//! - **Acknowledged once.** An item is acknowledged at most once, and what is
//!   written in [the same transaction](Claim::acknowledge_with) happens exactly
//!   once.
//! - **Order.** Items are handed out in the order in which they were committed. An
//!   item that comes back takes its old place, so it comes before what was
//!   enqueued later; a claim that was being decided while it came back may still
//!   go to a later item.
//!
//! # What it does not
//!
//! An item may be *worked on* more than once: by a consumer that was taken for
//! dead, and by the next one. So what the work does outside of etcd must bear
//! repetition, or be fenced with the claim's
//! [token](crate::Hold::fencing_token). Nor does it set poisonous items aside:
//! who cannot deal with an item acknowledges it and puts it somewhere else, in one
//! transaction.
//!
//! Enqueues are not repeated after an unknown outcome: give items an identity if a
//! duplicate would matter.
//!
//! # Keys
//!
//! A layout of its own; Go programs cannot take part. Items `name/items/%016d`,
//! without a lease; claims `name/claims/%016d`, attached to the consumer's lease;
//! `name/consumers/<lease in hex>`, attached too, which bars attempts whose answer
//! was lost; `name/tail`, the last number that was given out.

mod claim;
mod enqueue;
#[cfg(feature = "harness")]
mod fault;
mod layout;
mod ready;
mod take;

use std::sync::Arc;

use etcd_client::GetOptions;
use tokio::sync::Semaphore;

pub use self::claim::{AcknowledgeTxn, Acknowledged, Claim, ReliableItem};
use self::enqueue::Tail;
#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::ReliableQueueFault;
use self::take::{BATCH_MAX, Fence, Plan, TRIES};
use crate::error::Error;
use crate::keys::Name;
use crate::queue::Enqueued;
use crate::request::{Purpose, Requests};
use crate::runtime::{self, Either};
use crate::session::Session;
use crate::telemetry::{self, Call};
use crate::watch::{PrefixWatch, PrefixWatchOptions};

/// A queue whose items come back unless they are acknowledged. See the
/// [module](self).
///
/// Claims belong to the session: they end with it. Clones share the watches; let
/// the consumers of a process share one handle.
///
/// # Cost
///
/// An enqueue is one transaction, a claim one read and one transaction, an
/// acknowledgement one transaction. The read looks past the items that are
/// claimed at the moment, 64 at a time, and does not depend on the length of the
/// queue.
#[derive(Clone)]
pub struct ReliableQueue {
    inner: Arc<Inner>,
}

struct Inner {
    name: Name,
    session: Session,
    requests: Requests,
    items: PrefixWatch,
    claims: PrefixWatch,
    /// Of the claims that wait, so many look out for an item at a time.
    turns: Semaphore,
    tail: Tail,
    fence: Fence,
    #[cfg(feature = "harness")]
    fault: Option<ReliableQueueFault>,
}

/// How a [`ReliableQueue`] behaves. Deadlines are those of the session.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ReliableQueueOptions {
    #[cfg(feature = "harness")]
    fault: Option<ReliableQueueFault>,
}

impl ReliableQueueOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }
}

impl ReliableQueue {
    /// The queue called `name`, for claims that live no longer than the session.
    /// Nothing is sent.
    ///
    /// # Errors
    ///
    /// [Invalid name](Error::is_invalid_name) if the name is empty, ends with
    /// `/`, has an empty part or a NUL.
    pub fn new(session: &Session, name: impl Into<String>) -> Result<Self, Error> {
        Self::with_options(session, name, ReliableQueueOptions::default())
    }

    /// As [`new`](Self::new), with options.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[allow(
        clippy::needless_pass_by_value,
        reason = "options are given away, as to every other recipe"
    )]
    #[cfg_attr(not(feature = "harness"), allow(unused_variables))]
    pub fn with_options(
        session: &Session,
        name: impl Into<String>,
        options: ReliableQueueOptions,
    ) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let client = session.client();
        let puts = PrefixWatchOptions::new().puts_only();
        Ok(Self {
            inner: Arc::new(Inner {
                items: PrefixWatch::with_options(client, layout::items(&name), puts),
                claims: PrefixWatch::new(client, layout::claims(&name)),
                requests: session.requests().clone(),
                session: session.clone(),
                turns: Semaphore::new(2),
                tail: Tail::default(),
                fence: Fence::default(),
                #[cfg(feature = "harness")]
                fault: options.fault,
                name,
            }),
        })
    }

    /// The queue's name.
    pub fn name(&self) -> &str {
        self.inner.name.as_str()
    }

    /// The session that claims belong to.
    pub fn session(&self) -> &Session {
        &self.inner.session
    }

    /// Puts an item at the tail.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused), [not sent](Error::is_not_sent), or an
    /// [unknown outcome](Error::is_outcome_unknown): the item may be in the queue,
    /// and a second one would be a duplicate. Dropping the future leaves the
    /// outcome unknown too.
    pub async fn enqueue(&self, value: impl Into<Vec<u8>>) -> Result<Enqueued, Error> {
        let work = async {
            let enqueued = self.inner.put(vec![value.into()]).await?;
            let missing = || Error::unreadable_answer("enqueue into", self.name());
            enqueued.into_iter().next().ok_or_else(missing)
        };
        telemetry::observed(self.inner.call("enqueue"), work).await
    }

    /// Puts several items at the tail, one behind the other, all or none: at most
    /// 100, and no more bytes than etcd takes in one request.
    ///
    /// # Errors
    ///
    /// As [`enqueue`](Self::enqueue); an invalid option if there are more.
    pub async fn enqueue_batch<V: Into<Vec<u8>>>(
        &self,
        values: impl IntoIterator<Item = V>,
    ) -> Result<Vec<Enqueued>, Error> {
        let values = values.into_iter().map(Into::into).collect();
        telemetry::observed(
            self.inner.call("enqueue_batch"),
            Box::pin(self.inner.put(values)),
        )
        .await
    }

    /// Claims the first item that nobody has claimed, waiting for one as long as
    /// it takes and the session lives.
    ///
    /// Can be cancelled by dropping it: an item that is claimed all the same is
    /// given back in the background. A claim whose answer is lost is found out
    /// about. A future that is kept must be polled.
    ///
    /// # Errors
    ///
    /// [Session lost](Error::is_session_lost), or [not held](Error::is_not_held) if
    /// the lease ended before the item was read: whatever was claimed comes back.
    /// Any other error means that nothing is claimed.
    pub async fn claim(&self) -> Result<Claim, Error> {
        let work = async {
            let claims = self.inner.wait_and_claim(1).await?;
            let missing = || Error::unreadable_answer("claim from", self.name());
            claims.into_iter().next().ok_or_else(missing)
        };
        telemetry::observed(self.inner.call("claim"), work).await
    }

    /// Claims the first item that nobody has claimed, or none if every item was
    /// claimed at some moment during the call, or there was none.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    pub async fn try_claim(&self) -> Result<Option<Claim>, Error> {
        let work = async {
            match self.inner.try_claim(1).await? {
                Ok(claims) => Ok(claims.into_iter().next()),
                Err(_) => Ok(None),
            }
        };
        telemetry::observed(self.inner.call("try_claim"), work).await
    }

    /// Claims up to `limit` items at once, at most 32, waiting for the first as
    /// [`claim`](Self::claim) does. Each is acknowledged or given back by itself.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim); an invalid option if `limit` is 0.
    pub async fn claim_batch(&self, limit: usize) -> Result<Vec<Claim>, Error> {
        if limit == 0 {
            return Err(Error::invalid_option(
                "claim from",
                self.name(),
                "a batch of none",
            ));
        }
        let work = self.inner.wait_and_claim(limit.min(BATCH_MAX));
        telemetry::observed(self.inner.call("claim_batch"), work).await
    }

    /// Looks at the first items that nobody has claimed, at most this many, and
    /// leaves them there. Items that are claimed or acknowledged while it reads are
    /// left out.
    ///
    /// # Errors
    ///
    /// Definite ones only: it changes nothing.
    pub async fn peek(&self, limit: usize) -> Result<Vec<ReliableItem>, Error> {
        let inner = &*self.inner;
        let why = Purpose {
            operation: "read the items of",
            target: self.name(),
        };
        let ready = inner.read_ready(limit).await?;
        let mut items = Vec::new();
        for item in ready.items {
            let key = item.key.as_bytes();
            let answer = inner.requests.range(why, key, GetOptions::new()).await?;
            if let Some(kv) = answer.kvs().first()
                && kv.mod_revision() == item.mod_revision
            {
                items.push(ReliableItem {
                    value: kv.value().to_vec(),
                    key: item.key,
                    mod_revision: item.mod_revision,
                    revision: ready.revision,
                });
            }
        }
        Ok(items)
    }

    /// How many items are in the queue, those included that are claimed: all that
    /// were not acknowledged.
    ///
    /// # Errors
    ///
    /// Definite ones only: it changes nothing.
    pub async fn len(&self) -> Result<u64, Error> {
        let inner = &*self.inner;
        let why = Purpose {
            operation: "count the items of",
            target: self.name(),
        };
        let (start, end) = layout::items_from(&inner.name, 0);
        let options = GetOptions::new().with_range(end).with_count_only();
        let answer = inner.requests.range(why, start.as_bytes(), options).await?;
        Ok(u64::try_from(answer.count()).unwrap_or(0))
    }

    /// Whether every item was acknowledged.
    ///
    /// # Errors
    ///
    /// Definite ones only: it changes nothing.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len().await? == 0)
    }
}

impl std::fmt::Debug for ReliableQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReliableQueue")
            .field("name", &self.name())
            .field("session", &self.inner.session)
            .finish_non_exhaustive()
    }
}

/// Every item was claimed at this revision, or there was none.
struct NoneReady {
    revision: i64,
}

impl Inner {
    fn call(&self, operation: &'static str) -> Call<'_> {
        Call {
            recipe: "reliable-queue",
            operation,
            name: self.name.as_str(),
            lease: Some(self.session.lease_id()),
        }
    }

    async fn wait_and_claim(self: &Arc<Self>, limit: usize) -> Result<Vec<Claim>, Error> {
        let mut turn = None;
        loop {
            let NoneReady { revision } = match self.try_claim(limit).await? {
                Ok(claims) => return Ok(claims),
                Err(none) => none,
            };
            if turn.is_none() {
                turn = self.turns.try_acquire().ok();
                if turn.is_none() {
                    // Items may have come and gone before it is this one's turn.
                    let next = async { Ok(self.turns.acquire().await.ok()) };
                    turn = self.session.while_alive(next).await?;
                    continue;
                }
            }
            tracing::trace!(queue = self.name.as_str(), revision, "waiting for an item");
            self.session.while_alive(self.wait(revision)).await?;
        }
    }

    /// Claims items without waiting for them.
    async fn try_claim(
        self: &Arc<Self>,
        limit: usize,
    ) -> Result<Result<Vec<Claim>, NoneReady>, Error> {
        self.session.check()?;
        let mut pause = std::time::Duration::from_millis(2);
        let mut together = limit > 1;
        loop {
            let wanted = if together { limit } else { TRIES };
            let ready = self.read_ready(wanted).await?;
            if ready.items.is_empty() {
                let revision = ready.revision;
                return Ok(Err(NoneReady { revision }));
            }
            let plan = if together {
                Plan::All(ready.items)
            } else {
                Plan::First(ready.items)
            };
            let mut claims = self.take(plan).await?;
            if together {
                claims = self.fill(claims).await?;
            }
            if !claims.is_empty() {
                return Ok(Ok(claims));
            }
            // Others were faster: they may be so again with many, not with one.
            together = false;
            runtime::sleep(runtime::jittered(pause)).await;
            pause = (pause * 2).min(std::time::Duration::from_millis(64));
        }
    }

    /// Waits until an item was put, or a claim went, after this revision.
    async fn wait(&self, revision: i64) -> Result<(), Error> {
        let put = self.items.wait_for_put_after(revision);
        #[cfg(feature = "harness")]
        if self.waits_for_puts_only() {
            return put.await.map(drop);
        }
        let given_back = self.claims.wait_for_delete_after(revision);
        match runtime::race(put, given_back).await {
            Either::Left(wake) | Either::Right(wake) => wake.map(drop),
        }
    }
}

//! A barrier: while it is held, whoever waits for it stays where it is.
//!
//! # What it promises
//!
//! - A [`wait`](Barrier::wait) returns only after some moment during the call at
//!   which the barrier did not stand. A watch that dies, is cancelled or falls
//!   behind a compaction is opened again, and the key is read again; it is never
//!   taken for a release.
//! - A release wakes everybody who waits, also if somebody raises the barrier
//!   again at once: a wait looks for the end of *that* key, by its create revision.
//!
//! # What it does not promise
//!
//! - A barrier has no owner: anybody can [`release`](Barrier::release) it. One that
//!   was raised by [`hold`](Barrier::hold) has no lease either, so that it stays
//!   when its holder dies, until somebody takes it down.
//!   [`hold_with_session`](Barrier::hold_with_session) raises one that falls with
//!   its holder.
//! - It does not count who waits. See [`DoubleBarrier`](crate::DoubleBarrier) and
//!   [`CyclicBarrier`](crate::CyclicBarrier).
//!
//! # Keys
//!
//! The name itself, with an empty value, as in etcd's Go recipe, with which it can
//! be shared. The Go recipe's own `Wait` takes a dead watch for a release.
//!
//! ```
//! # async fn example(client: etcd_recipes::etcd_client::Client) -> Result<(), etcd_recipes::Error> {
//! use etcd_recipes::Barrier;
//!
//! let barrier = Barrier::new(&client, "maintenance")?;
//! if barrier.hold().await? {
//!     // Everybody who calls wait() stays there.
//!     barrier.release().await?;
//! }
//! barrier.wait().await?;
//! # Ok(())
//! # }
//! # let run = etcd_sim::Simulation::builder().run(|simulation| async move {
//! #     example(simulation.client(0).await.unwrap()).await.unwrap();
//! # });
//! # run.unwrap();
//! ```

#[cfg(feature = "harness")]
mod fault;
mod held;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, GetOptions, Txn, TxnOp};

#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::BarrierFault;
pub use self::held::HeldBarrier;
use crate::error::Error;
use crate::keys::Name;
use crate::request::{DEFAULT_REQUEST_DEADLINE, Purpose, Requests};
use crate::session::Session;
use crate::telemetry::{Call, observed};
use crate::watch::{Mirror, Watches};

/// A barrier that is held and released. See the [module](self).
///
/// Clones, in any number of tasks, share one watch.
#[derive(Clone)]
pub struct Barrier {
    inner: Arc<Inner>,
}

struct Inner {
    name: Name,
    requests: Requests,
    mirror: Mirror,
    #[cfg(feature = "harness")]
    fault: Option<fault::Broken>,
}

/// How a [`Barrier`] behaves.
#[derive(Debug, Clone)]
#[must_use]
pub struct BarrierOptions {
    request_deadline: Duration,
    watches: Option<Watches>,
    #[cfg(feature = "harness")]
    fault: Option<BarrierFault>,
}

impl Default for BarrierOptions {
    fn default() -> Self {
        Self {
            request_deadline: DEFAULT_REQUEST_DEADLINE,
            watches: None,
            #[cfg(feature = "harness")]
            fault: None,
        }
    }
}

impl BarrierOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to wait for the answer to one request. A wait takes as long as the
    /// barrier stands; this limits its requests only. Default: 5 s.
    pub fn request_deadline(mut self, deadline: Duration) -> Self {
        self.request_deadline = deadline;
        self
    }

    /// Shares these watches with other recipes and handles. Default: watches of
    /// its own.
    pub fn watches(mut self, watches: &Watches) -> Self {
        self.watches = Some(watches.clone());
        self
    }
}

impl Barrier {
    /// The barrier called `name`, with default options. Nothing is sent.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options).
    pub fn new(client: &Client, name: impl Into<String>) -> Result<Self, Error> {
        Self::with_options(client, name, BarrierOptions::default())
    }

    /// The barrier called `name`. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [Invalid name](Error::is_invalid_name) if the name is empty, ends with `/`,
    /// has an empty part or a NUL.
    pub fn with_options(
        client: &Client,
        name: impl Into<String>,
        options: BarrierOptions,
    ) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let requests = Requests::new(client, options.request_deadline);
        let watches = options
            .watches
            .unwrap_or_else(|| Watches::with_requests(client, requests.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                mirror: watches.mirror_of_key(name.as_str()),
                requests,
                #[cfg(feature = "harness")]
                fault: options.fault.map(|f| fault::Broken::new(f, client)),
                name,
            }),
        })
    }

    /// The barrier's name.
    pub fn name(&self) -> &str {
        self.inner.name.as_str()
    }

    /// Raises the barrier, without a lease: it stands until somebody releases it,
    /// also when this process dies. False if it stands already.
    ///
    /// # Errors
    ///
    /// With an [unknown outcome](Error::is_outcome_unknown) the barrier may have
    /// been raised, or may yet be. It is not tried again: if it then stood, nobody
    /// could tell who had raised it. Other errors mean that it was not. Dropping the
    /// future leaves the outcome as unknown; a barrier that must not be left standing is
    /// held [with a session](Self::hold_with_session).
    pub async fn hold(&self) -> Result<bool, Error> {
        let inner = &*self.inner;
        observed(inner.call("hold", None), async {
            let txn = Txn::new()
                .when([Compare::version(self.name(), CompareOp::Equal, 0)])
                .and_then([TxnOp::put(self.name(), "", None)]);
            let answer = inner.requests.write(inner.why("hold"), txn).await?;
            Ok(answer.succeeded())
        })
        .await
    }

    /// Raises a barrier that falls with its holder: when the guard is released or
    /// dropped, or when the session's lease ends. None if it stands already.
    ///
    /// A lost answer is resolved: the request is repeated for as long as the
    /// session lives, and the key's lease tells whose it is. Where one of them arrives
    /// late, after this was answered, the barrier stands for a moment, until the
    /// background takes it down. Dropping the future takes back what it may have done.
    ///
    /// # Errors
    ///
    /// [Session lost](Error::is_session_lost), [refused](Error::is_refused) by
    /// etcd, or [not sent](Error::is_not_sent).
    pub async fn hold_with_session(&self, session: &Session) -> Result<Option<HeldBarrier>, Error> {
        Ok(self.attempt(session).await?.held)
    }

    /// As [`hold_with_session`](Self::hold_with_session), and says whether a request may
    /// still arrive late.
    #[cfg(feature = "harness")]
    pub(crate) async fn hold_with_session_and_tell(
        &self,
        session: &Session,
    ) -> Result<(Option<HeldBarrier>, bool), Error> {
        let attempt = self.attempt(session).await?;
        Ok((attempt.held, attempt.is_unsettled))
    }

    async fn attempt(&self, session: &Session) -> Result<held::Attempt, Error> {
        let inner = &*self.inner;
        let call = inner.call("hold", Some(session.lease_id()));
        observed(call, held::hold(inner, session)).await
    }

    /// Takes the barrier down, whoever raised it. False if it does not stand.
    ///
    /// # Errors
    ///
    /// With an [unknown outcome](Error::is_outcome_unknown) it may have been taken
    /// down, or may yet be. It is not tried again, because it would take down what
    /// somebody raised meanwhile. Other errors mean that it was not. Dropping the future
    /// leaves the outcome as unknown.
    pub async fn release(&self) -> Result<bool, Error> {
        let inner = &*self.inner;
        observed(inner.call("release", None), async {
            let deleted = inner
                .requests
                .delete(inner.why("release"), self.name())
                .await?;
            Ok(deleted > 0)
        })
        .await
    }

    /// Waits until the barrier does not stand: returns at once if it does not, else
    /// when the one that stands now has been taken down or has fallen. Can be
    /// cancelled by dropping it; nothing is left behind.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused) when the user may not read or watch the key,
    /// and whatever the first read can fail with. Once it waits it goes on for as
    /// long as it takes, whatever happens to the connection.
    pub async fn wait(&self) -> Result<(), Error> {
        let inner = &*self.inner;
        observed(inner.call("wait", None), inner.wait()).await
    }
}

impl Inner {
    fn call(&self, operation: &'static str, lease: Option<i64>) -> Call<'_> {
        Call {
            recipe: "barrier",
            operation,
            name: self.name.as_str(),
            lease,
        }
    }

    fn why(&self, operation: &'static str) -> Purpose<'_> {
        Purpose {
            operation,
            target: self.name.as_str(),
        }
    }

    async fn wait(&self) -> Result<(), Error> {
        let key = self.name.as_str();
        let options = GetOptions::new().with_keys_only();
        let why = self.why("wait for");
        let answer = self.requests.range(why, key.as_bytes(), options).await?;
        let Some(standing) = answer.kvs().first() else {
            return Ok(());
        };
        let created = standing.create_revision();
        tracing::debug!(key, revision = created, "waits for the barrier to fall");
        #[cfg(feature = "harness")]
        if let Some(broken) = &self.fault
            && let Some(waited) = broken.wait(self, &answer).await
        {
            return waited;
        }
        let gone = |view: &crate::watch::View| (!view.holds(key, created)).then_some(());
        self.mirror.wait(standing.mod_revision(), gone).await
    }
}

impl std::fmt::Debug for Barrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Barrier")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

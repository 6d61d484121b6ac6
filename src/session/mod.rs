//! A lease that is kept alive, and the signal that it no longer is.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{Client, LeaseClient};
use futures_util::Stream;
use futures_util::stream;

use crate::error::Error;
use crate::hold::Cleaner;
use crate::request::{DEFAULT_REQUEST_DEADLINE, Requests};
use crate::runtime::{self, Either};
use crate::telemetry;
use crate::watch::{Mirror, Watches};

mod certain;
mod keeper;
mod lease;
mod state;
mod turn;

use keeper::Keeper;
pub(crate) use state::Shared;

pub use state::{Loss, SessionState};
use turn::Turns;
pub(crate) use turn::{Place, Turn};

/// A lease that a background task keeps alive.
///
/// Clones share the lease. When the last clone is dropped the lease is no
/// longer kept alive and ends with its time to live; [`close`](Self::close)
/// ends it at once. Keys that are written with [`lease_id`](Self::lease_id)
/// live no longer than the lease.
///
/// # What it promises
///
/// etcd ends a lease no earlier than its time to live after it received the
/// last keep-alive. The session therefore counts its [`deadline`](Self::deadline)
/// from the moment a keep-alive that was answered was *sent*, so that it gives
/// the lease up before etcd does, as long as both clocks run at the same rate.
/// A lost session stays lost, even if the lease should turn out to live.
///
/// It does not promise that nobody else acts before this process notices: a
/// paused process notices nothing. Guard what matters by comparing revisions in
/// the same transaction (etcd's documentation, *learning/why*, "Notes on the
/// usage of lock and lease").
///
/// # Keys
///
/// None of its own. Locks and elections call their keys after the lease's id.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use etcd_recipes::etcd_client::{Client, PutOptions};
/// use etcd_recipes::session::{Session, SessionOptions};
///
/// let mut client = Client::connect(["127.0.0.1:2379"], None).await?;
/// let options = SessionOptions::new().ttl(Duration::from_secs(10));
/// let session = Session::with_options(&client, options).await?;
/// let attached = PutOptions::new().with_lease(session.lease_id());
/// client.put("members/7", "here", Some(attached)).await?;
/// println!("lost: {}", session.lost().await);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

/// How a [`Session`] behaves.
#[derive(Debug, Clone)]
#[must_use]
pub struct SessionOptions {
    ttl: Duration,
    request_deadline: Duration,
    watches: Option<Watches>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            request_deadline: DEFAULT_REQUEST_DEADLINE,
            watches: None,
        }
    }
}

impl SessionOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time to live to ask for, in whole seconds (rounded up, at least 1).
    /// etcd may grant more: its minimum is one and a half election timeouts,
    /// 2 s by default. Default: 60 s, as in Go.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long to wait for the answer to one request. Default: 5 s.
    pub fn request_deadline(mut self, deadline: Duration) -> Self {
        self.request_deadline = deadline;
        self
    }

    /// Shares the lasting watches of other sessions on the same connection: then
    /// a hundred of them that wait for one lock cost one watch. Default: each
    /// session has its own.
    pub fn watches(mut self, watches: &Watches) -> Self {
        self.watches = Some(watches.clone());
        self
    }

    fn ttl_seconds(&self) -> i64 {
        let rounded_up = self.ttl.as_secs() + u64::from(self.ttl.subsec_nanos() > 0);
        i64::try_from(rounded_up.max(1)).unwrap_or(i64::MAX)
    }
}

impl Session {
    /// Grants a lease of 60 s and keeps it alive.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options).
    pub async fn new(client: &Client) -> Result<Self, Error> {
        Self::with_options(client, SessionOptions::default()).await
    }

    /// Grants a lease and keeps it alive.
    ///
    /// The id of the lease is drawn here, not by etcd, so that a grant whose
    /// answer is lost can be taken back: then, and when the future is dropped, nothing is
    /// kept alive, and what may have been granted ends with its time to live.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused) by etcd, or [not sent](Error::is_not_sent).
    /// With an [unknown outcome](Error::is_outcome_unknown) a lease without keys
    /// may live for its time to live; it was tried to revoke it.
    pub async fn with_options(client: &Client, options: SessionOptions) -> Result<Self, Error> {
        let leases = client.lease_client();
        let (id, sent, ttl) = lease::grant(&leases, &options).await?;
        tracing::debug!(lease = format!("{id:x}"), ?ttl, "lease granted");
        let shared = Arc::new(Shared::new(id, ttl, sent + lease::reliable(ttl)));
        let keeper = Keeper::new(leases.clone(), shared.clone(), options.request_deadline);
        let task = runtime::spawn(keeper.run(sent));
        let requests = Requests::new(client, options.request_deadline);
        let watches = match &options.watches {
            Some(watches) => watches.clone(),
            None => Watches::with_requests(client, requests.clone()),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                cleaner: Cleaner::start(requests.clone(), shared.clone()),
                client: client.clone(),
                requests,
                watches,
                turns: Turns::default(),
                options,
                shared,
                leases,
                task: Mutex::new(Some(task)),
            }),
        })
    }

    /// A new session with the options of this one: another lease, the same
    /// connection, the same watches. For whoever goes on after a loss.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options).
    pub async fn reopen(&self) -> Result<Self, Error> {
        let mut options = self.inner.options.clone();
        options.watches = Some(self.inner.watches.clone());
        Self::with_options(&self.inner.client, options).await
    }

    /// The client that the session was made with.
    pub fn client(&self) -> &Client {
        &self.inner.client
    }

    /// The id of the lease: positive, random.
    pub fn lease_id(&self) -> i64 {
        self.inner.shared.lease()
    }

    /// The time to live that etcd granted.
    pub fn ttl(&self) -> Duration {
        self.inner.shared.ttl()
    }

    /// Until when the lease can be relied on, unless it is extended. In the past
    /// once the session is lost.
    pub fn deadline(&self) -> Instant {
        self.inner.shared.deadline()
    }

    /// How long the lease can be relied on, unless it is extended. Zero once the
    /// session is lost.
    pub fn remaining(&self) -> Duration {
        match self.inner.shared.loss() {
            Some(_) => Duration::ZERO,
            None => self.deadline().saturating_duration_since(runtime::now()),
        }
    }

    /// Whether the lease can be relied on right now.
    pub fn is_alive(&self) -> bool {
        self.inner.shared.loss().is_none()
    }

    /// Nothing while the session is alive.
    ///
    /// # Errors
    ///
    /// [Session lost](Error::is_session_lost), with the reason, once it is not.
    pub fn check(&self) -> Result<(), Error> {
        match self.inner.shared.loss() {
            None => Ok(()),
            Some(loss) => Err(Error::session_lost(self.lease_id(), &loss.to_string())),
        }
    }

    /// Whether the lease can be relied on, and whether etcd has been heard of.
    pub fn state(&self) -> SessionState {
        self.inner.shared.session_state(runtime::now())
    }

    /// The [`state`](Self::state) now, and then each time that it becomes
    /// another one; after [`Lost`](SessionState::Lost) the stream ends. States
    /// that pass while nobody asks are skipped, a loss never is.
    ///
    /// ```no_run
    /// # async fn example(session: etcd_recipes::Session) {
    /// use etcd_recipes::session::SessionState;
    /// use futures_util::StreamExt as _;
    ///
    /// let mut states = std::pin::pin!(session.states());
    /// while let Some(state) = states.next().await {
    ///     match state {
    ///         SessionState::Healthy => println!("go on"),
    ///         SessionState::Suspended { remaining } => println!("begin nothing new: {remaining:?}"),
    ///         SessionState::Lost(loss) => println!("stop: {loss}"),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    pub fn states(&self) -> impl Stream<Item = SessionState> + Send + use<> {
        let shared = self.inner.shared.clone();
        stream::unfold(None, move |before| {
            let shared = shared.clone();
            async move {
                let state = shared.state_other_than(before).await?;
                Some((state, Some(state)))
            }
        })
    }

    /// Waits until the session is lost: its deadline passes, etcd says that the
    /// lease is gone, or it is closed. Can be cancelled by dropping it.
    pub async fn lost(&self) -> Loss {
        self.inner.shared.lost().await
    }

    /// Ends the session for all clones: its lease is revoked, and with it all
    /// keys that are attached to the lease are deleted at one revision. Dropping the
    /// future ends it too; then the lease may live on for its time to live.
    ///
    /// # Errors
    ///
    /// With an [unknown outcome](Error::is_outcome_unknown), and if the revoke
    /// was refused or not sent, the lease is no longer kept alive and ends with
    /// its time to live at the latest. A lease that is already gone is no error.
    pub async fn close(&self) -> Result<(), Error> {
        drop(self.inner.task().take());
        if self.is_alive() {
            telemetry::session_lost(Loss::Closed);
        }
        self.inner.shared.lose(Loss::Closed);
        let deadline = self.inner.options.request_deadline;
        lease::revoke(&self.inner.leases, self.lease_id(), deadline).await
    }

    /// The result of `work`, or that the session was lost before it was done.
    pub(crate) async fn while_alive<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match runtime::race(self.lost(), work).await {
            Either::Left(loss) => Err(Error::session_lost(self.lease_id(), &loss.to_string())),
            Either::Right(result) => result,
        }
    }

    pub(crate) fn requests(&self) -> &Requests {
        &self.inner.requests
    }

    /// The lasting local copy of what is under `prefix`.
    pub(crate) fn mirror(&self, prefix: &str) -> Mirror {
        self.inner.watches.mirror(prefix)
    }

    /// Waits for the turn of this process's tasks that share this session.
    pub(crate) async fn turn(&self, prefix: &str) -> Turn {
        self.inner.turns.turn(prefix).await
    }

    /// The turn, if nobody else has it.
    pub(crate) fn try_turn(&self, prefix: &str) -> Option<Turn> {
        self.inner.turns.try_turn(prefix)
    }

    pub(crate) fn cleaner(&self) -> &Cleaner {
        &self.inner.cleaner
    }
}

/// What the handles own: the keep-alive ends with the last of them.
struct Inner {
    shared: Arc<Shared>,
    client: Client,
    leases: LeaseClient,
    requests: Requests,
    watches: Watches,
    turns: Turns,
    cleaner: Cleaner,
    options: SessionOptions,
    task: Mutex<Option<runtime::Task>>,
}

impl Inner {
    fn task(&self) -> MutexGuard<'_, Option<runtime::Task>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("lease", &format_args!("{:x}", self.shared.lease()))
            .field("ttl", &self.shared.ttl())
            .field("state", &self.shared.session_state(runtime::now()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

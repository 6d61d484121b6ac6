//! A lease that is kept alive, and the signal that it no longer is.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use etcd_client::{Client, LeaseClient, LeaseGrantOptions, LeaseKeepAliveStream, LeaseKeeper};
use tokio::sync::Notify;

use crate::error::{self, Error};
use crate::request::DEFAULT_REQUEST_DEADLINE;
use crate::runtime;

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

/// Why a session was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// No keep-alive was answered for the time to live.
    Expired,
    /// etcd no longer knows the lease: it expired there, or was revoked.
    Gone,
    /// The session was closed by [`Session::close`].
    Closed,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "no keep-alive was answered in time",
            Self::Gone => "etcd no longer knows the lease",
            Self::Closed => "the session was closed",
        })
    }
}

/// How a [`Session`] behaves.
#[derive(Debug, Clone)]
#[must_use]
pub struct SessionOptions {
    ttl: Duration,
    request_deadline: Duration,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(60),
            request_deadline: DEFAULT_REQUEST_DEADLINE,
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
    /// answer is lost can be taken back.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused) by etcd, or [not sent](Error::is_not_sent).
    /// With an [unknown outcome](Error::is_outcome_unknown) a lease without keys
    /// may live for its time to live; it was tried to revoke it.
    pub async fn with_options(client: &Client, options: SessionOptions) -> Result<Self, Error> {
        let leases = client.lease_client();
        let (lease, sent, ttl) = grant(&leases, &options).await?;
        tracing::debug!(lease = format!("{lease:x}"), ?ttl, "lease granted");
        let shared = Arc::new(Shared {
            lease,
            ttl,
            state: Mutex::new(State {
                deadline: sent + ttl,
                loss: None,
            }),
            changed: Notify::new(),
        });
        let keeper = Keeper {
            leases: leases.clone(),
            shared: shared.clone(),
            request_deadline: options.request_deadline,
        };
        let task = runtime::spawn(keeper.run(sent));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                leases,
                request_deadline: options.request_deadline,
                task: Mutex::new(Some(task)),
            }),
        })
    }

    /// The id of the lease: positive, random.
    pub fn lease_id(&self) -> i64 {
        self.inner.shared.lease
    }

    /// The time to live that etcd granted.
    pub fn ttl(&self) -> Duration {
        self.inner.shared.ttl
    }

    /// Until when the lease can be relied on, unless it is extended. In the past
    /// once the session is lost.
    pub fn deadline(&self) -> Instant {
        self.inner.shared.lock().deadline
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

    /// Waits until the session is lost: its deadline passes, etcd says that the
    /// lease is gone, or it is closed. Can be cancelled by dropping it.
    pub async fn lost(&self) -> Loss {
        self.inner.shared.lost().await
    }

    /// Ends the session for all clones: its lease is revoked, and with it all
    /// keys that are attached to the lease are deleted at one revision.
    ///
    /// # Errors
    ///
    /// With an [unknown outcome](Error::is_outcome_unknown), and if the revoke
    /// was refused or not sent, the lease is no longer kept alive and ends with
    /// its time to live at the latest. A lease that is already gone is no error.
    pub async fn close(&self) -> Result<(), Error> {
        drop(self.inner.task().take());
        self.inner.shared.lose(Loss::Closed);
        revoke(
            &self.inner.leases,
            self.lease_id(),
            self.inner.request_deadline,
        )
        .await
    }
}

/// What the handles own: the keep-alive ends with the last of them.
struct Inner {
    shared: Arc<Shared>,
    leases: LeaseClient,
    request_deadline: Duration,
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
            .field("lease", &format_args!("{:x}", self.shared.lease))
            .field("ttl", &self.shared.ttl)
            .field("state", &*self.shared.lock())
            .finish_non_exhaustive()
    }
}

/// What the handles share with the task.
struct Shared {
    lease: i64,
    ttl: Duration,
    state: Mutex<State>,
    changed: Notify,
}

/// Invariant: once there is a loss, nothing changes any more.
#[derive(Debug)]
struct State {
    deadline: Instant,
    loss: Option<Loss>,
}

impl State {
    /// The loss, noticing that the deadline has passed.
    fn loss_at(&mut self, now: Instant) -> Option<Loss> {
        if self.loss.is_none() && now >= self.deadline {
            self.loss = Some(Loss::Expired);
        }
        self.loss
    }

    /// Moves the deadline, unless that comes too late.
    fn extend(&mut self, now: Instant, deadline: Instant) -> bool {
        if self.loss_at(now).is_some() {
            return false;
        }
        self.deadline = self.deadline.max(deadline);
        true
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loss(&self) -> Option<Loss> {
        self.lock().loss_at(runtime::now())
    }

    fn lose(&self, loss: Loss) {
        let first = {
            let now = runtime::now();
            let mut state = self.lock();
            let first = state.loss_at(now).is_none();
            if first {
                state.loss = Some(loss);
                state.deadline = state.deadline.min(now);
            }
            first
        };
        if first {
            tracing::debug!(lease = format!("{:x}", self.lease), %loss, "session ended");
        }
        self.changed.notify_waiters();
    }

    async fn lost(&self) -> Loss {
        loop {
            let changed = self.changed.notified();
            if let Some(loss) = self.loss() {
                return loss;
            }
            let left = self
                .lock()
                .deadline
                .saturating_duration_since(runtime::now());
            runtime::race(changed, runtime::sleep(left)).await;
        }
    }
}

/// The task that keeps the lease alive.
struct Keeper {
    leases: LeaseClient,
    shared: Arc<Shared>,
    request_deadline: Duration,
}

/// Why a keep-alive stream ended.
enum End {
    /// Open another one.
    Broken(String),
    /// The lease is lost.
    Lost,
}

impl Keeper {
    /// Keeps the lease alive until it is lost. `sent` is when the grant was.
    async fn run(self, sent: Instant) {
        let mut next = sent + self.interval();
        loop {
            self.until(next).await;
            if self.shared.loss().is_some() {
                break;
            }
            match self.stream().await {
                End::Lost => break,
                End::Broken(why) => {
                    tracing::debug!(
                        lease = format!("{:x}", self.shared.lease),
                        why,
                        "the keep-alive stream broke and is opened again"
                    );
                    let pause = Duration::from_millis(500).min(self.shared.ttl / 10);
                    next = runtime::now() + runtime::jittered(pause);
                }
            }
        }
        let loss = self.shared.loss();
        self.shared.changed.notify_waiters();
        tracing::warn!(
            lease = format!("{:x}", self.shared.lease),
            reason = loss.map(|l| l.to_string()),
            "session lost"
        );
    }

    /// A third of the time to live, so that two keep-alives in a row may fail.
    fn interval(&self) -> Duration {
        self.shared.ttl / 3
    }

    /// How long to wait for an answer before the stream counts as broken.
    fn patience(&self) -> Duration {
        self.request_deadline.min(self.interval())
    }

    async fn until(&self, instant: Instant) {
        runtime::sleep(instant.saturating_duration_since(runtime::now())).await;
    }

    /// Opens a stream and keeps the lease alive with it until it breaks. One
    /// request at a time is on its way, so it is clear which one an answer
    /// belongs to.
    async fn stream(&self) -> End {
        let mut sent = runtime::now();
        let mut leases = self.leases.clone();
        let opening = leases.keep_alive(self.shared.lease);
        let (mut keeper, mut answers) = match runtime::timeout(self.patience(), opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.end_of(&error),
            Err(runtime::Elapsed) => return End::Broken("no answer when opening it".to_owned()),
        };
        // Opening a stream is itself a keep-alive that was answered; the client
        // does not pass on the time to live in that answer, but a lease never
        // changes it.
        let mut ttl = self.shared.ttl;
        loop {
            if !self.shared.lock().extend(runtime::now(), sent + ttl) {
                return End::Lost;
            }
            self.until(sent + self.interval()).await;
            sent = runtime::now();
            match runtime::timeout(self.patience(), exchange(&mut keeper, &mut answers)).await {
                Ok(Ok(Some(seconds))) if seconds > 0 => ttl = seconds_to_duration(seconds),
                Ok(Ok(Some(_))) => {
                    self.shared.lose(Loss::Gone);
                    return End::Lost;
                }
                Ok(Ok(None)) => return End::Broken("etcd closed it".to_owned()),
                Ok(Err(error)) => return self.end_of(&error),
                Err(runtime::Elapsed) => return End::Broken("silence".to_owned()),
            }
        }
    }

    fn end_of(&self, error: &etcd_client::Error) -> End {
        if error::is_lease_not_found(error) {
            self.shared.lose(Loss::Gone);
            return End::Lost;
        }
        End::Broken(error::brief(error))
    }
}

/// Sends one keep-alive and takes its answer: the time to live in seconds.
async fn exchange(
    keeper: &mut LeaseKeeper,
    answers: &mut LeaseKeepAliveStream,
) -> Result<Option<i64>, etcd_client::Error> {
    keeper.keep_alive().await?;
    Ok(answers.message().await?.map(|answer| answer.ttl()))
}

/// Grants a lease. Returns its id, when the request was sent, and the time to
/// live that etcd granted.
async fn grant(
    leases: &LeaseClient,
    options: &SessionOptions,
) -> Result<(i64, Instant, Duration), Error> {
    const OPERATION: &str = "grant";
    loop {
        let lease = draw_lease_id();
        let target = format!("lease {lease:x}");
        let sent = runtime::now();
        let mut client = leases.clone();
        let granted = client.grant(
            options.ttl_seconds(),
            Some(LeaseGrantOptions::new().with_id(lease)),
        );
        let error = match runtime::timeout(options.request_deadline, granted).await {
            Ok(Ok(answer)) => return Ok((lease, sent, seconds_to_duration(answer.ttl()))),
            Ok(Err(error)) if error::is_lease_taken(&error) => continue,
            Ok(Err(error)) => Error::mutation(OPERATION, &target, error),
            Err(runtime::Elapsed) => {
                Error::mutation_deadline(OPERATION, &target, options.request_deadline)
            }
        };
        if error.is_outcome_unknown()
            && let Err(revoked) = revoke(leases, lease, options.request_deadline).await
        {
            tracing::debug!(error = %revoked, "a lease that may have been granted was not revoked");
        }
        return Err(error);
    }
}

/// Positive, because Go prints the id as unsigned hexadecimal in keys, and not
/// zero, which asks etcd to choose.
fn draw_lease_id() -> i64 {
    i64::try_from(runtime::random_u64() >> 1).map_or(1, |id| id.max(1))
}

/// Revokes a lease; one that is already gone is as good.
async fn revoke(leases: &LeaseClient, lease: i64, deadline: Duration) -> Result<(), Error> {
    const OPERATION: &str = "revoke";
    let target = || format!("lease {lease:x}");
    match runtime::timeout(deadline, leases.clone().revoke(lease)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error::is_lease_not_found(&error) => Ok(()),
        Ok(Err(error)) => Err(Error::mutation(OPERATION, &target(), error)),
        Err(runtime::Elapsed) => Err(Error::mutation_deadline(OPERATION, &target(), deadline)),
    }
}

fn seconds_to_duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_session_stays_lost() {
        let start = runtime::now();
        let second = Duration::from_secs(1);
        let mut state = State {
            deadline: start + second,
            loss: None,
        };
        assert!(state.extend(start, start + 2 * second));
        // An older answer does not shorten it.
        assert!(state.extend(start, start + second));
        assert_eq!(state.deadline, start + 2 * second);
        assert_eq!(state.loss_at(start + 2 * second), Some(Loss::Expired));
        assert!(!state.extend(start, start + 9 * second));
    }

    #[test]
    fn times_to_live_are_rounded_up_to_seconds() {
        let seconds = |millis| {
            SessionOptions::new()
                .ttl(Duration::from_millis(millis))
                .ttl_seconds()
        };
        assert_eq!((seconds(0), seconds(1), seconds(2000)), (1, 1, 2));
        assert_eq!((seconds(2001), seconds(60_000)), (3, 60));
    }
}

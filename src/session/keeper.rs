//! The task that keeps a lease alive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{LeaseClient, LeaseKeepAliveStream, LeaseKeeper};

use super::lease::{reliable, seconds_to_duration};
use super::state::{Loss, Shared};
use crate::error;
use crate::runtime;
use crate::telemetry;

/// The task that keeps the lease alive.
pub(super) struct Keeper {
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
    pub(super) fn new(
        leases: LeaseClient,
        shared: Arc<Shared>,
        request_deadline: Duration,
    ) -> Self {
        Self {
            leases,
            shared,
            request_deadline,
        }
    }

    /// Keeps the lease alive until it is lost. `sent` is when the grant was.
    pub(super) async fn run(self, sent: Instant) {
        let mut next = sent + self.interval();
        loop {
            self.until(next).await;
            if self.shared.loss().is_some() {
                break;
            }
            match self.stream().await {
                End::Lost => break,
                End::Broken(why) => {
                    self.shared.suspend();
                    tracing::debug!(
                        lease = format!("{:x}", self.shared.lease()),
                        why,
                        "the keep-alive stream broke and is opened again"
                    );
                    let pause = Duration::from_millis(500).min(self.shared.ttl() / 10);
                    next = runtime::now() + runtime::jittered(pause);
                }
            }
        }
        let loss = self.shared.loss();
        if let Some(loss) = loss {
            telemetry::session_lost(loss);
        }
        self.shared.wake_all();
        tracing::warn!(
            lease = format!("{:x}", self.shared.lease()),
            reason = loss.map(|l| l.to_string()),
            "session lost"
        );
    }

    /// A third of the time to live, so that two keep-alives in a row may fail.
    fn interval(&self) -> Duration {
        self.shared.ttl() / 3
    }

    /// How long to wait for an answer before the stream counts as broken: a
    /// third of what remains, so that there is time for others.
    fn patience(&self) -> Duration {
        const LEAST: Duration = Duration::from_millis(200);
        let remaining = self
            .shared
            .deadline()
            .saturating_duration_since(runtime::now());
        let a_third = (remaining / 3).max(LEAST);
        self.request_deadline.min(self.interval()).min(a_third)
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
        let opening = leases.keep_alive(self.shared.lease());
        let (mut keeper, mut answers) = match runtime::timeout(self.patience(), opening).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.end_of(&error),
            Err(runtime::Elapsed) => return End::Broken("no answer when opening it".to_owned()),
        };
        // Opening a stream is itself a keep-alive that was answered; the client
        // does not pass on the time to live in that answer, but a lease never
        // changes it.
        let mut ttl = self.shared.ttl();
        loop {
            if !self.shared.extend(sent + reliable(ttl)) {
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

//! Where a benchmark runs, and what it measures there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{Client, DeleteOptions};
use futures_util::future::try_join_all;
use tokio::sync::oneshot;

use super::latency::Latency;
use super::requests::Counter;
use super::{BenchError, Benchmark, Load, Measured, Report};
use crate::runtime;
use crate::workload::Connect;

/// Where a benchmark runs: how it connects, what it counts with, and below which
/// prefix it writes. Cheap to clone.
#[derive(Clone)]
pub struct Place {
    connect: Connect,
    counter: Counter,
    prefix: String,
    pub(super) load: Load,
    pub(super) seed: u64,
}

/// Runs a benchmark on a cluster, and removes its keys. `connect` makes a
/// connection of its own each time, with `counter` on it. Keys lie below
/// `prefix`, which nobody else must use.
///
/// # Errors
///
/// When the cluster or a recipe fails, when it takes longer than `limit`, and when
/// `interrupt` is done first.
pub async fn measure(
    benchmark: &Benchmark,
    load: Load,
    connect: Connect,
    counter: &Counter,
    prefix: &str,
    limit: Duration,
    interrupt: impl Future<Output = ()>,
) -> Result<Report, BenchError> {
    let place = Place::new(connect, counter.clone(), prefix, load, 0);
    let run = (benchmark.run)(place.clone());
    let measured = match runtime::race(runtime::timeout(limit, run), interrupt).await {
        runtime::Either::Left(Ok(measured)) => measured,
        runtime::Either::Left(Err(runtime::Elapsed)) => Err(BenchError::TooSlow(limit)),
        runtime::Either::Right(()) => Err(BenchError::Interrupted),
    };
    place.clean_up().await?;
    let measured = measured?;
    Ok(Report::new(benchmark, load, measured, false))
}

impl Place {
    pub(super) fn new(
        connect: Connect,
        counter: Counter,
        prefix: &str,
        load: Load,
        seed: u64,
    ) -> Self {
        Place {
            connect,
            counter,
            prefix: prefix.trim_end_matches('/').to_owned(),
            load,
            seed,
        }
    }

    /// A name below the prefix.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// A connection that has already been used: making it is not measured.
    pub(super) async fn client(&self) -> Result<Client, BenchError> {
        let mut client = (self.connect)().await?;
        client.get(self.name("warm"), None).await?;
        Ok(client)
    }

    /// One connection for each of `n` workers.
    pub(super) async fn clients(&self, n: u32) -> Result<Vec<Client>, BenchError> {
        let mut clients = Vec::new();
        for _ in 0..n {
            clients.push(self.client().await?);
        }
        Ok(clients)
    }

    /// Measures how long `body` takes and what it sends.
    pub(super) async fn timed(
        &self,
        operations: u64,
        body: impl Future<Output = Result<(), BenchError>>,
    ) -> Result<Measured, BenchError> {
        let before = self.counter.requests();
        let start = runtime::now();
        body.await?;
        Ok(Measured {
            operations,
            elapsed: since(start),
            requests: self.counter.requests().since(&before),
            latencies: BTreeMap::new(),
            tries: None,
        })
    }

    async fn clean_up(&self) -> Result<(), BenchError> {
        let mut client = (self.connect)().await?;
        let below = DeleteOptions::new().with_prefix();
        client
            .delete(format!("{}/", self.prefix), Some(below))
            .await?;
        // Where a priority queue of the prefix keeps its books.
        let books = DeleteOptions::new().with_prefix();
        client
            .delete(format!("__{}/", self.prefix), Some(books))
            .await?;
        Ok(())
    }
}

impl Measured {
    pub(super) fn with(mut self, name: &'static str, latency: &Latency) -> Self {
        if let Some(summary) = latency.summary() {
            self.latencies.insert(name, summary);
        }
        self
    }
}

/// How long ago `start` was.
pub(super) fn since(start: Instant) -> Duration {
    runtime::now().saturating_duration_since(start)
}

/// Runs a task for each worker and waits for all; the first error ends them.
pub(super) async fn each<F>(workers: impl IntoIterator<Item = F>) -> Result<(), BenchError>
where
    F: Future<Output = Result<(), BenchError>> + Send + 'static,
{
    let mut tasks = Vec::new();
    let mut ends = Vec::new();
    for worker in workers {
        let (done, end) = oneshot::channel();
        // Large, and a task is moved about on the stack as it begins.
        let worker = Box::pin(worker);
        tasks.push(runtime::spawn(async move {
            // Whoever listened has met another error.
            done.send(worker.await).ok();
        }));
        ends.push(async move { end.await.unwrap_or(Err(BenchError::WorkerGone)) });
    }
    try_join_all(ends).await?;
    Ok(())
}

/// Hands out the numbers from 0 up to a limit, each once.
#[derive(Clone)]
pub(super) struct Share {
    next: Arc<AtomicU64>,
    count: u64,
}

impl Share {
    pub(super) fn of(count: u64) -> Self {
        Share {
            next: Arc::default(),
            count,
        }
    }

    pub(super) fn take(&self) -> Option<u64> {
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        (ticket < self.count).then_some(ticket)
    }
}

//! Producers and consumers of one queue at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use etcd_client::Client;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;

use super::contend::{close, some_sessions};
use super::latency::Latency;
use super::place::{Place, Share, each, since};
use super::{BenchError, Measured};
use crate::priority_queue::PriorityQueue;
use crate::queue::Queue;
use crate::reliable_queue::ReliableQueue;
use crate::{Error, runtime};

/// A queue as a worker has it.
pub(super) trait Handle: Send + 'static {
    fn enqueue(&self, value: String) -> impl Future<Output = Result<(), Error>> + Send;
    fn dequeue(&self) -> impl Future<Output = Result<Vec<u8>, Error>> + Send;
}

impl Handle for Queue {
    async fn enqueue(&self, value: String) -> Result<(), Error> {
        Queue::enqueue(self, value).await?;
        Ok(())
    }

    async fn dequeue(&self) -> Result<Vec<u8>, Error> {
        Ok(Queue::dequeue(self).await?.value)
    }
}

/// A handle draws the priorities of what it puts there.
struct WithPriorities {
    queue: PriorityQueue,
    random: Mutex<ChaCha8Rng>,
}

const PRIORITIES: u16 = 10;

impl Handle for WithPriorities {
    async fn enqueue(&self, value: String) -> Result<(), Error> {
        let priority = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            random.random_range(0..PRIORITIES)
        };
        self.queue.enqueue(value, priority).await?;
        Ok(())
    }

    async fn dequeue(&self) -> Result<Vec<u8>, Error> {
        Ok(self.queue.dequeue().await?.value)
    }
}

/// The lowest number first.
pub(super) async fn priority(place: Place) -> Result<Measured, BenchError> {
    let (name, seed) = (place.name("priority-queue"), place.seed);
    let opened = AtomicU64::new(0);
    measure(place, |client| {
        let number = opened.fetch_add(1, Ordering::Relaxed);
        Ok(WithPriorities {
            queue: PriorityQueue::new(client, name.as_str())?,
            random: Mutex::new(ChaCha8Rng::seed_from_u64(seed ^ number)),
        })
    })
    .await
}

/// First in, first out.
pub(super) async fn fifo(place: Place) -> Result<Measured, BenchError> {
    let name = place.name("queue");
    measure(place, |client| Ok(Queue::new(client, name.as_str())?)).await
}

/// First in, first out; an item is done with when it has been acknowledged.
pub(super) async fn reliable(place: Place) -> Result<Measured, BenchError> {
    let name = place.name("reliable-queue");
    let load = place.load;
    let sessions = some_sessions(&place, load.workers + load.producers).await?;
    let open = |session| ReliableQueue::new(session, name.as_str());
    let queues: Result<Vec<_>, Error> = sessions.iter().map(open).collect();
    let mut consumers = queues?;
    let producers = consumers.split_off(load.workers as usize);
    let measured = move_items(place, consumers, producers).await?;
    close(sessions).await?;
    Ok(measured)
}

impl Handle for ReliableQueue {
    async fn enqueue(&self, value: String) -> Result<(), Error> {
        ReliableQueue::enqueue(self, value).await?;
        Ok(())
    }

    async fn dequeue(&self) -> Result<Vec<u8>, Error> {
        let claim = self.claim().await?;
        let value = claim.item.value.clone();
        claim.acknowledge().await?;
        Ok(value)
    }
}

/// What the workers know of each item.
struct Items {
    begun: Vec<Mutex<Option<Instant>>>,
    received: AtomicU64,
    all: Notify,
    call: Latency,
    whole: Latency,
}

impl Items {
    fn new(count: u64) -> Self {
        Items {
            begun: (0..count).map(|_| Mutex::default()).collect(),
            received: AtomicU64::new(0),
            all: Notify::new(),
            call: Latency::default(),
            whole: Latency::default(),
        }
    }

    fn begin(&self, item: u64) {
        if let Some(begun) = self.begun.get(item as usize) {
            *begun.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime::now());
        }
    }

    fn receive(&self, value: &[u8], called: Instant) -> Result<(), BenchError> {
        let text = String::from_utf8_lossy(value);
        let item: Option<usize> = text.parse().ok();
        let begun = item.and_then(|item| self.begun.get(item));
        let begun =
            begun.and_then(|begun| begun.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(begun) = begun else {
            return Err(BenchError::Broken(format!(
                "item {text} came twice, or nobody put it there"
            )));
        };
        self.call.add(since(called));
        self.whole.add(since(begun));
        if self.received.fetch_add(1, Ordering::Relaxed) + 1 == self.begun.len() as u64 {
            self.all.notify_one();
        }
        Ok(())
    }
}

/// Each worker has a connection and a handle of its own.
pub(super) async fn measure<H: Handle + Sync>(
    place: Place,
    open: impl Fn(&Client) -> Result<H, BenchError>,
) -> Result<Measured, BenchError> {
    let handles = |clients: Vec<Client>| -> Result<Vec<H>, BenchError> {
        clients.iter().map(&open).collect()
    };
    let consumers = handles(place.clients(place.load.workers).await?)?;
    let producers = handles(place.clients(place.load.producers).await?)?;
    move_items(place, consumers, producers).await
}

async fn move_items<H: Handle + Sync>(
    place: Place,
    consumers: Vec<H>,
    producers: Vec<H>,
) -> Result<Measured, BenchError> {
    let load = place.load;
    let items = Arc::new(Items::new(load.count));
    let share = Share::of(load.count);
    let consume = |queue: H| {
        let items = Arc::clone(&items);
        async move {
            loop {
                let called = runtime::now();
                let value = queue.dequeue().await?;
                items.receive(&value, called)?;
            }
        }
    };
    let produce = |queue: H| {
        let (items, share) = (Arc::clone(&items), share.clone());
        async move {
            while let Some(item) = share.take() {
                items.begin(item);
                queue.enqueue(item.to_string()).await?;
            }
            Ok(())
        }
    };
    let consumers: Vec<_> = consumers.into_iter().map(consume).collect();
    let producers: Vec<_> = producers.into_iter().map(produce).collect();
    let work = async {
        let consuming = std::pin::pin!(each(consumers));
        let producing = std::pin::pin!(async {
            each(producers).await?;
            if load.count > 0 {
                items.all.notified().await;
            }
            Ok(())
        });
        // Consumers end with an error or not at all.
        match runtime::race(consuming, producing).await {
            runtime::Either::Left(ended) | runtime::Either::Right(ended) => ended,
        }
    };
    let measured = place.timed(load.count, work).await?;
    Ok(measured
        .with("dequeue", &items.call)
        .with("through the queue", &items.whole))
}

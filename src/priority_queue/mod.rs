//! A priority queue for any number of producers and consumers: the lowest number
//! first, and of equal numbers the one that was enqueued first.
//!
//! ```
//! # async fn example(client: etcd_recipes::etcd_client::Client) -> Result<(), etcd_recipes::Error> {
//! use etcd_recipes::PriorityQueue;
//!
//! let queue = PriorityQueue::new(&client, "jobs")?;
//! queue.enqueue("sweep the floor", 9).await?;
//! queue.enqueue("put out the fire", 1).await?;
//! let item = queue.dequeue().await?;
//! assert_eq!((item.value.as_slice(), item.priority), (&b"put out the fire"[..], 1));
//! # Ok(())
//! # }
//! # let run = etcd_sim::Simulation::builder().run(|simulation| async move {
//! #     example(simulation.client(0).await.unwrap()).await.unwrap();
//! # });
//! # run.unwrap();
//! ```
//!
//! # What it promises
//!
//! Enqueues and dequeues take effect one after the other, each between its call
//! and its return: a dequeue takes the best item that there is at that moment,
//! and no item comes out twice. Go's consumers promise less: one that waits takes
//! the next item that is put, even while a better one lies in the queue. They may
//! take part all the same.
//!
//! # What it does not
//!
//! A dequeue deletes its item before the caller has it. One that is cancelled, or
//! ends with an unknown outcome, can lose the best item, as in Go. Where that
//! matters, use a [`ReliableQueue`](crate::ReliableQueue). Items have no lease:
//! they stay until somebody takes them. There is no fairness between priorities:
//! while better items keep coming, the others wait.
//!
//! # Keys
//!
//! As etcd's Go recipes lay them out, so that programs in both languages can
//! share a queue: item `name/%05d/%016d` of priority and sequence number, and
//! `__name/%05d`, empty, which is written with every item and never deleted. Here
//! sequence numbers grow by the microsecond, in Go by one; that makes no difference
//! to either. Whoever puts items by other means must write `__name/%05d` too, or a
//! consumer may take notice of them late. Other keys below `name/` are left alone.

mod claim;
mod enqueue;
#[cfg(feature = "harness")]
mod fault;
mod heads;
mod layout;
mod take;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, GetOptions};

use self::enqueue::Positions;
#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::PriorityQueueFault;
use self::heads::Known;
use self::take::{Ask, Taken};
use crate::dequeue::consumers::{self, Line};
use crate::dequeue::first_present::Tries;
use crate::error::Error;
use crate::keys::Name;
use crate::queue::Enqueued;
use crate::request::{DEFAULT_REQUEST_DEADLINE, Purpose, Requests};
use crate::telemetry::{self, Call};
use crate::watch::{PrefixWatch, PrefixWatchOptions};

/// A priority queue of byte strings: the lowest number first, ties in the order
/// of arrival. See the [module](self).
///
/// Clones share what they know of the queue and one watch; any number of them,
/// in any number of processes, may enqueue and dequeue.
///
/// # Cost
///
/// An enqueue is one transaction, two where other producers of the same priority
/// were faster. A dequeue is one transaction when this handle knows the best
/// item, from its watch or its last read, and one more each time that others were
/// faster or something better has arrived meanwhile. Let the consumers of a
/// process share one handle: an item wakes a few consumers of each.
#[derive(Clone)]
pub struct PriorityQueue {
    inner: Arc<Inner>,
}

struct Inner {
    name: Name,
    requests: Requests,
    line: Line,
    positions: Positions,
    known: Known,
    tries: Tries,
    #[cfg(feature = "harness")]
    fault: Option<fault::Broken>,
}

/// An item that was taken from a priority queue, or looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorityItem {
    /// What was enqueued.
    pub value: Vec<u8>,
    /// With which priority: the lowest number comes first.
    pub priority: u16,
    /// The item's key in the queue.
    pub key: String,
    /// The revision at which it joined the queue.
    pub mod_revision: i64,
    /// The revision at which it was taken; for [`PriorityQueue::peek`], at which
    /// it was read.
    pub revision: i64,
}

/// How a [`PriorityQueue`] behaves.
#[derive(Debug, Clone)]
#[must_use]
pub struct PriorityQueueOptions {
    request_deadline: Duration,
    #[cfg(feature = "harness")]
    fault: Option<PriorityQueueFault>,
}

impl Default for PriorityQueueOptions {
    fn default() -> Self {
        Self {
            request_deadline: DEFAULT_REQUEST_DEADLINE,
            #[cfg(feature = "harness")]
            fault: None,
        }
    }
}

impl PriorityQueueOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long to wait for the answer to one request. A write that takes longer
    /// ends with an unknown outcome. A blocking dequeue waits for items as long
    /// as it takes; this limits its requests only. Default: 5 s.
    pub fn request_deadline(mut self, deadline: Duration) -> Self {
        self.request_deadline = deadline;
        self
    }
}

impl PriorityQueue {
    /// The queue called `name`, with default options. Nothing is sent.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options).
    pub fn new(client: &Client, name: impl Into<String>) -> Result<Self, Error> {
        Self::with_options(client, name, PriorityQueueOptions::default())
    }

    /// The queue called `name`. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [Invalid name](Error::is_invalid_name) if the name is empty, ends with
    /// `/`, has an empty part or a NUL.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "options are given away, as to every other recipe"
    )]
    pub fn with_options(
        client: &Client,
        name: impl Into<String>,
        options: PriorityQueueOptions,
    ) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let watch_options = PrefixWatchOptions::new()
            .puts_only()
            .recent_puts(consumers::RECENT_PUTS);
        let watch = PrefixWatch::with_options(client, name.children(), watch_options);
        Ok(Self {
            inner: Arc::new(Inner {
                requests: Requests::new(client, options.request_deadline),
                line: Line::new(watch),
                positions: Positions::default(),
                known: Known::default(),
                tries: Tries::default(),
                #[cfg(feature = "harness")]
                fault: options.fault.map(|f| fault::Broken::new(f, client)),
                name,
            }),
        })
    }

    /// The queue's name.
    pub fn name(&self) -> &str {
        self.inner.name.as_str()
    }

    /// Puts an item behind all others of the same priority, and before those
    /// with a larger number.
    ///
    /// Not to be repeated blindly: after an [unknown
    /// outcome](Error::is_outcome_unknown) the item may be in the queue.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused), [not sent](Error::is_not_sent), or an
    /// [unknown outcome](Error::is_outcome_unknown). Foreign data if a key that
    /// is no item lies among those of this priority, and no item can be put
    /// behind it. Dropping the future leaves the outcome unknown too.
    pub async fn enqueue(
        &self,
        value: impl Into<Vec<u8>>,
        priority: u16,
    ) -> Result<Enqueued, Error> {
        let work = self.inner.put(value.into(), priority);
        telemetry::observed(self.call("enqueue"), work).await
    }

    /// Takes the best item, waiting for one as long as it takes.
    ///
    /// Can be cancelled by dropping it. If that happens while a claim is on its
    /// way, the item may be lost. A future that is kept must be polled: the
    /// dequeues of a handle stand in line, and one that is neither polled nor
    /// dropped can hold up those behind it.
    ///
    /// # Errors
    ///
    /// An [unknown outcome](Error::is_outcome_unknown) means that the best item
    /// may be gone: what it was cannot be found out. Any other error means that
    /// nothing was taken.
    pub async fn dequeue(&self) -> Result<PriorityItem, Error> {
        telemetry::observed(self.call("dequeue"), self.inner.dequeue()).await
    }

    /// Takes the best item, or none if the queue is empty at some moment during
    /// the call.
    ///
    /// # Errors
    ///
    /// As [`dequeue`](Self::dequeue).
    pub async fn try_dequeue(&self) -> Result<Option<PriorityItem>, Error> {
        let work = async {
            match self.inner.claim(Ask::Etcd).await? {
                Taken::Item(item) => Ok(Some(item)),
                Taken::Empty { .. } => Ok(None),
            }
        };
        telemetry::observed(self.call("try_dequeue"), work).await
    }

    /// Looks at the best item and leaves it there.
    ///
    /// # Errors
    ///
    /// Definite ones only: it changes nothing.
    pub async fn peek(&self) -> Result<Option<PriorityItem>, Error> {
        let inner = &*self.inner;
        let why = Purpose {
            operation: "read the head of",
            target: inner.name.as_str(),
        };
        loop {
            let heads = heads::read(&inner.requests, &inner.name).await?;
            let Some(best) = heads.candidates.first() else {
                return Ok(None);
            };
            let key = best.key.as_bytes();
            let answer = inner.requests.range(why, key, GetOptions::new()).await?;
            // Otherwise it is gone or was put anew meanwhile.
            if let Some(kv) = answer.kvs().first()
                && kv.mod_revision() == best.mod_revision
            {
                let value = kv.value().to_vec();
                return Ok(Some(inner.item(best, value, heads.revision)));
            }
        }
    }

    /// How many items the queue holds, counted by etcd without sending them.
    ///
    /// It is an upper bound where other keys lie below the queue's name whose
    /// next part begins with a digit. [`is_empty`](Self::is_empty) is exact.
    ///
    /// # Errors
    ///
    /// Definite ones only: it changes nothing.
    pub async fn len(&self) -> Result<u64, Error> {
        let inner = &*self.inner;
        inner.requests.count_items(&inner.name).await
    }

    /// Whether the queue holds no item.
    ///
    /// # Errors
    ///
    /// Definite ones only: it changes nothing.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        let inner = &*self.inner;
        let heads = heads::read(&inner.requests, &inner.name).await?;
        Ok(heads.candidates.is_empty())
    }

    fn call(&self, operation: &'static str) -> Call<'_> {
        Call {
            recipe: "priority-queue",
            operation,
            name: self.name(),
            lease: None,
        }
    }
}

impl std::fmt::Debug for PriorityQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PriorityQueue")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

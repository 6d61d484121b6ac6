//! A queue, first in first out, for any number of producers and consumers.
//!
//! An item is a key `name/<decimal>`, as in etcd's Go recipes, and its place in
//! the queue is its modification revision: the order in which etcd committed
//! the items, whatever the clocks of the producers say.
//!
//! - `page`: the first items, and what a claim for one of them came to;
//! - `heads`: which items a claim tries;
//! - `take`: dequeues;
//! - `receipt`: claims that survive a lost answer or a crash.

#[cfg(feature = "harness")]
mod fault;
mod heads;
mod options;
mod page;
mod receipt;
mod take;

use std::sync::Arc;

use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp};

#[cfg(feature = "harness")]
#[doc(hidden)]
pub use self::fault::QueueFault;
use self::heads::Known;
pub use self::options::QueueOptions;
use self::options::receipts_outside;
use self::take::{Ask, Taken};
use crate::dequeue::consumers::{self, Line};
use crate::dequeue::first_present::Tries;
use crate::error::Error;
use crate::keys::Name;
use crate::request::{Purpose, Requests, revision_of};
use crate::telemetry::{self, Call};
use crate::watch::{PrefixWatch, PrefixWatchOptions};

/// A first-in-first-out queue of byte strings.
///
/// Clones share what they know of the queue and one watch; any number of them,
/// in any number of processes, may enqueue and dequeue. Go programs may take
/// part.
///
/// # What it promises
///
/// Enqueues and dequeues take effect one after the other, each between its call
/// and its return: items come out in the order in which etcd committed them,
/// and none comes out twice.
///
/// # What it does not promise
///
/// A dequeue deletes its item before the caller has it. So **a
/// [`dequeue`](Self::dequeue) that is cancelled (its future dropped), or ends
/// with an unknown outcome, can lose the item at the head**, as in Go. A
/// [`dequeue_with_receipt`](Self::dequeue_with_receipt) loses none.
///
/// Items have no lease: they stay until somebody takes them.
///
/// # Keys
///
/// An item is `name/<nanoseconds since 1970>`, without a lease, with the value as it
/// was given: those of etcd's Go `recipe.Queue`, so programs in both languages may
/// share a queue. Keys of another form below the name are left alone. What a receipt
/// holds lies outside of the name, at `<receipts>/<id>`
/// ([`QueueOptions::receipts`]).
///
/// # Cost
///
/// etcd sorts the whole queue to find the oldest item, so a dequeue reads the
/// first 64 keys at once and takes items from that list with one transaction
/// each. A blocked dequeue costs nothing until an item arrives, and takes that
/// with one transaction and no read. An item wakes a few of the consumers of
/// each [`Queue`] and its clones, so let the consumers of a process share one.
/// Handles that come too late several times in a row look after a random
/// pause, of 0.2 s at most, so that fifty of them do not fall upon one item.
///
/// ```
/// # async fn example(client: etcd_recipes::etcd_client::Client) -> Result<(), etcd_recipes::Error> {
/// use etcd_recipes::Queue;
///
/// let queue = Queue::new(&client, "jobs")?;
/// queue.enqueue("clean up").await?;
/// let item = queue.dequeue().await?;
/// assert_eq!(item.value, b"clean up");
/// # Ok(())
/// # }
/// # let run = etcd_sim::Simulation::builder().run(|simulation| async move {
/// #     example(simulation.client(0).await.unwrap()).await.unwrap();
/// # });
/// # run.unwrap();
/// ```
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    name: Name,
    requests: Requests,
    line: Line,
    receipts: Option<Name>,
    known: Known,
    tries: Tries,
    #[cfg(feature = "harness")]
    fault: Option<fault::Broken>,
}

/// An item that was put into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    /// The item's key.
    pub key: String,
    /// The revision at which it joined the queue: its place.
    pub revision: i64,
}

/// An item that was taken from the queue, or looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What was enqueued.
    pub value: Vec<u8>,
    /// The item's key in the queue.
    pub key: String,
    /// The revision at which it joined the queue: its place.
    pub mod_revision: i64,
    /// The revision at which it was taken; for [`Queue::peek`], at which it was
    /// read.
    pub revision: i64,
    receipt: Option<String>,
}

impl Item {
    /// The id of the receipt that this item was taken with.
    pub fn receipt_id(&self) -> Option<&str> {
        self.receipt.as_deref()
    }
}

impl Queue {
    /// The queue called `name`, with default options. Nothing is sent.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options).
    pub fn new(client: &Client, name: impl Into<String>) -> Result<Self, Error> {
        Self::with_options(client, name, QueueOptions::default())
    }

    /// The queue called `name`. Nothing is sent.
    ///
    /// # Errors
    ///
    /// [Invalid name](Error::is_invalid_name) if the name is empty, ends with
    /// `/`, has an empty part or a NUL; or if the receipts' prefix does, or
    /// overlaps with the queue. Invalid option if the shared watch has another
    /// prefix.
    pub fn with_options(
        client: &Client,
        name: impl Into<String>,
        options: QueueOptions,
    ) -> Result<Self, Error> {
        let name = Name::new(name)?;
        let watch = match options.watch {
            Some(watch) if watch.prefix() == name.children() => watch,
            Some(watch) => {
                return Err(Error::invalid_option(
                    "make the queue",
                    name.as_str(),
                    &format!("the watch is on {:?}", watch.prefix()),
                ));
            }
            None => {
                let options = PrefixWatchOptions::new()
                    .puts_only()
                    .recent_puts(consumers::RECENT_PUTS);
                PrefixWatch::with_options(client, name.children(), options)
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                receipts: receipts_outside(&name, options.receipts)?,
                requests: Requests::new(client, options.request_deadline),
                line: Line::new(watch),
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

    /// Puts an item at the tail.
    ///
    /// Not to be repeated blindly: after an [unknown
    /// outcome](Error::is_outcome_unknown) the item may be in the queue, and a
    /// second one would be a duplicate. Give items an identity if that matters.
    ///
    /// # Errors
    ///
    /// [Refused](Error::is_refused) (no permission, too large), [not
    /// sent](Error::is_not_sent), or an [unknown
    /// outcome](Error::is_outcome_unknown); etcd's `database space exceeded` is
    /// one of these, because the write that exceeds the quota is applied.
    /// Dropping the future leaves the outcome unknown too.
    pub async fn enqueue(&self, value: impl Into<Vec<u8>>) -> Result<Enqueued, Error> {
        let work = self.inner.put(value.into());
        telemetry::observed(self.call("enqueue"), work).await
    }

    /// Takes the item at the head, waiting for one as long as it takes.
    ///
    /// Can be cancelled by dropping it. If that happens while a claim is on its
    /// way, the item may be lost; see the promise of [`Queue`]. A future that is
    /// kept must be polled: the dequeues of a handle stand in line, and one that
    /// is neither polled nor dropped can hold up those behind it.
    ///
    /// # Errors
    ///
    /// An [unknown outcome](Error::is_outcome_unknown) means that the item at
    /// the head may be gone: what it was cannot be found out. Any other error
    /// means that nothing was taken.
    pub async fn dequeue(&self) -> Result<Item, Error> {
        telemetry::observed(self.call("dequeue"), self.inner.dequeue()).await
    }

    /// Takes the item at the head, or none if the queue is empty at some moment
    /// during the call.
    ///
    /// # Errors
    ///
    /// As [`dequeue`](Self::dequeue).
    pub async fn try_dequeue(&self) -> Result<Option<Item>, Error> {
        let work = async {
            match self.inner.claim(Ask::Etcd).await? {
                Taken::Item(item) => Ok(Some(item)),
                Taken::Empty { .. } => Ok(None),
            }
        };
        telemetry::observed(self.call("try_dequeue"), work).await
    }

    /// Looks at the item at the head and leaves it there.
    ///
    /// # Errors
    ///
    /// Definite ones only: it changes nothing.
    pub async fn peek(&self) -> Result<Option<Item>, Error> {
        let inner = &*self.inner;
        let heads = heads::read_with_values(&inner.requests, &inner.name).await?;
        let revision = heads.revision;
        Ok(heads.candidates.into_iter().next().map(|head| Item {
            value: head.value.unwrap_or_default(),
            key: head.key,
            mod_revision: head.mod_revision,
            revision,
            receipt: None,
        }))
    }

    /// How many items the queue holds, counted by etcd without sending them.
    ///
    /// It is an upper bound where other keys lie below the queue's name whose
    /// next part begins with a digit (`name/7/..`, `name/1a`): they are counted
    /// too. So do not put a queue `jobs/7` below a queue `jobs` if this number
    /// matters. [`is_empty`](Self::is_empty) is exact.
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
            recipe: "queue",
            operation,
            name: self.name(),
            lease: None,
        }
    }
}

impl Inner {
    async fn put(&self, value: Vec<u8>) -> Result<Enqueued, Error> {
        let why = Purpose {
            operation: "enqueue into",
            target: self.name.as_str(),
        };
        loop {
            let key = self.name.new_item_key();
            let txn = Txn::new()
                .when([Compare::version(key.as_str(), CompareOp::Equal, 0)])
                .and_then([TxnOp::put(key.as_str(), value.clone(), None)]);
            let answer = match self.requests.write(why, txn).await {
                Ok(answer) => answer,
                #[cfg(feature = "harness")]
                Err(error) if self.takes_for_done(&error) => {
                    return Ok(Enqueued { key, revision: 0 });
                }
                Err(error) => return Err(error),
            };
            if answer.succeeded() {
                let revision = revision_of(answer.header());
                tracing::debug!(key, revision, "enqueued");
                telemetry::done_at(revision);
                return Ok(Enqueued { key, revision });
            }
            tracing::debug!(key, "the key is taken; another one is drawn");
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("name", &self.inner.name.as_str())
            .field("receipts", &self.inner.receipts.as_ref().map(Name::as_str))
            .finish_non_exhaustive()
    }
}

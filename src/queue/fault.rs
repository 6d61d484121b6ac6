//! Deliberately broken twins of the queue. They exist to show that the tests
//! catch them.

use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, GetOptions, KvClient, SortOrder, SortTarget, Txn,
    TxnOp, WatchClient, WatchOptions,
};

use super::{Inner, Item, QueueOptions, Taken, heads};
use crate::error::Error;
use crate::request::{Purpose, revision_of};
use crate::runtime;

/// What is wrong with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueFault {
    /// A dequeue reads the head and deletes its key without comparing the
    /// revision: two consumers can get the same item.
    DeleteWithoutComparing,
    /// An enqueue whose outcome is unknown is reported as done: the item may
    /// not exist.
    UnknownEnqueueIsDone,
    /// A blocked dequeue watches from "now" instead of from the revision at
    /// which it found the queue empty: it misses an item that arrives between.
    WaitFromNow,
    /// A dequeue reads every key that begins with the queue's bare name, as Go
    /// does: the items of a neighbour too.
    GoPrefix,
    /// A blocked dequeue watches once, as Go does, and never comes back when that
    /// watch dies.
    GoDeadWatch,
}

impl QueueOptions {
    /// Makes the queue a broken one.
    #[doc(hidden)]
    pub fn fault(mut self, fault: QueueFault) -> Self {
        self.fault = Some(fault);
        self
    }
}

/// A fault, and what its code needs.
pub(super) struct Broken {
    fault: QueueFault,
    kv: KvClient,
    watch: WatchClient,
}

impl Broken {
    pub(super) fn new(fault: QueueFault, client: &Client) -> Self {
        Self {
            fault,
            kv: client.kv_client(),
            watch: client.watch_client(),
        }
    }
}

impl Inner {
    fn has_fault(&self, fault: QueueFault) -> Option<&Broken> {
        self.fault.as_ref().filter(|broken| broken.fault == fault)
    }

    pub(super) fn takes_for_done(&self, error: &Error) -> bool {
        let broken = self.has_fault(QueueFault::UnknownEnqueueIsDone).is_some();
        broken && error.is_outcome_unknown()
    }

    pub(super) fn deletes_without_comparing(&self) -> bool {
        self.has_fault(QueueFault::DeleteWithoutComparing).is_some()
    }

    /// Whether it waits with a watch of its own, made for each wait.
    pub(super) fn waits_by_itself(&self) -> bool {
        self.has_fault(QueueFault::WaitFromNow).is_some()
            || self.has_fault(QueueFault::GoDeadWatch).is_some()
            || self.reads_like_go()
    }

    pub(super) fn reads_like_go(&self) -> bool {
        self.has_fault(QueueFault::GoPrefix).is_some()
    }

    /// Claims the oldest key that begins with the bare name.
    pub(super) async fn claim_like_go(&self) -> Result<Taken, Error> {
        let why = Purpose {
            operation: "dequeue from",
            target: self.name.as_str(),
        };
        loop {
            let options = GetOptions::new()
                .with_prefix()
                .with_sort(SortTarget::Mod, SortOrder::Ascend)
                .with_limit(1);
            let name = self.name.as_str().as_bytes();
            let answer = self.requests.range(why, name, options).await?;
            let revision = revision_of(answer.header());
            let Some(kv) = answer.kvs().first() else {
                return Ok(Taken::Empty { revision });
            };
            let here = Compare::mod_revision(kv.key(), CompareOp::Equal, kv.mod_revision());
            let txn = Txn::new()
                .when([here])
                .and_then([TxnOp::delete(kv.key(), None)]);
            let claimed = self.requests.write(why, txn).await?;
            if claimed.succeeded() {
                return Ok(Taken::Item(Item {
                    value: kv.value().to_vec(),
                    key: String::from_utf8_lossy(kv.key()).into_owned(),
                    mod_revision: kv.mod_revision(),
                    revision: revision_of(claimed.header()),
                    receipt: None,
                }));
            }
        }
    }

    pub(super) async fn claim_without_comparing(&self) -> Result<Taken, Error> {
        const OPERATION: &str = "dequeue from";
        let Some(broken) = self.has_fault(QueueFault::DeleteWithoutComparing) else {
            unreachable!("asked for by deletes_without_comparing");
        };
        let heads = heads::read_with_values(&self.requests, &self.name).await?;
        let revision = heads.revision;
        let Some(head) = heads.candidates.into_iter().next() else {
            return Ok(Taken::Empty { revision });
        };
        let mut kv = broken.kv.clone();
        let delete = kv.delete(head.key.as_str(), Some(DeleteOptions::new()));
        let deadline = self.requests.deadline();
        let answer = runtime::timeout(deadline, delete)
            .await
            .map_err(|_| Error::mutation_deadline(OPERATION, self.name.as_str(), deadline))?
            .map_err(|e| Error::mutation(OPERATION, self.name.as_str(), e))?;
        Ok(Taken::Item(Item {
            value: head.value.unwrap_or_default(),
            key: head.key,
            mod_revision: head.mod_revision,
            revision: revision_of(answer.header()),
            receipt: None,
        }))
    }

    /// Waits for an event with a watch made for this wait.
    pub(super) async fn wait_by_itself(&self, revision: i64) -> Result<(), Error> {
        let Some(broken) = &self.fault else {
            unreachable!("asked for by waits_by_itself");
        };
        let read_error = |e| Error::read("watch", self.name.as_str(), e);
        let mut watch = broken.watch.clone();
        let mut options = WatchOptions::new().with_prefix();
        if broken.fault != QueueFault::WaitFromNow {
            options = options.with_start_revision(revision + 1);
        }
        let prefix = match broken.fault {
            QueueFault::GoPrefix => self.name.as_str().to_owned(),
            _ => self.name.children(),
        };
        let opened = watch.watch(prefix, Some(options)).await;
        let mut stream = opened.map_err(read_error)?;
        loop {
            match stream.message().await {
                Ok(Some(answer)) if !answer.events().is_empty() => return Ok(()),
                Ok(Some(answer)) if !answer.canceled() => {}
                _ if broken.fault == QueueFault::GoDeadWatch => {
                    return std::future::pending().await;
                }
                Ok(_) => return Ok(()),
                Err(error) => return Err(read_error(error)),
            }
        }
    }
}

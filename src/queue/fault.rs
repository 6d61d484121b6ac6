//! Deliberately broken twins of the queue. They exist to show that the tests
//! catch them.

use etcd_client::{Client, DeleteOptions, KvClient, WatchClient, WatchOptions};

use super::{Inner, Item, QueueOptions, Taken, heads};
use crate::error::Error;
use crate::request::revision_of;
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

    pub(super) fn waits_from_now(&self) -> bool {
        self.has_fault(QueueFault::WaitFromNow).is_some()
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

    pub(super) async fn wait_from_now(&self) -> Result<(), Error> {
        let Some(broken) = self.has_fault(QueueFault::WaitFromNow) else {
            unreachable!("asked for by waits_from_now");
        };
        let read_error = |e| Error::read("watch", self.name.as_str(), e);
        let mut watch = broken.watch.clone();
        let options = WatchOptions::new().with_prefix();
        let mut stream = watch
            .watch(self.name.children(), Some(options))
            .await
            .map_err(read_error)?;
        while let Some(answer) = stream.message().await.map_err(read_error)? {
            if !answer.events().is_empty() {
                break;
            }
        }
        Ok(())
    }
}

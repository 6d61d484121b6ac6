//! Deliberately broken twins of the priority queue. They exist to show that the
//! tests catch them.

use etcd_client::{Client, Compare, CompareOp, Txn, TxnOp, TxnOpResponse, WatchClient};
use etcd_client::{EventType, WatchOptions};

use super::layout::{bookkeeping_key, item_key, priority_of};
use super::{Enqueued, Inner, PriorityItem, PriorityQueueOptions, enqueue, heads};
use crate::dequeue::first_present::{Candidate, deleted_value};
use crate::error::Error;
use crate::request::{Purpose, revision_of};

/// What is wrong with a priority queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PriorityQueueFault {
    /// A dequeue that lost its claim takes the first item that is put since it
    /// read, as in Go: something better may be in the queue by then.
    GoDequeue,
    /// A dequeue takes the first of the items that it knows to be there, without
    /// asking whether something better has arrived.
    StaleMinimum,
    /// An enqueue puts its item without asking whether the key is free.
    EnqueueOverwrites,
    /// An enqueue whose outcome is unknown is reported as done.
    UnknownEnqueueIsDone,
}

impl PriorityQueueOptions {
    /// Makes the queue a broken one.
    #[doc(hidden)]
    pub fn fault(mut self, fault: PriorityQueueFault) -> Self {
        self.fault = Some(fault);
        self
    }
}

/// A fault, and what its code needs.
pub(super) struct Broken {
    fault: PriorityQueueFault,
    watch: WatchClient,
}

impl Broken {
    pub(super) fn new(fault: PriorityQueueFault, client: &Client) -> Self {
        Self {
            fault,
            watch: client.watch_client(),
        }
    }
}

const DEQUEUE: &str = "dequeue from";

impl Inner {
    fn has_fault(&self, fault: PriorityQueueFault) -> Option<&Broken> {
        self.fault.as_ref().filter(|broken| broken.fault == fault)
    }

    pub(super) fn overwrites(&self) -> bool {
        self.has_fault(PriorityQueueFault::EnqueueOverwrites)
            .is_some()
    }

    pub(super) fn takes_stale_minimum(&self) -> bool {
        self.has_fault(PriorityQueueFault::StaleMinimum).is_some()
    }

    pub(super) fn takes_for_done(&self, error: &Error) -> bool {
        let broken = self.has_fault(PriorityQueueFault::UnknownEnqueueIsDone);
        broken.is_some() && error.is_outcome_unknown()
    }

    pub(super) fn dequeues_like_go(&self) -> bool {
        self.has_fault(PriorityQueueFault::GoDequeue).is_some()
    }

    pub(super) async fn put_without_comparing(
        &self,
        why: Purpose<'_>,
        value: Vec<u8>,
        priority: u16,
    ) -> Result<Enqueued, Error> {
        let read = Txn::new().and_then([enqueue::read_last(&self.name, priority)]);
        let answer = self.requests.read(why, read).await?;
        let next = match answer.op_responses().first() {
            Some(TxnOpResponse::Get(last)) => last.kvs().first().map_or(0, |kv| {
                super::layout::sequence_after(&self.name, priority, kv.key()).unwrap_or(0)
            }),
            _ => 0,
        };
        let key = item_key(&self.name, priority, next);
        let put = Txn::new().and_then([
            TxnOp::put(bookkeeping_key(&self.name, priority), "", None),
            TxnOp::put(key.as_str(), value, None),
        ]);
        let answer = self.requests.write(why, put).await?;
        let revision = revision_of(answer.header());
        Ok(Enqueued { key, revision })
    }

    /// Reads the head, claims it; when that is lost, or there is none, waits for
    /// a put after the revision of the read and claims that.
    pub(super) async fn dequeue_like_go(&self) -> Result<PriorityItem, Error> {
        loop {
            let heads = heads::read(&self.requests, &self.name).await?;
            let revision = heads.revision;
            if let Some(head) = heads.candidates.into_iter().next()
                && let Some(item) = self.delete_if(&head).await?
            {
                return Ok(item);
            }
            if let Some(put) = self.next_put(revision).await?
                && let Some(item) = self.delete_if(&put).await?
            {
                return Ok(item);
            }
        }
    }

    async fn next_put(&self, revision: i64) -> Result<Option<Candidate>, Error> {
        let Some(broken) = &self.fault else {
            unreachable!("asked for by dequeues_like_go");
        };
        let read_error = |e| Error::read("watch", self.name.as_str(), e);
        let mut watch = broken.watch.clone();
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(revision);
        let mut stream = watch
            .watch(self.name.children(), Some(options))
            .await
            .map_err(read_error)?;
        while let Some(answer) = stream.message().await.map_err(read_error)? {
            for event in answer.events() {
                if event.event_type() == EventType::Put
                    && let Some(kv) = event.kv()
                    && priority_of(&self.name, kv.key()).is_some()
                {
                    return Ok(Some(Candidate {
                        key: String::from_utf8_lossy(kv.key()).into_owned(),
                        mod_revision: kv.mod_revision(),
                        value: None,
                    }));
                }
            }
        }
        Ok(None)
    }

    async fn delete_if(&self, candidate: &Candidate) -> Result<Option<PriorityItem>, Error> {
        let why = Purpose {
            operation: DEQUEUE,
            target: self.name.as_str(),
        };
        let here = Compare::mod_revision(
            candidate.key.as_str(),
            CompareOp::Equal,
            candidate.mod_revision,
        );
        let txn = Txn::new().when([here]).and_then([candidate.delete()]);
        let answer = self.requests.write(why, txn).await?;
        if !answer.succeeded() {
            return Ok(None);
        }
        let revision = revision_of(answer.header());
        let value = deleted_value(answer.op_responses()).unwrap_or_default();
        Ok(Some(PriorityItem {
            value,
            priority: priority_of(&self.name, candidate.key.as_bytes()).unwrap_or(0),
            key: candidate.key.clone(),
            mod_revision: candidate.mod_revision,
            revision,
        }))
    }
}

//! How a queue behaves.

use std::time::Duration;

#[cfg(feature = "harness")]
use super::QueueFault;
use crate::error::Error;
use crate::keys::Name;
use crate::request::DEFAULT_REQUEST_DEADLINE;
use crate::watch::PrefixWatch;

/// How a [`Queue`](super::Queue) behaves.
#[derive(Debug, Clone)]
#[must_use]
pub struct QueueOptions {
    pub(super) request_deadline: Duration,
    pub(super) receipts: Option<String>,
    pub(super) watch: Option<PrefixWatch>,
    #[cfg(feature = "harness")]
    pub(super) fault: Option<QueueFault>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            request_deadline: DEFAULT_REQUEST_DEADLINE,
            receipts: None,
            watch: None,
            #[cfg(feature = "harness")]
            fault: None,
        }
    }
}

impl QueueOptions {
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

    /// Where receipts are kept: the receipt with an id is the key
    /// `prefix/id`. Needed for
    /// [`dequeue_with_receipt`](super::Queue::dequeue_with_receipt). The prefix must
    /// lie outside the queue, also as a Go program sees it, which takes every
    /// key that begins with the queue's bare name for an item.
    pub fn receipts(mut self, prefix: impl Into<String>) -> Self {
        self.receipts = Some(prefix.into());
        self
    }

    /// Shares a watch with other recipes. Its prefix must be the queue's name
    /// and a `/`. Without one, the queue makes its own, which leaves out
    /// deletions.
    pub fn watch(mut self, watch: PrefixWatch) -> Self {
        self.watch = Some(watch);
        self
    }
}

/// The checked prefix of the receipts.
pub(super) fn receipts_outside(
    queue: &Name,
    prefix: Option<String>,
) -> Result<Option<Name>, Error> {
    let Some(prefix) = prefix else {
        return Ok(None);
    };
    let receipts = Name::new(prefix)?;
    if queue.overlaps(&receipts) {
        return Err(Error::invalid_name(
            receipts.as_str(),
            &format!(
                "receipts there could be taken for items of the queue {:?}",
                queue.as_str()
            ),
        ));
    }
    Ok(Some(receipts))
}

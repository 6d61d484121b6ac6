//! Deliberately broken twins of the reliable queue. They exist to show that the
//! tests catch them.

use super::{Inner, ReliableQueueOptions};

/// What is wrong with a reliable queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReliableQueueFault {
    /// Claims are not attached to the consumer's lease: those of a consumer that
    /// dies stay for ever.
    ClaimWithoutLease,
    /// An acknowledgement deletes the item without asking whether the claim is
    /// still its own.
    AcknowledgeUnguarded,
    /// A claim whose answer was lost is forgotten, without finding out whether it
    /// was made.
    ForgetUnknownClaim,
    /// A waiting consumer looks out for new items only, not for those that come
    /// back.
    WaitForPutsOnly,
}

impl ReliableQueueOptions {
    /// Makes the queue a broken one.
    #[doc(hidden)]
    pub fn fault(mut self, fault: ReliableQueueFault) -> Self {
        self.fault = Some(fault);
        self
    }
}

impl Inner {
    fn has_fault(&self, fault: ReliableQueueFault) -> bool {
        self.fault == Some(fault)
    }

    pub(super) fn claims_without_lease(&self) -> bool {
        self.has_fault(ReliableQueueFault::ClaimWithoutLease)
    }

    pub(super) fn acknowledges_unguarded(&self) -> bool {
        self.has_fault(ReliableQueueFault::AcknowledgeUnguarded)
    }

    pub(super) fn forgets_unknown_claims(&self) -> bool {
        self.has_fault(ReliableQueueFault::ForgetUnknownClaim)
    }

    pub(super) fn waits_for_puts_only(&self) -> bool {
        self.has_fault(ReliableQueueFault::WaitForPutsOnly)
    }
}
